//! `proxy` and `ca_file`: servers between the program and the cloud.

use opwatch::sim::{Scenario, Sim, SimResponse};

use crate::support::{Home, ProgramOutput, cloud, eventually, network, output_of, signal};

const PASSWORD: &str = "hunter2";

async fn one_task() -> Sim {
    cloud(Scenario::default().with_task(1, [SimResponse::status(4), SimResponse::status(1)])).await
}

async fn run_to_its_end(home: &Home) -> ProgramOutput {
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    let ended = output_of(command.env("RUST_LOG", "trace").spawn().unwrap()).await;
    assert_eq!((ended.code, home.events().len()), (Some(0), 1), "{}", ended.stderr);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy_of_the_account_and_its_password_is_printed_nowhere() {
    for api in ["2.0", "3.0"] {
        let cloud = one_task().await;
        let proxy = network::proxy().await;
        let home = Home::new(&cloud, "");
        home.account(&format!("api = \"{api}\"\nproxy = \"http://user:{PASSWORD}@{}\"", proxy.addr));
        home.list([1]);
        let ended = run_to_its_end(&home).await;
        let heads = proxy.heads();
        let whole = format!(" http://{}/", cloud.addr());
        assert!(!heads.is_empty() && heads.iter().all(|head| head.contains(&whole)), "{heads:?}");
        assert!(heads[0].to_lowercase().contains("proxy-authorization: basic"), "{heads:?}");
        // The second is "user:hunter2" in base64, as it is sent.
        for secret in [PASSWORD, "dXNlcjpodW50ZXIy"] {
            assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        }
        assert!(cloud.received().iter().all(|seen| seen.flaw.is_none()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_to_this_machine_takes_no_proxy_of_the_environment() {
    let cloud = one_task().await;
    let proxy = network::proxy().await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    let ended = output_of(command.env("http_proxy", format!("http://{}", proxy.addr)).spawn().unwrap()).await;
    assert_eq!((ended.code, proxy.heads().len()), (Some(0), 0), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shows_a_certificate_of_ca_file_is_trusted_also_through_a_tunnel_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = network::certificate(folder.path());
    let cloud = one_task().await;
    let tls = network::tls(&certificate, cloud.addr()).await;
    let home = Home::new(&cloud, "");
    home.edit(&cloud.endpoint(), &format!("https://{}", tls.addr));
    home.list([1]);
    let child = home.start();
    eventually("the first polls fail", || tls.connections() >= 3).await;
    signal(&child, "TERM");
    let ended = output_of(child).await;
    assert!(ended.stderr.contains("certificate") && cloud.requests() == 0, "{}", ended.stderr);

    std::fs::copy(&certificate.ca, home.path("corp-ca.pem")).unwrap();
    let proxy = network::proxy().await;
    home.account(&format!(
        "api = \"3.0\"\nca_file = \"corp-ca.pem\"\nproxy = \"http://user:{PASSWORD}@{}\"",
        proxy.addr
    ));
    let ended = run_to_its_end(&home).await;
    let tunnel = format!("CONNECT {} ", tls.addr);
    assert!(
        !proxy.heads().is_empty() && proxy.heads().iter().all(|head| head.starts_with(&tunnel)),
        "{:?}",
        proxy.heads()
    );
    assert!(!ended.stderr.contains(PASSWORD), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_denies_access_is_reported_without_its_password_and_abandons_nothing() {
    let cloud = one_task().await;
    let proxy = network::closed_proxy().await;
    for (endpoint, reported) in
        [(cloud.endpoint(), "http_407"), ("https://127.0.0.1:9".to_owned(), "http_407")]
    {
        let home = Home::new(&cloud, "");
        home.edit(&cloud.endpoint(), &endpoint);
        home.account(&format!("proxy = \"http://user:{PASSWORD}@{}\"", proxy.addr));
        home.list([1]);
        let before = proxy.connections();
        let child = home.opwatch(&["run", "-c", "opwatch.toml"]).env("RUST_LOG", "trace").spawn().unwrap();
        eventually("some requests", || proxy.connections() >= before + 3).await;
        signal(&child, "TERM");
        let ended = output_of(child).await;
        assert!(ended.stderr.contains(reported) && !ended.stderr.contains(PASSWORD), "{}", ended.stderr);
        assert_eq!((cloud.requests(), home.events().len()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_in_ca_file_is_trusted_and_one_of_an_authority_is_reported_apart() {
    for is_authority in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let certificate = network::self_signed(folder.path(), is_authority);
        let cloud = one_task().await;
        let tls = network::tls(&certificate, cloud.addr()).await;
        let home = Home::new(&cloud, "");
        home.edit(&cloud.endpoint(), &format!("https://{}", tls.addr));
        home.account("ca_file = \"corp-ca.pem\"");
        std::fs::copy(&certificate.ca, home.path("corp-ca.pem")).unwrap();
        home.list([1]);
        if is_authority {
            let stderr = std::fs::File::create(home.path("stderr")).unwrap();
            let child = home.opwatch(&["run", "-c", "opwatch.toml"]).stderr(stderr).spawn().unwrap();
            let advice =
                "make one with basicConstraints=CA:FALSE, install it there, and name it in `ca_file`";
            let said_so = || std::fs::read_to_string(home.path("stderr")).unwrap().contains(advice);
            eventually("the advice", said_so).await;
            signal(&child, "TERM");
            output_of(child).await;
            assert_eq!(cloud.requests(), 0);
        } else {
            run_to_its_end(&home).await;
        }
    }
}

/// A host that is not this machine and is nowhere else either (RFC 2606).
const CLOUD: &str = "cloud.invalid";

/// A configuration whose account and webhook are beyond this machine.
fn far_away(cloud: &Sim) -> Home {
    let home = Home::new(cloud, "[sinks.ops]\ntype = \"webhook\"\nurl = \"https://hook.invalid/x\"\n");
    home.edit(&cloud.endpoint(), &format!("https://{CLOUD}"));
    home.list([1]);
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_without_a_usable_proxy_is_refused_by_name_only_where_it_applies() {
    let cloud = one_task().await;
    let far = far_away(&cloud);
    for (variable, value) in [
        ("HTTPS_PROXY", "http://hunter2:x@:::"),
        ("ALL_PROXY", "socks5://u:hunter2@p:1"),
        ("all_proxy", "x y"),
    ] {
        for arguments in [&["check", "-c", "opwatch.toml"][..], &["run", "-c", "opwatch.toml"]] {
            let refused = output_of(far.opwatch(arguments).env(variable, value).spawn().unwrap()).await;
            for (place, host) in [("accounts.default: ", CLOUD), ("sinks.ops.url: ", "hook.invalid")] {
                let reported = format!("{place}{host} would be reached through {variable}, which ");
                assert!(refused.stderr.contains(&reported), "{}", refused.stderr);
            }
            assert!(refused.code == Some(2) && refused.stderr.lines().count() == 2, "{}", refused.stderr);
            assert!(refused.stderr.contains("set the key `proxy`, or add cloud.invalid to NO_PROXY"));
            assert!(!refused.stderr.contains(PASSWORD), "{}", refused.stderr);
        }
        let mut wait = far.opwatch(&["wait", "1", "-c", "opwatch.toml"]);
        let refused = output_of(wait.env(variable, value).spawn().unwrap()).await;
        let reported = format!("accounts.default: {CLOUD} would be reached through {variable}");
        assert!(refused.code == Some(2) && refused.stderr.contains(&reported), "{}", refused.stderr);

        for (other, exemption) in
            [("NO_PROXY", ".invalid"), ("no_proxy", "*"), ("https_proxy", "http://127.0.0.1:9")]
        {
            let mut check = far.opwatch(&["check", "-c", "opwatch.toml"]);
            let checked = output_of(check.env(variable, value).env(other, exemption).spawn().unwrap()).await;
            assert_eq!(checked.code, Some(0), "{other}: {}", checked.stderr);
        }
        let near = Home::new(&cloud, "");
        near.list([1]);
        let mut run = near.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
        let ended = output_of(run.env(variable, value).spawn().unwrap()).await;
        assert_eq!(ended.code, Some(0), "loopback takes no proxy of the environment: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_and_webhooks_take_the_proxy_of_the_environment_and_no_proxy_keeps_them_from_it() {
    let cloud = one_task().await;
    let proxy = network::proxy().await;
    let far = far_away(&cloud);
    let address = format!("http://user:{PASSWORD}@{}", proxy.addr);
    let live = async |variables: &[(&str, &str)]| {
        let mut check = far.opwatch(&["check", "-c", "opwatch.toml", "--live"]);
        output_of(check.envs(variables.iter().copied()).spawn().unwrap()).await
    };
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let before = proxy.connections();
        let checked = live(&[(variable, &address)]).await;
        let heads = proxy.heads().split_off(before);
        for host in [CLOUD, "hook.invalid"] {
            let is_tunnel = |head: &String| head.starts_with(&format!("CONNECT {host}:443 "));
            assert!(heads.iter().any(is_tunnel), "{variable}: {heads:?} {}", checked.stderr);
        }
        let has_login = |head: &String| head.to_lowercase().contains("proxy-authorization: basic");
        assert!(heads.iter().all(has_login), "{heads:?}");
        assert!(![checked.stdout, checked.stderr].iter().any(|text| text.contains(PASSWORD)));
    }
    let before = proxy.connections();
    live(&[("HTTPS_PROXY", &address), ("NO_PROXY", "invalid")]).await;
    assert_eq!(proxy.connections(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wants_a_login_holds_the_account_and_wait_ends_with_5() {
    let cloud = one_task().await;
    let proxy = network::closed_proxy().await;
    let variable = format!("http://{}", proxy.addr);
    let far = far_away(&cloud);
    far.edit("path = \"events.jsonl\"", "path = \"events.jsonl\"\nevents = [\"trouble\"]");
    let child = far.opwatch(&["run", "-c", "opwatch.toml"]).env("HTTPS_PROXY", &variable).spawn().unwrap();
    eventually("the hold is told", || !far.events().is_empty()).await;
    signal(&child, "TERM");
    let ended = output_of(child).await;
    let data = &far.events()[0]["data"];
    assert_eq!((&data["account"], &data["error"]["code"]), (&"default".into(), &"http_407".into()));
    assert!(ended.stderr.contains("write user and password into `proxy`"), "{}", ended.stderr);

    // A plain request, to which the proxy responds itself, as well as a tunnel.
    let near = Home::new(&cloud, "");
    near.account(&format!("proxy = \"{variable}\""));
    for home in [&far, &near] {
        let mut wait = home.opwatch(&["wait", "1", "-c", "opwatch.toml"]);
        let ended = output_of(wait.env("HTTPS_PROXY", &variable).spawn().unwrap()).await;
        assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    }
    assert_eq!(cloud.requests(), 0);
}
