//! A condition that lasts. It is logged when found, and again with backoff while it lasts, so that a recent
//! line exists at any time of the day.

use std::time::Duration;

use crate::clock::{Moment, Steady};

/// The time to the first repetition; it doubles each time.
const FIRST_REPETITION: Duration = Duration::from_secs(60);
/// … up to this.
const LAST_REPETITION: Duration = Duration::from_secs(3600);

/// The start of a condition, and the next repetition of its log line.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    /// When it began.
    pub since: Moment,
    /// When it last was seen.
    seen: Steady,
    log_again: Steady,
    repetition: Duration,
}

impl Lasting {
    /// The condition begins now, and its first line is logged by the caller.
    pub fn new(now: Moment) -> Self {
        Self::unlogged(FIRST_REPETITION, now)
    }

    /// The condition begins now. Its first line is due once it has lasted for `first`.
    pub fn unlogged(first: Duration, now: Moment) -> Self {
        Self { since: now, seen: now.steady, log_again: now.steady + first, repetition: first }
    }

    /// The condition was observed now, perhaps again: an intermittent condition is one, until it is absent
    /// for the longest wait between two repetitions. Returns whether it is logged now.
    pub fn recurs(of: &mut Option<Self>, now: Moment) -> bool {
        match of {
            Some(lasting) if now.steady - lasting.seen < LAST_REPETITION => {
                lasting.seen = now.steady;
                lasting.is_due_again(now.steady)
            }
            Some(_) | None => {
                *of = Some(Self::new(now));
                true
            }
        }
    }

    /// Takes a condition that was not observed for `quiet`: it has ended.
    pub fn ended(of: &mut Option<Self>, quiet: Duration, now: Steady) -> Option<Self> {
        of.take_if(|lasting| now - lasting.seen >= quiet)
    }

    /// From its start to the last observation.
    pub fn observed_for(&self) -> Duration {
        self.seen - self.since.steady
    }

    /// The moment of the next log line.
    pub fn log_again(&self) -> Steady {
        self.log_again
    }

    /// The condition continues. Returns whether it is logged now, and counts that line.
    pub fn is_due_again(&mut self, now: Steady) -> bool {
        if now < self.log_again {
            return false;
        }
        self.repetition = (self.repetition * 2).min(LAST_REPETITION);
        self.log_again = now + self.repetition;
        true
    }

    /// The duration so far.
    pub fn lasted(&self, now: Steady) -> Duration {
        now - self.since.steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intermittent_condition_is_logged_as_one_until_it_is_absent() {
        let moment = |second: i64| Moment { steady: Steady(second * 1_000_000), ..Moment::default() };
        let mut lasting = None;
        let seen = (0..2_000).step_by(10).chain([5_600]);
        let reported: Vec<_> = seen.filter(|second| Lasting::recurs(&mut lasting, moment(*second))).collect();
        assert_eq!(reported, [0, 60, 180, 420, 900, 1860, 5_600]);
    }

    #[test]
    fn a_lasting_condition_is_logged_again_with_backoff() {
        let mut lasting = Lasting::new(Moment::default());
        let reported: Vec<_> =
            (1..=20_000).filter(|second| lasting.is_due_again(Steady(second * 1_000_000))).collect();
        assert_eq!(reported, [60, 180, 420, 900, 1860, 3780, 7380, 10980, 14580, 18180]);
    }
}
