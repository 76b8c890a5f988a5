//! The program's own log. Events are no part of it: the `log` sink writes those itself, whatever the level
//! here.
//!
//! It lends that sink what both need: the form of a line ([`line`]), the way to a descriptor that may be
//! full, slow or closed ([`output`]), whether it was there at all ([`closed`]), and where standard error
//! leads ([`surroundings`]).

#[cfg(test)]
pub mod captured;
pub mod closed;
pub mod line;
pub mod output;
pub mod surroundings;
mod install;
mod layer;

pub use install::init;
pub use surroundings::{ResolvedFormat, Surroundings};

use serde::{Deserialize, Serialize};

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `auto`, `text`, `json` or `journal`. Default auto: the journal under systemd, text on a terminal, json
    /// else.
    pub format: Format,
    /// `error`, `warn`, `info`, `debug` or `trace`; `$RUST_LOG`, where set, says more. Default info.
    pub level: Level,
}

/// The form of lines on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The journal under systemd, text on a terminal, json else.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Fields of the systemd journal.
    Journal,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A person must act.
    Error,
    /// Something may need a person soon.
    Warn,
    /// What an operator wants to have seen.
    #[default]
    Info,
    /// Each poll and attempt.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// As it is written in the configuration, in `$RUST_LOG` and in a line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Auto, level: Level::Info }
    }
}
