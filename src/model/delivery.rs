//! How a sink's deliveries go out: the keys of its section that its lane obeys.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff;
use super::gate::GateWaits;
use super::policy::Waits;
use crate::units::{Limit, Rate, Span};

/// `retry` of a sink: how a failed delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// The longest first wait. Default 1s.
    pub initial: Span,
    /// The longest wait. Default 10m.
    pub max: Span,
    /// A delivery that was accepted in no attempt for so long after the first becomes a dead letter; or
    /// never. Time during which the daemon does not run or the sink is held does not count. Default 3d.
    pub give_up_after: Limit,
}

/// How a lane sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sending {
    /// Events in one attempt at most; 1 or more.
    pub batch: usize,
    /// How long events are gathered for one attempt.
    pub gather: Option<Duration>,
    /// Attempts under way at once; 1 or more.
    pub max_in_flight: usize,
    /// Attempts in a time.
    pub rate: Option<Rate>,
    /// After failures.
    pub retry: Retry,
    /// Between the probes of a sink that is held.
    pub held: Waits,
}

/// Why an attempt failed, and whose trouble that is.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// Whose trouble it is.
    pub class: RefusalClass,
    /// What failed, where, and what to do; without any secret.
    pub what: String,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// Whose trouble a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// It passes: try again.
    Passing,
    /// A person must act: the sink as it is configured cannot work.
    Sink,
    /// These events are refused for what they say; others may well be accepted.
    Event,
}

impl Refusal {
    /// It passes; `what` says what failed, where, and what to do.
    pub fn passing(what: impl Into<String>) -> Self {
        Self { class: RefusalClass::Passing, what: what.into(), retry_after: None }
    }

    /// These events are refused for what they say; `what` has the receiver's words.
    pub fn of_event(what: impl Into<String>) -> Self {
        Self { class: RefusalClass::Event, what: what.into(), retry_after: None }
    }

    /// A person must act; `what` says what failed, where, and what to do.
    pub fn of_sink(what: impl Into<String>) -> Self {
        Self { class: RefusalClass::Sink, what: what.into(), retry_after: None }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            initial: Span::seconds(1),
            max: Span::seconds(600),
            give_up_after: Limit(Some(Duration::from_secs(3 * 24 * 3600))),
        }
    }
}

impl Sending {
    /// The waits of the sink's gate.
    pub fn waits(&self) -> GateWaits {
        GateWaits { on_hold: self.held, breaker_open: self.retry.waits() }
    }
}

impl Retry {
    /// The waits between the probes of a sink that fails.
    pub fn waits(&self) -> Waits {
        Waits { first: self.initial.0, longest: self.max.0 }
    }

    /// The wait after a delivery's `attempts`th failed attempt, with a spread in `0.0..1.0`.
    pub fn wait(&self, attempts: u32, spread: f64) -> Duration {
        backoff::after_failure(self.initial.0, self.max.0, attempts, spread)
    }
}
