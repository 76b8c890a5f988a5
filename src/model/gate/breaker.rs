//! The circuit breaker: it opens when most of the recent calls failed by a fault of the other side, and closes with
//! the first probe that succeeds.

use super::super::policy::Waits;
use super::probes::Probes;
use crate::clock::Moment;

/// Recent calls. With ten, failures of one task do not open the breaker for all others. They take seconds at
/// any documented rate.
const WINDOW: u32 = 10;
/// The fewest calls that can open the circuit breaker.
const ENOUGH: u32 = 5;

/// The circuit breaker of a gate.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// The latest calls, the last one in the lowest bit; 1 is a failure.
    recent: u16,
    /// Number of calls in `recent`, at most [`WINDOW`].
    counted: u32,
    open: Option<Probes>,
}

impl Breaker {
    /// The probes, while the circuit breaker is open.
    pub fn probes(&self) -> Option<&Probes> {
        self.open.as_ref()
    }

    /// The probes, to change their times.
    pub fn probes_mut(&mut self) -> Option<&mut Probes> {
        self.open.as_mut()
    }

    /// The other side responded. Returns the probes, if that closed the circuit breaker.
    pub fn succeeded(&mut self) -> Option<Probes> {
        let probes = self.open.take();
        match probes {
            Some(_) => *self = Self::default(),
            None => self.count(0),
        }
        probes
    }

    /// The other side failed. Returns whether that opened the circuit breaker.
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
