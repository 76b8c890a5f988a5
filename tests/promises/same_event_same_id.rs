//! An event has one id wherever and however often it is received, and no two events share one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opwatch::sim::{Scenario, SimResponse};
use serde_json::Value;
use uuid::Uuid;

use crate::support::receiver::{self, Receiver};
use crate::support::{Home, cloud, eventually};

/// Readers drop repeats by ids that are derived in this namespace: it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d1c_7f0e_0f4b_4d5e_9a57_2c1f_8a3e_6b90);

const TASKS: u64 = 40;
const ALL: &str = r#"events = ["finished", "abandoned", "progressed", "overdue", "group", "trouble"]"#;
const RETRY: &str = r#"retry = { initial = "5ms", max = "20ms" }"#;

/// Appends its event, and then fails every other time.
const PROGRAM: &str = "cat >>page.jsonl; exit $(( $(od -An -N1 -tu1 /dev/urandom) % 2 * 75 ))";

/// Each life: changes of status, then success; every tenth id is unknown to the cloud.
fn life(id: u64) -> Vec<SimResponse> {
    if id.is_multiple_of(10) {
        return vec![SimResponse::status(4), SimResponse::refusal(10001, "no such task")];
    }
    vec![
        SimResponse::status(4).times(2),
        SimResponse::status(5),
        SimResponse::status(4),
        SimResponse::status(1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_one_id_in_every_sink_and_at_every_attempt_through_kills() {
    let cloud =
        cloud((1..=TASKS).fold(Scenario::default(), |scenario, id| scenario.with_task(id, life(id)))).await;
    let receiver = Receiver::start().await;
    let home = Home::new(
        &cloud,
        &format!(
            r#"{ALL}
[sinks.hook]
type = "webhook"
url = "http://{}/"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
{ALL}
{RETRY}
[sinks.page]
type = "exec"
command = ["/bin/sh", "-c", '{PROGRAM}']
{ALL}
{RETRY}"#,
            receiver.addr
        ),
    );
    home.edit("[poll]\n", "[poll]\nwarn_after = \"1ms\"\nreject_after = \"10ms\"\n");
    let group = |id| format!("{{\"id\":{id},\"group\":\"rack {}\"}}\n", id % 3);
    home.write("list.tasks", &(1..=TASKS).map(group).collect::<String>());
    for kill in 1..=5 {
        // The event arrives, and its acknowledgement is lost on the way back.
        receiver.respond_next(std::iter::repeat_n(receiver::ReceiverResponse::Cut, 8));
        receiver.respond_next(std::iter::repeat_n(
            receiver::ReceiverResponse::Late(Duration::from_millis(50), 503),
            4,
        ));
        let mut child = home.start();
        let wanted = receiver.count() + 3 * kill;
        eventually("deliveries", || receiver.count() >= wanted).await;
        child.kill().await.unwrap();
    }
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let got = receiver.got();
    for got in &got {
        let event: Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!(got.header("webhook-id"), event["id"], "{}", got.body);
    }
    let text = |name: &str| std::fs::read_to_string(home.path(name)).unwrap();
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let received = [
        ("file", lines(text("events.jsonl"))),
        ("webhook", got.iter().map(|got| got.body.clone()).collect()),
        ("exec", lines(text("page.jsonl"))),
    ];
    // One id has one text, and one text without its id has one id.
    let mut text_of: BTreeMap<String, String> = BTreeMap::new();
    let mut id_of: BTreeMap<String, String> = BTreeMap::new();
    let mut ids_in: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (sink, texts) in &received {
        for text in texts {
            let id = id(&serde_json::from_str(text).unwrap());
            let known = text_of.entry(id.clone()).or_insert_with(|| text.clone());
            assert_eq!(known, text, "one id for two events, in {sink}");
            let known = id_of.entry(text.replace(&id, "")).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "two ids for one event, in {sink}");
            ids_in.entry(*sink).or_default().insert(id);
        }
    }
    assert!(received[1].1.len() > ids_in["webhook"].len(), "the webhook received no event twice");
    assert!(received[2].1.len() > ids_in["exec"].len(), "the program received no event twice");
    for (sink, ids) in &ids_in {
        let all: BTreeSet<_> = text_of.keys().cloned().collect();
        assert_eq!(*ids, all, "{sink}");
    }
    let events: Vec<Value> = text_of.values().map(|text| serde_json::from_str(text).unwrap()).collect();
    for kind in ["task.finished", "task.abandoned", "task.progressed", "task.overdue", "group.finished"] {
        assert!(events.iter().any(|event| event["type"] == format!("opwatch.{kind}")), "no {kind}");
    }
    final_ids_are_the_documented_ones(&events);
}

/// UUIDv5 over `[source, subject, start_ms, type, sequence]`: the start is the registration, the sequence the
/// number of the task's events before.
fn final_ids_are_the_documented_ones(events: &[Value]) {
    let mut checked = 0;
    for event in events.iter().filter(|event| {
        ["opwatch.task.finished", "opwatch.task.abandoned"].contains(&event["type"].as_str().unwrap())
    }) {
        let before = events.iter().filter(|other| other["subject"] == event["subject"]).count() - 1;
        let registered_at = event["data"]["registered_at"].as_str().unwrap();
        let start = humantime::parse_rfc3339(registered_at).unwrap();
        let start_ms = start.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        let name = serde_json::json!([event["source"], event["subject"], start_ms, event["type"], before])
            .to_string();
        assert_eq!(Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string(), id(event), "{event}");
        checked += 1;
    }
    assert_eq!(checked, TASKS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_registered_again_has_a_final_event_with_another_id() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "");
    for run in ["1", "2", "3"] {
        home.write("list.tasks", &format!("{{\"id\":1,\"run\":\"{run}\"}}\n"));
        assert_eq!(home.run_until_done().await.code, Some(0));
        // Listed without a change, the task is not registered again, and makes no event.
        assert_eq!(home.run_until_done().await.code, Some(0));
    }
    let events = home.events();
    let ids: BTreeSet<_> = events.iter().map(id).collect();
    assert!(events.len() == 3 && ids.len() == 3, "{events:#?}");
    assert!(events.iter().all(|event| event["subject"] == "bm/1"), "{events:#?}");
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}
