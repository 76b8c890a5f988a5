//! The table of operations: what can be watched, how to ask, and how to read the answer.
//!
//! A row is a fact of api.md; logic over rows is one function. An operation's meaning comes from its own row,
//! never from a shared enum: `1` is a success in one API and a failure in another.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::model::reading::Code;
use crate::model::task::IdType;
use crate::units::Rate;

/// One operation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// How its requests are signed and its answers wrapped.
    pub api: Api,
    /// Its public host.
    pub host: String,
    /// The API's action.
    pub action: String,
    /// The version of the action; API 3.0 alone has one.
    #[serde(default)]
    pub version: String,
    /// The row that does the same over API 3.0: it is meant where an account says `api = "3.0"`.
    pub successor: Option<String>,
    /// The id parameter's name and type.
    pub id: IdParameter,
    /// JSON pointer into `data` (API 2.0) or `Response` (API 3.0).
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

/// An API of the cloud: how requests are signed and answers are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Api {
    /// Parameters in the query or a form, signed with SHA-1 or SHA-256 (api.md §1).
    #[default]
    #[serde(rename = "2.0")]
    V2,
    /// A JSON body, signed with TC3 (api.md §2).
    #[serde(rename = "3.0")]
    V3,
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

/// The built-in rows, as they are written: a row is one block between empty lines, its comment first.
const ROWS: &str = include_str!("operations.toml");

/// The built-in rows, by name.
#[expect(clippy::expect_used, reason = "compiled in; a test reads it")]
pub static BUILT_IN: LazyLock<BTreeMap<String, Operation>> =
    LazyLock::new(|| toml::from_str(ROWS).expect("operations.toml"));

/// A built-in row as it would stand in a configuration, with what its comment says.
pub fn as_written(name: &str) -> Option<String> {
    let header = format!("[{name}]");
    let row = ROWS.split("\n\n").find(|block| block.lines().any(|line| line == header))?;
    Some(row.trim_end().replacen(&header, &format!("[operations.{name}]"), 1))
}

/// The row that an operation's name means in an account of that API; its tasks keep the name either way.
pub fn meant(name: &str, api: Api) -> Option<&'static Operation> {
    let named = BUILT_IN.get(name)?;
    match (api, &named.successor) {
        (Api::V3, Some(successor)) => BUILT_IN.get(successor),
        (Api::V2 | Api::V3, _) => Some(named),
    }
}

impl Operation {
    /// How fast it is asked where nobody says otherwise. The documented limit is counted at the arrival,
    /// which jitters: so much of it is used (design.md §4).
    pub fn usual_rate(&self) -> Rate {
        const SHARE_OF_DOCUMENTED_RATE: f64 = 0.95;
        self.rate.times(SHARE_OF_DOCUMENTED_RATE)
    }

    /// The service that a request of API 3.0 is signed for: the first label of the host (api.md §2).
    pub fn service(&self) -> &str {
        self.host.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for IdParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r#type = match self.r#type {
            IdType::Int => "int",
            IdType::Text => "string",
        };
        write!(f, "{}:{}", self.name, r#type)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "2.0",
            Self::V3 => "3.0",
        })
    }
}

impl TryFrom<String> for IdParameter {
    type Error = &'static str;
    fn try_from(written: String) -> Result<Self, Self::Error> {
        let r#type = match written.split_once(':') {
            Some((name, "int")) if !name.is_empty() => (name.to_owned(), IdType::Int),
            Some((name, "string")) if !name.is_empty() => (name.to_owned(), IdType::Text),
            Some(_) | None => {
                return Err("a parameter and its type, such as \"taskId:int\" or \"TaskId:string\"");
            }
        };
        Ok(Self { name: r#type.0, r#type: r#type.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rows_read_and_a_version_is_api_3_0_s() {
        let bm = &BUILT_IN["bm"];
        assert_eq!((bm.id.name.as_str(), bm.id.r#type), ("taskId", IdType::Int));
        assert_eq!(bm.running.len(), 4);
        assert!(BUILT_IN.values().all(|row| row.version.is_empty() == (row.api == Api::V2)));
        assert_eq!((BUILT_IN["bm3"].service(), BUILT_IN["bm3"].version.as_str()), ("bm", "2018-04-23"));
    }

    #[test]
    fn each_row_is_shown_as_it_would_be_written_and_reads_as_the_same_row() {
        for (name, row) in BUILT_IN.iter() {
            let shown: BTreeMap<String, BTreeMap<String, Operation>> =
                toml::from_str(&as_written(name).unwrap()).unwrap();
            assert_eq!(format!("{:?}", shown["operations"][name]), format!("{row:?}"));
        }
        assert_eq!(as_written("nothing"), None);
    }

    #[test]
    fn a_name_means_its_successor_in_an_account_of_api_3_0_with_ids_of_the_same_type() {
        let action = |name, api| meant(name, api).map(|row| row.action.as_str());
        assert_eq!(
            [Api::V2, Api::V3].map(|api| action("bm", api)),
            [Some("DescriptionOperationResult"), Some("DescribeOperationResult")]
        );
        assert_eq!([Api::V2, Api::V3].map(|api| action("bm3", api)), [Some("DescribeOperationResult"); 2]);
        assert_eq!(action("nothing", Api::V3), None);
        for (row, successor) in BUILT_IN.values().filter_map(|row| Some((row, row.successor.as_ref()?))) {
            assert_eq!(
                (row.api, BUILT_IN[successor].api, BUILT_IN[successor].id.r#type),
                (Api::V2, Api::V3, row.id.r#type),
                "{successor}"
            );
        }
    }
}
