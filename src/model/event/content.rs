//! The content of an event: the record of docs/architecture.md §7 as typed data.
//!
//! The body of an event is written from these types once; a stored event is read into the same types. The
//! order of the fields is their order in the body. Fields are only ever added, and an added field may be
//! missing in a stored event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::group::GroupData;
use super::trouble::{AccountData, DeliveryData, SinkData};
use super::{EventContext, IdParts, Kind};
use crate::clock::Wall;
use crate::model::reading::{Code, Fault, Instance, Outcome};
use crate::model::step::Reason;
use crate::model::task::Target;

/// A CloudEvents 1.0 record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    specversion: String,
    id: String,
    /// The account and region, or `opwatch`; segments are percent-encoded.
    pub source: String,
    r#type: String,
    /// The task, group, account or sink; segments are percent-encoded.
    pub subject: String,
    time: String,
    datacontenttype: String,
    /// The data of its type.
    pub data: Data,
}

/// The data of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Data {
    /// Of a task.
    Task(Box<TaskData>),
    /// Of a group.
    Group(GroupData),
    /// Of a dead letter.
    Delivery(DeliveryData),
    /// About an account, or one of its pace keys.
    Account(AccountData),
    /// Of a sink.
    Sink(SinkData),
}

/// The data of a task's events; each type has some of the optional fields. Times are RFC 3339 text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record, as docs/architecture.md §7 names them")]
pub struct TaskData {
    pub task: TaskPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_status: Option<Code>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub instances: Vec<Instance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances_left_out: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<String>,
    pub registered_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_within_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polls: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<u32>,
}

/// The task of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record, as docs/architecture.md §7 names them")]
pub struct TaskPart {
    pub id: String,
    pub operation: String,
    pub account: String,
    pub region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The error of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorData {
    /// The error code of the cloud; a sink's error has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The text of the cloud, of the receiver, or of the system.
    pub message: String,
}

impl CloudEvent {
    pub(super) fn new(id: Uuid, kind: Kind, time: Wall, origin: IdParts, data: Data) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: id.hyphenated().to_string(),
            source: origin.source,
            r#type: kind.name().to_owned(),
            subject: origin.subject,
            time: time.to_string(),
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }

    /// The record as one line of JSON, without a line end.
    pub(super) fn body(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "strings, numbers and lists of them, in structs: nothing in it can fail to serialize"
        )]
        serde_json::to_string(self).expect("a record of strings and numbers")
    }
}

impl TaskData {
    /// The task and its registration alone.
    pub(super) fn of(about: &EventContext<'_>) -> Self {
        let Target { account, region, operation } = about.target;
        let task = TaskPart {
            id: about.id.to_string(),
            operation: operation.clone(),
            account: account.clone(),
            region: region.clone(),
            name: about.settings.name.clone(),
            labels: about.settings.labels.clone(),
        };
        Self {
            task,
            outcome: None,
            reason: None,
            status: None,
            previous_status: None,
            instances: Vec::new(),
            instances_left_out: None,
            message: None,
            error: None,
            last_seen_at: None,
            registered_at: about.registered_at.to_string(),
            finished_at: None,
            elapsed_seconds: None,
            detected_within_seconds: None,
            polls: None,
            errors: None,
        }
    }
}

impl ErrorData {
    /// The error of a fault.
    pub(super) fn of(fault: &Fault) -> Self {
        Self { code: Some(fault.code.clone()), message: fault.message.clone() }
    }

    /// An error without a code.
    pub(super) fn without_code(message: &str) -> Self {
        Self { code: None, message: message.to_owned() }
    }
}
