//! Commands into a loop. Each gets one result.

use tokio::sync::{mpsc, oneshot};

use crate::clock::Steady;

/// The bound of waiting commands: a loop handles all of them in its next turn.
const WAITING: usize = 64;

/// A command, and the receiver of its result.
pub struct Command {
    /// The requested action.
    pub action: Action,
    /// The receiver of the result, which may be gone.
    pub result: oneshot::Sender<Result<(), CommandRefused>>,
}

/// An action of a loop.
#[derive(Debug)]
pub enum Action {
    /// Probes the hold of that account or sink now.
    Retry(String),
    /// Reports the state of the polling loop.
    Report(oneshot::Sender<WatchReport>),
}

/// The state of the polling loop, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchReport {
    /// Number of open tasks.
    pub open: usize,
    /// Number of tasks that ended since the start of the daemon.
    pub finished: u64,
    /// The accounts and operations on hold.
    pub on_hold: Vec<String>,
    /// Number of rate-limit scopes whose rate is reduced after refusals.
    pub throttled: usize,
    /// Polls a second, over all rate-limit scopes with tasks.
    pub rate_used: f64,
    /// Allowed polls a second, over all rate-limit scopes with tasks.
    pub rate_allowed: f64,
    /// The moment of the next poll; `None`: not before a response arrives.
    pub next_poll: Option<Steady>,
}

/// The reason why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// The loop knows no such account or sink.
    #[error("there is no such account or sink")]
    Unknown,
    /// The loop ended.
    #[error("the daemon is stopping")]
    Stopping,
}

/// The way into a loop.
#[derive(Clone, Debug)]
pub struct Commands(mpsc::Sender<Command>);

/// A new way into a loop, and its receiving end.
pub fn channel() -> (Commands, mpsc::Receiver<Command>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Commands(sender), receiver)
}

impl Commands {
    /// Sends an action to the loop and waits for its result.
    ///
    /// # Errors
    /// When the loop refused the action, or ended.
    pub async fn send(&self, action: Action) -> Result<(), CommandRefused> {
        let (result, response) = oneshot::channel();
        self.0.send(Command { action, result }).await.map_err(|_| CommandRefused::Stopping)?;
        response.await.map_err(|_| CommandRefused::Stopping)?
    }
}

impl Command {
    /// Returns the result to the sender, which may be gone.
    pub fn respond(self, result: Result<(), CommandRefused>) {
        let _ = self.result.send(result);
    }
}
