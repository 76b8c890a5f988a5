//! What one poll means for its task.

use std::time::Duration;

use super::backoff;
use super::policy::Policy;
use super::reading::{Fault, Outcome, Phase, Reading};
use super::waiting::Waiting;
use crate::clock::Steady;

/// What the caller brings to a decision: when the poll was sent and answered, and a spread in `0.0..1.0`.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// When the poll was sent.
    pub sent: Steady,
    /// When its answer, or its fault, was there.
    pub now: Steady,
    /// For jitter.
    pub spread: f64,
}

/// What is to be done; each carries the task as it now stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Not over and nothing new: poll again when it falls due. Nothing is written.
    Again(Waiting),
    /// Not over, but its status or an instance's changed: store that, then poll again.
    Progress(Waiting),
    /// Over: one commit of its end, its event and its deliveries.
    Finish(Waiting, Outcome),
    /// Given up: likewise.
    Abandon(Waiting, Reason),
}

/// Why a task was abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was still unfinished in an answer to a poll sent at or after its deadline.
    Deadline,
}

/// What one poll means for its task. The moment and the spread come from the caller, so that a test can replay any history.
pub fn step(mut task: Waiting, poll: &Result<Reading, Fault>, policy: &Policy, draw: Draw) -> Effect {
    task.polls = task.polls.saturating_add(1);
    task.unsaved = true;
    match poll {
        Ok(Reading { phase: Phase::Over(outcome), .. }) => Effect::Finish(task, *outcome),
        Ok(_) if task.deadline().is_some_and(|deadline| draw.sent >= deadline) => Effect::Abandon(task, Reason::Deadline),
        Ok(reading) => answered(task, reading, policy, draw),
        Err(_) => Effect::Again(troubled(task, policy, draw)),
    }
}

fn answered(mut task: Waiting, reading: &Reading, policy: &Policy, draw: Draw) -> Effect {
    let digest = reading.digest();
    let changed = task.digest != digest;
    let first = task.status.is_none();
    if changed && !first {
        task.since = draw.now;
    }
    task.digest = digest;
    task.status = Some(reading.status.clone());
    task.seen = Some(draw.sent);
    task.streak = 0;
    let wait = backoff::interval(policy, draw.now - task.since, draw.spread);
    let task = planned(task, draw.now, wait);
    if changed { Effect::Progress(task) } else { Effect::Again(task) }
}

fn troubled(mut task: Waiting, policy: &Policy, draw: Draw) -> Waiting {
    task.errors = task.errors.saturating_add(1);
    task.streak = task.streak.saturating_add(1);
    let wait = backoff::after_failure(policy.error_interval.0, policy.error_max_interval.0, task.streak, draw.spread);
    planned(task, draw.now, wait)
}

/// The next poll: after the wait, but the last one before the deadline is planned for the deadline.
fn planned(mut task: Waiting, now: Steady, wait: Duration) -> Waiting {
    let next = now + wait;
    task.due = task.deadline().filter(|deadline| now < *deadline).map_or(next, |deadline| next.min(deadline));
    task
}

/// The reason as it stands in events and logs.
impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deadline => "deadline",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::{Class, Code};
    use crate::model::task::{Row, TaskId};
    use crate::model::waiting::TargetIndex;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Steady {
        Steady(seconds * SECOND)
    }

    fn waiting(timeout_seconds: u64) -> Waiting {
        Waiting { timeout: Some(Duration::from_secs(timeout_seconds)), ..Waiting::new(Row(1), TaskId::Int(1), TargetIndex(0), at(0)) }
    }

    fn says(status: i64, phase: Phase) -> Result<Reading, Fault> {
        Ok(Reading { phase, status: Code::Int(status), instances: Vec::new() })
    }

    fn unfinished() -> Result<Reading, Fault> {
        says(4, Phase::Running)
    }

    fn fault() -> Result<Reading, Fault> {
        Err(Fault { class: Class::Service, code: Code::Int(6000), message: String::new(), retry_after: None })
    }

    fn after(task: Waiting, poll: &Result<Reading, Fault>, sent: i64, now: i64) -> Effect {
        step(task, poll, &Policy::default(), Draw { sent: at(sent), now: at(now), spread: 0.5 })
    }

    fn kept(effect: Effect) -> Waiting {
        match effect {
            Effect::Again(task) | Effect::Progress(task) => task,
            Effect::Finish(..) | Effect::Abandon(..) => panic!("the task is over: {effect:?}"),
        }
    }

    #[test]
    fn the_last_poll_is_planned_for_the_deadline() {
        assert_eq!(kept(after(waiting(1_010), &unfinished(), 999, 1_000)).due, at(1_010));
        assert_eq!(kept(after(waiting(1_001), &fault(), 999, 1_000)).due, at(1_001));
    }

    #[test]
    fn only_an_unfinished_answer_to_a_poll_sent_at_the_deadline_abandons() {
        assert!(matches!(after(waiting(1_000), &unfinished(), 1_000, 1_001), Effect::Abandon(_, Reason::Deadline)));
        assert!(matches!(after(waiting(1_000), &unfinished(), 999, 1_001), Effect::Progress(_)));
        assert!(matches!(after(waiting(1_000), &fault(), 1_000, 1_001), Effect::Again(_)));
        assert!(matches!(
            after(waiting(1_000), &says(1, Phase::Over(Outcome::Success)), 9_000, 9_001),
            Effect::Finish(_, Outcome::Success)
        ));
    }

    #[test]
    fn after_a_missed_deadline_faults_go_on_backing_off() {
        assert_eq!(kept(after(waiting(1_000), &fault(), 2_000, 2_000)).due, at(2_005));
    }

    #[test]
    fn a_changed_status_starts_the_interval_over_and_an_unchanged_one_does_not() {
        let first = after(waiting(86_400), &unfinished(), 20, 20);
        assert!(matches!(first, Effect::Progress(_)), "the first answer is stored: {first:?}");
        let first = kept(first);
        assert_eq!((first.since, first.due), (at(0), at(20) + Duration::from_secs(14)));
        let same = after(first.clone(), &unfinished(), 40, 40);
        assert!(matches!(same, Effect::Again(_)), "{same:?}");
        let changed = kept(after(first, &says(5, Phase::Running), 40, 40));
        assert_eq!((changed.since, changed.due), (at(40), at(42)));
    }

    #[test]
    fn faults_in_a_row_back_off_until_a_good_answer() {
        let once = kept(after(waiting(86_400), &fault(), 0, 0));
        let twice = kept(after(once, &fault(), 0, 0));
        assert_eq!((twice.due, twice.errors, twice.polls), (at(10), 2, 2));
        let well = kept(after(twice, &unfinished(), 0, 0));
        assert_eq!((well.streak, well.due, well.errors), (0, at(2), 2));
    }
}
