//! Commands into a loop. Each gets one result.

use tokio::sync::{mpsc, oneshot};

/// The bound of waiting commands: a loop handles all of them in its next turn.
const WAITING: usize = 64;

/// A command, and the receiver of its result.
pub struct Command {
    /// The requested action.
    pub action: Action,
    result: oneshot::Sender<Result<(), CommandRefused>>,
}

/// An action of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Probes the hold of that account or sink now.
    Retry(String),
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
