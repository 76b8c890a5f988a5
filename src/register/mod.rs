//! Every source of tasks, validated once.
//!
//! A [`TaskEntry`] is a task as written; [`catalogue::Catalogue`] validates it and makes a
//! [`NewTask`](crate::model::task::NewTask). [`lines`] streams task files. [`listed`] passes over all tasks
//! of a configuration without holding a long list in memory. [`piped`] reads the standard input of a command.

mod responses;
pub mod catalogue;
mod json;
pub mod lines;
pub mod listed;
pub mod piped;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::section;
use crate::units::{Limit, Span};

/// One entry of `[[tasks]]`, or one line of a task file, as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskEntry {
    /// The task id: an integer or a string.
    pub id: Option<WrittenId>,
    /// A name for people.
    pub name: Option<String>,
    /// The operation; default `bm`.
    pub operation: Option<String>,
    /// The account; default `default`, or the only one.
    pub account: Option<String>,
    /// The region; default: the account's.
    pub region: Option<String>,
    /// Copied into every event.
    pub labels: BTreeMap<String, String>,
    /// The group of the task: one event follows when all its tasks have finished.
    pub group: Option<String>,
    /// The delay from registration to the first poll.
    pub initial_delay: Option<Span>,
    /// From registration to the deadline.
    pub timeout: Option<Limit>,
    /// From registration to the one `overdue` event.
    pub warn_after: Option<Limit>,
    /// A change registers a finished task again.
    pub run: Option<String>,
    /// The sinks of the task's events.
    pub sinks: Option<Vec<String>>,
    /// Further request parameters.
    pub params: BTreeMap<String, String>,
}

/// An id as written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum WrittenId {
    /// `1000800001`
    Int(u64),
    /// `"1000800001"`
    Text(String),
}

impl TaskEntry {
    /// The same, with missing values (account, region, operation, settings) from another entry.
    pub fn or(self, other: &Self) -> Self {
        let mut params = other.params.clone();
        params.extend(self.params);
        Self {
            operation: self.operation.or_else(|| other.operation.clone()),
            account: self.account.or_else(|| other.account.clone()),
            region: self.region.or_else(|| other.region.clone()),
            params,
            ..self
        }
    }
}

/// The keys of a task, for suggestions.
pub static KEYS: LazyLock<Value> = LazyLock::new(|| section::keys::<TaskEntry>(&[]));

/// Not derived: serde's message for a wrong id would only be "did not match any variant".
impl<'de> Deserialize<'de> for WrittenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = WrittenId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer from 0 to 18446744073709551615, or a text, in quotes")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<WrittenId, E> {
                Ok(WrittenId::Int(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WrittenId, E> {
                Ok(WrittenId::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
