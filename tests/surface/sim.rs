//! `opwatch sim`: a line for each request that arrives.

use opwatch::sim::{Scenario, Sim};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::{Home, ProgramOutput, cloud, eventually, output_of, signal};

const SCENARIO: &str = r#"
signed_host = "bm.api.qcloud.com"
[[tasks]]
id = 1
answers = [{ http = 502 }, { code = 6000, message = "internal error" }, { status = 3 }]
"#;

/// The simulator behind that redirection, and a configuration that points at it.
async fn sim(redirection: &str) -> (Sim, Home, Child) {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    home.write("scenario.toml", SCENARIO);
    let line = format!(
        "exec {} sim --scenario scenario.toml --listen 127.0.0.1:0 {redirection}",
        env!("CARGO_BIN_EXE_opwatch")
    );
    let mut sim = home.in_shell(&line).spawn().unwrap();
    let mut lines = BufReader::new(sim.stdout.as_mut().unwrap()).lines();
    let endpoint = loop {
        let line = lines.next_line().await.unwrap().expect("an endpoint");
        if let Some(endpoint) = line.strip_prefix("endpoint = ") {
            break endpoint.trim_matches('"').to_owned();
        }
    };
    home.edit(&cloud.endpoint(), &endpoint);
    (cloud, home, sim)
}

async fn ended(sim: Child) -> ProgramOutput {
    signal(&sim, "TERM");
    output_of(sim).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_shows_each_request_with_its_response_or_what_is_wrong_with_it() {
    let (_cloud, home, sim) = sim("").await;
    let check = |more: &[(&str, &str)]| {
        let mut command = home.opwatch(&["check", "-c", "opwatch.toml", "--live"]);
        output_of(command.envs(more.iter().copied()).spawn().unwrap())
    };
    let host = ("OPWATCH__ACCOUNTS__DEFAULT__SIGNED_HOST", "bm.api.qcloud.com");
    let api = ("OPWATCH__ACCOUNTS__DEFAULT__API", "3.0");
    assert_eq!(check(&[]).await.code, Some(5));
    home.write("secret_key", "another-key");
    for more in [&[host][..], &[host, api]] {
        assert_eq!(check(more).await.code, Some(5));
    }
    home.write("secret_key", opwatch::sim::SECRET_KEY);
    let run =
        home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]).env(host.0, host.1).spawn().unwrap();
    assert_eq!(output_of(run).await.code, Some(0));
    let ended = ended(sim).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let reported: Vec<_> =
        ended.stderr.lines().map(|line| line.split_once("Z ").expect("a time").1).collect();
    let [other_host, other_key, other_key_3_0, rest @ ..] = &reported[..] else { panic!("{reported:#?}") };
    assert!(
        other_host.starts_with("refused api=2.0 action=DescriptionOperationResult region=bj task="),
        "{reported:#?}"
    );
    assert!(
        other_host.ends_with(r#" code=4100 with="signed for the host 127.0.0.1, not for bm.api.qcloud.com""#),
        "{reported:#?}"
    );
    assert!(
        other_key
            .ends_with(r#" code=4100 with="signed with another key, or not for the host bm.api.qcloud.com""#),
        "{reported:#?}"
    );
    assert!(
        other_key_3_0.starts_with("refused api=3.0 action=DescribeOperationResult region=ap-beijing task="),
        "{reported:#?}"
    );
    assert!(
        other_key_3_0.contains("code=AuthFailure.SignatureFailure with=\"signed with another key"),
        "{reported:#?}"
    );
    let of_task = "api=2.0 action=DescriptionOperationResult region=bj task=1";
    let wanted = [
        format!("misbehaved {of_task} with=\"a page, with HTTP 502\""),
        format!("refused {of_task} code=6000 with=\"internal error\""),
        format!("answered {of_task} status=3"),
    ];
    assert_eq!(rest, wanted);
    assert!(!ended.stderr.contains("another-key") && !ended.stderr.contains(opwatch::sim::SECRET_KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_no_api_is_shown_with_what_would_be_one() {
    let (_cloud, home, sim) = sim("").await;
    let endpoint = std::fs::read_to_string(home.path("opwatch.toml")).unwrap();
    let address = endpoint.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /v3 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut response = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    let ended = ended(sim).await;
    assert!(
        ended.stderr.contains("POST /v2/index.php, or POST / method=GET path=\"/v3\""),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_error_that_takes_nothing_keeps_no_request_waiting() {
    for redirection in ["2>&-", "2>/dev/full"] {
        let (_cloud, home, sim) = sim(redirection).await;
        home.account("signed_host = \"bm.api.qcloud.com\"");
        assert_eq!(home.run_until_done().await.code, Some(0), "{redirection}");
        assert_eq!(ended(sim).await.code, Some(0), "{redirection}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_written_configuration_polls_the_simulator_and_a_hangup_ends_it() {
    let home = Home::new(&cloud(Scenario::default()).await, "");
    let sim = home.opwatch(&["sim", "--listen", "localhost:0", "--write", "sim.toml"]).spawn().unwrap();
    let is_written =
        || std::fs::read_to_string(home.path("sim.toml")).is_ok_and(|text| text.contains("endpoint"));
    eventually("the configuration is written", is_written).await;
    let waited = output_of(home.opwatch(&["wait", "1", "-c", "sim.toml"]).spawn().unwrap()).await;
    assert!(waited.stderr.contains("of 1 task 1 succeeded"), "{}", waited.stderr);
    signal(&sim, "HUP");
    let ended = output_of(sim).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("# To poll it, use `opwatch run -c sim.toml`"), "{}", ended.stdout);

    let plain = output_of(home.opwatch(&["sim", "--listen", "[::]:0"]).spawn().unwrap()).await;
    assert_eq!(plain.code, Some(2), "opwatch would refuse that address itself");
}
