//! Delivery settings of a sink: the keys of its section that its lane follows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff;
use super::gate::GateWaits;
use super::policy::Waits;
use crate::units::{Limit, Rate, Span};

/// `retry` of a sink: the retries of a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// The longest first wait. Default 1s.
    pub initial: Span,
    /// The longest wait. Default 10m.
    pub max: Span,
    /// The time from the first attempt until a delivery becomes a dead letter; or never. Time without the
    /// daemon and time on hold do not count. Default 3d.
    pub give_up_after: Limit,
}

/// Settings of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sending {
    /// The largest number of events in one attempt; 1 or more.
    pub batch: usize,
    /// The time for which events are gathered for one attempt. `None`: not at all.
    pub gather: Option<Duration>,
    /// The largest number of attempts in flight; 1 or more.
    pub max_in_flight: usize,
    /// Attempts in a time.
    pub rate: Option<Rate>,
    /// After failures.
    pub retry: Retry,
    /// The waits between probes of a sink on hold.
    pub held: Waits,
}

/// A failed attempt: the class and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// The scope of the failure.
    pub class: RefusalClass,
    /// The failure, its place and the fix, without secrets.
    pub what: String,
    /// The pause that the receiver requested.
    pub retry_after: Option<Duration>,
}

/// The scope of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// A temporary failure: the delivery is retried.
    Passing,
    /// A person must act: the sink cannot work as configured.
    Sink,
    /// The receiver refuses the content of these events; others may be accepted.
    Event,
}

impl Refusal {
    /// A temporary failure. `what` names the failure, its place and the fix.
    pub fn passing(what: impl Into<String>) -> Self {
        Self { class: RefusalClass::Passing, what: what.into(), retry_after: None }
    }

    /// The receiver refuses the content of these events. `what` holds its reason.
    pub fn of_event(what: impl Into<String>) -> Self {
        Self { class: RefusalClass::Event, what: what.into(), retry_after: None }
    }

    /// A person must act. `what` names the failure, its place and the fix.
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
    /// The waits between probes of a failing sink.
    pub fn waits(&self) -> Waits {
        Waits { first: self.initial.0, longest: self.max.0 }
    }

    /// The wait after a delivery's `attempts`th failed attempt, with a spread in `0.0..1.0`.
    pub fn wait(&self, attempts: u32, spread: f64) -> Duration {
        backoff::after_failure(self.initial.0, self.max.0, attempts, spread)
    }
}
