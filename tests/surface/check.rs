//! `opwatch check`, with and without `--live`, on the built program.

use std::os::unix::fs::PermissionsExt;

use opwatch::sim::{Offset, SECRET_KEY, Scenario, SimResponse};

use crate::support::receiver::Receiver;
use crate::support::{Home, ProgramOutput, cloud, network, output_of};

async fn check(home: &Home, more: &[&str]) -> ProgramOutput {
    let ended =
        output_of(home.opwatch(&[&["check", "-c", "opwatch.toml"], more].concat()).spawn().unwrap()).await;
    assert!(
        !home.path("opwatch.db").exists() && !home.path("events.jsonl").exists(),
        "something was created"
    );
    assert!(!ended.stdout.contains(SECRET_KEY) && !ended.stderr.contains(SECRET_KEY), "{ended:?}");
    assert!(
        ended.stdout.lines().all(|line| line.chars().count() <= 80 || !line.trim().contains(' ')),
        "{}",
        ended.stdout
    );
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_the_rate_of_every_pace_key_and_the_events_of_every_sink_without_a_request() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(
        &cloud,
        "outcomes = [\"failure\"]\nlabels = { team = \"dba\" }\nbatch = \"30s\"\nrate = \"20/1m\"",
    );
    home.edit("rate_limit = 500", "rate_limit = 5");
    home.edit("max_interval = \"100ms\"", "max_interval = \"1m\"");
    home.list(1..=600);
    let ended = check(&home, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for part in [
        "600 tasks, 1 account, 2 sinks.",
        "account default, region bj, operation bm: 600 tasks",
        "127.0.0.1 for DescriptionOperationResult (API 2.0)",
        "5/1s (rate_limit), one poll every 200ms",
        "one sweep     2m (600 tasks ÷ 5/1s)\n    end detected  up to 2m late: the rate limit is the bottleneck\n",
        "deadline      after 24h",
        "events        finished, abandoned\n    outcomes      failure\n    labels        team=dba\n",
        "1 attempt at a time, at most 20/1m, gathered for 30s",
        "events        finished, abandoned, progressed, overdue, group, trouble",
        "warning",
        "1m (max_interval)",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert_eq!(cloud.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_effect_and_what_cannot_be_meant_are_warnings() {
    let cloud = cloud(Scenario::default()).await;
    let more = "[http]\ntoken_file = \"tokens\"\nsocket = \"nowhere/o.sock\"\n\
                [accounts.other]\nregion = \"ap-bejing\"\nsecret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n\
                api = \"3.0\"\nmethod = \"POST\"\nrate_limit = 1\n\
                [sinks.hook]\ntype = \"webhook\"\nurl = \"https://example.com/\"\ntemplate = \"{{ data.task.nam }}\"\n\
                [[tasks]]\nid = 1\naccount = \"other\"\n";
    let home = Home::new(&cloud, more);
    home.edit("[poll]", "[poll]\nwarn_after = \"48h\"");
    let ended = check(&home, &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let shown = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "poll.warn_after: has no effect",
        "http.token_file: has no effect without `listen`",
        "http.socket: is in a folder that does not exist",
        "accounts.other.method: has no effect with api = \"3.0\"",
        "no region is called \"ap-bejing\"; write ap-beijing",
        "sinks.hook.template: uses `data.task.nam`, which no event has",
        "default, other: have one SecretId and different rates",
    ] {
        assert!(shown.contains(part), "{part}: {}", ended.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_all_its_problems() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.edit("max_interval", "max_intervall");
    home.edit("secret_key_file = \"secret_key\"", "secret_key_file = \"missing\"");
    home.write("list.tasks", "1\nx\n");
    let ended = check(&home, &["--live"]).await;
    assert_eq!((ended.code, ended.stdout.as_str(), cloud.requests()), (Some(2), "", 0));
    for part in [
        "opwatch.toml:6: accounts.default.secret_key_file: cannot read",
        "did you mean `max_interval`?",
        "list.tasks:2: id: ",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_signs_one_request_for_the_first_task_and_a_task_that_is_not_there_is_no_trouble() {
    for response in [SimResponse::status(4), SimResponse::refusal(10001, "no such task")] {
        let cloud = cloud(Scenario::default().with_task(7, [response])).await;
        let home = Home::new(&cloud, "");
        home.list([7, 8]);
        let ended = check(&home, &["--live"]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
        assert!(
            ended.stdout.contains("default: good\n    127.0.0.1 accepted the signature; "),
            "{}",
            ended.stdout
        );
        assert!(ended.stdout.contains("audit: good\n    the file can be created\n"), "{}", ended.stdout);
        assert!(ended.stdout.contains("log: good\n    standard error is open\n"), "{}", ended.stdout);
        let polled: Vec<_> = cloud.received().into_iter().map(|seen| seen.task).collect();
        assert_eq!(polled, ["7"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_asks_once_with_an_account_without_a_task_and_once_more_where_the_clocks_disagree() {
    let cloud = cloud(Scenario { clock_offset: Offset(-3_600_000), ..Scenario::default() }).await;
    let home = Home::new(&cloud, "");
    let ended = check(&home, &["--live"]).await;
    assert_eq!((ended.code, ended.stderr.as_str(), cloud.requests()), (Some(0), "", 2), "{}", ended.stdout);
    assert!(ended.stdout.contains("the clocks are 1h"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_reports_refused_credentials_and_sinks_that_cannot_be_used_and_exits_with_5() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "[sinks.page]\ntype = \"exec\"\ncommand = [\"./missing\", \"argument\"]\n");
    home.account("[accounts.other]\nregion = \"bj\"\nsecret_id = \"AKIDother\"\nsecret_key = \"wrong\"\nendpoint = \"http://127.0.0.1:1\"");
    home.write("secret_key", "wrong");
    let ended = check(&home, &["--live"]).await;
    assert_eq!(ended.code, Some(5), "{}", ended.stdout);
    for part in [
        "default: refused\n    127.0.0.1 refuses the credentials: 4100",
        "other: again later\n",
        "page: refused\n    cannot run ",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert_eq!(ended.stderr, "opwatch: not usable as it is: account default, sink page, account other\n");
    assert!(!ended.stdout.contains("argument"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_connects_to_a_webhook_and_sends_it_neither_an_event_nor_its_secrets() {
    let cloud = cloud(Scenario::default()).await;
    let receiver = Receiver::start().await;
    let home = Home::new(&cloud, "");
    let sink = |name: &str, addr: &str| {
        format!(
            "[sinks.{name}]\ntype = \"webhook\"\nurl = \"http://me:hunter2@{addr}/hook/hunter2?key=hunter2\"\n"
        )
    };
    home.edit(
        "[store]",
        &format!("{}{}[store]", sink("ops", &receiver.addr.to_string()), sink("gone", "127.0.0.1:1")),
    );
    let ended = check(&home, &["--live"]).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(1), "opwatch: not usable as it is: sink gone\n"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains(&format!("ops: webhook {}\n", receiver.addr)), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("ops: good\n    the server responds") && !ended.stdout.contains("hunter2"),
        "{}",
        ended.stdout
    );
    let got = receiver.got();
    assert!(got.len() == 1 && got[0].header("authorization").is_empty() && got[0].body.is_empty(), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_exits_with_1_where_nothing_is_refused_but_something_cannot_be_reached_now() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.write("on-done", "#!/bin/sh\n");
    std::fs::set_permissions(home.path("on-done"), PermissionsExt::from_mode(0o755)).unwrap();
    home.edit(
        "[store]",
        "[sinks.page]\ntype = \"exec\"\ncommand = [\"./on-done\"]\n[sinks.shell]\ntype = \"exec\"\ncommand = [\"sh\"]\n[store]",
    );
    home.edit(&cloud.endpoint(), "http://127.0.0.1:1");
    let ended = check(&home, &["--live"]).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(1), "opwatch: not usable as it is: account default\n"),
        "{}",
        ended.stdout
    );
    for sink in ["page", "shell"] {
        assert!(
            ended.stdout.contains(&format!("{sink}: good\n    the program exists\n")),
            "{}",
            ended.stdout
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_shows_no_echoed_signature_and_does_not_wait_for_a_silent_server() {
    let cloud = cloud(Scenario::default()).await;
    let echo = network::echo().await;
    // Accepts connections, and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new(&cloud, "");
    home.edit("[poll]\n", "[poll]\nrequest_timeout = \"300ms\"\n");
    let other = format!(
        "api = \"3.0\"\n[accounts.other]\nregion = \"bj\"\nsecret_id = \"AKID\"\nsecret_key = \"hunter2\"\nendpoint = \"http://{}\"",
        silent.local_addr().unwrap()
    );
    home.account(&other);
    home.edit(&cloud.endpoint(), &format!("http://{}", echo.addr));
    let ended = check(&home, &["--live"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let signature = echo.heads()[0]
        .lines()
        .find_map(|line| line.split_once("Signature="))
        .expect("a signature")
        .1
        .trim()
        .to_owned();
    assert!(
        ended.stdout.contains("Signature=[secret]") && !ended.stdout.contains(&signature),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("other: again later\n    no usable response from 127.0.0.1: timeout"),
        "{}",
        ended.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn https_to_a_port_of_plain_http_is_named() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    home.edit("endpoint = \"http://", "endpoint = \"https://");
    let ended = check(&home, &["--live"]).await;
    assert_eq!(ended.code, Some(1));
    let whole = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(whole.contains("the server speaks no TLS at this port; name its https port"), "{}", ended.stdout);
}
