//! What happens outside: the truth about each task, the weather of the cloud, and the clocks.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::SINKS;
use crate::clock::{Moment, Steady, Wall};
use crate::cloud::Route;
use crate::model::delivery::Refusal;
use crate::model::delivery::{Retry, Sending};
use crate::model::event::Event;
use crate::model::policy::Policy;
use crate::model::reading::Response;
use crate::model::reading::{Class, Code, Fault};
use crate::secret::Secret;
use crate::units::{Limit, Span};

/// Microseconds.
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
/// True wall time at the start of a history.
const EPOCH_MS: i64 = 1_764_000_000_000;
/// What every request is signed with; the server echoes it where it refuses something.
pub const SIGNATURE: &str = "c2lnbmVkIGJ5IGhhbmQ=";
/// As `[poll] request_timeout`.
const REQUEST_TIMEOUT: i64 = 10 * SECOND;

/// Which share of the tasks one belongs to: half of them is asked for with other credentials or in another
/// region.
pub fn share(id: u64) -> usize {
    [0, 0, 1, 2][(id % 4) as usize]
}

/// How many shares there are.
pub const SHARES: usize = 3;

/// How the cloud behaves for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Single faults now and then.
    Fair,
    /// No request is answered well.
    Outage,
    /// The credentials are refused.
    WrongKey,
    /// Every id of that share is refused, as with a wrong region.
    Refuses(usize),
    /// Many calls are too many.
    Busy,
}

pub struct World {
    pub rng: StdRng,
    /// Microseconds since the history began, in truth.
    pub now: i64,
    /// The local wall clock minus the truth, in milliseconds.
    wall_error: i64,
    /// Whether it ever jumped.
    pub jumped: bool,
    pub tasks: BTreeMap<u64, Plan>,
    pub weather: Weather,
    is_calm: bool,
    pub moods: [Mood; SINKS.len()],
}

/// How a sink behaves for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It accepts; now and then an attempt fails, or is accepted and not heard.
    Well,
    /// Nothing is accepted, and that passes.
    Down,
    /// The login is refused.
    Refuses,
    /// Some events are refused for what they say.
    Picky,
}

/// The truth about a task.
pub struct Plan {
    /// Whether the cloud knows its id.
    pub exists: bool,
    /// Its statuses, and when each begins; the last one is final.
    pub statuses: Vec<(i64, i64)>,
}

impl Plan {
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
            now: 0,
            wall_error: 0,
            jumped: false,
            tasks: BTreeMap::new(),
            weather: Weather::Fair,
            is_calm: false,
            moods: [Mood::Well; SINKS.len()],
        }
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.rng.random_range(0..choices.len())]
    }

    /// A span up to that long.
    pub fn within(&mut self, longest: i64) -> i64 {
        self.rng.random_range(0..=longest)
    }

    /// A new task, which runs for a second to twelve hours from now.
    pub fn add_task(&mut self) -> u64 {
        let id = self.tasks.len() as u64 + 1;
        let lasts = (12.0 * HOUR as f64).powf(self.rng.random_range(0.7..1.0)) as i64;
        let mut statuses: Vec<_> = (0..self.rng.random_range(0..3))
            .map(|_| (self.now + self.within(lasts), *self.pick(&[4, 5, 6, 7])))
            .collect();
        statuses.sort_unstable();
        statuses.push((self.now + lasts, *self.pick(&[1, 2, 3])));
        let exists = self.rng.random_bool(0.9);
        self.tasks.insert(id, Plan { exists, statuses });
        id
    }

    pub fn change(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Nothing goes wrong any more, and what runs comes to its end.
    pub fn calm(&mut self) {
        self.weather = Weather::Fair;
        self.is_calm = true;
        self.moods = [Mood::Well; SINKS.len()];
    }

    /// The local wall clock jumps, by seconds or by years.
    pub fn jump(&mut self) {
        self.jumped = true;
        let hours = *self.pick(&[-50_000, -2, 0, 0, 1, 50_000]);
        self.wall_error = hours * 3_600_000 + self.rng.random_range(-4_000..4_000);
    }

    /// How long a process is gone.
    pub fn downtime(&mut self) -> i64 {
        let longest = *self.pick(&[0, SECOND, MINUTE, 2 * HOUR]);
        self.within(longest)
    }

    pub fn local_wall(&self) -> i64 {
        EPOCH_MS + self.now / 1000 + self.wall_error
    }

    pub fn moment(&self, started: i64) -> Moment {
        Moment { steady: Steady(self.now - started), wall: Wall(self.local_wall()) }
    }

    /// How each sink is sent to: one takes several events at once and one attempt at a time, the other one
    /// event and several.
    pub fn sendings(&self) -> [Sending; SINKS.len()] {
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

    /// An attempt of a sink: what comes of it, and how long it takes. What it accepts is handed on.
    pub fn deliver(
        &mut self,
        sink: usize,
        events: &[Event],
        mut accept: impl FnMut(&Event) -> Result<(), String>,
    ) -> Result<(Result<(), Refusal>, i64), String> {
        let takes = if self.rng.random_bool(0.05) { self.within(10 * SECOND) } else { self.within(100_000) };
        let fails = self.rng.random_bool(0.1);
        let unheard = self.rng.random_bool(0.1);
        let stray = !self.is_calm && fails;
        let result = match self.moods[sink] {
            Mood::Down => Err(Refusal::passing("500")),
            Mood::Refuses => Err(Refusal::of_sink("401")),
            Mood::Picky if events.iter().any(|event| event.id.as_u128() % 5 == 0) => {
                Err(Refusal::of_event("413"))
            }
            Mood::Well | Mood::Picky if stray => Err(Refusal::passing("502")),
            Mood::Well | Mood::Picky => {
                events.iter().try_for_each(&mut accept)?;
                if unheard && !self.is_calm { Err(Refusal::passing("timeout")) } else { Ok(()) }
            }
        };
        Ok((result, takes))
    }

    /// The answer to a request that leaves now, and when it is there.
    pub fn answer(&mut self, id: u64, route: &Route) -> (Response, i64) {
        let latency =
            if self.rng.random_bool(0.1) { self.within(9 * SECOND) } else { 5_000 + self.within(200_000) };
        let at = self.now + latency / 2;
        let signature = Secret::new(SIGNATURE);
        let read = |body: &str| Response {
            poll: route.understood(200, None, body.as_bytes().to_vec(), &signature),
            date: None,
        };
        let refused = |code: i64| read(&format!(r#"{{"code":{code},"message":"refused: {SIGNATURE}"}}"#));
        let fault = |class, what: &str| {
            let fault =
                Fault { class, code: Code::Text(what.into()), message: String::new(), retry_after: None };
            Response { poll: Err(fault), date: None }
        };
        let trouble = self.rng.random_range(0..6);
        let chance = self.rng.random_bool(if self.is_calm { 0.0 } else { 0.03 });
        let single = || match trouble {
            0 => (fault(Class::Connection, "connection_lost"), latency),
            1 => (fault(Class::Service, "timeout"), REQUEST_TIMEOUT),
            2 => (refused(6000), latency),
            3 => (refused(4500), latency),
            4 => (read("<html>"), latency),
            _ => (refused(9001), latency),
        };
        let good = || {
            let plan = &self.tasks[&id];
            if !plan.exists {
                return refused(5000);
            }
            let status = plan.status_at(at);
            read(&format!(
                r#"{{"code":0,"data":{{"status":{status},"instanceIds":[{{"instanceId":"a","status":{status}}}]}}}}"#
            ))
        };
        let (mut answer, latency) = match self.weather {
            _ if chance => single(),
            Weather::Fair => (good(), latency),
            Weather::Outage => single(),
            Weather::WrongKey => (refused(4100), latency),
            Weather::Refuses(which) => (if share(id) == which { refused(5000) } else { good() }, latency),
            Weather::Busy => (if trouble == 0 { refused(4400) } else { good() }, latency),
        };
        let silent = answer.poll.as_ref().is_err_and(|fault| matches!(fault.code, Code::Text(_)));
        answer.date = (!silent).then_some(Wall((EPOCH_MS + at / 1000) / 1000 * 1000));
        (answer, self.now + latency)
    }
}
