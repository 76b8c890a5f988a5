//! The hot row of a waiting task: small and flat, since there may be a million of them.
//!
//! Names, labels and history live in the store and are read when an event is made (design.md §4).

use std::time::Duration;

use super::reading::Code;
use super::task::{Row, TaskId};
use crate::clock::Steady;

/// Where a target stands in the running configuration's table of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetIndex(pub u32);

/// All that the polling of one task needs. Times are steady ones; the store keeps them as wall times.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Its key in the store.
    pub row: Row,
    /// What is asked for.
    pub id: TaskId,
    /// Where it is asked for.
    pub target: TargetIndex,
    /// Further request parameters, where the operation needs them.
    pub params: Option<Box<[(String, String)]>>,
    /// When the next poll falls due.
    pub due: Steady,
    /// When the first poll fell due, or when the last change was seen: the interval grows from here.
    pub since: Steady,
    /// When it was registered.
    pub registered: Steady,
    /// From registration to the deadline; `None`: never.
    pub timeout: Option<Duration>,
    /// When the last poll that was answered well was sent; after a crash the last one that was stored.
    pub seen: Option<Steady>,
    /// The digest of the last reading; zero before the first.
    pub digest: u64,
    /// The status of the last reading.
    pub status: Option<Code>,
    /// Polls so far; after a crash a lower bound.
    pub polls: u32,
    /// Polls that brought a fault so far; after a crash a lower bound.
    pub errors: u32,
    /// Faults since the last good answer.
    pub streak: u32,
    /// Whether it was polled since it was last stored.
    pub unsaved: bool,
}

impl Waiting {
    /// A task that was never polled, and is due then.
    pub fn new(row: Row, id: TaskId, target: TargetIndex, due: Steady) -> Self {
        Self {
            row,
            id,
            target,
            params: None,
            due,
            since: due,
            registered: due,
            timeout: None,
            seen: None,
            digest: 0,
            status: None,
            polls: 0,
            errors: 0,
            streak: 0,
            unsaved: false,
        }
    }

    /// When its deadline comes; `None`: never.
    pub fn deadline(&self) -> Option<Steady> {
        self.timeout.map(|timeout| self.registered + timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_row_and_its_places_in_queue_and_table_stay_far_below_300_bytes() {
        let queue_and_table = 16 + 16;
        assert!(size_of::<Option<Waiting>>() + queue_and_table <= 220, "{}", size_of::<Option<Waiting>>());
    }
}
