//! From the store's open tasks to the board.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::machine::Machine;
use super::write::Write;
use crate::clock::Moment;
use crate::cloud::Cloud;
use crate::model::due::Slot;
use crate::model::policy::Policy;
use crate::model::records::{HotRow, OpenTask, RowSet, TargetRow};
use crate::model::route::Routes;
use crate::model::task::Row;
use crate::model::waiting::{Started, TargetIndex, Waiting};
use crate::store::{Error, Store};

/// How many open tasks are read at once: enough to be fast, few enough to stay small.
const PAGE: usize = 5_000;
/// So many open tasks are a list, of which more than half does not vanish by intent (design.md §4).
const MANY: usize = 20;

/// What a watch starts with, beside the store.
pub struct Start {
    /// How tasks are polled.
    pub policy: Policy,
    /// Which sinks hear of what.
    pub routes: Arc<Routes>,
    /// What the file lists.
    pub listed: Arc<RowSet>,
    /// Whether a start may remove more than half of a list.
    pub allow_removals: bool,
}

impl Machine {
    /// Loads every open task; those that the file does not list any more are over, which is what is to be
    /// made durable first. Tasks whose account or operation is not configured any more wait, and are told.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        start: Start,
        cloud: &Cloud,
        store: &dyn Store,
        now: impl Fn() -> Moment,
    ) -> Result<(Self, Vec<Write>), Error> {
        let Start { policy, routes, listed, allow_removals } = start;
        let board = Board::new(policy);
        let mut machine = Self {
            board,
            targets: Vec::new(),
            accounts: HashMap::new(),
            keys: HashMap::new(),
            routes,
            troubles: 0,
        };
        let targets = store.targets().await?;
        let mut known: HashMap<TargetRow, TargetIndex> = HashMap::new();
        let mut gone = Vec::new();
        let mut after = Row(0);
        loop {
            let page = store.open_tasks(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.hot.row;
            let now = now();
            for task in page {
                let is_gone = !listed.contains(task.hot.row);
                // A target is never deleted, and was written before its task.
                let Some(target) = targets.get(&task.target) else { continue };
                let target =
                    *known.entry(task.target).or_insert_with(|| machine.add_target(cloud, target, now));
                let slot = machine.board.add(waiting(task, target, &policy, now), now);
                gone.extend(is_gone.then_some(slot));
            }
        }
        let removed = machine.remove(gone, allow_removals, now());
        Ok((machine, removed))
    }

    /// Ends the open tasks that the file does not list any more. More than half of 20 or more is a mistake
    /// more often than a wish: they are kept then, unless that was allowed (design.md §4).
    fn remove(&mut self, gone: Vec<Slot>, allow_removals: bool, now: Moment) -> Vec<Write> {
        let open = self.board.open();
        if open >= MANY && gone.len() * 2 > open && !allow_removals {
            tracing::warn!(
                open,
                gone = gone.len(),
                "more than half of the open tasks are not listed any more; they are kept. Start with --allow-removals if that is meant"
            );
            return Vec::new();
        }
        gone.into_iter().filter_map(|slot| self.removed(slot, now)).collect()
    }
}

fn waiting(task: OpenTask, target: TargetIndex, policy: &Policy, now: Moment) -> Waiting {
    let OpenTask { id, registered_at, settings, hot, .. } = task;
    let timeout = settings.timeout(policy.timeout);
    let initial_delay = settings.initial_delay(policy.initial_delay);
    let longest = longest_wait(policy, &hot, initial_delay);
    // Its delay may have been changed since the first poll was planned, or its deadline moved to before the
    // next one.
    let never_asked = hot.polls == 0 && hot.streak == 0;
    let planned = if never_asked { registered_at + initial_delay } else { hot.due };
    let due = now
        .due(planned, timeout.map_or(longest, |timeout| longest.min((registered_at + timeout) - now.wall)));
    let params: Box<[_]> =
        settings.params.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Waiting {
        params: (!params.is_empty()).then_some(params),
        since: if never_asked || hot.since > now.wall { due } else { now.past(hot.since) },
        started: Started {
            steady: now.past(registered_at),
            local: registered_at,
            cloud: hot.registered_cloud,
        },
        timeout,
        warn_after: settings.warn_after(policy.warn_after),
        warned: hot.warned,
        seen: hot.seen.map(|seen| if broken!(LagFromTheStart) { now.wall } else { seen }),
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
fn longest_wait(policy: &Policy, hot: &HotRow, initial_delay: Duration) -> Duration {
    match (hot.polls, hot.streak) {
        (0, _) => initial_delay,
        (_, 0) => policy.max_interval.0.mul_f64(1.0 + policy.jitter),
        (_, _) => policy.error_max_interval.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Steady, Wall};
    use crate::model::task::{Settings, TaskId};
    use crate::units::Span;

    #[test]
    fn a_changed_initial_delay_counts_for_what_was_never_asked() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let start = Wall(1_700_000_000_000);
        let now = Moment { steady: Steady(0), wall: start + minutes(2) };
        let hot = |polls| HotRow {
            row: Row(1),
            due: start + minutes(5),
            since: start + minutes(5),
            seen: None,
            digest: 0,
            status: None,
            polls,
            errors: 0,
            streak: 0,
            registered_cloud: None,
            warned: false,
        };
        let due = |delay: u64, polls: u32| {
            let settings = Settings { initial_delay: Some(Span(minutes(delay))), ..Settings::default() };
            let task = OpenTask {
                id: TaskId::Int(1),
                target: TargetRow(1),
                registered_at: start,
                settings,
                hot: hot(polls),
            };
            let policy = Policy { max_interval: Span(minutes(60)), ..Policy::default() };
            waiting(task, TargetIndex(0), &policy, now).due - now.steady
        };
        assert_eq!([5, 30, 1].map(|delay| due(delay, 0)), [minutes(3), minutes(28), Duration::ZERO]);
        assert_eq!(
            [5, 30, 1].map(|delay| due(delay, 1)),
            [minutes(3); 3],
            "what was asked before follows its interval"
        );
    }
}
