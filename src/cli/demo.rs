//! `opwatch demo`: the daemon against the built-in simulator, in seconds, with no credentials.
//!
//! This file starts and ends the demonstration. [`acts`] is the table of its steps, and [`show`] runs them.

mod acts;
mod show;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use self::acts::{FIRST_TASK, RUNNING, TASKS};
use self::show::{Show, say};
use super::run::HELD_FOR_LONG;
use super::wait::{Stopped, stopping_signal};
use super::{CommandFailure, print};
use crate::clock::Clock;
use crate::cloud::account::Account;
use crate::cloud::credentials::{CredentialFile, FileFormat};
use crate::cloud::operations::Operations;
use crate::config::Loaded;
use crate::daemon::{Daemon, Ended, Options};
use crate::model::policy::Policy;
use crate::model::reading::{Code, Outcome};
use crate::problem::{Place, Problem};
use crate::register::listed::Listed;
use crate::register::{TaskEntry, WrittenId};
use crate::secret::Secret;
use crate::sim::{Quota, SECRET_ID, SECRET_KEY, Scenario, Sim, SimResponse, Unlisted};
use crate::sinks::LineStyle;
use crate::sinks::log::Log;
use crate::telemetry::{Format, ResolvedFormat, Surroundings};
use crate::units::{Rate, Span};
use crate::{api, heartbeat, store, telemetry};

/// Calls a second that the simulated cloud allows …
const ALLOWED: usize = 20;
/// … and the rate of opwatch: 95 % of it, as for a documented limit.
const RATE: f64 = 19.0;
/// The code of API 2.0 for too many calls.
const TOO_MANY: Code = Code::Int(4400);

/// Runs the demonstration.
///
/// # Errors
/// When it is stopped, or something of this machine does not let it run.
pub async fn run(clock: Clock) -> Result<(), CommandFailure> {
    let stopped = stopping_signal()?;
    tokio::select! {
        biased;
        signal = stopped => {
            // A terminal shows a pressed key in an incomplete line.
            print::line("")?;
            Err(Stopped { signal, text: "stopped; nothing remains: the cloud was simulated, and the store in memory".to_owned() }.into())
        }
        ended = demonstrate(clock) => ended,
    }
}

async fn demonstrate(clock: Clock) -> Result<(), CommandFailure> {
    let scenario = Scenario {
        rate: Some(Quota { calls: ALLOWED, per: Duration::from_secs(1) }),
        unlisted: Unlisted::Follows(vec![SimResponse::status(RUNNING)]),
        ..Scenario::default()
    };
    let sim = Sim::start(scenario, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), clock)
        .await
        .map_err(|error| Problem::new(Place::default(), format!("cannot listen on 127.0.0.1: {error}")))?;
    // Removed with this value, and so by Ctrl-C too; a closed terminal ends the program before that. The key
    // is not a real one.
    let key_file =
        tempfile::Builder::new().prefix("opwatch-demo-").tempfile().map_err(|error| no_key_file(&error))?;
    std::fs::write(key_file.path(), SECRET_KEY).map_err(|error| no_key_file(&error))?;
    let loaded = configuration(&sim, key_file.path());
    // For people, also in a pipe.
    telemetry::init(&loaded.log, Surroundings::of_process())?;
    let (options, events, polls) = Options::with_listener(HELD_FOR_LONG, clock);
    let log = Log::new(LineStyle::without_number(ResolvedFormat::Text)).map_err(CommandFailure::Runtime)?;
    let mut show = Show {
        sim: &sim,
        key_file: key_file.path().to_owned(),
        events,
        polls,
        log,
        clock,
        final_events: Vec::new(),
    };
    open(&sim, &mut show).await?;
    let daemon = async { Ok(Daemon::start(loaded, options).await?.run().await?) };
    let (Ended { on_hold: held, .. }, ()) = tokio::try_join!(daemon, show.play())?;
    if held.is_empty() { close(&show) } else { Err(CommandFailure::Held(held)) }
}

/// The introduction.
async fn open(sim: &Sim, show: &mut Show<'_>) -> Result<(), CommandFailure> {
    say(&format!(
        "A cloud is simulated on this machine, at {}, and {TASKS} servers are being reinstalled there, db-1 to db-{TASKS}. opwatch polls \
         their tasks as `opwatch run` does, with seconds for minutes, and at most {RATE} times a second, since this cloud allows {ALLOWED}. \
         Lines without a # are log lines.",
        sim.addr()
    ))?;
    print::line("")?;
    show.pause_to_read().await;
    Ok(())
}

/// The summary and the next steps.
fn close(show: &Show<'_>) -> Result<(), CommandFailure> {
    let over: HashSet<&str> = show.final_events.iter().map(|end| end.subject()).collect();
    let count = |outcome| show.final_events.iter().filter(|end| end.outcome() == Some(outcome)).count();
    let too_many = match show.sim.received().iter().filter(|seen| seen.flaw == Some(TOO_MANY)).count() {
        0 => "none".to_owned(),
        refused => refused.to_string(),
    };
    say(&format!(
        "{} tasks have finished, with {} final events: {} success, {} failure, {} partial. {} signed requests were sent, and the cloud \
         refused {too_many} of them as too many.",
        over.len(),
        show.final_events.len(),
        count(Outcome::Success),
        count(Outcome::Failure),
        count(Outcome::Partial),
        show.sim.requests(),
    ))?;
    print::line(&what_next(&program()))
}

/// The next steps: with a task id, without one, and further reading.
fn what_next(program: &str) -> String {
    format!(
        r#"
What to do next, with a task id and a key of your own:

  export TENCENTCLOUD_SECRET_ID=AKID... TENCENTCLOUD_SECRET_KEY=...
  {program} wait 1000800001 --region bj

Or as a daemon, whose store is a file, which survives a kill -9:

  printf 'tasks = [{{ id = 1000800001 }}]\naccounts.default.region = "bj"\n' >my.toml
  {program} check -c my.toml
  {program} run -c my.toml

Without a key: `{program} sim` is this cloud alone, with a configuration for it.
README.md describes the delivery of events to files, webhooks and programs."#
    )
}

/// This program, as a shell finds it.
fn program() -> String {
    let is_plain = |name: &String| {
        name.contains('/') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
    };
    std::env::args().next().filter(is_plain).unwrap_or_else(|| "opwatch".to_owned())
}

fn no_key_file(error: &io::Error) -> Problem {
    let place = Place { key: Some("TMPDIR".to_owned()), ..Place::default() };
    Problem::new(
        place,
        format!("cannot write a file in {} ({error}); name another folder", std::env::temp_dir().display()),
    )
}

fn configuration(sim: &Sim, key_file: &Path) -> Loaded {
    let account = Account {
        region: Some("bj".to_owned()),
        endpoint: sim.endpoint().parse().ok(),
        rate_limit: Rate::new(RATE, Duration::from_secs(1)),
        credentials_file: Some(CredentialFile { path: key_file.to_owned(), form: FileFormat::Key }),
        ..Account::new("default", SECRET_ID, Secret::new(SECRET_KEY))
    };
    let task = |number| {
        let id = Some(WrittenId::Int(FIRST_TASK + number));
        let name = Some(format!("db-{}", number + 1));
        Listed {
            written: TaskEntry { id, name, ..TaskEntry::default() },
            place: Place::default(),
            lines: Vec::new(),
        }
    };
    let millis = |millis| Span(Duration::from_millis(millis));
    let poll = Policy {
        initial_interval: millis(500),
        max_interval: millis(1_000),
        error_interval: millis(300),
        error_max_interval: millis(600),
        ..Policy::default()
    };
    Loaded {
        accounts: BTreeMap::from([("default".to_owned(), account)]),
        operations: Operations::built_in(),
        poll,
        sinks: BTreeMap::new(),
        store: store::Config::in_memory(),
        http: api::Config::default(),
        heartbeat: heartbeat::Config::default(),
        log: telemetry::Config { format: Format::Text, ..telemetry::Config::default() },
        tasks: (0..TASKS).map(task).collect(),
        task_files: Vec::new(),
        doubts: Vec::new(),
    }
}
