//! The data types of the interface, as JSON. Fields are only ever added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The state of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of opwatch.
    pub version: String,
    /// Start of the process: RFC 3339, UTC.
    pub started_at: String,
    /// Number of open tasks.
    pub open: u64,
    /// Number of tasks that ended since the start of the process.
    pub finished: u64,
    /// Accounts and rate-limit scopes on hold, in words.
    pub on_hold: Vec<String>,
    /// Accounts that a person paused.
    pub paused_accounts: Vec<String>,
    /// Number of tasks that a person paused.
    pub paused_tasks: u64,
    /// Number of rate-limit scopes whose rate is reduced after refusals.
    pub throttled: u64,
    /// Polls a second, over all rate-limit scopes with tasks.
    pub rate_used: f64,
    /// Allowed polls a second, over all rate-limit scopes with tasks.
    pub rate_allowed: f64,
    /// The next poll of any task: RFC 3339. Absent: none is scheduled, since no task is open, all are paused,
    /// or a response must arrive first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_poll: Option<String>,
    /// Number of undelivered events of each sink, without sinks that have none.
    pub undelivered: BTreeMap<String, u64>,
    /// Number of dead letters of each sink, without sinks that have none.
    pub dead_letters: BTreeMap<String, u64>,
    /// The sinks on hold.
    pub sinks_on_hold: Vec<String>,
    /// The sinks that a person paused.
    pub paused_sinks: Vec<String>,
    /// The accounts, rate-limit scopes and sinks that do not work at their usual pace, with the reason.
    #[serde(default)]
    pub delays: Vec<DelayItem>,
}

/// An account, a rate-limit scope or a sink that does not work at its usual pace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DelayItem {
    /// Its name in words, such as `sink ops`.
    pub what: String,
    /// The reason.
    pub state: DelayState,
    /// The start: RFC 3339. Absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The next probe or attempt, or the end of the pause: RFC 3339.
    pub next: String,
    /// Number of probes that failed; of a sink, of all attempts. It grows with each failure.
    #[serde(default)]
    pub failed: u32,
    /// The error that a person must act on, or of the last failed attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The reason of a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DelayState {
    /// A person must act; it is probed at long intervals.
    OnHold,
    /// Most calls failed; only probes are sent.
    CircuitBreakerOpen,
    /// A response requested a pause by `Retry-After`.
    PauseRequested,
    /// Deliveries failed, and are retried with backoff.
    Retrying,
}

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Polls continue.
    Open,
    /// Its last polls failed; they continue with backoff.
    Failing,
    /// Its account or rate-limit scope is on hold.
    OnHold,
    /// A person paused it, or its account.
    Paused,
    /// The task finished; `outcome` has the result.
    Finished,
    /// The task was abandoned; `reason` says why.
    Abandoned,
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskItem {
    /// The key of the task in this interface, never reused.
    pub key: i64,
    /// The task id.
    pub id: String,
    /// The operation.
    pub operation: String,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The state.
    pub state: TaskState,
    /// The outcome of a finished task: `success`, `failure` or `partial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The reason of an abandoned task: `deadline`, `rejected`, `cancelled` or `removed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last status: an integer where it reads as one, else a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub status: Option<Value>,
    /// The error of the last poll, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The registration: RFC 3339.
    pub registered_at: String,
    /// The last poll by this process: RFC 3339. Absent: there was none, the task has ended, or its last
    /// response is being stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_poll: Option<String>,
    /// The next poll: RFC 3339. Absent while it is paused, on hold or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_poll: Option<String>,
    /// The deadline: RFC 3339. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// The detection of the end: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Polls so far; after a crash a lower bound.
    pub polls: u32,
    /// Failed polls so far; after a crash a lower bound.
    pub errors: u32,
    /// The source: `file` or `command`.
    pub origin: String,
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// The tasks, in the order of their keys.
    pub tasks: Vec<TaskItem>,
    /// The cursor of the next page. Absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A task with its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    #[serde(flatten)]
    pub task: TaskItem,
    /// Its events, oldest first, at most 100.
    pub events: Vec<EventItem>,
    /// Its last polls since the start of the process, oldest first, at most 10.
    pub recent_polls: Vec<PollItem>,
    /// The sinks of its events, if the task names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sinks: Option<Vec<String>>,
    /// Further request parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

/// A poll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PollItem {
    /// The moment of the response: RFC 3339.
    pub at: String,
    /// The status in the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub status: Option<Value>,
    /// The error, if the poll failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An event, with its deliveries that are not acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventItem {
    /// The number of the event: the order of events, and the cursor of lists and streams.
    pub seq: i64,
    /// The event: CloudEvents 1.0, as sinks get it.
    #[schema(value_type = Object)]
    pub event: Value,
    /// Its deliveries that are not acknowledged.
    pub deliveries: Vec<DeliveryItem>,
}

/// A delivery that is not acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryItem {
    /// The sink.
    pub sink: String,
    /// Whether it is a dead letter. Otherwise it waits in the outbox.
    pub is_dead: bool,
    /// Failed attempts so far; after a crash a lower bound.
    pub attempts: u32,
    /// The error of the last attempt of a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A page of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events, oldest first.
    pub events: Vec<EventItem>,
    /// The cursor of the next page. Absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The state of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccountItem {
    /// The name.
    pub name: String,
    /// Whether a person paused it.
    pub is_paused: bool,
    /// The hold, if it is on hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldItem>,
    /// Number of its open tasks.
    pub tasks: u64,
    /// Its rate-limit scopes that have, or had, tasks.
    pub scopes: Vec<ScopeItem>,
}

/// The state of a rate-limit scope: account, region and API action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScopeItem {
    /// The region.
    pub region: String,
    /// The operation.
    pub operation: String,
    /// Number of its open tasks.
    pub tasks: u64,
    /// Polls a second that were not refused, over the last period of the rate, at least 5 s. Absent: without a
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_used: Option<f64>,
    /// Allowed polls a second now. Absent: without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_allowed: Option<f64>,
    /// Whether the rate is reduced after refusals.
    pub is_throttled: bool,
    /// Whether only probes are sent, since most polls failed.
    pub is_circuit_breaker_open: bool,
    /// The end of the pause that a response requested by `Retry-After`: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_pause_until: Option<String>,
    /// The hold, if it is on hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldItem>,
}

/// The reason and the times of a hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HoldItem {
    /// The error that a person must act on.
    pub error: String,
    /// The start: RFC 3339.
    pub since: String,
    /// The next probe: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_probe: Option<String>,
    /// Number of probes that failed.
    #[serde(default)]
    pub failed_probes: u32,
}

/// The state of a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SinkItem {
    /// The name.
    pub name: String,
    /// Whether a person paused it.
    pub is_paused: bool,
    /// The hold, if it is on hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldItem>,
    /// Whether only probes are sent, since most attempts failed.
    pub is_circuit_breaker_open: bool,
    /// The end of the pause that a response requested by `Retry-After`: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_pause_until: Option<String>,
    /// Number of undelivered events.
    pub undelivered: u64,
    /// Number of dead letters.
    pub dead_letters: u64,
}

/// Tasks to add: all of them, or none if one is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    /// The tasks, with the keys of `[[tasks]]`, 1 to 5,000.
    #[schema(value_type = Vec<TaskInput>)]
    pub tasks: Vec<Value>,
    /// Whether tasks that have ended are registered again.
    #[serde(default)]
    pub again: bool,
}

/// A task to add. Only `id` is required; the other keys are those of `[[tasks]]` in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TaskInput {
    /// The task id: an integer or a string.
    #[schema(value_type = Value)]
    pub id: Value,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The operation; default `bm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The account; default `default`, or the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The region; default: that of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Copied into every event.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The group of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The delay from registration to the first poll, such as `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<String>,
    /// From registration to the deadline, such as `2h`, or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// From registration to the `overdue` event, such as `1h`, or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_after: Option<String>,
    /// A change registers a finished task again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The sinks of the events of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sinks: Option<Vec<String>>,
    /// Further request parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

/// The results of an addition, in the order of its tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Added {
    /// One result for each task.
    pub tasks: Vec<AddedTask>,
}

/// The result of an added task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AddedTask {
    /// Its key.
    pub key: i64,
    /// The task id.
    pub id: String,
    /// The operation.
    pub operation: String,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// `new`, `known` (open before; its settings apply) or `finished` (it has ended, and nothing was changed).
    pub state: String,
}

/// A test event, for some sinks or all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TestRequest {
    /// The sinks. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sinks: Option<Vec<String>>,
    /// `finished` (the default), `abandoned`, `progressed`, `overdue`, `group` or `trouble`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// The outcome of a finished task: `success` (the default), `failure` or `partial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// The results of a test event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TestResults {
    /// One result for each sink.
    pub results: Vec<TestResult>,
}

/// The result of a test event for one sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TestResult {
    /// The sink.
    pub sink: String,
    /// `delivered`, `again_later`, `refused` (the event) or `held` (a person must act).
    pub result: String,
    /// The error, if it was not delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A request for a slot: the pace key of a poll, and its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotRequest {
    /// The SecretId of the poll.
    pub secret_id: String,
    /// The host of the poll.
    pub host: String,
    /// The region.
    pub region: String,
    /// The operation.
    pub operation: String,
    /// The task id.
    pub id: String,
}

/// A slot, which begins now and is used by one poll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SlotGrant {
    /// The task, if the daemon polls it or knows its end. The slot is not used then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskDetail>,
}

/// A new deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// The time from now to the deadline, such as `2h`.
    pub duration: String,
}

/// A selection of deliveries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redelivery {
    /// Ids of events. Absent: the dead letters that the other fields select.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// The sink. Absent: every sink with a dead letter of the event; if there is none, its first sinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Dead letters since that moment: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub since: Option<String>,
}

/// Number of selected deliveries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// The number.
    pub count: u64,
}

/// Options of a reload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadOptions {
    /// Whether it may abandon more than half of 20 or more open tasks.
    pub allow_removals: bool,
}

/// An error: RFC 9457, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HttpProblem {
    /// `about:blank`: the status says what it is.
    pub r#type: String,
    /// The name of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The reason, and the fix.
    pub detail: String,
    /// The single errors of a configuration or of tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}
