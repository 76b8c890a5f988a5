//! Requests of one pace key leave evenly spaced, the first one after a start included.

use opwatch::sim::{Scenario, SimResponse};

use crate::support::{Home, cloud, output_of, signal};

/// The time between two requests at the rate below. `model::pace` proves each gap. From outside, arrivals
/// jitter with the machine's load: any number of them in a row must take the expected time, within one and a
/// half intervals.
const INTERVAL_MICROSECONDS: i64 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_evenly_spaced_through_faults_and_restarts() {
    let cloud = cloud(Scenario {
        unlisted: opwatch::sim::Unlisted::Follows(vec![SimResponse::page(503, ""), SimResponse::status(4)]),
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
        output_of(child).await;
    }
    let arrivals: Vec<_> = cloud.received().iter().map(|seen| seen.arrived.0).collect();
    for (from, first) in arrivals.iter().enumerate() {
        for (to, last) in arrivals.iter().enumerate().skip(from + 1) {
            let least = (to - from) as i64 * INTERVAL_MICROSECONDS - INTERVAL_MICROSECONDS * 3 / 2;
            assert!(
                last - first >= least,
                "requests {from} to {to} within {} µs: {arrivals:?}",
                last - first
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_no_more_requests_under_way_than_its_bound() {
    let slow = SimResponse::status(1).delayed(std::time::Duration::from_millis(100));
    let cloud =
        cloud(Scenario { unlisted: opwatch::sim::Unlisted::Follows(vec![slow]), ..Scenario::default() })
            .await;
    let home = Home::new(&cloud, "");
    home.edit("rate_limit = 500", "rate_limit = 500\nmax_in_flight = 2");
    home.list(1..=20);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let arrivals: Vec<_> = cloud.received().iter().map(|seen| seen.arrived.0).collect();
    // Of any three in a row, the third leaves only after the response to the first.
    assert!(arrivals.windows(3).all(|three| three[2] - three[0] >= 100_000), "{arrivals:?}");
}
