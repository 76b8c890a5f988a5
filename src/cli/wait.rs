//! `opwatch wait`: watches tasks until they finish, without a store file and without sinks.
//!
//! The command runs the daemon of `run` with a store in memory, and receives its events. With a running daemon of the same
//! credentials it shares the rate limits ([`shared`]). This file starts and
//! ends it; the state of each task is in [`tasks`], shown by [`output`] and [`frame`], and summarised by
//! [`verdict`].

mod arguments;
mod frame;
mod output;
mod shared;
mod tasks;
mod verdict;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use arguments::Arguments;
pub use verdict::{Verdict, Worst};

use super::CommandFailure;
use super::run::{HANGUP, is_ignored};
use crate::clock::Clock;
use crate::cloud::Sharing;
use crate::config::Loaded;
use crate::daemon::{Daemon, Ended, Options};
use crate::sinks::channel::Handed;
use crate::units::{Limit, Span};
use crate::watch::PollReport;
use output::Output;
use shared::SharedDaemon;
use tasks::Tasks;

/// The time with only work on hold after which the command ends (docs/architecture.md §6).
const HELD_FOR_LONG: Duration = Duration::from_secs(10);
/// The interval of the live view.
const FRAME: Duration = Duration::from_millis(250);

/// The interval of lines in a pipe.
const LINE: Duration = Duration::from_secs(60);

/// The number of the signal of Ctrl-C.
const INTERRUPT: u8 = 2;

/// The text and the signal of a stopped command.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Stopped {
    /// The number of the signal.
    pub signal: u8,
    /// The command that continues.
    pub text: String,
}

/// Runs the command.
///
/// # Errors
/// Whenever not every task ended well, and when it cannot be watched at all.
pub async fn run(arguments: Arguments, clock: Clock) -> Result<(), CommandFailure> {
    let mut stopped = std::pin::pin!(stopping_signal()?);
    let prepared = tokio::select! {
        prepared = arguments::prepare(arguments.clone()) => prepared?,
        signal = &mut stopped => return Err(Stopped { signal, text: "stopped before anything was watched".to_owned() }.into()),
    };
    let (loaded, listed) = prepared;
    let output = Output::new(arguments.json)?;
    let mut tasks = Tasks::new(&listed, clock.now().steady);
    let ended = tokio::select! {
        biased;
        signal = &mut stopped => {
            if signal == INTERRUPT {
                output.interrupted();
            }
            Err(signal)
        }
        ended = watch(loaded, &arguments, &mut tasks, &output, clock) => Ok(ended),
    };
    let total = frame::total(&tasks, clock.now().steady, arguments.timeout);
    output.close(|size| frame::failures(&tasks, size), &total);
    let open = tasks.open_ids();
    let go_on = arguments.go_on(&listed, &open);
    match ended {
        Ok(ended) => match verdict::of(&ended?, &tasks, arguments.timeout, &go_on) {
            None => Ok(()),
            Some(verdict) => Err(verdict.into()),
        },
        Err(signal) => {
            let text = format!("stopped, with {} of {} tasks open; {go_on}", open.len(), listed.len());
            Err(Stopped { signal, text }.into())
        }
    }
}

/// The end of the watch.
pub enum WaitEnd {
    /// Every task has finished.
    Finished,
    /// Only work on hold was left for long: its names.
    Held(Vec<String>),
    /// The command's own limit passed.
    Limit,
    /// A task did not succeed, and `--fail-fast` was given.
    Failed,
}

/// Watches until the end, or until the time limit.
async fn watch(
    loaded: Loaded,
    arguments: &Arguments,
    tasks: &mut Tasks,
    output: &Output,
    clock: Clock,
) -> Result<WaitEnd, CommandFailure> {
    let (mut options, events, polls) = Options::with_listener(HELD_FOR_LONG, clock);
    options.sharing =
        arguments.daemon().map(|client| Arc::new(SharedDaemon::new(client, clock)) as Arc<dyn Sharing>);
    let Limit(timeout) = arguments.timeout;
    let limit = timeout.map(|timeout| clock.now().steady + timeout);
    let daemon = async { Ok(Daemon::start(loaded, options).await?.run().await?) };
    let failed = CancellationToken::new();
    let fail_fast = arguments.fail_fast.then(|| failed.clone());
    let shown = Shown { events, polls, tasks, output, clock, timeout: arguments.timeout, fail_fast };
    tokio::select! {
        biased;
        () = clock.sleep_until(limit.unwrap_or_default()), if limit.is_some() => Ok(WaitEnd::Limit),
        () = failed.cancelled() => Ok(WaitEnd::Failed),
        // Side by side: a slow reader delays no poll.
        ended = async { tokio::try_join!(daemon, show(shown)) } => Ok(match ended?.0 {
            Ended { on_hold, .. } if on_hold.is_empty() => WaitEnd::Finished,
            Ended { on_hold, .. } => WaitEnd::Held(on_hold),
        }),
    }
}

/// The live view, and its sources.
struct Shown<'a> {
    events: mpsc::Receiver<Handed>,
    polls: mpsc::Receiver<PollReport>,
    tasks: &'a mut Tasks,
    output: &'a Output,
    clock: Clock,
    timeout: Limit,
    /// Cancelled by the first task that does not succeed.
    fail_fast: Option<CancellationToken>,
}

/// Shows the events of the daemon inside this command, until it ends.
async fn show(mut shown: Shown<'_>) -> Result<(), CommandFailure> {
    let mut next_frame = shown.clock.now().steady;
    // In a pipe a first line, and a line a minute: a silent command is taken for a hanging one.
    let mut next_line = next_frame;
    loop {
        let now = shown.clock.now().steady;
        if now >= next_frame {
            shown.output.draw(|size| frame::frame(shown.tasks, now, size, shown.timeout));
            next_frame = now + FRAME;
        }
        if now >= next_line && !shown.output.is_live() {
            shown.output.progress(&frame::total(shown.tasks, now, shown.timeout));
            next_line = now + LINE;
        }
        tokio::select! {
            biased;
            event = shown.events.recv() => match event {
                Some(received) => {
                    shown.tasks.event_received(&received.event);
                    shown.output.write_event(received.event.clone()).await?;
                    if let Some(failed) = &shown.fail_fast
                        && shown.tasks.has_failed()
                    {
                        failed.cancel();
                    }
                }
                None => return Ok(()),
            },
            Some(seen) = shown.polls.recv() => shown.tasks.seen(seen),
            () = shown.clock.sleep_until(next_frame), if shown.output.is_live() => {}
            () = shown.clock.sleep_until(next_line), if !shown.output.is_live() => {}
        }
    }
}

/// Waits for a signal that stops the command, and returns its number.
pub fn stopping_signal() -> Result<impl Future<Output = u8>, CommandFailure> {
    const TERMINATE: u8 = 15;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandFailure::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CommandFailure::Runtime)?;
    let hangup = (!is_ignored(HANGUP)).then(|| signal(SignalKind::hangup())).transpose();
    let mut hangup = hangup.map_err(CommandFailure::Runtime)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => INTERRUPT,
            Some(()) = async { hangup.as_mut()?.recv().await } => u8::try_from(HANGUP).unwrap_or_default(),
            _ = terminate.recv() => TERMINATE,
        }
    })
}

/// A limit as typed; clap names the argument.
fn limit(written: &str) -> Result<Limit, String> {
    match written.parse() {
        Ok(Limit(Some(span))) if span.is_zero() => Err("write more than 0s, or \"never\"".to_owned()),
        Ok(limit) => Ok(limit),
        Err(form) => Err(format!("write {form}")),
    }
}

/// A duration for people, of whole seconds from one second on, and of at most two parts.
fn brief(span: Duration) -> String {
    let Span(rounded) = crate::units::rounded(span);
    Span(if rounded.as_secs() >= 3600 { Duration::from_secs(rounded.as_secs() / 60 * 60) } else { rounded })
        .to_string()
}
