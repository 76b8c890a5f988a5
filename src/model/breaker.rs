//! When to stop asking for a while: the probes of a pace key or a sink that fails, and of anything that is
//! held.

use std::time::Duration;

use super::lasting::Lasting;
use super::policy::Waits;
use crate::clock::{Moment, Steady};

/// The times at which single probes go out: after the first wait, then doubling up to the longest. And for
/// how long it has been so.
#[derive(Clone, Debug, PartialEq)]
pub struct Probes {
    /// Since when only probes go out.
    pub lasting: Lasting,
    next: Steady,
    wait: Duration,
    waits: Waits,
}

impl Probes {
    /// The first probe goes out after the first wait from now.
    pub fn new(waits: Waits, now: Moment) -> Self {
        Self { lasting: Lasting::new(now), next: now.steady + waits.first, wait: waits.first, waits }
    }

    /// When the next one may go out.
    pub fn next(&self) -> Steady {
        self.next
    }

    /// A probe failed: the next one waits twice as long. Whether that is to be told again.
    pub fn failed(&mut self, now: Steady) -> bool {
        self.postponed(now);
        self.lasting.goes_on(now)
    }

    /// There was nothing to probe with: the next one waits twice as long.
    pub fn postponed(&mut self, now: Steady) {
        self.wait = (self.wait * 2).min(self.waits.longest);
        self.next = now + self.wait;
    }

    /// Something changed that may mend it: the next probe goes out at once, and they start over.
    pub fn at_once(&mut self, now: Steady) {
        self.next = now;
        self.wait = self.waits.first;
    }
}

/// The breaker of a pace key or a sink: it opens when most recent tries failed for reasons of the other side,
/// and closes with the first that does not.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// The latest tries, the last one in the lowest bit; 1 is a failure.
    recent: u16,
    /// How many of them there were, up to [`WINDOW`].
    counted: u32,
    open: Option<Probes>,
}

/// How many polls are "recent": enough that one task's own trouble opens nothing among several, few enough to
/// react within seconds at any documented rate.
const WINDOW: u32 = 10;
/// So few polls say nothing yet.
const ENOUGH: u32 = 5;

impl Breaker {
    /// The probes, while it is open.
    pub fn open(&self) -> Option<&Probes> {
        self.open.as_ref()
    }

    /// The probes, to set their times.
    pub fn open_mut(&mut self) -> Option<&mut Probes> {
        self.open.as_mut()
    }

    /// The service answered. The probes, if that closed it.
    pub fn succeeded(&mut self) -> Option<Probes> {
        let probes = self.open.take();
        match probes {
            Some(_) => *self = Self::default(),
            None => self.count(0),
        }
        probes
    }

    /// The service failed. Whether that opened it.
    pub fn failed(&mut self, waits: Waits, now: Moment) -> bool {
        self.count(1);
        let failures = self.recent.count_ones();
        if self.open.is_some() || self.counted < ENOUGH || failures * 2 <= self.counted {
            return false;
        }
        self.open = Some(Probes::new(waits, now));
        true
    }

    fn count(&mut self, failure: u16) {
        self.recent = (self.recent << 1 | failure) & ((1 << WINDOW) - 1);
        self.counted = (self.counted + 1).min(WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::model::policy::Policy;

    const NOW: Moment = Moment { steady: Steady(0), wall: Wall(0) };

    #[test]
    fn it_opens_when_most_of_enough_recent_polls_failed_and_closes_with_the_first_good_one() {
        let mut breaker = Breaker::default();
        let waits = Policy::default().error_waits();
        let opened: Vec<_> = (0..6).map(|_| breaker.failed(waits, NOW)).collect();
        assert_eq!(opened, [false, false, false, false, true, false]);
        assert!(breaker.succeeded().is_some() && breaker.open().is_none() && breaker.succeeded().is_none());
    }

    #[test]
    fn one_failing_task_among_three_opens_nothing() {
        let mut breaker = Breaker::default();
        let waits = Policy::default().error_waits();
        for _ in 0..100 {
            breaker.succeeded();
            assert!(!breaker.failed(waits, NOW));
            breaker.succeeded();
        }
    }

    #[test]
    fn probes_back_off_and_start_over_when_something_changed() {
        let mut probes = Probes::new(Policy::default().error_waits(), NOW);
        let waits: Vec<_> = (0..7)
            .map(|_| {
                let wait = probes.next() - NOW.steady;
                probes.failed(NOW.steady);
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        probes.at_once(NOW.steady);
        assert_eq!(probes.next(), NOW.steady);
    }
}
