//! Trouble that lasts: it is told when it is found, and again with backoff while it goes on, so that whoever
//! comes at night or in the morning finds a recent line.

use std::time::Duration;

use crate::clock::{Moment, Steady};

/// The first repetition comes after so long, then twice as long each time …
const FIRST_REPETITION: Duration = Duration::from_secs(60);
/// … up to this.
const LAST_REPETITION: Duration = Duration::from_secs(3600);

/// Since when something lasts, and when it is told again.
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
    /// It begins now, and whoever found it tells it now.
    pub fn new(now: Moment) -> Self {
        Self::untold(FIRST_REPETITION, now)
    }

    /// It begins now, and is worth a line only once it has lasted for so long.
    pub fn untold(first: Duration, now: Moment) -> Self {
        Self { since: now, seen: now.steady, log_again: now.steady + first, repetition: first }
    }

    /// It was seen now, perhaps not for the first time: what comes and goes is one trouble, until it stays
    /// away for as long as the longest wait between two repetitions. Whether it is to be told.
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

    /// When it is to be told again.
    pub fn log_again(&self) -> Steady {
        self.log_again
    }

    /// It goes on. Whether it is to be told again now, which counts as done then.
    pub fn is_due_again(&mut self, now: Steady) -> bool {
        if now < self.log_again {
            return false;
        }
        self.repetition = (self.repetition * 2).min(LAST_REPETITION);
        self.log_again = now + self.repetition;
        true
    }

    /// How long it has lasted.
    pub fn lasted(&self, now: Steady) -> Duration {
        now - self.since.steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_told_as_one_until_it_stays_away() {
        let moment = |second: i64| Moment { steady: Steady(second * 1_000_000), ..Moment::default() };
        let mut lasting = None;
        let seen = (0..2_000).step_by(10).chain([5_600]);
        let told: Vec<_> = seen.filter(|second| Lasting::recurs(&mut lasting, moment(*second))).collect();
        assert_eq!(told, [0, 60, 180, 420, 900, 1860, 5_600]);
    }

    #[test]
    fn what_lasts_is_told_again_with_backoff() {
        let mut lasting = Lasting::new(Moment::default());
        let told: Vec<_> =
            (1..=20_000).filter(|second| lasting.is_due_again(Steady(second * 1_000_000))).collect();
        assert_eq!(told, [60, 180, 420, 900, 1860, 3780, 7380, 10980, 14580, 18180]);
    }
}
