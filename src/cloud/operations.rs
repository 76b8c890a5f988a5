//! The table of operations: API action, request parameters and form of the response, one row of data each.
//!
//! A row is a fact of docs/tencent-cloud-api.md; logic over rows is one function. The meaning of a status
//! comes from its row, never from a shared enum: `1` is a success in one API and a failure in another.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::wanted::Wanted;
use crate::model::reading::Code;
use crate::model::task::IdType;
use crate::units::{ByteSize, Rate};

/// The operations of one configuration, by name. A copy shares the rows.
#[derive(Clone, Debug)]
pub struct Operations {
    rows: Arc<BTreeMap<String, Arc<Operation>>>,
}

/// One operation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The API: signature and response format.
    pub api: Api,
    /// Its public host.
    pub host: String,
    /// The API's action.
    pub action: String,
    /// The version of the action; API 3.0 alone has one.
    #[serde(default)]
    pub version: String,
    /// The row with the same function over API 3.0: it is used by an account with `api = "3.0"`.
    pub successor: Option<String>,
    /// The id parameter's name and type.
    pub id: IdParameter,
    /// JSON pointer into `data` (API 2.0) or `Response` (API 3.0); `*` steps into every element of an array.
    pub status: String,
    /// JSON pointer to the message of the cloud. `None`: the response has none.
    pub message: Option<String>,
    /// Statuses of success.
    #[serde(default)]
    pub success: Vec<Code>,
    /// Statuses of failure.
    #[serde(default)]
    pub failure: Vec<Code>,
    /// Statuses of part success, part failure.
    #[serde(default)]
    pub partial: Vec<Code>,
    /// Statuses of an unfinished task. Any other status is logged once and polled again.
    #[serde(default)]
    pub running: Vec<Code>,
    /// Place of the instances.
    pub instances: Option<Instances>,
    /// The documented limit of a pace key.
    pub rate: Rate,
    /// Further codes that are a fault of the task.
    #[serde(default)]
    pub rejected: Vec<Code>,
    /// Size of the largest response that is read; a larger one is a fault. Default: 256 KiB.
    #[serde(default = "max_response")]
    pub max_response: ByteSize,
    /// The parts of a response that this row reads, computed at its first response.
    #[serde(skip)]
    pub(super) wanted: OnceLock<Wanted>,
}

/// An API of the cloud: signature and response format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Api {
    /// Parameters in the query or a form, signed with SHA-1 or SHA-256 (docs/tencent-cloud-api.md §1).
    #[default]
    #[serde(rename = "2.0")]
    V2,
    /// A JSON body, signed with TC3 (docs/tencent-cloud-api.md §2).
    #[serde(rename = "3.0")]
    V3,
}

/// An id parameter, written `name:type`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IdParameter {
    /// The request parameter.
    pub name: String,
    /// The type of its value.
    pub r#type: IdType,
}

/// The places of the instances in a response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instances {
    /// JSON pointers to the array; the first that exists counts.
    pub each: Vec<String>,
    /// JSON pointer to an element's id.
    pub id: String,
    /// JSON pointer to an element's status.
    pub status: String,
}

/// The built-in rows as text: a row is one block between empty lines, its comment first.
const ROWS: &str = include_str!("operations.toml");

impl Operations {
    /// The built-in rows.
    #[expect(clippy::expect_used, reason = "compiled in; a test reads it")]
    pub fn built_in() -> Self {
        Self::parse(ROWS).expect("operations.toml")
    }

    /// Rows as they are written in `operations.toml`.
    ///
    /// # Errors
    /// If a row has not the form of [`Operation`].
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let rows: BTreeMap<String, Operation> = toml::from_str(text)?;
        Ok(Self { rows: Arc::new(rows.into_iter().map(|(name, row)| (name, Arc::new(row))).collect()) })
    }

    /// The row of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Operation>> {
        self.rows.get(name)
    }

    /// All rows, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Operation>)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), row))
    }

    /// The row of an operation in an account of that API: the tasks keep the name of the operation.
    pub fn resolve(&self, name: &str, api: Api) -> Option<&Arc<Operation>> {
        let named = self.get(name)?;
        match (api, &named.successor) {
            (Api::V3, Some(successor)) => self.get(successor),
            (Api::V2 | Api::V3, _) => Some(named),
        }
    }

    /// The names of the id parameter of an operation, over either API.
    pub fn id_parameters(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.get(name);
        let successor = named.and_then(|row| self.get(row.successor.as_ref()?));
        named.into_iter().chain(successor).map(|row| row.id.name.as_str())
    }
}

/// A built-in row as text, in the form of the configuration, with its comment.
pub fn as_written(name: &str) -> Option<String> {
    let header = format!("[{name}]");
    let row = ROWS.split("\n\n").find(|block| block.lines().any(|line| line == header))?;
    Some(row.trim_end().replacen(&header, &format!("[operations.{name}]"), 1))
}

/// A response of the documented form has some hundred bytes; this holds some thousand instances.
fn max_response() -> ByteSize {
    ByteSize(256 * 1024)
}

impl Operation {
    /// The default rate. The cloud counts requests at their arrival, with varying delays, so this is a part
    /// of the documented limit (docs/architecture.md §4).
    pub fn usual_rate(&self) -> Rate {
        const SHARE_OF_DOCUMENTED_RATE: f64 = 0.95;
        self.rate.times(SHARE_OF_DOCUMENTED_RATE)
    }

    /// The service that a request of API 3.0 is signed for: the first label of the host (docs/tencent-cloud-api.md §2).
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
        let operations = Operations::built_in();
        let bm = operations.get("bm").unwrap();
        assert_eq!((bm.id.name.as_str(), bm.id.r#type), ("taskId", IdType::Int));
        assert_eq!((bm.running.len(), bm.max_response), (4, ByteSize(262_144)));
        assert!(operations.iter().all(|(_, row)| row.version.is_empty() == (row.api == Api::V2)));
        let bm3 = operations.get("bm3").unwrap();
        assert_eq!((bm3.service(), bm3.version.as_str()), ("bm", "2018-04-23"));
        assert_eq!(operations.id_parameters("bm").collect::<Vec<_>>(), ["taskId", "TaskId"]);
        assert_eq!(operations.id_parameters("bm3").collect::<Vec<_>>(), ["TaskId"]);
    }

    #[test]
    fn each_row_is_shown_as_it_would_be_written_and_reads_as_the_same_row() {
        for (name, row) in Operations::built_in().iter() {
            let shown: BTreeMap<String, BTreeMap<String, Operation>> =
                toml::from_str(&as_written(name).unwrap()).unwrap();
            assert_eq!(format!("{:?}", shown["operations"][name]), format!("{row:?}"));
        }
        assert_eq!(as_written("nothing"), None);
    }

    #[test]
    fn a_name_means_its_successor_in_an_account_of_api_3_0_with_ids_of_the_same_type() {
        let operations = Operations::built_in();
        let action = |name, api| operations.resolve(name, api).map(|row| row.action.as_str());
        assert_eq!(
            [Api::V2, Api::V3].map(|api| action("bm", api)),
            [Some("DescriptionOperationResult"), Some("DescribeOperationResult")]
        );
        assert_eq!([Api::V2, Api::V3].map(|api| action("bm3", api)), [Some("DescribeOperationResult"); 2]);
        assert_eq!(action("nothing", Api::V3), None);
        for (name, row) in operations.iter().filter(|(_, row)| row.successor.is_some()) {
            let successor = operations.resolve(name, Api::V3).expect(name);
            assert_eq!(
                (row.api, successor.api, successor.id.r#type),
                (Api::V2, Api::V3, row.id.r#type),
                "{name}"
            );
        }
    }
}
