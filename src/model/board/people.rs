//! Requests of people on the board: pauses, and tasks by their keys.

use std::cmp::Reverse;

use super::super::due::Slot;
use super::super::step::{Overdue, overdue};
use super::super::task::Row;
use super::super::waiting::{TargetIndex, Times, Waiting};
use super::{AccountIndex, Board, Scope, Share};
use crate::clock::{Moment, Steady};

impl Board {
    /// Enters the next check of the `overdue` event of a task: at its start, and after a change of its settings.
    pub fn arm_overdue(&mut self, slot: Slot, task: &Waiting, now: Moment) {
        match overdue(task, Times { local: now, cloud: None }) {
            Overdue::Now => self.warnings.push(Reverse((now.steady, slot))),
            Overdue::LookAt(at) => self.warnings.push(Reverse((at, slot))),
            Overdue::Never => {}
        }
    }

    /// The slot of an open task.
    pub fn find(&self, row: Row) -> Option<Slot> {
        self.rows.get(row)
    }

    /// Whether a poll of the task is in flight, or its step is being stored.
    pub fn is_busy(&self, slot: Slot) -> bool {
        self.away.contains(&slot) || self.get(slot).is_some_and(|task| task.in_flight)
    }

    /// A poll of the task is in flight, though this board did not send it.
    pub fn set_in_flight(&mut self, slot: Slot) {
        let Some(task) = self.table[slot as usize].as_mut() else { return };
        task.in_flight = true;
        let Share { key, account, .. } = self.shares[self.targets[task.target.0 as usize]];
        self.keys[key.0].in_flight += 1;
        self.accounts[account.0].in_flight += 1;
    }

    /// A task that was polled on another board may be the next probe.
    pub fn admit_probe(&mut self, slot: Slot) {
        let Some(task) = self.table[slot as usize].as_ref().filter(|task| task.polled.get().is_some()) else {
            return;
        };
        let share = self.targets[task.target.0 as usize];
        if !task.paused {
            self.links.push_back(&mut self.shares[share].polled, slot);
        }
    }

    /// The row of a slot.
    pub fn row_of(&self, slot: Slot) -> Option<Row> {
        self.rows.row_of(slot)
    }

    /// Begins or ends the pause of an account by a person.
    pub fn pause_account(&mut self, account: AccountIndex, paused: bool) {
        self.accounts[account.0].gate.set_paused(paused);
        self.update_all(Scope::Account(account));
        self.arm_probe(Scope::Account(account));
        self.make_runnable(account);
    }

    /// Whether the account or the pace key of that target is on hold.
    pub fn is_on_hold(&self, target: TargetIndex) -> bool {
        let scopes = [Scope::Account(self.account_of(target)), Scope::Key(self.key_of(target))];
        scopes.into_iter().any(|scope| self.gate(scope).hold().is_some())
    }

    /// Whether a response requested a pause of the pace key of that target, which lasts.
    pub fn is_pause_requested(&self, target: TargetIndex, now: Steady) -> bool {
        self.keys[self.key_of(target).0].gate.pace.requested_pause(now).is_some()
    }

    /// Whether a person paused the account of that target.
    pub fn is_account_paused(&self, target: TargetIndex) -> bool {
        self.accounts[self.account_of(target).0].gate.is_paused()
    }

    /// Whether tasks are paused, and all other open tasks are on hold.
    pub fn is_paused_work_left(&self) -> bool {
        self.usable_tasks == 0 && !self.paused.is_empty()
    }

    /// Number of tasks that a person paused.
    pub fn paused(&self) -> usize {
        self.paused.len()
    }

    /// The pause of a task begins or ends.
    pub(super) fn count_paused(&mut self, slot: Slot, task: &Waiting, index: usize) {
        let share = &mut self.shares[index];
        if task.paused {
            self.paused.insert(slot);
            share.paused += 1;
            self.usable_tasks -= usize::from(share.is_usable);
            self.links.remove(&mut share.polled, slot);
        } else {
            self.paused.remove(&slot);
            share.paused -= 1;
            self.usable_tasks += usize::from(share.is_usable);
            if task.polled.get().is_none() {
                self.not_due.push(Reverse((task.due, slot)));
            } else {
                self.links.push_front(&mut share.polled, slot);
            }
        }
    }
}
