//! Whose turn it is, and what an answer means for the rest: the hot table, the queue, pace, breaker and hold of each pace key, and
//! the bound, hold and clock of each account.
//!
//! Plain and synchronous: the loop asks it for the next task, hands it each answer, and carries out what comes back. What a
//! fault means is the model's; whom it touches is decided here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::Duration;

use crate::clock::{Moment, Steady, Wall};
use crate::cloud::Answer;
use crate::cloud::skew::Skew;
use crate::model::breaker::{Breaker, Probes};
use crate::model::due::{Queue, Slot};
use crate::model::hold::{Evidence, Hold};
use crate::model::pace::Pace;
use crate::model::policy::Policy;
use crate::model::reading::{Class, Fault};
use crate::model::step::{Draw, Effect, overdue, parked, step};
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

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// It is held from now on: a person must act.
    Held(Scope, Fault, Wall),
    /// It is still held, and the loud line is due again.
    StillHeld(Scope, Fault, Wall),
    /// A probe succeeded: it is used again.
    Released(Scope, Fault, Wall),
    /// The service fails: only probes go out.
    Opened(KeyIndex, Fault),
    /// It answers again.
    Closed(KeyIndex),
    /// Too many calls: the pace is slowed down.
    Throttled(Scope, Fault),
    /// The cloud's clock is so many milliseconds ahead of the local one.
    ClockOff(AccountIndex, i64),
}

/// What an answer means: for its task, and for who is told.
#[derive(Debug)]
pub struct Settled {
    /// What becomes of the task, which is the caller's until it is put back or removed.
    pub effect: Effect,
    /// When the answer came, on all clocks.
    pub now: Times,
    /// In the order in which they are to be told.
    pub notices: Vec<Notice>,
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
            let gate = self.gate(KeyIndex(index));
            let slot = match gate {
                None => self.next_due(index, now),
                Some((_, probes, under_way)) if under_way || probes.next() > now => None,
                Some((scope, ..)) => self.asked_longest_ago(scope, index, now),
            };
            let Some(slot) = slot else { continue };
            match gate_scope(self.gate(KeyIndex(index))) {
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

    /// An answer to a poll sent then: what it means for its task, its pace key and its account.
    pub fn settle(&mut self, slot: Slot, answer: &Answer, sent: Moment, now: Moment, spread: f64) -> Option<Settled> {
        let mut task = self.table[slot as usize].take()?;
        task.under_way = false;
        self.away.insert(slot);
        let key = self.key_of(task.target);
        let account = self.keys[key.0].account;
        let mut notices = Vec::new();
        let probed = self.probed(slot, key, account);
        let on = &mut self.accounts[account.0];
        on.in_flight = on.in_flight.saturating_sub(1);
        let offset = answer.date.and_then(|date| on.skew.measured(date, now.wall));
        notices.extend(offset.map(|offset| Notice::ClockOff(account, offset)));
        let times = on.skew.times(now);
        let refused_by_setting = match &answer.poll {
            Ok(_) => {
                self.answered_well(key, account, now, &mut notices);
                false
            }
            Err(fault) => self.failed(&task, key, fault, probed, sent, now, &mut notices),
        };
        let draw = Draw { sent, now: times, spread };
        let effect = if refused_by_setting {
            task.polls = task.polls.saturating_add(1);
            task.errors = task.errors.saturating_add(1);
            task.unsaved = true;
            Effect::Again(parked(task, draw))
        } else {
            step(task, &answer.poll, &self.policy, draw)
        };
        Some(Settled { effect, now: times, notices })
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
        self.accounts[self.keys[self.key_of(target).0].account.0].skew.stamp(now)
    }

    /// This moment on all clocks that matter for that target.
    pub fn times(&self, target: TargetIndex, now: Moment) -> Times {
        self.accounts[self.keys[self.key_of(target).0].account.0].skew.times(now)
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
                .is_some_and(|task| !task.under_way && task.due <= now && self.targets[task.target.0 as usize].0 == index)
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
                let policy = self.policy.clone();
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

    /// Whose probe that was; it is under way no more.
    fn probed(&mut self, slot: Slot, key: KeyIndex, account: AccountIndex) -> Option<Scope> {
        if self.accounts[account.0].probe.take_if(|probe| *probe == slot).is_some() {
            return Some(Scope::Account(account));
        }
        self.keys[key.0].probe.take_if(|probe| *probe == slot).map(|_| Scope::Key(key))
    }

    fn answered_well(&mut self, key: KeyIndex, account: AccountIndex, now: Moment, notices: &mut Vec<Notice>) {
        self.release(Scope::Account(account), now, notices);
        self.release(Scope::Key(key), now, notices);
        let on = &mut self.keys[key.0];
        on.evidence.answered_well();
        on.pace.answered_well();
        if on.breaker.succeeded() {
            on.pace.resumed(now.steady);
            notices.push(Notice::Closed(key));
        }
    }

    fn release(&mut self, scope: Scope, now: Moment, notices: &mut Vec<Notice>) {
        let hold = match scope {
            Scope::Account(account) => self.accounts[account.0].hold.take(),
            Scope::Key(key) => self.keys[key.0].hold.take(),
        };
        let Some(hold) = hold else { return };
        for (index, key) in self.keys.iter_mut().enumerate() {
            if scope == Scope::Account(key.account) || scope == Scope::Key(KeyIndex(index)) {
                key.pace.resumed(now.steady);
            }
        }
        notices.push(Notice::Released(scope, hold.cause, hold.since));
    }

    /// What a fault means for pace key and account. Whether it tells of a setting, though it looks like the task's own.
    #[expect(clippy::too_many_arguments, reason = "one caller, and each is another thing")]
    fn failed(
        &mut self,
        task: &Waiting,
        key: KeyIndex,
        fault: &Fault,
        probed: Option<Scope>,
        sent: Moment,
        now: Moment,
        notices: &mut Vec<Notice>,
    ) -> bool {
        let account = self.keys[key.0].account;
        let policy = self.policy.clone();
        if let Some(wait) = fault.retry_after {
            self.keys[key.0].pace.retry_after(wait, now.steady);
        }
        match fault.class {
            Class::Connection if !task.lost_connection => return false,
            Class::Connection | Class::Service => {
                if self.keys[key.0].breaker.failed(&policy, now.steady) {
                    notices.push(Notice::Opened(key, fault.clone()));
                }
            }
            Class::Account => return self.hold(Scope::Account(account), fault, false, probed, now, notices),
            Class::PaceKey => return self.hold(Scope::Key(key), fault, false, probed, now, notices),
            Class::Pace => self.keys[key.0].pace.throttled(sent.steady, now.steady),
            Class::AccountPace => {
                let own = self.keys.iter_mut().filter(|key| key.account == account);
                own.for_each(|key| key.pace.throttled(sent.steady, now.steady));
            }
            Class::Clock => self.accounts[account.0].skew.refused(),
            Class::Task => {
                if probed == Some(Scope::Account(account)) {
                    self.release(Scope::Account(account), now, notices);
                }
                if self.keys[key.0].evidence.refused(task.row, &fault.code)
                    || self.keys[key.0].hold.as_ref().is_some_and(|hold| hold.refused_alike)
                {
                    return self.hold(Scope::Key(key), fault, true, probed, now, notices);
                }
                self.release(Scope::Key(key), now, notices);
            }
        }
        if fault.class == Class::Pace || fault.class == Class::AccountPace {
            let scope = if fault.class == Class::Pace { Scope::Key(key) } else { Scope::Account(account) };
            notices.push(Notice::Throttled(scope, fault.clone()));
        }
        // Whatever it was, the probe did not succeed: the next one waits longer.
        if let Some(scope) = probed
            && let Some(probes) = self.probes(scope)
        {
            probes.failed(&policy, now.steady);
        }
        false
    }

    /// Holds it, or counts the failed probe of one that is held. Always true: nothing is counted against the task.
    fn hold(
        &mut self,
        scope: Scope,
        fault: &Fault,
        refused_alike: bool,
        probed: Option<Scope>,
        now: Moment,
        notices: &mut Vec<Notice>,
    ) -> bool {
        let policy = self.policy.clone();
        // The credentials were accepted, if it is the pace key that is refused.
        if let (Scope::Key(_), Some(Scope::Account(_))) = (scope, probed) {
            probed.into_iter().for_each(|probed| self.release(probed, now, notices));
        }
        let hold = match scope {
            Scope::Account(account) => &mut self.accounts[account.0].hold,
            Scope::Key(key) => &mut self.keys[key.0].hold,
        };
        match hold {
            None => {
                *hold = Some(Hold::new(fault.clone(), refused_alike, &policy, now));
                notices.push(Notice::Held(scope, fault.clone(), now.wall));
            }
            Some(hold) if probed.is_some() => {
                hold.cause = fault.clone();
                if hold.probe_failed(&policy, now.steady) {
                    notices.push(Notice::StillHeld(scope, fault.clone(), hold.since));
                }
            }
            // What was under way when it was held says nothing new.
            Some(_) => {}
        }
        true
    }
}

fn gate_scope(gate: Option<(Scope, &Probes, bool)>) -> Option<Scope> {
    gate.map(|(scope, ..)| scope)
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
