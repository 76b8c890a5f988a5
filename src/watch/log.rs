//! The log lines and events of the polling loop: holds and releases as events, everything else in the
//! program's own log.

use std::sync::Arc;
use std::time::Duration;

use super::machine::{Known, LoggedFault, Machine};
use super::write::Write;
use crate::clock::{Moment, Steady, Wall};
use crate::model::board::{Delay, Notice, Scope};
use crate::model::due::Slot;
use crate::model::event::{self, Held};
use crate::model::gate::{GateChange, Hold};
use crate::model::reading::{Class, Code, Fault, Outcome, Reading};
use crate::model::step::EQUAL_REFUSALS;
use crate::model::task::{Target, TaskId};
use crate::units::rounded;

/// A fault of a target is logged again only after this time without a fault: the longest usual wait between two polls of
/// one task.
const QUIET: Duration = Duration::from_secs(300);

/// The state of the polling loop, for callers that wait for its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchStatus {
    /// Number of open tasks.
    pub open: usize,
    /// The accounts and pace keys on hold, if all open tasks are theirs.
    pub on_hold: Vec<String>,
}

/// The result of one poll, for a view in the same process.
#[derive(Clone, Debug)]
pub struct PollReport {
    /// The target of the task.
    pub target: Arc<Target>,
    /// The task.
    pub id: TaskId,
    /// Its status, or the fault.
    pub poll: Result<Code, Fault>,
    /// The instances that the response names.
    pub instances: InstanceTally,
    /// The next poll; `None` if there is none, or not before a hold ends.
    pub next: Option<Steady>,
    /// The delay of all polls of the target, if there is one.
    pub delay: Option<Delay>,
    /// The polls a second of its pace key: used, and allowed.
    pub rate: Option<(f64, f64)>,
}

/// The number of instances of a task by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceTally {
    /// All of them.
    pub all: usize,
    /// Finished, failed ones included.
    pub done: usize,
    /// Failed, in whole or in part.
    pub failed: usize,
}

impl InstanceTally {
    fn of(poll: &Result<Reading, Fault>) -> Self {
        let Ok(reading) = poll else { return Self::default() };
        let count = |is_counted: fn(Outcome) -> bool| {
            reading
                .instances
                .iter()
                .filter_map(|instance| instance.outcome)
                .filter(|end| is_counted(*end))
                .count()
        };
        Self {
            all: reading.instances.len(),
            done: count(|_| true),
            failed: count(|end| end != Outcome::Success),
        }
    }
}

/// An error code as in the lines of events: a number where it reads as one.
fn code(code: &Code) -> Box<dyn tracing::Value> {
    match code {
        Code::Int(number) => Box::new(*number),
        Code::Text(text) => Box::new(text.to_string()),
    }
}

impl Machine {
    /// Logs each poll at level debug. A fault of a target is logged again only with another code, or after [`QUIET`] without
    /// a fault. Faults with a log line of their own are left out. An undocumented status is logged once.
    pub(super) fn log_poll(&mut self, slot: Slot, poll: &Result<Reading, Fault>, now: Steady) {
        let Some(task) = self.board.get(slot) else { return };
        let known = &mut self.targets[task.target.0 as usize];
        let Target { account, region, operation } = &*known.target;
        match poll {
            Ok(reading) => {
                tracing::debug!(task = %task.id, operation, status = %reading.status, "polled");
                if known.trouble.take_if(|trouble| now - trouble.last > QUIET).is_some() {
                    tracing::info!(
                        account,
                        region,
                        operation,
                        "no poll has failed for 5m; polls succeed again"
                    );
                }
                if !reading.known && known.unknown.as_ref() != Some(&reading.status) {
                    tracing::warn!(task = %task.id, operation, status = %reading.status, "the cloud returned an undocumented status; polling continues until the deadline");
                    known.unknown = Some(reading.status.clone());
                }
            }
            Err(fault) => {
                let in_a_row = u32::from(task.streak) + 1;
                let refused_before = task
                    .refusals
                    .as_ref()
                    .map_or(0, |refusals| if refusals.code == fault.code { refusals.count } else { 0 });
                // The task is abandoned with the last one, if they lasted for `reject_after`.
                let refusal = (fault.class == Class::Task)
                    .then(|| format!("{} of {EQUAL_REFUSALS}", refused_before.saturating_add(1)));
                tracing::debug!(task = %task.id, operation, class = %fault.class, error = code(&fault.code), error_message = fault.message, in_a_row, refusal, "poll failed");
                // Holds and throttling have lines of their own, and a lost connection is sent again at once.
                if matches!(
                    fault.class,
                    Class::Account
                        | Class::PaceKey
                        | Class::Throttled
                        | Class::AccountThrottled
                        | Class::Connection
                ) {
                    return;
                }
                let before = known.trouble.replace(LoggedFault { code: fault.code.clone(), last: now });
                if before.is_none_or(|before| before.code != fault.code || now - before.last > QUIET) {
                    tracing::warn!(account, region, operation, task = %task.id, class = %fault.class, error = code(&fault.code), error_message = fault.message, in_a_row, refusal, "a poll failed; polled again with backoff");
                }
            }
        }
    }

    /// The report of a poll, before its consequences are known.
    pub(super) fn report(&self, slot: Slot, poll: &Result<Reading, Fault>) -> Option<PollReport> {
        let task = self.board.get(slot)?;
        Some(PollReport {
            target: Arc::clone(&self.targets[task.target.0 as usize].target),
            id: task.id.clone(),
            poll: poll.as_ref().map(|reading| reading.status.clone()).map_err(Fault::clone),
            instances: InstanceTally::of(poll),
            next: None,
            delay: None,
            rate: None,
        })
    }

    /// The cause that delays all polls of that target now, besides a hold; `None`: there is none.
    pub(super) fn delay_of(&self, target: &Target, now: Steady) -> Option<Delay> {
        self.board.delay_of(*self.indexes.get(target)?, now)
    }

    /// The polls a second of the pace key of that target: used, and allowed.
    pub(super) fn rate_of(&self, target: &Target, now: Steady) -> Option<(f64, f64)> {
        let key = self.board.key_of(*self.indexes.get(target)?);
        let pace = &self.board.gate(Scope::Key(key)).pace;
        pace.used_rate(now).zip(pace.allowed_rate(now))
    }

    /// Logs a change. Returns the event for the sinks, if there is one.
    pub(super) fn log_notice(&mut self, notice: &Notice, now: Moment) -> Option<Write> {
        match notice {
            Notice::Gate(scope, change) => return self.log_gate(*scope, change, now),
            Notice::Throttled(scope, fault) => {
                let (account, region, operation) = self.names(*scope)?;
                let pace = &self.board.gate(*scope).pace;
                let allowed_rate = pace.allowed_rate(now.steady).map(|rate| (rate * 100.0).round() / 100.0);
                let next_poll = allowed_rate.map(|_| now.wall_of(pace.next())).map(tracing::field::display);
                tracing::warn!(
                    account,
                    region,
                    operation,
                    allowed_rate,
                    next_poll,
                    error = code(&fault.code),
                    error_message = fault.message,
                    "throttled: too many requests; the polling rate is reduced, and restored within 2m of the last refusal"
                );
            }
            Notice::PauseRequested(key, until) => {
                let (account, region, operation) = self.names(Scope::Key(*key))?;
                let next_poll = now.wall_of(*until);
                tracing::warn!(account, region, operation, %next_poll, "the cloud requested a pause by Retry-After; opwatch retry account NAME ends it");
            }
            Notice::Unthrottled(scope, lasted) => {
                let (account, region, operation) = self.names(*scope)?;
                let lasted = rounded(*lasted);
                tracing::info!(account, region, operation, %lasted, "no request was refused for 10m: no longer throttled");
            }
            Notice::ClockOffset(account, offset) => {
                let (account, ..) = self.names(Scope::Account(*account))?;
                if *offset == 0 {
                    tracing::info!(account, "the clocks of the cloud and of this machine agree again");
                    return None;
                }
                let ahead = rounded(Duration::from_millis(offset.unsigned_abs()));
                let direction = if *offset < 0 { "behind" } else { "ahead of" };
                tracing::warn!(
                    account,
                    offset_seconds = *offset as f64 / 1000.0,
                    "the cloud's clock is {ahead} {direction} the clock of this machine; check the time synchronisation of this machine"
                );
            }
        }
        None
    }

    fn log_gate(&mut self, scope: Scope, change: &GateChange<Fault>, now: Moment) -> Option<Write> {
        let (account, region, operation) = self.names(scope)?;
        match change {
            GateChange::Held(fault) => {
                self.log_hold(scope, fault, now);
                let hold = self.board.gate(scope).hold()?.clone();
                return self.hold_event(scope, &hold, now, false);
            }
            GateChange::StillHeld(last) => self.log_hold(scope, last, now),
            GateChange::Released(hold) => {
                let lasted = rounded(hold.probes.lasting.lasted(now.steady));
                tracing::info!(account, region, operation, %lasted, "hold released: the probe succeeded");
                return self.hold_event(scope, hold, now, true);
            }
            GateChange::Opened(fault) | GateChange::StillOpen(fault) => {
                let (since, next_probe) = self.since_and_next_probe(scope, now)?;
                let tasks = self.board.tasks_of(scope);
                tracing::warn!(
                    account, region, operation, error = code(&fault.code), error_message = fault.message, %since, tasks, %next_probe,
                    "circuit breaker open: most polls fail; only probes are sent until one succeeds"
                );
            }
            GateChange::Closed(probes) => {
                let lasted = rounded(probes.lasting.lasted(now.steady));
                tracing::info!(account, region, operation, %lasted, "service recovered; polling rate is being restored");
            }
        }
        None
    }

    /// Logs a hold: scope, cause, and the fix. The last probe may have had another fault than the cause.
    fn log_hold(&self, scope: Scope, last: &Fault, now: Moment) {
        let Some((account, region, operation)) = self.names(scope) else { return };
        let Some((since, next_probe)) = self.since_and_next_probe(scope, now) else { return };
        let fault = self.board.gate(scope).hold().map_or(last, |hold| &hold.cause);
        let last_error = (last != fault).then(|| tracing::field::display(last));
        let tasks = self.board.tasks_of(scope);
        let remedy = match (scope, fault.class) {
            (Scope::Account(_), _) => {
                "check secret_id and secret_key of the account, or the token of temporary credentials; a changed credentials file is tried at once"
            }
            (Scope::Key(_), Class::Task) => {
                "all task ids were refused with the same code: check region, operation and account of these tasks"
            }
            (Scope::Key(_), _) => "check the permissions of the sub-account, the region and the endpoint",
        };
        let message = match scope {
            Scope::Account(_) => {
                "account on hold: a person must act; its tasks are kept, and it is probed at long intervals"
            }
            Scope::Key(_) => {
                "operation on hold in this region: a person must act; its tasks are kept, and it is probed at long intervals"
            }
        };
        tracing::error!(account, region, operation, error = code(&fault.code), error_message = fault.message, last_error, %since, tasks, %next_probe, remedy, "{message}");
    }

    /// The start of the hold or of the open circuit breaker, and the next probe.
    fn since_and_next_probe(&self, scope: Scope, now: Moment) -> Option<(Wall, Wall)> {
        let probes = self.board.gate(scope).probes()?;
        Some((probes.lasting.since.wall, now.wall_of(self.board.next_probe(scope)?)))
    }

    pub(super) fn hold_event(
        &mut self,
        scope: Scope,
        hold: &Hold<Fault>,
        now: Moment,
        is_over: bool,
    ) -> Option<Write> {
        self.hold_events = self.hold_events.wrapping_add(1);
        let (account, region, operation) = self.names(scope)?;
        let held = Held {
            account,
            pace_key: region.zip(operation),
            cause: &hold.cause,
            since: hold.since(),
            number: self.hold_events,
            tasks: self.board.tasks_of(scope),
        };
        let event = event::account(&held, is_over, now.wall);
        let sinks = self.current.routes.of_trouble(event.kind);
        Some(Write::Event(event, sinks))
    }

    /// Account, region and operation, as in lines and events; for an account the name alone.
    fn names(&self, scope: Scope) -> Option<(&str, Option<&str>, Option<&str>)> {
        let Target { account, region, operation } = &*self.known(scope)?.target;
        Some(match scope {
            Scope::Account(_) => (account, None, None),
            Scope::Key(_) => (account, Some(region), Some(operation)),
        })
    }

    /// The state of the loop.
    pub fn status(&self) -> WatchStatus {
        let on_hold = self.board.all_on_hold();
        let is_left = self.board.is_paused_work_left();
        let paused = is_left.then(|| format!("{} paused tasks", self.board.paused()));
        WatchStatus {
            open: self.board.open(),
            on_hold: on_hold.into_iter().map(|scope| self.name(scope)).chain(paused).collect(),
        }
    }

    pub(super) fn name(&self, scope: Scope) -> String {
        let Some(Known { target, route, .. }) = self.known(scope) else { return String::new() };
        let Target { account, region, operation } = &**target;
        match scope {
            Scope::Account(_) if route.is_none() => {
                format!(
                    "{operation} in {region} of account {account}, which cannot be polled with this configuration"
                )
            }
            Scope::Account(_) if self.board.gate(scope).is_paused() => {
                format!("account {account}, which is paused")
            }
            Scope::Account(_) => format!("account {account}"),
            Scope::Key(_) => format!("{operation} in {region} of account {account}"),
        }
    }

    /// The first target of an account or pace key, for its names.
    fn known(&self, scope: Scope) -> Option<&Known> {
        let target = match scope {
            Scope::Account(account) => self.target_of_account.get(&account),
            Scope::Key(key) => self.target_of_key.get(&key),
        };
        target.and_then(|target| self.targets.get(target.0 as usize))
    }
}
