//! What the simulated cloud remembers, and what it therefore answers: the checks in their order, then the task's script.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::answer::{Answer, Refusal, What};
use super::journal::{Journal, Seen, Verdict};
use super::request::Request;
use super::scenario::{Scenario, Unlisted, canonical};
use super::script::{Progress, usual};
use crate::clock::{Moment, Steady, Wall};

/// What is served here, and the parameter that holds the id.
const ACTIONS: &[(&str, &str)] = &[("DescriptionOperationResult", "taskId")];
/// How far a request's `Timestamp` may be from the cloud's clock (api.md §1).
const TIMESTAMP_WINDOW_S: u64 = 300;
/// Beyond it the tasks that are over are forgotten, and if that does not help all of them: a bound for weeks of running.
const MOST_TASKS: usize = 1_000_000;
/// Beyond it the seconds that are longest ago are forgotten: some minutes at the highest speed.
const MOST_NONCES: usize = 2_000_000;
/// Beyond it the rate is counted anew: nobody uses so many regions, but anybody can make them up.
const MOST_PACE_KEYS: usize = 10_000;

/// The cloud's memory.
pub(super) struct State {
    pub(super) scenario: Scenario,
    /// What everything is answered while it lasts.
    pub(super) outage: Option<Answer>,
    pub(super) journal: Journal,
    tasks: HashMap<String, Progress>,
    nonces: Nonces,
    calls: HashMap<[String; 2], VecDeque<Steady>>,
}

impl State {
    pub(super) fn new(scenario: Scenario) -> Self {
        let (tasks, nonces, calls) = (HashMap::new(), Nonces::default(), HashMap::new());
        Self { scenario, outage: None, journal: Journal::default(), tasks, nonces, calls }
    }

    /// What the cloud's clock shows.
    pub(super) fn cloud_time(&self, now: Moment) -> Wall {
        Wall(now.wall.0.saturating_add(self.scenario.clock_offset.0))
    }

    /// Gives a task a new script, which starts with its next poll.
    pub(super) fn set_answers(&mut self, id: &str, answers: Vec<Answer>) {
        let id = canonical(id);
        self.tasks.remove(&id);
        self.scenario.tasks.insert(id, answers);
    }

    /// Takes in one request and decides on its answer.
    pub(super) fn take(&mut self, request: &Request, now: Moment) -> Answer {
        let task = id_of(request);
        let after_end = self.tasks.get(&task).is_some_and(|progress| progress.over);
        let checked = self.check(request, now);
        let flaw = checked.as_ref().err().map(|refusal| refusal.code);
        let answer = match (self.outage.clone(), checked) {
            (Some(outage), _) => outage,
            (None, Err(Refusal { code, message })) => Answer::refusal(code, &message),
            (None, Ok(())) => self.scripted(&task, now.steady),
        };
        let verdict = match &answer.what {
            _ if answer.short || answer.huge => Verdict::Misbehaved,
            What::Status { status, .. } => Verdict::Answered(*status),
            What::Refusal(refusal) => Verdict::Refused(refusal.code),
            What::Raw(_) | What::Page(_) | What::Cut | What::Hang => Verdict::Misbehaved,
        };
        let text = |name| request.get(name).unwrap_or_default().to_owned();
        let (action, region, secret_id) = (text("Action"), text("Region"), text("SecretId"));
        self.journal.add(Seen { arrived: now.steady, task, action, region, secret_id, verdict, flaw, after_end });
        answer
    }

    /// Everything that can be wrong with a request itself. Only one whose signature holds uses up its nonce and its rate.
    fn check(&mut self, request: &Request, now: Moment) -> Result<(), Refusal> {
        let scenario = &self.scenario;
        let needed = |name| request.get(name).ok_or_else(|| refused(4000, format!("{name}: missing")));
        let action = needed("Action")?;
        if needed("SecretId")? != scenario.secret_id {
            return Err(refused(4104, "SecretId: there is no such key"));
        }
        if scenario.token.as_ref().is_some_and(|token| request.get("Token") != Some(token.expose())) {
            return Err(refused(4105, "Token: missing or wrong"));
        }
        let (timestamp, nonce) = (number(needed("Timestamp")?, "Timestamp")?, number(needed("Nonce")?, "Nonce")?);
        let host = scenario.signed_host.as_deref().unwrap_or(request.host());
        if !request.is_signed_with(&scenario.secret_key, host) {
            return Err(refused(4100, format!("the signature does not hold for the host {host}")));
        }
        let cloud_time = self.cloud_time(now).0.div_euclid(1000);
        if cloud_time.checked_sub_unsigned(timestamp).is_none_or(|age| age.unsigned_abs() > TIMESTAMP_WINDOW_S) {
            return Err(refused(4200, "the request has expired"));
        }
        if !self.nonces.take(timestamp, nonce) {
            return Err(refused(4500, "Nonce and Timestamp were used before"));
        }
        let Some((_, id)) = ACTIONS.iter().find(|(name, _)| *name == action) else {
            return Err(refused(6100, format!("the action {action} is not served here")));
        };
        let region = needed("Region")?;
        if scenario.regions.as_ref().is_some_and(|regions| !regions.iter().any(|served| served == region)) {
            return Err(scenario.unknown_region.clone());
        }
        if !self.counts_within_the_rate(action, region, now.steady) {
            return Err(refused(4400, "the quota of calls is used up"));
        }
        if request.get(id).is_none_or(|id| id.parse::<u64>().is_err()) {
            return Err(refused(10001, format!("InvalidParameter: {id} is not an integer")));
        }
        Ok(())
    }

    /// Whether one more call is allowed; a refused one is not counted.
    fn counts_within_the_rate(&mut self, action: &str, region: &str, now: Steady) -> bool {
        let Some(quota) = self.scenario.rate else { return true };
        if self.calls.len() >= MOST_PACE_KEYS {
            self.calls.clear();
        }
        let calls = self.calls.entry([action, region].map(str::to_owned)).or_default();
        while calls.front().is_some_and(|call| now - *call >= quota.per) {
            calls.pop_front();
        }
        if calls.len() >= quota.calls {
            return false;
        }
        calls.push_back(now);
        true
    }

    /// What the task's script says next.
    fn scripted(&mut self, id: &str, now: Steady) -> Answer {
        if !self.tasks.contains_key(id) {
            self.make_room();
        }
        let by_itself;
        let script = match (self.scenario.tasks.get(id), &self.scenario.unlisted) {
            (Some(script), _) | (None, Unlisted::Follows(script)) => script,
            (None, Unlisted::Refused(refusal)) => return Answer::refusal(refusal.code, &refusal.message),
            (None, Unlisted::Runs) => {
                by_itself = usual(id);
                &by_itself
            }
        };
        let progress = self.tasks.entry(id.to_owned()).or_insert_with(|| Progress::new(now));
        // Only a test can set an empty script: a task about which nothing is known.
        progress.next(script, now).cloned().unwrap_or_else(|| Answer::refusal(5000, "the resource does not exist"))
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

/// The nonces that were used, by second.
#[derive(Default)]
struct Nonces {
    used: BTreeMap<u64, HashSet<u64>>,
    total: usize,
}

impl Nonces {
    /// Whether this pair is new; it is used from now on.
    fn take(&mut self, timestamp: u64, nonce: u64) -> bool {
        let new = self.used.entry(timestamp).or_default().insert(nonce);
        self.total += usize::from(new);
        while self.total > MOST_NONCES
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.total -= oldest.len();
        }
        new
    }
}

/// The id that a request asks for, in its canonical form; empty where there is none.
fn id_of(request: &Request) -> String {
    ACTIONS.iter().find_map(|(_, id)| request.get(id)).map(canonical).unwrap_or_default()
}

fn number(text: &str, name: &str) -> Result<u64, Refusal> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| refused(4000, format!("{name}: not a positive integer")))
}

fn refused(code: i64, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}
