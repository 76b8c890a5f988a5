//! The consequences of a response: for its task, by the model; for its pace key and its account, by their gates.
//!
//! [`Board::attribute`] is the only place that decides against which scope a fault is counted.

use std::time::Duration;

use super::super::attribution::Attribution;
use super::super::due::Slot;
use super::super::gate::{Evidence, GateChange};
use super::super::lasting::Lasting;
use super::super::reading::{Fault, Response};
use super::super::step::{Draw, Effect, step};
use super::super::task::Row;
use super::super::waiting::{Times, Waiting};
use super::{AccountIndex, Board, KeyIndex, Scope, Share};
use crate::clock::{Moment, Steady};

/// A change that is logged, and may make an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A gate changed.
    Gate(Scope, GateChange<Fault>),
    /// Too many requests: the rate was cut.
    Throttled(Scope, Fault),
    /// The cloud requested a pause until then.
    PauseRequested(KeyIndex, Steady),
    /// Requests are not refused any more; the time from the first refusal to the last.
    Unthrottled(Scope, Duration),
    /// The offset of the cloud's clock to the local one, in milliseconds; positive if the cloud's clock is ahead.
    ClockOffset(AccountIndex, i64),
}

/// The consequences of a response.
#[derive(Debug)]
pub struct Settlement {
    /// The effect on the task, which belongs to the caller until it is put back or removed.
    pub effect: Effect,
    /// The moment of the response, on all clocks.
    pub now: Times,
    /// The changes, in order.
    pub notices: Vec<Notice>,
    /// The pace key with changed evidence, and the evidence to store.
    pub evidence: Option<(KeyIndex, Evidence)>,
}

/// A response while its consequences are found.
struct ResponseSettling {
    row: Row,
    key: KeyIndex,
    account: AccountIndex,
    is_key_probe: bool,
    is_account_probe: bool,
    sent: Steady,
    now: Moment,
    notices: Vec<Notice>,
}

impl ResponseSettling {
    fn is_probe(&self) -> bool {
        self.is_key_probe || self.is_account_probe
    }

    fn note_unthrottled(&mut self, scope: Scope, ended: Option<Lasting>) {
        self.notices.extend(ended.map(|ended| Notice::Unthrottled(scope, ended.observed_for())));
    }

    fn note(&mut self, scope: Scope, change: Option<GateChange<Fault>>) -> bool {
        let is_change = change.is_some();
        self.notices.extend(change.map(|change| Notice::Gate(scope, change)));
        is_change
    }
}

impl Board {
    /// The consequences of a response to a poll; `spread` is drawn from `0.0..1.0`. `None` if no poll of that slot is in
    /// flight.
    pub fn settle(
        &mut self,
        slot: Slot,
        response: Response,
        sent: Moment,
        now: Moment,
        spread: f64,
    ) -> Option<Settlement> {
        let mut task = self.withdraw(slot)?;
        task.in_flight = false;
        let index = self.targets[task.target.0 as usize];
        let Share { key, account, .. } = self.shares[index];
        let on = &mut self.accounts[account.0];
        on.in_flight = on.in_flight.saturating_sub(1);
        let is_account_probe = on.gate.end(u64::from(slot));
        let offset = response.date.and_then(|date| on.offset.measured(date, sent.steady, now));
        let notices = offset.map(|offset| Notice::ClockOffset(account, offset)).into_iter().collect();
        let times = on.offset.times(now);
        let on = &mut self.keys[key.0];
        on.in_flight = on.in_flight.saturating_sub(1);
        let is_key_probe = on.gate.end(u64::from(slot));
        let before = on.gate.evidence().size();
        let sent_at = sent.steady;
        let mut settling = ResponseSettling {
            row: task.row,
            key,
            account,
            is_key_probe,
            is_account_probe,
            sent: sent_at,
            now,
            notices,
        };
        let poll = match response.poll {
            Ok(reading) => {
                self.succeeded(&mut settling);
                Ok(reading)
            }
            Err(fault) => {
                let scope = self.attribute(&task, &fault, &settling);
                self.apply(scope, &fault, &mut settling);
                Err((fault, scope))
            }
        };
        self.make_runnable(account);
        self.arm(index);
        let effect = step(task, poll, &self.policy, Draw { sent, now: times, spread });
        let evidence = self.keys[key.0].gate.evidence();
        let evidence = (evidence.size() != before).then(|| (key, evidence.clone()));
        Some(Settlement { effect, now: times, notices: settling.notices, evidence })
    }

    /// The scope of a fault.
    fn attribute(&mut self, task: &Waiting, fault: &Fault, settling: &ResponseSettling) -> Attribution {
        let (key, account) =
            (&mut self.keys[settling.key.0].gate, &mut self.accounts[settling.account.0].gate);
        match Attribution::of(fault.class, task) {
            // A probe is not repeated at once: a peer that closes every connection would be polled at the
            // full rate, with one task after another.
            Attribution::Nothing if settling.is_probe() => Attribution::Service,
            Attribution::Task if key.is_refused_alike(task.row.0, &fault.code) => Attribution::RefusedAlike,
            Attribution::PaceKey if key.is_exception(task.row.0) => Attribution::TaskAlone,
            Attribution::Account if account.is_exception(task.row.0) => Attribution::TaskAlone,
            scope @ (Attribution::Nothing
            | Attribution::Clock
            | Attribution::Task
            | Attribution::TaskAlone
            | Attribution::Account
            | Attribution::PaceKey
            | Attribution::RefusedAlike
            | Attribution::Throttled
            | Attribution::AccountThrottled
            | Attribution::Service) => scope,
        }
    }

    fn succeeded(&mut self, settling: &mut ResponseSettling) {
        let now = settling.now;
        let account = &mut self.accounts[settling.account.0].gate;
        account.clear_exception(settling.row.0);
        let change = account.succeeded(settling.is_account_probe, now);
        settling.note_unthrottled(Scope::Account(settling.account), account.throttling_ended(now));
        self.released(Scope::Account(settling.account), change, settling);
        let key = &mut self.keys[settling.key.0].gate;
        key.clear_exception(settling.row.0);
        let change = key.succeeded(settling.is_key_probe, now);
        settling.note_unthrottled(Scope::Key(settling.key), key.throttling_ended(now));
        self.released(Scope::Key(settling.key), change, settling);
    }

    /// The consequences of a fault for its pace key and its account.
    fn apply(&mut self, scope: Attribution, fault: &Fault, settling: &mut ResponseSettling) {
        let now = settling.now;
        let ResponseSettling { key, account, is_key_probe, is_account_probe, .. } = *settling;
        let on_key = &mut self.keys[key.0].gate;
        let wait = fault.retry_after.filter(|_| !matches!(scope, Attribution::Task | Attribution::TaskAlone));
        if wait.is_some_and(|wait| on_key.pause_requested(wait, now)) {
            settling.notices.push(Notice::PauseRequested(key, on_key.pace.next()));
        }
        match scope {
            Attribution::Nothing | Attribution::TaskAlone => {}
            Attribution::Service => {
                let change = on_key.failed(fault, true, is_key_probe, now);
                self.closed(Scope::Key(key), change, settling);
                return self.probe_failed(Scope::Account(account), fault, is_account_probe, settling);
            }
            Attribution::Account => {
                let on_account = &mut self.accounts[account.0].gate;
                let change = on_account.put_on_hold(fault, false, is_account_probe, now);
                self.closed(Scope::Account(account), change, settling);
                return self.probe_failed(Scope::Key(key), fault, is_key_probe, settling);
            }
            Attribution::PaceKey | Attribution::RefusedAlike => {
                let alike = scope == Attribution::RefusedAlike;
                let change = on_key.put_on_hold(fault, alike, is_key_probe || is_account_probe, now);
                // The credentials were accepted: the pace key is refused.
                self.account_responded(settling);
                return self.closed(Scope::Key(key), change, settling);
            }
            Attribution::Task => {
                // The service responded, though it does not know this id.
                self.account_responded(settling);
                let is_probe = settling.is_probe();
                let change = if is_probe { self.keys[key.0].gate.responded(true, now) } else { None };
                return self.released(Scope::Key(key), change, settling);
            }
            Attribution::Throttled => {
                on_key.pace.throttled(settling.sent, now.steady);
                if on_key.throttled(now) {
                    settling.notices.push(Notice::Throttled(Scope::Key(key), fault.clone()));
                }
            }
            Attribution::AccountThrottled => {
                for share in &self.accounts[account.0].shares {
                    let key = self.shares[*share].key;
                    self.keys[key.0].gate.pace.throttled(settling.sent, now.steady);
                }
                if self.accounts[account.0].gate.throttled(now) {
                    settling.notices.push(Notice::Throttled(Scope::Account(account), fault.clone()));
                }
            }
            Attribution::Clock => self.accounts[account.0].offset.refused(),
        }
        self.probe_failed(Scope::Account(account), fault, is_account_probe, settling);
        self.probe_failed(Scope::Key(key), fault, is_key_probe, settling);
    }

    /// The probe of an account had its credentials accepted.
    fn account_responded(&mut self, settling: &mut ResponseSettling) {
        if settling.is_account_probe {
            let change = self.accounts[settling.account.0].gate.responded(true, settling.now);
            self.released(Scope::Account(settling.account), change, settling);
        }
    }

    /// The poll was the probe of that gate and failed.
    fn probe_failed(&mut self, scope: Scope, fault: &Fault, is_probe: bool, settling: &mut ResponseSettling) {
        let change = self.gate_mut(scope).probe_failed(fault, is_probe, settling.now);
        settling.note(scope, change);
        if is_probe {
            self.arm_probe(scope);
        }
    }

    /// A gate closed, or stays closed.
    fn closed(&mut self, scope: Scope, change: Option<GateChange<Fault>>, settling: &mut ResponseSettling) {
        if matches!(change, Some(GateChange::Held(_) | GateChange::Opened(_))) {
            self.update_all(scope);
        }
        settling.note(scope, change);
        self.arm_probe(scope);
    }

    /// A gate opened, unless there is no change: the rate of its pace keys is restored gradually.
    fn released(&mut self, scope: Scope, change: Option<GateChange<Fault>>, settling: &mut ResponseSettling) {
        if !settling.note(scope, change) {
            return;
        }
        for index in 0..self.shares_of(scope).len() {
            let key = self.shares[self.shares_of(scope)[index]].key;
            self.keys[key.0].gate.pace.resumed(settling.now.steady);
        }
        self.update_all(scope);
    }
}
