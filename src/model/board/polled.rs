//! The tasks of a share by the moment of their last poll, without a poll first: a probe uses the first.
//!
//! Doubly linked lists over the slots of the hot table: 8 bytes a task, and each step takes constant time.

use super::super::due::Slot;

/// No slot: the end of a list.
const NONE: Slot = Slot::MAX;
/// The slot is in no list.
const OUT: Slot = Slot::MAX - 1;

/// The list of one share.
#[derive(Clone, Copy, Debug)]
pub struct PolledList {
    first: Slot,
    last: Slot,
}

/// The links of all lists; a slot is in one list at most.
#[derive(Debug, Default)]
pub struct Links(Vec<Link>);

#[derive(Clone, Copy, Debug)]
struct Link {
    before: Slot,
    after: Slot,
}

impl Default for PolledList {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Links {
    /// Makes room for that many tasks.
    pub fn reserve(&mut self, tasks: usize) {
        self.0.reserve(tasks);
    }

    /// Adds a task that was never polled, or moves it to the start.
    pub fn push_front(&mut self, list: &mut PolledList, slot: Slot) {
        self.remove(list, slot);
        self.0[slot as usize] = Link { before: NONE, after: list.first };
        match list.first {
            NONE => list.last = slot,
            first => self.0[first as usize].before = slot,
        }
        list.first = slot;
    }

    /// Adds a task that is polled now, or moves it to the end.
    pub fn push_back(&mut self, list: &mut PolledList, slot: Slot) {
        self.remove(list, slot);
        self.0[slot as usize] = Link { before: list.last, after: NONE };
        match list.last {
            NONE => list.first = slot,
            last => self.0[last as usize].after = slot,
        }
        list.last = slot;
    }

    /// Removes a task, if it is in the list.
    pub fn remove(&mut self, list: &mut PolledList, slot: Slot) {
        if self.0.len() <= slot as usize {
            self.0.resize(slot as usize + 1, Link { before: OUT, after: OUT });
        }
        let Link { before, after } = self.0[slot as usize];
        if before == OUT {
            return;
        }
        match before {
            NONE => list.first = after,
            before => self.0[before as usize].after = after,
        }
        match after {
            NONE => list.last = before,
            after => self.0[after as usize].before = before,
        }
        self.0[slot as usize] = Link { before: OUT, after: OUT };
    }

    /// The tasks of a list in order.
    pub fn iter(&self, list: &PolledList) -> impl Iterator<Item = Slot> + '_ {
        let some = |slot: Slot| (slot != NONE).then_some(slot);
        std::iter::successors(some(list.first), move |slot| some(self.0[*slot as usize].after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_polled_longest_ago_is_first_and_a_removed_one_is_gone() {
        let mut links = Links::default();
        let mut list = PolledList::default();
        [3, 1, 4].into_iter().for_each(|slot| links.push_back(&mut list, slot));
        links.push_front(&mut list, 9);
        links.push_back(&mut list, 3);
        assert_eq!(links.iter(&list).collect::<Vec<_>>(), [9, 1, 4, 3]);
        [9, 3, 4, 7].into_iter().for_each(|slot| links.remove(&mut list, slot));
        assert_eq!(links.iter(&list).collect::<Vec<_>>(), [1]);
        links.remove(&mut list, 1);
        assert_eq!(links.iter(&list).count(), 0);
        links.push_back(&mut list, 1);
        assert_eq!(links.iter(&list).collect::<Vec<_>>(), [1]);
    }
}
