//! Commands into a loop. Each gets one result.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Current;
use crate::clock::{Steady, Wall};
use crate::model::delivery::Refusal;
use crate::model::event::Event;
use crate::model::reading::Code;
use crate::model::records::{Registered, Seq};
use crate::model::task::{NewTask, Row, Target};

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
pub enum Action {
    /// Registers tasks, and polls them or applies their changed settings. The results are sent in the order of the tasks,
    /// before that of the command.
    Add(Vec<NewTask>, oneshot::Sender<Vec<Registered>>),
    /// Acts on an open task.
    Task(Row, TaskAction),
    /// Waits for a slot of the pace key of that target, which another program uses.
    Slot(Target),
    /// Probes the hold of that account or sink now.
    Retry(String),
    /// Pauses that account or sink durably.
    Pause(String),
    /// Ends the pause of that account or sink.
    Resume(String),
    /// Continues with another configuration; tasks that it does not list any more are abandoned.
    Replace(Arc<Current>),
    /// Reports the state of the polling loop.
    Report(oneshot::Sender<WatchReport>),
    /// Reports the state of these tasks.
    ReportTasks(Vec<Row>, oneshot::Sender<HashMap<Row, TaskReport>>),
    /// Reports the state of all accounts.
    ReportAccounts(oneshot::Sender<Vec<AccountReport>>),
    /// Reports the state of the lane.
    ReportLane(oneshot::Sender<LaneReport>),
    /// Sends a test event to the sink of the lane, outside of its queue.
    Test(Box<Event>, oneshot::Sender<Result<(), Refusal>>),
    /// Deliveries of the lane from that number on are in the outbox again.
    Redeliver(Seq),
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
    /// The moment of the next poll of any task. `None`: none is scheduled, since no task is open, all are
    /// paused, or a response must arrive first.
    pub next_poll: Option<Steady>,
}

/// The state of a task, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskReport {
    /// Its polls, and the failed ones among them; `None`: it is not open, or a step of it is being stored.
    pub polls: Option<(u32, u32)>,
    /// The last status.
    pub status: Option<Code>,
    /// The last poll of this process.
    pub last_poll: Option<Wall>,
    /// The next poll; `None`: not before a hold, a pause or the poll in flight ends.
    pub next_poll: Option<Wall>,
    /// The deadline by the slowest clock; `None`: it has none.
    pub deadline: Option<Wall>,
    /// Whether its last poll failed.
    pub is_failing: bool,
    /// Whether its account or pace key is on hold.
    pub is_on_hold: bool,
    /// Whether a person paused it, or its account.
    pub is_paused: bool,
    /// Its last polls, oldest first.
    pub recent: Vec<PollNote>,
}

/// A poll that is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct PollNote {
    /// The moment of the response.
    pub at: Wall,
    /// The status, or the fault in words.
    pub result: Result<Code, String>,
}

/// The state of an account, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountReport {
    /// Its name.
    pub name: String,
    /// Whether a person paused it.
    pub is_paused: bool,
    /// Its hold.
    pub hold: Option<HoldReport>,
    /// Number of its open tasks.
    pub tasks: usize,
    /// Its pace keys with tasks.
    pub scopes: Vec<ScopeReport>,
}

/// The state of a pace key, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeReport {
    /// The region of its first target.
    pub region: String,
    /// The operation of its first target.
    pub operation: String,
    /// Number of its open tasks.
    pub tasks: usize,
    /// Polls a second.
    pub rate_used: Option<f64>,
    /// Allowed polls a second.
    pub rate_allowed: Option<f64>,
    /// Whether the rate is reduced after refusals.
    pub is_throttled: bool,
    /// Its delays.
    pub gate: GateReport,
}

/// The delays of a pace key or a sink, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GateReport {
    /// Its hold.
    pub hold: Option<HoldReport>,
    /// Its open circuit breaker, without a hold: only probes leave, since most calls failed.
    pub breaker: Option<ProbesReport>,
    /// The end of the pause that the other side requested.
    pub requested_pause: Option<Wall>,
}

/// A hold, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldReport {
    /// The cause in words.
    pub error: String,
    /// Its probes.
    pub probes: ProbesReport,
}

/// The probes of a hold or of an open circuit breaker, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbesReport {
    /// The start of the hold or of the failure.
    pub since: Wall,
    /// The next probe.
    pub next: Wall,
    /// Number of probes that failed; of a sink, of all attempts.
    pub failed: u32,
}

/// The state of a lane, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneReport {
    /// Whether a person paused the sink.
    pub is_paused: bool,
    /// Its delays.
    pub gate: GateReport,
    /// Its failed deliveries, which are retried: without a hold or an open circuit breaker.
    pub retries: Option<ProbesReport>,
    /// The error of the last failed attempt, while deliveries fail.
    pub last_error: Option<String>,
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
    /// The account of the task is paused.
    #[error("its account is paused; resume that one first with `opwatch resume account NAME`")]
    AccountPaused,
    /// The cloud requested a pause for the pace key.
    #[error(
        "the cloud requested a pause, which `opwatch status` shows; `opwatch retry account NAME` ends it"
    )]
    PauseRequested,
    /// The account or the pace key of the task is on hold.
    #[error(
        "its account or operation is on hold; correct the cause that `opwatch status` shows, then run `opwatch retry account NAME`"
    )]
    OnHold,
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
