//! The board: all open tasks, and which of them is polled next.
//!
//! A *share* is what waits for one pace key with one account's credentials. Two accounts may share a pace key, never a
//! hold of their own. Every choice takes O(log n) steps in the number of tasks, pace keys and accounts (agenda.rs). The
//! polling loop asks the board for the next task, hands it each response (settle.rs), and carries out the effect.

mod agenda;
mod polled;
mod settle;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::Duration;

pub use settle::{Notice, Settled};

use super::clock_offset::ClockOffset;
use super::due::{Queue, Slot};
use super::gate::{Gate, GateWaits};
use super::pace::Pace;
use super::policy::Policy;
use super::reading::Fault;
use super::step::{Overdue, overdue};
use super::task::Row;
use super::waiting::{TargetIndex, Times, Waiting};
use crate::clock::{Moment, Steady, Wall};
use crate::units::Rate;
use agenda::{Agenda, Turn};
use polled::{Links, List};

/// Next look at an overdue task whose step is being made durable.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// All open tasks of the running daemon.
#[derive(Debug, Default)]
pub struct Board {
    policy: Policy,
    table: Vec<Option<Waiting>>,
    free: Vec<Slot>,
    /// Tasks whose step is being made durable.
    away: HashSet<Slot>,
    links: Links,
    /// Tasks that were never polled, until their first poll is due: no probe takes them before.
    not_due: BinaryHeap<Reverse<(Steady, Slot)>>,
    keys: Vec<Key>,
    accounts: Vec<Account>,
    shares: Vec<Share>,
    share_of: HashMap<(AccountIndex, KeyIndex), usize>,
    /// The share of each target.
    targets: Vec<usize>,
    agenda: Agenda,
    /// Accounts with a share whose turn has come and with room for one more request; each once, in turns.
    runnable: VecDeque<AccountIndex>,
    /// Moments at which a task may be overdue: checked again then.
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

impl Scope {
    fn turn(self) -> Turn {
        match self {
            Self::Account(AccountIndex(index)) => Turn::Account(index),
            Self::Key(KeyIndex(index)) => Turn::Key(index),
        }
    }
}

#[derive(Debug)]
struct Share {
    key: KeyIndex,
    account: AccountIndex,
    queue: Queue,
    polled: List,
    tasks: usize,
    /// Whether the share waits for its turn in its account's `ready`.
    is_ready: bool,
    /// Whether its tasks count as usable.
    is_usable: bool,
}

#[derive(Debug)]
struct Key {
    gate: Gate<Fault>,
    in_flight: u32,
    shares: Vec<usize>,
    /// Number of good responses.
    good: u64,
    /// Tasks whose refusal put the pace key on hold, and `good` at that time.
    exceptions: HashMap<Row, u64>,
}

#[derive(Debug)]
struct Account {
    gate: Gate<Fault>,
    in_flight: u32,
    /// Zero for an account that is not configured any more: its tasks wait.
    max_in_flight: u32,
    shares: Vec<usize>,
    /// Shares whose turn has come, in the order in which it came.
    ready: VecDeque<usize>,
    is_runnable: bool,
    /// Shares whose earliest task waits for the slot of its pace key alone.
    slot_bound: BTreeSet<usize>,
    offset: ClockOffset,
}

impl Account {
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
        self.accounts.push(Account {
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

    /// Adds a pace key, whose first request leaves one interval from now.
    pub fn add_key(&mut self, rate: Rate, now: Steady) -> KeyIndex {
        self.keys.push(Key {
            gate: Gate::new(Pace::new(rate, now), self.waits()),
            in_flight: 0,
            shares: Vec::new(),
            good: 0,
            exceptions: HashMap::new(),
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
                polled: List::default(),
                tasks: 0,
                is_ready: false,
                is_usable: true,
            });
            self.keys[key.0].shares.push(share);
            self.accounts[account.0].shares.push(share);
            self.update_usable(share);
        }
        self.targets.push(share);
    }

    /// Adds a task, in the queue from now on.
    pub fn add(&mut self, task: Waiting, now: Moment) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            // More tasks than 2^32 would not fit into memory.
            Slot::try_from(self.table.len() - 1).unwrap_or(Slot::MAX)
        });
        let index = self.targets[task.target.0 as usize];
        self.count_task(index);
        match overdue(&task, Times { local: now, cloud: None }) {
            Overdue::Now => self.warnings.push(Reverse((now.steady, slot))),
            Overdue::LookAt(at) => self.warnings.push(Reverse((at, slot))),
            Overdue::Never => {}
        }
        if task.due > now.steady {
            self.not_due.push(Reverse((task.due, slot)));
        } else {
            self.links.push_front(&mut self.shares[index].polled, slot);
        }
        self.put_back(slot, task);
        slot
    }

    /// Takes a task out of the queue; it belongs to the caller until it is put back or removed.
    pub fn take_away(&mut self, slot: Slot) -> Option<Waiting> {
        self.away.insert(slot);
        self.table[slot as usize].take()
    }

    /// Takes the task that is polled next, if one may be polled now. It is in flight until [`Board::settle`].
    pub fn take(&mut self, now: Steady) -> Option<(Slot, &Waiting)> {
        self.admit_first_probes(now);
        loop {
            let slot = self.take_probe(now).or_else(|| self.take_due(now))?;
            // Entries of tasks that were polled out of turn, or ended, are skipped.
            let Some(task) = self.table[slot as usize].as_mut() else { continue };
            task.in_flight = true;
            task.polled = Some(now);
            let index = self.targets[task.target.0 as usize];
            let share = &mut self.shares[index];
            self.links.push_back(&mut share.polled, slot);
            let key = &mut self.keys[share.key.0];
            let account = &mut self.accounts[share.account.0];
            key.gate.leave(u64::from(slot), now);
            account.gate.leave(u64::from(slot), now);
            key.in_flight += 1;
            account.in_flight += 1;
            self.arm(index);
            return self.table[slot as usize].as_ref().map(|task| (slot, task));
        }
    }

    /// The next moment at which [`Board::take`] may have a task, or, where that is asked for,
    /// [`Board::take_overdue`]; `None`: not before a response arrives or a task is added.
    pub fn wake(&mut self, overdue: bool) -> Option<Steady> {
        if !self.runnable.is_empty() {
            return Some(Steady(i64::MIN));
        }
        let warning = self.warnings.peek().filter(|_| overdue).map(|Reverse((at, _))| *at);
        self.agenda.next().into_iter().chain(warning).min()
    }

    /// The task waits again.
    pub fn put_back(&mut self, slot: Slot, task: Waiting) {
        let index = self.targets[task.target.0 as usize];
        self.shares[index].queue.push(task.due, slot);
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
        self.usable_tasks -= usize::from(share.is_usable);
        self.links.remove(&mut share.polled, slot);
        self.away.remove(&slot);
        self.table[slot as usize] = None;
        self.free.push(slot);
    }

    /// Takes a task away that is overdue and has no event for that yet; polling continues once it is put back.
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
                    let task = self.take_away(slot)?;
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

    /// A change may have removed the cause of an account's hold: its next probe is due now.
    pub fn probe_now(&mut self, account: AccountIndex, now: Steady) {
        self.accounts[account.0].gate.probe_now(now);
        self.arm_probe(Scope::Account(account));
    }

    /// The timestamp of a request of that target that leaves now.
    pub fn stamp(&self, target: TargetIndex, now: Moment) -> Wall {
        self.offset(target).stamp(now)
    }

    /// This moment on all clocks that matter for that target.
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

    /// The pace key of a target.
    pub fn key_of(&self, target: TargetIndex) -> KeyIndex {
        self.share(target).key
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
        let with_tasks = self.shares.iter().filter(|share| share.tasks > 0);
        with_tasks
            .map(|share| {
                let is_account = self.is_out_of_use(share.account);
                if is_account { Scope::Account(share.account) } else { Scope::Key(share.key) }
            })
            .filter(|scope| known.insert(*scope))
            .collect()
    }

    /// Whether any account is on hold.
    pub fn any_account_on_hold(&self) -> bool {
        self.accounts.iter().any(|account| account.gate.hold().is_some())
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

    /// Whether the account is on hold, or not configured any more.
    fn is_out_of_use(&self, account: AccountIndex) -> bool {
        let account = &self.accounts[account.0];
        account.gate.hold().is_some() || account.max_in_flight == 0
    }

    fn count_task(&mut self, share: usize) {
        self.shares[share].tasks += 1;
        self.usable_tasks += usize::from(self.shares[share].is_usable);
    }

    /// Counts the tasks of a share as usable or not, after a hold began or ended.
    fn update_usable(&mut self, share: usize) {
        let Share { key, account, tasks, is_usable, .. } = self.shares[share];
        let usable = !self.is_out_of_use(account) && self.keys[key.0].gate.hold().is_none();
        match (is_usable, usable) {
            (true, false) => self.usable_tasks -= tasks,
            (false, true) => self.usable_tasks += tasks,
            (true, true) | (false, false) => {}
        }
        self.shares[share].is_usable = usable;
    }

    /// Enters the next turn of a share into the agenda.
    fn arm(&mut self, index: usize) {
        let Share { key, account, is_ready, ref queue, .. } = self.shares[index];
        let Some(due) = queue.next().filter(|_| !is_ready) else { return };
        if self.accounts[account.0].max_in_flight == 0 {
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
        self.agenda.arm(Turn::Share(index), due.max(slot));
        let slot_bound = &mut self.accounts[account.0].slot_bound;
        _ = if due <= slot { slot_bound.insert(index) } else { slot_bound.remove(&index) };
    }

    /// Enters the next probe of an account or pace key into the agenda, if only probes may leave.
    fn arm_probe(&mut self, scope: Scope) {
        let gate = self.gate(scope);
        let Some(next) = gate.next().filter(|_| gate.probes().is_some()) else { return };
        self.agenda.arm(scope.turn(), next);
    }

    /// Counts and arms all shares of an account or pace key, after its gate opened or closed.
    fn update_all(&mut self, scope: Scope) {
        for index in 0..self.shares_of(scope).len() {
            let share = self.shares_of(scope)[index];
            self.update_usable(share);
            self.arm(share);
        }
    }

    /// Never-polled tasks whose first poll is due may be probes from now on.
    fn admit_first_probes(&mut self, now: Steady) {
        while let Some(Reverse((_, slot))) = self.not_due.peek().filter(|Reverse((due, _))| *due <= now) {
            let slot = *slot;
            self.not_due.pop();
            if let Some(task) = self.table[slot as usize].as_ref().filter(|task| task.polled.is_none()) {
                let share = self.targets[task.target.0 as usize];
                self.links.push_front(&mut self.shares[share].polled, slot);
            }
        }
    }

    /// The task for a probe that is due. Shares whose turn has come are entered into `ready` of their account.
    fn take_probe(&mut self, now: Steady) -> Option<Slot> {
        while let Some(turn) = self.agenda.pop(now) {
            let scope = match turn {
                Turn::Share(share) => {
                    self.make_ready(share, now);
                    continue;
                }
                Turn::Key(key) => Scope::Key(KeyIndex(key)),
                Turn::Account(account) => Scope::Account(AccountIndex(account)),
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
            // No task may be polled yet: look again at the next slot of a pace key, or later, not at once.
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

    /// The turn of a share has come, unless a gate closed since it was armed.
    fn make_ready(&mut self, index: usize, now: Steady) {
        let Share { key, account, ref queue, is_ready, .. } = self.shares[index];
        // A place that was kept for it is free for others, if it does not come to use it.
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

    /// The account takes part in the round of accounts, if it has a share whose turn has come and room.
    fn make_runnable(&mut self, account: AccountIndex) {
        let on = &mut self.accounts[account.0];
        if !on.is_runnable && on.has_room() && !on.ready.is_empty() {
            on.is_runnable = true;
            self.runnable.push_back(account);
        }
    }

    /// The next due task of the shares whose turn has come.
    fn take_due(&mut self, now: Steady) -> Option<Slot> {
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

    /// Takes a share out of an account's `ready`, if there is room. The last free place goes to a pace key without a
    /// request in flight, so that requests without a response of one region do not keep all others waiting.
    fn take_ready(&mut self, account: AccountIndex) -> Option<usize> {
        let Account { ready, slot_bound, in_flight, max_in_flight, .. } = &self.accounts[account.0];
        let free = max_in_flight.checked_sub(*in_flight).filter(|free| *free > 0)?;
        // At most `max_in_flight` pace keys have a request in flight, so this looks at few.
        let is_idle = |share: &usize| self.keys[self.shares[*share].key.0].in_flight == 0;
        let place = match ready.iter().position(is_idle).filter(|_| free == 1) {
            Some(place) => place,
            // The place is kept for a pace key whose slot comes later than its due task.
            None if free == 1 && slot_bound.iter().any(is_idle) => return None,
            None => 0,
        };
        let share = self.accounts[account.0].ready.remove(place)?;
        self.shares[share].is_ready = false;
        Some(share)
    }

    /// Whether the entry of a queue still means its task.
    fn is_due(&self, slot: Slot, share: usize, now: Steady) -> bool {
        self.table[slot as usize].as_ref().is_some_and(|task| {
            !task.in_flight && task.due <= now && self.targets[task.target.0 as usize] == share
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
            Some((self.get(slot)?.polled, slot))
        };
        self.shares_of(scope).iter().filter(may_poll).filter_map(first).min().map(|(_, slot)| slot)
    }
}
