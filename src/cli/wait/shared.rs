//! A running daemon with the same credentials: `wait` polls in its slots, and follows the tasks that it knows.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::api::client::{ClientError, DaemonClient};
use crate::api::wire::{SlotGrant, SlotRequest, TaskDetail};
use crate::clock::Clock;
use crate::cloud::Sharing;
use crate::model::reading::{Class, Code, Fault, Outcome, Phase, Reading, Response};
use crate::model::task::{PaceKey, Target, TaskId};

/// Requests for one slot. Each waits for up to 10 s; a signature is not older than all of them.
const ATTEMPTS: usize = 6;
/// A daemon that does not respond within this time hangs or is suspended.
const PATIENCE: Duration = Duration::from_secs(15);
/// The time for which such a daemon is not asked again.
const SILENCE: Duration = Duration::from_secs(60);

/// The running daemon.
pub struct SharedDaemon {
    client: DaemonClient,
    clock: Clock,
    /// Pace keys of other credentials, hosts or operations.
    others: Mutex<HashSet<PaceKey>>,
    /// Not asked before that moment, in microseconds: polls leave at the rate of this command alone.
    silent_until: AtomicI64,
}

impl SharedDaemon {
    /// The daemon behind that client.
    pub fn new(client: DaemonClient, clock: Clock) -> Self {
        let silent_until = AtomicI64::new(i64::MIN);
        Self { client, clock, others: Mutex::default(), silent_until }
    }

    /// The poll waited for the daemon, which is gone. It takes the next slot of this command: all polls that waited would
    /// leave at once otherwise.
    fn again() -> Response {
        Self::fault(Class::Connection, "the running daemon ended; the poll is sent without it")
    }

    fn fault(class: Class, message: &str) -> Response {
        let code = Code::Text("no_slot".into());
        let fault = Fault { class, code, message: message.to_owned(), retry_after: None };
        Response { poll: Err(fault), date: None }
    }
}

#[async_trait]
impl Sharing for SharedDaemon {
    async fn slot(&self, pace_key: &PaceKey, target: &Target, id: &TaskId) -> Option<Response> {
        let others = || self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().steady;
        if now.0 < self.silent_until.load(Ordering::Relaxed)
            || others().contains(pace_key)
            || !self.client.is_running()
        {
            return None;
        }
        let request = SlotRequest {
            secret_id: pace_key.secret_id.clone(),
            host: pace_key.host.clone(),
            region: target.region.clone(),
            operation: target.operation.clone(),
            id: id.to_string(),
        };
        for _ in 0..ATTEMPTS {
            let asked = self.client.post(&["slots"], &request);
            let Ok(granted) = tokio::time::timeout(PATIENCE, asked).await else {
                let until = self.clock.now().steady + SILENCE;
                self.silent_until.store(until.0, Ordering::Relaxed);
                return Some(Self::again());
            };
            match granted {
                Ok(SlotGrant { task }) => return task.as_ref().and_then(known),
                Err(ClientError::Refused(problem)) => match problem.status {
                    // No slot within 10 s: another daemon may be the next to respond.
                    503 => {}
                    404 => {
                        others().insert(pace_key.clone());
                        return None;
                    }
                    429 => return Some(Self::fault(Class::Service, &problem.detail)),
                    // On hold or paused there: a poll shows what this command can expect.
                    _ => return None,
                },
                Err(ClientError::NoDaemon(_) | ClientError::Denied(_) | ClientError::Broken(_)) => {
                    return Some(Self::again());
                }
            }
        }
        let message = "the running daemon has no slot for this poll; see opwatch status";
        Some(Self::fault(Class::Service, message))
    }
}

/// The state of a task that the daemon knows, as a response to a poll. `None`: it has none yet.
fn known(detail: &TaskDetail) -> Option<Response> {
    let TaskDetail { task, events, .. } = detail;
    let outcome = |text: &str| serde_json::from_value::<Outcome>(Value::from(text)).ok();
    let phase = match &task.outcome {
        Some(text) => Phase::Finished(outcome(text)?),
        None => Phase::Running,
    };
    let status = serde_json::from_value(task.status.clone()?).ok()?;
    let data = events.iter().rev().map(|item| &item.event["data"]).find(|data| data["instances"].is_array());
    let instances = data.and_then(|data| serde_json::from_value(data["instances"].clone()).ok());
    let message = data.and_then(|data| data["message"].as_str()).map(str::to_owned);
    let reading = Reading { phase, status, instances: instances.unwrap_or_default(), known: true, message };
    Some(Response { poll: Ok(reading), date: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::{EventItem, TaskItem, TaskState};

    #[test]
    fn the_state_in_the_daemon_is_a_reading_with_the_instances_of_the_last_event() {
        let task: TaskItem = serde_json::from_value(serde_json::json!({
            "key": 1, "id": "1", "operation": "bm", "account": "a", "region": "bj", "state": "finished",
            "outcome": "partial", "status": 3, "registered_at": "", "polls": 2, "errors": 0, "origin": "file"
        }))
        .unwrap();
        let event = |instances: Value| EventItem {
            seq: 1,
            event: serde_json::json!({ "data": { "instances": instances } }),
            deliveries: Vec::new(),
        };
        let ended = event(serde_json::json!([{ "id": "cpm-1", "status": 1, "outcome": "success" }]));
        let events = vec![event(serde_json::json!([])), ended];
        let detail =
            TaskDetail { task, events, recent_polls: Vec::new(), sinks: None, params: Default::default() };
        let reading = known(&detail).unwrap().poll.unwrap();
        assert_eq!(reading.phase, Phase::Finished(Outcome::Partial));
        assert_eq!((reading.status, reading.instances.len()), (Code::Int(3), 1));
        let task = TaskItem { outcome: None, status: None, state: TaskState::Open, ..detail.task.clone() };
        assert!(known(&TaskDetail { task, ..detail }).is_none());
    }
}
