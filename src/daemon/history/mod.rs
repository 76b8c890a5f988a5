//! Seeded histories: virtual days of the shipped loops with faults of all kinds, checked for every promise of
//! docs/architecture.md §3.
//!
//! The real polling loop, lanes, groups and retention run in one paused runtime, over a store that responds
//! in the same thread; only the other side of their boundaries (`boundary`: cloud, sinks, crashes) is
//! scripted. `world` decides what happens there, `witness` checks the observations. A failure prints its
//! seed, and `SEED=… cargo nextest run history::one` runs that history alone. `DAYS=…` sets the number of
//! histories.

mod boundary;
mod parts;
mod people;
mod witness;
mod world;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::groups::Groups;
use super::parts::catalogue;
use super::reload::LaneChanges;
use super::retention::Retention;
use super::supervise::{DRAIN, RunningLane, all, change_lanes};
use crate::clock::{Virtual, Wall};
use crate::cloud::Cloud;
use crate::cloud::connection::Connections;
use crate::cloud::operations::Operations;
use crate::config::{self, Environment};
use crate::deliver::LaneStatus;
use crate::files::{Watched, Watcher};
use crate::lines::event::OpenTasks;
use crate::live::command::{Action, Commands};
use crate::live::{Current, command};
use crate::model::policy::Policy;
use crate::model::records::RowSet;
use crate::model::route::{EventGroup, LOG, Routes, SinkRoute};
use crate::model::task::NewTask;
use crate::problem::Place;
use crate::register::catalogue::Catalogue;
use crate::register::listed::{Listed, listed};
use crate::register::{TaskEntry, WrittenId};
use crate::store::{self, Store};
use crate::units::{Limit, Span};
use crate::watch::{self as watching, Watch, WatchStatus};
use boundary::{Breakage, Outside, ScriptedCloud, ScriptedStore};
use parts::Parts;
use witness::Witness;
use world::{EPOCH_MS, HOUR, MINUTE, SinkBehaviour, Weather, World, share};

/// Both receive every event.
const SINKS: [&str; 2] = ["audit", LOG];
/// The accounts of all histories.
const ACCOUNTS: [&str; 2] = ["default", "other"];
/// Real time of one test of many histories; each history is about a virtual day.
const LONGEST: Duration = Duration::from_secs(25);
/// The longest wait for a reload: longer means that the process crashed.
const RELOAD: Duration = Duration::from_secs(300);
/// Most histories until a broken boundary is seen.
const UNSEEN: u64 = 60;

/// The configuration of all histories.
struct Stage {
    accounts: BTreeMap<String, crate::cloud::account::Account>,
    catalogue: Arc<Catalogue>,
    files: Arc<Watched>,
}

/// A history while it is played.
struct History<'a> {
    stage: &'a Stage,
    outside: Arc<Outside>,
    store: Arc<dyn Store>,
    policy: Policy,
    retention: Limit,
    /// The tasks that the file lists.
    file: BTreeMap<u64, TaskEntry>,
    parts: Parts,
    life: Option<Life>,
}

/// One process between a start and its end.
struct Life {
    watch: JoinSet<Result<(), store::Error>>,
    others: JoinSet<Result<(), store::Error>>,
    lanes: JoinSet<Result<(), store::Error>>,
    running: HashMap<String, RunningLane>,
    outbox: watch::Sender<()>,
    sinks_status: watch::Sender<BTreeMap<String, LaneStatus>>,
    stop: CancellationToken,
    lanes_stop: CancellationToken,
    live: watch::Sender<Arc<Current>>,
    to_watch: Commands,
    to_lanes: [Commands; SINKS.len()],
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("opwatch.toml");
        let account = |name: &str| {
            let keys = "region = \"bj\"\nsecret_key = \"the key of this history\"\nendpoint = \"http://127.0.0.1:1\"";
            format!("[accounts.{name}]\nsecret_id = \"AKID{name}\"\n{keys}\n")
        };
        let sink = "[sinks.audit]\ntype = \"file\"\npath = \"e\"\n";
        std::fs::write(&path, ACCOUNTS.map(account).concat() + sink).unwrap();
        let loaded = config::load(&path, &Environment::default()).unwrap();
        let files = Arc::new(Watcher::start().unwrap().list());
        Self { catalogue: Arc::new(catalogue(&loaded)), accounts: loaded.accounts, files }
    }

    /// Runs one history to its end. Returns the first broken promise, if any.
    fn play(&self, seed: u64, broken: Option<Breakage>) -> Result<(), String> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(seed);
            let minutes = *world.pick(&[1, 5, 20]);
            let multiplier = *world.pick(&[1.0, 1.6, 3.0]);
            let max_interval = Span::seconds(60 * minutes);
            let policy = Policy { max_interval, multiplier, timeout: Limit(None), ..Policy::default() };
            let retention = *world.pick(&[Limit(None), Limit(Some(Duration::from_secs(2 * 3600)))]);
            let interval = Operations::built_in().get("bm").unwrap().usual_rate().interval();
            let witness = Witness::new(policy, i64::try_from(interval.as_micros()).unwrap());
            let clock = Virtual::new(Wall(EPOCH_MS), seed);
            let outside = Outside::new(clock, world, witness, broken);
            let inner = store::open(&store::Config::in_memory()).await.unwrap();
            let store = Arc::new(ScriptedStore { outside: Arc::clone(&outside), inner });
            let file = BTreeMap::new();
            let parts = Parts::ALL;
            let mut history =
                History { stage: self, outside, store, policy, retention, file, parts, life: None };
            history.play().await
        })
    }
}

impl History<'_> {
    async fn play(&mut self) -> Result<(), String> {
        let tasks = self.outside.state().world.rng.random_range(2..14);
        (0..tasks).for_each(|_| self.list_another());
        {
            // A setting that is wrong from the first start on.
            let world = &mut self.outside.state().world;
            if world.rng.random_bool(0.2) {
                let share = world.rng.random_range(0..world::SHARES);
                world.weather = Weather::Refuses(share);
            }
        }
        self.start().await?;
        let calm = 20 * HOUR + self.outside.state().world.within(8 * HOUR);
        while self.outside.now() < calm {
            let wait = self.outside.state().world.within(90 * MINUTE);
            self.live_until((self.outside.now() + wait).min(calm)).await?;
            self.disturb().await?;
        }
        // From here on nothing fails: every listed task must end.
        {
            let state = &mut *self.outside.state();
            state.world.calm();
            state.crash_in = None;
        }
        // A command or a reload may have met the last crash.
        if self.outside.state().has_crashed {
            self.crash().await?;
        }
        if self.parts != Parts::ALL {
            self.parts = Parts::ALL;
            self.reload().await?;
        }
        self.resume_all().await?;
        let late = calm + 3 * 24 * HOUR;
        while self.is_busy().await? {
            if self.outside.now() > late {
                let open = self.outside.state().witness.open();
                let outbox = self.store.outbox().await.map_err(|error| error.to_string())?;
                let paused = self.store.paused().await.map_err(|error| error.to_string())?;
                let left = format!("the outbox has {outbox:?}, and {paused:?} is paused");
                return Err(format!("promise 1: the end of {open:?} is never detected or delivered; {left}"));
            }
            self.live_until(self.outside.now() + MINUTE).await?;
        }
        self.stop().await?;
        let state = self.outside.state();
        state.violation.clone().map_or_else(|| state.witness.at_the_end(), Err)
    }

    async fn is_busy(&self) -> Result<bool, String> {
        let open = !self.outside.state().witness.open().is_empty();
        let outbox = self.store.outbox().await.map_err(|error| error.to_string())?;
        Ok(open || SINKS.iter().any(|sink| outbox.get(*sink).is_some_and(|waiting| *waiting > 0)))
    }

    /// Runs the process until that moment. After a crash it is started again with a delay.
    async fn live_until(&mut self, until: i64) -> Result<(), String> {
        while self.outside.now() < until {
            let left = Duration::from_micros((until - self.outside.now()).unsigned_abs());
            let Some(life) = &mut self.life else { return Err("no process runs".to_owned()) };
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = self.outside.over.notified() => {}
                Some(ended) = life.watch.join_next() => return Err(format!("the polling loop ended: {ended:?}")),
                Some(ended) = life.others.join_next() => return Err(format!("a loop ended: {ended:?}")),
                Some(ended) = life.lanes.join_next() => if !matches!(ended, Ok(Ok(()))) {
                    return Err(format!("a lane ended: {ended:?}"));
                },
            }
            let has_crashed = {
                let state = &mut *self.outside.state();
                if let Some(what) = &state.violation {
                    return Err(what.clone());
                }
                std::mem::take(&mut state.has_crashed)
            };
            if has_crashed {
                self.crash().await?;
            }
        }
        Ok(())
    }

    /// The process crashed, and is started again with a delay.
    async fn crash(&mut self) -> Result<(), String> {
        self.life = None;
        self.rest().await;
        self.start().await
    }

    /// No process runs for a while.
    async fn rest(&mut self) {
        let downtime = self.outside.state().world.downtime();
        tokio::time::sleep(Duration::from_micros(downtime.unsigned_abs())).await;
    }

    async fn disturb(&mut self) -> Result<(), String> {
        let kind = self.outside.state().world.rng.random_range(0..20);
        match kind {
            0 => self.restart().await?,
            1 | 2 => {
                let state = &mut *self.outside.state();
                state.crash_in = Some(state.world.rng.random_range(1..40));
            }
            3 => {
                let state = &mut *self.outside.state();
                if state.witness.all_stored() {
                    let jump = state.world.jump();
                    self.outside.clock.set_wall_back_or_ahead(jump);
                }
            }
            4 => self.change_the_file().await?,
            5 => {
                let share = self.outside.state().witness.share_of_many();
                if let Some(share) = share {
                    self.change(Weather::Refuses(share));
                    self.crash().await?;
                }
            }
            6 => self.change(Weather::WrongKey),
            7 => self.change(Weather::Outage),
            8 => self.change(Weather::Busy),
            9 => self.change(Weather::Undated),
            10..=12 => {
                let world = &mut self.outside.state().world;
                let sink = world.rng.random_range(0..SINKS.len());
                world.moods[sink] = *world.pick(&[
                    SinkBehaviour::Well,
                    SinkBehaviour::Down,
                    SinkBehaviour::Refuses,
                    SinkBehaviour::Picky,
                ]);
            }
            13..=16 => self.command().await?,
            17 | 18 => self.change_the_parts().await?,
            _ => self.change(Weather::Fair),
        }
        Ok(())
    }

    fn change(&self, weather: Weather) {
        self.outside.state().world.weather = weather;
    }

    /// A reload, or a clean stop and a start with a delay.
    async fn restart(&mut self) -> Result<(), String> {
        if self.outside.state().world.rng.random_bool(0.5) {
            return self.reload().await;
        }
        self.stop().await?;
        self.rest().await;
        self.start().await
    }

    /// A clean stop, as in the daemon: the polling loop drains first, then all others.
    async fn stop(&mut self) -> Result<(), String> {
        let Some(mut life) = self.life.take() else { return Ok(()) };
        life.stop.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            let watched = all(&mut life.watch).await;
            life.lanes_stop.cancel();
            watched.and(all(&mut life.others).await).and(all(&mut life.lanes).await)
        });
        // Attempts in flight are repeated by the next start.
        drained.await.unwrap_or(Ok(())).map_err(|error| error.to_string())?;
        self.outside.state().has_crashed = false;
        Ok(())
    }

    async fn change_the_file(&mut self) -> Result<(), String> {
        let before = self.file.clone();
        let kind = self.outside.state().world.rng.random_range(0..4);
        match kind {
            0 => self.list_another(),
            1 => {
                let world = &mut self.outside.state().world;
                self.file.retain(|_, _| !world.rng.random_bool(0.2));
            }
            2 => {
                // A task that was listed before may be listed again.
                let world = &mut self.outside.state().world;
                let known: Vec<u64> = world.tasks.keys().copied().collect();
                let id = *world.pick(&known);
                if !self.parts.has_task(id) {
                    return Ok(());
                }
                let run = Some(world.rng.random_range(0..3).to_string());
                let again = || TaskEntry { run: run.clone(), ..written(id) };
                self.file.entry(id).and_modify(|task| task.run = run.clone()).or_insert_with(again);
            }
            _ => {
                // A wrong configuration: nothing changes (promise 8), so the process continues.
                let world = &mut self.outside.state().world;
                self.file.retain(|_, _| world.rng.random_bool(0.5));
                self.file.insert(0, TaskEntry { sinks: Some(vec!["nobody".to_owned()]), ..written(0) });
                let is_refused = self.read_file().is_none();
                self.file = before;
                return if is_refused {
                    Ok(())
                } else {
                    Err("promise 8: a list with a mistake is taken".to_owned())
                };
            }
        }
        self.restart().await
    }

    fn list_another(&mut self) {
        let now = self.outside.now();
        let world = &mut self.outside.state().world;
        let id = world.add_task(now);
        let hours = |hours: u64| Limit(Some(Duration::from_secs(3600 * hours)));
        let timeout = Some(*world.pick(&[Limit(None), hours(1), hours(9)]));
        let warn_after = Some(*world.pick(&[Limit(None), Limit(Some(Duration::from_secs(600)))]));
        let group = *world.pick(&[None, Some("rack 7")]);
        let group = group.map(str::to_owned);
        if !self.parts.has_task(id) {
            return;
        }
        self.file.insert(id, TaskEntry { timeout, warn_after, group, ..written(id) });
    }

    /// The tasks of the file, or `None` if the file is refused.
    fn read_file(&self) -> Option<Vec<NewTask>> {
        let entry = |written: &TaskEntry| Listed {
            written: written.clone(),
            place: Place::default(),
            lines: Vec::new(),
        };
        let entries: Vec<_> = self.file.values().map(entry).collect();
        let mut tasks = Vec::new();
        listed(&entries, &[], &self.stage.catalogue, |task| tasks.push(task)).ok().map(|_| tasks)
    }

    /// Registers the listed tasks. Returns the new configuration.
    async fn current(&self) -> Result<Current, String> {
        let outside = &self.outside;
        let store = &self.store;
        let clock = outside.clock.clock();
        let tasks = self.read_file().ok_or("a good list is refused")?;
        let wall = clock.now().wall;
        let due = vec![wall; tasks.len()];
        let failed = |error: store::Error| error.to_string();
        let registered = store.register(tasks.clone(), wall, due).await.map_err(failed)?;
        {
            let state = &mut *outside.state();
            state.witness.started(&tasks, &registered, outside.now(), &state.world)?;
        }
        let mut listed = RowSet::default();
        registered.iter().for_each(|registered| listed.insert(registered.row));
        let connections: Arc<dyn Connections> = Arc::new(ScriptedCloud(Arc::clone(outside)));
        let mut accounts = self.stage.accounts.clone();
        accounts.retain(|name, _| self.parts.account || name != ACCOUNTS[1]);
        let timeout = self.policy.request_timeout.0;
        let cloud = Cloud::new(accounts, Operations::built_in(), timeout, |_| Ok(Arc::clone(&connections)));
        let route = |sink: &&str| SinkRoute {
            sink: (*sink).to_owned(),
            events: EventGroup::ALL.to_vec(),
            outcomes: None,
            labels: BTreeMap::new(),
        };
        let sinks: Vec<_> = self.sinks().map(|(_, name)| name).collect();
        Ok(Current {
            policy: self.policy,
            cloud: cloud.map_err(|error| error.to_string())?,
            routes: Routes(sinks.iter().map(route).collect()),
            listed,
            sinks: sinks.iter().map(ToString::to_string).collect(),
            catalogue: Arc::clone(&self.stage.catalogue),
        })
    }

    /// A reload, as in the daemon: the polling loop changes over, the lanes of sinks that stay run on.
    async fn reload(&mut self) -> Result<(), String> {
        let current = Arc::new(self.current().await?);
        let Some(life) = &self.life else { return Ok(()) };
        let way = life.to_watch.clone();
        let replaced = tokio::time::timeout(RELOAD, way.send(Action::Replace(Arc::clone(&current))));
        match replaced.await {
            Ok(Ok(())) => {
                life.live.send_replace(current);
                self.change_the_lanes();
                Ok(())
            }
            // A crash during the reload.
            Ok(Err(_)) | Err(_) => self.crash().await,
        }
    }

    /// Starts a process, as in the daemon.
    async fn start(&mut self) -> Result<(), String> {
        self.outside.state().has_crashed = false;
        let current = self.current().await?;
        let (outside, store) = (&self.outside, &self.store);
        let clock = outside.clock.clock();
        let failed = |error: store::Error| error.to_string();
        let (replace, live) = watch::channel(Arc::new(current));
        let (outbox, _) = watch::channel(());
        let (sinks_status, _) = watch::channel(BTreeMap::new());
        let newest = store.newest().await.map_err(failed)?;
        let (to_watch, commands) = command::channel();
        let start = watching::Start {
            live: live.clone(),
            allow_removals: true,
            store: Arc::clone(store),
            clock,
            status: watch::channel(WatchStatus::default()).0,
            open_tasks: OpenTasks::default(),
            outbox: outbox.clone(),
            commands,
            files: Arc::clone(&self.stage.files),
            reports: None,
        };
        let stop = CancellationToken::new();
        let lanes_stop = CancellationToken::new();
        let mut watch = JoinSet::new();
        watch.spawn(Watch::load(start).await.map_err(failed)?.run(stop.clone()));
        let mut others = JoinSet::new();
        let groups = Groups { store: Arc::clone(store), live: live.clone(), clock, outbox: outbox.clone() };
        others.spawn(groups.run(lanes_stop.clone()));
        if self.retention.0.is_some() {
            let kept = self.retention;
            let store = Arc::clone(store);
            let status = sinks_status.clone();
            let retention = Retention { store, clock, kept, live, status, newest };
            others.spawn(retention.run(lanes_stop.clone()));
        }
        self.life = Some(Life {
            watch,
            others,
            lanes: JoinSet::new(),
            running: HashMap::new(),
            outbox,
            sinks_status,
            stop,
            lanes_stop,
            live: replace,
            to_watch,
            to_lanes: SINKS.map(|_| command::channel().0),
        });
        self.change_the_lanes();
        Ok(())
    }
}

fn written(id: u64) -> TaskEntry {
    let (account, region) = [("default", "bj"), ("default", "gz"), ("other", "bj")][share(id)];
    TaskEntry {
        id: Some(WrittenId::Int(id)),
        account: Some(account.to_owned()),
        region: Some(region.to_owned()),
        ..TaskEntry::default()
    }
}

/// The first seed of a run: random, so that each run tests other histories.
fn first_seed() -> u64 {
    let moment = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    u64::from(std::process::id()) << 32 | u64::from(moment)
}

/// Runs histories until the time is over, or `$DAYS` of them.
#[expect(clippy::disallowed_methods, reason = "the real time of the test, not of a history")]
fn play_many(part: u64) {
    let stage = Stage::new();
    let first = first_seed().wrapping_add(part << 60);
    let days: Option<u64> = std::env::var("DAYS").ok().and_then(|days| days.parse().ok());
    let start = std::time::Instant::now();
    let mut played = 0;
    while days.map_or(start.elapsed() < LONGEST, |days| played < days) {
        let seed = first.wrapping_add(played);
        if let Err(what) = stage.play(seed, None) {
            panic!("{what}\nplay it again: SEED={seed} cargo nextest run history::one");
        }
        played += 1;
    }
    println!("{played} virtual days");
}

#[test]
fn every_promise_is_kept_through_as_many_virtual_days_as_fit() {
    play_many(0);
}

#[test]
fn every_promise_is_kept_through_as_many_more() {
    play_many(1);
}

/// Plays `$SEED` alone.
#[test]
fn one() {
    let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    let played = Stage::new().play(seed, None);
    assert!(played.is_ok(), "{played:?}");
}

#[test]
fn every_broken_boundary_is_seen() {
    let stage = Stage::new();
    let seen = |broken: Breakage| {
        // One fault may break a second promise first: swapped events are also lost, when only one was acknowledged.
        let names_it = |what: &String| what.contains(broken.promise());
        let found = (0..UNSEEN).find_map(|seed| stage.play(seed, Some(broken)).err().filter(names_it));
        println!("{broken:?}: {found:?}");
        found.is_some()
    };
    let unseen: Vec<_> = Breakage::ALL.into_iter().filter(|broken| !seen(*broken)).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn the_list_in_tests_readme_has_each_broken_boundary_and_its_promise() {
    let page = std::fs::read_to_string("tests/README.md").unwrap();
    for broken in Breakage::ALL {
        let promise = broken.promise().trim_start_matches("promise ");
        let is_row = |line: &str| {
            line.starts_with(&format!("| `{broken:?}` |")) && line.ends_with(&format!("| {promise} |"))
        };
        assert!(page.lines().any(is_row), "{broken:?}");
    }
}
