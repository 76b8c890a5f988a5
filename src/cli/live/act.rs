//! Commands that change something: on tasks, accounts and sinks, and `reload`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::table::relative;
use super::{Connection, Selector};
use super::{status, wrong};
use crate::api::client::DaemonClient;
use crate::api::wire::{
    AccountItem, DelayItem, DelayState, Extension, ReloadOptions, SinkItem, Status, TaskDetail, TaskItem,
};
use crate::cli::{CommandFailure, print};
use crate::clock::Clock;
use crate::units::Span;

/// The longest wait for the result of a probe: a poll takes 10s by default, and waits for its slot.
const PATIENCE: Duration = Duration::from_secs(15);
/// The time between two looks at the result.
const LOOK: Duration = Duration::from_millis(200);
/// A poll within that time leaves in the next slot, for people.
const SOON: Duration = Duration::from_secs(2);

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
            Self::Retry => "tried again now",
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
    clock: Clock,
) -> Result<(), CommandFailure> {
    let daemon = connection.connect()?;
    // The probe of a task is its next poll.
    let verb = if verb == Verb::Retry { Verb::Poll } else { verb };
    for id in ids {
        let key = selector.find(&daemon, id).await?.key.to_string();
        daemon.command::<()>(&["tasks", &key, verb.path()], None).await.map_err(|error| error.about(id))?;
        let later = if verb == Verb::Poll { next_poll(&daemon, &key, clock).await? } else { None };
        done(connection, "task", id, later.as_deref().unwrap_or(verb.done()))?;
    }
    Ok(())
}

/// The next poll of a task, if it is not soon: a pause that the cloud requested, or an open circuit breaker.
async fn next_poll(daemon: &DaemonClient, key: &str, clock: Clock) -> Result<Option<String>, CommandFailure> {
    let TaskDetail { task: TaskItem { next_poll, account, .. }, .. } =
        daemon.get(&["tasks", key], &[]).await?;
    let now = clock.now().wall;
    let soon = (now + SOON).to_string();
    let Some(next) = next_poll.filter(|next| *next > soon) else { return Ok(None) };
    let next = relative(&next, now);
    let Delays { pauses, tried } = delays(daemon, Thing::Account, &account).await?;
    Ok(Some(if pauses || !tried.is_empty() {
        format!(
            "will be polled {next}, since polls of its account are delayed; `opwatch retry account {account}` polls at once"
        )
    } else {
        format!("will be polled {next}, as the rate limit allows")
    }))
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
    clock: Clock,
) -> Result<(), CommandFailure> {
    let (folder, kind) = match thing {
        Thing::Task => return on_tasks(connection, selector, &[name.to_owned()], verb, clock).await,
        Thing::Account => ("accounts", "account"),
        Thing::Sink => ("sinks", "sink"),
    };
    // Such a segment would lead to another path.
    if matches!(name, "" | "." | "..") {
        return Err(wrong(format!("there is no {kind} `{name}`")));
    }
    let daemon = connection.connect()?;
    if verb == Verb::Retry {
        let result = retry(&daemon, thing, name, &[folder, name, verb.path()], clock).await?;
        return done(connection, kind, name, result);
    }
    daemon.command::<()>(&[folder, name, verb.path()], None).await.map_err(|error| error.about(name))?;
    done(connection, kind, name, verb.done())
}

/// Probes an account or a sink, and waits for the result. Returns the result in words.
async fn retry(
    daemon: &DaemonClient,
    thing: Thing,
    name: &str,
    path: &[&str],
    clock: Clock,
) -> Result<&'static str, CommandFailure> {
    let Delays { pauses, tried: before } = delays(daemon, thing, name).await?;
    daemon.command::<()>(path, None).await.map_err(|error| error.about(name))?;
    if before.is_empty() {
        return Ok(if pauses {
            "the requested pause has ended"
        } else {
            "is not on hold, and nothing is delayed"
        });
    }
    if is_idle(daemon, thing, name).await? {
        return Ok("nothing waits, so the next call shows whether it works");
    }
    let end = clock.now().steady + PATIENCE;
    loop {
        let now = clock.now();
        let Delays { tried, .. } = delays(daemon, thing, name).await?;
        if !tried.keys().any(|what| before.contains_key(what)) {
            let was_held = before.values().any(|delay| delay.state == DelayState::OnHold);
            return Ok(if was_held { "the probe succeeded, and the hold is released" } else { "succeeded" });
        }
        let has_failed = |(what, delay): (&String, &DelayItem)| {
            before.get(what).is_none_or(|before| before.failed != delay.failed)
        };
        if tried.iter().all(has_failed) {
            let failed = tried.into_values().map(|delay| {
                let next = relative(&delay.next, now.wall);
                format!("{}: {} (next {next})", delay.what, delay.error.unwrap_or_default())
            });
            return Err(CommandFailure::StillHeld(failed.collect()));
        }
        if now.steady >= end {
            return Ok("is tried, without a result yet; see `opwatch status`");
        }
        clock.sleep_until(now.steady + LOOK).await;
    }
}

/// The delays of an account with its rate-limit scopes, or of a sink.
struct Delays {
    /// Whether a response requested a pause.
    pauses: bool,
    /// The other delays, by their names in words: a probe or an attempt ends them.
    tried: BTreeMap<String, DelayItem>,
}

async fn delays(daemon: &DaemonClient, thing: Thing, name: &str) -> Result<Delays, CommandFailure> {
    let Status { delays, .. } = daemon.get(&["status"], &[]).await?;
    let is_meant = |delay: &DelayItem| match thing {
        Thing::Sink => delay.what == format!("sink {name}"),
        Thing::Task | Thing::Account => {
            delay.what == format!("account {name}") || delay.what.ends_with(&format!(" of account {name}"))
        }
    };
    let (pauses, tried): (Vec<_>, Vec<_>) =
        delays.into_iter().filter(is_meant).partition(|delay| delay.state == DelayState::PauseRequested);
    let tried = tried.into_iter().map(|delay| (delay.what.clone(), delay)).collect();
    Ok(Delays { pauses: !pauses.is_empty(), tried })
}

/// Whether there is nothing to be sent, not even as a probe.
async fn is_idle(daemon: &DaemonClient, thing: Thing, name: &str) -> Result<bool, CommandFailure> {
    if thing == Thing::Sink {
        let sinks: Vec<SinkItem> = daemon.get(&["sinks"], &[]).await?;
        return Ok(sinks.iter().any(|sink| sink.name == name && sink.undelivered == 0));
    }
    let accounts: Vec<AccountItem> = daemon.get(&["accounts"], &[]).await?;
    Ok(accounts.iter().any(|account| account.name == name && account.tasks == 0))
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
    if !connection.json {
        print::line("The configuration is reloaded.\n")?;
    }
    status::report(connection, &reloaded, clock.now().wall)
}

fn done(connection: &Connection, kind: &str, name: &str, what: &str) -> Result<(), CommandFailure> {
    let json = serde_json::json!({ kind: name, "result": what });
    if connection.print_json(&[json])? { Ok(()) } else { print::line(&format!("{kind} {name}: {what}")) }
}
