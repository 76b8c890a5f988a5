//! The program's own log. Events are no part of it: the `log` sink writes them at any level. Both use the
//! same line format (`lines/`): that of `[log] format`, or with `auto` the one for the kind of standard error
//! ([`surroundings`]).

#[cfg(test)]
pub mod captured;
pub mod surroundings;
mod install;
mod layer;

pub use install::{init, override_level, set_level};
pub use surroundings::{ResolvedFormat, Surroundings};

use serde::{Deserialize, Serialize};

use crate::lines::line::Level;

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `auto`, `text`, `json` or `journal`. Default auto: the journal under systemd, text on a terminal, else
    /// JSON.
    pub format: Format,
    /// `error`, `warn`, `info`, `debug` or `trace`; `$RUST_LOG`, where set, refines it. Default info.
    pub level: Level,
}

/// The form of lines on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The journal under systemd, text on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Fields of the systemd journal.
    Journal,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Auto, level: Level::Info }
    }
}
