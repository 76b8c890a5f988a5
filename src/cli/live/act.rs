//! Commands that change something: on tasks, accounts and sinks, and `reload`.

use super::status;
use super::{Connection, Selector};
use crate::api::wire::{Extension, ReloadOptions, Status};
use crate::cli::{CommandFailure, print};
use crate::clock::Clock;
use crate::units::Span;

/// The kind of thing that is paused, resumed or retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Thing {
    /// A task, by its id.
    Task,
    /// An account, by its name.
    Account,
    /// A sink, by its name.
    Sink,
}

/// A command on a task, an account or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Polls the task now.
    Poll,
    /// Abandons the task.
    Cancel,
    /// Stops polls or deliveries.
    Pause,
    /// Ends a pause.
    Resume,
    /// Probes a hold now.
    Retry,
}

impl Verb {
    fn done(self) -> &'static str {
        match self {
            Self::Poll => "polled in the next slot",
            Self::Cancel => "cancelled",
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Retry => "probed now",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
        }
    }
}

/// Carries out a command on tasks.
///
/// # Errors
/// When no daemon responds, there is no such task, or the daemon refuses the command.
pub async fn on_tasks(
    connection: &Connection,
    selector: &Selector,
    ids: &[String],
    verb: Verb,
) -> Result<(), CommandFailure> {
    let daemon = connection.connect()?;
    // The probe of a task is its next poll.
    let verb = if verb == Verb::Retry { Verb::Poll } else { verb };
    for id in ids {
        let key = selector.find(&daemon, id).await?.key.to_string();
        daemon.command::<()>(&["tasks", &key, verb.path()], None).await?;
        done(connection, "task", id, verb.done())?;
    }
    Ok(())
}

/// Carries out a command on a task, an account or a sink.
///
/// # Errors
/// As of [`on_tasks`].
pub async fn on(
    connection: &Connection,
    selector: &Selector,
    thing: Thing,
    name: &str,
    verb: Verb,
) -> Result<(), CommandFailure> {
    let (folder, kind) = match thing {
        Thing::Task => return on_tasks(connection, selector, &[name.to_owned()], verb).await,
        Thing::Account => ("accounts", "account"),
        Thing::Sink => ("sinks", "sink"),
    };
    connection.connect()?.command::<()>(&[folder, name, verb.path()], None).await?;
    done(connection, kind, name, verb.done())
}

/// Moves the deadline of a task.
///
/// # Errors
/// As of [`on_tasks`].
pub async fn extend(
    connection: &Connection,
    selector: &Selector,
    id: &str,
    duration: Span,
) -> Result<(), CommandFailure> {
    let daemon = connection.connect()?;
    let key = selector.find(&daemon, id).await?.key.to_string();
    let body = Extension { duration: duration.to_string() };
    daemon.command(&["tasks", &key, "extend"], Some(&body)).await?;
    done(connection, "task", id, &format!("its deadline is in {duration}"))
}

/// Reads the configuration again, and prints the status after it.
///
/// # Errors
/// When no daemon responds, or the configuration is refused.
pub async fn reload(
    connection: &Connection,
    allow_removals: bool,
    clock: Clock,
) -> Result<(), CommandFailure> {
    let options = ReloadOptions { allow_removals };
    let reloaded: Status = connection.connect()?.post(&["reload"], &options).await?;
    status::report(connection, &reloaded, clock.now().wall)
}

fn done(connection: &Connection, kind: &str, name: &str, what: &str) -> Result<(), CommandFailure> {
    let json = serde_json::json!({ kind: name, "result": what });
    if connection.print_json(&[json])? { Ok(()) } else { print::line(&format!("{kind} {name}: {what}")) }
}
