//! The program's own log, as a person reads it.

use opwatch::sim::{Scenario, Sim, SimResponse};
use serde_json::Value;

use crate::support::{Home, cloud, eventually, output_of, signal};

/// The first line of the daemon's log with that message.
async fn reported(home: &Home, message: &str) -> Value {
    reported_by(home, "run -c opwatch.toml", message).await
}

async fn reported_by(home: &Home, arguments: &str, message: &str) -> Value {
    let child =
        home.in_shell(&format!("exec {} {arguments} 2>log", env!("CARGO_BIN_EXE_opwatch"))).spawn().unwrap();
    let mut line = Value::Null;
    eventually(message, || {
        let text = std::fs::read_to_string(home.path("log")).unwrap_or_default();
        let found = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["message"] == message);
        line = found.unwrap_or_default();
        !line.is_null()
    })
    .await;
    signal(&child, "TERM");
    output_of(child).await;
    line
}

fn host_and_port(cloud: &Sim) -> String {
    cloud.endpoint().trim_start_matches("http://").split('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_names_who_was_asked_and_the_cause_alone() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let polled = host_and_port(&cloud);
    cloud.stop().await;
    home.list([1]);
    let reported = reported(&home, "a poll failed; polled again with backoff").await;
    let error = format!("{polled}: Connection refused (os error 111)");
    assert_eq!((&reported["error"], &reported["error_message"]), (&"connect".into(), &error.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_names_who_was_asked_without_the_query() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::hang()])).await;
    let home = Home::new(&cloud, "");
    home.edit("[poll]", "[poll]\nrequest_timeout = \"50ms\"");
    home.list([1]);
    let reported = reported(&home, "a poll failed; polled again with backoff").await;
    let polled = host_and_port(&cloud);
    let error = format!("{polled}: operation timed out");
    assert_eq!((&reported["error"], &reported["error_message"]), (&"timeout".into(), &error.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_account_and_a_held_sink_are_reported_with_since_when_what_waits_and_the_next_probe() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(
        &cloud,
        "[sinks.missing]\ntype = \"file\"\npath = \"missing/events.jsonl\"\nevents = [\"trouble\"]",
    );
    home.write("secret_key", "wrong");
    home.list([1, 2]);
    let sink = reported(
        &home,
        "sink on hold: a person must act; its deliveries are kept, and it is probed at long intervals",
    )
    .await;
    let account = reported(
        &home,
        "account on hold: a person must act; its tasks are kept, and it is probed at long intervals",
    )
    .await;
    assert_eq!(
        (&sink["sink"], &account["account"], &account["tasks"]),
        (&"missing".into(), &"default".into(), &2.into()),
        "{sink} {account}"
    );
    assert!(
        sink["waiting"].as_u64() >= Some(1)
            && account.get("region").is_none()
            && account.get("held").is_none(),
        "{sink} {account}"
    );
    for line in [sink, account] {
        let at = |key: &str| {
            line[key]
                .as_str()
                .filter(|at| at.starts_with("20"))
                .unwrap_or_else(|| panic!("{key}: {line}"))
                .to_owned()
        };
        assert!(at("since") < at("next_probe"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_reports_what_is_left() {
    let cloud = cloud(
        Scenario::default().with_task(1, [SimResponse::status(1)]).with_task(2, [SimResponse::status(4)]),
    )
    .await;
    let home = Home::new(&cloud, "[sinks.missing]\ntype = \"file\"\npath = \"missing/events.jsonl\"");
    home.list([1, 2]);
    let child = home.start();
    eventually("one task is over", || home.events().len() == 1).await;
    signal(&child, "TERM");
    let reported = &output_of(child).await.log_lines("stopped")[0];
    assert_eq!(
        (&reported["open_tasks"], &reported["owed_deliveries"], &reported["sinks"]),
        (&1.into(), &1.into(), &"missing (1)".into()),
        "{reported}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_until_done_says_which_deliveries_it_waits_for() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = Home::new(&cloud, &format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{nobody}/\""));
    home.list([1]);
    let reported = reported_by(
        &home,
        "run -c opwatch.toml --until-done",
        "all tasks have finished; waiting for deliveries",
    )
    .await;
    assert_eq!(
        (&reported["open_tasks"], &reported["owed_deliveries"], &reported["sinks"]),
        (&0.into(), &1.into(), &"hook (1)".into()),
        "{reported}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_how_many_dead_letters_the_store_holds() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "[sinks.page]\ntype = \"exec\"\ncommand = [\"./refuses\"]");
    home.write("refuses", "#!/bin/sh\nexit 65\n");
    std::fs::set_permissions(home.path("refuses"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    home.list([1]);
    let ended = home.run_until_done().await;
    let last = ended.stderr.lines().last().unwrap();
    assert_eq!(
        (ended.code, last),
        (Some(1), "opwatch: deliveries became dead letters (1); the log has the events and the reasons")
    );
    let reported = reported(
        &home,
        "the store has undelivered events of earlier runs that are no longer tried; see opwatch events list --failed",
    )
    .await;
    assert_eq!(
        (&reported["level"], &reported["dead_letters"], &reported["sinks"]),
        (&"warn".into(), &1.into(), &"page (1)".into()),
        "{reported}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_about_a_configuration_are_reported_at_the_start_and_so_is_one_without_tasks() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.write("secret_key", &format!("{} \n", opwatch::sim::SECRET_KEY));
    let doubts = home.run_until_done().await.log_lines("the configuration is valid, with a warning");
    for part in ["blanks", "tasks: no task is listed; write [[tasks]]"] {
        assert!(
            doubts.iter().any(|line| line["doubt"].as_str().unwrap().contains(part)),
            "{part}: {doubts:#?}"
        );
    }
}
