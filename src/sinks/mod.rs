//! ONE ATTEMPT each: a file per sink with its own `Config`, `new` and `send`.
//!
//! A sink keeps a connection, but no memory of events, and never tries again by itself: order, retries and holds are the
//! lane's (`deliver/`).

pub mod file;
pub mod log;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::delivery::Retry;
use crate::model::event::Event;

/// The keys of `[sinks.NAME]` that every type has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// How a failed delivery is tried again.
    pub retry: Retry,
}

/// The keys of `[sinks.NAME]` that only its `type` has.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `[sinks.log]`, which is always there and has no `type`.
    Log,
    /// `type = "file"`.
    File(file::Config),
}

/// `[sinks.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What every type has.
    pub common: Common,
    /// What this type has.
    pub kind: Kind,
}

/// What `type` may say.
pub const TYPES: [&str; 1] = ["file"];

/// Where events go.
#[async_trait]
pub trait Sink: Send + Sync {
    /// How many events one attempt takes at most; 1 or more.
    fn batch(&self) -> usize;

    /// One attempt to hand over these events, in order. `Ok` means that all of them are acknowledged; after an error none
    /// counts as delivered, and all come again.
    async fn send(&self, events: &[Event]) -> Result<(), Refusal>;
}

/// Why an attempt failed, and whose trouble that is.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// Whose trouble it is.
    pub class: Class,
    /// What failed, where, and what to do; without any secret.
    pub what: String,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// Whose trouble a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes: try again.
    Passing,
    /// A person must act: the sink as it is configured cannot work.
    Sink,
}
