//! The table of operations: what can be watched, how to ask, and how to read the answer.
//!
//! A row is a fact of api.md; logic over rows is one function. An operation's meaning comes from its own row, never from a
//! shared enum: `1` is a success in one API and a failure in another.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::model::reading::Code;
use crate::model::task::IdType;
use crate::units::Rate;

/// One operation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Its public host.
    pub host: String,
    /// The API's action.
    pub action: String,
    /// The id parameter's name and type.
    pub id: IdParameter,
    /// JSON pointer into `data`.
    pub status: String,
    /// Statuses of success.
    #[serde(default)]
    pub success: Vec<Code>,
    /// Statuses of failure.
    #[serde(default)]
    pub failure: Vec<Code>,
    /// Statuses of part success, part failure.
    #[serde(default)]
    pub partial: Vec<Code>,
    /// Statuses of "not yet". Anything else is told once and polled on.
    #[serde(default)]
    pub running: Vec<Code>,
    /// Where the instances stand.
    pub instances: Option<Instances>,
    /// The documented limit of a pace key.
    pub rate: Rate,
}

/// An id parameter, written `name:type`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IdParameter {
    /// The request parameter.
    pub name: String,
    /// What it takes.
    pub r#type: IdType,
}

/// Where an answer lists its instances.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instances {
    /// JSON pointers to the array; the first that is there counts.
    pub each: Vec<String>,
    /// JSON pointer to an element's id.
    pub id: String,
    /// JSON pointer to an element's status.
    pub status: String,
}

/// The built-in rows, by name.
#[expect(clippy::expect_used, reason = "compiled in; a test reads it")]
pub static BUILT_IN: LazyLock<BTreeMap<String, Operation>> =
    LazyLock::new(|| toml::from_str(include_str!("operations.toml")).expect("operations.toml"));

impl TryFrom<String> for IdParameter {
    type Error = &'static str;
    fn try_from(written: String) -> Result<Self, Self::Error> {
        let r#type = match written.split_once(':') {
            Some((name, "int")) if !name.is_empty() => (name.to_owned(), IdType::Int),
            Some((name, "string")) if !name.is_empty() => (name.to_owned(), IdType::Text),
            Some(_) | None => return Err("a parameter and its type, such as \"taskId:int\" or \"TaskId:string\""),
        };
        Ok(Self { name: r#type.0, r#type: r#type.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rows_read() {
        let bm = &BUILT_IN["bm"];
        assert_eq!((bm.id.name.as_str(), bm.id.r#type), ("taskId", IdType::Int));
        assert_eq!(bm.running.len(), 4);
    }
}
