//! The result of the command: the first that applies of docs/architecture.md §6, and its text.

use super::WaitEnd;
use super::tasks::{Tally, Tasks};
use crate::units::Limit;

/// Why not everything is well.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Verdict {
    /// The worst that happened.
    pub worst: Worst,
    /// The same for people.
    pub text: String,
}

/// Results, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worst {
    /// The cloud refused a task, its credentials, or the request: further polls are useless.
    Refused,
    /// A task failed.
    Failure,
    /// A task was not over in time.
    Deadline,
    /// A task succeeded in part.
    Partial,
}

/// The result; nothing if every task succeeded.
pub fn of(end: &WaitEnd, tasks: &Tasks, timeout: Limit, go_on: &str) -> Option<Verdict> {
    let tally = &tasks.tally;
    let worst = worst(end, tally)?;
    let of_all = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let parts = [
        of_all(tally.rejected, "rejected by the cloud"),
        of_all(tally.failure, "failed"),
        of_all(tally.deadline, "unfinished at the deadline"),
        of_all(tally.partial, "succeeded in part"),
        of_all(tally.open, "still open"),
    ];
    let all = tasks.rows.len();
    let mut text = format!(
        "of {all} task{} {}",
        if all == 1 { "" } else { "s" },
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    );
    match end {
        WaitEnd::Finished => {}
        WaitEnd::Held(names) => {
            let causes = tasks.causes().join("; ");
            text = format!(
                "all remaining tasks are on hold: {} ({causes}); correct that first. {text}; {go_on}",
                names.join(", ")
            );
        }
        WaitEnd::Failed => text = format!("ended at the first task that did not succeed: {text}; {go_on}"),
        WaitEnd::Limit => text = format!("timed out after {timeout}: {text}; {go_on}"),
    }
    Some(Verdict { worst, text })
}

fn worst(end: &WaitEnd, tally: &Tally) -> Option<Worst> {
    let is_held = matches!(end, WaitEnd::Held(_));
    let is_late = matches!(end, WaitEnd::Limit);
    [
        (tally.rejected > 0 || is_held, Worst::Refused),
        (tally.failure > 0, Worst::Failure),
        (tally.deadline > 0 || is_late, Worst::Deadline),
        (tally.partial > 0, Worst::Partial),
    ]
    .into_iter()
    .find_map(|(applies, worst)| applies.then_some(worst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_applies_of_refused_failure_deadline_partial_and_success_counts() {
        let none = Tally { success: 1, ..Tally::default() };
        let held = || WaitEnd::Held(vec!["account default".to_owned()]);
        for (end, tally, expected) in [
            (WaitEnd::Finished, none, None),
            (WaitEnd::Finished, Tally { partial: 1, ..none }, Some(Worst::Partial)),
            (WaitEnd::Finished, Tally { deadline: 1, partial: 1, ..none }, Some(Worst::Deadline)),
            (WaitEnd::Finished, Tally { failure: 1, deadline: 1, partial: 1, ..none }, Some(Worst::Failure)),
            (
                WaitEnd::Finished,
                Tally { rejected: 1, failure: 1, deadline: 1, partial: 1, ..none },
                Some(Worst::Refused),
            ),
            (WaitEnd::Limit, Tally { open: 1, ..none }, Some(Worst::Deadline)),
            (WaitEnd::Limit, Tally { open: 1, partial: 1, ..none }, Some(Worst::Deadline)),
            (WaitEnd::Limit, Tally { open: 1, failure: 1, ..none }, Some(Worst::Failure)),
            (WaitEnd::Limit, Tally { open: 1, rejected: 1, ..none }, Some(Worst::Refused)),
            (held(), Tally { open: 1, ..none }, Some(Worst::Refused)),
            (held(), Tally { open: 1, failure: 1, ..none }, Some(Worst::Refused)),
        ] {
            assert_eq!(worst(&end, &tally), expected, "{tally:?}");
        }
    }
}
