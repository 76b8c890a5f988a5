//! `opwatch demo`: the daemon against the built-in simulator, in seconds, with no credentials.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::run::{HELD_FOR_LONG, stop_on_signals};
use super::{Failure, print};
use crate::clock::Clock;
use crate::cloud::credentials::Account;
use crate::config::Loaded;
use crate::daemon::{self, Daemon, Options};
use crate::model::policy::Policy;
use crate::model::route::LOG;
use crate::problem::{Place, Problem};
use crate::register::listed::Listed;
use crate::register::{Written, WrittenId};
use crate::secret::Secret;
use crate::sim::{SECRET_ID, SECRET_KEY, Scenario, Sim};
use crate::store::sqlite::Location;
use crate::telemetry::{Level, Surroundings};
use crate::units::{Rate, Span};
use crate::{sinks, store, telemetry};

/// Enough to see several ends, few enough to read them all.
const TASKS: u64 = 12;

/// Runs the demonstration.
pub async fn run(clock: Clock) -> Result<(), Failure> {
    let stop = stop_on_signals()?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sim = Sim::start(Scenario::default(), anywhere, clock)
        .await
        .map_err(|error| Problem::new(Place::default(), format!("no port of 127.0.0.1 can be listened on: {error}")))?;
    print::line(&format!("A simulated cloud answers at {}, and {TASKS} tasks run there for some seconds each.", sim.endpoint()))?;
    print::line("opwatch polls them, as `opwatch run` does; each line below is one that your log watcher would see.\n")?;
    let loaded = configuration(&sim);
    let surroundings = Surroundings::of_process();
    telemetry::init(&loaded.log, surroundings)?;
    let signalled = stop.clone();
    let stop = stop.child_token();
    let options = Options {
        location: Location::Memory,
        until_done: Some(HELD_FOR_LONG),
        allow_removals: false,
        format: loaded.log.format.resolve(surroundings),
        clock,
        stop,
        listener: None,
    };
    Daemon::start(loaded, options).await?.run().await.map_err(daemon::Error::Store)?;
    if signalled.is_cancelled() {
        return print::line("\nStopped before every task was over; a real store would go on from here.");
    }
    print::line(&format!("\nEvery task is over, after {} signed requests. With a configuration of your own:", sim.requests()))?;
    print::line("  opwatch run -c opwatch.toml")
}

fn configuration(sim: &Sim) -> Loaded {
    let account = Account {
        region: Some("bj".to_owned()),
        endpoint: sim.endpoint().parse().ok(),
        rate_limit: Rate::new(20.0, std::time::Duration::from_secs(1)),
        ..Account::new("default", SECRET_ID, Secret::new(SECRET_KEY))
    };
    let task = |id| {
        let written = Written { id: Some(WrittenId::Int(id)), name: Some(format!("rack 7, server {}", id % 100)), ..Written::default() };
        Listed { written, place: Place::default(), lines: Vec::new() }
    };
    let log = sinks::Config { common: sinks::Common::default(), kind: sinks::Kind::Log };
    Loaded {
        accounts: BTreeMap::from([("default".to_owned(), account)]),
        poll: Policy { initial_interval: Span(std::time::Duration::from_millis(500)), ..Policy::default() },
        sinks: BTreeMap::from([(LOG.to_owned(), log)]),
        store: store::Config::default(),
        log: telemetry::Config { level: Level::Warn, ..telemetry::Config::default() },
        tasks: (1_000_800_001..).take(TASKS as usize).map(task).collect(),
        task_files: Vec::new(),
        doubts: Vec::new(),
    }
}
