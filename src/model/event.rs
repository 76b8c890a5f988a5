//! The event: a CloudEvents 1.0 record (docs/architecture.md §7), made once and stored as the text that every sink
//! receives.
//!
//! `event/content.rs` has the type that this text is written from and read into.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

mod content;
mod group;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
pub(crate) mod schema;
mod trouble;

pub use content::{CloudEvent, Data, ErrorData, TaskData, TaskPart};
pub use group::{Finished, GroupCounts, GroupData, group};
pub use trouble::{AccountData, Dead, DeliveryData, Held, HeldSink, SinkData, account, dead, sink};

use super::reading::{Code, Fault, Instance, Outcome, Reading};
use super::step::Reason;
use super::task::{Settings, Target, TaskId};
use crate::clock::Wall;

/// The fixed namespace of event ids; a change would break the deduplication of every reader.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d1c_7f0e_0f4b_4d5e_9a57_2c1f_8a3e_6b90);

/// All but RFC 3986's unreserved characters: the characters that are encoded in a segment of a source or
/// subject, and in a query.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The largest number of instances in one event: with ids and statuses of usual length some 16 KiB.
const MAX_INSTANCES: usize = 200;

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A task finished with an outcome.
    Finished,
    /// A task was abandoned.
    Abandoned,
    /// A task's status, or an instance's, changed.
    Progressed,
    /// A task takes longer than `warn_after`.
    Overdue,
    /// All tasks of a group have finished.
    GroupFinished,
    /// An account or a pace key is on hold: a person must act.
    AccountHeld,
    /// The hold of an account was released.
    AccountReleased,
    /// A sink is on hold: a person must act.
    SinkHeld,
    /// The hold of a sink was released.
    SinkReleased,
    /// A delivery became a dead letter.
    DeliveryDead,
}

/// An event as it is stored and delivered.
#[derive(Clone, Debug)]
pub struct Event {
    /// Equal for every repeat of the event, and different for every other event.
    pub id: Uuid,
    /// Its type.
    pub kind: Kind,
    /// The time of the event, by the local wall clock.
    pub time: Wall,
    /// The whole record as one line of JSON, without a line end.
    pub body: String,
    /// The content of the body: known since the event was made, or read at its first use. `None`: the body
    /// cannot be read.
    content: OnceLock<Option<Box<CloudEvent>>>,
}

/// The task of an event, with the values that all its events carry.
#[derive(Clone, Debug)]
pub struct EventContext<'a> {
    /// Account, region and operation of the task.
    pub target: &'a Target,
    /// The task's id.
    pub id: &'a TaskId,
    /// Its name and labels.
    pub settings: &'a Settings,
    /// The registration of the task: the start of its round.
    pub registered_at: Wall,
    /// The number of earlier events of the task since its registration.
    pub sequence: u32,
}

/// The end of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending {
    /// The detection of the end, by the local wall clock.
    pub at: Wall,
    /// From registration to then.
    pub elapsed: Duration,
    /// The longest possible time between the end and its detection. `None`: no unfinished response came before it.
    pub detected_within: Option<Duration>,
    /// Polls of it.
    pub polls: u32,
    /// The number of failed polls.
    pub errors: u32,
}

/// The content of the final event of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum FinalEvent<'a> {
    /// The task finished with an outcome.
    Finished {
        /// Which one.
        outcome: Outcome,
        /// The status as the cloud wrote it.
        status: &'a Code,
        /// Its instances.
        instances: &'a [Instance],
        /// The message of the cloud, where the operation has one.
        message: Option<&'a str>,
    },
    /// The task was abandoned.
    Abandoned {
        /// Why.
        reason: Reason,
        /// The last status that was seen.
        status: Option<&'a Code>,
        /// When that was.
        last_seen_at: Option<Wall>,
        /// The refusal of the server, where it refused the id.
        error: Option<&'a Fault>,
    },
}

/// The content follows from the body.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.kind, self.time, &self.body) == (other.id, other.kind, other.time, &other.body)
    }
}

impl Eq for Event {}

impl Event {
    /// An event as the store keeps it.
    pub fn stored(id: Uuid, kind: Kind, time: Wall, body: String) -> Self {
        Self { id, kind, time, body, content: OnceLock::new() }
    }

    /// A new event: its id is derived, and its body written.
    fn new(kind: Kind, time: Wall, origin: IdParts, data: Data) -> Self {
        let id = derived_id(&origin, kind, time);
        let content = CloudEvent::new(id, kind, time, origin, data);
        let body = content.body();
        Self { id, kind, time, body, content: OnceLock::from(Some(Box::new(content))) }
    }

    /// The content of the body. `None`: the body cannot be read; this program writes no such body.
    pub fn content(&self) -> Option<&CloudEvent> {
        self.content.get_or_init(|| serde_json::from_str(&self.body).ok()).as_deref()
    }

    /// The data of its type.
    pub fn data(&self) -> Option<&Data> {
        self.content().map(|content| &content.data)
    }

    /// The subject, percent-encoded as in the record.
    pub fn subject(&self) -> &str {
        self.content().map_or("", |content| &content.subject)
    }

    /// The outcome of a finished task.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.data()? {
            Data::Task(task) => task.outcome,
            Data::Group(_) | Data::Account(_) | Data::Sink(_) | Data::Delivery(_) => None,
        }
    }
}

impl Kind {
    /// Every type there is.
    pub const ALL: [Self; 10] = [
        Self::Finished,
        Self::Abandoned,
        Self::Progressed,
        Self::Overdue,
        Self::GroupFinished,
        Self::AccountHeld,
        Self::AccountReleased,
        Self::SinkHeld,
        Self::SinkReleased,
        Self::DeliveryDead,
    ];

    /// The CloudEvents type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "opwatch.task.finished",
            Self::Abandoned => "opwatch.task.abandoned",
            Self::Progressed => "opwatch.task.progressed",
            Self::Overdue => "opwatch.task.overdue",
            Self::GroupFinished => "opwatch.group.finished",
            Self::AccountHeld => "opwatch.account.held",
            Self::AccountReleased => "opwatch.account.released",
            Self::SinkHeld => "opwatch.sink.held",
            Self::SinkReleased => "opwatch.sink.released",
            Self::DeliveryDead => "opwatch.delivery.dead",
        }
    }

    /// The type of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the event ends the watch of its task.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Abandoned)
    }

    /// Whether the event is about opwatch's own work, and not about a task.
    pub fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::AccountHeld
                | Self::AccountReleased
                | Self::SinkHeld
                | Self::SinkReleased
                | Self::DeliveryDead
        )
    }
}

/// The final event of a task.
pub fn final_event(about: &EventContext<'_>, word: &FinalEvent<'_>, ending: &Ending) -> Event {
    let (kind, mut data) = match word {
        FinalEvent::Finished { outcome, status, instances, message } => {
            let data = TaskData {
                outcome: Some(*outcome),
                status: Some((*status).clone()),
                instances: kept(instances),
                instances_left_out: left_out(instances),
                message: message.map(str::to_owned),
                ..TaskData::of(about)
            };
            (Kind::Finished, data)
        }
        FinalEvent::Abandoned { reason, status, last_seen_at, error } => {
            let data = TaskData {
                reason: Some(*reason),
                status: status.cloned(),
                last_seen_at: last_seen_at.map(|at| at.to_string()),
                error: error.map(ErrorData::of),
                ..TaskData::of(about)
            };
            (Kind::Abandoned, data)
        }
    };
    data.finished_at = Some(ending.at.to_string());
    data.elapsed_seconds = Some(seconds(ending.elapsed));
    data.detected_within_seconds = ending.detected_within.map(seconds);
    data.polls = Some(ending.polls);
    data.errors = Some(ending.errors);
    of_task(about, kind, ending.at, data)
}

/// A task's status, or an instance's, changed.
pub fn progressed(about: &EventContext<'_>, reading: &Reading, previous: &Code, at: Wall) -> Event {
    let data = TaskData {
        status: Some(reading.status.clone()),
        previous_status: Some(previous.clone()),
        instances: kept(&reading.instances),
        instances_left_out: left_out(&reading.instances),
        message: reading.message.clone(),
        ..TaskData::of(about)
    };
    of_task(about, Kind::Progressed, at, data)
}

/// A task takes longer than expected; polling continues.
pub fn overdue(about: &EventContext<'_>, status: Option<&Code>, elapsed: Duration, at: Wall) -> Event {
    let data =
        TaskData { status: status.cloned(), elapsed_seconds: Some(seconds(elapsed)), ..TaskData::of(about) };
    of_task(about, Kind::Overdue, at, data)
}

/// The instances of an event, in the order of the response. Failed instances are left out last.
fn kept(instances: &[Instance]) -> Vec<Instance> {
    let mut kept: Vec<_> = instances.iter().enumerate().collect();
    if kept.len() > MAX_INSTANCES {
        kept.sort_by_key(|(_, instance)| match instance.outcome {
            Some(Outcome::Failure | Outcome::Partial) => 0,
            Some(Outcome::Success) | None => 1,
        });
        kept.truncate(MAX_INSTANCES);
        kept.sort_by_key(|(position, _)| *position);
    }
    kept.into_iter().map(|(_, instance)| instance.clone()).collect()
}

fn left_out(instances: &[Instance]) -> Option<usize> {
    instances.len().checked_sub(MAX_INSTANCES).filter(|count| *count > 0)
}

fn of_task(about: &EventContext<'_>, kind: Kind, at: Wall, data: TaskData) -> Event {
    let Target { account, region, operation } = about.target;
    let origin = IdParts {
        source: format!("opwatch/{}/{}", segment(account), segment(region)),
        subject: format!("{}/{}", segment(operation), segment(&about.id.to_string())),
        start: about.registered_at,
        sequence: about.sequence,
    };
    Event::new(kind, at, origin, Data::Task(Box::new(data)))
}

/// The parts of an event's id, beside its type and time.
struct IdParts {
    /// The CloudEvents source.
    source: String,
    /// The CloudEvents subject.
    subject: String,
    /// The start of the registration, of the group's round, or of the hold.
    start: Wall,
    /// The number of the event since the start.
    sequence: u32,
}

/// UUIDv5 over compact JSON `[source, subject, start_ms, type, sequence]`. All but final events add the time
/// (docs/architecture.md §3, promise 2): a final event that is made again after a crash keeps its id.
fn derived_id(origin: &IdParts, kind: Kind, time: Wall) -> Uuid {
    let IdParts { source, subject, start, sequence } = origin;
    let mut name = serde_json::json!([source, subject, start.0, kind.name(), sequence]);
    if let (false, Some(parts)) = (kind.is_final(), name.as_array_mut()) {
        parts.push(time.0.into());
    }
    Uuid::new_v5(&NAMESPACE, name.to_string().as_bytes())
}

fn segment(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// Seconds with a resolution of a millisecond, as a short JSON number.
fn seconds(span: Duration) -> f64 {
    span.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::Phase;

    fn finished(registered_at: i64, seen_at: i64) -> Event {
        let target = Target { account: "default".into(), region: "bj".into(), operation: "bm".into() };
        let settings = Settings {
            name: Some("reinstall rack 7".into()),
            labels: [("team".into(), "dba".into())].into(),
            ..Settings::default()
        };
        let instances =
            [Instance { id: "cpm-3dw234".into(), status: Code::Int(1), outcome: Some(Outcome::Success) }];
        let about = EventContext {
            target: &target,
            id: &TaskId::Int(1_000_800_001),
            settings: &settings,
            registered_at: Wall(registered_at),
            sequence: 0,
        };
        let word = FinalEvent::Finished {
            outcome: Outcome::Success,
            status: &Code::Int(1),
            instances: &instances,
            message: None,
        };
        let spans = (Duration::from_millis(723_400), Some(Duration::from_millis(31_500)));
        final_event(
            &about,
            &word,
            &Ending { at: Wall(seen_at), elapsed: spans.0, detected_within: spans.1, polls: 17, errors: 2 },
        )
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
    fn an_event_keeps_a_bounded_number_of_instances_failed_ones_first_and_counts_the_rest() {
        let target = Target { account: "default".into(), region: "bj".into(), operation: "bm".into() };
        let settings = Settings::default();
        let id = TaskId::Int(1);
        let about = EventContext {
            target: &target,
            id: &id,
            settings: &settings,
            registered_at: Wall(0),
            sequence: 0,
        };
        let outcome = |number: usize| match number % 1_000 {
            999 => Outcome::Failure,
            _ => Outcome::Success,
        };
        let instance = |number| Instance {
            id: format!("cpm-{number}"),
            status: Code::Int(1),
            outcome: Some(outcome(number)),
        };
        let data = |instances: &[Instance]| {
            let reading = Reading {
                phase: Phase::Running,
                status: Code::Int(5),
                instances: instances.into(),
                known: true,
                message: None,
            };
            let finished = FinalEvent::Finished {
                outcome: Outcome::Partial,
                status: &Code::Int(3),
                instances,
                message: None,
            };
            let ending =
                Ending { at: Wall(1), elapsed: Duration::ZERO, detected_within: None, polls: 1, errors: 0 };
            let progressed = progressed(&about, &reading, &Code::Int(4), Wall(1));
            [progressed, final_event(&about, &finished, &ending)].map(|event| {
                assert!(event.body.len() < 20_000, "{} bytes", event.body.len());
                let record: serde_json::Value = serde_json::from_str(&event.body).unwrap();
                assert_eq!(schema::reported(&record), [""; 0]);
                record["data"].clone()
            })
        };
        let all: Vec<_> = (0..10_000).map(instance).collect();
        for data in data(&all) {
            let kept = data["instances"].as_array().unwrap();
            assert_eq!((kept.len(), &data["instances_left_out"]), (MAX_INSTANCES, &9_800.into()));
            let failed = kept.iter().filter(|instance| instance["outcome"] == "failure").count();
            assert_eq!((failed, &kept[0]["id"], &kept[199]["id"]), (10, &"cpm-0".into(), &"cpm-9999".into()));
        }
        for data in data(&all[..MAX_INSTANCES]) {
            assert_eq!(data["instances"].as_array().unwrap().len(), MAX_INSTANCES);
            assert_eq!(data.get("instances_left_out"), None);
        }
    }

    #[test]
    fn a_final_event_made_again_keeps_its_id_and_another_registration_has_another() {
        assert_eq!(finished(1, 100).id, finished(1, 200).id);
        assert_ne!(finished(1, 100).id, finished(2, 100).id);
    }

    #[test]
    fn the_derivation_of_ids_never_changes() {
        assert_eq!(
            finished(1_763_999_276_600, 1).id.hyphenated().to_string(),
            "e490f9be-c703-57df-b614-6db43cf4fcaa"
        );
    }

    #[test]
    fn segments_of_source_and_subject_are_percent_encoded() {
        assert_eq!(segment("a/b c~机").to_string(), "a%2Fb%20c~%E6%9C%BA");
    }

    #[test]
    fn bodies_and_ids_of_every_type_never_change() {
        let bodies: Vec<_> =
            Kind::ALL.into_iter().flat_map(schema::samples).map(|event| event.body).collect();
        assert_eq!(bodies, include_str!("event/bodies.jsonl").lines().collect::<Vec<_>>());
    }

    #[test]
    fn an_event_from_the_store_has_the_content_that_it_was_made_with() {
        for made in Kind::ALL.into_iter().flat_map(schema::samples) {
            let stored = Event::stored(made.id, made.kind, made.time, made.body.clone());
            assert_eq!(stored.content(), made.content(), "{}", made.body);
            assert_eq!(stored.content().unwrap().body(), made.body);
        }
    }

    #[test]
    fn fields_that_a_later_version_adds_are_passed_over() {
        let made = finished(1, 100);
        let later = made.body.replacen("\"data\":{", "\"added\":[1],\"data\":{\"added\":{\"a\":1},", 1);
        assert_eq!(Event::stored(made.id, made.kind, made.time, later).content(), made.content());
    }

    #[test]
    fn a_body_that_cannot_be_read_has_no_content() {
        let stored = Event::stored(Uuid::nil(), Kind::Finished, Wall(0), "{".to_owned());
        assert_eq!((stored.content(), stored.subject(), stored.outcome()), (None, "", None));
    }
}
