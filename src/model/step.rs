//! The consequence of one poll for its task.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attribution::Attribution;
use super::backoff;
use super::policy::Policy;
use super::reading::{Code, Fault, Outcome, Phase, Reading};
use super::waiting::{Refusals, Times, Waiting};
use crate::clock::{Moment, Steady};

/// The number of equal refusals, over `reject_after`, that abandon a task (docs/architecture.md §3, promise 6).
pub const EQUAL_REFUSALS: u32 = 3;

/// The next check of a task that may be overdue while the cloud's clock is unknown.
const CLOCK_LEARNED: Duration = Duration::from_secs(5);

/// The inputs of a decision: the moments of the poll and of its response, and a random number in `0.0..1.0`.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// When the poll was sent.
    pub sent: Moment,
    /// The moment of the response or of the fault.
    pub now: Times,
    /// For jitter.
    pub spread: f64,
}

/// The effect of a poll; each variant carries the task after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Unfinished and unchanged: poll again when due. Nothing is written.
    Again(Waiting),
    /// Poll again in the next slot of the pace, ahead of the queue.
    AtOnce(Waiting),
    /// The first response, unfinished: poll again when due. Stored with the first responses of other tasks.
    First(Waiting),
    /// Unfinished, with a changed status or instance: store that, then poll again. With the previous status.
    Progress(Waiting, Code, Reading),
    /// Finished: one commit of its end, its event and its deliveries.
    Finish(Waiting, Outcome, Reading),
    /// The task was abandoned, with the refusal of the server where that is the reason.
    Abandon(Waiting, Reason, Option<Fault>),
}

/// Why a task was abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Unfinished in a response to a poll that was sent at or after the deadline.
    Deadline,
    /// Its id was refused, again and again.
    Rejected,
    /// The task was removed from the file.
    Removed,
    /// A person cancelled it.
    Cancelled,
}

/// The consequence of one poll for its task. The moment and the random number are arguments, so that a test
/// can replay any history.
pub fn step(
    mut task: Waiting,
    poll: Result<Reading, (Fault, Attribution)>,
    policy: &Policy,
    draw: Draw,
) -> Effect {
    task.polls = task.polls.saturating_add(1);
    task.unsaved = true;
    task.started.learn(draw.now);
    match poll {
        Ok(reading @ Reading { phase: Phase::Finished(outcome), .. }) => {
            task.status = Some(reading.status.clone());
            Effect::Finish(task, outcome, reading)
        }
        Ok(reading)
            if task
                .timeout
                .get()
                .is_some_and(|timeout| task.started.remaining(timeout, draw.now.at(draw.sent)).is_zero()) =>
        {
            // `seen` stays: the deadline passed after that.
            task.status = Some(reading.status);
            Effect::Abandon(task, Reason::Deadline, None)
        }
        Ok(reading) => answered(task, reading, policy, draw),
        Err((fault, scope)) => faulty(task, fault, scope, policy, draw),
    }
}

fn answered(mut task: Waiting, reading: Reading, policy: &Policy, draw: Draw) -> Effect {
    let digest = reading.digest();
    let changed = task.digest != digest;
    let now = draw.now.local.steady;
    if changed && task.status.is_some() {
        task.since = now;
    }
    task.digest = digest;
    let previous = task.status.replace(reading.status.clone());
    task.seen = Some(draw.now.at(draw.sent).agreed()).into();
    task.streak = 0;
    task.lost_connection = false;
    task.refusals = None;
    let wait = backoff::interval(policy, now - task.since, draw.spread);
    let task = planned(task, draw.now, wait);
    match previous {
        None => Effect::First(task),
        Some(previous) if changed => Effect::Progress(task, previous, reading),
        Some(_) => Effect::Again(task),
    }
}

fn faulty(mut task: Waiting, fault: Fault, scope: Attribution, policy: &Policy, draw: Draw) -> Effect {
    if scope == Attribution::Nothing {
        // Sent again on a new connection; if that closes too, it is a fault like any other.
        task.lost_connection = true;
        return Effect::AtOnce(task);
    }
    let is_first = task.streak == 0;
    task.lost_connection = false;
    task.errors = task.errors.saturating_add(1);
    task.streak = task.streak.saturating_add(1);
    match scope {
        Attribution::Nothing => Effect::AtOnce(task),
        Attribution::Clock | Attribution::Throttled | Attribution::AccountThrottled if is_first => {
            Effect::AtOnce(task)
        }
        // Throttled again: behind the tasks that are due, so that a task which alone is refused delays none of them.
        Attribution::Throttled | Attribution::AccountThrottled => {
            Effect::Again(Waiting { due: draw.now.local.steady, ..task })
        }
        Attribution::Task => refused(task, fault, policy, draw),
        // The gate decides on the hold; the task keeps its due time.
        Attribution::Account | Attribution::PaceKey | Attribution::RefusedAlike => {
            Effect::Again(on_hold(task, draw))
        }
        Attribution::Clock | Attribution::TaskAlone | Attribution::Service => {
            Effect::Again(backed_off(task, policy, draw))
        }
    }
}

fn refused(mut task: Waiting, fault: Fault, policy: &Policy, draw: Draw) -> Effect {
    let now = draw.now.local.steady;
    let before = task.refusals.take().filter(|refusals| refusals.code == fault.code);
    let mut refusals =
        before.unwrap_or_else(|| Box::new(Refusals { code: fault.code.clone(), count: 0, since: now }));
    refusals.count = refusals.count.saturating_add(1);
    let confirmed = refusals.count >= EQUAL_REFUSALS && now - refusals.since >= policy.reject_after.0;
    task.refusals = Some(refusals);
    if confirmed {
        Effect::Abandon(task, Reason::Rejected, Some(fault))
    } else {
        Effect::Again(backed_off(task, policy, draw))
    }
}

/// A task of an account or pace key on hold: the poll does not count against the task, and its due time
/// stays.
fn on_hold(mut task: Waiting, draw: Draw) -> Waiting {
    task.refusals = None;
    task.streak = 0;
    task.due = draw.now.local.steady;
    task
}

fn backed_off(task: Waiting, policy: &Policy, draw: Draw) -> Waiting {
    let first = policy.error_interval.0;
    let longest = policy.error_max_interval.0;
    let wait = backoff::after_failure(first, longest, u32::from(task.streak), draw.spread);
    planned(task, draw.now, wait)
}

/// The next poll: after the wait, but the last one before the deadline is planned for the deadline.
fn planned(mut task: Waiting, now: Times, wait: Duration) -> Waiting {
    let remaining = task
        .timeout
        .get()
        .map(|timeout| task.started.remaining(timeout, now))
        .filter(|remaining| !remaining.is_zero());
    task.due = now.local.steady + remaining.map_or(wait, |remaining| wait.min(remaining));
    task
}

/// The state of the one `overdue` event of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// The event is due now.
    Now,
    /// Check again then.
    LookAt(Steady),
    /// The task has no `warn_after`, or its event exists.
    Never,
}

/// Whether the one `overdue` event is due.
pub fn overdue(task: &Waiting, now: Times) -> Overdue {
    let Some(warn_after) = task.warn_after.get().filter(|_| !task.warned) else { return Overdue::Never };
    // After a start the cloud's clock is known with the first response: until then one of the two clocks is
    // unknown.
    if task.started.waits_for_cloud(now) {
        return Overdue::LookAt(now.local.steady + CLOCK_LEARNED);
    }
    let remaining = task.started.remaining(warn_after, now);
    if remaining.is_zero() { Overdue::Now } else { Overdue::LookAt(now.local.steady + remaining) }
}

/// The reason, as in events and logs.
impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deadline => "deadline",
            Self::Rejected => "rejected",
            Self::Removed => "removed",
            Self::Cancelled => "cancelled",
        })
    }
}

#[cfg(test)]
mod tests;
