//! ONE ATTEMPT each: a file per sink with its own `Config`, `new` and `send`.
//!
//! A sink keeps a connection, but no memory of events, and never tries again by itself: order, retries and
//! holds are the lane's (`deliver/`).

pub mod channel;
pub mod exec;
pub mod file;
pub mod log;
pub mod template;
pub mod webhook;
#[cfg(test)]
mod conformance;
#[cfg(test)]
#[path = "../../tests/support/receiver.rs"]
pub(crate) mod receiver;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::model::delivery::{Refusal, Retry};
use crate::model::event::Event;
use crate::model::reading::Outcome;
use crate::model::route::Group;
use crate::problem::{Place, Problem};
use crate::section::{Fault, dotted};
use crate::telemetry::ResolvedFormat;
use crate::units::{Rate, Span};

/// The keys of `[sinks.NAME]` that every type has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// What it hears of. Default: finished and abandoned; `log`: everything.
    pub events: Option<Vec<Group>>,
    /// The outcomes of finished tasks that it hears of. Default: all.
    pub outcomes: Option<Vec<Outcome>>,
    /// It hears of tasks alone that carry these. Default: of all.
    pub labels: BTreeMap<String, String>,
    /// Attempts in a time. Default: as many as the sink takes.
    pub rate: Option<Rate>,
    /// How long events are gathered for one attempt. Default: not at all.
    pub batch: Option<Span>,
    /// How a failed delivery is tried again.
    pub retry: Retry,
    /// Attempts under way at once, 1 to 1000; `log` and files take one. Default 8.
    pub max_in_flight: usize,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            events: None,
            outcomes: None,
            labels: BTreeMap::new(),
            rate: None,
            batch: None,
            retry: Retry::default(),
            max_in_flight: 8,
        }
    }
}

/// The keys of `[sinks.NAME]` that only its `type` has.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `[sinks.log]`, which is always there and has no `type`.
    Log,
    /// `type = "exec"`.
    Exec(exec::Config),
    /// `type = "file"`.
    File(file::Config),
    /// `type = "webhook"`.
    Webhook(Box<webhook::Config>),
}

/// `[sinks.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What every type has.
    pub common: Common,
    /// What this type has.
    pub kind: Kind,
}

impl Kind {
    /// What it is and where it leads, without anything that may be a secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Log => "standard error, or the journal under systemd".to_owned(),
            Self::Exec(exec) => format!("exec {}", exec.command.program()),
            Self::File(file) if file.path.as_os_str() == "-" => "file - (standard output)".to_owned(),
            Self::File(file) => format!("file {}", file.path.display()),
            Self::Webhook(webhook) => format!("webhook {}", webhook.shown()),
        }
    }
}

/// What `type` may say.
pub const TYPES: [&str; 3] = ["file", "webhook", "exec"];

/// Where events go.
#[async_trait]
pub trait Sink: Send + Sync {
    /// How many events one attempt takes at most; 1 or more.
    fn batch(&self) -> usize;

    /// How many attempts may be under way at once at most, whatever is configured.
    fn max_in_flight(&self) -> usize {
        usize::MAX
    }

    /// The files whose change may mend a sink that is held: its secrets, its certificates, its program, its
    /// folder.
    fn mended_by(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether the destination is there and lets this user in, as far as that can be told without an event;
    /// nothing is changed there. In a few words what was found; `None`: only an attempt can tell.
    async fn reach(&self) -> Result<Option<&'static str>, Refusal> {
        Ok(None)
    }

    /// One attempt to hand over these events, in order. `Ok` means that all of them are acknowledged; after
    /// an error none counts as delivered, and all come again.
    async fn send(&self, events: &[Event]) -> Result<(), Refusal>;
}

/// The sink of that name; the format is that of the `log` sink's lines. What may be missing only for now (a
/// folder, a reader, a server) is no problem here: it is told by the first attempt, which holds the sink.
pub fn build(
    config: &Config,
    name: &str,
    format: ResolvedFormat,
    clock: Clock,
) -> Result<Box<dyn Sink>, Problem> {
    match &config.kind {
        Kind::Log => match log::Log::new(format) {
            Ok(sink) => Ok(Box::new(sink)),
            Err(error) => {
                let place = Place { key: Some(format!("sinks.{name}")), ..Place::default() };
                Err(Problem::new(
                    place,
                    format!("standard error cannot be used: {error}; restart with one that can"),
                ))
            }
        },
        Kind::Exec(exec) => Ok(Box::new(exec::Exec::new(exec))),
        Kind::File(file) => Ok(Box::new(file::File::new(file))),
        Kind::Webhook(webhook) => {
            match webhook::Webhook::new(name, webhook, config.common.batch.is_some(), clock) {
                Ok(sink) => Ok(Box::new(sink)),
                // The configuration was right when it was loaded: a file changed since then.
                Err(faults) => {
                    let told =
                        faults.into_iter().map(|Fault { path, what }| format!("`{}` {what}", dotted(&path)));
                    let place = Place { key: Some(format!("sinks.{name}")), ..Place::default() };
                    Err(Problem::new(place, told.collect::<Vec<_>>().join("; ")))
                }
            }
        }
    }
}

/// Runs what may block (files, pipes, a full disk) where it keeps no other task waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|failed| Err(Refusal::passing(format!("the attempt broke off: {failed}"))))
}

/// Events for the tests of sinks.
#[cfg(test)]
pub(crate) mod samples {
    use crate::model::delivery::Refusal;
    pub use crate::model::event::samples::*;

    /// The refusal after a reader closed its end. A process that another test starts holds a copy of that end
    /// between its fork and its exec, and until then writing succeeds.
    pub async fn once_its_reader_is_gone(attempt: impl AsyncFn() -> Result<(), Refusal>) -> Refusal {
        loop {
            if let Err(refusal) = attempt().await {
                return refusal;
            }
        }
    }
}
