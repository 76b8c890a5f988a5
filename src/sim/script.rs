//! The progress of a task in its script, and the default script.

use std::time::Duration;

use super::response::{Lasts, SimResponse};
use crate::clock::Steady;

/// The position of a task in its script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Which entry is in force.
    entry: usize,
    /// The number of responses.
    answered: u32,
    /// The start of the entry: the first poll, the end of the duration before it, or the last response before
    /// it.
    since: Steady,
    /// Whether an end was returned.
    pub(super) over: bool,
}

impl Progress {
    /// At a task's first poll.
    pub(super) fn new(now: Steady) -> Self {
        Self { entry: 0, answered: 0, since: now, over: false }
    }

    /// The response to the next poll; `None` if the script is empty.
    pub(super) fn next<'a>(&mut self, script: &'a [SimResponse], now: Steady) -> Option<&'a SimResponse> {
        while self.entry + 1 < script.len() {
            match script[self.entry].lasts {
                Lasts::Times(times) if self.answered < times => {
                    self.since = now;
                    break;
                }
                Lasts::For(span) if now < self.since + span => break,
                Lasts::Times(_) => {}
                Lasts::For(span) => self.since = self.since + span,
            }
            self.entry += 1;
            self.answered = 0;
        }
        self.answered = self.answered.saturating_add(1);
        let scripted = script.get(self.entry)?;
        self.over |= scripted.ends_the_task();
        Some(scripted)
    }
}

/// A task that runs for 2 to 8 seconds and mostly succeeds. The same id always has the same script.
pub(super) fn usual(id: &str) -> Vec<SimResponse> {
    let draw = scrambled(id);
    let runs = Duration::from_millis(2_000 + draw % 6_001);
    let end = match (draw >> 16) % 100 {
        0..88 => 1,
        88..94 => 2,
        94.. => 3,
    };
    // Halfway, some tasks show a finished part; those and the mixed ends need two parts.
    let halfway = (draw >> 24).is_multiple_of(3);
    let one = format!("cpm-{:08x}", draw >> 32);
    let other = format!("cpm-{:08x}", draw as u32);
    let two = halfway || end == 3 || (draw >> 28).is_multiple_of(2);
    let reported = |status, first, second| {
        let both = [(one.as_str(), first), (other.as_str(), second)];
        SimResponse::with_instances(status, both.into_iter().take(if two { 2 } else { 1 }))
    };
    let ended = match end {
        3 => reported(3, 1, 2),
        end => reported(end, end, end),
    };
    if !halfway {
        return vec![reported(4, 4, 4).lasting(runs), ended];
    }
    // A finished instance stays finished: in a whole failure no instance succeeds before.
    let between = if end == 2 { reported(6, 2, 4) } else { reported(5, 1, 4) };
    vec![reported(4, 4, 4).lasting(runs / 2), between.lasting(runs / 2), ended]
}

/// FNV-1a and the end of SplitMix64: neighbouring ids get different values, equal in every run and on every
/// machine.
fn scrambled(id: &str) -> u64 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::response::ResponseKind;
    use super::*;

    fn statuses(script: &[SimResponse], polls: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut polls = polls.into_iter().map(|seconds| Steady(seconds * 1_000_000)).peekable();
        let mut progress = Progress::new(*polls.peek().unwrap());
        let status = |scripted: &SimResponse| match scripted.what {
            ResponseKind::Status { status, .. } => status,
            ResponseKind::Refusal(_)
            | ResponseKind::Raw(_)
            | ResponseKind::Page(_)
            | ResponseKind::Cut
            | ResponseKind::Hang => -1,
        };
        polls.map(|now| progress.next(script, now).map_or(-2, status)).collect()
    }

    #[test]
    fn an_entry_lasts_its_times_and_the_last_one_for_ever() {
        let script = [SimResponse::status(4).times(2), SimResponse::status(5), SimResponse::status(1)];
        assert_eq!(statuses(&script, 0..6), [4, 4, 5, 1, 1, 1]);
    }

    #[test]
    fn spans_follow_each_other_from_the_first_poll_and_may_pass_unseen() {
        let span = Duration::from_secs(10);
        let script = [
            SimResponse::status(4).lasting(span),
            SimResponse::status(5).lasting(span),
            SimResponse::status(1),
        ];
        assert_eq!(statuses(&script, [100, 109, 110, 119, 120]), [4, 4, 5, 5, 1]);
        assert_eq!(statuses(&script, [100, 120]), [4, 1]);
        let mixed = [SimResponse::status(4), SimResponse::status(5).lasting(span), SimResponse::status(1)];
        assert_eq!(statuses(&mixed, [100, 105, 110]), [4, 5, 1]);
    }

    #[test]
    fn a_task_without_a_script_ends_within_8_seconds_and_mostly_well() {
        let ends: Vec<_> = (0..1000).map(|id| statuses(&usual(&id.to_string()), [0, 1, 8])).collect();
        assert!(ends.iter().all(|seen| [4, 5, 6].contains(&seen[1]) && [1, 2, 3].contains(&seen[2])));
        let count = |end| ends.iter().filter(|seen| seen[2] == end).count();
        assert!(
            (800..950).contains(&count(1)) && count(2) > 20 && count(3) > 20,
            "{} {} {}",
            count(1),
            count(2),
            count(3)
        );
        assert_eq!(usual("7"), usual("7"));
    }
}
