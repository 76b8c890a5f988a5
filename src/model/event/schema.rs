//! The shipped JSON Schema, checked with an event of every type, and with invalid records.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::*;
use crate::model::reading::{Class, Phase};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../../config/event.schema.json")).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
});

/// The violations of the schema by a record; empty: it is valid.
pub(crate) fn reported(record: &Value) -> Vec<String> {
    VALIDATOR.iter_errors(record).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

const AT: Wall = Wall(1_764_000_000_000);

/// Events of that type, with all optional values and with none.
pub(crate) fn samples(kind: Kind) -> Vec<Event> {
    let target = Target { account: "A b/c".into(), region: "bj".into(), operation: "bm".into() };
    let named = Settings {
        name: Some("rack 7".into()),
        labels: [("team".into(), "dba".into())].into(),
        ..Settings::default()
    };
    let id = TaskId::Int(u64::MAX);
    let text_id = TaskId::Text("a/机".into());
    let about = EventContext { target: &target, id: &id, settings: &named, registered_at: AT, sequence: 3 };
    let bare = EventContext { id: &text_id, settings: &Settings::default(), ..about.clone() };
    let instances = [
        Instance { id: "cpm-1".into(), status: Code::Int(1), outcome: Some(Outcome::Partial) },
        Instance { id: "cpm-2".into(), status: Code::read("RUNNING"), outcome: None },
    ];
    let fault = Fault {
        class: Class::Task,
        code: Code::Int(10_001),
        message: "no such task".into(),
        retry_after: None,
    };
    let one = Code::Int(1);
    let word = Code::read("SUCCESS");
    let ending = Ending {
        at: AT,
        elapsed: Duration::from_millis(1),
        detected_within: Some(Duration::ZERO),
        polls: 2,
        errors: 1,
    };
    let at_once = Ending { detected_within: None, ..ending };
    let reading = |status: &Code, instances: &[Instance], message: Option<&str>| Reading {
        phase: Phase::Running,
        status: status.clone(),
        instances: instances.into(),
        known: true,
        message: message.map(str::to_owned),
    };
    let held = Held {
        account: "A b/c",
        pace_key: Some(("bj", "bm")),
        cause: &fault,
        since: AT,
        number: 1,
        tasks: 3,
    };
    let whole = Held { pace_key: None, ..held };
    let held_sink =
        HeldSink { sink: "page a/b", error: "there is no such program", since: AT, number: 1, waiting: 12 };
    match kind {
        Kind::Finished => vec![
            final_event(
                &about,
                &FinalEvent::Finished {
                    outcome: Outcome::Partial,
                    status: &one,
                    instances: &instances,
                    message: Some(""),
                },
                &ending,
            ),
            final_event(
                &bare,
                &FinalEvent::Finished {
                    outcome: Outcome::Success,
                    status: &word,
                    instances: &[],
                    message: None,
                },
                &at_once,
            ),
        ],
        Kind::Abandoned => {
            let abandoned = |reason, status, last_seen_at, error| FinalEvent::Abandoned {
                reason,
                status,
                last_seen_at,
                error,
            };
            vec![
                final_event(
                    &about,
                    &abandoned(Reason::Rejected, Some(&word), Some(AT), Some(&fault)),
                    &ending,
                ),
                final_event(&bare, &abandoned(Reason::Deadline, None, None, None), &at_once),
                final_event(&bare, &abandoned(Reason::Removed, Some(&one), None, None), &at_once),
            ]
        }
        Kind::Progressed => vec![
            progressed(&about, &reading(&one, &instances, Some("step 2")), &word, AT),
            progressed(&bare, &reading(&word, &[], None), &one, AT),
        ],
        Kind::Overdue => vec![
            overdue(&about, Some(&word), Duration::from_secs(9), AT),
            overdue(&bare, None, Duration::ZERO, AT),
        ],
        Kind::GroupFinished => {
            let counts = GroupCounts { success: 3, abandoned: 1, ..GroupCounts::default() };
            vec![group(
                &Finished { group: "rack 7/机", round: 1, counts, started_at: AT, finished_at: AT },
                AT,
            )]
        }
        Kind::AccountHeld => vec![account(&held, false, AT), account(&whole, false, AT)],
        Kind::AccountReleased => vec![account(&held, true, AT), account(&whole, true, AT)],
        Kind::SinkHeld => vec![sink(&held_sink, false, AT)],
        Kind::SinkReleased => vec![sink(&HeldSink { waiting: 0, ..held_sink }, true, AT)],
        Kind::DeliveryDead => {
            let undelivered = overdue(&about, None, Duration::ZERO, AT);
            vec![dead(
                &Dead { sink: held_sink.sink, event: &undelivered, attempts: 3, error: "too long" },
                AT,
            )]
        }
    }
}

fn record(kind: Kind) -> Value {
    serde_json::from_str(&samples(kind)[0].body).unwrap()
}

#[test]
fn an_event_of_every_type_is_valid_by_the_schema() {
    for event in Kind::ALL.into_iter().flat_map(samples) {
        let record = serde_json::from_str(&event.body).unwrap();
        assert_eq!(reported(&record), [""; 0], "{record}");
        assert_eq!(record["type"], event.kind.name());
    }
}

#[test]
fn a_reader_of_the_schema_lets_added_fields_pass() {
    for mut record in Kind::ALL.into_iter().map(record) {
        record["added"] = true.into();
        record["data"]["added"] = json!({"a": [1]});
        assert_eq!(reported(&record), [""; 0], "{record}");
    }
}

#[test]
fn every_field_that_is_always_there_is_required() {
    for (kind, fields) in [
        (
            Kind::Finished,
            &[
                "outcome",
                "status",
                "finished_at",
                "elapsed_seconds",
                "polls",
                "errors",
                "task",
                "registered_at",
            ][..],
        ),
        (
            Kind::Abandoned,
            &[
                "reason",
                "error",
                "finished_at",
                "elapsed_seconds",
                "polls",
                "errors",
                "task",
                "registered_at",
            ],
        ),
        (Kind::Progressed, &["status", "previous_status", "task", "registered_at"]),
        (Kind::Overdue, &["elapsed_seconds", "task", "registered_at"]),
        (Kind::GroupFinished, &["group", "round", "counts", "started_at", "finished_at"]),
        (Kind::AccountHeld, &["account", "error", "since", "tasks", "region", "operation"]),
        (Kind::AccountReleased, &["account", "error", "since", "tasks"]),
        (Kind::SinkHeld, &["sink", "error", "since", "waiting"]),
        (Kind::SinkReleased, &["sink", "error", "since", "waiting"]),
        (Kind::DeliveryDead, &["sink", "event", "attempts", "error"]),
    ] {
        for field in fields {
            let mut record = record(kind);
            assert!(record["data"].as_object_mut().unwrap().remove(*field).is_some(), "{field}");
            assert_ne!(reported(&record), [""; 0], "{} without {field}", kind.name());
        }
    }
    for whole in Kind::ALL.into_iter().map(record) {
        for field in ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"] {
            let mut record = whole.clone();
            record.as_object_mut().unwrap().remove(field);
            assert_ne!(reported(&record), [""; 0], "{whole} without {field}");
        }
    }
}

#[test]
fn a_value_that_is_wrong_is_found() {
    for (kind, pointer, wrong) in [
        (Kind::Finished, "/specversion", json!("1.1")),
        (Kind::Finished, "/id", json!("1")),
        (Kind::Finished, "/source", json!("opwatch/a b/bj")),
        (Kind::Finished, "/source", json!("opwatch/default")),
        (Kind::Finished, "/type", json!("opwatch.task.done")),
        (Kind::Finished, "/subject", json!("bm")),
        (Kind::Finished, "/time", json!("2025-11-24 16:00:00")),
        (Kind::Finished, "/time", json!("2025-13-24T16:00:00.000Z")),
        (Kind::Finished, "/data/outcome", json!("SUCCESS")),
        (Kind::Finished, "/data/status", json!("1")),
        (Kind::Finished, "/data/status", json!(1.5)),
        (Kind::Finished, "/data/status", json!(null)),
        (Kind::Finished, "/data/task/id", json!(1)),
        (Kind::Finished, "/data/task/labels/team", json!(1)),
        (Kind::Finished, "/data/instances/0/outcome", json!("running")),
        (Kind::Finished, "/data/instances/0/id", json!(null)),
        (Kind::Finished, "/data/elapsed_seconds", json!(-0.001)),
        (Kind::Finished, "/data/detected_within_seconds", json!(null)),
        (Kind::Finished, "/data/polls", json!(-1)),
        (Kind::Finished, "/data/reason", json!("deadline")),
        (Kind::Abandoned, "/data/reason", json!("timeout")),
        (Kind::Abandoned, "/data/outcome", json!("failure")),
        (Kind::Abandoned, "/data/error/code", json!("4100")),
        (Kind::Abandoned, "/data/error/message", json!(null)),
        (Kind::Abandoned, "/data/last_seen_at", json!(1_764_000_000)),
        (Kind::Progressed, "/data/previous_status", json!([])),
        (Kind::GroupFinished, "/source", json!("opwatch/default")),
        (Kind::GroupFinished, "/subject", json!("group/a/b")),
        (Kind::GroupFinished, "/data/round", json!(0)),
        (Kind::GroupFinished, "/data/counts", json!({"success": 1})),
        (Kind::AccountHeld, "/subject", json!("bm/1")),
        (Kind::AccountHeld, "/data/tasks", json!("3")),
        (Kind::SinkHeld, "/source", json!("opwatch/default")),
        (Kind::SinkHeld, "/subject", json!("sink/page/x")),
        (Kind::SinkReleased, "/data/waiting", json!(-1)),
        (Kind::DeliveryDead, "/subject", json!("sink/page")),
        (Kind::DeliveryDead, "/data/event/type", json!("finished")),
        (Kind::DeliveryDead, "/data/error", json!("too long")),
    ] {
        let mut record = record(kind);
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        record.pointer_mut(parent).unwrap()[field] = wrong.clone();
        assert_ne!(reported(&record), [""; 0], "{pointer} = {wrong}");
    }
}
