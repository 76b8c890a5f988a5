//! `check --live`: one signed request per account, and a connection to every sink, without a store and
//! without an event.
//!
//! All of them at the same time, each with a time limit; accounts that share a pace key follow its pace.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::task::JoinSet;

use super::plan::Plan;
use super::{Error, build_sinks_off_loop, catalogue, cloud};
use crate::clock::{Clock, Steady, Wall};
use crate::cloud::{PollRoute, Stamp};
use crate::config::Loaded;
use crate::model::delivery::{Refusal, RefusalClass};
use crate::model::reading::Response;
use crate::model::reading::{Class, Fault};
use crate::model::task::NewTask;
use crate::model::task::PaceKey;
use crate::problem::Place;
use crate::register::{TaskEntry, WrittenId};
use crate::sinks::LineStyle;
use crate::units::{Span, rounded};

/// The time limit for one sink: a folder on a dead network mount never responds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The id for an account without a task. Its existence does not matter: the credentials are tested.
const NO_TASK: u64 = 1;

/// The result for one account or sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachResult {
    /// Whether it can be used.
    pub usability: Usability,
    /// The reason, and the fix.
    pub what: String,
}

/// Whether something can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usability {
    /// Usable.
    Good,
    /// Unknown: it was not tried, or cannot be tried without an event.
    Untried,
    /// Not now; it may pass by itself.
    Later,
    /// A person must act.
    Refused,
}

/// The results, by name.
#[derive(Debug, Default)]
pub struct ReachReport {
    /// The accounts.
    pub accounts: BTreeMap<String, ReachResult>,
    /// The sinks.
    pub sinks: BTreeMap<String, ReachResult>,
}

/// Reaches for all of them.
///
/// # Errors
/// When the daemon could not be built of this configuration.
pub async fn reach(
    loaded: &Loaded,
    plan: &Plan,
    style: &LineStyle,
    clock: Clock,
) -> Result<ReachReport, Error> {
    let mut found = ReachReport::default();
    let mut polled = JoinSet::new();
    let mut looked_at = JoinSet::new();
    let cloud = cloud(loaded)?;
    let mut turns: HashMap<PaceKey, Steady> = HashMap::new();
    let first = clock.now().steady;
    for name in loaded.accounts.keys() {
        match task_of(name, loaded, plan) {
            Ok(task) => {
                let route = cloud.route(&task.target)?;
                let turn = turns.entry(route.pace_key.clone()).or_insert(first);
                let name = name.clone();
                let mine = *turn;
                *turn = mine + route.rate.interval();
                polled.spawn(async move {
                    clock.sleep_until(mine).await;
                    (name, poll_once(&route, task, clock).await)
                });
            }
            Err(what) => {
                drop(found.accounts.insert(name.clone(), ReachResult { usability: Usability::Untried, what }))
            }
        }
    }
    for (name, (sink, _)) in build_sinks_off_loop(loaded, style, clock).await? {
        looked_at.spawn(async move {
            let reached = tokio::time::timeout(PATIENCE, sink.reach()).await.unwrap_or_else(|_| {
                let patience = Span(PATIENCE);
                Err(Refusal::passing(format!(
                    "the sink gave no result within {patience}; check the disk or the network"
                )))
            });
            (name, of_sink(reached))
        });
    }
    found.accounts.extend(polled.join_all().await);
    found.sinks.extend(looked_at.join_all().await);
    Ok(found)
}

/// The first listed task of an account, or a substitute.
fn task_of(account: &str, loaded: &Loaded, plan: &Plan) -> Result<NewTask, String> {
    if let Some(task) = plan.first_tasks.get(account) {
        return Ok(task.clone());
    }
    let written = TaskEntry {
        id: Some(WrittenId::Int(NO_TASK)),
        account: Some(account.to_owned()),
        ..TaskEntry::default()
    };
    let task = catalogue(loaded).resolve(written, &Place::default());
    task.map_err(|problem| format!("no task is listed for a test request: {problem}"))
}

/// One request; and a second one if the server refused it since the clocks disagree, as polls do.
async fn poll_once(route: &PollRoute, task: NewTask, clock: Clock) -> ReachResult {
    let params: Vec<_> = task.settings.params.into_iter().collect();
    let ask = async |at: Wall| route.poll(&task.id, &params, Stamp { nonce: clock.nonce(), at }, true).await;
    let here = clock.now().wall;
    let Response { poll, date } = ask(here).await;
    let refused_unread = poll.as_ref().is_err_and(|fault| fault.class == Class::Clock);
    let (poll, clocks) = match date.filter(|_| refused_unread) {
        Some(there) => {
            clock.sleep_until(clock.now().steady + route.rate.interval()).await;
            let apart = rounded(Duration::from_millis(there.0.abs_diff(here.0)));
            let words = format!(
                "; the clocks are {apart} apart, which opwatch corrects by itself, but set this machine's"
            );
            (ask(there).await.poll, words)
        }
        None => (poll, String::new()),
    };
    let host = &route.pace_key.host;
    let (stand, what) = match poll {
        Ok(reading) => (
            Usability::Good,
            format!("{host} accepted the signature; task {} has the status {}", task.id, reading.status),
        ),
        Err(fault) => of_fault(host, &fault),
    };
    ReachResult { usability: stand, what: what + &clocks }
}

/// The meaning of a fault for the account. A fault of the task is a success: the credentials were accepted
/// before the task was searched.
fn of_fault(host: &str, fault: &Fault) -> (Usability, String) {
    let Fault { code, message, .. } = fault;
    let response = if message.is_empty() { code.to_string() } else { format!("{code}, {message}") };
    match fault.class {
        Class::Task => {
            (Usability::Good, format!("{host} accepted the signature; result for the task: {response}"))
        }
        Class::Account => (
            Usability::Refused,
            format!(
                "{host} refuses the credentials: {response}; check secret_id, the key and, for temporary credentials, the token"
            ),
        ),
        Class::PaceKey => (
            Usability::Refused,
            format!(
                "{host} refuses this action in this region: {response}; check the permissions of the key, region and endpoint"
            ),
        ),
        Class::Clock => (
            Usability::Later,
            format!("{host} reports an expired or repeated request: {response}; set this machine's clock"),
        ),
        Class::Throttled | Class::AccountThrottled => (
            Usability::Later,
            format!("{host} throttles requests: {response}; find other users of this API key"),
        ),
        Class::Connection | Class::Service => (
            Usability::Later,
            format!("no usable response from {host}: {response}; check the network, or wait"),
        ),
    }
}

fn of_sink(reached: Result<Option<&'static str>, Refusal>) -> ReachResult {
    match reached {
        Ok(Some(what)) => ReachResult { usability: Usability::Good, what: what.to_owned() },
        Ok(None) => ReachResult {
            usability: Usability::Untried,
            what: "only a delivery can show it; run `opwatch events test`".to_owned(),
        },
        Err(refusal) => {
            let stand = match refusal.class {
                RefusalClass::Passing => Usability::Later,
                RefusalClass::Sink | RefusalClass::Event => Usability::Refused,
            };
            ReachResult { usability: stand, what: refusal.what }
        }
    }
}

impl ReachReport {
    /// The accounts and sinks with that usability, each with its kind.
    pub fn that_are(&self, stand: Usability) -> Vec<String> {
        let named = |kind, found: &BTreeMap<String, ReachResult>| {
            found
                .iter()
                .filter(|(_, reached)| reached.usability == stand)
                .map(|(name, _)| format!("{kind} {name}"))
                .collect::<Vec<_>>()
        };
        [named("account", &self.accounts), named("sink", &self.sinks)].concat()
    }
}
