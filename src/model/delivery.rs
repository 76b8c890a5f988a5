//! A delivery on its way: what a failed attempt means for its lane.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff;
use crate::units::Span;

/// `retry` of a sink: how a failed delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// The longest first wait. Default 1s.
    pub initial: Span,
    /// The longest wait. Default 10m.
    pub max: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial: Span::seconds(1), max: Span::seconds(600) }
    }
}

impl Retry {
    /// The wait after the `streak`th failed attempt in a row, with a spread in `0.0..1.0`.
    pub fn wait(&self, streak: u32, spread: f64) -> Duration {
        backoff::after_failure(self.initial.0, self.max.0, streak, spread)
    }
}
