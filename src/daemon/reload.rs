//! A new configuration for the running daemon: everything that can fail is built first, then the loops continue with it.
//!
//! The polling loop loads the new configuration beside the present one, and changes over in one turn. Holds, rates, clock
//! offsets and polls in flight continue. A sink that did not change keeps its loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Error;
use super::parts::{build_sinks_off_loop, catalogue, cloud, routes};
use super::refresh::Refresh;
use super::registration::register_listed;
use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::config::Loaded;
use crate::deliver::{Deliver, LaneStatus};
use crate::files::{self, Watched};
use crate::live::Current;
use crate::live::command::{self, Commands};
use crate::model::delivery::Sending;
use crate::model::records::RowSet;
use crate::model::task::NewTask;
use crate::problem::{Place, Problem, chain};
use crate::register::catalogue::Catalogue;
use crate::register::listed::listed;
use crate::sinks::LineStyle;
use crate::sinks::Sink;
use crate::store::{self, Store};
use crate::telemetry;

/// A reload that would remove more than half of this many or more open tasks is refused.
const MANY: usize = 20;
/// Tasks that are counted in one read of the store.
const COUNTED_AT_ONCE: usize = 5_000;

/// A request of a person to the running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonRequest {
    /// Reads the configuration again.
    Reload,
    /// Logs the status line.
    Report,
}

/// Loads the configuration again, or returns all its errors. It may block.
pub type Load = Arc<dyn Fn() -> Result<Loaded, Vec<Problem>> + Send + Sync>;

/// The way of a person into the daemon.
pub struct Control {
    /// Requests, in their order.
    pub requests: mpsc::Receiver<PersonRequest>,
    /// Reads the configuration.
    pub load: Load,
}

/// The parts that a reload needs and replaces.
pub struct Reloader {
    /// The configuration in use.
    pub loaded: Arc<Loaded>,
    /// The delivery settings of the sinks in use.
    pub sending: BTreeMap<String, Sending>,
    /// The style of event lines.
    pub style: LineStyle,
    /// Time.
    pub clock: Clock,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The live configuration.
    pub live: watch::Sender<Arc<Current>>,
    /// Notifies that the outbox may have new rows.
    pub outbox: watch::Sender<()>,
    /// The state of each sink.
    pub status: watch::Sender<BTreeMap<String, LaneStatus>>,
    /// The files of accounts.
    pub account_files: Arc<Watched>,
    /// The files of sinks.
    pub sink_files: Arc<Watched>,
}

/// The sinks with the way into their loops, by name.
pub type SinkWays = BTreeMap<String, (Arc<dyn Sink>, Commands)>;

/// A new configuration with everything that can fail.
pub struct PreparedReload {
    loaded: Arc<Loaded>,
    catalogue: Arc<Catalogue>,
    cloud: Cloud,
    sinks: BTreeMap<String, (Arc<dyn Sink>, Sending)>,
}

impl PreparedReload {
    /// The snapshot with the listed tasks.
    pub fn current(&self, listed: RowSet) -> Current {
        let Self { loaded, catalogue, cloud, sinks } = self;
        Current {
            policy: loaded.poll,
            cloud: cloud.clone(),
            routes: routes(loaded),
            listed,
            sinks: sinks.keys().cloned().collect(),
            catalogue: Arc::clone(catalogue),
        }
    }
}

/// The changes of the delivery loops.
pub struct LaneChanges {
    /// Sinks whose loop ends.
    pub stop: Vec<String>,
    /// New loops; one with the name of a stopped one begins after its end.
    pub start: Vec<Deliver>,
}

impl Reloader {
    /// Builds a new configuration. With `allow_removals` it may abandon most open tasks. Nothing is changed.
    ///
    /// # Errors
    /// All errors of the configuration, or the reason why a reload cannot apply it.
    pub async fn prepare(&self, load: Load, allow_removals: bool) -> Result<PreparedReload, Vec<Problem>> {
        let of = |problem: String| vec![Problem::new(Place::default(), problem)];
        let loaded = files::off_loop(move || load()).await.map_err(|error| of(error.to_string()))??;
        let fixed = self.fixed(&loaded);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let catalogue = Arc::new(catalogue(&loaded));
        let loaded = Arc::new(loaded);
        let cloud = cloud(&loaded).map_err(|error| of(chain(&error)))?;
        let sinks = build_sinks_off_loop(&loaded, &self.style, self.clock).await;
        let sinks = sinks.map_err(|error| match error {
            Error::Configuration(problems) => problems,
            other @ (Error::Cloud(_) | Error::Opening(..) | Error::Store(_) | Error::Thread(_)) => {
                of(chain(&other))
            }
        })?;
        if !allow_removals {
            let counted = self.listed_and_open(&loaded, &catalogue).await;
            let (kept, open) = counted.map_err(|error| match error {
                Error::Configuration(problems) => problems,
                other @ (Error::Cloud(_) | Error::Opening(..) | Error::Store(_) | Error::Thread(_)) => {
                    of(chain(&other))
                }
            })?;
            let gone = open.saturating_sub(kept);
            if open >= MANY && gone * 2 > open {
                return Err(of(format!(
                    "{gone} of {open} open tasks are no longer listed, and a reload removes at most half of them; check the task files, or run `opwatch reload --allow-removals`"
                )));
            }
        }
        Ok(PreparedReload { loaded, catalogue, cloud, sinks })
    }

    /// Errors for the sections that cannot change while the daemon runs.
    fn fixed(&self, loaded: &Loaded) -> Vec<Problem> {
        let before = &self.loaded;
        let keys = [
            ("store.url", before.store.url != loaded.store.url),
            ("store.retention", before.store.retention != loaded.store.retention),
            ("http", before.http != loaded.http),
            ("heartbeat", before.heartbeat != loaded.heartbeat),
            ("log.format", before.log.format != loaded.log.format),
        ];
        let changed = keys.into_iter().filter(|(_, is_changed)| *is_changed);
        changed
            .map(|(key, _)| {
                let place = Place { key: Some(key.into()), ..Place::default() };
                Problem::new(
                    place,
                    "cannot change while opwatch runs; restart it, or write the previous value",
                )
            })
            .collect()
    }

    /// Number of open tasks that are listed, and number of all open tasks of file origin.
    async fn listed_and_open(
        &self,
        loaded: &Arc<Loaded>,
        catalogue: &Arc<Catalogue>,
    ) -> Result<(usize, usize), Error> {
        let open = self.store.open_from_files().await?;
        if open < MANY {
            return Ok((open, open));
        }
        let (sender, mut batches) = mpsc::channel::<Vec<NewTask>>(1);
        let (loaded, catalogue) = (Arc::clone(loaded), Arc::clone(catalogue));
        let reader = files::off_loop(move || {
            let mut batch = Vec::with_capacity(COUNTED_AT_ONCE);
            listed(&loaded.tasks, &loaded.task_files, &catalogue, |task| {
                batch.push(task);
                if batch.len() == COUNTED_AT_ONCE {
                    // An error means that the daemon stops.
                    let _ = sender.blocking_send(std::mem::take(&mut batch));
                }
            })?;
            let _ = sender.blocking_send(batch);
            Ok(())
        });
        let counting = async {
            let mut rows = RowSet::default();
            let mut count = 0;
            while let Some(batch) = batches.recv().await {
                for row in self.store.open_among(batch).await? {
                    // A task may be listed twice.
                    if !rows.contains(row) {
                        rows.insert(row);
                        count += 1;
                    }
                }
            }
            Ok::<usize, store::Error>(count)
        };
        let (read, count) = tokio::join!(reader, counting);
        read.map_err(Error::Thread)?.map_err(Error::Configuration)?;
        Ok((count?, open))
    }

    /// Registers the listed tasks, which the store keeps.
    ///
    /// # Errors
    /// When the store fails, or a task file changed since it was loaded.
    pub async fn register(&self, prepared: &PreparedReload) -> Result<RowSet, Error> {
        let PreparedReload { loaded, catalogue, .. } = prepared;
        register_listed(Arc::clone(loaded), Arc::clone(catalogue), self.store.as_ref(), self.clock).await
    }

    /// Publishes the new configuration, which the polling loop uses. Returns the changes of the delivery loops, and the
    /// watch over the new files.
    pub fn publish(
        &mut self,
        prepared: PreparedReload,
        current: Arc<Current>,
        mut ways: SinkWays,
    ) -> (LaneChanges, Refresh) {
        let PreparedReload { loaded, sinks, .. } = prepared;
        let is_same = |name: &String, sending: &Sending| {
            self.loaded.sinks.get(name) == loaded.sinks.get(name) && self.sending.get(name) == Some(sending)
        };
        let changed: BTreeMap<_, _> =
            sinks.iter().map(|(name, (_, sending))| (name.clone(), !is_same(name, sending))).collect();
        let stop: Vec<_> =
            ways.keys().filter(|name| changed.get(*name).copied().unwrap_or(true)).cloned().collect();
        ways.retain(|name, _| !stop.contains(name));
        self.sending = sinks.iter().map(|(name, (_, sending))| (name.clone(), *sending)).collect();
        self.live.send_replace(current);
        let start = sinks
            .into_iter()
            .filter(|(name, _)| !ways.contains_key(name))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(name, (sink, sending))| self.lane(&mut ways, name, sink, sending))
            .collect();
        telemetry::set_level(loaded.log.level);
        for doubt in &loaded.doubts {
            tracing::warn!(%doubt, "the configuration is valid, with a warning");
        }
        self.loaded = loaded;
        let refresh = Refresh {
            live: self.live.clone(),
            sinks: ways,
            account_files: Arc::clone(&self.account_files),
            sink_files: Arc::clone(&self.sink_files),
        };
        (LaneChanges { stop, start }, refresh)
    }

    /// A delivery loop, and the way into it.
    pub fn lane(&self, ways: &mut SinkWays, name: String, sink: Arc<dyn Sink>, sending: Sending) -> Deliver {
        let (way, commands) = command::channel();
        ways.insert(name.clone(), (Arc::clone(&sink), way));
        Deliver {
            name,
            sink,
            sending,
            live: self.live.subscribe(),
            store: Arc::clone(&self.store),
            clock: self.clock,
            outbox: self.outbox.clone(),
            status: self.status.clone(),
            commands,
            files: Arc::clone(&self.sink_files),
        }
    }
}
