//! The journal of the simulator: one entry for each request, for the checks of tests.

use crate::clock::Steady;
use crate::cloud::operations::Api;
use crate::model::reading::Code;

/// The largest number of entries, a few tens of megabytes. Then the older half is dropped, so that a
/// simulator may run for weeks.
const MOST_ENTRIES: usize = 100_000;

/// One request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// When its last byte arrived.
    pub arrived: Steady,
    /// Over which API it came.
    pub api: Api,
    /// The task id of the request; empty if there is none.
    pub task: String,
    /// Its action; empty where there is none.
    pub action: String,
    /// Its region; empty where there is none.
    pub region: String,
    /// The SecretId of the request; empty if there is none.
    pub secret_id: String,
    /// The result of the request.
    pub verdict: RequestOutcome,
    /// The code that the request itself deserves, even during an outage: a wrong signature, a repeated nonce,
    /// too many calls. `None`: it is valid.
    pub flaw: Option<Code>,
    /// Whether the end of this task was returned before.
    pub after_end: bool,
    /// Details of the response: the message of a refusal, or the misbehaviour.
    pub detail: String,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// With a status.
    Status(i64),
    /// Refused with a code of its API, for an error of its own or by the script.
    Refused(Code),
    /// Any other response of the script: a page, garbage, half a response, none.
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

    /// The entries after the first `total`, and the number of dropped ones among them.
    pub(super) fn after(&self, total: u64) -> (&[ReceivedRequest], u64) {
        let new = self.total.saturating_sub(total);
        let kept = usize::try_from(new).unwrap_or(usize::MAX).min(self.entries.len());
        (&self.entries[self.entries.len() - kept..], new - kept as u64)
    }

    /// The number of all requests so far.
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
