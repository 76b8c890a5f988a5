//! Loading of the open tasks from the store onto the board.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::machine::Machine;
use super::write::Write;
use crate::clock::Moment;
use crate::live::Current;
use crate::model::due::Slot;
use crate::model::gate::Evidence;
use crate::model::policy::Policy;
use crate::model::records::{EvidenceRow, OpenTask, PauseScope, TargetRow};
use crate::model::task::{Origin, Row, Settings};
use crate::model::waiting::{Started, TargetIndex, Waiting};
use crate::store::{Error, Store};

/// Open tasks in one page: enough to be fast, few enough to stay small.
pub(super) const PAGE: usize = 5_000;
/// A start keeps the tasks if it would remove more than half of this many or more.
const MANY: usize = 20;

impl Machine {
    /// Loads every open task. Tasks that the file does not list any more are abandoned, which is the first
    /// write. Tasks of an account or operation that is not configured any more wait, with a log line.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        current: Arc<Current>,
        allow_removals: bool,
        store: &dyn Store,
        now: impl Fn() -> Moment,
    ) -> Result<(Self, Vec<Write>), Error> {
        let evidence = store.evidence().await?.into_iter().map(restored).collect();
        let mut machine = Self::new(Arc::clone(&current), evidence);
        machine.paused_accounts = paused_accounts(store.paused().await?);
        let targets = store.targets().await?;
        machine.board.reserve(store.open_from_files().await?);
        let mut known: HashMap<TargetRow, TargetIndex> = HashMap::new();
        let mut gone = Vec::new();
        let mut after = Row(0);
        loop {
            let page = store.open_tasks(None, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.hot.row;
            let now = now();
            for task in page {
                let is_gone = task.origin == Origin::File && !current.listed.contains(task.hot.row);
                // A target is never deleted, and was written before its task.
                let Some(target) = targets.get(&task.target) else { continue };
                let target = *known.entry(task.target).or_insert_with(|| machine.add_target(target, now));
                let slot = machine.board.add(waiting(task, target, &current.policy, now), now);
                gone.extend(is_gone.then_some(slot));
            }
        }
        let writes = machine.remove(gone, allow_removals, now());
        Ok((machine, writes))
    }

    /// Abandons the open tasks that the file does not list any more. The removal of more than half of 20 or
    /// more tasks is likely an error: they are kept, unless removals are allowed (docs/architecture.md §4).
    fn remove(&mut self, gone: Vec<Slot>, allow_removals: bool, now: Moment) -> Vec<Write> {
        let open = self.board.open();
        if open >= MANY && gone.len() * 2 > open && !allow_removals {
            tracing::warn!(
                open,
                gone = gone.len(),
                "more than half of the open tasks are no longer listed; this start keeps them. To abandon them, restart with --allow-removals"
            );
            return Vec::new();
        }
        gone.into_iter().filter_map(|slot| self.removed(slot, now)).collect()
    }
}

/// The stored evidence of a pace key.
pub(super) fn restored(row: EvidenceRow) -> (String, Evidence) {
    let refused =
        row.refused.into_iter().map(|(code, rows)| (code, rows.into_iter().map(|Row(row)| row).collect()));
    (row.pace_key, Evidence { has_succeeded: row.had_good_response, refused: refused.collect() })
}

/// The task of a row, with the settings that its polls need.
pub(super) fn waiting(task: OpenTask, target: TargetIndex, policy: &Policy, now: Moment) -> Waiting {
    let OpenTask { id, registered_at, settings, hot, .. } = task;
    let is_later = hot.since > now.wall;
    let mut task = Waiting {
        due: now.due(hot.due, Duration::MAX),
        since: now.past(hot.since),
        started: Started {
            steady: now.past(registered_at),
            local: registered_at,
            cloud: hot.registered_cloud.into(),
        },
        timeout: hot.extended.into(),
        extended: hot.extended.is_some(),
        paused: hot.paused,
        warned: hot.warned,
        seen: hot.seen.into(),
        digest: hot.digest,
        status: hot.status,
        polls: hot.polls,
        errors: hot.errors,
        streak: hot.streak,
        ..Waiting::new(hot.row, id, target, now)
    };
    apply_settings(&mut task, &settings, policy, now);
    if is_later {
        task.since = task.due;
    }
    task
}

/// Gives a task its settings. Its delay may have changed since the first poll was planned, and its deadline may be
/// earlier.
pub(super) fn apply_settings(task: &mut Waiting, settings: &Settings, policy: &Policy, now: Moment) {
    let initial_delay = settings.initial_delay(policy.initial_delay);
    if !task.extended {
        task.timeout = settings.timeout(policy.timeout).into();
    }
    task.warn_after = settings.warn_after(policy.warn_after).into();
    let params: Box<[_]> =
        settings.params.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    task.params = (!params.is_empty()).then_some(params);
    if task.polls == 0 && task.streak == 0 {
        let longest = longest_plan(policy, task, initial_delay, now);
        task.due = now.due(task.started.local + initial_delay, longest);
        task.since = task.due;
    } else {
        limit_due(task, policy, now);
    }
}

/// Plans the next poll of a polled task no later than a changed policy or deadline allows.
pub(super) fn limit_due(task: &mut Waiting, policy: &Policy, now: Moment) {
    if task.polls > 0 || task.streak > 0 {
        task.due = task.due.min(now.steady + longest_plan(policy, task, Duration::ZERO, now));
    }
}

/// The longest time until the next poll: the longest wait of the policy, or the deadline.
fn longest_plan(policy: &Policy, task: &Waiting, initial_delay: Duration, now: Moment) -> Duration {
    let longest = longest_wait(policy, task, initial_delay);
    task.timeout.get().map_or(longest, |timeout| longest.min((task.started.local + timeout) - now.wall))
}

/// No poll is planned further ahead: a later stored time means that the clock was set back.
fn longest_wait(policy: &Policy, task: &Waiting, initial_delay: Duration) -> Duration {
    match (task.polls, task.streak) {
        (0, _) => initial_delay,
        (_, 0) => policy.max_interval.0.mul_f64(1.0 + policy.jitter),
        (_, _) => policy.error_max_interval.0,
    }
}

/// The accounts among what a person paused.
fn paused_accounts(paused: BTreeSet<PauseScope>) -> BTreeSet<String> {
    let account = |scope| match scope {
        PauseScope::Account(name) => Some(name),
        PauseScope::Sink(_) => None,
    };
    paused.into_iter().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Steady, Wall};
    use crate::model::records::HotRow;
    use crate::model::task::TaskId;
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
            paused: false,
            extended: None,
        };
        let due = |delay: u64, polls: u32| {
            let settings = Settings { initial_delay: Some(Span(minutes(delay))), ..Settings::default() };
            let task = OpenTask {
                id: TaskId::Int(1),
                target: TargetRow(1),
                origin: Origin::File,
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
