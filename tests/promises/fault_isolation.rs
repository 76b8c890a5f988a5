//! A fault of the network or the service delays, of the credentials holds the account, of a setting the pace
//! key; only a fault of the task itself abandons it.

use std::time::Duration;

use opwatch::sim::{Offset, SECRET_KEY, Scenario, SimResponse, Unlisted};

use crate::support::{Home, cloud, eventually, output_of, signal};

/// Every other id succeeds with its first response.
fn succeeds() -> Scenario {
    Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_holds_the_account_and_the_right_one_in_its_file_releases_it() {
    let cloud = cloud(succeeds()).await;
    let home = Home::new(&cloud, "");
    home.edit("events.jsonl\"\n", "events.jsonl\"\nevents = [\"finished\", \"abandoned\", \"trouble\"]\n");
    // Regular probes would release the hold too, but not within this test.
    home.edit(
        "error_interval = \"20ms\"\nerror_max_interval = \"100ms\"",
        "error_interval = \"10m\"\nerror_max_interval = \"10m\"",
    );
    home.write("secret_key", "wrong");
    home.list(1..=100);
    let child = home.start();
    eventually("the hold is told", || !home.events().is_empty()).await;
    let held = &home.events()[0];
    assert_eq!(
        (&held["type"], &held["data"]["error"]["code"]),
        (&"opwatch.account.held".into(), &4100.into()),
        "{held}"
    );
    assert!(cloud.requests() <= 35, "{} requests", cloud.requests());
    home.write("secret_key", SECRET_KEY);
    eventually("everything is over", || {
        home.events().iter().filter(|event| event["type"] == "opwatch.task.finished").count() == 100
    })
    .await;
    assert_eq!(home.events().iter().filter(|event| event["type"] == "opwatch.account.released").count(), 1);
    signal(&child, "TERM");
    let ended = output_of(child).await;
    assert_eq!(
        (ended.log_lines("account held").len(), ended.log_lines("task abandoned").len()),
        (1, 0),
        "{}",
        ended.stderr
    );
    let is_loud = |line: &&str| line.contains("\"level\":\"error\"") && !line.contains("\"account held\"");
    let loud: Vec<_> = ended.stderr.lines().filter(is_loud).collect();
    assert!(
        loud.iter().all(|line| line.contains("\"error\":4100,")),
        "the code as in the event line: {loud:?}"
    );
    assert!(loud.len() == 1 && loud[0].contains("secret_key"), "{loud:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_id_among_good_ones_is_abandoned_with_the_server_s_words() {
    let cloud = cloud(succeeds().with_task(7, [SimResponse::refusal(5000, "no such task")])).await;
    let home = Home::new(&cloud, "");
    home.edit("[store]", "reject_after = \"200ms\"\n[store]");
    home.list(1..=10);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let abandoned: Vec<_> =
        home.events().into_iter().filter(|event| event["type"] == "opwatch.task.abandoned").collect();
    let [event] = &abandoned[..] else { panic!("{abandoned:?}") };
    assert_eq!((&event["subject"], &event["data"]["reason"]), (&"bm/7".into(), &"rejected".into()));
    assert_eq!(event["data"]["error"], serde_json::json!({"code": 5000, "message": "no such task"}));
    assert!(event["data"]["status"].is_null() && home.events().len() == 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_known_and_is_gone_reports_what_was_seen_last_and_when() {
    let cloud =
        cloud(succeeds().with_task(7, [SimResponse::status(4), SimResponse::refusal(5000, "gone")])).await;
    let home = Home::new(&cloud, "");
    home.edit("[store]", "reject_after = \"100ms\"\n[store]");
    home.list([7]);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let data = &home.events()[0]["data"];
    assert_eq!((&data["reason"], &data["status"]), (&"rejected".into(), &4.into()));
    assert!(data["last_seen_at"].is_string(), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_typed_wrong_holds_its_pace_key_and_abandons_nothing() {
    let wrong = Scenario { regions: Some(vec!["gz".to_owned()]), ..succeeds() };
    let refused_alike = Scenario {
        unlisted: Unlisted::Follows(vec![SimResponse::refusal(5000, "no such task")]),
        ..Scenario::default()
    };
    for scenario in [wrong, refused_alike] {
        let cloud = cloud(scenario).await;
        let home = Home::new(&cloud, "");
        home.edit("[store]", "reject_after = \"20ms\"\n[store]");
        home.list(1..=500);
        let child = home.start();
        cloud.wait_until(|seen| seen.len() >= 50).await;
        signal(&child, "TERM");
        let ended = output_of(child).await;
        assert_eq!(
            (ended.log_lines("account held").len(), ended.log_lines("task abandoned").len()),
            (1, 0),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.log_lines("account held")[0]["region"], "bj");
        assert_eq!(home.events().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_an_hour_off_is_corrected_by_itself_within_three_requests() {
    let cloud = cloud(Scenario { clock_offset: Offset(3_600_000), ..succeeds() }).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let ended = home.run_until_done().await;
    assert_eq!((ended.code, home.events().len()), (Some(0), 1), "{}", ended.stderr);
    assert!(cloud.requests() <= 3, "{} requests", cloud.requests());
    assert!(home.events()[0]["data"]["elapsed_seconds"].as_f64().unwrap() < 60.0, "{}", home.events()[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_delays_and_a_lost_connection_counts_as_nothing() {
    let cloud = cloud(
        succeeds()
            .with_task(1, [SimResponse::status(4).times(3), SimResponse::cut(), SimResponse::status(1)]),
    )
    .await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let data = &home.events()[0]["data"];
    assert_eq!((&data["polls"], &data["errors"]), (&5.into(), &0.into()), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed() {
    let cloud =
        cloud(succeeds().with_task(1, [SimResponse::page(503, "").retry_after("1"), SimResponse::status(1)]))
            .await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let seen = cloud.received();
    assert!(
        seen[1].arrived - seen[0].arrived >= Duration::from_millis(990),
        "{:?}",
        seen[1].arrived - seen[0].arrived
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes the minute that held work is given"]
async fn a_run_until_done_ends_with_5_and_names_what_is_held_once_nothing_else_is_left() {
    let cloud = cloud(succeeds()).await;
    let home = Home::new(&cloud, "");
    home.write("secret_key", "wrong");
    home.list(1..=10);
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("opwatch: ") && line.contains("account default")),
        "{}",
        ended.stderr
    );
    home.write("secret_key", SECRET_KEY);
    assert_eq!((home.run_until_done().await.code, home.events().len()), (Some(0), 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_folder_is_missing_is_written_as_soon_as_that_is_there() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "[sinks.late]\ntype = \"file\"\npath = \"logs/late/events.jsonl\"");
    home.edit(
        "error_interval = \"20ms\"\nerror_max_interval = \"100ms\"",
        "error_interval = \"1h\"\nerror_max_interval = \"1h\"",
    );
    home.list([1]);
    let child = home
        .in_shell(&format!("exec {} run -c opwatch.toml --until-done 2>log", env!("CARGO_BIN_EXE_opwatch")))
        .spawn()
        .unwrap();
    let log = || std::fs::read_to_string(home.path("log")).unwrap_or_default();
    eventually("the hold is told", || log().contains("its folder does not exist")).await;
    std::fs::create_dir_all(home.path("logs/late")).unwrap();
    assert_eq!(output_of(child).await.code, Some(0), "{}", log());
    assert_eq!(
        std::fs::read(home.path("logs/late/events.jsonl")).unwrap(),
        std::fs::read(home.path("events.jsonl")).unwrap()
    );
}
