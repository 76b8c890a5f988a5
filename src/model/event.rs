//! The event: a CloudEvents 1.0 record (design.md §7), made once and stored as the text that every sink is handed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use uuid::Uuid;

use super::reading::{Code, Instance, Outcome};
use super::step::Reason;
use super::task::{Settings, Target, TaskId};
use crate::clock::Wall;

/// The fixed namespace of event ids; a change of it would break every reader's deduplication.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d1c_7f0e_0f4b_4d5e_9a57_2c1f_8a3e_6b90);

/// What is kept of a segment of a source or subject: RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A task came to an outcome.
    Finished,
    /// A task was given up.
    Abandoned,
}

/// An event as it is stored and delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The same for every repeat, and for no other event.
    pub id: Uuid,
    /// Its type.
    pub kind: Kind,
    /// When it happened, by the local wall clock.
    pub time: Wall,
    /// The whole record as one line of JSON, without a line end.
    pub body: String,
}

/// Whose event it is.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Where the task was asked for.
    pub target: &'a Target,
    /// The task's id.
    pub id: &'a TaskId,
    /// Its name and labels.
    pub settings: &'a Settings,
    /// When it was registered: where its round begins.
    pub registered_at: Wall,
    /// How many events it had before, since it was registered.
    pub sequence: u32,
}

/// How the watch of a task ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending {
    /// When its end was seen, by the local wall clock.
    pub at: Wall,
    /// From registration to then.
    pub elapsed: Duration,
    /// How long before then it may have ended at most; `None` when the very first answer was final.
    pub detected_within: Option<Duration>,
    /// Polls of it.
    pub polls: u32,
    /// Polls that brought a fault.
    pub errors: u32,
}

/// The word that a task ended with.
#[derive(Clone, Debug, PartialEq)]
pub enum FinalWord<'a> {
    /// It came to an outcome.
    Finished {
        /// Which one.
        outcome: Outcome,
        /// The status as the cloud wrote it.
        status: &'a Code,
        /// Its instances.
        instances: &'a [Instance],
    },
    /// It was given up.
    Abandoned {
        /// Why.
        reason: Reason,
        /// The last status that was seen.
        status: Option<&'a Code>,
    },
}

impl Kind {
    /// Every type there is.
    pub const ALL: [Self; 2] = [Self::Finished, Self::Abandoned];

    /// The CloudEvents type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "opwatch.task.finished",
            Self::Abandoned => "opwatch.task.abandoned",
        }
    }

    /// The type of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a task's watch is over with it.
    pub fn is_final_word(self) -> bool {
        match self {
            Self::Finished | Self::Abandoned => true,
        }
    }
}

/// The one final word on a task.
pub fn final_word(about: &About<'_>, word: &FinalWord<'_>, ending: &Ending) -> Event {
    let (kind, outcome, reason, status, instances) = match word {
        FinalWord::Finished { outcome, status, instances } => (Kind::Finished, Some(*outcome), None, Some(*status), Some(*instances)),
        FinalWord::Abandoned { reason, status } => (Kind::Abandoned, None, Some(reason.to_string()), *status, None),
    };
    let data = TaskData {
        task: TaskPart::of(about),
        outcome,
        reason,
        status,
        instances: instances.filter(|instances| !instances.is_empty()),
        registered_at: about.registered_at.to_string(),
        finished_at: ending.at.to_string(),
        elapsed_seconds: seconds(ending.elapsed),
        detected_within_seconds: ending.detected_within.map(seconds),
        polls: ending.polls,
        errors: ending.errors,
    };
    let Target { account, region, operation } = about.target;
    let source = format!("opwatch/{}/{}", segment(account), segment(region));
    let subject = format!("{}/{}", segment(operation), segment(&about.id.to_string()));
    let id = derived_id(&source, &subject, about.registered_at, kind, about.sequence, ending.at);
    Event { id, kind, time: ending.at, body: record(id, &source, kind, &subject, ending.at, data) }
}

/// UUIDv5 over compact JSON `[source, subject, start_ms, type, sequence]`, with the time added unless it is a final word
/// (design.md §3, promise 2): a final word that is made again after a crash keeps its id.
fn derived_id(source: &str, subject: &str, start: Wall, kind: Kind, sequence: u32, time: Wall) -> Uuid {
    let mut name = serde_json::json!([source, subject, start.0, kind.name(), sequence]);
    if let (false, Some(parts)) = (kind.is_final_word(), name.as_array_mut()) {
        parts.push(time.0.into());
    }
    Uuid::new_v5(&NAMESPACE, name.to_string().as_bytes())
}

fn record(id: Uuid, source: &str, kind: Kind, subject: &str, time: Wall, data: impl Serialize) -> String {
    let record = Record {
        specversion: "1.0",
        id,
        source,
        r#type: kind.name(),
        subject,
        time: time.to_string(),
        datacontenttype: "application/json",
        data,
    };
    #[expect(clippy::expect_used, reason = "strings, numbers and lists of them, in structs: nothing in it can fail to serialize")]
    serde_json::to_string(&record).expect("a record of strings and numbers")
}

fn segment(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, SEGMENT)
}

/// Seconds with a resolution of a millisecond, as a number that JSON writes short.
fn seconds(span: Duration) -> f64 {
    span.as_millis() as f64 / 1000.0
}

#[derive(Serialize)]
struct Record<'a, D> {
    specversion: &'static str,
    #[serde(serialize_with = "hyphenated")]
    id: Uuid,
    source: &'a str,
    r#type: &'static str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: D,
}

fn hyphenated<S: serde::Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.hyphenated())
}

#[derive(Serialize)]
struct TaskData<'a> {
    task: TaskPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<&'a [Instance]>,
    registered_at: String,
    finished_at: String,
    elapsed_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detected_within_seconds: Option<f64>,
    polls: u32,
    errors: u32,
}

#[derive(Serialize)]
struct TaskPart<'a> {
    id: String,
    operation: &'a str,
    account: &'a str,
    region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

impl<'a> TaskPart<'a> {
    fn of(about: &About<'a>) -> Self {
        let Target { account, region, operation } = about.target;
        Self { id: about.id.to_string(), operation, account, region, name: about.settings.name.as_deref(), labels: &about.settings.labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(registered_at: i64, seen_at: i64) -> Event {
        let target = Target { account: "default".into(), region: "bj".into(), operation: "bm".into() };
        let settings =
            Settings { name: Some("reinstall rack 7".into()), labels: [("team".into(), "dba".into())].into(), ..Settings::default() };
        let instances = [Instance { id: "cpm-3dw234".into(), status: Code::Int(1), outcome: Some(Outcome::Success) }];
        let about = About {
            target: &target,
            id: &TaskId::Int(1_000_800_001),
            settings: &settings,
            registered_at: Wall(registered_at),
            sequence: 0,
        };
        let word = FinalWord::Finished { outcome: Outcome::Success, status: &Code::Int(1), instances: &instances };
        let spans = (Duration::from_millis(723_400), Some(Duration::from_millis(31_500)));
        final_word(&about, &word, &Ending { at: Wall(seen_at), elapsed: spans.0, detected_within: spans.1, polls: 17, errors: 2 })
    }

    #[test]
    fn a_finished_task_is_written_as_the_design_shows() {
        let event = finished(1_763_999_276_600, 1_764_000_000_000);
        let expected = format!(
            concat!(
                r#"{{"specversion":"1.0","id":"{}","source":"opwatch/default/bj","type":"opwatch.task.finished","subject":"bm/1000800001","#,
                r#""time":"2025-11-24T16:00:00.000Z","datacontenttype":"application/json","data":{{"task":{{"id":"1000800001","operation":"bm","#,
                r#""account":"default","region":"bj","name":"reinstall rack 7","labels":{{"team":"dba"}}}},"outcome":"success","status":1,"#,
                r#""instances":[{{"id":"cpm-3dw234","status":1,"outcome":"success"}}],"registered_at":"2025-11-24T15:47:56.600Z","#,
                r#""finished_at":"2025-11-24T16:00:00.000Z","elapsed_seconds":723.4,"detected_within_seconds":31.5,"polls":17,"errors":2}}}}"#,
            ),
            event.id.hyphenated()
        );
        assert_eq!(event.body, expected);
    }

    #[test]
    fn a_final_word_made_again_keeps_its_id_and_another_registration_has_another() {
        assert_eq!(finished(1, 100).id, finished(1, 200).id);
        assert_ne!(finished(1, 100).id, finished(2, 100).id);
    }

    #[test]
    fn the_derivation_of_ids_never_changes() {
        assert_eq!(finished(1_763_999_276_600, 1).id.hyphenated().to_string(), "e490f9be-c703-57df-b614-6db43cf4fcaa");
    }

    #[test]
    fn segments_of_source_and_subject_are_percent_encoded() {
        assert_eq!(segment("a/b c~机").to_string(), "a%2Fb%20c~%E6%9C%BA");
    }
}
