//! Requests of one pace key leave evenly spaced, the first one after a start included.

use opwatch::sim::{Answer, Scenario};

use crate::support::{Home, cloud, said, signal};

/// Beside the tick of 5 ms that the promise leaves to a timer: what a loaded machine may add between leaving and arriving.
const TICK_AND_ARRIVAL_MICROSECONDS: i64 = 5_000 + 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_evenly_spaced_through_faults_and_restarts() {
    let cloud = cloud(Scenario {
        unlisted: opwatch::sim::Unlisted::Follows(vec![Answer::page(503, ""), Answer::status(4)]),
        ..Scenario::default()
    })
    .await;
    let home = Home::new(&cloud, "");
    home.edit("rate_limit = 500", "rate_limit = 10");
    home.list(1..=40);
    for wanted in [8, 16, 24] {
        let child = home.start();
        cloud.wait_until(|seen| seen.len() >= wanted).await;
        signal(&child, "KILL");
        said(child).await;
    }
    let arrivals: Vec<_> = cloud.seen().iter().map(|seen| seen.arrived.0).collect();
    let gaps: Vec<_> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= 100_000 - TICK_AND_ARRIVAL_MICROSECONDS), "gaps in microseconds: {gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_no_more_requests_under_way_than_its_bound() {
    let slow = Answer::status(1).delayed(std::time::Duration::from_millis(100));
    let cloud = cloud(Scenario { unlisted: opwatch::sim::Unlisted::Follows(vec![slow]), ..Scenario::default() }).await;
    let home = Home::new(&cloud, "");
    home.edit("rate_limit = 500", "rate_limit = 500\nmax_in_flight = 2");
    home.list(1..=20);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let arrivals: Vec<_> = cloud.seen().iter().map(|seen| seen.arrived.0).collect();
    // Of any three in a row, the third leaves only after the first was answered.
    assert!(arrivals.windows(3).all(|three| three[2] - three[0] >= 100_000), "{arrivals:?}");
}
