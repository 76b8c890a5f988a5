//! At-least-once per sink, through `kill -9` and every other way to end.

use std::collections::HashMap;
use std::time::Duration;

use opwatch::sim::{Scenario, SimResponse, Unlisted};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use serde_json::Value;

use crate::support::receiver as web;
use crate::support::{Home, cloud, eventually, final_words, output_of, signal};

const TASKS: u64 = 400;
const KILLS: u32 = 40;

fn expected(id: u64) -> (i64, &'static str) {
    [(1, "success"), (2, "failure"), (3, "partial")][id as usize % 3]
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_kills_lose_no_end_change_none_and_tear_no_line() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let script =
        |id| vec![SimResponse::status(4).times(1 + id as u32 % 4), SimResponse::status(expected(id).0)];
    let cloud =
        cloud((1..=TASKS).fold(Scenario::default(), |scenario, id| scenario.with_task(id, script(id)))).await;
    let home = Home::new(&cloud, "");
    home.edit("rate_limit = 500", "rate_limit = 200");
    home.list(1..=TASKS);

    for _ in 0..KILLS {
        let mut child = home.start();
        tokio::time::sleep(Duration::from_millis(chance.random_range(5..200))).await;
        child.kill().await.unwrap();
    }
    let last = home.run_until_done().await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);

    let events = home.events();
    let words = final_words(&events);
    assert_eq!(words.len() as u64, TASKS);
    for id in 1..=TASKS {
        let pairs = &words[&format!("bm/{id}")];
        assert!(pairs.len() == 1 && pairs[0].1 == expected(id).1, "task {id}: {pairs:?}");
    }
}

/// Ways of a webhook to fail that drop no event: a refused login among them.
fn failures(chance: &mut StdRng) -> web::ReceiverResponse {
    match chance.random_range(0..40) {
        0 => web::ReceiverResponse::status(500),
        1 => web::ReceiverResponse::status(502),
        2 => web::ReceiverResponse::Status(429, vec![("retry-after", "0".to_owned())], String::new()),
        3 => web::ReceiverResponse::Late(Duration::from_millis(100), 503),
        4 => web::ReceiverResponse::Late(Duration::from_millis(50), 204),
        5 => web::ReceiverResponse::Cut,
        6 if chance.random_bool(0.2) => web::ReceiverResponse::Silent,
        7 if chance.random_bool(0.1) => web::ReceiverResponse::status(401),
        _ => web::ReceiverResponse::status(204),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute or two"]
async fn twenty_thousand_tasks_reach_a_webhook_that_fails_in_every_way_through_ten_kills_in_order() {
    const MANY: u64 = 20_000;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let script = vec![SimResponse::status(4), SimResponse::status(5), SimResponse::status(1)];
    let cloud = cloud(Scenario { unlisted: Unlisted::Follows(script), ..Scenario::default() }).await;
    let receiver = web::Receiver::start().await;
    receiver.respond_next((0..MANY * 4).map(|_| failures(&mut chance)));
    let hook = format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\nevents = [\"progressed\", \"finished\"]\ntimeout = \"500ms\"\nmax_in_flight = 16\nretry = {{ initial = \"5ms\", max = \"50ms\" }}",
        receiver.addr
    );
    let home = Home::new(&cloud, &hook);
    home.edit("events.jsonl\"\n", "events.jsonl\"\nevents = [\"progressed\", \"finished\"]\n");
    home.edit("rate_limit = 500", "rate_limit = 20000\nmax_in_flight = 64");
    home.list(1..=MANY);
    for _ in 0..10 {
        let mut child = home.start();
        let until = receiver.count() + chance.random_range(1..4_000);
        eventually("some arrive", || receiver.count() >= until).await;
        child.kill().await.unwrap();
    }
    let last = home.run_until_done().await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);

    let mut bodies: HashMap<String, Value> = HashMap::new();
    let mut heard: HashMap<String, Vec<String>> = HashMap::new();
    for got in receiver.got().into_iter().filter(|got| got.was_accepted) {
        let event: Value = serde_json::from_str(&got.body).unwrap();
        let id = event["id"].as_str().unwrap().to_owned();
        match bodies.get(&id) {
            Some(before) => assert_eq!(before, &event, "one id for two events"),
            None => {
                heard
                    .entry(event["subject"].to_string())
                    .or_default()
                    .push(event["type"].as_str().unwrap().to_owned());
                bodies.insert(id, event);
            }
        }
    }
    // A change in a response just before a kill was never stored; the file has all others.
    let known: HashMap<String, Value> =
        home.events().into_iter().map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect();
    assert_eq!(bodies.len(), known.len());
    assert!(known.iter().all(|(id, event)| bodies.get(id) == Some(event)));
    assert!(
        heard.len() as u64 == MANY && bodies.len() as u64 > MANY * 11 / 10,
        "{} of {} tasks",
        bodies.len(),
        heard.len()
    );
    for (task, kinds) in heard {
        assert!(kinds.last().unwrap() == "opwatch.task.finished" && kinds.len() <= 2, "{task}: {kinds:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test draws its seed and prints it")]
fn rand_seed() -> u64 {
    rand::random()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_within_five_seconds_and_the_next_start_goes_on_where_it_was() {
    let cloud =
        cloud(Scenario::default().with_task(1, [SimResponse::status(4)]).with_task(2, [SimResponse::hang()]))
            .await;
    let home = Home::new(&cloud, "");
    home.list([1, 2]);
    let child = home.start();
    cloud.wait_until(|seen| seen.iter().filter(|seen| seen.task == "1").count() > 3).await;
    signal(&child, "TERM");
    let ended =
        tokio::time::timeout(Duration::from_secs(5), output_of(child)).await.expect("a drain within 5 s");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let before = cloud.received().iter().filter(|seen| seen.task == "1").count();
    cloud.set_responses("1", [SimResponse::status(1)]);
    cloud.set_responses("2", [SimResponse::status(1)]);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let polls = home.events().iter().find(|event| event["subject"] == "bm/1").unwrap()["data"]["polls"]
        .as_u64()
        .unwrap();
    assert_eq!(polls, before as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_down_loses_nothing_and_delays_no_other() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(
        &cloud,
        "[sinks.missing]\ntype = \"file\"\npath = \"later/events.jsonl\"\nretry = { initial = \"20ms\", max = \"50ms\" }",
    );
    home.list([1]);
    let child = home.start();
    eventually("the other sink has the event", || home.events().len() == 1).await;
    std::fs::create_dir(home.path("later")).unwrap();
    let late = home.path("later/events.jsonl");
    eventually("the event in the late sink", || {
        std::fs::read_to_string(&late).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(std::fs::read(late).unwrap(), std::fs::read(home.path("events.jsonl")).unwrap());
    signal(&child, "TERM");
    let stderr = output_of(child).await.stderr;
    assert!(stderr.contains("later/events.jsonl"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_store_is_refused() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let first = home.start();
    cloud.wait_until(|seen| !seen.is_empty()).await;
    let second = home.run_until_done().await;
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    let reported = second.stderr.lines().find(|line| line.starts_with("opwatch: ")).unwrap();
    assert!(
        reported.contains("in use by another opwatch") && reported.contains(&first.id().unwrap().to_string()),
        "{reported}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_lock_is_waited_for_and_neither_loses_an_end_nor_delays_a_stop() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let child = home.start();
    cloud.wait_until(|seen| seen.len() >= 2).await;
    let foreign = rusqlite::Connection::open(home.path("opwatch.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    cloud.set_responses("1", [SimResponse::status(1)]);
    cloud
        .wait_until(|seen| {
            seen.last().is_some_and(|seen| seen.verdict == opwatch::sim::RequestOutcome::Status(1))
        })
        .await;
    signal(&child, "TERM");
    let ended = tokio::time::timeout(Duration::from_secs(6), output_of(child))
        .await
        .expect("a stop within five seconds, and a slow machine's second");
    assert_eq!((ended.code, home.events().len()), (Some(0), 0), "{}", ended.stderr);
    drop(foreign);
    assert_eq!(home.run_until_done().await.code, Some(0));
    assert_eq!(home.events()[0]["data"]["outcome"], "success");
}
