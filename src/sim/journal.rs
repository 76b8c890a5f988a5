//! What the simulator saw: one entry a request, for tests to judge by.

use crate::clock::Steady;
use crate::cloud::operations::Api;
use crate::model::reading::Code;

/// At most so many entries are kept, a few tens of megabytes; then the older half goes, so that a simulator
/// may run for weeks.
const MOST_ENTRIES: usize = 100_000;

/// One request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// When its last byte arrived.
    pub arrived: Steady,
    /// Over which API it came.
    pub api: Api,
    /// The id that it asks for; empty where there is none.
    pub task: String,
    /// Its action; empty where there is none.
    pub action: String,
    /// Its region; empty where there is none.
    pub region: String,
    /// Whose key it names; empty where there is none.
    pub secret_id: String,
    /// How it was answered.
    pub verdict: RequestOutcome,
    /// The code of its API that the request itself deserves, whatever an outage answered in its place: a
    /// wrong signature, a repeated nonce, too many calls. `None`: nothing is wrong with it.
    pub flaw: Option<Code>,
    /// Whether an end of this task had been answered before.
    pub after_end: bool,
    /// What else there is to say of the answer: a refusal's message, or in which way it misbehaved.
    pub detail: String,
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// With a status.
    Status(i64),
    /// With a code of its API, for a flaw of its own or because the script says so.
    Refused(Code),
    /// With anything else of the script: a page, garbage, half an answer, nothing at all.
    Misbehaved,
}

/// The entries kept.
#[derive(Default)]
pub(super) struct RequestJournal {
    entries: Vec<ReceivedRequest>,
    total: u64,
}

impl RequestJournal {
    pub(super) fn add(&mut self, seen: ReceivedRequest) {
        if self.entries.len() >= MOST_ENTRIES {
            self.entries.drain(..MOST_ENTRIES / 2);
        }
        self.entries.push(seen);
        self.total += 1;
    }

    /// The latest entries, oldest first.
    pub(super) fn entries(&self) -> &[ReceivedRequest] {
        &self.entries
    }

    /// The entries after so many in all, and how many of those are forgotten.
    pub(super) fn after(&self, total: u64) -> (&[ReceivedRequest], u64) {
        let new = self.total.saturating_sub(total);
        let kept = usize::try_from(new).unwrap_or(usize::MAX).min(self.entries.len());
        (&self.entries[self.entries.len() - kept..], new - kept as u64)
    }

    /// How many requests there were in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_journal_forgets_its_older_half_and_keeps_count() {
        let mut journal = RequestJournal::default();
        for number in 0..=MOST_ENTRIES {
            let task = number.to_string();
            let text = String::new;
            let api = Api::default();
            let verdict = RequestOutcome::Misbehaved;
            let action = text();
            let region = text();
            let secret_id = text();
            let arrived = Steady(0);
            let flaw = None;
            let after_end = false;
            let words = text();
            journal.add(ReceivedRequest {
                arrived,
                api,
                task,
                action,
                region,
                secret_id,
                verdict,
                flaw,
                after_end,
                detail: words,
            });
        }
        assert_eq!(
            (journal.total(), journal.entries().len()),
            (MOST_ENTRIES as u64 + 1, MOST_ENTRIES / 2 + 1)
        );
        assert_eq!(journal.entries().last().unwrap().task, MOST_ENTRIES.to_string());
        let after = |total| (journal.after(total).0.len(), journal.after(total).1);
        assert_eq!(after(MOST_ENTRIES as u64 - 1), (2, 0));
        assert_eq!(
            [after(0), after(MOST_ENTRIES as u64 + 1)],
            [(MOST_ENTRIES / 2 + 1, MOST_ENTRIES as u64 / 2), (0, 0)]
        );
    }
}
