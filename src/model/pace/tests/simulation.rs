//! Programs with a backlog that never ends, against a server that counts requests at their arrival. Every
//! request is checked against the configured rate, and every recovery against its 2 min.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::super::{Pace, TICK_MICROSECONDS};
use crate::clock::Steady;
use crate::units::Rate;

const SECOND: i64 = 1_000_000;
const RECOVERY: i64 = 120 * SECOND;
/// Second at which the second of two programs starts.
const LATER_START: i64 = 17;

/// Windows in which a server counts.
#[derive(Clone, Copy, Debug)]
pub enum Windows {
    /// The last period, at each request.
    Sliding,
    /// One period after the other.
    Fixed,
}

/// One simulated history.
#[derive(Clone, Copy, Debug)]
pub struct PaceHistory {
    pub rate: Rate,
    pub programs: usize,
    pub windows: Windows,
    /// Quota in one period of the rate, at that second.
    pub quota: fn(i64) -> usize,
    /// Mean time from the arrival of a request to its response.
    pub latency: Duration,
}

/// Numbers of responses to the requests that arrived during some time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub accepted: usize,
    pub refused: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrival,
    Response { refused: bool },
}

struct PollingProgram {
    pace: Pace,
    started: i64,
    wake: i64,
    requests: i64,
    last_request: i64,
    last_refusal: i64,
}

impl PaceHistory {
    /// Runs until the last of the seconds, and counts from the first one.
    pub fn run(self, seconds: std::ops::Range<i64>) -> Counted {
        let mut chance = Chance(7);
        let mut programs: Vec<_> = (0..self.programs as i64)
            .map(|index| PollingProgram::start(self.rate, index * LATER_START * SECOND))
            .collect();
        let mut events: BinaryHeap<Reverse<(i64, usize, i64, What)>> = BinaryHeap::new();
        let mut accepted = VecDeque::new();
        let mut counted = Counted::default();
        loop {
            let woken = programs.iter().map(|program| program.wake).min().unwrap();
            let now = events.peek().map_or(woken, |Reverse((at, ..))| woken.min(*at));
            if now >= seconds.end * SECOND {
                return counted;
            }
            if now == woken {
                let index = programs.iter().position(|program| program.wake == now).unwrap();
                programs[index].send(self.rate, now, &mut chance);
                events.push(Reverse((now + chance.around(20_000), index, now, What::Arrival)));
                continue;
            }
            let Some(Reverse((_, index, sent, what))) = events.pop() else { continue };
            match what {
                What::Arrival => {
                    let refused = !self.accepts(&mut accepted, now);
                    if now >= seconds.start * SECOND {
                        *(if refused { &mut counted.refused } else { &mut counted.accepted }) += 1;
                    }
                    let latency = chance.around(self.latency.as_micros() as i64);
                    events.push(Reverse((now + latency, index, sent, What::Response { refused })));
                }
                What::Response { refused: true } => programs[index].refused(sent, now, &mut chance),
                What::Response { refused: false } => {}
            }
        }
    }

    /// Part of the quota that is used, and part of the requests that are refused.
    pub fn steady_state(self, seconds: std::ops::Range<i64>) -> (f64, f64) {
        let Counted { accepted, refused } = self.run(seconds.clone());
        let quota: f64 = seconds.map(|second| (self.quota)(second) as f64).sum();
        let allowed = quota / self.rate.period().as_secs_f64();
        (accepted as f64 / allowed, refused as f64 / (accepted + refused) as f64)
    }

    fn accepts(&self, accepted: &mut VecDeque<i64>, now: i64) -> bool {
        let period = self.rate.period().as_micros() as i64;
        let begin = match self.windows {
            Windows::Sliding => now - period + 1,
            Windows::Fixed => now - now % period,
        };
        while accepted.front().is_some_and(|at| *at < begin) {
            accepted.pop_front();
        }
        let accepts = accepted.len() < (self.quota)(now / SECOND);
        if accepts {
            accepted.push_back(now);
        }
        accepts
    }
}

impl PollingProgram {
    fn start(rate: Rate, started: i64) -> Self {
        let pace = Pace::new(rate, Steady(started));
        let wake = pace.next().0;
        let never = started - RECOVERY;
        Self { pace, started, wake, requests: 0, last_request: never, last_refusal: never }
    }

    fn send(&mut self, rate: Rate, now: i64, chance: &mut Chance) {
        assert!(self.pace.take(Steady(now)));
        self.requests += 1;
        let interval = rate.interval().as_micros() as i64;
        let distance = now - self.last_request;
        assert!(distance >= interval - TICK_MICROSECONDS, "{distance} µs apart at {now}");
        let elapsed = now - self.started;
        assert!(self.requests * interval <= elapsed, "{} in {elapsed} µs", self.requests);
        let full = (now + interval).max(self.last_refusal + RECOVERY + interval);
        let next = self.pace.next();
        assert!(next.0 <= full, "the full rate {} µs late at {now}", next.0 - full);
        let recovered = now >= self.last_refusal + RECOVERY;
        assert!(!recovered || self.pace.spacing(Steady(now)) == rate.interval());
        assert!(!recovered || !self.pace.is_throttled(Steady(now)));
        self.last_request = now;
        self.wake = next.0 + chance.lateness();
    }

    fn refused(&mut self, sent: i64, now: i64, chance: &mut Chance) {
        self.last_refusal = now;
        self.pace.throttled(Steady(sent), Steady(now));
        assert!(self.pace.is_throttled(Steady(now)));
        self.wake = self.wake.max(self.pace.next().0 + chance.lateness());
    }
}

/// A linear congruential generator: every run is the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % limit
    }

    fn around(&mut self, mean: i64) -> i64 {
        mean * 4 / 5 + self.below(mean * 2 / 5)
    }

    fn lateness(&mut self) -> i64 {
        self.below(TICK_MICROSECONDS)
    }
}
