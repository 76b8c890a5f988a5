//! What an answer means: for its task, by the model; for its pace key and its account, here. Whom a fault
//! touches is decided in this file alone.

use super::{AccountIndex, Board, KeyIndex, Scope, Share};
use crate::clock::{Moment, Wall};
use crate::model::breaker::Probes;
use crate::model::due::Slot;
use crate::model::hold::Hold;
use crate::model::lasting::Lasting;
use crate::model::reading::Response;
use crate::model::reading::{Class, Fault};
use crate::model::step::{Draw, Effect, parked, step};
use crate::model::waiting::{Times, Waiting};

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// It is held from now on: a person must act.
    Held(Scope, Fault, Wall),
    /// It is still held, and the loud line is due again; that is what the last probe met.
    StillHeld(Scope, Fault),
    /// A probe succeeded: it is used again.
    Released(Scope, Hold<Fault>),
    /// The service fails, or still does and the line is due again: only probes go out.
    Open(KeyIndex, Fault),
    /// It answers again.
    Closed(KeyIndex, Probes),
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

impl Board {
    /// An answer to a poll sent then: what it means for its task, its pace key and its account.
    pub fn settle(
        &mut self,
        slot: Slot,
        mut answer: Response,
        sent: Moment,
        now: Moment,
        spread: f64,
    ) -> Option<Settled> {
        let mut task = self.table[slot as usize].take()?;
        task.under_way = false;
        self.away.insert(slot);
        let Share { key, account, .. } = *self.share_of(task.target);
        let mut notices = Vec::new();
        let probed = self.probed(slot, key, account);
        let on = &mut self.accounts[account.0];
        on.in_flight = on.in_flight.saturating_sub(1);
        let offset = answer.date.and_then(|date| on.skew.measured(date, sent.steady, now));
        notices.extend(offset.map(|offset| Notice::ClockOff(account, offset)));
        let times = on.skew.times(now);
        let refused_by_setting = match &answer.poll {
            Ok(_) => {
                self.answered_well(key, account, probed, now, &mut notices);
                false
            }
            Err(fault) if self.is_its_own(&task, key, fault) => false,
            Err(fault) => self.failed(&task, fault, probed, sent, now, &mut notices),
        };
        if let Err(fault) = &mut answer.poll
            && fault.class == Class::PaceKey
            && !refused_by_setting
        {
            fault.class = Class::Service;
        }
        let draw = Draw { sent, now: times, spread };
        let effect = if refused_by_setting {
            task.polls = task.polls.saturating_add(1);
            task.errors = task.errors.saturating_add(1);
            task.unsaved = true;
            Effect::Again(parked(task, draw))
        } else {
            step(task, answer.poll, &self.policy, draw)
        };
        Some(Settled { effect, now: times, notices })
    }

    /// Whose probe that was; it is under way no more.
    fn probed(&mut self, slot: Slot, key: KeyIndex, account: AccountIndex) -> Option<Scope> {
        if self.accounts[account.0].probe.take_if(|probe| *probe == slot).is_some() {
            return Some(Scope::Account(account));
        }
        self.keys[key.0].probe.take_if(|probe| *probe == slot).map(|_| Scope::Key(key))
    }

    /// Whether one task alone is refused as if by a setting: it held its pace key before, and others were
    /// answered well since. It backs off by itself then, and holds nobody.
    fn is_its_own(&mut self, task: &Waiting, key: KeyIndex, fault: &Fault) -> bool {
        /// More of them are no exceptions any more.
        const MOST: usize = 1_000;
        let on = &mut self.keys[key.0];
        if fault.class != Class::PaceKey || on.culprits.len() > MOST {
            return false;
        }
        on.culprits.insert(task.row, on.good).is_some_and(|before| before < on.good)
    }

    /// What was under way when something was held says nothing new of it: only its probe releases it.
    fn answered_well(
        &mut self,
        key: KeyIndex,
        account: AccountIndex,
        probed: Option<Scope>,
        now: Moment,
        notices: &mut Vec<Notice>,
    ) {
        if probed == Some(Scope::Account(account)) {
            self.release(Scope::Account(account), now, notices);
        }
        if probed.is_some() {
            self.release(Scope::Key(key), now, notices);
        }
        self.keys[key.0].good += 1;
        let on = &mut self.keys[key.0];
        on.evidence.answered_well();
        on.pace.answered_well();
        if probed.is_some() || on.breaker.open().is_none() {
            self.closed(key, now, notices);
        }
    }

    /// The service answers: a breaker that was open closes.
    fn closed(&mut self, key: KeyIndex, now: Moment, notices: &mut Vec<Notice>) {
        let on = &mut self.keys[key.0];
        if let Some(probes) = on.breaker.succeeded() {
            on.pace.resumed(now.steady);
            notices.push(Notice::Closed(key, probes));
        }
    }

    fn release(&mut self, scope: Scope, now: Moment, notices: &mut Vec<Notice>) {
        let hold = match scope {
            Scope::Account(account) => self.accounts[account.0].hold.take(),
            Scope::Key(key) => self.keys[key.0].hold.take(),
        };
        let Some(hold) = hold else { return };
        for share in &self.shares {
            if scope == Scope::Account(share.account) || scope == Scope::Key(share.key) {
                self.keys[share.key.0].pace.resumed(now.steady);
            }
        }
        notices.push(Notice::Released(scope, hold));
    }

    /// The pace climbs back until it is too fast again: that is told with backoff.
    fn throttled(&mut self, scope: Scope, fault: &Fault, now: Moment, notices: &mut Vec<Notice>) {
        let told = match scope {
            Scope::Account(account) => &mut self.accounts[account.0].throttled,
            Scope::Key(key) => &mut self.keys[key.0].throttled,
        };
        if Lasting::recurs(told, now) {
            notices.push(Notice::Throttled(scope, fault.clone()));
        }
    }

    /// What a fault means for pace key and account. Whether it tells of a setting, though it looks like the
    /// task's own.
    fn failed(
        &mut self,
        task: &Waiting,
        fault: &Fault,
        probed: Option<Scope>,
        sent: Moment,
        now: Moment,
        notices: &mut Vec<Notice>,
    ) -> bool {
        let Share { key, account, .. } = *self.share_of(task.target);
        let waits = self.policy.error_waits();
        if let Some(wait) = fault.retry_after {
            self.keys[key.0].pace.retry_after(wait, now.steady);
        }
        match fault.class {
            // A probe has no free try: else a peer that closes every connection is asked at the full rate,
            // one new task after the other.
            Class::Connection if !task.lost_connection && probed.is_none() => return false,
            Class::Connection | Class::Service => {
                if self.keys[key.0].breaker.failed(waits, now) {
                    notices.push(Notice::Open(key, fault.clone()));
                }
            }
            Class::Account if broken!(NoHold) => return false,
            Class::Account => return self.hold(Scope::Account(account), fault, false, probed, now, notices),
            Class::PaceKey => return self.hold(Scope::Key(key), fault, false, probed, now, notices),
            Class::Pace => {
                self.keys[key.0].pace.throttled(sent.steady, now.steady);
                self.throttled(Scope::Key(key), fault, now, notices);
            }
            Class::AccountPace => {
                for share in self.shares.iter().filter(|share| share.account == account) {
                    self.keys[share.key.0].pace.throttled(sent.steady, now.steady);
                }
                self.throttled(Scope::Account(account), fault, now, notices);
            }
            Class::Clock => self.accounts[account.0].skew.refused(),
            Class::Task => {
                if probed == Some(Scope::Account(account)) {
                    self.release(Scope::Account(account), now, notices);
                }
                if self.keys[key.0].evidence.refused(task.row.0, &fault.code)
                    || self.keys[key.0].hold.as_ref().is_some_and(|hold| hold.refused_alike)
                {
                    return self.hold(Scope::Key(key), fault, true, probed, now, notices);
                }
                if probed.is_some() {
                    self.release(Scope::Key(key), now, notices);
                    // The service answers, though this id is not what it knows.
                    self.closed(key, now, notices);
                }
            }
        }
        // Whatever it was, the probe did not succeed: the next one waits longer.
        if let Some(scope) = probed
            && self.probes(scope).is_some_and(|probes| probes.failed(now.steady))
        {
            notices.push(match scope {
                Scope::Key(key) if self.keys[key.0].hold.is_none() => Notice::Open(key, fault.clone()),
                Scope::Account(_) | Scope::Key(_) => Notice::StillHeld(scope, fault.clone()),
            });
        }
        false
    }

    /// Holds it, or counts the failed probe of one that is held. Always true: nothing is counted against the
    /// task.
    fn hold(
        &mut self,
        scope: Scope,
        fault: &Fault,
        refused_alike: bool,
        probed: Option<Scope>,
        now: Moment,
        notices: &mut Vec<Notice>,
    ) -> bool {
        let waits = self.policy.error_waits();
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
                *hold = Some(Hold::new(fault.clone(), refused_alike, waits, now));
                notices.push(Notice::Held(scope, fault.clone(), now.wall));
            }
            Some(hold) if probed.is_some() => {
                hold.cause = fault.clone();
                if hold.probes.failed(now.steady) {
                    notices.push(Notice::StillHeld(scope, fault.clone()));
                }
            }
            // What was under way when it was held says nothing new.
            Some(_) => {}
        }
        true
    }
}
