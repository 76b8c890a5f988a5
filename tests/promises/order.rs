//! A sink receives the events of a task in the order in which they happened, and a fault of one task delays
//! no other.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use opwatch::sim::{Scenario, SimResponse};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::support::receiver::{self, Receiver};
use crate::support::{Home, cloud, eventually};

const TASKS: u64 = 40;
const EVENTS: &str = r#"events = ["finished", "progressed"]"#;
const RETRY: &str = r#"retry = { initial = "5ms", max = "30ms" }"#;

/// Writes its event with the exit code before it, which is 75 once in three times. Its input is empty if the
/// daemon is killed before it writes the event.
const PROGRAM: &str = r#"
read -r line || exit 75
code=$(( $(od -An -N1 -tu1 /dev/urandom) % 3 ? 0 : 75 ))
printf "%s\n" "$code $line" >>page.jsonl
exit $code
"#;

/// One attempt that a sink received.
struct Attempt {
    event: Value,
    is_acknowledged: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_that_fail_at_random_receive_the_events_of_each_task_in_order_through_kills() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let life = || [4, 5, 6, 7, 8, 1].map(SimResponse::status).to_vec();
    let cloud =
        cloud((1..=TASKS).fold(Scenario::default(), |scenario, id| scenario.with_task(id, life()))).await;
    let receiver = Receiver::start().await;
    receiver.respond_next((0..TASKS * 6).map(|_| match chance.random_range(0..6) {
        0 => receiver::ReceiverResponse::status(500),
        1 => receiver::ReceiverResponse::Cut,
        2 => receiver::ReceiverResponse::Late(Duration::from_millis(30), 204),
        3 => receiver::ReceiverResponse::Late(Duration::from_millis(10), 503),
        _ => receiver::ReceiverResponse::status(204),
    }));
    let home = Home::new(
        &cloud,
        &format!(
            "{EVENTS}\n[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\nmax_in_flight = 16\n{EVENTS}\n{RETRY}\n\
             [sinks.page]\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", '''{PROGRAM}''']\n{EVENTS}\n{RETRY}",
            receiver.addr
        ),
    );
    home.list(1..=TASKS);
    for _ in 0..4 {
        let mut child = home.start();
        let wanted = receiver.count() + chance.random_range(5..40);
        eventually("deliveries", || receiver.count() >= wanted).await;
        child.kill().await.unwrap();
    }
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let happened = happened(&home);
    let several = happened.values().filter(|ids| ids.len() > 2).count() as u64;
    // A kill loses responses that were not stored, so not every task has an event for each of its statuses.
    assert!(several > TASKS / 5, "{several} tasks have more than two events");
    let page = std::fs::read_to_string(home.path("page.jsonl")).unwrap();
    let of_program = |line: &str| {
        let (code, event) = line.split_once(' ').unwrap();
        Attempt { event: serde_json::from_str(event).unwrap(), is_acknowledged: code == "0" }
    };
    let of_webhook = |got: receiver::Got| Attempt {
        event: serde_json::from_str(&got.body).unwrap(),
        is_acknowledged: got.was_accepted,
    };
    let of_file = |event| Attempt { event, is_acknowledged: true };
    came_in_order("file", home.events().into_iter().map(of_file).collect(), &happened);
    came_in_order("webhook", receiver.got().into_iter().map(of_webhook).collect(), &happened);
    came_in_order("exec", page.lines().map(of_program).collect(), &happened);
}

/// Subject → ids of its events in the order of their commits, by the store.
fn happened(home: &Home) -> BTreeMap<String, Vec<String>> {
    let store = rusqlite::Connection::open(home.path("opwatch.db")).unwrap();
    let mut select = store.prepare("SELECT body FROM event WHERE task_row IS NOT NULL ORDER BY seq").unwrap();
    let bodies = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut happened: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for body in bodies {
        let event: Value = serde_json::from_str(&body.unwrap()).unwrap();
        let subject = text(&event["subject"]);
        // The store itself has the order of the cloud: each change continues the one before.
        if let Some(before) = last.get(&subject).filter(|_| event["type"] == "opwatch.task.progressed") {
            assert_eq!(event["data"]["previous_status"], before["data"]["status"], "{event}");
        }
        happened.entry(subject.clone()).or_default().push(text(&event["id"]));
        last.insert(subject, event);
    }
    assert!(last.len() as u64 == TASKS && last.values().all(|event| event["data"]["outcome"] == "success"));
    happened
}

/// An event is first sent after all earlier ones of its task were acknowledged, and none is missing.
fn came_in_order(sink: &str, attempts: Vec<Attempt>, happened: &BTreeMap<String, Vec<String>>) {
    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut retried = 0;
    for Attempt { event, is_acknowledged } in attempts {
        let id = text(&event["id"]);
        let earlier = happened[&text(&event["subject"])].iter().take_while(|known| **known != id);
        let missing: Vec<_> = earlier.filter(|earlier| !acknowledged.contains(*earlier)).collect();
        assert!(missing.is_empty(), "{sink} received {event} before {missing:?}");
        retried += usize::from(!is_acknowledged);
        acknowledged.extend(is_acknowledged.then_some(id));
    }
    let all: HashSet<String> = happened.values().flatten().cloned().collect();
    assert!(all == acknowledged, "{sink} received {} of {} events", acknowledged.len(), all.len());
    assert!(sink == "file" || retried > 10, "{sink} failed {retried} times");
}

/// Refuses the events of task 1 until it is repaired.
const PROGRAM_OF_ONE_FAULT: &str = r#"
read -r line || exit 75
case "$line" in *'"subject":"bm/1"'*) [ -e repaired ] || exit 75 ;; esac
printf "%s\n" "$line" >>page.jsonl
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_events_are_refused_and_one_whose_polls_hang_delay_no_other_task() {
    const OTHERS: std::ops::RangeInclusive<u64> = 3..=60;
    let life = || [4, 5, 1].map(SimResponse::status).to_vec();
    let scenario = Scenario::default().with_task(1, life()).with_task(2, [SimResponse::hang()]);
    let cloud = cloud(OTHERS.fold(scenario, |scenario, id| scenario.with_task(id, life()))).await;
    let home = Home::new(
        &cloud,
        &format!(
            "{EVENTS}\n[sinks.page]\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", '''{PROGRAM_OF_ONE_FAULT}''']\n{EVENTS}\n{RETRY}"
        ),
    );
    // Longer than this test: a hanging poll that delays others would show.
    home.edit("[poll]\n", "[poll]\nrequest_timeout = \"10m\"\n");
    home.list(1..=60);
    let _child = home.start();
    let page = || -> Vec<Value> {
        let text = std::fs::read_to_string(home.path("page.jsonl")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let finished = |events: &[Value], id: u64| {
        events
            .iter()
            .any(|event| event["subject"] == format!("bm/{id}") && event["type"] == "opwatch.task.finished")
    };
    eventually("all other tasks in the sink", || {
        let events = page();
        OTHERS.into_iter().all(|id| finished(&events, id))
    })
    .await;
    eventually("the end of task 1 in the other sink", || finished(&home.events(), 1)).await;
    assert!(page().iter().all(|event| event["subject"] != "bm/1"));

    home.write("repaired", "");
    eventually("task 1 in the sink", || finished(&page(), 1)).await;
    let of_one = |events: Vec<Value>| events.into_iter().filter(|event| event["subject"] == "bm/1");
    let in_page: Vec<_> = of_one(page()).collect();
    assert_eq!(in_page, of_one(home.events()).collect::<Vec<_>>());
    assert!(in_page.len() > 1, "task 1 has one event alone");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test draws its seed and prints it")]
fn rand_seed() -> u64 {
    rand::random()
}
