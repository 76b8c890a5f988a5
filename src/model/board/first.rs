//! First responses: one write a second stores them together (docs/architecture.md §4, "Hot state").

use std::time::Duration;

use super::super::due::Slot;
use super::super::waiting::Waiting;
use super::Board;
use crate::clock::Steady;

/// The time that a first response waits for the write.
const LONGEST: Duration = Duration::from_secs(1);
/// The largest number of tasks in one write.
const MOST: usize = 5_000;

/// The tasks whose first response is not stored yet.
#[derive(Debug, Default)]
pub struct FirstResponses {
    slots: Vec<Slot>,
    /// The moment of the next write.
    due: Option<Steady>,
}

impl FirstResponses {
    /// The moment of the next write; `None`: no first response waits.
    pub fn due(&self) -> Option<Steady> {
        self.due
    }

    fn add(&mut self, slot: Slot, now: Steady) {
        self.slots.push(slot);
        let due = self.due.unwrap_or(now + LONGEST);
        self.due = Some(if self.slots.len() >= MOST { now } else { due });
    }
}

impl Board {
    /// The task continues after its first response, which is stored with those of other tasks.
    pub fn put_back_first(&mut self, slot: Slot, task: Waiting, now: Steady) {
        self.put_back(slot, task);
        self.first.add(slot, now);
    }

    /// The tasks whose first response is to be stored now. They count as stored.
    pub fn take_first(&mut self, now: Steady) -> Vec<&Waiting> {
        if self.first.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.take_all_first()
    }

    /// The tasks whose first response is not stored yet. They count as stored.
    pub fn take_all_first(&mut self) -> Vec<&Waiting> {
        let FirstResponses { slots, .. } = std::mem::take(&mut self.first);
        let mut unsaved = Vec::with_capacity(slots.len());
        for slot in slots {
            // A task that is away is stored by its step.
            if let Some(Some(task)) = self.table.get_mut(slot as usize)
                && task.unsaved
            {
                task.unsaved = false;
                unsaved.push(slot);
            }
        }
        unsaved.into_iter().filter_map(|slot| self.get(slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_responses_wait_a_second_or_until_they_are_many() {
        let at = |millis: i64| Steady(millis * 1_000);
        let mut first = FirstResponses::default();
        assert_eq!(first.due(), None);
        first.add(1, at(10));
        first.add(2, at(900));
        assert_eq!(first.due(), Some(at(1_010)), "counted from the first one");
        (2..MOST as Slot).for_each(|slot| first.add(slot, at(950)));
        assert_eq!(first.due(), Some(at(950)));
    }
}
