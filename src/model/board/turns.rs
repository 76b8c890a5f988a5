//! The choice of the next account and share (the waiting tasks of one pace key and account), and of the task for a probe.
//!
//! The agenda gives the moments of the checks. A due share waits in `ready` of its account, and accounts with
//! room alternate. A gate that allows only probes has its own entry.

use std::cmp::Reverse;

use super::super::due::Slot;
use super::super::waiting::Waiting;
use super::agenda::AgendaEntry;
use super::{AccountIndex, AccountState, Board, KeyIndex, Scope, Share};
use crate::clock::Steady;

impl Board {
    /// Enters the next turn of a share into the agenda.
    pub(super) fn arm(&mut self, index: usize) {
        let Share { key, account, is_ready, ref queue, .. } = self.shares[index];
        let Some(due) = queue.next().filter(|_| !is_ready) else { return };
        if self.accounts[account.0].max_in_flight == 0 || self.accounts[account.0].gate.is_paused() {
            return;
        }
        if self.accounts[account.0].gate.probes().is_some() {
            return self.arm_probe(Scope::Account(account));
        }
        let gate = &self.keys[key.0].gate;
        if gate.probes().is_some() {
            return self.arm_probe(Scope::Key(key));
        }
        let slot = gate.pace.next();
        self.agenda.arm(AgendaEntry::Share(index), due.max(slot));
        let slot_bound = &mut self.accounts[account.0].slot_bound;
        _ = if due <= slot { slot_bound.insert(index) } else { slot_bound.remove(&index) };
    }

    /// Enters the next probe of an account or pace key into the agenda, if only probes may leave.
    pub(super) fn arm_probe(&mut self, scope: Scope) {
        let gate = self.gate(scope);
        let Some(next) = gate.next().filter(|_| gate.probes().is_some()) else { return };
        self.agenda.arm(scope.turn(), next);
    }

    /// Updates the counts and the agenda of all shares of an account or pace key, after its gate opened or
    /// closed.
    pub(super) fn update_all(&mut self, scope: Scope) {
        for index in 0..self.shares_of(scope).len() {
            let share = self.shares_of(scope)[index];
            self.update_usable(share);
            self.arm(share);
        }
    }

    /// Tasks without a poll whose first poll is due may be probes from now on.
    pub(super) fn admit_first_probes(&mut self, now: Steady) {
        while let Some(Reverse((_, slot))) = self.not_due.peek().filter(|Reverse((due, _))| *due <= now) {
            let slot = *slot;
            self.not_due.pop();
            let is_new = |task: &&Waiting| task.polled.get().is_none() && !task.paused;
            if let Some(task) = self.table[slot as usize].as_ref().filter(is_new) {
                let share = self.targets[task.target.0 as usize];
                self.links.push_front(&mut self.shares[share].polled, slot);
            }
        }
    }

    /// The task for a due probe. Due shares enter `ready` of their account.
    pub(super) fn take_probe(&mut self, now: Steady) -> Option<Slot> {
        while let Some(turn) = self.agenda.pop(now) {
            let scope = match turn {
                AgendaEntry::Share(share) => {
                    self.make_ready(share, now);
                    continue;
                }
                AgendaEntry::Visitor(key) => {
                    self.admit_visitor(KeyIndex(key), now);
                    continue;
                }
                AgendaEntry::Key(key) => Scope::Key(KeyIndex(key)),
                AgendaEntry::Account(account) => Scope::Account(AccountIndex(account)),
            };
            let gate = self.gate(scope);
            let Some(next) = gate.next().filter(|_| gate.probes().is_some()) else { continue };
            if next > now {
                self.agenda.arm(turn, next);
                continue;
            }
            if let Some(slot) = self.polled_longest_ago(scope, now) {
                return Some(slot);
            }
            // No task may be polled yet. The next check is at the next slot of a pace key, or later.
            let shares = self.shares_of(scope).iter().map(|share| &self.shares[*share]);
            let with_tasks = shares.filter(|share| share.tasks > 0);
            let slots: Vec<_> = with_tasks.map(|share| self.keys[share.key.0].gate.pace.next()).collect();
            let next = match slots.iter().copied().filter(|slot| *slot > now).min() {
                Some(slot) => Some(slot),
                None if slots.is_empty() => None,
                None => {
                    self.gate_mut(scope).postpone_probe(now);
                    self.gate(scope).next()
                }
            };
            next.into_iter().for_each(|next| self.agenda.arm(turn, next));
        }
        None
    }

    /// A share is due, unless a gate closed since it was armed.
    fn make_ready(&mut self, index: usize, now: Steady) {
        let Share { key, account, ref queue, is_ready, .. } = self.shares[index];
        // A place that was reserved for the share is free, if the share does not use it.
        self.accounts[account.0].slot_bound.remove(&index);
        let is_closed = self.is_out_of_use(account) || self.keys[key.0].gate.probes().is_some();
        let Some(due) = queue.next().filter(|_| !is_ready && !is_closed) else {
            return self.make_runnable(account);
        };
        if due.max(self.keys[key.0].gate.pace.next()) > now {
            self.arm(index);
            return self.make_runnable(account);
        }
        self.shares[index].is_ready = true;
        self.accounts[account.0].ready.push_back(index);
        self.make_runnable(account);
    }

    /// Enters the account into the rotation, if it has a due share and room.
    pub(super) fn make_runnable(&mut self, account: AccountIndex) {
        let on = &mut self.accounts[account.0];
        if !on.is_runnable && on.has_room() && !on.ready.is_empty() {
            on.is_runnable = true;
            self.runnable.push_back(account);
        }
    }

    /// The next due task of the due shares.
    pub(super) fn take_due(&mut self, now: Steady) -> Option<Slot> {
        while let Some(account) = self.runnable.pop_front() {
            self.accounts[account.0].is_runnable = false;
            let Some(index) = self.take_ready(account) else { continue };
            self.make_runnable(account);
            let Share { key, .. } = self.shares[index];
            let is_closed = self.is_out_of_use(account) || self.keys[key.0].gate.probes().is_some();
            if !is_closed && self.keys[key.0].gate.pace.next() <= now {
                while let Some(slot) = self.shares[index].queue.pop(now) {
                    if self.is_due(slot, index, now) {
                        return Some(slot);
                    }
                }
            }
            self.arm(index);
        }
        None
    }

    /// Takes a share from the `ready` queue of an account, if there is room. The last free place is for a
    /// pace key without a request in flight, since hanging requests of one region must not delay others.
    fn take_ready(&mut self, account: AccountIndex) -> Option<usize> {
        let AccountState { ready, slot_bound, in_flight, max_in_flight, .. } = &self.accounts[account.0];
        let free = max_in_flight.checked_sub(*in_flight).filter(|free| *free > 0)?;
        // At most `max_in_flight` pace keys have a request in flight, so this loop is short.
        let is_idle = |share: &usize| self.keys[self.shares[*share].key.0].in_flight == 0;
        let place = match ready.iter().position(is_idle).filter(|_| free == 1) {
            Some(place) => place,
            // The last free request is reserved for a pace key that has a due task and waits for its rate-limit slot.
            None if free == 1 && slot_bound.iter().any(is_idle) => return None,
            None => 0,
        };
        let share = self.accounts[account.0].ready.remove(place)?;
        self.shares[share].is_ready = false;
        Some(share)
    }

    /// Whether the entry of a queue is still valid for its task.
    fn is_due(&self, slot: Slot, share: usize, now: Steady) -> bool {
        self.table[slot as usize].as_ref().is_some_and(|task| {
            !task.in_flight
                && !task.paused
                && task.due <= now
                && self.targets[task.target.0 as usize] == share
        })
    }

    /// The task for a probe: of those that may be polled now the one polled longest ago, never-polled first.
    fn polled_longest_ago(&self, scope: Scope, now: Steady) -> Option<Slot> {
        let may_poll = |share: &&usize| {
            let Share { key, account, .. } = self.shares[**share];
            let account_is_free = match scope {
                Scope::Account(_) => true,
                Scope::Key(_) => !self.is_out_of_use(account),
            };
            account_is_free && self.accounts[account.0].has_room() && self.keys[key.0].gate.pace.next() <= now
        };
        let first = |share: &usize| {
            let waiting = |slot: &Slot| self.get(*slot).is_some_and(|task| !task.in_flight);
            let slot = self.links.iter(&self.shares[*share].polled).find(waiting)?;
            Some((self.get(slot)?.polled.get(), slot))
        };
        self.shares_of(scope).iter().filter(may_poll).filter_map(first).min().map(|(_, slot)| slot)
    }
}
