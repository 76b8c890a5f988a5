//! A task, its pace key, and the settings of its owner.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Limit, Span};

/// Account, region and operation of tasks: one kind of request with the credentials of one account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The account's name in the configuration.
    pub account: String,
    /// The region as written; the request may carry a mapped name.
    pub region: String,
    /// The operation's name, such as `bm`.
    pub operation: String,
}

/// The scope of the cloud's rate limit (docs/architecture.md §1). Targets with the same pace key share its
/// pace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaceKey {
    /// The SecretId; the account's name where the SecretId is temporary.
    pub secret_id: String,
    /// The region as it is sent.
    pub region: String,
    /// The host, as it is signed.
    pub host: String,
    /// The API's action.
    pub action: String,
}

impl fmt::Display for PaceKey {
    /// The text under which evidence of the pace key is stored: it never changes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret_id, region, host, action } = self;
        write!(f, "{secret_id} {region} {host} {action}")
    }
}

/// A task id in the canonical form of its row's type (docs/architecture.md §1): an integer up to 2^64-1, or text as
/// written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskId {
    /// Of type `int`: `00042` is `42`.
    Int(u64),
    /// Of type `string`.
    Text(Box<str>),
}

/// The type of an operation's id parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdType {
    /// An unsigned integer of 64 bits.
    Int,
    /// Text, as written.
    Text,
}

/// The settings of a task. A missing setting follows `[poll]`, also when that changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Copied into every event of the task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The group that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The delay from registration to the first poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Span>,
    /// From registration to the deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Limit>,
    /// From registration to the one `overdue` event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_after: Option<Limit>,
    /// A change registers a finished task again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The sinks of the task's events; `None`: every sink. `log` is always among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sinks: Option<Vec<String>>,
    /// Further request parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

/// The source of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Listed in the configuration or in a task file.
    File,
    /// Added by a command to the running daemon.
    Command,
}

/// A validated task on its way into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Account, region and operation; shared by a whole list.
    pub target: Arc<Target>,
    /// Its id.
    pub id: TaskId,
    /// The settings of the task.
    pub settings: Settings,
    /// The source of the task.
    pub origin: Origin,
    /// Whether the task is registered again if it has ended.
    pub again: bool,
}

/// The store's key of a task, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row(pub i64);

impl IdType {
    /// The canonical form of an id. The error describes the ids of this type.
    pub fn canonical(self, written: &str) -> Result<TaskId, &'static str> {
        /// No id of the cloud is nearly as long. A longer text is an error, such as a whole file in one line.
        const LONGEST_BYTES: usize = 256;
        match self {
            Self::Int => match written.parse() {
                Ok(number) if written.bytes().all(|byte| byte.is_ascii_digit()) => Ok(TaskId::Int(number)),
                Ok(_) | Err(_) => Err("an integer from 0 to 18446744073709551615"),
            },
            Self::Text
                if written.is_empty()
                    || written.len() > LONGEST_BYTES
                    || written.contains(char::is_control) =>
            {
                Err("text of 1 to 256 bytes without control characters")
            }
            Self::Text => Ok(TaskId::Text(written.into())),
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Settings {
    /// The delay of the first poll.
    pub fn initial_delay(&self, default: Span) -> Duration {
        self.initial_delay.unwrap_or(default).0
    }

    /// From registration to the deadline; `None`: never.
    pub fn timeout(&self, default: Limit) -> Option<Duration> {
        self.timeout.unwrap_or(default).0
    }

    /// From registration to the `overdue` event; `None`: never.
    pub fn warn_after(&self, default: Limit) -> Option<Duration> {
        self.warn_after.unwrap_or(default).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_id_has_one_canonical_form_and_stays_exact_up_to_2_64_less_1() {
        assert_eq!(IdType::Int.canonical("00042"), Ok(TaskId::Int(42)));
        assert_eq!(
            IdType::Int.canonical("18446744073709551615").unwrap().to_string(),
            "18446744073709551615"
        );
        for wrong in ["", "+1", "-1", "1.0", "18446744073709551616", "0x1", " 1"] {
            assert!(IdType::Int.canonical(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_text_id_is_kept_as_written() {
        assert_eq!(IdType::Text.canonical("00042").unwrap().to_string(), "00042");
        assert!(IdType::Text.canonical("a\nb").is_err());
    }
}
