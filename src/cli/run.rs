//! `opwatch run`: the daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{CommandFailure, DEFAULT_CONFIG};
use crate::clock::Clock;
use crate::config::{self, Environment, Loaded};
use crate::daemon::reload::{Control, Load, PersonRequest};
use crate::daemon::{self, Daemon, Ended, Options};
use crate::files;
use crate::problem::{Place, Problem};
use crate::telemetry::{self, Surroundings};

/// The time with only work on hold after which `--until-done` ends (docs/architecture.md §6).
pub const HELD_FOR_LONG: Duration = Duration::from_secs(60);

/// The usual name of a configuration.
const NEARBY: &str = "opwatch.toml";

/// Runs until SIGTERM or SIGINT, or until all work is done if that was requested.
pub async fn run(
    path: &Path,
    until_done: bool,
    allow_removals: bool,
    clock: Clock,
) -> Result<(), CommandFailure> {
    let signalled = stop_on_signals(false)?;
    files::descriptors::raise();
    let requests = requests_by_signals()?;
    let stop = signalled.child_token();
    let loaded = tokio::select! {
        loaded = daemon::systemd::patiently(clock, load(path.to_owned())) => loaded?,
        () = stop.cancelled() => return Ok(()),
    };
    let surroundings = Surroundings::of_process();
    telemetry::init(&loaded.log, surroundings)?;
    for doubt in &loaded.doubts {
        tracing::warn!(%doubt, "the configuration is valid, with a warning");
    }
    if std::process::id() == 1 && loaded.sinks.values().any(|sink| sink.kind.config().starts_programs()) {
        tracing::warn!(
            "opwatch is the first process of a container and has exec sinks; processes that their programs leave behind stay. Start the container with an init (--init)"
        );
    }
    let format = loaded.log.format.resolve(surroundings);
    let until_done = until_done.then_some(HELD_FOR_LONG);
    let stopping = stop.clone();
    let options = Options {
        until_done,
        allow_removals,
        format,
        notifies_systemd: true,
        clock,
        stop: stopping,
        listener: None,
        control: Some(Control { requests, load: reload(path.to_owned()) }),
        sharing: None,
    };
    let daemon = tokio::select! {
        daemon = daemon::systemd::patiently(clock, Daemon::start(loaded, options)) => daemon?,
        // A start may wait long for a full disk or a lock of another process.
        () = stop.cancelled() => return Ok(()),
    };
    let Ended { on_hold: held, dead_letters: buried } = daemon.run().await?;
    match (signalled.is_cancelled(), buried) {
        (true, _) => Ok(()),
        (false, _) if !held.is_empty() => Err(CommandFailure::Held(held)),
        (false, 0) => Ok(()),
        (false, dead) => Err(CommandFailure::Dead(dead)),
    }
}

/// Off the loop: neither a long list nor a hanging file delays a stop.
pub async fn load(path: PathBuf) -> Result<Loaded, CommandFailure> {
    let loaded = files::off_loop(move || load_now(&path)).await;
    loaded.map_err(CommandFailure::Runtime)?.map_err(CommandFailure::Configuration)
}

fn load_now(path: &Path) -> Result<Loaded, Vec<Problem>> {
    if path == Path::new(DEFAULT_CONFIG) && files::metadata(path).is_err_and(|error| error.is_missing()) {
        let what = if Path::new(NEARBY).is_file() {
            "there is no such file, but this folder has an opwatch.toml; use it with -c opwatch.toml"
        } else {
            "there is no such file; name yours with -c FILE, or let `opwatch init` write one; `opwatch demo` needs none"
        };
        let place = Place { file: Some(path.to_owned()), ..Place::default() };
        return Err(vec![Problem::new(place, what)]);
    }
    config::load(path, &Environment::of_process())
}

fn reload(path: PathBuf) -> Load {
    Arc::new(move || load_now(&path))
}

/// The number of SIGHUP.
pub const HANGUP: u32 = 1;

/// SIGHUP requests a reload, SIGUSR1 the status line. Signals that would end the daemon and mean nothing to it are
/// ignored: SIGUSR2, and SIGXFSZ, so that a file at its size limit is a failed write.
fn requests_by_signals() -> Result<mpsc::Receiver<PersonRequest>, CommandFailure> {
    /// The number of SIGXFSZ, on all architectures of Linux but MIPS and PA-RISC.
    const FILE_SIZE: i32 = 25;
    let listen = |kind| signal(kind).map_err(CommandFailure::Runtime);
    for ignored in [SignalKind::user_defined2(), SignalKind::from_raw(FILE_SIZE)] {
        // The handler stays for as long as the process.
        let _handler = listen(ignored)?;
    }
    let mut report = listen(SignalKind::user_defined1())?;
    let mut hangup = if is_ignored(HANGUP) { None } else { Some(listen(SignalKind::hangup())?) };
    // One waiting reload stands for all that arrive with it.
    let (sender, requests) = mpsc::channel(1);
    #[expect(
        clippy::disallowed_methods,
        reason = "it lives as long as the process, and there is no owner above the command"
    )]
    tokio::spawn(async move {
        loop {
            let request = tokio::select! {
                Some(()) = report.recv() => PersonRequest::Report,
                Some(()) = async { hangup.as_mut()?.recv().await } => PersonRequest::Reload,
                else => return,
            };
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    Ok(requests)
}

/// Whether the process was started with that signal ignored, as by `nohup`.
pub fn is_ignored(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// A token that SIGTERM and SIGINT cancel, and SIGHUP where it has no other meaning. An ignored SIGHUP stays ignored.
pub fn stop_on_signals(with_hangup: bool) -> Result<CancellationToken, CommandFailure> {
    let listen = |kind| signal(kind).map_err(CommandFailure::Runtime);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup =
        if with_hangup && !is_ignored(HANGUP) { Some(listen(SignalKind::hangup())?) } else { None };
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it lives as long as the process, and there is no owner above the command"
    )]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            Some(()) = async { hangup.as_mut()?.recv().await } => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}
