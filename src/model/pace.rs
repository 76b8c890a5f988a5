//! The even pace of one pace key: calls leave at least `1/rate` apart, the first one after a start included.

use std::time::Duration;

use crate::clock::Steady;
use crate::units::Rate;

/// How late a timer may fire without the pace losing that time: two calls are never closer than the interval
/// less this tick (design.md §3, promise 5).
const TICK_MICROSECONDS: i64 = 5_000;

/// When the next call of a pace key may leave.
#[derive(Clone, Debug)]
pub struct Pace {
    /// At the full rate.
    interval: Duration,
    /// The part of the full rate that is used now, from [`SLOWEST`] to 1.
    part: f64,
    /// When it was last slowed down: answers to what was sent before say nothing new.
    slowed: Steady,
    next: Steady,
}

/// The least part of the rate: a pace key that is throttled for hours is still asked now and then.
const SLOWEST: f64 = 1.0 / 64.0;
/// How much faster each good answer makes a pace that was slowed down: twice as fast after some twenty.
const CLIMB: f64 = 1.0 + 1.0 / 32.0;
/// The part of the rate with which a pace goes on after an outage, instead of with a herd.
const AFTER_OUTAGE: f64 = 0.25;
/// A server that asks for more than this is not believed (design.md §4).
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

impl Pace {
    /// A pace whose first call leaves a whole interval after the start: a program that is restarted in a loop
    /// must not call faster than one that runs.
    pub fn new(rate: Rate, started: Steady) -> Self {
        let interval = rate.interval();
        Self { interval, part: 1.0, slowed: started, next: started + interval }
    }

    /// A pace without a rate of its own, which only a `Retry-After` blocks.
    pub fn unlimited() -> Self {
        Self { interval: Duration::ZERO, part: 1.0, slowed: Steady(i64::MIN), next: Steady(i64::MIN) }
    }

    /// Another user of the same pace allows itself no more than this.
    pub fn lower(&mut self, rate: Rate) {
        self.interval = self.interval.max(rate.interval());
    }

    /// When the next call may leave.
    pub fn next(&self) -> Steady {
        self.next
    }

    /// How far apart calls leave now.
    pub fn spacing(&self) -> Duration {
        self.interval.div_f64(self.part)
    }

    /// Takes the slot, if it has come.
    pub fn take(&mut self, now: Steady) -> bool {
        if now < self.next {
            return false;
        }
        // An idle pace key earns no burst; a timer's tick of lateness is forgiven.
        self.next = self.next.max(Steady(now.0 - TICK_MICROSECONDS)) + self.spacing();
        true
    }

    /// The answer to a call sent then was "too many calls": half the rate, once for all that were under way.
    pub fn throttled(&mut self, sent: Steady, now: Steady) {
        if sent >= self.slowed {
            self.slow_to(self.part / 2.0, now);
        }
    }

    /// An outage or a hold is over: the rate climbs back.
    pub fn resumed(&mut self, now: Steady) {
        self.slow_to(self.part.min(AFTER_OUTAGE), now);
    }

    /// A good answer: the rate climbs back by itself.
    pub fn answered_well(&mut self) {
        self.part = (self.part * CLIMB).min(1.0);
    }

    /// The server asked to be left alone for so long.
    pub fn retry_after(&mut self, wait: Duration, now: Steady) {
        self.next = self.next.max(now + wait.min(LONGEST_RETRY_AFTER));
    }

    fn slow_to(&mut self, part: f64, now: Steady) {
        self.part = part.max(SLOWEST);
        self.slowed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(calls_a_second: f64) -> Pace {
        Pace::new(Rate::new(calls_a_second, Duration::from_secs(1)).unwrap(), Steady(0))
    }

    #[test]
    fn the_first_call_waits_a_whole_interval_after_the_start() {
        let mut pace = pace(20.0);
        assert!(!pace.take(Steady(49_999)));
        assert!(pace.take(Steady(50_000)));
    }

    #[test]
    fn calls_are_never_closer_than_the_interval_less_a_tick_and_idleness_earns_no_burst() {
        let mut pace = pace(20.0);
        let mut last = None;
        for now in (0..10_000_000).step_by(700).filter(|now| !(2_000_000..5_000_000).contains(now)) {
            if pace.take(Steady(now))
                && let Some(last) = last.replace(now)
            {
                assert!(now - last >= 45_000, "{} µs apart", now - last);
            }
        }
    }

    #[test]
    fn a_late_timer_does_not_cost_the_average_rate() {
        let mut pace = pace(100.0);
        let calls = (0..10_000_000).step_by(1_000).filter(|now| pace.take(Steady(now + 300))).count();
        assert_eq!(calls, 999);
    }

    #[test]
    fn throttling_halves_the_rate_once_for_all_that_was_under_way_and_it_climbs_back() {
        let mut pace = pace(10.0);
        let gap = |pace: &mut Pace, now: i64| {
            assert!(pace.take(Steady(now)));
            pace.next().0 - now
        };
        pace.throttled(Steady(1_000), Steady(50_000));
        pace.throttled(Steady(2_000), Steady(51_000));
        assert_eq!(gap(&mut pace, 1_000_000), 200_000 - TICK_MICROSECONDS);
        pace.throttled(Steady(60_000), Steady(70_000));
        assert_eq!(gap(&mut pace, 2_000_000), 400_000 - TICK_MICROSECONDS);
        (0..100).for_each(|_| pace.answered_well());
        assert_eq!(gap(&mut pace, 3_000_000), 100_000 - TICK_MICROSECONDS);
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks_but_at_most_an_hour() {
        let mut pace = pace(10.0);
        pace.retry_after(Duration::from_secs(90_000), Steady(0));
        assert_eq!(pace.next(), Steady(3_600_000_000));
        pace.retry_after(Duration::from_secs(1), Steady(0));
        assert_eq!(pace.next(), Steady(3_600_000_000));
    }
}
