//! Every way a task comes in, validated once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::{Limit, Span};

/// One entry of `[[tasks]]`, or one line of a task file, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
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
    /// How long after registration the first poll falls due.
    pub initial_delay: Option<Span>,
    /// From registration to the deadline.
    pub timeout: Option<Limit>,
    /// The sinks that hear of it.
    pub sinks: Option<Vec<String>>,
    /// Further request parameters.
    pub params: BTreeMap<String, String>,
}

/// An id as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WrittenId {
    /// `1000800001`
    Int(u64),
    /// `"1000800001"`
    Text(String),
}
