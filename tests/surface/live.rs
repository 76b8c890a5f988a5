//! The commands to a running daemon, typed as a person would.

use std::fs;

use opwatch::sim::{Scenario, Sim, SimResponse};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Child;

use crate::support::receiver::{Receiver, ReceiverResponse};
use crate::support::{Home, ProgramOutput, cloud, eventually, output_of, signal};

async fn running(tasks: &[u64], more: &str) -> (Sim, Home, Child) {
    let mut scenario = Scenario::default();
    for id in tasks {
        scenario = scenario.with_task(*id, [SimResponse::status(4)]);
    }
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, &format!("[http]\nsocket = \"o.sock\"\n{more}"));
    home.list(tasks.iter().copied());
    let daemon = home.start();
    eventually("it polls", || cloud.requests() > 0 && home.path("o.sock").exists()).await;
    (cloud, home, daemon)
}

/// A command with the configuration of the home, and its input.
async fn typed(home: &Home, line: &str, input: &str) -> ProgramOutput {
    let words: Vec<&str> = line.split(' ').chain(["-c", "opwatch.toml"]).collect();
    let mut command = home.opwatch(&words);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    output_of(child).await
}

async fn done(home: &Home, line: &str) -> String {
    let output = typed(home, line, "").await;
    assert_eq!(output.code, Some(0), "{line}: {}", output.stderr);
    output.stdout
}

/// Repeats a command until its output has these words, and returns the last output.
async fn done_until(home: &Home, line: &str, wanted: &str) -> String {
    let mut output = String::new();
    for _ in 0..100 {
        output = done(home, line).await;
        if output.contains(wanted) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    output
}

async fn ended(daemon: Child) {
    signal(&daemon, "TERM");
    let output = output_of(daemon).await;
    assert_eq!(output.code, Some(0), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_adds_changes_and_ends_tasks() {
    let (cloud, home, daemon) = running(&[1], "").await;
    for id in ["7", "8"] {
        cloud.set_responses(id, [SimResponse::status(4)]);
    }
    let added = done(&home, "add 7 8 --name new --label team=dba").await;
    assert_eq!(added.matches("added").count(), 2, "{added}");
    assert!(done(&home, "add 7 --name new --label team=dba").await.contains("known"));
    let listed = done(&home, "list --label team=dba").await;
    assert!(listed.lines().count() == 3 && listed.contains("new"), "{listed}");
    assert!(done(&home, "status").await.contains("3 open"));

    assert_eq!(done(&home, "pause task 7").await, "task 7: paused\n");
    let refused = typed(&home, "poll 7", "").await;
    assert!(refused.code == Some(5) && refused.stderr.contains("resume it first"), "{}", refused.stderr);
    assert!(done(&home, "list --state paused").await.contains("paused"));
    done(&home, "resume task 7").await;
    done(&home, "poll 7").await;
    assert_eq!(done(&home, "extend 8 3h").await, "task 8: its deadline is in 3h\n");
    done(&home, "cancel 8").await;
    let shown = done(&home, "show 8").await;
    assert!(shown.contains("abandoned (cancelled)") && shown.contains("task.abandoned"), "{shown}");
    assert_eq!(typed(&home, "cancel 8", "").await.code, Some(5));
    assert_eq!(typed(&home, "show 99", "").await.code, Some(2));
    assert!(done(&home, "add 8").await.contains("--again"));
    assert!(done(&home, "add 8 --again").await.contains("added"));

    let piped = typed(&home, "add - --group rack", "20\n{\"taskId\": 21, \"code\": 0}\n").await;
    assert_eq!(piped.code, Some(0), "{}", piped.stderr);
    let json = done(&home, "list --group rack --json").await;
    let ids: Vec<Value> =
        json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["20", "21"]);
    let wrong = typed(&home, "add x 9", "").await;
    assert!(wrong.code == Some(2) && wrong.stderr.contains("nothing was added"), "{}", wrong.stderr);
    ended(daemon).await;
    let gone = typed(&home, "status", "").await;
    assert!(gone.code == Some(1) && gone.stderr.contains("opwatch run"), "{}", gone.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_several_tasks_needs_its_account_or_region() {
    let (_cloud, home, daemon) = running(&[1], "").await;
    done(&home, "add 1 --region gz").await;
    let several = typed(&home, "show 1", "").await;
    assert_eq!(several.code, Some(2));
    assert!(several.stderr.contains("--account default --region gz --operation bm"), "{}", several.stderr);
    assert!(done(&home, "show 1 --region gz").await.contains("default/gz"));
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_sinks_are_paused_and_resumed_and_a_reload_has_a_result() {
    let (cloud, home, daemon) = running(&[1, 2], "").await;
    done(&home, "pause account default").await;
    let before = cloud.requests();
    done(&home, "pause sink audit").await;
    assert!(done(&home, "status").await.contains("account default, sink audit"));
    assert_eq!(typed(&home, "pause sink nobody", "").await.code, Some(2));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(cloud.requests() <= before + 2, "no poll of a paused account");
    for thing in ["account default", "sink audit"] {
        done(&home, &format!("resume {thing}")).await;
        done(&home, &format!("retry {thing}")).await;
    }
    eventually("polls continue", || cloud.requests() > before + 5).await;
    home.list([2]);
    assert!(done(&home, "reload").await.contains("open"));
    eventually("1 is removed", || home.events().len() == 1).await;
    home.write("broken.toml", "[http]\nsocket = \"o.sock\"\n");
    home.edit("rate_limit = 500", "rate_limit = 0");
    let refused = typed(&home, "reload", "").await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("rate_limit"), "{}", refused.stderr);
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_hold_is_shown_with_its_cause_and_retry_reports_the_result_of_its_probe() {
    let (cloud, home, daemon) = running(&[1], "").await;
    assert_eq!(
        done(&home, "retry account default").await,
        "account default: is not on hold, and nothing is delayed\n"
    );
    cloud.set_responses("1", [SimResponse::refusal(4100, "bad signature")]);
    let status = done_until(&home, "status", "4100").await;
    let row = status.lines().find(|line| line.contains("4100")).unwrap_or_else(|| panic!("{status}"));
    assert!(row.starts_with("account default") && row.contains("on hold"), "{row}");
    for line in ["poll 1", "retry task 1"] {
        let refused = typed(&home, line, "").await;
        assert!(refused.code == Some(5) && refused.stderr.contains("1: "), "{line}: {}", refused.stderr);
        assert!(refused.stderr.contains("opwatch retry account"), "{line}: {}", refused.stderr);
    }
    let still = typed(&home, "retry account default", "").await;
    assert!(still.code == Some(5) && still.stderr.contains("bad signature"), "{}", still.stderr);
    cloud.set_responses("1", [SimResponse::status(4)]);
    // A probe of its own may have come first.
    let released = done(&home, "retry account default").await;
    assert!(released.contains("released") || released.contains("is not on hold"), "{released}");

    done(&home, "pause account default").await;
    for line in ["poll 1", "retry task 1", "retry account default"] {
        assert_eq!(typed(&home, line, "").await.code, Some(5), "{line}");
    }
    done(&home, "resume account default").await;
    let page = SimResponse::page(503, "busy").retry_after("1800");
    cloud.set_responses("1", [page, SimResponse::status(1)]);
    let later = done_until(&home, "poll 1", "will be polled in").await;
    assert!(later.contains("retry account default"), "{later}");
    assert!(done(&home, "status").await.contains("pause requested"));
    done(&home, "retry account default").await;
    eventually("it ends", || home.events().len() == 1).await;
    let listed = done(&home, "list --all").await;
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[3..5], ["success", "1"], "the last status: {listed}");
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_named_and_missing_reaches_no_other_daemon() {
    let (_cloud, home, daemon) = running(&[1], "").await;
    let mut command = home.opwatch(&["status", "-c", "misspelt.toml"]);
    let named = output_of(command.spawn().unwrap()).await;
    let mut command = home.opwatch(&["status"]);
    let variable = output_of(command.env("OPWATCH_CONFIG", "misspelt.toml").spawn().unwrap()).await;
    for output in [named, variable] {
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        assert!(output.stderr.contains("misspelt.toml"), "{}", output.stderr);
    }
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_commands_do_not_count_for_the_guard_of_a_reload() {
    let (_cloud, home, daemon) = running(&[1, 2], "").await;
    let ids: String = (100..160).map(|id| format!("{id}\n")).collect();
    let added = typed(&home, "add -", &ids).await;
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    done(&home, "reload").await;
    assert!(done(&home, "status").await.contains("62 open"));
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_found_and_replayed_within_five_commands() {
    let receiver = Receiver::start().await;
    receiver.response(ReceiverResponse::status(413));
    let hook = format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\n", receiver.addr);
    let (_cloud, home, daemon) = running(&[1], &hook).await;
    done(&home, "cancel 1").await;
    eventually("a dead letter", || {
        let log = fs::read_to_string(home.path("events.jsonl")).unwrap_or_default();
        log.contains("abandoned") && !receiver.got().is_empty()
    })
    .await;
    let failed = done_until(&home, "events list --failed", "hook (dead letter)").await;
    let id = failed.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let shown: Value = serde_json::from_str(&done(&home, &format!("events show {id}")).await).unwrap();
    assert_eq!(shown["deliveries"][0]["is_dead"], true, "{shown}");
    receiver.response(ReceiverResponse::status(200));
    let before = receiver.got().len();
    assert!(done(&home, "events redeliver --failed").await.starts_with("1 "));
    eventually("it arrives", || receiver.got().len() > before).await;
    assert!(done(&home, "events list --failed").await.contains("no events"));
    for line in [
        "events redeliver 999",
        "events discard 999",
        "events list --sink nobody",
        "events redeliver --failed --sink nobody",
    ] {
        let unknown = typed(&home, line, "").await;
        assert!(
            unknown.code == Some(2) && unknown.stderr.contains("there is no "),
            "{line}: {}",
            unknown.stderr
        );
    }
    let nothing = typed(&home, "events redeliver", "").await;
    assert_eq!(nothing.code, Some(2));
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_sink_is_shown_with_its_error_and_retry_reports_the_result_of_the_attempt() {
    let receiver = Receiver::start().await;
    receiver.response(ReceiverResponse::status(503));
    let hook = format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\n[sinks.hook.retry]\ninitial = \"5m\"\n",
        receiver.addr
    );
    let (_cloud, home, daemon) = running(&[1], &hook).await;
    done(&home, "cancel 1").await;
    eventually("an attempt", || !receiver.got().is_empty()).await;
    let status = done_until(&home, "status", "retrying").await;
    assert!(status.lines().any(|line| line.starts_with("sink hook") && line.contains("503")), "{status}");
    let failed = typed(&home, "retry sink hook", "").await;
    assert!(failed.code == Some(5) && failed.stderr.contains("503"), "{}", failed.stderr);
    receiver.response(ReceiverResponse::status(200));
    assert_eq!(done(&home, "retry sink hook").await, "sink hook: succeeded\n");
    assert_eq!(done(&home, "retry sink hook").await, "sink hook: is not on hold, and nothing is delayed\n");
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_events_are_followed() {
    let (_cloud, home, daemon) = running(&[1, 2, 3], "").await;
    let line =
        format!("exec {} events follow --after 0 -c opwatch.toml >followed", env!("CARGO_BIN_EXE_opwatch"));
    let follower = home.in_shell(&line).spawn().unwrap();
    done(&home, "cancel 1").await;
    done(&home, "cancel 2").await;
    let followed = || fs::read_to_string(home.path("followed")).unwrap_or_default();
    eventually("both arrive", || followed().lines().count() == 2).await;
    for line in followed().lines() {
        crate::support::holds_to_the_schema(&serde_json::from_str(line).unwrap());
    }
    ended(daemon).await;
    home.list([3]);
    let daemon = home.start();
    eventually("a new daemon", || std::os::unix::net::UnixStream::connect(home.path("o.sock")).is_ok()).await;
    done(&home, "cancel 3").await;
    eventually("the stream continues", || followed().lines().count() == 3).await;
    drop(follower);
    ended(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_completes_what_the_daemon_knows() {
    let (_cloud, home, _daemon) = running(&[41], "").await;
    let offered = async |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let index = words.len() - 1;
        let mut command = home.opwatch(&[&["--"][..], &words].concat());
        command.env("_OPWATCH_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index.to_string());
        command
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("_CLAP_COMPLETE_SPACE", "true");
        output_of(command.env("OPWATCH_CONFIG", "opwatch.toml").spawn().unwrap()).await.stdout
    };
    for (line, wanted) in [
        ("opwatch show ", "41"),
        ("opwatch pause task 4", "41"),
        ("opwatch retry sink a", "audit"),
        ("opwatch pause account ", "default"),
        ("opwatch wait 1 --region ", "bj"),
        ("opwatch operations --show b", "bm"),
        ("opwatch check -c ", "opwatch.toml"),
        ("opwatch che", "check"),
    ] {
        let offered = offered(line).await;
        assert!(offered.lines().any(|word| word.trim() == wanted), "{line}: {offered}");
    }
    assert_eq!(offered("opwatch wait ").await.lines().find(|word| word.contains("toml")), None);
}
