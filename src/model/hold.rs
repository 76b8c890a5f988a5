//! A hold: an account, a pace key or a sink that is not used because a person must act. And the evidence that
//! decides whether refused ids are their tasks' own trouble, or a wrong setting's.

use super::breaker::Probes;
use super::policy::Waits;
use super::reading::Code;
use crate::clock::{Moment, Wall};

/// So many tasks that are refused alike tell of a setting, not of their ids (design.md §3, promise 6).
const ALIKE: usize = 3;
/// More kinds of refusals than this are not told apart: no setting causes more.
const KINDS: usize = 8;

/// Why something is held, and when it is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold<Cause> {
    /// What caused it.
    pub cause: Cause,
    /// When single probes go out.
    pub probes: Probes,
    /// Whether it was caused by ids, or events, that were refused alike: only a good answer releases it then.
    pub refused_alike: bool,
}

impl<Cause> Hold<Cause> {
    /// A hold that begins now.
    pub fn new(cause: Cause, refused_alike: bool, waits: Waits, now: Moment) -> Self {
        Self { cause, probes: Probes::new(waits, now), refused_alike }
    }

    /// When it began, by the local wall clock.
    pub fn since(&self) -> Wall {
        self.probes.lasting.since.wall
    }
}

/// What a pace key, or a sink, has shown since the configuration was loaded.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    answered_well: bool,
    refused: Vec<(Code, Vec<i64>)>,
}

impl Evidence {
    /// One was answered well: from now on a refusal is a task's, or an event's, own.
    pub fn answered_well(&mut self) {
        self.answered_well = true;
        self.refused = Vec::new();
    }

    /// The task or the delivery of that key was refused. Whether that tells of a setting: none was ever
    /// answered well, and three were refused alike.
    pub fn refused(&mut self, key: i64, code: &Code) -> bool {
        if self.answered_well || broken!(NoEvidence) {
            return false;
        }
        let known = self.refused.iter().position(|(known, _)| known == code);
        let index = known.unwrap_or_else(|| {
            self.refused.truncate(KINDS - 1);
            self.refused.push((code.clone(), Vec::new()));
            self.refused.len() - 1
        });
        let keys = &mut self.refused[index].1;
        if keys.len() < ALIKE && !keys.contains(&key) {
            keys.push(key);
        }
        keys.len() >= ALIKE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_tasks_refused_alike_before_any_good_answer_tell_of_a_setting() {
        let mut evidence = Evidence::default();
        let missing = Code::Int(5000);
        let wrong = Code::Int(10001);
        let told: Vec<_> = [(1, &missing), (1, &missing), (2, &missing), (3, &wrong), (3, &missing)]
            .map(|(key, code)| evidence.refused(key, code))
            .into();
        assert_eq!(told, [false, false, false, false, true]);
        evidence.answered_well();
        assert!(!(1..9).any(|row| evidence.refused(row, &missing)));
    }
}
