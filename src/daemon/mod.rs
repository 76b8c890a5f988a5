//! Assembly and end of the daemon. `run`, `wait`, `demo` and the tests start this same thing.

#[cfg(test)]
mod history;
pub mod plan;
pub mod reach;
mod retention;
mod until_done;
mod groups;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cloud::operations::BUILT_IN;
use crate::cloud::{self, Cloud};
use crate::config::Loaded;
use crate::deliver::{self, Deliver};
use crate::model::delivery::Sending;
use crate::model::event::Event;
use crate::model::policy::Policy;
use crate::model::records::{Registered, RegisteredState, RowSet};
use crate::model::route::{Group, LOG, Route, Routes};
use crate::model::task::NewTask;
use crate::problem::{Problem, lines};
use crate::register::catalogue::Catalogue;
use crate::register::listed::listed;
use crate::sinks::channel::Channel;
use crate::sinks::{self, Sink};
use crate::store::sqlite::{Location, Sqlite};
use crate::store::{self, Store};
use crate::telemetry::ResolvedFormat;
use crate::units::Span;
use crate::watch::{Seen, Standing, Start, Watch};
use groups::Groups;
use retention::Retention;
use until_done::UntilDone;

/// How long a stop may take before what is still under way is left to the next start (design.md §3: nothing
/// that was acknowledged is lost by that).
const DRAIN: Duration = Duration::from_secs(4);
/// How long the store may take to close after that: together they stay within the five seconds that a stop is
/// promised.
const CLOSING: Duration = Duration::from_millis(700);
/// How often systemd is asked to wait for a start that takes long …
const EXTENDS_EVERY: Duration = Duration::from_secs(3);
/// … and for how much longer: a machine may be so busy that nothing moves for a while.
const EXTENDS_BY_MICROSECONDS: u32 = 30_000_000;
/// How many tasks are registered in one transaction: enough to be fast, few enough to keep memory small.
const REGISTERED_AT_ONCE: usize = 5_000;

/// What a daemon is started with, beside its configuration.
pub struct Options {
    /// Where the store is.
    pub location: Location,
    /// Ends once every task is over and nothing is owed to a configured sink, or once nothing but held work
    /// has been left for so long. `None`: it goes on.
    pub until_done: Option<Duration>,
    /// Whether the start may remove more than half of the open tasks, if they are not listed any more.
    pub allow_removals: bool,
    /// The form of event lines on standard error.
    pub format: ResolvedFormat,
    /// Whether systemd is told how it stands. Of a command that only starts a daemon for a while, it waits
    /// for nothing.
    pub tells_systemd: bool,
    /// Time and chance.
    pub clock: Clock,
    /// Ends the daemon.
    pub stop: CancellationToken,
    /// Whoever looks on from within this process.
    pub listener: Option<Listener>,
}

/// How many events and polls may wait to be looked at: what is taken in one turn is far less.
const WAITING_TO_BE_SEEN: usize = 1024;

impl Options {
    /// A daemon for one command, with its store in memory, until every task is over, or nothing but held work
    /// has been left for so long; and what it tells of its events and of each poll.
    pub fn looked_on(
        held_for: Duration,
        clock: Clock,
    ) -> (Self, mpsc::Receiver<Event>, mpsc::Receiver<Seen>) {
        let (events, told) = mpsc::channel(WAITING_TO_BE_SEEN);
        let (polls, seen) = mpsc::channel(WAITING_TO_BE_SEEN);
        let options = Self {
            location: Location::Memory,
            until_done: Some(held_for),
            allow_removals: false,
            format: ResolvedFormat::Text,
            tells_systemd: false,
            clock,
            stop: CancellationToken::new(),
            listener: Some(Listener { events, polls }),
        };
        (options, told, seen)
    }
}

/// Whoever looks on from within this process: one more sink that hears of everything, and every poll.
pub struct Listener {
    /// All events.
    pub events: mpsc::Sender<Event>,
    /// What each poll brought; what finds no room here is lost.
    pub polls: mpsc::Sender<Seen>,
}

/// What the sink of a listener is called. No configured one can be: a name there has no blank.
const LISTENER: &str = "the listener";

/// Why a daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong; nothing was changed.
    #[error("{}", lines(.0))]
    Configuration(Vec<Problem>),
    /// An account cannot be used.
    #[error(transparent)]
    Cloud(#[from] cloud::Error),
    /// The store cannot be opened: where its place is written, and why.
    #[error("{0}")]
    Opening(Box<Problem>, #[source] store::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// How a daemon ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// What is held, where nothing else was left.
    pub held: Vec<String>,
    /// How many deliveries became dead letters.
    pub buried: u64,
}

/// A daemon that is ready to run: all that can fail at a start has succeeded, and every listed task is
/// registered.
pub struct Daemon {
    options: Options,
    store: Arc<dyn Store>,
    watch: Watch,
    lanes: Vec<Deliver>,
    groups: Groups,
    retention: Retention,
    standing: watch::Receiver<Standing>,
    sinks_stand: watch::Receiver<BTreeMap<String, deliver::Standing>>,
}

impl Daemon {
    /// Builds everything that can fail, then registers what is listed.
    ///
    /// # Errors
    /// When the configuration, a credential, a sink or the store cannot be used; nothing was registered then,
    /// unless it is the store that failed, or a task file is not as it was when it was loaded.
    pub async fn start(loaded: Loaded, mut options: Options) -> Result<Self, Error> {
        let catalogue = Arc::new(catalogue(&loaded));
        let loaded = Arc::new(loaded);
        let cloud = Cloud::new(loaded.accounts.clone(), loaded.poll.request_timeout.0)?;
        let mut built = build_sinks(&loaded, options.format, options.clock)?;
        let mut routes = routes(&loaded);
        let mut seen = None;
        if let Some(Listener { events, polls }) = options.listener.take() {
            let sink = Channel::new(events);
            let sending = sending(&sinks::Common::default(), &sink, &loaded.poll);
            built.insert(LISTENER.to_owned(), (Arc::new(sink), sending));
            routes.0.push(Route {
                sink: LISTENER.to_owned(),
                events: Group::ALL.to_vec(),
                outcomes: None,
                labels: BTreeMap::new(),
            });
            seen = Some(polls);
        }
        let opened = Sqlite::open(options.location.clone()).await;
        let refused = |error: store::Error| {
            Error::Opening(Problem::new(loaded.store.url_place.clone(), error.to_string()).into(), error)
        };
        let store: Arc<dyn Store> = Arc::new(opened.map_err(refused)?);
        let newest = store.newest().await?;
        let dead = store.dead_letters().await?;
        if !dead.is_empty() {
            let dead_letters = dead.values().sum::<u64>();
            let sinks = per_sink(&dead);
            tracing::warn!(
                dead_letters,
                sinks,
                "deliveries were given up before; they are kept as dead letters for [store] retention"
            );
        }
        let rows =
            Arc::new(register_listed(Arc::clone(&loaded), catalogue, store.as_ref(), options.clock).await?);
        let (standing_sender, standing) = watch::channel(Standing::default());
        let (owed, _) = watch::channel(());
        let (standing_of_sinks, sinks_stand) = watch::channel(BTreeMap::new());
        let routes = Arc::new(routes);
        let lane = |(name, (sink, sending))| Deliver {
            name,
            sink,
            sending,
            routes: Arc::clone(&routes),
            store: Arc::clone(&store),
            clock: options.clock,
            owed: owed.clone(),
            standing: standing_of_sinks.clone(),
        };
        let lanes: Vec<_> = built.into_iter().map(lane).collect();
        let group_routes = Arc::clone(&routes);
        let of_groups = owed.clone();
        let start = Start {
            policy: loaded.poll,
            routes,
            listed: Arc::clone(&rows),
            allow_removals: options.allow_removals,
        };
        let mut watch =
            Watch::load(start, cloud, Arc::clone(&store), options.clock, standing_sender, owed).await?;
        watch.tell_polls(seen);
        let groups =
            Groups { store: Arc::clone(&store), routes: group_routes, clock: options.clock, owed: of_groups };
        let retention = Retention {
            store: Arc::clone(&store),
            clock: options.clock,
            kept: loaded.store.retention,
            listed: rows,
            sinks: loaded.sinks.keys().cloned().collect(),
            standing: standing_of_sinks,
            newest,
        };
        Ok(Self { options, store, watch, lanes, groups, retention, standing, sinks_stand })
    }

    /// Runs until the stop, or until everything is done where that was asked for; then drains within five
    /// seconds. The answer names what is held, if it ended since nothing but held work was left, and counts
    /// the deliveries that were given up.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(self) -> Result<Ended, store::Error> {
        let Self { options, store, watch, lanes, groups, retention, standing, sinks_stand } = self;
        let stop = options.stop;
        let lanes_stop = CancellationToken::new();
        let sinks: Vec<_> = lanes.iter().map(|lane| lane.name.clone()).collect();
        let mut watching = JoinSet::new();
        watching.spawn(watch.run(stop.clone()));
        let mut others = JoinSet::new();
        lanes.into_iter().for_each(|lane| _ = others.spawn(lane.run(lanes_stop.clone())));
        let of_groups = groups.owed.subscribe();
        others.spawn(groups.run(lanes_stop.clone()));
        others.spawn(retention.run(lanes_stop.clone()));
        let done = UntilDone {
            store: Arc::clone(&store),
            sinks,
            standing: standing.clone(),
            sinks_stand: sinks_stand.clone(),
            owed: of_groups,
            patience: options.until_done.unwrap_or_default(),
            clock: options.clock,
        };
        let notify = |state| options.tells_systemd.then(|| notify(state));
        notify(NotifyState::Ready);
        tracing::info!(open_tasks = standing.borrow().open, "watching");
        // The first to end is the one that failed, unless a stop came first.
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(Vec::new()),
            Some(ended) = watching.join_next() => flatten(ended).map(|()| Vec::new()),
            ended = first_failure(&mut others) => ended.map(|()| Vec::new()),
            left = done.wait(), if options.until_done.is_some() => left,
        };
        notify(NotifyState::Stopping);
        stop.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            let watched = all(&mut watching).await;
            lanes_stop.cancel();
            let delivered = all(&mut others).await;
            watched.and(delivered)
        });
        let drained = drained.await.unwrap_or_else(|_| {
            tracing::warn!("the stop took too long; what was under way comes again at the next start");
            Ok(())
        });
        watching.shutdown().await;
        others.shutdown().await;
        let closed = async {
            let outbox = store.outbox().await.ok();
            store.close().await;
            outbox
        };
        let outbox = tokio::time::timeout(CLOSING, closed).await.unwrap_or_else(|_| {
            tracing::warn!("the store could not be closed in time; what was committed is safe");
            None
        });
        let owed_deliveries: Option<u64> = outbox.as_ref().map(|outbox| outbox.values().sum());
        let sinks = outbox.filter(|outbox| !outbox.is_empty()).map(|outbox| per_sink(&outbox));
        tracing::info!(open_tasks = standing.borrow().open, owed_deliveries, sinks, "stopped");
        let buried = sinks_stand.borrow().values().map(|standing| standing.buried).sum();
        drained.and(ended).map(|held| Ended { held, buried })
    }
}

/// The counts of several sinks, as a line of the log has them.
fn per_sink(counts: &HashMap<String, u64>) -> String {
    let sorted: BTreeMap<_, _> = counts.iter().collect();
    sorted.into_iter().map(|(sink, count)| format!("{sink} ({count})")).collect::<Vec<_>>().join(", ")
}

/// What a task of this configuration may name.
pub fn catalogue(loaded: &Loaded) -> Catalogue {
    let accounts = loaded.accounts.iter().map(|(name, account)| (name.clone(), account.region.clone()));
    Catalogue::new(accounts, &BUILT_IN, loaded.sinks.keys().cloned()).polled_by(Some(loaded.poll))
}

/// The sinks by name, each with how it is sent to.
type Built = BTreeMap<String, (Arc<dyn Sink>, Sending)>;

fn routes(loaded: &Loaded) -> Routes {
    let usual = |name: &str| if name == LOG { Group::ALL.to_vec() } else { Group::USUAL.to_vec() };
    let route = |(name, config): (&String, &sinks::Config)| Route {
        sink: name.clone(),
        events: config.common.events.clone().unwrap_or_else(|| usual(name)),
        outcomes: config.common.outcomes.clone(),
        labels: config.common.labels.clone(),
    };
    Routes(loaded.sinks.iter().map(route).collect())
}

fn build_sinks(loaded: &Loaded, format: ResolvedFormat, clock: Clock) -> Result<Built, Error> {
    let mut problems = Vec::new();
    let mut built = BTreeMap::new();
    for (name, config) in &loaded.sinks {
        match sinks::build(config, name, format, clock) {
            Ok(sink) => {
                let sending = sending(&config.common, sink.as_ref(), &loaded.poll);
                built.insert(name.clone(), (Arc::from(sink), sending));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(built) } else { Err(Error::Configuration(problems)) }
}

fn sending(common: &sinks::Common, sink: &dyn Sink, policy: &Policy) -> Sending {
    Sending {
        batch: sink.batch(),
        gather: common.batch.map(|Span(gather)| gather),
        max_in_flight: common.max_in_flight.min(sink.max_in_flight()),
        rate: common.rate,
        retry: common.retry,
        held: policy.error_waits(),
    }
}

/// Registers every listed task and answers with the keys of all of them. The list is read on a thread of its
/// own, a batch ahead at most, so that a long one takes no memory.
async fn register_listed(
    loaded: Arc<Loaded>,
    catalogue: Arc<Catalogue>,
    store: &dyn Store,
    clock: Clock,
) -> Result<RowSet, Error> {
    let policy = loaded.poll;
    let (sender, mut batches) = mpsc::channel::<Vec<NewTask>>(1);
    let reader = tokio::task::spawn_blocking(move || {
        let mut batch = Vec::with_capacity(REGISTERED_AT_ONCE);
        listed(&loaded.tasks, &loaded.task_files, &catalogue, |task| {
            batch.push(task);
            if batch.len() == REGISTERED_AT_ONCE {
                // It fails only when the start was given up.
                let _ = sender.blocking_send(std::mem::take(&mut batch));
            }
        })?;
        let _ = sender.blocking_send(batch);
        Ok(())
    });
    let mut rows = RowSet::default();
    let mut counts = HashMap::new();
    while let Some(batch) = batches.recv().await {
        let now = clock.now().wall;
        let due = batch.iter().map(|task| now + task.settings.initial_delay(policy.initial_delay)).collect();
        for Registered { row, state } in store.register(batch, now, due).await? {
            rows.insert(row);
            *counts.entry(state).or_insert(0_u64) += 1;
        }
    }
    match reader.await {
        Ok(read) => read.map_err(Error::Configuration)?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
    let count = |state| counts.get(&state).copied().unwrap_or_default();
    tracing::info!(
        new = count(RegisteredState::New),
        known = count(RegisteredState::Known),
        over = count(RegisteredState::Over),
        "tasks registered"
    );
    Ok(rows)
}

/// Waits until one of them fails; what ends well, ends unnoticed.
async fn first_failure(tasks: &mut JoinSet<Result<(), store::Error>>) -> Result<(), store::Error> {
    while let Some(ended) = tasks.join_next().await {
        flatten(ended)?;
    }
    std::future::pending().await
}

/// Waits for all of them, and answers with the first failure.
async fn all(tasks: &mut JoinSet<Result<(), store::Error>>) -> Result<(), store::Error> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(flatten(ended));
    }
    result
}

/// A panic goes on in its owner.
fn flatten(ended: Result<Result<(), store::Error>, JoinError>) -> Result<(), store::Error> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(store::Error::Closed),
    }
}

/// Waits for a part of a start, and has systemd wait as well: a long list, a big store and somebody else's
/// lock take as long as they take.
pub async fn patiently<T>(clock: Clock, part: impl Future<Output = T>) -> T {
    let mut part = std::pin::pin!(part);
    loop {
        tokio::select! {
            done = &mut part => return done,
            () = clock.sleep_until(clock.now().steady + EXTENDS_EVERY) => notify(NotifyState::ExtendTimeoutUsec(EXTENDS_BY_MICROSECONDS)),
        }
    }
}

/// Tells systemd, where it listens.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
