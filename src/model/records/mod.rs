//! The durable data types: rows of the store, and durable steps.
//!
//! The model fills them and the store keeps them; no field depends on an engine.

mod row_set;
pub mod view;

use std::time::Duration;

use super::event::{Event, GroupCounts};
use super::reading::{Code, Outcome};
use super::step::Reason;
use super::task::{Origin, Row, Settings, TaskId};
use crate::clock::Wall;

pub use row_set::RowSet;

/// The key of a target in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRow(pub i64);

/// An account or a sink that a person may pause, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PauseScope {
    /// No task of the account is polled.
    Account(String),
    /// No event is delivered to the sink.
    Sink(String),
}

/// The key of a round of a group in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupRow(pub i64);

/// A round of a group whose tasks have all finished.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRound {
    /// Its key.
    pub row: GroupRow,
    /// The group's name.
    pub name: String,
    /// Counted from 1.
    pub round: u32,
    /// When its first task was registered.
    pub started_at: Wall,
    /// When its last task ended.
    pub finished_at: Wall,
    /// The outcomes of its tasks.
    pub counts: GroupCounts,
    /// The settings of its tasks, each once: they select the sinks of its event.
    pub settings: Vec<Settings>,
}

/// The number of an event: the order in which events were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub i64);

/// The result of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its key.
    pub row: Row,
    /// The state of the task.
    pub state: RegisteredState,
}

/// The state of a registered task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisteredState {
    /// Registered just now.
    New,
    /// Known and open; changed settings apply.
    Known,
    /// Known and finished: it is not polled again, unless it is listed with another `run`, or was abandoned
    /// as removed.
    Finished,
}

/// The part of an open task that a poll may change, with wall times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotRow {
    /// The row of the task.
    pub row: Row,
    /// When the next poll falls due.
    pub due: Wall,
    /// The due moment of the first poll, or the last change.
    pub since: Wall,
    /// The moment of the last successful poll, by the cloud's clock where its offset was known.
    pub seen: Option<Wall>,
    /// The digest of the last reading.
    pub digest: u64,
    /// The status of the last reading.
    pub status: Option<Code>,
    /// Polls so far.
    pub polls: u32,
    /// The number of failed polls so far.
    pub errors: u32,
    /// The number of faults since the last successful poll.
    pub streak: u16,
    /// The registration by the cloud's clock, if that is known.
    pub registered_cloud: Option<Wall>,
    /// Whether its `overdue` event exists.
    pub warned: bool,
    /// Whether a person paused it.
    pub paused: bool,
    /// The timeout from the registration that a person set, in place of that of the settings.
    pub extended: Option<Duration>,
}

/// An open task, as it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTask {
    /// Its id.
    pub id: TaskId,
    /// Account, region and operation: an entry of `Store::targets`.
    pub target: TargetRow,
    /// The source of the task.
    pub origin: Origin,
    /// When it was registered.
    pub registered_at: Wall,
    /// The settings of the task.
    pub settings: Settings,
    /// The state of its polling.
    pub hot: HotRow,
}

/// The values of a task that its events carry.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The settings of the task.
    pub settings: Settings,
    /// When it was registered.
    pub registered_at: Wall,
    /// The number of its events since then.
    pub sequence: u32,
}

/// One durable step of a task: all of it happens, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The present state of the task.
    pub hot: HotRow,
    /// The end of the task, if it has ended.
    pub end: Option<End>,
    /// The event of the change, and its sinks.
    pub event: Option<(Event, Vec<String>)>,
}

/// The end of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The moment at which the end was detected, by the local wall clock.
    pub at: Wall,
    /// The outcome, or the reason of the abandonment.
    pub conclusion: Conclusion,
}

/// The conclusion of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The task finished with that outcome.
    Finished(Outcome),
    /// The task was abandoned for that reason.
    Abandoned(Reason),
}

/// An undelivered event of a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// The event's number; deliveries of a sink go out in this order.
    pub seq: Seq,
    /// The task of the event; `None`: it is about no task.
    pub task: Option<Row>,
    /// Failed attempts so far; after a crash a lower bound.
    pub attempts: u32,
    /// The first attempt, on the sink's own clock; `None`: none yet.
    pub tried: Option<Duration>,
    /// The event.
    pub event: Event,
}

/// Deliveries that become dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The sink of the deliveries.
    pub sink: String,
    /// Which.
    pub seq: Seq,
    /// When.
    pub at: Wall,
    /// Failed attempts.
    pub attempts: u32,
    /// The error of the last attempt.
    pub error: String,
    /// The event about it, and the sinks of that event.
    pub event: Option<(Event, Vec<String>)>,
}

/// The evidence of a pace key about refusals of its tasks (docs/architecture.md §3, promise 6).
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceRow {
    /// The pace key, as text.
    pub pace_key: String,
    /// Whether one of its tasks ever had a good response.
    pub had_good_response: bool,
    /// The tasks that were refused, by error code.
    pub refused: Vec<(Code, Vec<Row>)>,
}

/// A finished task. The default sorts before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedTask {
    /// When it ended.
    pub at: Wall,
    /// Its key.
    pub row: Row,
}

impl Default for FinishedTask {
    fn default() -> Self {
        Self { at: Wall(i64::MIN), row: Row(0) }
    }
}
