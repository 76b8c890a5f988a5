//! Commands into a loop. Each gets one result.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Steady;
use crate::model::records::Registered;
use crate::model::task::{NewTask, Row};

/// The bound of waiting commands: a loop handles all of them in its next turn.
const WAITING: usize = 64;

/// A command, and the receiver of its result.
pub struct Command {
    /// The requested action.
    pub action: Action,
    /// The receiver of the result.
    pub result: Responder,
}

/// The receiver of the result of a command, which may be gone.
pub type Responder = oneshot::Sender<Result<(), CommandRefused>>;

/// An action of a loop.
#[derive(Debug)]
pub enum Action {
    /// Registers tasks, and polls them or applies their changed settings. The results are sent in the order of the tasks,
    /// before that of the command.
    Add(Vec<NewTask>, oneshot::Sender<Vec<Registered>>),
    /// Acts on an open task.
    Task(Row, TaskAction),
    /// Probes the hold of that account or sink now.
    Retry(String),
    /// Pauses that account or sink durably.
    Pause(String),
    /// Ends the pause of that account or sink.
    Resume(String),
    /// Reports the state of the polling loop.
    Report(oneshot::Sender<WatchReport>),
}

/// An action on an open task. A step that is being stored, or a poll in flight, is awaited first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAction {
    /// Polls it in the next slot of its pace key.
    Poll,
    /// Moves its deadline to that time from now, durably.
    Extend(Duration),
    /// Abandons it with the reason `cancelled`.
    Cancel,
    /// Stops its polls until it is resumed, durably.
    Pause,
    /// Ends its pause.
    Resume,
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
    /// The accounts that a person paused.
    pub paused_accounts: Vec<String>,
    /// Number of tasks that a person paused.
    pub paused_tasks: usize,
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
    /// The task has ended, or there is none of that key.
    #[error("the task has ended")]
    Ended,
    /// The task, the account or the sink is paused.
    #[error("it is paused; resume it first")]
    Paused,
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
