//! The durable data types: rows of the store, and the steps that it makes durable.
//!
//! The model fills them, the store keeps them, and no field knows of an engine.

mod row_set;

use std::time::Duration;

use super::event::{Event, GroupCounts};
use super::reading::{Code, Outcome};
use super::step::Reason;
use super::task::{Row, Settings, TaskId};
use crate::clock::Wall;

pub use row_set::RowSet;

/// The key of a target in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRow(pub i64);

/// The key of a round of a group in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupRow(pub i64);

/// A round of a group whose tasks are all over.
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
    /// What its tasks came to.
    pub counts: GroupCounts,
    /// What was asked for, each once: by that the sinks are chosen which hear of it.
    pub settings: Vec<Settings>,
}

/// The number of an event: the order in which events were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub i64);

/// What became of a task at its registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its key.
    pub row: Row,
    /// Whether it is watched from now on, was watched already, or is over.
    pub state: RegisteredState,
}

/// Where a registered task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisteredState {
    /// Registered just now.
    New,
    /// Known and still watched; changed settings were taken over.
    Known,
    /// Known and over: it is not watched again, unless it is listed with another `run`, or was abandoned as
    /// removed.
    Finished,
}

/// The hot part of an open task, with wall times; what a poll may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotRow {
    /// Whose it is.
    pub row: Row,
    /// When the next poll falls due.
    pub due: Wall,
    /// When the first poll fell due, or the last change was seen.
    pub since: Wall,
    /// When the last poll that was answered well was sent, by the cloud's clock where its offset was known.
    pub seen: Option<Wall>,
    /// The digest of the last reading.
    pub digest: u64,
    /// The status of the last reading.
    pub status: Option<Code>,
    /// Polls so far.
    pub polls: u32,
    /// Polls that brought a fault so far.
    pub errors: u32,
    /// Faults since the last good answer.
    pub streak: u16,
    /// When it was registered by the cloud's clock, once that is known.
    pub registered_cloud: Option<Wall>,
    /// Whether it was told as overdue.
    pub warned: bool,
}

/// An open task, as it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTask {
    /// Its id.
    pub id: TaskId,
    /// Where it is asked for: an entry of [`Store::targets`].
    pub target: TargetRow,
    /// When it was registered.
    pub registered_at: Wall,
    /// What was asked for.
    pub settings: Settings,
    /// Where its polling stands.
    pub hot: HotRow,
}

/// What an event tells of its task.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was asked for.
    pub settings: Settings,
    /// When it was registered.
    pub registered_at: Wall,
    /// How many events it had since.
    pub sequence: u32,
}

/// One durable step of a task: all of it happens, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The task as it stands now.
    pub hot: HotRow,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// The event that tells of it, and the sinks that are owed it.
    pub event: Option<(Event, Vec<String>)>,
}

/// How a task ended.
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

/// A delivery that is owed.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// The event's number; deliveries of a sink go out in this order.
    pub seq: Seq,
    /// Whose event it is; `None`: no task's.
    pub task: Option<Row>,
    /// Failed attempts so far; after a crash a lower bound.
    pub attempts: u32,
    /// When it was tried first, on the sink's own clock; `None`: never.
    pub tried: Option<Duration>,
    /// The event.
    pub event: Event,
}

/// Deliveries that are given up.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// To whom they were owed.
    pub sink: String,
    /// Which.
    pub seq: Seq,
    /// When.
    pub at: Wall,
    /// Failed attempts.
    pub attempts: u32,
    /// The receiver's words, or what happened.
    pub error: String,
    /// The event that tells of it, and the sinks that are owed that.
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

/// A task that is over. Its default lies before every other.
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
