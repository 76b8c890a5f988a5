//! Evidence whether refusals are faults of single tasks, or of a setting (promise 6).

use super::super::reading::Code;

/// The number of tasks refused with one code that shows a wrong setting.
const ALIKE: usize = 3;
/// The number of codes with counters of their own: no setting causes more.
const KINDS: usize = 8;

/// The record of one gate since its first use, restarts included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Whether a call ever succeeded: from then on a refusal is the fault of its own task or event.
    pub has_succeeded: bool,
    /// The tasks or deliveries that were refused, by code.
    pub refused: Vec<(Code, Vec<i64>)>,
}

impl Evidence {
    /// Grows with each change: whether a call succeeded, and the number of refusals.
    pub fn size(&self) -> (bool, usize) {
        (self.has_succeeded, self.refused.iter().map(|(_, keys)| keys.len()).sum())
    }

    /// A call succeeded.
    pub fn add_success(&mut self) {
        self.has_succeeded = true;
        self.refused = Vec::new();
    }

    /// The task or delivery of that key was refused with that code. Returns whether a setting is at fault: no
    /// call succeeded so far, and several keys were refused with one code.
    pub fn add_refusal(&mut self, key: i64, code: &Code) -> bool {
        if self.has_succeeded {
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
