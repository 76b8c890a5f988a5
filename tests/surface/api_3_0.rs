//! `api = "3.0"`: the same tasks, over the API's successor.

use std::time::Duration;

use opwatch::cloud::operations::Api;
use opwatch::sim::{Offset, RequestOutcome, SECRET_KEY, Scenario, Sim, SimResponse, Unlisted};

use crate::support::{Home, cloud, eventually, network, output_of, signal};

/// Every other id succeeds with its first response.
fn succeeds() -> Scenario {
    Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() }
}

fn home(cloud: &Sim) -> Home {
    let home = Home::new(cloud, "");
    home.account("api = \"3.0\"");
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_to_its_end_over_3_0_under_the_name_that_it_has_over_2_0() {
    let script = [
        SimResponse::status(4),
        SimResponse::page(502, ""),
        SimResponse::with_instances(3, [("cpm-1", 1), ("cpm-2", 2)]),
    ];
    let cloud = cloud(succeeds().with_task(u64::MAX, script)).await;
    let home = home(&cloud);
    home.list([1, u64::MAX]);
    home.edit(
        "region = \"bj\"",
        "region = \"bj\"\nmethod = \"GET\"\nsigned_host = \"BM.tencentcloudapi.com\"",
    );
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let event =
        home.events().into_iter().find(|event| event["subject"] == format!("bm/{}", u64::MAX)).unwrap();
    assert_eq!(
        (&event["source"], &event["type"]),
        (&"opwatch/default/bj".into(), &"opwatch.task.finished".into())
    );
    assert_eq!(
        (&event["data"]["task"]["operation"], &event["data"]["task"]["region"]),
        (&"bm".into(), &"bj".into())
    );
    assert_eq!((&event["data"]["outcome"], &event["data"]["status"]), (&"partial".into(), &3.into()));
    assert_eq!(
        event["data"]["instances"][1],
        serde_json::json!({ "id": "cpm-2", "status": 2, "outcome": "failure" })
    );
    for seen in cloud.received() {
        assert_eq!(
            (seen.api, seen.action.as_str(), seen.region.as_str()),
            (Api::V3, "DescribeOperationResult", "ap-beijing")
        );
        assert_eq!(seen.flaw, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_switched_to_3_0_goes_on_with_its_tasks() {
    let cloud = cloud(succeeds().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1, 2]);
    let child = home.start();
    eventually("task 2 is told", || home.events().len() == 1).await;
    cloud.wait_until(|seen| seen.iter().filter(|seen| seen.task == "1").count() >= 3).await;
    signal(&child, "TERM");
    output_of(child).await;
    let polled = cloud.requests() as usize;

    cloud.set_responses("1", [SimResponse::status(4), SimResponse::status(1)]);
    home.account("api = \"3.0\"");
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let reported: Vec<_> =
        home.events().iter().map(|event| event["subject"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reported, ["bm/2", "bm/1"]);
    let polls = home.events()[1]["data"]["polls"].as_u64().unwrap();
    assert_eq!(
        polls,
        cloud.received().iter().filter(|seen| seen.task == "1").count() as u64,
        "polls over both APIs count"
    );
    let apis: Vec<_> = cloud.received()[polled..].iter().map(|seen| (seen.api, seen.task.clone())).collect();
    assert_eq!(apis, [(Api::V3, "1".to_owned()), (Api::V3, "1".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_name_bm3_whatever_the_account_says() {
    let cloud = cloud(succeeds()).await;
    let home = Home::new(&cloud, "[[tasks]]\nid = 1\noperation = \"bm3\"\n[[tasks]]\nid = 1");
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut reported: Vec<_> =
        home.events().iter().map(|event| event["subject"].as_str().unwrap().to_owned()).collect();
    reported.sort();
    assert_eq!(reported, ["bm/1", "bm3/1"]);
    assert_eq!(cloud.received().iter().filter(|seen| seen.api == Api::V3).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_holds_the_account_and_the_right_one_releases_it() {
    let cloud = cloud(succeeds()).await;
    let home = home(&cloud);
    home.edit("events.jsonl\"\n", "events.jsonl\"\nevents = [\"finished\", \"abandoned\", \"trouble\"]\n");
    home.write("secret_key", "wrong");
    home.list(1..=20);
    let child = home.start();
    eventually("the hold is told", || !home.events().is_empty()).await;
    let held = &home.events()[0];
    assert_eq!(
        (&held["type"], &held["data"]["error"]["code"]),
        (&"opwatch.account.held".into(), &"AuthFailure.SignatureFailure".into())
    );
    home.write("secret_key", SECRET_KEY);
    eventually("everything is over", || {
        home.events().iter().filter(|event| event["type"] == "opwatch.task.finished").count() == 20
    })
    .await;
    signal(&child, "TERM");
    let ended = output_of(child).await;
    assert_eq!(
        (ended.log_lines("account held").len(), ended.log_lines("task abandoned").len()),
        (1, 0),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_halve_the_pace() {
    let cloud = cloud(succeeds()).await;
    let home = home(&cloud);
    home.edit("rate_limit = 500", "rate_limit = 20");
    cloud.set_responses(
        "1",
        [SimResponse::refusal("RequestLimitExceeded", "slow down"), SimResponse::status(1)],
    );
    home.list(1..=20);
    let ended = home.run_until_done().await;
    assert_eq!(
        (ended.code, ended.stderr.matches("the polling rate is reduced").count()),
        (Some(0), 1),
        "{}",
        ended.stderr
    );
    let seen = cloud.received();
    let refused = seen.iter().position(|seen| matches!(seen.verdict, RequestOutcome::Refused(_))).unwrap();
    // At 20 a second nine requests take 400 ms, at half of it some 800.
    let after: Vec<_> = seen[refused + 1..].iter().take(9).map(|seen| seen.arrived).collect();
    assert!(after.len() == 9 && after[8] - after[0] >= Duration::from_millis(500), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_an_hour_off_is_corrected_by_itself_within_three_requests() {
    let cloud = cloud(Scenario { clock_offset: Offset(-3_600_000), ..succeeds() }).await;
    let home = home(&cloud);
    home.list([1]);
    let ended = home.run_until_done().await;
    assert_eq!((ended.code, home.events().len()), (Some(0), 1), "{}", ended.stderr);
    assert!(cloud.requests() <= 3, "{} requests", cloud.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_id_is_abandoned_and_a_wrong_region_holds() {
    let unknown =
        cloud(succeeds().with_task(7, [SimResponse::refusal("ResourceNotFound", "no such task")])).await;
    let one = home(&unknown);
    one.edit("[store]", "reject_after = \"100ms\"\n[store]");
    one.list(1..=10);
    assert_eq!(one.run_until_done().await.code, Some(0));
    let abandoned: Vec<_> =
        one.events().into_iter().filter(|event| event["type"] == "opwatch.task.abandoned").collect();
    let [event] = &abandoned[..] else { panic!("{abandoned:?}") };
    assert_eq!(
        event["data"]["error"],
        serde_json::json!({ "code": "ResourceNotFound", "message": "no such task" })
    );

    let elsewhere = cloud(Scenario { regions: Some(vec!["ap-guangzhou".to_owned()]), ..succeeds() }).await;
    let other = home(&elsewhere);
    other.list(1..=20);
    let child = other.start();
    elsewhere.wait_until(|seen| seen.len() >= 4).await;
    signal(&child, "TERM");
    let ended = output_of(child).await;
    assert_eq!(
        (ended.log_lines("account held").len(), ended.log_lines("task abandoned").len()),
        (1, 0),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.log_lines("account held")[0]["region"], "bj");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_signature_nor_token_is_printed_at_trace_though_the_server_repeats_them() {
    let echo = network::echo().await;
    let cloud = cloud(Scenario::default()).await;
    let home = home(&cloud);
    home.edit(&cloud.endpoint(), &format!("http://{}", echo.addr));
    home.edit("secret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n", "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml"]);
    command
        .env("RUST_LOG", "trace")
        .env("TENCENTCLOUD_SECRET_ID", "AKIDsimulator")
        .env("TENCENTCLOUD_TOKEN", "the-token");
    let child = command.env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY).spawn().unwrap();
    eventually("some requests", || echo.heads().len() >= 3).await;
    signal(&child, "TERM");
    let ended = output_of(child).await;
    assert!(ended.stderr.contains("Signature=[secret]"), "{}", ended.stderr);
    for head in echo.heads() {
        let signature =
            head.lines().find_map(|line| line.split_once("Signature=")).expect("a signature").1.trim();
        assert!(signature.len() == 64 && head.contains("x-tc-token: the-token"), "{head}");
        assert!(!ended.stderr.contains(signature), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("the-token") && !ended.stderr.contains(SECRET_KEY), "{}", ended.stderr);
}
