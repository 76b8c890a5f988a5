//! Whose turn it is: the hot table, the queue, pace, breaker and hold of each pace key, and the bound, hold
//! and clock of each account.
//!
//! Plain and synchronous: the loop asks it for the next task, hands it each answer (settle.rs), and carries
//! out what comes back.

mod settle;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

pub use settle::{Notice, Settled};

use crate::clock::{Moment, Steady, Wall};
use crate::model::breaker::{Breaker, Probes};
use crate::model::clock_offset::ClockOffset;
use crate::model::due::{Queue, Slot};
use crate::model::hold::{Evidence, Hold};
use crate::model::lasting::Lasting;
use crate::model::pace::Pace;
use crate::model::policy::Policy;
use crate::model::reading::Fault;
use crate::model::step::overdue;
use crate::model::task::Row;
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
    shares: Vec<Share>,
    /// The share of each target.
    targets: Vec<usize>,
    /// When somebody may be overdue: looked at again, not believed.
    warnings: BinaryHeap<Reverse<(Steady, Slot)>>,
    /// Where the search for a ready share goes on, so that none is always last.
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

/// What waits for one pace key with one account's credentials. Two accounts may share a pace key, never a
/// hold of their own.
#[derive(Debug)]
struct Share {
    key: KeyIndex,
    account: AccountIndex,
    queue: Queue,
    tasks: usize,
}

#[derive(Debug)]
struct Key {
    pace: Pace,
    breaker: Breaker,
    hold: Option<Hold<Fault>>,
    evidence: Evidence,
    /// The probe under way.
    probe: Option<Slot>,
    /// How many polls were answered well.
    good: u64,
    /// When it is told that its calls are too many.
    throttled: Option<Lasting>,
    /// Tasks whose refusal held it, and how many polls had been answered well then.
    culprits: HashMap<Row, u64>,
}

#[derive(Debug)]
struct Account {
    in_flight: u32,
    /// Zero for one that is not configured any more: its tasks wait.
    max_in_flight: u32,
    hold: Option<Hold<Fault>>,
    skew: ClockOffset,
    /// When it is told that its calls are too many.
    throttled: Option<Lasting>,
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
        self.accounts.push(Account {
            in_flight: 0,
            max_in_flight,
            hold: None,
            skew: ClockOffset::default(),
            throttled: None,
            probe: None,
        });
        AccountIndex(self.accounts.len() - 1)
    }

    /// A new pace key, whose first call leaves one interval from now.
    pub fn add_key(&mut self, rate: Rate, now: Steady) -> KeyIndex {
        let breaker = Breaker::default();
        let evidence = Evidence::default();
        self.keys.push(Key {
            pace: Pace::new(rate, now),
            breaker,
            hold: None,
            evidence,
            probe: None,
            good: 0,
            throttled: None,
            culprits: HashMap::new(),
        });
        KeyIndex(self.keys.len() - 1)
    }

    /// Another account shares the pace key: the lower one of their rates counts.
    pub fn lower_rate(&mut self, key: KeyIndex, rate: Rate) {
        self.keys[key.0].pace.lower(rate);
    }

    /// A new target, asked with that account's credentials at that pace key's pace. Targets are numbered in
    /// the order in which they are added.
    pub fn add_target(&mut self, account: AccountIndex, key: KeyIndex) {
        let known = self.shares.iter().position(|share| (share.account, share.key) == (account, key));
        let share = known.unwrap_or_else(|| {
            self.shares.push(Share { key, account, queue: Queue::default(), tasks: 0 });
            self.shares.len() - 1
        });
        self.targets.push(share);
    }

    /// A new task, in the queue from now on.
    pub fn add(&mut self, task: Waiting, now: Moment) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            // More tasks than 2^32 would not fit into memory.
            Slot::try_from(self.table.len() - 1).unwrap_or(Slot::MAX)
        });
        self.share_of_mut(task.target).tasks += 1;
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

    /// Takes the task whose turn it is, if any may be asked now. It counts as under way until
    /// [`Board::settle`].
    pub fn take(&mut self, now: Steady) -> Option<(Slot, &Waiting)> {
        let count = self.shares.len();
        let turn = self.turn;
        for index in (0..count).map(|offset| (turn + offset) % count) {
            if !self.is_free(index, now) {
                continue;
            }
            let (probe_of, slot) = match self.gate(index) {
                None => (None, self.next_due(index, now)),
                Some((_, probes, under_way)) if under_way || probes.next() > now => continue,
                Some((scope, ..)) => (Some(scope), self.asked_longest_ago(scope, now)),
            };
            let Some(slot) = slot else { continue };
            match probe_of {
                Some(Scope::Account(account)) => self.accounts[account.0].probe = Some(slot),
                Some(Scope::Key(key)) => self.keys[key.0].probe = Some(slot),
                None => {}
            }
            self.turn = index + 1;
            let task = self.table[slot as usize].as_mut()?;
            task.under_way = true;
            task.asked = Some(now);
            // Not always the share that was looked at: a probe takes the task of the whole scope that waited
            // longest.
            let share = &self.shares[self.targets[task.target.0 as usize]];
            self.keys[share.key.0].pace.take(now);
            self.accounts[share.account.0].in_flight += 1;
            return Some((slot, task));
        }
        None
    }

    /// When [`Board::take`] has something next, or, if that is asked for, [`Board::take_overdue`]; `None`:
    /// not before an answer comes or a task is added.
    pub fn wake(&self, overdue: bool) -> Option<Steady> {
        let turn = |(index, share): (usize, &Share)| {
            let account = &self.accounts[share.account.0];
            let pace = &self.keys[share.key.0].pace;
            let due = share.queue.next().filter(|_| account.in_flight < account.max_in_flight)?;
            match self.gate(index) {
                None => Some(due.max(pace.next())),
                Some((_, _, true)) => None,
                Some((_, probes, false)) => Some(probes.next().max(pace.next())),
            }
        };
        let warning = self.warnings.peek().filter(|_| overdue).map(|Reverse((at, _))| *at);
        self.shares.iter().enumerate().filter_map(turn).chain(warning).min()
    }

    /// The task waits again.
    pub fn put_back(&mut self, slot: Slot, task: Waiting) {
        self.share_of_mut(task.target).queue.push(task.due, slot);
        self.away.remove(&slot);
        self.table[slot as usize] = Some(task);
    }

    /// The task waits for the very next slot of its pace.
    pub fn put_back_at_once(&mut self, slot: Slot, task: Waiting, now: Steady) {
        self.share_of_mut(task.target).queue.push_at_once(slot);
        self.away.remove(&slot);
        self.table[slot as usize] = Some(Waiting { due: now, ..task });
    }

    /// The task is over.
    pub fn remove(&mut self, slot: Slot, target: TargetIndex) {
        self.share_of_mut(target).tasks -= 1;
        self.away.remove(&slot);
        self.table[slot as usize] = None;
        self.free.push(slot);
    }

    /// Takes a task away that is overdue and was not told so yet; it goes on being watched once it is put
    /// back.
    pub fn take_overdue(&mut self, now: Moment) -> Option<(Slot, Waiting, Times)> {
        while let Some(Reverse((_, slot))) =
            self.warnings.peek().copied().filter(|Reverse((at, _))| *at <= now.steady)
        {
            self.warnings.pop();
            let Some(task) = self.table[slot as usize].as_ref().filter(|task| !task.under_way) else {
                // One step of a task at a time, so that no older word is stored after a newer one.
                if self.away.contains(&slot) || self.table[slot as usize].is_some() {
                    self.warnings.push(Reverse((now.steady + LOOK_AGAIN, slot)));
                }
                continue;
            };
            let times = self.times(task.target, now);
            match overdue(task, times) {
                Ok(()) => {
                    let task = self.take_away(slot)?;
                    return Some((slot, Waiting { warned: true, ..task }, times));
                }
                Err(Some(later)) => self.warnings.push(Reverse((later, slot))),
                Err(None) => {}
            }
        }
        None
    }

    /// A task that waits or is under way.
    pub fn get(&self, slot: Slot) -> Option<&Waiting> {
        self.table.get(slot as usize)?.as_ref()
    }

    /// A secret changed that may mend an account: its next probe goes out at once.
    pub fn try_now(&mut self, account: AccountIndex, now: Steady) {
        if let Some(hold) = &mut self.accounts[account.0].hold {
            hold.probes.at_once(now);
        }
    }

    /// What a request of that target is stamped with when it leaves now.
    pub fn stamp(&self, target: TargetIndex, now: Moment) -> Wall {
        self.skew(target).stamp(now)
    }

    /// This moment on all clocks that matter for that target.
    pub fn times(&self, target: TargetIndex, now: Moment) -> Times {
        self.skew(target).times(now)
    }

    /// How far apart the requests of that target's pace key leave now.
    #[cfg(test)]
    pub fn spacing(&self, target: TargetIndex) -> Duration {
        self.keys[self.share_of(target).key.0].pace.spacing()
    }

    /// How many tasks are open.
    pub fn open(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// How many tasks a held account or pace key has.
    pub fn tasks_of(&self, scope: Scope) -> usize {
        let of = |share: &&Share| match scope {
            Scope::Account(account) => share.account == account,
            Scope::Key(key) => share.key == key,
        };
        self.shares.iter().filter(of).map(|share| share.tasks).sum()
    }

    /// Why a held account or pace key is held.
    pub fn cause(&self, scope: Scope) -> Option<&Fault> {
        let hold = match scope {
            Scope::Account(account) => self.accounts[account.0].hold.as_ref(),
            Scope::Key(key) => self.keys[key.0].hold.as_ref(),
        };
        hold.map(|hold| &hold.cause)
    }

    /// The probes of an account or a pace key, where only those go out.
    pub fn probes_of(&self, scope: Scope) -> Option<&Probes> {
        match scope {
            Scope::Account(account) => self.accounts[account.0].hold.as_ref().map(|hold| &hold.probes),
            Scope::Key(key) => {
                let key = &self.keys[key.0];
                key.hold.as_ref().map(|hold| &hold.probes).or(key.breaker.open())
            }
        }
    }

    /// What is held, or not configured any more, and has tasks, if no other task is open.
    pub fn all_held(&self) -> Vec<Scope> {
        let hold = |share: &Share| {
            let account = &self.accounts[share.account.0];
            let of_account = account.hold.is_some() || account.max_in_flight == 0;
            let of_key = self.keys[share.key.0].hold.is_some().then_some(Scope::Key(share.key));
            if of_account { Some(Scope::Account(share.account)) } else { of_key }
        };
        let with_tasks = self.shares.iter().filter(|share| share.tasks > 0);
        let mut scopes: Vec<_> = with_tasks.map(hold).collect::<Option<_>>().unwrap_or_default();
        let mut told = HashSet::new();
        scopes.retain(|scope| told.insert(*scope));
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

    fn skew(&self, target: TargetIndex) -> &ClockOffset {
        &self.accounts[self.share_of(target).account.0].skew
    }

    fn share_of(&self, target: TargetIndex) -> &Share {
        &self.shares[self.targets[target.0 as usize]]
    }

    fn share_of_mut(&mut self, target: TargetIndex) -> &mut Share {
        &mut self.shares[self.targets[target.0 as usize]]
    }

    /// Whether the pace and the account's bound let a request of that share out now.
    fn is_free(&self, share: usize, now: Steady) -> bool {
        let Share { key, account, .. } = self.shares[share];
        let account = &self.accounts[account.0];
        account.in_flight < account.max_in_flight && self.keys[key.0].pace.next() <= now
    }

    /// What lets only probes of a share out, and whether one is under way.
    fn gate(&self, share: usize) -> Option<(Scope, &Probes, bool)> {
        let Share { key, account, .. } = self.shares[share];
        let of = Scope::Account(account);
        let on = Scope::Key(key);
        let of_account =
            self.probes_of(of).map(|probes| (of, probes, self.accounts[account.0].probe.is_some()));
        of_account.or(self.probes_of(on).map(|probes| (on, probes, self.keys[key.0].probe.is_some())))
    }

    /// The next of a share that is due; entries of tasks that were taken out of turn are passed over.
    fn next_due(&mut self, share: usize, now: Steady) -> Option<Slot> {
        while let Some(slot) = self.shares[share].queue.pop(now) {
            let task = self.table[slot as usize].as_ref();
            if task.is_some_and(|task| {
                !task.under_way && task.due <= now && self.targets[task.target.0 as usize] == share
            }) {
                return Some(slot);
            }
        }
        None
    }

    /// The task for a probe: of those that may be asked now the one asked longest ago, never-asked first, but
    /// none before its first poll is due.
    fn asked_longest_ago(&mut self, scope: Scope, now: Steady) -> Option<Slot> {
        let free =
            |share| self.is_free(share, now) && self.gate(share).is_some_and(|(gate, ..)| gate == scope);
        let free: Vec<bool> = (0..self.shares.len()).map(free).collect();
        let candidates =
            self.table.iter().enumerate().filter_map(|(slot, task)| Some((slot, task.as_ref()?)));
        let ready = candidates.filter(|(_, task)| {
            !task.under_way
                && free[self.targets[task.target.0 as usize]]
                && (task.asked.is_some() || task.due <= now)
        });
        let oldest = ready.min_by_key(|(_, task)| task.asked).map(|(slot, _)| slot as Slot);
        if oldest.is_none() {
            // Nobody can be asked yet: look again later, not at once.
            if let Some(probes) = self.probes(scope) {
                probes.postponed(now);
            }
        }
        oldest
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
