//! The daemon: assembly, supervision, and the services beside the loops. `run`, `wait`, `demo` and the tests start it.

mod groups;
#[cfg(test)]
mod history;
pub mod parts;
pub mod plan;
mod pulse;
pub mod reach;
mod refresh;
mod registration;
pub mod reload;
mod report;
mod retention;
mod supervise;
pub mod systemd;
mod until_done;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::server::HttpServer;
use crate::api::{self, Interface, ReloadRequest, STREAMS};
use crate::clock::Clock;
use crate::cloud;
use crate::config::Loaded;
use crate::deliver::{Deliver, LaneStatus};
use crate::files::Watcher;
use crate::heartbeat::Monitor;
use crate::lines::event::OpenTasks;
use crate::live::command::Commands;
use crate::live::{Current, command};
use crate::model::route::{EventGroup, SinkRoute};
use crate::problem::{Place, Problem, chain, lines};
use crate::sinks;
use crate::sinks::LineStyle;
use crate::sinks::channel::{Channel, Handed};
use crate::store::{self, Store};
use crate::telemetry::ResolvedFormat;
use crate::watch::{self as watching, PollReport, Watch, WatchStatus};
use groups::Groups;
use parts::{build_sinks, build_sinks_off_loop, catalogue, cloud, routes, sending};
use pulse::Pulse;
use refresh::Refresh;
use registration::register_listed;
use reload::{Control, Reloader, SinkWays};
use retention::Retention;

/// Options of a daemon, beside its configuration.
pub struct Options {
    /// Ends once every task has finished and all events of configured sinks are delivered. Also ends once
    /// only work on hold has been left for that long. `None`: runs until the stop.
    pub until_done: Option<Duration>,
    /// Whether the start may remove more than half of the open tasks, if they are not listed any more.
    pub allow_removals: bool,
    /// The form of event lines on standard error.
    pub format: ResolvedFormat,
    /// Whether systemd is notified. A command that runs a daemon for a while does not notify it.
    pub notifies_systemd: bool,
    /// Time and chance.
    pub clock: Clock,
    /// Ends the daemon.
    pub stop: CancellationToken,
    /// The observer within this process.
    pub listener: Option<Listener>,
    /// Requests of a person, such as a reload.
    pub control: Option<Control>,
    /// Another daemon with the same accounts.
    pub sharing: Option<Arc<dyn cloud::Sharing>>,
}

/// The number of events and polls that may wait for the observer: far more than one turn of the loop makes.
const OBSERVER_QUEUE: usize = 1024;

impl Options {
    /// A daemon for one command, until every task has finished, or only work on hold has been left for
    /// `held_for`; and its events and polls.
    pub fn with_listener(
        held_for: Duration,
        clock: Clock,
    ) -> (Self, mpsc::Receiver<Handed>, mpsc::Receiver<PollReport>) {
        let (events, reported) = mpsc::channel(OBSERVER_QUEUE);
        let (polls, seen) = mpsc::channel(OBSERVER_QUEUE);
        let options = Self {
            until_done: Some(held_for),
            allow_removals: false,
            format: ResolvedFormat::Text,
            notifies_systemd: false,
            clock,
            stop: CancellationToken::new(),
            listener: Some(Listener { events, polls }),
            control: None,
            sharing: None,
        };
        (options, reported, seen)
    }
}

/// An observer within this process: one more sink that gets every event, and every poll.
pub struct Listener {
    /// All events.
    pub events: mpsc::Sender<Handed>,
    /// The result of each poll; dropped if there is no room.
    pub polls: mpsc::Sender<PollReport>,
}

/// The name of the observer's sink. No configured name is equal: those have no blank.
const LISTENER: &str = "the listener";

/// The reason why a daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong; nothing was changed.
    #[error("{}", lines(.0))]
    Configuration(Vec<Problem>),
    /// An account cannot be used.
    #[error(transparent)]
    Cloud(#[from] cloud::Error),
    /// The store cannot be opened: the place in the configuration, and the reason.
    #[error("{0}")]
    Opening(Box<Problem>, #[source] store::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The operating system refused a thread.
    #[error(transparent)]
    Thread(io::Error),
}

/// The end of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The work on hold, if only that is left.
    pub on_hold: Vec<String>,
    /// Number of deliveries that became dead letters.
    pub dead_letters: u64,
}

/// A daemon that is ready to run: everything that can fail at a start has succeeded, and every listed task is
/// registered.
pub struct Daemon {
    options: Options,
    store: Arc<dyn Store>,
    watch: Watch,
    lanes: Vec<Deliver>,
    groups: Groups,
    retention: Retention,
    refresh: Refresh,
    reloader: Reloader,
    to_watch: Commands,
    /// The ways into the lanes, for the interface.
    to_lanes: watch::Sender<BTreeMap<String, Commands>>,
    /// Reloads that the interface requests.
    reloads: mpsc::Receiver<ReloadRequest>,
    /// The watch over the loops.
    pulse: Pulse,
    /// The interface, if this daemon has one.
    http: Option<(HttpServer, Interface)>,
    status: watch::Receiver<WatchStatus>,
    sinks_status: watch::Receiver<BTreeMap<String, LaneStatus>>,
}

impl Daemon {
    /// Builds all parts that can fail, then registers the listed tasks.
    ///
    /// # Errors
    /// When the configuration, a credential, a sink or the store cannot be used; nothing was registered then, unless the
    /// store failed, or a task file is not as it was when it was loaded.
    pub async fn start(loaded: Loaded, mut options: Options) -> Result<Self, Error> {
        let catalogue = Arc::new(catalogue(&loaded));
        let loaded = Arc::new(loaded);
        let clock = options.clock;
        let cloud = cloud(&loaded)?.shared(options.sharing.take());
        let open_tasks = OpenTasks::counted();
        let style = LineStyle { format: options.format, open_tasks: open_tasks.clone() };
        let mut built = build_sinks_off_loop(&loaded, &style, clock).await?;
        let sending_of = built.iter().map(|(name, (_, sending))| (name.clone(), *sending)).collect();
        let mut routes = routes(&loaded);
        let mut reports = None;
        if let Some(Listener { events, polls }) = options.listener.take() {
            let sink = Channel::new(events);
            let sending = sending(&sinks::Common::default(), &sink, &loaded.poll);
            built.insert(LISTENER.to_owned(), (Arc::new(sink), sending));
            routes.0.push(SinkRoute {
                sink: LISTENER.to_owned(),
                events: EventGroup::ALL.to_vec(),
                outcomes: None,
                labels: BTreeMap::new(),
            });
            reports = Some(polls);
        }
        let refused = |error: store::Error| Error::Opening(not_opened(&loaded.store, &error).into(), error);
        let store = store::open(&loaded.store).await.map_err(refused)?;
        let server = match options.control {
            Some(_) => Some(serve(&loaded)?).filter(HttpServer::is_bound),
            None => None,
        };
        let monitor = Monitor::new(&loaded.heartbeat).map_err(|error| {
            let place = Place { key: Some("heartbeat.url".to_owned()), ..Place::default() };
            Error::Configuration(vec![Problem::new(place, chain(&error))])
        })?;
        let newest = store.newest().await?;
        let dead = store.dead_letters().await?;
        if !dead.is_empty() {
            let dead_letters = dead.values().sum::<u64>();
            let sinks = per_sink(&dead);
            tracing::warn!(
                dead_letters,
                sinks,
                "the store has undelivered events of earlier runs that are no longer tried; see opwatch events list --failed"
            );
        }
        let listed =
            register_listed(Arc::clone(&loaded), Arc::clone(&catalogue), store.as_ref(), clock).await?;
        let sinks: BTreeSet<_> = built.keys().cloned().collect();
        let current = Current { policy: loaded.poll, cloud, routes, listed, sinks, catalogue };
        let (replace, live) = watch::channel(Arc::new(current));
        let (status_sender, status) = watch::channel(WatchStatus::default());
        let (sinks_sender, sinks_status) = watch::channel(BTreeMap::new());
        let (outbox, _) = watch::channel(());
        let watcher = Watcher::start().map_err(Error::Thread)?;
        let account_files = Arc::new(watcher.list());
        let sink_files = Arc::new(watcher.list());
        let mut ways = BTreeMap::new();
        let reloader = Reloader {
            loaded: Arc::clone(&loaded),
            sending: sending_of,
            style,
            clock,
            store: Arc::clone(&store),
            live: replace.clone(),
            outbox: outbox.clone(),
            status: sinks_sender.clone(),
            account_files: Arc::clone(&account_files),
            sink_files: Arc::clone(&sink_files),
        };
        let lanes: Vec<_> = built
            .into_iter()
            .map(|(name, (sink, sending))| reloader.lane(&mut ways, name, sink, sending))
            .collect();
        let (to_watch, commands) = command::channel();
        let start = watching::Start {
            live: live.clone(),
            allow_removals: options.allow_removals,
            store: Arc::clone(&store),
            clock,
            status: status_sender,
            open_tasks,
            outbox: outbox.clone(),
            commands,
            files: Arc::clone(&account_files),
            reports,
        };
        let (to_lanes, lanes_known) = watch::channel(ways_of(&ways));
        let (reload, reloads) = mpsc::channel(1);
        let pulse = Pulse {
            to_watch: to_watch.clone(),
            to_lanes: lanes_known.clone(),
            reloading: Arc::default(),
            watchdog: if options.notifies_systemd { sd_notify::watchdog_enabled() } else { None },
            heartbeat: monitor.map(|monitor| (monitor, loaded.heartbeat.every.0)),
            clock,
        };
        let http = server.map(|server| {
            let interface = Interface {
                store: Arc::clone(&store),
                live: live.clone(),
                clock,
                started_at: clock.now().wall,
                to_watch: to_watch.clone(),
                to_lanes: lanes_known,
                reloads: reload,
                outbox: outbox.clone(),
                streams: Arc::new(Semaphore::new(STREAMS)),
            };
            (server, interface)
        });
        let watch = Watch::load(start).await?;
        let groups = Groups { store: Arc::clone(&store), live: live.clone(), clock, outbox };
        let kept = loaded.store.retention;
        let retention =
            Retention { store: Arc::clone(&store), clock, kept, live, status: sinks_sender, newest };
        let refresh = Refresh { live: replace, sinks: ways, account_files, sink_files };
        Ok(Self {
            options,
            store,
            watch,
            lanes,
            groups,
            retention,
            refresh,
            reloader,
            to_watch,
            to_lanes,
            reloads,
            pulse,
            http,
            status,
            sinks_status,
        })
    }
}

/// The ways into the lanes, by sink.
fn ways_of(ways: &SinkWays) -> BTreeMap<String, Commands> {
    ways.iter().map(|(name, (_, way))| (name.clone(), way.clone())).collect()
}

/// The listeners of the interface.
fn serve(loaded: &Loaded) -> Result<HttpServer, Error> {
    let usual = api::default_socket(|name| std::env::var_os(name));
    HttpServer::bind(&loaded.http, usual).map_err(|error| {
        let place = Place { key: Some(format!("http.{}", error.key)), ..Place::default() };
        Error::Configuration(vec![Problem::new(place, chain(&error))])
    })
}

/// The error of a store that cannot be opened, at the place where the store is configured.
fn not_opened(config: &store::Config, error: &store::Error) -> Problem {
    Problem::new(config.url_place.clone(), error.to_string())
}

/// The counts of several sinks, as in a log line.
fn per_sink(counts: &HashMap<String, u64>) -> String {
    let sorted: BTreeMap<_, _> = counts.iter().collect();
    sorted.into_iter().map(|(sink, count)| format!("{sink} ({count})")).collect::<Vec<_>>().join(", ")
}
