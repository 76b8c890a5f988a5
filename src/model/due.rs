//! The queue of one pace key: earliest due first, after tasks that are polled at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::clock::Steady;

/// The place of a waiting task in the hot table.
pub type Slot = u32;

/// The waiting tasks of one pace key: 16 bytes for each task.
#[derive(Debug, Default)]
pub struct Queue {
    at_once: VecDeque<Slot>,
    later: BinaryHeap<Reverse<(Steady, Slot)>>,
}

impl Queue {
    /// The task is polled when it is due, after the tasks that were due before it.
    pub fn push(&mut self, due: Steady, slot: Slot) {
        self.later.push(Reverse((due, slot)));
    }

    /// The task is polled in the next slot of the pace.
    pub fn push_at_once(&mut self, slot: Slot) {
        self.at_once.push_back(slot);
    }

    /// The earliest due moment; `None`: the queue is empty.
    pub fn next(&self) -> Option<Steady> {
        if self.at_once.is_empty() {
            self.later.peek().map(|Reverse((due, _))| *due)
        } else {
            Some(Steady(i64::MIN))
        }
    }

    /// Removes the first due task, if there is one.
    pub fn pop(&mut self, now: Steady) -> Option<Slot> {
        self.at_once.pop_front().or_else(|| {
            self.later.peek().filter(|Reverse((due, _))| *due <= now)?;
            self.later.pop().map(|Reverse((_, slot))| slot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_due_goes_first_and_what_goes_at_once_before_it() {
        let mut queue = Queue::default();
        queue.push(Steady(20), 1);
        queue.push(Steady(10), 2);
        queue.push_at_once(3);
        assert_eq!(
            [queue.pop(Steady(15)), queue.pop(Steady(15)), queue.pop(Steady(15))],
            [Some(3), Some(2), None]
        );
        assert_eq!(queue.next(), Some(Steady(20)));
        assert_eq!(queue.pop(Steady(20)), Some(1));
        assert_eq!(queue.next(), None);
    }
}
