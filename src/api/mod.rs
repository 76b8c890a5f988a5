//! The HTTP interface of the running daemon: over a Unix socket, and optionally over TCP.
//!
//! Handlers ask the loops through commands and read the store; nothing is decided here. `wire` has the data types of
//! both sides, `guard` decides who may enter, `server` bounds connections, and `routes` has the handlers.

pub mod client;
mod config;
mod guard;
mod problem;
mod routes;
pub mod server;
mod stream;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::clock::{Clock, Wall};
use crate::live::Live;
use crate::live::command::{Action, Commands};
use crate::store::Store;
pub use config::{Config, default_socket};
use problem::HttpError;
pub use routes::document;

/// The longest wait for a loop: a full disk or a lock of another process may delay a command for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The parts of the daemon that the interface reaches.
#[derive(Clone)]
pub struct Interface {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The live configuration.
    pub live: Live,
    /// Time.
    pub clock: Clock,
    /// The start of the process.
    pub started_at: Wall,
    /// Commands into the polling loop.
    pub to_watch: Commands,
    /// Commands into the lanes, by sink.
    pub to_lanes: watch::Receiver<BTreeMap<String, Commands>>,
    /// Requests to reload the configuration.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// Notified when the outbox, or an event, may be new.
    pub outbox: watch::Sender<()>,
    /// Places for streams.
    pub streams: Arc<Semaphore>,
}

/// The largest number of streams at a time.
pub const STREAMS: usize = 16;

/// A request to reload the configuration.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Whether it may abandon more than half of the open tasks.
    pub allow_removals: bool,
    /// The receiver of the result, or of all errors.
    pub result: oneshot::Sender<Result<(), Vec<String>>>,
}

impl Interface {
    /// Sends a command to the polling loop, and waits for its result.
    async fn ask(&self, action: Action) -> Result<(), HttpError> {
        within_patience(self.to_watch.send(action)).await
    }

    /// Sends a command to the lane of that sink, and waits for its result.
    async fn ask_lane(&self, sink: &str, action: Action) -> Result<(), HttpError> {
        let lane = self.to_lanes.borrow().get(sink).cloned();
        let Some(lane) = lane else {
            return Err(HttpError::not_found(format!("there is no sink {sink}")));
        };
        within_patience(lane.send(action)).await
    }

    /// Asks the polling loop for a report.
    async fn report<T>(&self, action: impl FnOnce(oneshot::Sender<T>) -> Action) -> Result<T, HttpError> {
        let (to, report) = oneshot::channel();
        self.ask(action(to)).await?;
        report.await.map_err(|_| HttpError::stopping())
    }
}

async fn within_patience(
    command: impl Future<Output = Result<(), crate::live::command::CommandRefused>>,
) -> Result<(), HttpError> {
    match tokio::time::timeout(PATIENCE, command).await {
        Ok(result) => result.map_err(HttpError::from),
        Err(_) => Err(HttpError::busy()),
    }
}
