//! What the loop tells: holds and their ends as events and as loud lines, and the rest in the program's own
//! log.

use std::sync::Arc;
use std::time::Duration;

use super::board::{Notice, Scope};
use super::machine::{Known, Machine, Trouble};
use super::write::Write;
use crate::clock::{Moment, Steady, Wall};
use crate::model::due::Slot;
use crate::model::event::{self, Held};
use crate::model::reading::{Class, Code, Fault, Reading};
use crate::model::task::{Target, TaskId};
use crate::units::rounded;

/// A target that failed is told again only after so long without a fault: the longest usual wait between two
/// polls of one task.
const QUIET: Duration = Duration::from_secs(300);

/// Where the watch stands, for whoever waits for its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many tasks are open.
    pub open: usize,
    /// What is held, where nothing but held work is left.
    pub held: Vec<String>,
}

/// What one poll brought, for whoever looks on; more than is told of most polls.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where the task was asked for.
    pub target: Arc<Target>,
    /// Which task.
    pub id: TaskId,
    /// Its status, or why there was none.
    pub poll: Result<Code, Fault>,
    /// When it is asked next; `None` if it is not, or not before its hold ends.
    pub next: Option<Steady>,
}

impl Machine {
    /// The first fault of a target and its end are told at levels that people read; each poll only to who
    /// asks for it. A status that the operation's row does not know is told once.
    pub(super) fn tell_poll(&mut self, slot: Slot, poll: &Result<Reading, Fault>, now: Steady) {
        let Some(task) = self.board.get(slot) else { return };
        let known = &mut self.targets[task.target.0 as usize];
        let Target { account, region, operation } = &*known.target;
        match poll {
            Ok(reading) => {
                tracing::debug!(task = %task.id, operation, status = %reading.status, "polled");
                if known.trouble.take_if(|trouble| now - trouble.last > QUIET).is_some() {
                    tracing::info!(account, region, operation, "polls are answered again");
                }
                if !reading.known && known.unknown.as_ref() != Some(&reading.status) {
                    tracing::warn!(task = %task.id, operation, status = %reading.status, "the cloud answers a status that is not documented; polled on until the deadline");
                    known.unknown = Some(reading.status.clone());
                }
            }
            Err(fault) => {
                tracing::debug!(task = %task.id, operation, class = %fault.class, %fault, "poll failed");
                // Holds and throttling are told by themselves, and a lost connection is nobody's trouble.
                if matches!(
                    fault.class,
                    Class::Account | Class::PaceKey | Class::Pace | Class::AccountPace | Class::Connection
                ) {
                    return;
                }
                let before = known.trouble.replace(Trouble { code: fault.code.clone(), last: now });
                if before.is_none_or(|before| before.code != fault.code || now - before.last > QUIET) {
                    tracing::warn!(account, region, operation, task = %task.id, class = %fault.class, %fault, "a poll failed; polled again with backoff");
                }
            }
        }
    }

    /// What this answer brings, as far as it is known before it is judged.
    pub(super) fn seen(&self, slot: Slot, poll: &Result<Reading, Fault>) -> Option<Seen> {
        let task = self.board.get(slot)?;
        let poll = poll.as_ref().map(|reading| reading.status.clone()).map_err(Fault::clone);
        Some(Seen {
            target: Arc::clone(&self.targets[task.target.0 as usize].target),
            id: task.id.clone(),
            poll,
            next: None,
        })
    }

    /// Tells it in the log; the answer is the event that tells it to the sinks, if there is one.
    pub(super) fn tell_notice(&mut self, notice: &Notice, now: Moment) -> Option<Write> {
        match notice {
            Notice::Held(scope, fault, since) => {
                _ = self.tell_held(*scope, fault, now);
                return self.trouble(*scope, fault, *since, now, false);
            }
            Notice::StillHeld(scope, fault) => _ = self.tell_held(*scope, fault, now),
            Notice::Released(scope, hold) => {
                let (account, region, operation) = self.words(*scope)?;
                let lasted = rounded(hold.probes.lasting.lasted(now.steady));
                tracing::info!(account, region, operation, %lasted, "a probe was answered well; what was held is used again");
                return self.trouble(*scope, &hold.cause, hold.since(), now, true);
            }
            Notice::Open(key, fault) => {
                let scope = Scope::Key(*key);
                let (account, region, operation) = self.words(scope)?;
                let (since, next_probe) = self.since_and_next_probe(scope, now)?;
                let tasks = self.board.tasks_of(scope);
                tracing::warn!(
                    account, region, operation, %fault, %since, tasks, %next_probe,
                    "most polls fail; only probes go out until one is answered"
                );
            }
            Notice::Closed(key, probes) => {
                let (account, region, operation) = self.words(Scope::Key(*key))?;
                let lasted = rounded(probes.lasting.lasted(now.steady));
                tracing::info!(account, region, operation, %lasted, "the service answers again; the rate climbs back");
            }
            Notice::Throttled(scope, fault) => {
                let (account, region, operation) = self.words(*scope)?;
                tracing::warn!(account, region, operation, %fault, "too many calls; the pace is halved and climbs back by itself");
            }
            Notice::ClockOff(account, offset) => {
                let (account, ..) = self.words(Scope::Account(*account))?;
                let ahead = rounded(Duration::from_millis(offset.unsigned_abs()));
                let direction = if *offset < 0 { "behind" } else { "ahead of" };
                tracing::warn!(
                    account,
                    offset_seconds = *offset as f64 / 1000.0,
                    "the cloud's clock is {ahead} {direction} this machine's; check its time synchronisation"
                );
            }
        }
        None
    }

    /// The loud line: what is held, why, and what to do. The last probe may have met another fault than that
    /// which holds it.
    fn tell_held(&self, scope: Scope, last: &Fault, now: Moment) -> Option<()> {
        let (account, region, operation) = self.words(scope)?;
        let (since, next_probe) = self.since_and_next_probe(scope, now)?;
        let fault = self.board.cause(scope)?;
        let last_fault = (last != fault).then(|| tracing::field::display(last));
        let tasks = self.board.tasks_of(scope);
        let remedy = match (scope, fault.class) {
            (Scope::Account(_), _) => {
                "check secret_id and secret_key of the account, or the token of temporary ones; a changed file of credentials is tried at once"
            }
            (Scope::Key(_), Class::Task) => {
                "every id was refused alike: check region, operation and account of these tasks"
            }
            (Scope::Key(_), _) => "check the account's permissions, its region and its endpoint",
        };
        let message = match scope {
            Scope::Account(_) => {
                "the account is held: a person must act; nothing is abandoned, and it is tried again rarely"
            }
            Scope::Key(_) => {
                "the operation is held in this region: a person must act; nothing is abandoned, and it is tried again rarely"
            }
        };
        tracing::error!(account, region, operation, %fault, last_fault, %since, tasks, %next_probe, remedy, "{message}");
        Some(())
    }

    /// Since when only probes go out, and when the next one does.
    fn since_and_next_probe(&self, scope: Scope, now: Moment) -> Option<(Wall, Wall)> {
        let probes = self.board.probes_of(scope)?;
        Some((probes.lasting.since.wall, now.wall_of(probes.next())))
    }

    fn trouble(
        &mut self,
        scope: Scope,
        cause: &Fault,
        since: Wall,
        now: Moment,
        released: bool,
    ) -> Option<Write> {
        self.troubles = self.troubles.wrapping_add(1);
        let number = self.troubles;
        let (account, region, operation) = self.words(scope)?;
        let held = Held {
            account,
            pace_key: region.zip(operation),
            cause,
            since,
            number,
            tasks: self.board.tasks_of(scope),
        };
        let event = event::account(&held, released, now.wall);
        let sinks = self.routes.of_trouble(event.kind);
        Some(Write::Told(event, sinks))
    }

    /// Account, region and operation, as each line and event names them: of an account the name alone.
    fn words(&self, scope: Scope) -> Option<(&str, Option<&str>, Option<&str>)> {
        let Target { account, region, operation } = &*self.known(scope)?.target;
        Some(match scope {
            Scope::Account(_) => (account, None, None),
            Scope::Key(_) => (account, Some(region), Some(operation)),
        })
    }

    /// Where the watch stands now.
    pub fn stands(&self) -> Standing {
        Standing {
            open: self.board.open(),
            held: self.board.all_held().into_iter().map(|scope| self.name(scope)).collect(),
        }
    }

    fn name(&self, scope: Scope) -> String {
        let Some(Known { target, route, .. }) = self.known(scope) else { return String::new() };
        let Target { account, region, operation } = &**target;
        match scope {
            Scope::Account(_) if route.is_none() => {
                format!("{operation} in {region} of account {account}, which is not configured")
            }
            Scope::Account(_) => format!("account {account}"),
            Scope::Key(_) => format!("{operation} in {region} of account {account}"),
        }
    }

    /// A target of what is meant, for its names.
    fn known(&self, scope: Scope) -> Option<&Known> {
        self.targets.iter().find(|known| match scope {
            Scope::Account(account) => account == known.account,
            Scope::Key(key) => key == known.key,
        })
    }
}
