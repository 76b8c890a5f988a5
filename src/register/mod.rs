//! Every way a task comes in, validated once.
//!
//! What a person wrote is a [`TaskEntry`]; [`catalogue::Catalogue`] knows what there is to be named and turns
//! it into a [`NewTask`](crate::model::task::NewTask). [`lines`] streams task files, [`listed`] goes over
//! everything that a configuration lists, so that a long list is never in memory as a whole, and [`piped`]
//! reads what a command is handed on its standard input.

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

/// One entry of `[[tasks]]`, or one line of a task file, as it was written.
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
    /// The group that it belongs to: one event tells when the last of its tasks is over.
    pub group: Option<String>,
    /// How long after registration the first poll falls due.
    pub initial_delay: Option<Span>,
    /// From registration to the deadline.
    pub timeout: Option<Limit>,
    /// From registration to the one `overdue` event.
    pub warn_after: Option<Limit>,
    /// Changing it registers the task again once it is over.
    pub run: Option<String>,
    /// The sinks that hear of it.
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
    /// The same, with what it leaves open of where it is asked for, and how, as another says.
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

/// Untagged by hand: serde's own way says of a wrong id only that it "did not match any variant".
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
