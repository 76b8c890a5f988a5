//! Polling policy: the section `[poll]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Limit, Span};

/// `[poll]`: the defaults of every task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// The delay from registration to the first poll. Default 0s.
    pub initial_delay: Span,
    /// The first wait between two polls. Default 2s.
    pub initial_interval: Span,
    /// The longest wait between two polls, before spread. Default 1m.
    pub max_interval: Span,
    /// The growth of the wait with the age of the task, 1 to 1000. Default 1.6.
    pub multiplier: f64,
    /// The spread of each wait, as a part of it, from 0 to 1. Default 0.2.
    pub jitter: f64,
    /// From registration to the deadline, or never. Default 24h.
    pub timeout: Limit,
    /// From registration to the one `overdue` event, or never. Default never.
    pub warn_after: Limit,
    /// The time limit of one request, connecting included. Default 10s.
    pub request_timeout: Span,
    /// The first wait after a fault. Default 10s.
    pub error_interval: Span,
    /// The longest wait after a fault. Default 5m.
    pub error_max_interval: Span,
    /// A refused id counts after 3 equal refusals over this long. Default 30s.
    pub reject_after: Span,
}

/// First and longest wait between probes or retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The first one …
    pub first: Duration,
    /// … and, after doubling, the longest.
    pub longest: Duration,
}

impl Policy {
    /// The longest wait between two polls: `max_interval`, spread upwards.
    pub fn longest_interval(&self) -> Duration {
        self.max_interval.0.mul_f64(1.0 + self.jitter)
    }

    /// The waits between probes of accounts, pace keys and circuit breakers.
    pub fn error_waits(&self) -> Waits {
        Waits { first: self.error_interval.0, longest: self.error_max_interval.0 }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            initial_delay: Span::seconds(0),
            initial_interval: Span::seconds(2),
            max_interval: Span::seconds(60),
            multiplier: 1.6,
            jitter: 0.2,
            timeout: Limit(Some(Span::seconds(24 * 3600).0)),
            warn_after: Limit(None),
            request_timeout: Span::seconds(10),
            error_interval: Span::seconds(10),
            error_max_interval: Span::seconds(300),
            reject_after: Span::seconds(30),
        }
    }
}
