//! The board: all open tasks, and the choice of the next poll.
//!
//! A *share* is the waiting tasks of one pace key with the credentials of one account. Two accounts may share
//! a pace key, but not a hold. Every choice takes O(log n) steps in the number of tasks, pace keys and
//! accounts (agenda.rs). The polling loop asks the board for the next task, passes each response to it
//! (settle.rs), and carries out the effect.

mod agenda;
mod first;
mod people;
mod polled;
mod rows;
mod settle;
#[cfg(test)]
mod tests;
mod turns;
mod visitors;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::Duration;

pub use settle::{Notice, Settlement};

use super::clock_offset::ClockOffset;
use super::due::{Queue, Slot};
use super::gate::{Gate, GateWaits};
use super::pace::Pace;
use super::policy::Policy;
use super::reading::Fault;
use super::step::{Overdue, overdue};
use super::waiting::{TargetIndex, Times, Waiting};
use crate::clock::{Moment, Steady, Wall};
use crate::units::Rate;
use agenda::{Agenda, AgendaEntry};
use first::FirstResponses;
use polled::{Links, PolledList};
use rows::SlotsByRow;

/// The next check of an overdue task whose step is being stored.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// All open tasks of the running daemon.
#[derive(Debug, Default)]
pub struct Board {
    policy: Policy,
    table: Vec<Option<Waiting>>,
    rows: SlotsByRow,
    free: Vec<Slot>,
    /// Tasks whose step is being stored.
    away: HashSet<Slot>,
    /// Tasks that a person paused.
    paused: HashSet<Slot>,
    links: Links,
    first: FirstResponses,
    /// Tasks without a poll, until their first poll is due: no probe uses them before.
    not_due: BinaryHeap<Reverse<(Steady, Slot)>>,
    keys: Vec<PaceKeyState>,
    accounts: Vec<AccountState>,
    shares: Vec<Share>,
    share_of: HashMap<(AccountIndex, KeyIndex), usize>,
    /// The share of each target.
    targets: Vec<usize>,
    agenda: Agenda,
    /// Accounts with a due share and room for one more request. Each is in it once; they alternate.
    runnable: VecDeque<AccountIndex>,
    /// The pace keys whose slot another program uses now.
    granted: Vec<KeyIndex>,
    /// Moments at which a task may become overdue.
    warnings: BinaryHeap<Reverse<(Steady, Slot)>>,
    /// Open tasks whose account and pace key are not on hold.
    usable_tasks: usize,
}

/// The place of a pace key on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyIndex(pub usize);

/// The place of an account on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountIndex(pub usize);

/// An account or a pace key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// An account, with all its pace keys.
    Account(AccountIndex),
    /// A pace key.
    Key(KeyIndex),
}

/// The delay of the polls of one pace key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    /// The earliest next poll; `None`: not before the probe in flight ends.
    pub until: Option<Steady>,
    /// The cause.
    pub cause: DelayCause,
}

/// The cause of a delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DelayCause {
    /// Only probes are sent.
    CircuitBreaker,
    /// The cloud requested a pause.
    RequestedPause,
    /// The cloud refused requests.
    Throttled {
        /// Polls per second that are allowed now.
        rate: f64,
        /// The moment at which the full rate is certain.
        full_from: Steady,
    },
}

impl Scope {
    fn turn(self) -> AgendaEntry {
        match self {
            Self::Account(AccountIndex(index)) => AgendaEntry::Account(index),
            Self::Key(KeyIndex(index)) => AgendaEntry::Key(index),
        }
    }
}

#[derive(Debug)]
struct Share {
    key: KeyIndex,
    account: AccountIndex,
    queue: Queue,
    polled: PolledList,
    tasks: usize,
    /// Those of them that are paused.
    paused: usize,
    /// Whether the share is in the `ready` queue of its account.
    is_ready: bool,
    /// Whether its tasks count as usable.
    is_usable: bool,
}

#[derive(Debug)]
struct PaceKeyState {
    gate: Gate<Fault>,
    in_flight: u32,
    shares: Vec<usize>,
    /// Number of slots of this pace key that other programs (`opwatch wait`) wait for.
    visitors: usize,
    /// Whether the last slot was one of theirs.
    was_visitor: bool,
}

#[derive(Debug)]
struct AccountState {
    gate: Gate<Fault>,
    in_flight: u32,
    /// Zero for an account that is not configured any more: its tasks wait.
    max_in_flight: u32,
    shares: Vec<usize>,
    /// Due shares, in the order in which they became due.
    ready: VecDeque<usize>,
    is_runnable: bool,
    /// Shares whose earliest task waits only for the slot of its pace key.
    slot_bound: BTreeSet<usize>,
    offset: ClockOffset,
}

impl AccountState {
    fn has_room(&self) -> bool {
        self.in_flight < self.max_in_flight
    }
}

impl Board {
    /// An empty board.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Adds an account, with its largest number of requests in flight.
    pub fn add_account(&mut self, max_in_flight: u32) -> AccountIndex {
        self.accounts.push(AccountState {
            gate: Gate::new(Pace::unlimited(), self.waits()),
            in_flight: 0,
            max_in_flight,
            shares: Vec::new(),
            ready: VecDeque::new(),
            is_runnable: false,
            slot_bound: BTreeSet::new(),
            offset: ClockOffset::default(),
        });
        AccountIndex(self.accounts.len() - 1)
    }

    /// Adds a pace key. Its first request leaves one interval from now.
    pub fn add_key(&mut self, rate: Rate, now: Steady) -> KeyIndex {
        self.keys.push(PaceKeyState {
            gate: Gate::new(Pace::new(rate, now), self.waits()),
            in_flight: 0,
            shares: Vec::new(),
            visitors: 0,
            was_visitor: false,
        });
        KeyIndex(self.keys.len() - 1)
    }

    /// Another account shares the pace key: the lower one of their rates applies.
    pub fn lower_rate(&mut self, key: KeyIndex, rate: Rate) {
        self.keys[key.0].gate.pace.lower(rate);
    }

    /// Adds a target, polled with that account's credentials at that pace key's rate. Targets are numbered in the order
    /// in which they are added.
    pub fn add_target(&mut self, account: AccountIndex, key: KeyIndex) {
        let next = self.shares.len();
        let share = *self.share_of.entry((account, key)).or_insert(next);
        if share == next {
            self.shares.push(Share {
                key,
                account,
                queue: Queue::default(),
                polled: PolledList::default(),
                tasks: 0,
                paused: 0,
                is_ready: false,
                is_usable: true,
            });
            self.keys[key.0].shares.push(share);
            self.accounts[account.0].shares.push(share);
            self.update_usable(share);
        }
        self.targets.push(share);
    }

    /// Makes room for that many tasks at once: tables that grow step by step leave holes in the memory.
    pub fn reserve(&mut self, tasks: usize) {
        self.table.reserve(tasks);
        self.rows.reserve(tasks);
        self.links.reserve(tasks);
    }

    /// Adds a task, in the queue from now on.
    pub fn add(&mut self, task: Waiting, now: Moment) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            // 2^32 tasks would not fit into memory.
            Slot::try_from(self.table.len() - 1).unwrap_or(Slot::MAX)
        });
        let index = self.targets[task.target.0 as usize];
        self.rows.insert(task.row, slot);
        self.count_task(index);
        self.arm_overdue(slot, &task, now);
        if task.polled.get().is_some() {
            // Polled before a change of the configuration.
            self.links.push_back(&mut self.shares[index].polled, slot);
        } else if task.due > now.steady {
            self.not_due.push(Reverse((task.due, slot)));
        } else {
            self.links.push_front(&mut self.shares[index].polled, slot);
        }
        self.put_back(slot, task);
        slot
    }

    /// Removes a task from the queue; the caller owns it until it is put back or removed.
    pub fn withdraw(&mut self, slot: Slot) -> Option<Waiting> {
        self.away.insert(slot);
        self.table[slot as usize].take()
    }

    /// Removes and returns the task that is polled next, if one may be polled now. It is in flight until
    /// [`Board::settle`].
    pub fn take(&mut self, now: Steady) -> Option<(Slot, &Waiting)> {
        self.admit_first_probes(now);
        loop {
            let slot = self.take_probe(now).or_else(|| self.take_due(now))?;
            // `turns.rs` has skipped stale entries already; an empty slot would be one of them.
            let Some(task) = self.table[slot as usize].as_mut() else { continue };
            task.in_flight = true;
            task.polled = Some(now).into();
            let index = self.targets[task.target.0 as usize];
            let share = &mut self.shares[index];
            self.links.push_back(&mut share.polled, slot);
            let key = &mut self.keys[share.key.0];
            let account = &mut self.accounts[share.account.0];
            key.gate.leave(u64::from(slot), now);
            account.gate.leave(u64::from(slot), now);
            key.was_visitor = false;
            key.in_flight += 1;
            account.in_flight += 1;
            self.arm(index);
            return self.table[slot as usize].as_ref().map(|task| (slot, task));
        }
    }

    /// The next moment at which [`Board::take`] may return a task; with `writes`, also [`Board::take_overdue`] and
    /// [`Board::take_first`]. `None`: not before a response arrives or a task is added.
    pub fn wake(&mut self, writes: bool) -> Option<Steady> {
        if !self.runnable.is_empty() {
            return Some(Steady(i64::MIN));
        }
        let warning = self.warnings.peek().map(|Reverse((at, _))| *at);
        let write = warning.into_iter().chain(self.first.due()).min().filter(|_| writes);
        self.agenda.next().into_iter().chain(write).min()
    }

    /// The task waits again.
    pub fn put_back(&mut self, slot: Slot, task: Waiting) {
        let index = self.targets[task.target.0 as usize];
        if task.paused != self.paused.contains(&slot) {
            self.count_paused(slot, &task, index);
        }
        if !task.paused {
            self.shares[index].queue.push(task.due, slot);
        }
        self.wait(slot, task, index);
    }

    /// The task waits for the next slot of its pace key.
    pub fn put_back_at_once(&mut self, slot: Slot, task: Waiting, now: Steady) {
        let index = self.targets[task.target.0 as usize];
        self.shares[index].queue.push_at_once(slot);
        self.wait(slot, Waiting { due: now, ..task }, index);
    }

    fn wait(&mut self, slot: Slot, task: Waiting, share: usize) {
        self.away.remove(&slot);
        self.table[slot as usize] = Some(task);
        self.arm(share);
    }

    /// The task ended.
    pub fn remove(&mut self, slot: Slot, target: TargetIndex) {
        let index = self.targets[target.0 as usize];
        let share = &mut self.shares[index];
        share.tasks -= 1;
        if self.paused.remove(&slot) {
            share.paused -= 1;
        } else {
            self.usable_tasks -= usize::from(share.is_usable);
        }
        self.links.remove(&mut share.polled, slot);
        self.rows.remove(slot);
        self.away.remove(&slot);
        self.table[slot as usize] = None;
        self.free.push(slot);
    }

    /// Takes a task that has passed `warn_after`, and has no `overdue` event yet, out of the queue. Polling continues once
    /// it is put back.
    pub fn take_overdue(&mut self, now: Moment) -> Option<(Slot, Waiting, Times)> {
        while let Some(Reverse((at, slot))) = self.warnings.peek().copied() {
            if at > now.steady {
                return None;
            }
            self.warnings.pop();
            let Some(task) = self.table[slot as usize].as_ref().filter(|task| !task.in_flight) else {
                // One step of a task at a time, so that no older status is stored after a newer one.
                if self.away.contains(&slot) || self.table[slot as usize].is_some() {
                    self.warnings.push(Reverse((now.steady + LOOK_AGAIN, slot)));
                }
                continue;
            };
            let times = self.times(task.target, now);
            match overdue(task, times) {
                Overdue::Now => {
                    let task = self.withdraw(slot)?;
                    return Some((slot, Waiting { warned: true, ..task }, times));
                }
                Overdue::LookAt(later) => self.warnings.push(Reverse((later, slot))),
                Overdue::Never => {}
            }
        }
        None
    }

    /// A task that waits or is in flight.
    pub fn get(&self, slot: Slot) -> Option<&Waiting> {
        self.table.get(slot as usize)?.as_ref()
    }

    /// A person requests a poll of the account and of its pace keys: what is closed is probed now, and pauses that the
    /// cloud requested have ended.
    pub fn retry_account(&mut self, account: AccountIndex, now: Steady) {
        self.retry(Scope::Account(account), now);
        for share in 0..self.accounts[account.0].shares.len() {
            let share = self.accounts[account.0].shares[share];
            self.retry(Scope::Key(self.shares[share].key), now);
        }
    }

    fn retry(&mut self, scope: Scope, now: Steady) {
        if self.gate_mut(scope).retry(now) {
            self.arm_probe(scope);
            self.update_all(scope);
        }
    }

    /// A change may have removed the cause of an account's hold: its next probe is due now.
    pub fn probe_now(&mut self, account: AccountIndex, now: Steady) {
        self.accounts[account.0].gate.probe_now(now);
        self.arm_probe(Scope::Account(account));
    }

    /// Continues with the gates of another board, by pairs of this place and the other one. What is on hold is probed
    /// now, since a new configuration may have removed the cause.
    pub fn continue_as(
        &mut self,
        before: &mut Self,
        accounts: &[(AccountIndex, AccountIndex)],
        keys: &[(KeyIndex, KeyIndex)],
        now: Steady,
    ) {
        let waits = self.waits();
        let taken = |gate: &mut Gate<Fault>| std::mem::replace(gate, Gate::new(Pace::unlimited(), waits));
        for (own, other) in accounts {
            let account = &mut self.accounts[own.0];
            account.gate.continue_as(taken(&mut before.accounts[other.0].gate));
            account.offset = before.accounts[other.0].offset;
        }
        for (own, other) in keys {
            self.keys[own.0].gate.continue_as(taken(&mut before.keys[other.0].gate));
        }
        for share in 0..self.shares.len() {
            self.update_usable(share);
            self.arm(share);
        }
        let scopes = accounts.iter().map(|(own, _)| Scope::Account(*own));
        for scope in scopes.chain(keys.iter().map(|(own, _)| Scope::Key(*own))) {
            self.gate_mut(scope).probe_now(now);
            self.arm_probe(scope);
        }
    }

    /// The timestamp of a request of that target that leaves now.
    pub fn stamp(&self, target: TargetIndex, now: Moment) -> Wall {
        self.offset(target).stamp(now)
    }

    /// This moment on all clocks of that target.
    pub fn times(&self, target: TargetIndex, now: Moment) -> Times {
        self.offset(target).times(now)
    }

    /// The gate of a pace key, for its rate and its evidence.
    pub fn gate(&self, scope: Scope) -> &Gate<Fault> {
        match scope {
            Scope::Account(account) => &self.accounts[account.0].gate,
            Scope::Key(key) => &self.keys[key.0].gate,
        }
    }

    /// The same gate, to restore its evidence.
    pub fn gate_mut(&mut self, scope: Scope) -> &mut Gate<Fault> {
        match scope {
            Scope::Account(account) => &mut self.accounts[account.0].gate,
            Scope::Key(key) => &mut self.keys[key.0].gate,
        }
    }

    /// The cause that delays the polls of a target now, besides a hold; `None` if none does.
    pub fn delay_of(&self, target: TargetIndex, now: Steady) -> Option<Delay> {
        let gate = &self.keys[self.key_of(target).0].gate;
        let pace = &gate.pace;
        if gate.hold().is_some() {
            return None;
        }
        if gate.probes().is_some() {
            return Some(Delay { until: gate.next(), cause: DelayCause::CircuitBreaker });
        }
        if let until @ Some(_) = pace.requested_pause(now) {
            return Some(Delay { until, cause: DelayCause::RequestedPause });
        }
        let rate = pace.allowed_rate(now)?;
        let full_from = pace.full_from();
        let is_paused = now + pace.spacing(now) < pace.next();
        (pace.is_throttled(now) || is_paused)
            .then_some(Delay { until: Some(pace.next()), cause: DelayCause::Throttled { rate, full_from } })
    }

    /// The earliest next probe of a scope, if only probes leave; those of an account wait for a slot of a pace key too.
    pub fn next_probe(&self, scope: Scope) -> Option<Steady> {
        let next = self.gate(scope).probes()?.next();
        let shares = self.shares_of(scope).iter().map(|share| &self.shares[*share]);
        let with_tasks = shares.filter(|share| share.tasks > share.paused);
        let slot = with_tasks.map(|share| self.keys[share.key.0].gate.pace.next()).min();
        Some(slot.map_or(next, |slot| next.max(slot)))
    }

    /// The earliest next poll of a target, by its gates; `None`: not before a probe in flight, or a pause, ends.
    pub fn next_of(&self, target: TargetIndex) -> Option<Steady> {
        let account = &self.accounts[self.account_of(target).0].gate;
        Some(self.keys[self.key_of(target).0].gate.next()?.max(account.next()?))
    }

    /// The pace key of a target.
    pub fn key_of(&self, target: TargetIndex) -> KeyIndex {
        self.share(target).key
    }

    /// The account of a target.
    pub fn account_of(&self, target: TargetIndex) -> AccountIndex {
        self.share(target).account
    }

    /// Number of open tasks.
    pub fn open(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// Number of open tasks of an account or a pace key.
    pub fn tasks_of(&self, scope: Scope) -> usize {
        self.shares_of(scope).iter().map(|share| self.shares[*share].tasks).sum()
    }

    /// The accounts and pace keys on hold, and accounts that are not configured any more, that have tasks; empty unless
    /// all open tasks are theirs.
    pub fn all_on_hold(&self) -> Vec<Scope> {
        if self.usable_tasks > 0 {
            return Vec::new();
        }
        let mut known = HashSet::new();
        let with_tasks = self.shares.iter().filter(|share| share.tasks > share.paused);
        with_tasks
            .map(|share| {
                let is_account = self.is_out_of_use(share.account);
                if is_account { Scope::Account(share.account) } else { Scope::Key(share.key) }
            })
            .filter(|scope| known.insert(*scope))
            .collect()
    }

    /// The tasks that wait or are in flight.
    pub fn tasks(&self) -> impl Iterator<Item = &Waiting> {
        self.table.iter().flatten()
    }

    fn waits(&self) -> GateWaits {
        let waits = self.policy.error_waits();
        GateWaits { on_hold: waits, breaker_open: waits }
    }

    fn offset(&self, target: TargetIndex) -> &ClockOffset {
        &self.accounts[self.share(target).account.0].offset
    }

    fn share(&self, target: TargetIndex) -> &Share {
        &self.shares[self.targets[target.0 as usize]]
    }

    fn shares_of(&self, scope: Scope) -> &[usize] {
        match scope {
            Scope::Account(account) => &self.accounts[account.0].shares,
            Scope::Key(key) => &self.keys[key.0].shares,
        }
    }

    /// Whether the account is on hold, paused, or not configured any more.
    fn is_out_of_use(&self, account: AccountIndex) -> bool {
        let account = &self.accounts[account.0];
        account.gate.hold().is_some() || account.gate.is_paused() || account.max_in_flight == 0
    }

    fn count_task(&mut self, share: usize) {
        self.shares[share].tasks += 1;
        self.usable_tasks += usize::from(self.shares[share].is_usable);
    }

    /// Counts the tasks of a share as usable or not, after a hold began or ended.
    fn update_usable(&mut self, share: usize) {
        let Share { key, account, tasks, paused, is_usable, .. } = self.shares[share];
        let tasks = tasks - paused;
        let usable = !self.is_out_of_use(account) && self.keys[key.0].gate.hold().is_none();
        match (is_usable, usable) {
            (true, false) => self.usable_tasks -= tasks,
            (false, true) => self.usable_tasks += tasks,
            (true, true) | (false, false) => {}
        }
        self.shares[share].is_usable = usable;
    }
}
