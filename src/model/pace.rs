//! The even pace of one pace key: calls leave at least `1/rate` apart, the first one after a start included.

use std::time::Duration;

use crate::clock::Steady;
use crate::units::Rate;

/// How late a timer may fire without the pace losing that time: two calls are never closer than the interval less this tick
/// (design.md §3, promise 5).
const TICK_MICROSECONDS: i64 = 5_000;

/// When the next call of a pace key may leave.
#[derive(Clone, Debug)]
pub struct Pace {
    interval: Duration,
    next: Steady,
}

impl Pace {
    /// A pace whose first call leaves a whole interval after the start: a program that is restarted in a loop must not call
    /// faster than one that runs.
    pub fn new(rate: Rate, started: Steady) -> Self {
        let interval = rate.interval();
        Self { interval, next: started + interval }
    }

    /// When the next call may leave.
    pub fn next(&self) -> Steady {
        self.next
    }

    /// Takes the slot, if it has come.
    pub fn take(&mut self, now: Steady) -> bool {
        if now < self.next {
            return false;
        }
        // An idle pace key earns no burst; a timer's tick of lateness is forgiven.
        self.next = self.next.max(Steady(now.0 - TICK_MICROSECONDS)) + self.interval;
        true
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
}
