//! What the loop tells: holds and their ends as events and as loud lines, and the rest in the program's own log.

use std::sync::Arc;
use std::time::Duration;

use super::board::{KeyIndex, Notice, Scope};
use super::{Committed, Standing, Watch};
use crate::clock::{Moment, Wall};
use crate::model::event::{Held, account};
use crate::model::reading::{Class, Fault, Reading};
use crate::model::task::Target;
use crate::model::waiting::Waiting;

impl Watch {
    /// The first fault of a target and its end are told at levels that people read; each poll only to who asks for it. A status
    /// that the operation's row does not know is told once.
    pub(super) fn tell_poll(&mut self, task: &Waiting, poll: &Result<Reading, Fault>) {
        let known = &mut self.targets[task.target.0 as usize];
        let Target { account, region, operation } = &*known.target;
        match poll {
            Ok(reading) => {
                tracing::debug!(task = %task.id, operation, status = %reading.status, "polled");
                if std::mem::take(&mut known.troubled) {
                    tracing::info!(account, region, operation, "polls are answered again");
                }
                if !reading.known && known.unknown.as_ref() != Some(&reading.status) {
                    tracing::warn!(task = %task.id, operation, status = %reading.status, "the cloud answers a status that is not documented; polled on until the deadline");
                    known.unknown = Some(reading.status.clone());
                }
            }
            Err(fault) => {
                tracing::debug!(task = %task.id, operation, class = %fault.class, %fault, "poll failed");
                // Holds are told by themselves, and a lost connection is nobody's trouble.
                let told_elsewhere = matches!(fault.class, Class::Account | Class::PaceKey | Class::Connection);
                if !told_elsewhere && !std::mem::replace(&mut known.troubled, true) {
                    tracing::warn!(account, region, operation, task = %task.id, class = %fault.class, %fault, "a poll failed; polled again with backoff");
                }
            }
        }
    }

    pub(super) fn tell_notice(&mut self, notice: &Notice, now: Moment) {
        match notice {
            Notice::Held(scope, fault, since) => {
                self.tell_held(*scope, fault);
                self.tell_trouble(*scope, fault, *since, now, false);
            }
            Notice::StillHeld(scope, fault) => self.tell_held(*scope, fault),
            Notice::Released(scope, fault, since) => {
                tracing::info!(held = self.name(*scope), "a probe was answered well; it is used again");
                self.tell_trouble(*scope, fault, *since, now, true);
            }
            Notice::Opened(key, fault) => {
                let held = self.name(Scope::Key(*key));
                tracing::warn!(pace_key = held, %fault, "most polls fail; only probes go out until one is answered");
            }
            Notice::Closed(key) => {
                tracing::info!(pace_key = self.name(Scope::Key(*key)), "the service answers again; the rate climbs back")
            }
            Notice::Throttled(scope, fault) => {
                tracing::warn!(slowed = self.name(*scope), %fault, "too many calls; the pace is halved and climbs back by itself");
            }
            Notice::ClockOff(account, offset) => {
                let ahead = Duration::from_millis(offset.unsigned_abs());
                let direction = if *offset < 0 { "behind" } else { "ahead of" };
                tracing::warn!(
                    account = self.name(Scope::Account(*account)),
                    offset_seconds = *offset as f64 / 1000.0,
                    "the cloud's clock is {ahead:?} {direction} this machine's; check its time synchronisation"
                );
            }
        }
    }

    /// The loud line: what is held, why, and what to do.
    fn tell_held(&self, scope: Scope, fault: &Fault) {
        let tasks = self.board.tasks_of(scope);
        let what_to_do = match (scope, fault.class) {
            (Scope::Account(_), _) => "check secret_id and secret_key of the account; a changed secret_key_file is tried at once",
            (Scope::Key(_), Class::Task) => "every id was refused alike: check region, operation and account of these tasks",
            (Scope::Key(_), _) => "check the account's permissions, its region and its endpoint",
        };
        tracing::error!(held = self.name(scope), %fault, tasks, "held: {what_to_do}; nothing is abandoned, and it is tried again rarely");
    }

    fn tell_trouble(&mut self, scope: Scope, cause: &Fault, since: Wall, now: Moment, released: bool) {
        let Some(target) = self.target_of(scope) else { return };
        let pace_key = match scope {
            Scope::Account(_) => None,
            Scope::Key(_) => Some((target.region.as_str(), target.operation.as_str())),
        };
        let held = Held { account: &target.account, pace_key, cause, since, tasks: self.board.tasks_of(scope) };
        let event = account(&held, released, now.wall);
        let sinks = self.parts.routes.of_trouble(event.kind);
        let store = Arc::clone(&self.parts.store);
        self.commits.spawn(async move {
            store.tell(event, sinks).await?;
            Ok(Committed::Told)
        });
    }

    pub(super) fn stands(&self) -> Standing {
        let open = self.board.open();
        let mut held: Vec<_> = self.board.all_held().into_iter().map(|scope| self.name(scope)).collect();
        if self.unasked > 0 && (open == 0 || !held.is_empty()) {
            held.push(format!("{} tasks whose account or operation is not configured", self.unasked));
        }
        Standing { open, held }
    }

    fn name(&self, scope: Scope) -> String {
        let Some(target) = self.target_of(scope) else { return String::new() };
        let Target { account, region, operation } = &*target;
        match scope {
            Scope::Account(_) => format!("account {account}"),
            Scope::Key(_) => format!("{operation} in {region} of account {account}"),
        }
    }

    /// A target of what is meant, for its names.
    fn target_of(&self, scope: Scope) -> Option<Arc<Target>> {
        let is_meant = |key: KeyIndex, account: &str| match scope {
            Scope::Account(index) => self.accounts.get(account) == Some(&index),
            Scope::Key(index) => index == key,
        };
        self.targets.iter().find(|known| is_meant(known.key, &known.target.account)).map(|known| Arc::clone(&known.target))
    }
}
