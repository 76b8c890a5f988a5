//! Commands that change something: on tasks, accounts and sinks, and `reload`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::table::relative;
use super::{Connection, Selector};
use super::{status, wrong};
use crate::api::client::DaemonClient;
use crate::api::wire::{
    AccountItem, Extension, HoldItem, ReloadOptions, SinkItem, Status, TaskDetail, TaskItem,
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
    let Delays { is_slow, .. } = delays(daemon, Thing::Account, &account).await?;
    Ok(Some(if is_slow {
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
    let before = if verb == Verb::Retry { Some(delays(&daemon, thing, name).await?) } else { None };
    daemon.command::<()>(&[folder, name, verb.path()], None).await.map_err(|error| error.about(name))?;
    let Some(before) = before else { return done(connection, kind, name, verb.done()) };
    if before.holds.is_empty() || before.is_idle {
        let what = match before {
            Delays { is_idle: true, .. } => "nothing waits, so the next call shows whether it works",
            Delays { is_slow: true, .. } => verb.done(),
            Delays { .. } => "is not on hold",
        };
        return done(connection, kind, name, what);
    }
    let end = clock.now().steady + PATIENCE;
    loop {
        let now = clock.now();
        let Delays { holds, .. } = delays(&daemon, thing, name).await?;
        let is_probed = |(what, hold): (&String, &HoldItem)| {
            before.holds.get(what).is_none_or(|before| before.failed_probes != hold.failed_probes)
        };
        if holds.is_empty() {
            return done(connection, kind, name, "the probe succeeded, and the hold is released");
        }
        if holds.iter().all(is_probed) {
            let held = holds.into_iter().map(|(what, hold)| {
                let next = hold.next_probe.map(|next| relative(&next, now.wall)).unwrap_or_default();
                format!("{what}: {} (next probe {next})", hold.error)
            });
            return Err(CommandFailure::StillHeld(held.collect()));
        }
        if now.steady >= end {
            return done(connection, kind, name, "is probed, without a result yet; see `opwatch status`");
        }
        clock.sleep_until(now.steady + LOOK).await;
    }
}

/// The holds and delays of an account with its rate-limit scopes, or of a sink.
#[derive(Default)]
struct Delays {
    /// The holds, by their names in words.
    holds: BTreeMap<String, HoldItem>,
    /// Whether a circuit breaker is open, or a response requested a pause.
    is_slow: bool,
    /// Whether there is nothing to be sent, not even as a probe.
    is_idle: bool,
}

/// `Delays` of that name; none if there is no such account or sink.
async fn delays(daemon: &DaemonClient, thing: Thing, name: &str) -> Result<Delays, CommandFailure> {
    let mut delays = Delays::default();
    if thing == Thing::Sink {
        let sinks: Vec<SinkItem> = daemon.get(&["sinks"], &[]).await?;
        for sink in sinks.into_iter().filter(|sink| sink.name == name) {
            delays.holds.extend(sink.hold.map(|hold| (format!("sink {name}"), hold)));
            delays.is_slow = sink.is_circuit_breaker_open || sink.requested_pause_until.is_some();
            delays.is_idle = sink.undelivered == 0;
        }
        return Ok(delays);
    }
    let accounts: Vec<AccountItem> = daemon.get(&["accounts"], &[]).await?;
    for account in accounts.into_iter().filter(|account| account.name == name) {
        delays.holds.extend(account.hold.map(|hold| (format!("account {name}"), hold)));
        delays.is_idle = account.tasks == 0;
        for scope in account.scopes.into_iter().filter(|scope| scope.tasks > 0) {
            delays.is_slow |= scope.is_circuit_breaker_open || scope.requested_pause_until.is_some();
            let what = format!("{} in {}", scope.operation, scope.region);
            delays.holds.extend(scope.hold.map(|hold| (what, hold)));
        }
    }
    Ok(delays)
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
