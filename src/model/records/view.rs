//! Rows of the store for people: tasks, events and deliveries, each with its filter.

use super::{HotRow, Seq};
use crate::clock::Wall;
use crate::model::event::Event;
use crate::model::reading::Outcome;
use crate::model::step::Reason;
use crate::model::task::{Origin, Row, Settings, Target, TaskId};

/// A selection of tasks. `None` selects all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskFilter {
    /// Whether the tasks have ended.
    pub ended: Option<bool>,
    /// The task id in any of these forms; empty: all.
    pub ids: Vec<TaskId>,
    /// The account.
    pub account: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The operation.
    pub operation: Option<String>,
}

/// A stored task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskView {
    /// Account, region and operation.
    pub target: Target,
    /// The task id.
    pub id: TaskId,
    /// The source of the task.
    pub origin: Origin,
    /// The registration.
    pub registered_at: Wall,
    /// The settings.
    pub settings: Settings,
    /// The state of the polls, as it was stored last.
    pub hot: HotRow,
    /// The end.
    pub ended_at: Option<Wall>,
    /// The outcome, if the task finished.
    pub outcome: Option<Outcome>,
    /// The reason, if the task was abandoned.
    pub reason: Option<Reason>,
}

/// A selection of events. `None` selects all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFilter {
    /// The type, such as `opwatch.task.finished`.
    pub kind: Option<String>,
    /// Events of that task.
    pub task: Option<Row>,
    /// Events since that moment.
    pub since: Option<Wall>,
    /// Events with an undelivered delivery, or a dead letter, of that sink.
    pub sink: Option<String>,
    /// Whether only events with a dead letter are selected.
    pub failed: bool,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    /// Its number.
    pub seq: Seq,
    /// The event.
    pub event: Event,
    /// Its deliveries that are not acknowledged.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery that is not acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    /// The sink.
    pub sink: String,
    /// Failed attempts.
    pub attempts: u32,
    /// The error of a dead letter; `None`: the delivery waits in the outbox.
    pub dead: Option<String>,
}

/// The name of an event in a request: its id, or its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventName {
    /// The id.
    Id(uuid::Uuid),
    /// The number.
    Seq(Seq),
}

/// A selection of deliveries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryFilter {
    /// The events; `None`: all.
    pub events: Option<Vec<EventName>>,
    /// The sink; `None`: all.
    pub sink: Option<String>,
    /// Dead letters since that moment; `None`: all.
    pub since: Option<Wall>,
}
