//! The world of a history: the true state of each task, the faults of the cloud, the behaviour of the sinks.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::SINKS;
use crate::clock::Wall;
use crate::cloud::codes::Missing;
use crate::model::delivery::{Refusal, Retry, Sending};
use crate::model::event::Event;
use crate::model::policy::Policy;
use crate::units::{Limit, Span};

/// Microseconds.
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
/// True wall time at the start of a history.
pub const EPOCH_MS: i64 = 1_764_000_000_000;
/// A secret that the program does not know: its echo shows that the witness reads every event.
pub const UNKNOWN_SECRET: &str = "c2lnbmVkIGJ5IGhhbmQ=";

/// The share of a task: its account and region.
pub fn share(id: u64) -> usize {
    [0, 0, 1, 2][(id % 4) as usize]
}

/// The share of the second account.
pub const OTHER: usize = 2;
/// Number of shares.
pub const SHARES: usize = 3;

/// The behaviour of the cloud for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Single faults now and then.
    Fair,
    /// No request has a good response.
    Outage,
    /// The credentials are refused.
    WrongKey,
    /// Every id of that share is refused, as with a wrong region.
    Refuses(usize),
    /// Many requests are throttled.
    Busy,
    /// Responses carry no `Date`.
    Undated,
}

/// The behaviour of a sink for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkBehaviour {
    /// Accepts; sometimes an attempt fails, or is accepted and its response is lost.
    Well,
    /// Nothing is accepted, and that passes.
    Down,
    /// The login is refused.
    Refuses,
    /// Some events are refused for their content.
    Picky,
}

/// The truth about a task.
pub struct TaskPlan {
    /// Whether the cloud knows its id.
    pub exists: bool,
    /// Its statuses, and the start of each; the last one is final.
    pub statuses: Vec<(i64, i64)>,
}

/// The response to a request, as the cloud sends it.
pub struct Reply {
    pub body: Result<String, Missing>,
    pub date: Option<Wall>,
    /// Time from request to response.
    pub latency: i64,
}

pub struct World {
    pub rng: StdRng,
    /// Whether the local wall clock ever jumped.
    pub jumped: bool,
    pub tasks: BTreeMap<u64, TaskPlan>,
    pub weather: Weather,
    is_calm: bool,
    pub moods: [SinkBehaviour; SINKS.len()],
}

impl TaskPlan {
    pub fn status_at(&self, moment: i64) -> i64 {
        self.statuses.iter().rev().find(|(begins, _)| *begins <= moment).map_or(4, |(_, status)| *status)
    }

    pub fn ends_at(&self) -> i64 {
        self.statuses.last().map_or(0, |(begins, _)| *begins)
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            jumped: false,
            tasks: BTreeMap::new(),
            weather: Weather::Fair,
            is_calm: false,
            moods: [SinkBehaviour::Well; SINKS.len()],
        }
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.rng.random_range(0..choices.len())]
    }

    /// A span of at most that length.
    pub fn within(&mut self, longest: i64) -> i64 {
        self.rng.random_range(0..=longest)
    }

    /// A new task, which ends between half a minute and twelve hours from now. The cloud does not know one in ten.
    pub fn add_task(&mut self, now: i64) -> u64 {
        let id = self.tasks.len() as u64 + 1;
        let lasts = (12.0 * HOUR as f64).powf(self.rng.random_range(0.7..1.0)) as i64;
        let mut statuses = Vec::new();
        for _ in 0..self.rng.random_range(0..3) {
            statuses.push((now + self.within(lasts), *self.pick(&[4, 5, 6, 7])));
        }
        statuses.sort_unstable();
        statuses.push((now + lasts, *self.pick(&[1, 2, 3])));
        let exists = self.rng.random_bool(0.9);
        self.tasks.insert(id, TaskPlan { exists, statuses });
        id
    }

    /// From now on nothing fails, and every task ends.
    pub fn calm(&mut self) {
        self.weather = Weather::Fair;
        self.is_calm = true;
        self.moods = [SinkBehaviour::Well; SINKS.len()];
    }

    /// A jump of the local wall clock, in milliseconds: by seconds or by years.
    pub fn jump(&mut self) -> i64 {
        self.jumped = true;
        let hours = *self.pick(&[-50_000, -2, 0, 0, 1, 50_000]);
        hours * 3_600_000 + self.rng.random_range(-4_000..4_000)
    }

    /// The time for which no process runs.
    pub fn downtime(&mut self) -> i64 {
        let longest = *self.pick(&[0, SECOND, MINUTE, 2 * HOUR]);
        self.within(longest)
    }

    /// The keys of the sinks: one sends several events in one attempt, and one attempt at a time; the other
    /// sends one event in an attempt, and several attempts.
    pub fn sendings() -> [Sending; SINKS.len()] {
        let one = Sending {
            batch: 4,
            gather: None,
            max_in_flight: 1,
            rate: None,
            retry: Retry { max: Span::seconds(60), give_up_after: Limit(None), ..Retry::default() },
            held: Policy::default().error_waits(),
        };
        [one, Sending { batch: 1, max_in_flight: 3, ..one }]
    }

    /// The result of an attempt, its duration, and whether the sink accepts the events.
    pub fn attempt(&mut self, sink: usize, events: &[Event]) -> (Result<(), Refusal>, i64, bool) {
        let takes = if self.rng.random_bool(0.05) { self.within(10 * SECOND) } else { self.within(100_000) };
        let fails = self.rng.random_bool(0.1) && !self.is_calm;
        let is_lost = self.rng.random_bool(0.1) && !self.is_calm;
        let is_picked = events.iter().any(|event| event.id.as_u128() % 5 == 0);
        match self.moods[sink] {
            SinkBehaviour::Down => (Err(Refusal::passing("500")), takes, false),
            SinkBehaviour::Refuses => (Err(Refusal::of_sink("401")), takes, false),
            SinkBehaviour::Picky if is_picked => (Err(Refusal::of_event("413")), takes, false),
            SinkBehaviour::Well | SinkBehaviour::Picky if fails => {
                (Err(Refusal::passing("502")), takes, false)
            }
            SinkBehaviour::Well | SinkBehaviour::Picky if is_lost => {
                (Err(Refusal::passing("timeout")), takes, true)
            }
            SinkBehaviour::Well | SinkBehaviour::Picky => (Ok(()), takes, true),
        }
    }

    /// The response to a request that leaves now; refusals echo `secret`.
    pub fn respond(&mut self, id: u64, now: i64, secret: &str) -> Reply {
        let is_slow = self.rng.random_bool(0.1);
        let latency = if is_slow { self.within(9 * SECOND) } else { 5_000 + self.within(200_000) };
        let at = now + latency / 2;
        let refused = |code: i64| Ok(format!(r#"{{"code":{code},"message":"refused: {secret}"}}"#));
        let trouble = self.rng.random_range(0..6);
        let is_stray = !self.is_calm && self.rng.random_bool(0.03);
        let single = || match trouble {
            0 => Err(Missing::ConnectionLost),
            1 => Err(Missing::Timeout),
            2 => refused(6000),
            3 => refused(4500),
            4 => Ok("<html>".to_owned()),
            _ => refused(9001),
        };
        let good = || {
            let plan = &self.tasks[&id];
            if !plan.exists {
                return refused(5000);
            }
            let status = plan.status_at(at);
            let instances = format!(r#"[{{"instanceId":"a","status":{status}}}]"#);
            Ok(format!(r#"{{"code":0,"data":{{"status":{status},"instanceIds":{instances}}}}}"#))
        };
        let body = match self.weather {
            _ if is_stray => single(),
            Weather::Fair | Weather::Undated => good(),
            Weather::Outage => single(),
            Weather::WrongKey => refused(4100),
            Weather::Refuses(which) if share(id) == which => refused(5000),
            Weather::Refuses(_) => good(),
            Weather::Busy if trouble == 0 => refused(4400),
            Weather::Busy => good(),
        };
        let is_dated = body.is_ok() && self.weather != Weather::Undated;
        Reply { body, date: is_dated.then_some(Wall((EPOCH_MS + at / 1000) / 1000 * 1000)), latency }
    }
}
