//! Times of the single calls that leave while a gate is on hold or its circuit breaker is open.

use std::time::Duration;

use super::super::lasting::Lasting;
use super::super::policy::Waits;
use crate::clock::{Moment, Steady};

/// The times of probes: the first wait, doubled up to the longest; and the duration of the failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Probes {
    /// The duration of the failure, and the next repetition of its log line.
    pub lasting: Lasting,
    next: Steady,
    wait: Duration,
    waits: Waits,
    failed: u32,
}

impl Probes {
    /// Probes. The first is due after the first wait from now.
    pub fn new(waits: Waits, now: Moment) -> Self {
        let next = now.steady + waits.first;
        Self { lasting: Lasting::new(now), next, wait: waits.first, waits, failed: 0 }
    }

    /// The earliest moment of the next probe.
    pub fn next(&self) -> Steady {
        self.next
    }

    /// Number of probes that failed.
    pub fn failed_probes(&self) -> u32 {
        self.failed
    }

    /// A probe failed: the next one waits twice as long. Returns whether the log line is due.
    pub fn failed(&mut self, now: Steady) -> bool {
        self.failed = self.failed.saturating_add(1);
        self.postpone(now);
        self.lasting.is_due_again(now)
    }

    /// No call was available: the next probe waits twice as long.
    pub fn postpone(&mut self, now: Steady) {
        self.wait = (self.wait * 2).min(self.waits.longest);
        self.next = now + self.wait;
    }

    /// The next probe is due now, and the waits start over.
    pub fn restart(&mut self, now: Steady) {
        self.next = now;
        self.wait = self.waits.first;
    }
}
