//! The agenda of the board: the next moment of each share, pace key and account.
//!
//! A binary heap with one live entry for each turn. An entry is a moment for a check: the reader computes the
//! actual moment again. An earlier moment adds an entry, and the later entry is skipped.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::clock::Steady;

/// An entry of the agenda.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AgendaEntry {
    /// The polls of a share.
    Share(usize),
    /// The probe of a pace key.
    Key(usize),
    /// The probe of an account.
    Account(usize),
    /// The slot for another program that shares a pace key.
    Visitor(usize),
}

/// The next moment of each share, pace key and account that has one.
#[derive(Debug, Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<(Steady, AgendaEntry)>>,
    armed: HashMap<AgendaEntry, Steady>,
}

impl Agenda {
    /// Plans a check of that turn at that moment, unless an earlier one is planned.
    pub fn arm(&mut self, turn: AgendaEntry, at: Steady) {
        if self.armed.get(&turn).is_none_or(|armed| at < *armed) {
            self.armed.insert(turn, at);
            self.heap.push(Reverse((at, turn)));
        }
    }

    /// The next due turn; it must be armed again.
    pub fn pop(&mut self, now: Steady) -> Option<AgendaEntry> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((_, turn)) = self.heap.pop()?;
        self.armed.remove(&turn);
        Some(turn)
    }

    /// The moment of the next turn.
    pub fn next(&mut self) -> Option<Steady> {
        while let Some(Reverse((at, turn))) = self.heap.peek() {
            if self.armed.get(turn) == Some(at) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }
}
