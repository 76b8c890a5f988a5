//! The observations of a history, compared with the promises of docs/architecture.md §3.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::parts::Parts;
use super::world::{MINUTE, SECOND, SHARES, UNKNOWN_SECRET, Weather, World, share};
use super::{ACCOUNTS, SINKS};
use crate::model::event::{Event, Kind, schema};
use crate::model::policy::Policy;
use crate::model::records::{Commit, Conclusion, DeadLetter, FinishedTask, Registered, RegisteredState};
use crate::model::step::Reason;
use crate::model::task::{NewTask, Origin, PaceKey, Row, TaskId};

/// A tick of the timer (promise 5).
const TICK: i64 = 5_000;
/// Error of a `Date` of whole seconds, a slow network and an offset that counts as none (docs/architecture.md §4).
const CLOCK_SLACK: i64 = 7 * SECOND;
/// Steps that began before a change of the configuration keep their sinks.
const CHANGE_OVER: i64 = 10 * MINUTE;
/// The longest time in which the lane of a removed sink still begins attempts.
const LANE_STOP: i64 = 2 * SECOND;
/// Most requests of an account on hold in a minute.
const ON_HOLD_A_MINUTE: usize = 20;
/// The number of secrets that are searched in events: those of the latest requests.
const SECRETS: usize = 64;

pub struct Witness {
    policy: Policy,
    tasks: BTreeMap<u64, Observed>,
    rows: HashMap<Row, u64>,
    decisions: Vec<Decision>,
    /// Spacing of the requests of each pace key, in microseconds.
    spacing: i64,
    last_poll: HashMap<PaceKey, i64>,
    /// Number of tasks of each share that were rejected by this process though the cloud knows them.
    rejected: [usize; SHARES],
    /// Whether a task of each share ever had a good response: from then on a refusal is the fault of its own task.
    had_good: [bool; SHARES],
    /// The requests of each account while its key was wrong, since the first refusal of this process.
    while_wrong: HashMap<String, Vec<i64>>,
    received: [Vec<Value>; SINKS.len()],
    known: [HashSet<uuid::Uuid>; SINKS.len()],
    bodies: HashMap<uuid::Uuid, String>,
    secrets: Vec<String>,
    /// The accounts with an acknowledged pause, and its moment.
    paused_accounts: HashMap<String, i64>,
    paused_sinks: [Option<i64>; SINKS.len()],
    /// The configured parts, and the moment of their last change.
    parts: (Parts, i64),
}

/// The observations of one task.
#[derive(Default)]
struct Observed {
    registered: i64,
    timeout: Option<i64>,
    warn_after: Option<i64>,
    run: Option<String>,
    listed: bool,
    exists: bool,
    /// The end of its round.
    ended: Option<Conclusion>,
    /// Whether a response of this round, with a `Date`, is durable.
    stored: bool,
    /// Whether a response had no `Date`.
    was_undated: bool,
    rounds: usize,
    /// Refusals since the last good response.
    refusals: Vec<i64>,
    /// The last request.
    polled: i64,
    /// Whether retention deletes it, or did.
    deleted: bool,
    /// Whether a command added it.
    is_commanded: bool,
    /// Whether its pause is acknowledged.
    is_paused: bool,
    /// Whether a person cancelled it, acknowledged or not.
    is_cancelled: bool,
    /// Its timeout by an acknowledged extension.
    extended: Option<i64>,
    /// Whether an extension without a result may have changed its deadline.
    is_deadline_unknown: bool,
}

/// A step that the loop makes durable.
struct Decision {
    task: u64,
    /// The line that each of its sinks has to receive, if any.
    line: Option<String>,
    sinks: Vec<String>,
    end: Option<Conclusion>,
    committed: bool,
    /// The end of the task in truth, and its detection.
    ended_and_seen: Option<(i64, i64)>,
    /// The allowed error of the lag, in seconds.
    slack: f64,
    /// Whether it stores a response with a `Date`.
    is_response: bool,
    was_stored: bool,
}

impl Witness {
    pub fn new(policy: Policy, spacing: i64) -> Self {
        Self {
            policy,
            tasks: BTreeMap::new(),
            rows: HashMap::new(),
            decisions: Vec::new(),
            spacing,
            last_poll: HashMap::new(),
            rejected: [0; SHARES],
            had_good: [false; SHARES],
            while_wrong: HashMap::new(),
            received: [const { Vec::new() }; SINKS.len()],
            known: Default::default(),
            bodies: HashMap::new(),
            secrets: vec![UNKNOWN_SECRET.to_owned()],
            paused_accounts: HashMap::new(),
            paused_sinks: [None; SINKS.len()],
            parts: (Parts::ALL, 0),
        }
    }

    /// A start lists these tasks; these are the results of the store.
    pub fn started(
        &mut self,
        tasks: &[NewTask],
        registered: &[Registered],
        now: i64,
        world: &World,
    ) -> Result<(), String> {
        self.while_wrong.clear();
        self.rejected = [0; SHARES];
        self.tasks.values_mut().for_each(|seen| seen.listed = false);
        self.registered(tasks, registered, now, world)
    }

    /// These tasks are registered, listed or by command.
    pub fn registered(
        &mut self,
        tasks: &[NewTask],
        registered: &[Registered],
        now: i64,
        world: &World,
    ) -> Result<(), String> {
        for (task, Registered { row, state }) in tasks.iter().zip(registered) {
            let TaskId::Int(id) = task.id else { return Err("an id became text".to_owned()) };
            self.rows.insert(*row, id);
            let is_listed = task.origin == Origin::File;
            let seen = self.tasks.entry(id).or_default();
            seen.listed |= is_listed;
            let may_begin = seen.rounds == 0
                || seen.ended == Some(Conclusion::Abandoned(Reason::Removed))
                || (seen.ended.is_some() && seen.run != task.settings.run);
            let begins = *state == RegisteredState::New;
            // A process that crashed may not have deleted the task.
            if begins != may_begin && !(seen.deleted && begins) {
                return Err(format!(
                    "promise 3: the store registered task {id} as {state:?}, against its history"
                ));
            }
            if begins {
                let rounds = seen.rounds + 1;
                let exists = world.tasks[&id].exists;
                let (listed, is_commanded) = (is_listed, !is_listed);
                *seen =
                    Observed { registered: now, listed, is_commanded, exists, rounds, ..Observed::default() };
            }
            let microseconds = |limit: Option<std::time::Duration>| {
                limit.and_then(|limit| i64::try_from(limit.as_micros()).ok())
            };
            if seen.ended.is_none() {
                seen.timeout = seen.extended.or(microseconds(task.settings.timeout(self.policy.timeout)));
                seen.warn_after = microseconds(task.settings.warn_after(self.policy.warn_after));
                seen.run.clone_from(&task.settings.run);
            }
        }
        Ok(())
    }

    /// Whether the store has the start of every open task by the cloud's clock: only then a jump of the local
    /// clock between two processes can be detected.
    pub fn all_stored(&self) -> bool {
        self.tasks.values().all(|seen| seen.ended.is_some() || seen.stored)
    }

    /// A share in which many open tasks are known to the cloud.
    pub fn share_of_many(&self) -> Option<usize> {
        let is_counted = |id: &u64, seen: &Observed, which| {
            share(*id) == which && seen.listed && seen.ended.is_none() && seen.exists
        };
        let open = |which: usize| self.tasks.iter().filter(|(id, seen)| is_counted(id, seen, which)).count();
        (0..SHARES).find(|which| open(*which) >= 4)
    }

    /// The tasks that the cloud knows and that have no final event yet. Unknown ids may stay on hold for
    /// ever, if three are refused alike.
    pub fn open(&self) -> Vec<u64> {
        self.tasks.iter().filter(|(_, seen)| seen.ended.is_none() && seen.exists).map(|(id, _)| *id).collect()
    }

    pub fn add_secret(&mut self, secret: &str) {
        if self.secrets.len() == SECRETS {
            self.secrets.remove(1);
        }
        self.secrets.push(secret.to_owned());
    }

    pub fn polled(&mut self, id: u64, key: &PaceKey, now: i64, world: &World) -> Result<(), String> {
        let seen = self.tasks.entry(id).or_default();
        seen.polled = now;
        if seen.ended.is_some() {
            return Err(format!("promise 3: task {id} is polled after its final event"));
        }
        if seen.is_paused {
            return Err(format!("task {id} is polled while it is paused"));
        }
        let account = ACCOUNTS[share(id) / 2];
        if self.paused_accounts.get(account).is_some_and(|since| now > since + TICK) {
            return Err(format!("task {id} is polled while its account is paused"));
        }
        let (parts, since) = self.parts;
        if !parts.has_task(id) && now > since + SECOND {
            return Err(format!("task {id} is polled though its account is not configured"));
        }
        if let Some(last) = self.last_poll.insert(key.clone(), now)
            && now - last < self.spacing - TICK
        {
            let apart = now - last;
            return Err(format!(
                "promise 5: two requests of one pace key are {apart} µs apart, not {}",
                self.spacing
            ));
        }
        if world.weather == Weather::WrongKey
            && let Some(polls) = self.while_wrong.get_mut(&key.secret_id)
        {
            polls.push(now);
            polls.retain(|poll| now - poll < MINUTE);
            if polls.len() > ON_HOLD_A_MINUTE {
                return Err(format!("promise 6: {} requests in a minute with a wrong key", polls.len()));
            }
        }
        Ok(())
    }

    /// A response arrives; `None`: none does.
    pub fn responded(&mut self, id: u64, body: Option<&str>, is_dated: bool, now: i64) {
        let seen = self.tasks.entry(id).or_default();
        seen.was_undated |= body.is_some() && !is_dated;
        let body = body.unwrap_or_default();
        if body.starts_with(r#"{"code":0,"#) {
            seen.refusals.clear();
            self.had_good[share(id)] = true;
            self.while_wrong.clear();
        } else if body.starts_with(r#"{"code":5000,"#) {
            seen.refusals.push(now);
        } else if body.starts_with(r#"{"code":4100,"#) {
            let account = if share(id) == 2 { "AKIDother" } else { "AKIDdefault" };
            self.while_wrong.entry(account.to_owned()).or_default();
        }
    }

    /// The loop stores this step now. Returns its number.
    pub fn decided(&mut self, commit: &Commit, now: i64, world: &World) -> Result<usize, String> {
        let id = self.rows[&commit.hot.row];
        let seen = &self.tasks[&id];
        let plan = &world.tasks[&id];
        let (was_stored, was_undated) = (seen.stored, seen.was_undated);
        let polled = seen.polled;
        let event = commit.event.as_ref().map(|(event, _)| event);
        let sinks = commit.event.as_ref().map(|(_, sinks)| sinks.clone()).unwrap_or_default();
        let (parts, since) = self.parts;
        for (place, name) in SINKS.into_iter().enumerate().filter(|_| event.is_some()) {
            let is_routed = sinks.iter().any(|sink| sink == name);
            if is_routed != parts.has_sink(place) && now > since + CHANGE_OVER {
                return Err(format!("promise 1: an event of task {id} goes to {sinks:?}, with {parts:?}"));
            }
        }
        let record = event.map(|event| serde_json::from_str(&event.body).unwrap_or_default());
        let line = record.as_ref().map(line);
        let conclusion = commit.end.map(|end| end.conclusion);
        match (event.map(|event| event.kind), conclusion) {
            (Some(Kind::Overdue), None) => {
                let due = seen.registered + seen.warn_after.ok_or("overdue without `warn_after`")?;
                if now < due - CLOCK_SLACK {
                    return Err(format!(
                        "docs/architecture.md §4: task {id} is overdue {} s early",
                        (due - now) / SECOND
                    ));
                }
            }
            (Some(Kind::Finished), Some(Conclusion::Finished(outcome))) => {
                let status = record.as_ref().map(|record| record["data"]["status"].as_i64());
                if status.flatten() != Some(plan.status_at(now)) || plan.ends_at() > now {
                    return Err(format!("task {id} ended as {outcome}, which it did not"));
                }
            }
            (Some(Kind::Abandoned), Some(Conclusion::Abandoned(reason))) => {
                self.may_abandon(id, reason, polled)?
            }
            (Some(Kind::Progressed) | None, None) => {}
            (kind, conclusion) => return Err(format!("{kind:?} comes with {conclusion:?}")),
        }
        // After a jump of the local clock, a start estimates the cloud's clock from one `Date` of whole
        // seconds in a slow response. Without a `Date`, now or in an earlier response of the task, a step between two
        // processes is not visible.
        let is_undated = world.weather == Weather::Undated;
        let slack = match (world.jumped, is_undated || !was_stored || was_undated) {
            (true, true) => f64::INFINITY,
            (true, false) => 11.0,
            (false, _) => 0.002,
        };
        let is_finish = matches!(conclusion, Some(Conclusion::Finished(_)));
        self.decisions.push(Decision {
            task: id,
            line,
            sinks,
            end: conclusion,
            committed: false,
            ended_and_seen: is_finish.then_some((plan.ends_at(), now)),
            slack,
            is_response: !is_undated
                && commit.hot.seen.is_some()
                && conclusion.is_none()
                && event.is_none_or(|event| event.kind == Kind::Progressed),
            was_stored,
        });
        Ok(self.decisions.len() - 1)
    }

    fn may_abandon(&mut self, id: u64, reason: Reason, sent_at: i64) -> Result<(), String> {
        let seen = &self.tasks[&id];
        match reason {
            Reason::Deadline if seen.is_deadline_unknown => {}
            Reason::Deadline => {
                let deadline = seen.registered + seen.timeout.ok_or("a deadline without `timeout`")?;
                if sent_at < deadline - CLOCK_SLACK {
                    return Err(format!(
                        "promise 6: task {id} is abandoned {} s before its deadline",
                        (deadline - sent_at) / SECOND
                    ));
                }
            }
            Reason::Rejected => {
                let over =
                    seen.refusals.last().zip(seen.refusals.first()).map_or(0, |(last, first)| last - first);
                // Two may be rejected: the third equal refusal shows a wrong setting.
                let rejected = &mut self.rejected[share(id)];
                *rejected += usize::from(seen.exists);
                if *rejected >= 3 && !self.had_good[share(id)] {
                    return Err("promise 6: a list is abandoned for a wrong setting".to_owned());
                }
                if seen.refusals.len() < 3 || over < 30 * SECOND {
                    let count = seen.refusals.len();
                    return Err(format!(
                        "promise 6: task {id} is abandoned after {count} refusals over {} s",
                        over / SECOND
                    ));
                }
            }
            Reason::Removed if seen.listed || seen.is_commanded => {
                return Err(format!("task {id} is removed while it is listed, or was added by command"));
            }
            Reason::Cancelled if !seen.is_cancelled => {
                return Err(format!("task {id} is cancelled by no one"));
            }
            Reason::Removed | Reason::Cancelled => {}
        }
        Ok(())
    }

    /// All tasks without a final event, with their keys.
    pub fn rows(&self) -> Vec<(Row, u64)> {
        let is_open = |id: &u64| self.tasks[id].ended.is_none();
        let mut open: Vec<_> =
            self.rows.iter().filter(|(_, id)| is_open(id)).map(|(row, id)| (*row, *id)).collect();
        open.sort_unstable();
        open
    }

    /// An extension begins (`None`), or is acknowledged with that time left.
    pub fn extends(&mut self, id: u64, left: Option<i64>, now: i64) {
        let Some(seen) = self.tasks.get_mut(&id) else { return };
        seen.is_deadline_unknown = left.is_none();
        if let Some(left) = left {
            seen.extended = Some(now - seen.registered + left);
            seen.timeout = seen.extended;
        }
    }

    /// A person cancels a task.
    pub fn cancels(&mut self, id: u64) {
        self.tasks.entry(id).or_default().is_cancelled = true;
    }

    /// Whether the task has its final event.
    pub fn has_ended(&self, id: u64) -> bool {
        self.tasks.get(&id).is_some_and(|seen| seen.ended.is_some())
    }

    /// The pause of a task is acknowledged, or its end begins.
    pub fn pauses_task(&mut self, id: u64, paused: bool) {
        self.tasks.entry(id).or_default().is_paused = paused;
    }

    /// The pause of an account is acknowledged at that moment, or its end begins.
    pub fn pauses_account(&mut self, name: &str, since: Option<i64>) {
        match since {
            Some(since) => _ = self.paused_accounts.insert(name.to_owned(), since),
            None => _ = self.paused_accounts.remove(name),
        }
    }

    /// The pause of a sink is acknowledged at that moment, or its end begins.
    pub fn pauses_sink(&mut self, sink: usize, since: Option<i64>) {
        self.paused_sinks[sink] = since;
    }

    /// These parts are configured from now on.
    pub fn uses(&mut self, parts: Parts, now: i64) {
        self.parts = (parts, now);
    }

    /// An attempt begins.
    pub fn attempted(&self, sink: usize, now: i64) -> Result<(), String> {
        let (parts, since) = self.parts;
        if !parts.has_sink(sink) && now > since + LANE_STOP {
            return Err(format!("{} is used though it is not configured", SINKS[sink]));
        }
        let is_paused = self.paused_sinks[sink].is_some_and(|since| now > since + TICK);
        if is_paused { Err(format!("{} is used while it is paused", SINKS[sink])) } else { Ok(()) }
    }

    /// The step is durable.
    pub fn committed(&mut self, number: usize) {
        let decision = &mut self.decisions[number];
        decision.committed = true;
        if let Some(seen) = self.tasks.get_mut(&decision.task) {
            seen.ended = seen.ended.or(decision.end);
            seen.stored |= decision.is_response;
        }
    }

    /// A delivery becomes a dead letter. Only a delivery that the sink refuses for its content may.
    pub fn may_give_up(letter: &DeadLetter) -> Result<(), String> {
        let DeadLetter { sink, error, .. } = letter;
        if error == "413" { Ok(()) } else { Err(format!("promise 6: {sink} is given up for {error}")) }
    }

    /// Retention deletes these tasks.
    pub fn deleted(&mut self, tasks: &[FinishedTask]) -> Result<(), String> {
        for task in tasks {
            let id = self.rows[&task.row];
            let Some(seen) = self.tasks.get_mut(&id) else { continue };
            if seen.listed {
                return Err(format!("docs/architecture.md §4: task {id} is deleted while it is listed"));
            }
            if seen.ended.is_none() {
                return Err(format!("promise 1: task {id} is deleted before its end"));
            }
            seen.deleted = true;
        }
        Ok(())
    }

    pub fn received_by(&mut self, sink: &str, event: &Event) -> Result<(), String> {
        let place = SINKS.iter().position(|name| *name == sink);
        place.map_or(Ok(()), |place| self.received(place, event))
    }

    pub fn received(&mut self, sink: usize, event: &Event) -> Result<(), String> {
        if self.secrets.iter().any(|secret| event.body.contains(secret)) {
            return Err(format!("promise 7: {} has a secret", event.body));
        }
        let before = self.bodies.entry(event.id).or_insert_with(|| event.body.clone());
        if *before != event.body {
            return Err(format!("promise 2: two events share one id: {before} {}", event.body));
        }
        if !self.known[sink].insert(event.id) {
            return Ok(());
        }
        let record: Value = serde_json::from_str(&event.body).map_err(|error| error.to_string())?;
        let reported = schema::reported(&record);
        if !reported.is_empty() {
            return Err(format!("the schema: {reported:?} {}", event.body));
        }
        if event.kind == Kind::GroupFinished {
            Self::group_finished(&record)?;
        }
        self.received[sink].push(record);
        Ok(())
    }

    /// The event of a group counts its tasks.
    fn group_finished(record: &Value) -> Result<(), String> {
        let counts = &record["data"]["counts"];
        let total: u64 = ["success", "failure", "partial", "abandoned"]
            .into_iter()
            .filter_map(|outcome| counts[outcome].as_u64())
            .sum();
        if total == 0 { Err(format!("{record} counts no task")) } else { Ok(()) }
    }

    /// At the end each sink has received all committed events, once and in order, and each final event bounds its lag.
    pub fn at_the_end(&self) -> Result<(), String> {
        for (sink, received) in SINKS.iter().zip(&self.received) {
            for id in self.tasks.keys() {
                let of_task = || {
                    self.decisions.iter().filter(|decision| {
                        decision.task == *id
                            && decision.committed
                            && decision.line.is_some()
                            && decision.sinks.iter().any(|name| name == sink)
                    })
                };
                let wanted: Vec<_> = of_task().filter_map(|decision| decision.line.clone()).collect();
                let records: Vec<_> =
                    received.iter().filter(|record| record["subject"] == format!("bm/{id}")).collect();
                let lines: Vec<_> = records.iter().map(|record| line(record)).collect();
                if lines.len() < wanted.len() {
                    return Err(format!("promise 1: {sink} received {lines:?} of task {id}, not {wanted:?}"));
                }
                if lines != wanted {
                    return Err(format!("promise 4: {sink} received {lines:?} of task {id}, not {wanted:?}"));
                }
                of_task()
                    .zip(&records)
                    .try_for_each(|(decision, record)| lag_is_bounded(decision, record))?;
            }
        }
        self.one_final_event_each()
    }

    fn one_final_event_each(&self) -> Result<(), String> {
        for (id, seen) in &self.tasks {
            let ends = self
                .decisions
                .iter()
                .filter(|decision| decision.task == *id && decision.committed && decision.end.is_some())
                .count();
            if ends + usize::from(seen.ended.is_none()) != seen.rounds {
                return Err(format!(
                    "promise 3: task {id} has {ends} final events in {} rounds",
                    seen.rounds
                ));
            }
        }
        Ok(())
    }
}

fn line(record: &Value) -> String {
    let kind = record["type"].as_str().unwrap_or_default().trim_start_matches("opwatch.task.");
    let data = &record["data"];
    match kind {
        "progressed" => format!("progressed {}", data["status"]),
        "finished" => format!("finished {}", data["outcome"].as_str().unwrap_or_default()),
        "abandoned" => format!("abandoned {}", data["reason"].as_str().unwrap_or_default()),
        other => other.to_owned(),
    }
}

/// Promise 9: the task ended no earlier than the event states.
fn lag_is_bounded(decision: &Decision, record: &Value) -> Result<(), String> {
    let Some((ended, seen)) = decision.ended_and_seen else { return Ok(()) };
    let lag = seen - ended;
    match record["data"]["detected_within_seconds"].as_f64() {
        None if decision.was_stored => Err(format!("promise 9: {record} has no bound of its lag")),
        None => Ok(()),
        Some(bound) if ((bound + decision.slack) * SECOND as f64) < lag as f64 => Err(format!(
            "promise 9: task {} ended {} s ago, not at most {bound}",
            decision.task,
            lag as f64 / SECOND as f64
        )),
        Some(_) => Ok(()),
    }
}
