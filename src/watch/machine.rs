//! The polling loop without its waiting: synchronous, and without I/O.
//!
//! Connects the board (the next task, and the meaning of a response) with the cloud (the requests of a
//! target). Input: moments, responses, and stored writes. Output: polls to send, and [`Write`]s to store.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::commands::Deferred;
use super::report::RecentPolls;
use super::write::{Durable, FinalStep, Step, StepKind, Write, hot_row};
use crate::clock::{Moment, Steady, Wall};
use crate::cloud::PollRoute;
use crate::live::Current;
use crate::live::command::{CommandRefused, Responder, WatchReport};
use crate::model::board::{AccountIndex, Board, KeyIndex, Scope, Settlement};
use crate::model::due::Slot;
use crate::model::gate::Evidence;
use crate::model::reading::{Code, Response};
use crate::model::records::HotRow;
use crate::model::step::{Effect, Reason};
use crate::model::task::{PaceKey, Target, TaskId};
use crate::model::waiting::{TargetIndex, Times, Waiting};
use crate::units::Rate;

/// The state of the polling loop.
pub struct Machine {
    pub(super) current: Arc<Current>,
    pub(super) board: Board,
    pub(super) targets: Vec<Known>,
    pub(super) accounts: HashMap<String, AccountIndex>,
    keys: HashMap<PaceKey, KeyIndex>,
    pub(super) indexes: HashMap<Target, TargetIndex>,
    /// Actions that wait until a task is free: a step of it is being stored, or a poll in flight.
    pub(super) deferred: HashMap<Slot, VecDeque<Deferred>>,
    /// Other programs that wait for a slot of a pace key.
    visitors: HashMap<KeyIndex, VecDeque<Responder>>,
    /// The accounts that a person paused.
    pub(super) paused_accounts: BTreeSet<String>,
    pub(super) target_of_account: HashMap<AccountIndex, TargetIndex>,
    pub(super) target_of_key: HashMap<KeyIndex, TargetIndex>,
    /// The evidence of earlier runs, by the text of the pace key, until its first target is added.
    pub(super) evidence: HashMap<String, Evidence>,
    /// The last polls of tasks, for people.
    pub(super) recent: RecentPolls,
    /// The number of events of holds and releases: two in one millisecond need different ids.
    pub(super) hold_events: u32,
    /// Number of tasks that ended since the start of the daemon.
    pub(super) finished: u64,
}

/// A target, and how it is polled.
pub(super) struct Known {
    pub(super) target: Arc<Target>,
    /// The poll route of this target. `None`: the account or operation is not configured any more, and the tasks wait.
    pub(super) route: Option<Arc<PollRoute>>,
    pub(super) trouble: Option<LoggedFault>,
    /// The last status that the operation's row does not list; each such status is logged once.
    pub(super) unknown: Option<Code>,
}

/// A fault of a target that was logged.
pub(super) struct LoggedFault {
    pub(super) code: Code,
    /// The last failed poll of the target.
    pub(super) last: Steady,
}

/// A poll that is to be sent.
pub struct PollRequest {
    /// The slot of the polled task.
    pub slot: Slot,
    /// The way to its target.
    pub route: Arc<PollRoute>,
    /// The task id.
    pub id: TaskId,
    /// Further request parameters.
    pub params: Box<[(String, String)]>,
    /// Whether it must not reuse a connection.
    pub new_connection: bool,
    /// The timestamp of the request.
    pub at: Wall,
}

impl Machine {
    /// A loop without tasks.
    pub(super) fn new(current: Arc<Current>, evidence: HashMap<String, Evidence>) -> Self {
        Self {
            board: Board::new(current.policy),
            current,
            targets: Vec::new(),
            accounts: HashMap::new(),
            keys: HashMap::new(),
            indexes: HashMap::new(),
            deferred: HashMap::new(),
            visitors: HashMap::new(),
            paused_accounts: BTreeSet::new(),
            target_of_account: HashMap::new(),
            target_of_key: HashMap::new(),
            evidence,
            recent: RecentPolls::default(),
            hold_events: 0,
            finished: 0,
        }
    }

    /// The next poll, if one may leave now.
    pub fn next_poll(&mut self, now: Moment) -> Option<PollRequest> {
        let (slot, task) = self.board.take(now.steady)?;
        let target = task.target;
        let id = task.id.clone();
        let params = task.params.clone();
        let new_connection = task.lost_connection;
        // An account without a route has no room for requests.
        let route = self.targets[target.0 as usize].route.clone()?;
        let at = self.board.stamp(target, now);
        Some(PollRequest { slot, route, id, params: params.unwrap_or_default(), new_connection, at })
    }

    /// The response to a poll: the writes that follow.
    pub fn settle(
        &mut self,
        slot: Slot,
        response: Response,
        sent: Moment,
        now: Moment,
        spread: f64,
    ) -> Vec<Write> {
        self.log_poll(slot, &response.poll, now.steady);
        if let Some(task) = self.board.get(slot) {
            self.recent.add(task.row, &response.poll, now);
        }
        let Some(settled) = self.board.settle(slot, response, sent, now, spread) else { return Vec::new() };
        let Settlement { effect, now, notices, evidence } = settled;
        let mut writes: Vec<_> =
            notices.iter().filter_map(|notice| self.log_notice(notice, now.local)).collect();
        writes.extend(evidence.and_then(|(key, evidence)| self.evidence_write(key, evidence)));
        let local = now.local;
        match effect {
            Effect::Again(task) => self.board.put_back(slot, task),
            Effect::First(task) => self.board.put_back_first(slot, task, now.local.steady),
            Effect::AtOnce(task) => self.board.put_back_at_once(slot, task, now.local.steady),
            Effect::Progress(task, previous, reading) => {
                writes.push(self.step(slot, task, now, StepKind::Progressed(previous, reading)));
            }
            Effect::Finish(task, outcome, reading) => {
                writes.push(self.step(
                    slot,
                    task,
                    now,
                    StepKind::Ended(FinalStep::Finished(outcome, reading)),
                ));
            }
            Effect::Abandon(task, reason, fault) => {
                writes.push(self.step(slot, task, now, StepKind::Ended(FinalStep::Abandoned(reason, fault))));
            }
        }
        writes.extend(self.catch_up(slot, local));
        writes
    }

    /// The next task whose `overdue` event is due.
    pub fn overdue(&mut self, now: Moment) -> Option<Write> {
        let (slot, task, times) = self.board.take_overdue(now)?;
        Some(self.step(slot, task, times, StepKind::Overdue))
    }

    /// The write of the first responses, once it is due.
    pub fn first_responses(&mut self, now: Moment) -> Option<Write> {
        first_write(self.board.take_first(now.steady), now)
    }

    /// The write of all first responses that are not stored yet.
    pub fn all_first_responses(&mut self, now: Moment) -> Option<Write> {
        first_write(self.board.take_all_first(), now)
    }

    /// A write was stored: its task continues, or is removed. Returns the writes that follow.
    pub fn written(&mut self, written: Durable, now: Moment) -> Vec<Write> {
        match written {
            Durable::Change(slot, task) => {
                self.board.put_back(slot, *task);
                self.catch_up(slot, now)
            }
            Durable::End { slot, target, .. } => {
                self.finished = self.finished.saturating_add(1);
                self.board.remove(slot, target);
                self.refuse_deferred(slot);
                Vec::new()
            }
            Durable::Added(tasks, responder) => {
                let writes = tasks.into_iter().flat_map(|(task, target)| self.admit(task, &target, now));
                let writes = writes.collect();
                // The sender may be gone.
                let _ = responder.send(Ok(()));
                writes
            }
            Durable::Pause(account, paused, responder) => {
                self.apply_pause(&account, paused);
                let _ = responder.send(Ok(()));
                Vec::new()
            }
            Durable::Other => Vec::new(),
        }
    }

    /// The moment of the next poll, if no response arrives before; with `writes`, also of the next write that no response
    /// causes.
    pub fn wake(&mut self, writes: bool) -> Option<Steady> {
        self.board.wake(writes)
    }

    /// The file does not list the task any more.
    pub(super) fn removed(&mut self, slot: Slot, now: Moment) -> Option<Write> {
        let task = self.board.withdraw(slot)?;
        let times = self.board.times(task.target, now);
        Some(self.step(slot, task, times, StepKind::Ended(FinalStep::Abandoned(Reason::Removed, None))))
    }

    pub(super) fn step(&self, slot: Slot, task: Waiting, now: Times, what: StepKind) -> Write {
        self.step_of_command(slot, task, now, what, None)
    }

    /// A step; a command that caused it gets its result.
    pub(super) fn step_of_command(
        &self,
        slot: Slot,
        task: Waiting,
        now: Times,
        what: StepKind,
        responder: Option<Responder>,
    ) -> Write {
        let target = Arc::clone(&self.targets[task.target.0 as usize].target);
        let current = Arc::clone(&self.current);
        Write::Step(Box::new(Step { slot, task, target, current, now, what, responder }))
    }

    fn evidence_write(&self, key: KeyIndex, evidence: Evidence) -> Option<Write> {
        let target = self.target_of_key.get(&key)?;
        let route = self.targets[target.0 as usize].route.as_ref()?;
        Some(Write::Evidence(route.pace_key.to_string(), evidence))
    }

    /// The hot rows of the tasks that were polled since they were last stored.
    pub fn unsaved(&self, now: Moment) -> Vec<HotRow> {
        self.board.tasks().filter(|task| task.unsaved).map(|task| hot_row(task, now)).collect()
    }

    /// Uses a new snapshot from now on. An account on hold with changed credentials is probed now.
    pub fn replace(&mut self, current: Arc<Current>, now: Steady) {
        let before = std::mem::replace(&mut self.current, current);
        let cloud = &self.current.cloud;
        for known in self.targets.iter_mut() {
            known.route = cloud.route(&known.target).ok().map(Arc::new).or(known.route.take());
        }
        let changed: Vec<_> = self
            .accounts
            .iter()
            .filter(|(name, _)| !cloud.has_same_account(&before.cloud, name))
            .map(|(_, account)| *account)
            .collect();
        changed.into_iter().for_each(|account| self.board.probe_now(account, now));
    }

    /// Another program waits for a slot of the pace key of that target.
    pub(super) fn add_visitor(&mut self, target: &Target, responder: Responder, now: Moment) {
        let index = self.add_target(target, now);
        let refused = match () {
            () if self.targets[index.0 as usize].route.is_none() => Some(CommandRefused::Unknown),
            () if self.board.is_account_paused(index) => Some(CommandRefused::AccountPaused),
            () if self.board.is_pause_requested(index, now.steady) => Some(CommandRefused::PauseRequested),
            () if self.board.is_on_hold(index) => Some(CommandRefused::OnHold),
            () => None,
        };
        if let Some(refused) = refused {
            // The sender may be gone.
            let _ = responder.send(Err(refused));
            return;
        }
        let key = self.board.key_of(index);
        self.visitors.entry(key).or_default().push_back(responder);
        self.board.add_visitor(key);
    }

    /// Lets other programs use the slots that are theirs. Those that are gone leave their slot to the next.
    pub(super) fn grant_slots(&mut self) {
        for key in self.board.take_granted() {
            let waiting = self.visitors.entry(key).or_default();
            while let Some(responder) = waiting.pop_front() {
                if responder.send(Ok(())).is_ok() {
                    break;
                }
            }
        }
    }

    /// The account of a task.
    pub fn account_of(&self, slot: Slot) -> Option<&str> {
        let target = self.board.get(slot)?.target;
        Some(self.targets[target.0 as usize].target.account.as_str())
    }

    /// Probes the holds of that account and of its pace keys now, and ends pauses that the cloud requested.
    ///
    /// # Errors
    /// When there is no such account, or it is paused.
    pub fn retry(&mut self, account: &str, now: Steady) -> Result<(), CommandRefused> {
        let Some(index) = self.accounts.get(account) else {
            let is_known = self.current.cloud.has_account(account);
            return if is_known { Ok(()) } else { Err(CommandRefused::Unknown) };
        };
        if self.paused_accounts.contains(account) {
            return Err(CommandRefused::Paused);
        }
        self.board.retry_account(*index, now);
        Ok(())
    }

    /// Continues as the loop before a reload: gates, clock offsets and counters. Returns the events of holds that end,
    /// since their account or pace key is not used any more.
    pub(super) fn continue_as(&mut self, before: &mut Self, now: Moment) -> Vec<Write> {
        self.hold_events = before.hold_events;
        self.finished = before.finished;
        self.recent = std::mem::take(&mut before.recent);
        let accounts: Vec<_> = self
            .accounts
            .iter()
            .filter(|(name, _)| self.current.cloud.has_same_account(&before.current.cloud, name))
            .filter_map(|(name, own)| Some((*own, *before.accounts.get(name)?)))
            .collect();
        let keys: Vec<_> =
            self.keys.iter().filter_map(|(key, own)| Some((*own, *before.keys.get(key)?))).collect();
        let continued = accounts.iter().map(|(_, other)| Scope::Account(*other));
        let continued: HashSet<_> =
            continued.chain(keys.iter().map(|(_, other)| Scope::Key(*other))).collect();
        let all = before.accounts.values().map(|account| Scope::Account(*account));
        let all: Vec<_> = all.chain(before.keys.values().map(|key| Scope::Key(*key))).collect();
        let ended = all.into_iter().filter(|scope| !continued.contains(scope)).filter_map(|scope| {
            let hold = before.board.gate(scope).hold()?.clone();
            before.hold_event(scope, &hold, now, true)
        });
        let ended: Vec<_> = ended.collect();
        self.hold_events = before.hold_events;
        self.board.continue_as(&mut before.board, &accounts, &keys, now.steady);
        ended
    }

    /// The state of the loop, for people.
    pub(super) fn for_people(&mut self, now: Steady) -> WatchReport {
        let accounts = self.accounts.values().map(|account| Scope::Account(*account));
        let keys: Vec<_> = self.keys.values().map(|key| Scope::Key(*key)).collect();
        let is_held =
            |scope: &Scope| self.board.gate(*scope).hold().is_some() && self.board.tasks_of(*scope) > 0;
        let mut on_hold: Vec<_> =
            accounts.chain(keys.iter().copied()).filter(is_held).map(|scope| self.name(scope)).collect();
        on_hold.sort_unstable();
        let paces: Vec<_> = keys
            .iter()
            .filter(|scope| self.board.tasks_of(**scope) > 0)
            .map(|scope| &self.board.gate(*scope).pace)
            .collect();
        WatchReport {
            open: self.board.open(),
            finished: self.finished,
            on_hold,
            paused_accounts: self.paused_accounts.iter().cloned().collect(),
            paused_tasks: self.board.paused(),
            throttled: paces.iter().filter(|pace| pace.is_throttled(now)).count(),
            // The sum of no numbers is -0.0, which people would read.
            rate_used: paces.iter().filter_map(|pace| pace.used_rate(now)).sum::<f64>() + 0.0,
            rate_allowed: paces.iter().filter_map(|pace| pace.allowed_rate(now)).sum::<f64>() + 0.0,
            next_poll: self.board.wake(false).map(|at| at.max(now)),
        }
    }

    /// The index of a target. A new one is added to the board. If it cannot be polled, its tasks wait, with a log line.
    pub(super) fn add_target(&mut self, target: &Target, now: Moment) -> TargetIndex {
        if let Some(known) = self.indexes.get(target) {
            return *known;
        }
        // As many targets as 2^32 would not fit into memory.
        let index = TargetIndex(u32::try_from(self.targets.len()).unwrap_or(u32::MAX));
        let (route, account, key) = match self.current.cloud.route(target) {
            Ok(route) => {
                let board = &mut self.board;
                let account = *self
                    .accounts
                    .entry(target.account.clone())
                    .or_insert_with(|| board.add_account(route.max_in_flight));
                let key = *self
                    .keys
                    .entry(route.pace_key.clone())
                    .or_insert_with(|| board.add_key(route.rate, now.steady));
                board.lower_rate(key, route.rate);
                if let Some(evidence) = self.evidence.remove(&route.pace_key.to_string()) {
                    board.gate_mut(Scope::Key(key)).restore(evidence);
                }
                (Some(Arc::new(route)), account, key)
            }
            Err(error) => {
                let Target { account, region, operation } = target;
                tracing::error!(account, region, operation, error_message = %error, "open tasks cannot be polled, since their account or operation is not configured; they wait in the store");
                let account = self.board.add_account(0);
                (None, account, self.board.add_key(Rate::ONE_A_SECOND, now.steady))
            }
        };
        self.board.add_target(account, key);
        if self.paused_accounts.contains(&target.account)
            && !self.board.gate(Scope::Account(account)).is_paused()
        {
            self.board.pause_account(account, true);
        }
        self.target_of_account.entry(account).or_insert(index);
        self.target_of_key.entry(key).or_insert(index);
        self.indexes.insert(target.clone(), index);
        self.targets.push(Known { target: Arc::new(target.clone()), route, trouble: None, unknown: None });
        index
    }

    /// The present spacing of a target's requests.
    #[cfg(test)]
    pub(super) fn spacing(&self, target: TargetIndex, now: Steady) -> std::time::Duration {
        self.board.gate(Scope::Key(self.board.key_of(target))).pace.spacing(now)
    }
}

fn first_write(tasks: Vec<&Waiting>, now: Moment) -> Option<Write> {
    let rows: Vec<_> = tasks.into_iter().map(|task| hot_row(task, now)).collect();
    (!rows.is_empty()).then_some(Write::Polled(rows))
}
