//! From the store's open tasks to the hot table.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::board::Board;
use super::{Known, Parts, Standing, TargetIndex, Watch};
use crate::clock::{Moment, Steady};
use crate::model::due::Slot;
use crate::model::policy::Policy;
use crate::model::step::Reason;
use crate::model::task::{Row, Target};
use crate::model::waiting::{Started, Waiting};
use crate::store::{Error, OpenTask, TargetRow};

/// How many open tasks are read at once: enough to be fast, few enough to stay small.
const PAGE: usize = 5_000;

impl Watch {
    /// Loads every open task. Tasks whose account or operation is not configured any more stay in the store, and are told.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(parts: Parts, standing: watch::Sender<Standing>, owed: watch::Sender<()>) -> Result<Self, Error> {
        let mut watch = Self {
            board: Board::new(parts.policy),
            parts,
            key_files: HashMap::new(),
            next_look_at_key_files: Steady::default(),
            targets: Vec::new(),
            accounts: HashMap::new(),
            keys: HashMap::new(),
            unasked: 0,
            polls: JoinSet::new(),
            commits: JoinSet::new(),
            standing,
            owed,
        };
        let targets = watch.parts.store.targets().await?;
        let mut known: HashMap<TargetRow, Option<TargetIndex>> = HashMap::new();
        let (mut open, mut gone, mut removed) = (0, 0, Vec::new());
        let mut after = Row(0);
        loop {
            let page = watch.parts.store.open_tasks(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.hot.row;
            open += page.len();
            let now = watch.parts.clock.now();
            for task in page {
                let is_gone = !watch.parts.listed.contains(task.hot.row);
                gone += usize::from(is_gone);
                let target = *known.entry(task.target).or_insert_with(|| watch.target(targets.get(&task.target)?, now));
                let Some(target) = target else {
                    watch.unasked += 1;
                    continue;
                };
                let slot = watch.board.add(waiting(task, target, &watch.parts.policy, now), now);
                removed.extend(is_gone.then_some(slot));
            }
        }
        watch.remove(removed, open, gone);
        watch.standing.send_replace(watch.stands());
        Ok(watch)
    }

    /// Ends the open tasks that the file does not list any more. More than half of 20 or more is a mistake more often than a wish:
    /// they are kept then, unless that was allowed (design.md §4).
    fn remove(&mut self, removed: Vec<Slot>, open: usize, gone: usize) {
        const MANY: usize = 20;
        if open >= MANY && gone * 2 > open && !self.parts.allow_removals {
            tracing::warn!(
                open,
                gone,
                "more than half of the open tasks are not listed any more; they are kept. Start with --allow-removals if that is meant"
            );
            return;
        }
        let now = self.parts.clock.now();
        for slot in removed {
            if let Some(task) = self.board.take_away(slot) {
                let times = self.board.times(task.target, now);
                self.end(slot, task, times, Err((Reason::Removed, None)));
            }
        }
    }

    /// The index of a target, new or known; `None` if it cannot be asked, which is told once.
    fn target(&mut self, target: &Target, now: Moment) -> Option<TargetIndex> {
        let route = match self.parts.cloud.route(target) {
            Ok(route) => route,
            Err(error) => {
                let Target { account, region, operation } = target;
                tracing::error!(account, region, operation, %error, "open tasks cannot be asked about; they wait in the store");
                return None;
            }
        };
        let account = *self.accounts.entry(target.account.clone()).or_insert_with(|| self.board.add_account(route.max_in_flight));
        let key = *self.keys.entry(route.pace_key.clone()).or_insert_with(|| self.board.add_key(account, route.rate, now.steady));
        self.board.add_target(key);
        self.targets.push(Known { target: Arc::new(target.clone()), route: Arc::new(route), key, troubled: false, unknown: None });
        u32::try_from(self.targets.len() - 1).ok().map(TargetIndex)
    }
}

fn waiting(task: OpenTask, target: TargetIndex, policy: &Policy, now: Moment) -> Waiting {
    let OpenTask { id, registered_at, settings, hot, .. } = task;
    let due = now.due(hot.due, longest_wait(policy, settings.initial_delay(policy.initial_delay)));
    let params: Box<[_]> = settings.params.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Waiting {
        params: (!params.is_empty()).then_some(params),
        since: if hot.since > now.wall { due } else { now.past(hot.since) },
        started: Started { steady: now.past(registered_at), local: registered_at, cloud: hot.registered_cloud },
        timeout: settings.timeout(policy.timeout),
        warn_after: settings.warn_after(policy.warn_after),
        warned: hot.warned,
        seen: hot.seen.map(|seen| now.past(seen)),
        digest: hot.digest,
        status: hot.status,
        polls: hot.polls,
        errors: hot.errors,
        streak: hot.streak,
        due,
        ..Waiting::new(hot.row, id, target, now)
    }
}

/// No poll is ever planned further ahead: a stored time beyond it tells of a clock that was set back.
fn longest_wait(policy: &Policy, initial_delay: Duration) -> Duration {
    policy.max_interval.0.mul_f64(1.0 + policy.jitter).max(policy.error_max_interval.0).max(initial_delay)
}
