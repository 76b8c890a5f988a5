//! Whose turn it is: the hot table, the queue, pace, breaker and hold of each pace key, and the bound, hold and clock of each account.
//!
//! Plain and synchronous: the loop asks it for the next task, hands it each answer (settle.rs), and carries out what comes back.

mod settle;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::Duration;

pub use settle::{Notice, Settled};

use crate::clock::{Moment, Steady, Wall};
use crate::cloud::skew::Skew;
use crate::model::breaker::{Breaker, Probes};
use crate::model::due::{Queue, Slot};
use crate::model::hold::{Evidence, Hold};
use crate::model::pace::Pace;
use crate::model::policy::Policy;
use crate::model::step::overdue;
use crate::model::waiting::{TargetIndex, Times, Waiting};
use crate::units::Rate;

/// When a task that cannot be looked at now, since its step is being made durable, is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// All open tasks of the running daemon.
#[derive(Debug, Default)]
pub struct Board {
    policy: Policy,
    table: Vec<Option<Waiting>>,
    free: Vec<Slot>,
    /// Whose step is being made durable.
    away: HashSet<Slot>,
    keys: Vec<Key>,
    accounts: Vec<Account>,
    targets: Vec<KeyIndex>,
    /// When somebody may be overdue: looked at again, not believed.
    warnings: BinaryHeap<Reverse<(Steady, Slot)>>,
    /// Where the search for a ready pace key goes on, so that none is always last.
    turn: usize,
}

/// Where a pace key stands in the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyIndex(pub usize);

/// Where an account stands in the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountIndex(pub usize);

/// Who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// An account, with all its pace keys.
    Account(AccountIndex),
    /// A pace key.
    Key(KeyIndex),
}

#[derive(Debug)]
struct Key {
    queue: Queue,
    pace: Pace,
    account: AccountIndex,
    breaker: Breaker,
    hold: Option<Hold>,
    evidence: Evidence,
    /// The probe under way.
    probe: Option<Slot>,
    tasks: usize,
}

#[derive(Debug)]
struct Account {
    in_flight: u32,
    max_in_flight: u32,
    hold: Option<Hold>,
    skew: Skew,
    /// The probe under way.
    probe: Option<Slot>,
}

impl Board {
    /// An empty board.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A new account, with the most requests that may be under way at once.
    pub fn add_account(&mut self, max_in_flight: u32) -> AccountIndex {
        self.accounts.push(Account { in_flight: 0, max_in_flight, hold: None, skew: Skew::default(), probe: None });
        AccountIndex(self.accounts.len() - 1)
    }

    /// A new pace key, whose first call leaves one interval from now.
    pub fn add_key(&mut self, account: AccountIndex, rate: Rate, now: Steady) -> KeyIndex {
        let (queue, breaker, evidence) = (Queue::default(), Breaker::default(), Evidence::default());
        self.keys.push(Key { queue, pace: Pace::new(rate, now), account, breaker, hold: None, evidence, probe: None, tasks: 0 });
        KeyIndex(self.keys.len() - 1)
    }

    /// A new target, asked at that pace key's pace. Targets are numbered in the order in which they are added.
    pub fn add_target(&mut self, key: KeyIndex) {
        self.targets.push(key);
    }

    /// A new task, in the queue from now on.
    pub fn add(&mut self, task: Waiting, now: Moment) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            // More tasks than 2^32 would not fit into memory.
            Slot::try_from(self.table.len() - 1).unwrap_or(Slot::MAX)
        });
        let key = self.key_of(task.target);
        self.keys[key.0].tasks += 1;
        let local = Times { local: now, cloud: None };
        if let Some(at) = overdue(&task, local).map_or_else(|at| at, |()| Some(now.steady)) {
            self.warnings.push(Reverse((at, slot)));
        }
        self.put_back(slot, task);
        slot
    }

    /// Takes a task out of the queue; it is the caller's until it is put back or removed.
    pub fn take_away(&mut self, slot: Slot) -> Option<Waiting> {
        self.away.insert(slot);
        self.table[slot as usize].take()
    }

    /// Takes the task whose turn it is, if any may be asked now. It counts as under way until [`Board::settle`].
    pub fn take(&mut self, now: Steady) -> Option<(Slot, &Waiting)> {
        let (count, turn) = (self.keys.len(), self.turn);
        for index in (0..count).map(|offset| (turn + offset) % count) {
            let account = &self.accounts[self.keys[index].account.0];
            if account.in_flight >= account.max_in_flight || self.keys[index].pace.next() > now {
                continue;
            }
            let (probe_of, slot) = match self.gate(KeyIndex(index)) {
                None => (None, self.next_due(index, now)),
                Some((_, probes, under_way)) if under_way || probes.next() > now => continue,
                Some((scope, ..)) => (Some(scope), self.asked_longest_ago(scope, index, now)),
            };
            let Some(slot) = slot else { continue };
            match probe_of {
                Some(Scope::Account(account)) => self.accounts[account.0].probe = Some(slot),
                Some(Scope::Key(key)) => self.keys[key.0].probe = Some(slot),
                None => {}
            }
            self.keys[index].pace.take(now);
            self.accounts[self.keys[index].account.0].in_flight += 1;
            self.turn = index + 1;
            let task = self.table[slot as usize].as_mut()?;
            (task.under_way, task.asked) = (true, Some(now));
            return Some((slot, task));
        }
        None
    }

    /// When [`Board::take`] or [`Board::take_overdue`] has something next; `None`: not before an answer comes or a task is added.
    pub fn wake(&self) -> Option<Steady> {
        let turn = |(index, key): (usize, &Key)| {
            let account = &self.accounts[key.account.0];
            let due = key.queue.next().filter(|_| account.in_flight < account.max_in_flight)?;
            match self.gate(KeyIndex(index)) {
                None => Some(due.max(key.pace.next())),
                Some((_, _, true)) => None,
                Some((_, probes, false)) => Some(probes.next().max(key.pace.next())),
            }
        };
        let warning = self.warnings.peek().map(|Reverse((at, _))| *at);
        self.keys.iter().enumerate().filter_map(turn).chain(warning).min()
    }

    /// The task waits again.
    pub fn put_back(&mut self, slot: Slot, task: Waiting) {
        let key = self.key_of(task.target);
        self.keys[key.0].queue.push(task.due, slot);
        self.away.remove(&slot);
        self.table[slot as usize] = Some(task);
    }

    /// The task waits for the very next slot of its pace.
    pub fn put_back_at_once(&mut self, slot: Slot, task: Waiting, now: Steady) {
        let key = self.key_of(task.target);
        self.keys[key.0].queue.push_at_once(slot);
        self.away.remove(&slot);
        self.table[slot as usize] = Some(Waiting { due: now, ..task });
    }

    /// The task is over.
    pub fn remove(&mut self, slot: Slot, target: TargetIndex) {
        let key = self.key_of(target);
        self.keys[key.0].tasks -= 1;
        self.away.remove(&slot);
        self.table[slot as usize] = None;
        self.free.push(slot);
    }

    /// Takes a task that is overdue and was not told so yet; it goes on being watched.
    pub fn take_overdue(&mut self, now: Moment) -> Option<(&Waiting, Times)> {
        while let Some(Reverse((_, slot))) = self.warnings.peek().copied().filter(|Reverse((at, _))| *at <= now.steady) {
            self.warnings.pop();
            let Some(target) = self.table[slot as usize].as_ref().map(|task| task.target) else {
                if self.away.contains(&slot) {
                    self.warnings.push(Reverse((now.steady + LOOK_AGAIN, slot)));
                }
                continue;
            };
            let times = self.times(target, now);
            let task = self.table[slot as usize].as_mut()?;
            match overdue(task, times) {
                Ok(()) => {
                    (task.warned, task.unsaved) = (true, true);
                    return self.table[slot as usize].as_ref().map(|task| (task, times));
                }
                Err(Some(later)) => self.warnings.push(Reverse((later, slot))),
                Err(None) => {}
            }
        }
        None
    }

    /// A secret changed that may mend an account: its next probe goes out at once.
    pub fn try_now(&mut self, account: AccountIndex, now: Steady) {
        if let Some(hold) = &mut self.accounts[account.0].hold {
            hold.probes.at_once(&self.policy, now);
        }
    }

    /// What a request of that target is stamped with when it leaves now.
    pub fn stamp(&self, target: TargetIndex, now: Wall) -> Wall {
        self.skew(target).stamp(now)
    }

    /// This moment on all clocks that matter for that target.
    pub fn times(&self, target: TargetIndex, now: Moment) -> Times {
        self.skew(target).times(now)
    }

    /// How many tasks are open.
    pub fn open(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// How many tasks a held account or pace key has.
    pub fn tasks_of(&self, scope: Scope) -> usize {
        let of = |(index, key): (usize, &Key)| match scope {
            Scope::Account(account) => (key.account == account).then_some(key.tasks),
            Scope::Key(own) => (own.0 == index).then_some(key.tasks),
        };
        self.keys.iter().enumerate().filter_map(of).sum()
    }

    /// What is held and has tasks, if no other task is open.
    pub fn all_held(&self) -> Vec<Scope> {
        let with_tasks = || self.keys.iter().enumerate().filter(|(_, key)| key.tasks > 0);
        let hold = |(index, key): (usize, &Key)| match (&self.accounts[key.account.0].hold, &key.hold) {
            (Some(_), _) => Some(Scope::Account(key.account)),
            (None, Some(_)) => Some(Scope::Key(KeyIndex(index))),
            (None, None) => None,
        };
        let mut scopes: Vec<_> = with_tasks().map(hold).collect::<Option<_>>().unwrap_or_default();
        scopes.dedup();
        scopes
    }

    /// Whether any account is held.
    pub fn any_account_held(&self) -> bool {
        self.accounts.iter().any(|account| account.hold.is_some())
    }

    /// The tasks that wait or are under way.
    pub fn tasks(&self) -> impl Iterator<Item = &Waiting> {
        self.table.iter().flatten()
    }

    fn skew(&self, target: TargetIndex) -> &Skew {
        &self.accounts[self.keys[self.key_of(target).0].account.0].skew
    }

    fn key_of(&self, target: TargetIndex) -> KeyIndex {
        self.targets[target.0 as usize]
    }

    /// What lets only probes of a pace key out, and whether one is under way.
    fn gate(&self, key: KeyIndex) -> Option<(Scope, &Probes, bool)> {
        let on = &self.keys[key.0];
        let account = &self.accounts[on.account.0];
        let of_account = account.hold.as_ref().map(|hold| (Scope::Account(on.account), &hold.probes, account.probe.is_some()));
        let of_key = on.hold.as_ref().map(|hold| &hold.probes).or(on.breaker.open());
        of_account.or(of_key.map(|probes| (Scope::Key(key), probes, on.probe.is_some())))
    }

    /// The next of a pace key that is due; entries of tasks that were taken out of turn are passed over.
    fn next_due(&mut self, index: usize, now: Steady) -> Option<Slot> {
        while let Some(slot) = self.keys[index].queue.pop(now) {
            if self.table[slot as usize]
                .as_ref()
                .is_some_and(|task| !task.under_way && task.due <= now && self.key_of(task.target).0 == index)
            {
                return Some(slot);
            }
        }
        None
    }

    /// The task for a probe: the one asked longest ago, never-asked first, but none before its first poll is due.
    fn asked_longest_ago(&mut self, scope: Scope, index: usize, now: Steady) -> Option<Slot> {
        let of_scope = |task: &Waiting| {
            let key = self.key_of(task.target);
            match scope {
                Scope::Account(account) => self.keys[key.0].account == account,
                Scope::Key(own) => key == own,
            }
        };
        let candidates = self.table.iter().enumerate().filter_map(|(slot, task)| Some((slot, task.as_ref()?)));
        let ready = candidates.filter(|(_, task)| !task.under_way && of_scope(task) && (task.asked.is_some() || task.due <= now));
        let oldest = ready.min_by_key(|(_, task)| task.asked).map(|(slot, task)| (slot as Slot, self.key_of(task.target)));
        match oldest {
            Some((slot, key)) => (key.0 == index).then_some(slot),
            // Nobody can be asked yet: look again later, not at once.
            None => {
                let policy = self.policy;
                if let Some(probes) = self.probes(scope) {
                    probes.failed(&policy, now);
                }
                None
            }
        }
    }

    fn probes(&mut self, scope: Scope) -> Option<&mut Probes> {
        match scope {
            Scope::Account(account) => self.accounts[account.0].hold.as_mut().map(|hold| &mut hold.probes),
            Scope::Key(key) => {
                let key = &mut self.keys[key.0];
                key.hold.as_mut().map(|hold| &mut hold.probes).or(key.breaker.open_mut())
            }
        }
    }
}

#[cfg(test)]
mod tests;
