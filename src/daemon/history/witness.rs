//! What was seen, held against the promises of design.md §3.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::SINKS;
use super::world::{MINUTE, SECOND, SHARES, SIGNATURE, Weather, World, share};
use crate::cloud::Route;
use crate::model::event::{Event, schema};
use crate::model::policy::Policy;
use crate::model::reading::Response;
use crate::model::reading::{Class, Code};
use crate::model::step::Reason;
use crate::model::task::PaceKey;
use crate::model::task::{NewTask, TaskId};
use crate::watch::write::{Step, What, Write};

/// A timer's tick (promise 5).
const TICK: i64 = 5_000;
/// What a `Date` of whole seconds, a slow network and an offset that counts as none may be off (design.md
/// §4).
const CLOCK_SLACK: i64 = 7 * SECOND;
/// An account that is held lets no more than this out in a minute (issue's own bound).
const HELD_A_MINUTE: usize = 20;

pub struct Witness {
    policy: Policy,
    tasks: BTreeMap<u64, Seen>,
    decisions: Vec<Decision>,
    last_ask: HashMap<PaceKey, i64>,
    /// How many tasks of each pace key were given up in this life though the cloud knows them.
    given_up: [usize; SHARES],
    /// When the requests of each account left while its key was wrong, since the first refusal of this life.
    while_wrong: HashMap<String, Vec<i64>>,
    received: [Vec<Value>; SINKS.len()],
    bodies: HashMap<String, String>,
}

/// What is known of a task.
#[derive(Default)]
struct Seen {
    registered: i64,
    timeout: Option<i64>,
    warn_after: Option<i64>,
    run: Option<String>,
    listed: bool,
    exists: bool,
    /// How its round ended.
    ended: Option<Result<(), Reason>>,
    /// Whether a change of this round was made durable.
    stored: bool,
    rounds: usize,
    /// Refusals since the last good answer.
    refusals: Vec<i64>,
}

/// What the loop wants to make durable.
struct Decision {
    task: u64,
    /// The line that a sink is to hear, if any.
    line: Option<String>,
    end: Option<Result<(), Reason>>,
    committed: bool,
    /// When the task really ended, and when that was seen.
    ended_and_seen: Option<(i64, i64)>,
    /// How much the bound of its lag may be short, in seconds.
    slack: f64,
    /// Whether it changes what is known of the task's status.
    is_answer: bool,
    was_stored: bool,
}

impl Witness {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            tasks: BTreeMap::new(),
            decisions: Vec::new(),
            last_ask: HashMap::new(),
            given_up: [0; SHARES],
            while_wrong: HashMap::new(),
            received: [const { Vec::new() }; SINKS.len()],
            bodies: HashMap::new(),
        }
    }

    /// A start lists these.
    pub fn started(&mut self, tasks: &[NewTask], world: &World) {
        self.while_wrong.clear();
        self.given_up = [0; SHARES];
        self.tasks.values_mut().for_each(|seen| seen.listed = false);
        for task in tasks {
            let TaskId::Int(id) = task.id else { continue };
            let seen = self.tasks.entry(id).or_default();
            seen.listed = true;
            let begins = seen.rounds == 0
                || seen.ended.is_some_and(|ended| ended == Err(Reason::Removed))
                || (seen.ended.is_some() && seen.run != task.settings.run);
            if begins {
                let rounds = seen.rounds + 1;
                let exists = world.tasks[&id].exists;
                *seen = Seen { registered: world.now, listed: true, exists, rounds, ..Seen::default() };
            }
            let microseconds = |limit: Option<std::time::Duration>| {
                limit.and_then(|limit| i64::try_from(limit.as_micros()).ok())
            };
            if seen.ended.is_none() {
                seen.timeout = microseconds(task.settings.timeout(self.policy.timeout));
                seen.warn_after = microseconds(task.settings.warn_after(self.policy.warn_after));
                seen.run.clone_from(&task.settings.run);
            }
        }
    }

    /// Whether every open task has its start by the cloud's clock in the store: only then a jump of the local
    /// one can be told.
    pub fn all_seen(&self) -> bool {
        self.tasks.values().all(|seen| seen.ended.is_some() || seen.stored)
    }

    /// A share in which many open tasks are known to the cloud.
    pub fn share_of_many(&self) -> Option<usize> {
        let open = |which: usize| {
            self.tasks
                .iter()
                .filter(|(id, seen)| {
                    share(**id) == which && seen.listed && seen.ended.is_none() && seen.exists
                })
                .count()
        };
        (0..SHARES).find(|which| open(*which) >= 4)
    }

    /// What the cloud knows and has no final word yet. Ids that it does not know may be held for good, if
    /// three are refused alike.
    pub fn open(&self) -> Vec<u64> {
        self.tasks.iter().filter(|(_, seen)| seen.ended.is_none() && seen.exists).map(|(id, _)| *id).collect()
    }

    pub fn asked(&mut self, id: u64, route: &Route, world: &World) -> Result<(), String> {
        let now = world.now;
        let seen = &self.tasks[&id];
        if seen.ended.is_some() {
            return Err(format!("promise 3: task {id} is asked after its final word"));
        }
        let interval = i64::try_from(route.rate.interval().as_micros()).unwrap_or(i64::MAX);
        if let Some(last) = self.last_ask.insert(route.pace_key.clone(), now)
            && now - last < interval - TICK
        {
            return Err(format!(
                "promise 5: two calls of one pace key leave {} µs apart, not {interval}",
                now - last
            ));
        }
        if world.weather == Weather::WrongKey
            && let Some(asks) = self.while_wrong.get_mut(&route.pace_key.secret_id)
        {
            asks.push(now);
            asks.retain(|ask| now - ask < MINUTE);
            if asks.len() > HELD_A_MINUTE {
                return Err(format!("promise 6: {} calls in a minute with a wrong key", asks.len()));
            }
        }
        Ok(())
    }

    pub fn answered(&mut self, id: u64, answer: &Response, now: i64) {
        let seen = self.tasks.entry(id).or_default();
        match &answer.poll {
            Ok(_) => {
                seen.refusals.clear();
                self.while_wrong.clear();
            }
            Err(fault) if fault.class == Class::Task => seen.refusals.push(now),
            Err(fault) if fault.code == Code::Int(4100) => {
                let account = if share(id) == 2 { "AKIDother" } else { "AKIDdefault" };
                self.while_wrong.entry(account.to_owned()).or_default();
            }
            Err(_) => {}
        }
    }

    /// The loop wants to make this durable, over the answer to a request sent then; the answer is its number.
    pub fn decided(&mut self, write: &Write, sent_at: Option<i64>, world: &World) -> Result<usize, String> {
        let Write::Step(step) = write else {
            self.decisions.push(Decision {
                task: 0,
                line: None,
                end: None,
                committed: false,
                ended_and_seen: None,
                slack: 0.0,
                is_answer: false,
                was_stored: false,
            });
            return Ok(self.decisions.len() - 1);
        };
        let Step { task, what, .. } = &**step;
        let TaskId::Int(id) = task.id else { return Err("an id became text".to_owned()) };
        let seen = &self.tasks[&id];
        let plan = &world.tasks[&id];
        let was_stored = seen.stored;
        let (line, end) = match what {
            What::Progressed(previous, reading) => {
                (previous.as_ref().map(|_| format!("progressed {}", reading.status)), None)
            }
            What::Overdue => {
                let due = seen.registered + seen.warn_after.ok_or("overdue without `warn_after`")?;
                if world.now < due - CLOCK_SLACK {
                    return Err(format!(
                        "design.md §4: task {id} is told as overdue {} s early",
                        (due - world.now) / SECOND
                    ));
                }
                (Some("overdue".to_owned()), None)
            }
            What::Ended(Ok((outcome, reading))) => {
                if Code::Int(plan.status_at(world.now)) != reading.status || plan.ends_at() > world.now {
                    return Err(format!("task {id} ended as {outcome}, which it did not"));
                }
                (Some(format!("finished {outcome}")), Some(Ok(())))
            }
            What::Ended(Err((reason, _))) => {
                self.may_abandon(id, *reason, sent_at.unwrap_or(world.now))?;
                (Some(format!("abandoned {reason}")), Some(Err(*reason)))
            }
        };
        // A start after a jump of the local clock estimates the cloud's anew, from one `Date` of whole
        // seconds in a slow answer.
        let slack = if world.jumped { 11.0 } else { 0.002 };
        let is_answer = matches!(what, What::Progressed(..));
        let ended_and_seen = (end == Some(Ok(()))).then_some((plan.ends_at(), world.now));
        self.decisions.push(Decision {
            task: id,
            line,
            end,
            committed: false,
            ended_and_seen,
            slack,
            is_answer,
            was_stored,
        });
        Ok(self.decisions.len() - 1)
    }

    fn may_abandon(&mut self, id: u64, reason: Reason, sent_at: i64) -> Result<(), String> {
        let seen = &self.tasks[&id];
        match reason {
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
                // Two may be: the third that is refused alike tells of a setting.
                let given_up = &mut self.given_up[share(id)];
                *given_up += usize::from(seen.exists);
                if *given_up >= 3 {
                    return Err("promise 6: a list is abandoned over a setting".to_owned());
                }
                if seen.refusals.len() < 3 || over < 30 * SECOND {
                    let count = seen.refusals.len();
                    return Err(format!(
                        "promise 6: task {id} is abandoned after {count} refusals over {} s",
                        over / SECOND
                    ));
                }
            }
            Reason::Removed if seen.listed => return Err(format!("task {id} is removed while it is listed")),
            Reason::Removed => {}
        }
        Ok(())
    }

    /// What was decided is durable.
    pub fn committed(&mut self, number: usize) {
        let decision = &mut self.decisions[number];
        decision.committed = true;
        if let Some(seen) = self.tasks.get_mut(&decision.task) {
            seen.ended = seen.ended.or(decision.end);
            seen.stored |= decision.is_answer;
        }
    }

    /// A delivery is given up. Only what the sink refuses for what it says may be.
    pub fn may_bury(&self, sink: &str, error: &str) -> Result<(), String> {
        if error == "413" { Ok(()) } else { Err(format!("promise 6: {sink} is given up over {error}")) }
    }

    pub fn received(&mut self, sink: usize, event: &Event) -> Result<(), String> {
        let record: Value = serde_json::from_str(&event.body).map_err(|error| error.to_string())?;
        if event.body.contains(SIGNATURE) {
            return Err(format!("promise 7: {record} tells a secret"));
        }
        let before = self.bodies.entry(event.id.to_string()).or_insert_with(|| event.body.clone());
        if *before != event.body {
            return Err(format!("promise 2: two events share one id: {before} {}", event.body));
        }
        let told = schema::told(&record);
        if !told.is_empty() {
            return Err(format!("the schema: {told:?} {}", event.body));
        }
        let known = self.received[sink].iter().any(|known| known["id"] == record["id"]);
        if !known {
            self.received[sink].push(record);
        }
        Ok(())
    }

    /// When all is over: each sink heard of all that was committed, once and in order, and each word says how
    /// late it can be.
    pub fn at_the_end(&self) -> Result<(), String> {
        for (sink, received) in SINKS.iter().zip(&self.received) {
            for id in self.tasks.keys() {
                let of_task = || {
                    self.decisions.iter().filter(|decision| {
                        decision.task == *id && decision.committed && decision.line.is_some()
                    })
                };
                let wanted: Vec<_> = of_task().filter_map(|decision| decision.line.clone()).collect();
                let heard: Vec<_> =
                    received.iter().filter(|record| record["subject"] == format!("bm/{id}")).collect();
                let lines: Vec<_> = heard.iter().map(|record| line(record)).collect();
                if lines.len() < wanted.len() {
                    return Err(format!("promise 1: {sink} heard {lines:?} of task {id}, not {wanted:?}"));
                }
                if lines != wanted {
                    return Err(format!("promise 4: {sink} heard {lines:?} of task {id}, not {wanted:?}"));
                }
                of_task().zip(&heard).try_for_each(|(decision, record)| told_in_time(decision, record))?;
            }
        }
        self.one_final_word_each()
    }

    fn one_final_word_each(&self) -> Result<(), String> {
        for (id, seen) in &self.tasks {
            let ends = self
                .decisions
                .iter()
                .filter(|decision| decision.task == *id && decision.committed && decision.end.is_some())
                .count();
            if ends + usize::from(seen.ended.is_none()) != seen.rounds {
                return Err(format!("promise 3: task {id} has {ends} final words in {} rounds", seen.rounds));
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

/// Promise 9: the task ended no earlier than the event says.
fn told_in_time(decision: &Decision, record: &Value) -> Result<(), String> {
    let Some((ended, seen)) = decision.ended_and_seen else { return Ok(()) };
    let lag = seen - ended;
    match record["data"]["detected_within_seconds"].as_f64() {
        None if decision.was_stored => Err(format!("promise 9: {record} does not say how late it can be")),
        None => Ok(()),
        Some(bound) if ((bound + decision.slack) * SECOND as f64) < lag as f64 => Err(format!(
            "promise 9: task {} ended {} s ago, not at most {bound}",
            decision.task,
            lag as f64 / SECOND as f64
        )),
        Some(_) => Ok(()),
    }
}
