//! The state of the simulated cloud, and its responses: the checks (in `check`), then the script of the task.

use std::collections::HashMap;

use super::check::{Request, RequestFacts, check};
use super::codes::named_in;
use super::journal::{ReceivedRequest, RequestJournal, RequestOutcome};
use super::response::{ErrorResponse, ResponseKind, SimResponse};
use super::scenario::{Scenario, Unlisted, canonical};
use super::script::{Progress, usual};
use super::used::Used;
use crate::clock::{Moment, Steady};
use crate::cloud::operations::Api;

/// Above it, finished tasks are dropped, and if that is not enough all tasks: a bound for weeks of running.
const MOST_TASKS: usize = 1_000_000;

/// The cloud's memory.
pub(super) struct SimState {
    pub(super) scenario: Scenario,
    /// The response to every request during an outage.
    pub(super) outage: Option<SimResponse>,
    pub(super) journal: RequestJournal,
    tasks: HashMap<String, Progress>,
    used: Used,
}

impl SimState {
    pub(super) fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            outage: None,
            journal: RequestJournal::default(),
            tasks: HashMap::new(),
            used: Used::default(),
        }
    }

    /// Gives a task a new script, which starts with its next poll.
    pub(super) fn set_answers(&mut self, id: &str, responses: Vec<SimResponse>) {
        let id = canonical(id);
        self.tasks.remove(&id);
        self.scenario.tasks.insert(id, responses);
    }

    /// Reads one request and decides on its response, in the codes of its API.
    pub(super) fn take(&mut self, request: &Request, now: Moment) -> SimResponse {
        let api = match request {
            Request::V2(_) => Api::V2,
            Request::V3(_) => Api::V3,
        };
        let RequestFacts { task, action, region, secret_id } = request.about(&self.scenario);
        let after_end = self.tasks.get(&task).is_some_and(|progress| progress.over);
        let checked = check(request, &self.scenario, &mut self.used, now);
        let flaw = checked.as_ref().err().map(|refusal| named_in(api, &refusal.code));
        let mut scripted = match (self.outage.clone(), checked) {
            (Some(outage), _) => outage,
            (None, Err(ErrorResponse { code, message })) => SimResponse::refusal(code, &message),
            (None, Ok(())) => self.scripted(&task, now.steady),
        };
        if let ResponseKind::Refusal(refusal) = &mut scripted.what {
            refusal.code = named_in(api, &refusal.code);
        }
        let verdict = match &scripted.what {
            _ if scripted.short || scripted.huge => RequestOutcome::Misbehaved,
            ResponseKind::Status { status, .. } => RequestOutcome::Status(*status),
            ResponseKind::Refusal(refusal) => RequestOutcome::Refused(refusal.code.clone()),
            ResponseKind::Raw(_) | ResponseKind::Page(_) | ResponseKind::Cut | ResponseKind::Hang => {
                RequestOutcome::Misbehaved
            }
        };
        let arrived = now.steady;
        let words = scripted.words();
        self.journal.add(ReceivedRequest {
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
        scripted
    }

    /// The next response of the task's script.
    fn scripted(&mut self, id: &str, now: Steady) -> SimResponse {
        if !self.tasks.contains_key(id) {
            self.make_room();
        }
        let by_itself;
        let script = match (self.scenario.tasks.get(id), &self.scenario.unlisted) {
            (Some(script), _) | (None, Unlisted::Follows(script)) => script,
            (None, Unlisted::Refused(refusal)) => {
                return SimResponse::refusal(&refusal.code, &refusal.message);
            }
            (None, Unlisted::Runs) => {
                by_itself = usual(id);
                &by_itself
            }
        };
        let progress = self.tasks.entry(id.to_owned()).or_insert_with(|| Progress::new(now));
        // Only a test can set an empty script: an unknown task.
        progress
            .next(script, now)
            .cloned()
            .unwrap_or_else(|| SimResponse::refusal(5000, "the resource does not exist"))
    }

    fn make_room(&mut self) {
        if self.tasks.len() >= MOST_TASKS {
            self.tasks.retain(|_, progress| !progress.over);
        }
        if self.tasks.len() >= MOST_TASKS {
            self.tasks.clear();
        }
    }
}
