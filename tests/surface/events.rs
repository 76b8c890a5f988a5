//! `opwatch events test` on the built program.

use std::fs;

use opwatch::sim::{Scenario, SimResponse};
use serde_json::Value;

use crate::support::{Home, ProgramOutput, cloud, eventually, holds_to_the_schema, output_of, signal};

/// A home whose sinks `page` and `other` run these scripts of `sh`, with the home's folder as `$1`.
async fn home(page: &str, other: &str) -> Home {
    // The cloud gets no request here.
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let sink = |name: &str, script: &str| {
        let command = serde_json::json!(["/bin/sh", "-c", script, name, home.path("")]);
        format!("[sinks.{name}]\ntype = \"exec\"\ncommand = {command}\n")
    };
    home.edit("[store]", &format!("{}{}[store]", sink("page", page), sink("other", other)));
    home
}

async fn test(home: &Home, arguments: &[&str]) -> ProgramOutput {
    let arguments = [&["events", "test", "-c", "opwatch.toml"], arguments].concat();
    output_of(home.opwatch(&arguments).spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sink_is_handed_the_same_event_that_says_it_is_a_test_and_no_store_is_made() {
    let home = home("cat >\"$1/paged\"", "cat >\"$1/other\"").await;
    let ended = test(&home, &[]).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "audit: delivered\nlog: delivered\nother: delivered\npage: delivered\n")
    );
    let [event] = &home.events()[..] else { panic!("{:?}", home.events()) };
    for name in ["paged", "other"] {
        assert_eq!(
            serde_json::from_str::<Value>(&fs::read_to_string(home.path(name)).unwrap()).unwrap(),
            *event
        );
    }
    assert_eq!(ended.log_lines("task finished")[0]["name"], "test event from opwatch events test");
    assert_eq!(event["data"]["task"]["labels"]["test"], "true");
    assert!(!home.path("opwatch.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_sinks_are_tried_and_an_unknown_name_sends_nothing() {
    let home = home("cat >\"$1/paged\"", "exit 1").await;
    let ended = test(&home, &["page", "page"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "page: delivered\n"));
    fs::remove_file(home.path("paged")).unwrap();
    let ended = test(&home, &["page", "auditt", "xyz"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let reported = [
        "opwatch: SINK: there is no sink \"auditt\"; did you mean `audit`?",
        "opwatch: SINK: there is no sink \"xyz\"; write one of `audit`, `log`, `other`, `page`",
    ];
    assert_eq!(ended.stderr.lines().collect::<Vec<_>>(), reported);
    assert!(!home.path("paged").exists() && home.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_each_is_reported_and_the_exit_code_is_that_of_the_worst() {
    let one = home("echo no such ticket; exit 65", "exit 75").await;
    let ended = test(&one, &["page", "other", "audit"]).await;
    let reported = "audit: delivered\nother: again later\n  /bin/sh requests a retry (exit code 75)\n\
                page: refused\n  /bin/sh refused the event (exit code 65); its last output: no such ticket\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(5), reported));
    assert_eq!(ended.stderr, "opwatch: the test event was not accepted by other, page\n");
    assert_eq!(test(&one, &["other"]).await.code, Some(1));

    one.edit("command = [\"/bin/sh\"", "command = [\"./on-done\"");
    let ended = test(&one, &["page"]).await;
    assert_eq!(ended.code, Some(5));
    let reported = "page: held\n  cannot run ./on-done: the program or its interpreter does not exist; install\n  it, or name another one\n";
    assert_eq!(ended.stdout, reported);
}

#[tokio::test(flavor = "multi_thread")]
async fn print_shows_the_event_needs_no_configuration_and_sends_nothing() {
    let home = home("cat >\"$1/paged\"", "exit 1").await;
    for arguments in
        [&["events", "test", "--print"][..], &["events", "test", "-c", "opwatch.toml", "--print"]]
    {
        let ended = output_of(home.opwatch(arguments).spawn().unwrap()).await;
        let event = serde_json::from_str(&ended.stdout).unwrap();
        holds_to_the_schema(&event);
        assert_eq!((ended.code, ended.stdout.lines().count(), ended.stderr.as_str()), (Some(0), 1, ""));
        assert_eq!(event["subject"], "test/test");
    }
    assert_eq!(test(&home, &["--print", "page"]).await.code, Some(2));
    assert!(!home.path("paged").exists() && home.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_reported_as_it_is_by_run() {
    let home = home("exit 0", "exit 0").await;
    home.edit("type = \"file\"", "type = \"fiel\"");
    let ended = test(&home, &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(
        ended.stderr.contains("sinks.audit.type: ") && ended.stderr.contains("did you mean `file`?"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_may_be_run_beside_a_daemon_that_goes_on() {
    let cloud = cloud(
        Scenario::default().with_task(1, [SimResponse::status(1)]).with_task(2, [SimResponse::status(4)]),
    )
    .await;
    let home = Home::new(&cloud, "");
    home.list([1, 2]);
    let daemon = home.start();
    eventually("one task is over", || home.events().len() == 1).await;
    assert_eq!(test(&home, &[]).await.code, Some(0));
    cloud.set_responses("2", [SimResponse::status(1)]);
    eventually("the other is too", || home.events().len() == 3).await;
    signal(&daemon, "TERM");
    assert_eq!(output_of(daemon).await.code, Some(0));
    let subjects: Vec<_> =
        home.events().iter().map(|event| event["subject"].as_str().unwrap().to_owned()).collect();
    assert_eq!(subjects, ["bm/1", "test/test", "bm/2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_what_is_being_tried() {
    let home = home("sleep 1000 & echo $! >\"$1/new\"; mv \"$1/new\" \"$1/pid\"; wait", "exit 0").await;
    home.edit("[sinks.page]\n", "[sinks.page]\ntimeout = \"1000s\"\n");
    let child = home.opwatch(&["events", "test", "-c", "opwatch.toml", "page"]).spawn().unwrap();
    eventually("it is run", || home.path("pid").exists()).await;
    signal(&child, "INT");
    let ended = output_of(child).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), "page: again later\n  interrupted\n"));
    let stat = format!("/proc/{}/stat", fs::read_to_string(home.path("pid")).unwrap().trim());
    eventually("it is gone", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_and_outcome_makes_an_event_of_the_schema() {
    let home = Home::new(&cloud(Scenario::default()).await, "");
    for (options, kind, outcome) in [
        ("", "opwatch.task.finished", Some("success")),
        ("--outcome partial", "opwatch.task.finished", Some("partial")),
        ("--type finished --outcome failure", "opwatch.task.finished", Some("failure")),
        ("--type abandoned", "opwatch.task.abandoned", None),
        ("--type progressed", "opwatch.task.progressed", None),
        ("--type overdue", "opwatch.task.overdue", None),
        ("--type group", "opwatch.group.finished", None),
        ("--type trouble", "opwatch.account.held", None),
    ] {
        let words = ["events", "test", "--print"].into_iter().chain(options.split_whitespace());
        let ended = output_of(home.opwatch(&words.collect::<Vec<_>>()).spawn().unwrap()).await;
        assert_eq!(ended.code, Some(0), "{options}: {}", ended.stderr);
        let event: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((event["type"].as_str(), event["data"]["outcome"].as_str()), (Some(kind), outcome));
        holds_to_the_schema(&event);
    }
    let wrong = output_of(home.opwatch(&["events", "test", "--type", "done"]).spawn().unwrap()).await;
    assert!(wrong.stderr.contains("write one of finished, abandoned, progressed"), "{}", wrong.stderr);
}
