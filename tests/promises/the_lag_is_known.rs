//! Each final event states its largest possible lag.

use std::time::Duration;

use opwatch::sim::{Scenario, SimResponse};

use crate::support::{Home, cloud, output_of, signal};

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_at_most_one_interval_and_absent_if_the_first_response_was_final() {
    let scenario = Scenario::default()
        .with_task(1, [SimResponse::status(1)])
        .with_task(2, [SimResponse::status(4).times(3), SimResponse::status(1)]);
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    home.list([1, 2]);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let lag = |subject: &str| {
        home.events().iter().find(|event| event["subject"] == subject).unwrap()["data"]["detected_within_seconds"].clone()
    };
    assert!(lag("bm/1").is_null());
    let arrivals: Vec<_> =
        cloud.received().iter().filter(|seen| seen.task == "2").map(|seen| seen.arrived.0).collect();
    let last_gap = Duration::from_micros((arrivals[3] - arrivals[2]).unsigned_abs());
    let reported = Duration::from_secs_f64(lag("bm/2").as_f64().unwrap());
    assert!(
        reported + Duration::from_millis(50) >= last_gap && reported < last_gap + Duration::from_secs(2),
        "{reported:?} for {last_gap:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_lag_counts_from_the_last_stored_sighting() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let child = home.start();
    // The first responses are stored together, within a second.
    let stored = Duration::from_secs(2);
    cloud.wait_until(|seen| seen.last().is_some_and(|last| last.arrived - seen[0].arrived > stored)).await;
    signal(&child, "KILL");
    output_of(child).await;
    let before = cloud.received();
    cloud.set_responses("1", [SimResponse::status(1)]);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let unseen = cloud.received()[before.len()].arrived - before[before.len() - 1].arrived;
    let reported = home.events()[0]["data"]["detected_within_seconds"].as_f64().unwrap();
    assert!(
        reported + 0.05 >= unseen.as_secs_f64(),
        "{reported}: an upper bound must reach back to the last sighting, {unseen:?} before"
    );
}
