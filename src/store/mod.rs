//! KEEPS: every task, its end, its events and its undelivered events.
//!
//! The only folder with SQL. The end of a task, its event and its deliveries are one durable transaction;
//! only then is a sink called (docs/architecture.md §3, promise 1). Temporary failures (a full disk, a lock
//! of another process) are retried in here, with log lines. A caller only gets an [`Error`], which means that
//! the store is unusable.

#[cfg(test)]
mod conformance;
mod sqlite;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::model::event::Event;
use crate::model::records::view::{DeliveryFilter, EventFilter, EventName, EventView, TaskFilter, TaskView};
use crate::model::records::{
    Commit, DeadLetter, EvidenceRow, FinishedTask, GroupRound, GroupRow, HotRow, OpenTask, OutboxRow,
    PauseScope, Record, Registered, Seq, TargetRow,
};
use crate::model::task::{NewTask, Row, Target};
use crate::problem::Place;
use crate::units::Limit;
use sqlite::Sqlite;

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `sqlite:PATH`. Default: `opwatch.db` in `$STATE_DIRECTORY`, else in the XDG state folder.
    pub url: Option<String>,
    /// The place of the URL, or of the missing key.
    #[serde(skip)]
    pub url_place: Place,
    /// The time for which finished work is kept, or forever. Default 30d.
    pub retention: Limit,
    /// Whether the store is in memory alone, for `wait`, `demo` and tests. Then each call responds in the
    /// thread of the caller, before its future returns for the first time.
    #[serde(skip)]
    pub in_memory: bool,
}

impl Config {
    /// A store in memory.
    pub fn in_memory() -> Self {
        Self { in_memory: true, ..Self::default() }
    }
}

/// The error of an unusable store. Every case needs a person, or a restart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration names no place for a store.
    #[error("{0}")]
    Config(String),
    /// Another daemon holds the store.
    #[error(
        "{place} is in use by another opwatch ({holder}); stop that one, or configure another [store] url"
    )]
    InUse {
        /// The place of the store.
        place: String,
        /// The other daemon, as far as it is known.
        holder: String,
    },
    /// The store could not be opened.
    #[error("cannot open the store {place}: {why}")]
    Open {
        /// The place of the store.
        place: String,
        /// The reason and the fix, for people.
        why: String,
        /// Whether another try is useless before a person has acted.
        needs_a_person: bool,
        /// The error of the engine or of the system.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was written by a later version.
    #[error(
        "the store {place} was written by a later version of opwatch (schema {found}; this version knows {known}); install that version again"
    )]
    Newer {
        /// The place of the store.
        place: String,
        /// The schema version of the store.
        found: i64,
        /// The latest schema version that this program knows.
        known: i64,
    },
    /// A read or a write failed permanently: the state of everything that was not acknowledged is unknown.
    #[error("the store failed; opwatch ends, and the next start continues from the stored state")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The files of the store were removed, moved or replaced while they were in use.
    #[error(
        "the store {place} {change} while opwatch was running; writing and delivery have stopped. Put the right store at that path, then start opwatch again"
    )]
    Moved {
        /// The place of the store.
        place: String,
        /// The change.
        change: &'static str,
    },
    /// The store is closed, since the program ends.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether only a person can remove the cause, so that another start is useless.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Config(_) | Self::InUse { .. } | Self::Newer { .. } | Self::Moved { .. } => true,
            Self::Open { needs_a_person, .. } => *needs_a_person,
            Self::Failed(_) | Self::Closed => false,
        }
    }
}

/// Opens the store of a configuration, and creates it as needed. The only function that chooses an engine.
///
/// # Errors
/// When the store cannot be used. Whatever passes by itself is waited for until the future is dropped.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, Error> {
    if config.in_memory {
        return Ok(Arc::new(Sqlite::in_memory()?));
    }
    let path = sqlite::location(config, |name| std::env::var_os(name))?;
    Ok(Arc::new(Sqlite::open(path).await?))
}

/// The place of the store of a configuration, for people. Nothing is opened or created.
///
/// # Errors
/// When the store could not be opened at that place.
pub fn place(config: &Config) -> Result<String, Error> {
    if config.in_memory {
        return Ok("in memory".to_owned());
    }
    let path = sqlite::location_to_be(config, |name| std::env::var_os(name))?;
    Ok(path.display().to_string())
}

/// A reason why the place of a store may lose data, and the fix. `None`: there is no such reason.
pub fn doubt(config: &Config) -> Option<String> {
    let path = sqlite::location_to_be(config, |name| std::env::var_os(name)).ok()?;
    if let Some(folder) = sqlite::read_only_folder(&path) {
        let folder = folder.display();
        return Some(format!(
            "this user cannot write to {folder}; change its owner, or use the user of the daemon"
        ));
    }
    let file_system = sqlite::network(&path)?;
    Some(format!(
        "is on a network file system ({file_system}), where locks and syncs may fail; use a local disk"
    ))
}

/// The flaw of a URL, and the fix; `None`: it names a store.
pub fn url_flaw(url: &str) -> Option<&'static str> {
    sqlite::path_of(url).err()
}

/// The URL with its path made absolute by that function; a URL without a path as it is.
pub fn rebased(url: String, absolute: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    match sqlite::path_of(&url) {
        Ok(path) => absolute(path).map(|path| sqlite::url_of(&path)),
        Err(_) => Some(url),
    }
}

/// The promises of every store; `store/conformance.rs` tests an engine for them.
///
/// Each call may wait long (a full disk, a lock of another process): callers set no limit, and a stop drops
/// the future. The write of a dropped future may still happen.
#[async_trait]
pub trait Store: Send + Sync {
    /// Registers tasks in one transaction, and returns a result for each in order. A known task keeps its
    /// start; if it is still open, its changed settings apply.
    async fn register(
        &self,
        tasks: Vec<NewTask>,
        now: Wall,
        due: Vec<Wall>,
    ) -> Result<Vec<Registered>, Error>;

    /// The targets of all registered tasks.
    async fn targets(&self) -> Result<HashMap<TargetRow, Target>, Error>;

    /// The rows of those of these tasks that are open. Nothing is written.
    async fn open_among(&self, tasks: Vec<NewTask>) -> Result<Vec<Row>, Error>;

    /// Number of open tasks of file origin.
    async fn open_from_files(&self) -> Result<usize, Error>;

    /// At most `limit` open tasks of these targets in the order of their keys, after that key. `None`: of all
    /// targets.
    async fn open_tasks(
        &self,
        targets: Option<&[TargetRow]>,
        after: Row,
        limit: usize,
    ) -> Result<Vec<OpenTask>, Error>;

    /// Those of these tasks that are open, in the order of their keys.
    async fn open_of(&self, rows: Vec<Row>) -> Result<Vec<OpenTask>, Error>;

    /// At most `limit` tasks of a selection, open or not, in the order of their keys, after that key.
    async fn tasks(&self, filter: TaskFilter, after: Row, limit: usize) -> Result<Vec<TaskView>, Error>;

    /// The task of that key; `None` if it is unknown.
    async fn task(&self, row: Row) -> Result<Option<TaskView>, Error>;

    /// At most `limit` events of a selection, oldest first, after that number.
    async fn events(&self, filter: EventFilter, after: Seq, limit: usize) -> Result<Vec<EventView>, Error>;

    /// The event of that name; `None` if it is unknown.
    async fn event(&self, name: EventName) -> Result<Option<EventView>, Error>;

    /// Returns dead letters to the outbox. With both events and a sink, the events are delivered to that sink again,
    /// acknowledged or not. Returns the deliveries.
    async fn redeliver(&self, filter: DeliveryFilter) -> Result<Vec<(String, Seq)>, Error>;

    /// Deletes dead letters. Returns their number.
    async fn discard(&self, filter: DeliveryFilter) -> Result<u64, Error>;

    /// The number of the latest event; zero before the first.
    async fn newest_seq(&self) -> Result<Seq, Error>;

    /// The accounts and sinks that a person paused.
    async fn paused(&self) -> Result<BTreeSet<PauseScope>, Error>;

    /// Stores whether a person paused that account or sink.
    async fn set_paused(&self, scope: PauseScope, paused: bool) -> Result<(), Error>;

    /// The values of that task for an event; `None` if it is unknown.
    async fn record(&self, row: Row) -> Result<Option<Record>, Error>;

    /// Stores a step. `false`: the task has ended already, and nothing was written (docs/architecture.md §3,
    /// promise 3).
    async fn commit(&self, commit: Commit) -> Result<bool, Error>;

    /// Stores an event that is about no task, for these sinks.
    async fn add_event(&self, event: Event, sinks: Vec<String>) -> Result<(), Error>;

    /// Stores the polls of these tasks; a pause, an extension and a warning stay. Ended tasks are skipped, and so is one
    /// with more polls in the store.
    async fn save(&self, hot: Vec<HotRow>) -> Result<(), Error>;

    /// At most `limit` undelivered events of that sink, oldest first, after that number.
    async fn undelivered(&self, sink: &str, after: Seq, limit: usize) -> Result<Vec<OutboxRow>, Error>;

    /// These deliveries arrived.
    async fn acknowledge(&self, sink: &str, seqs: Vec<Seq>) -> Result<(), Error>;

    /// These deliveries failed for the first time, at that moment of the sink's own clock.
    async fn mark_tried(&self, sink: &str, seqs: Vec<Seq>, active: Duration) -> Result<(), Error>;

    /// The stored value of the sink's own clock: the time for which the daemon ran with this sink, and the
    /// sink was neither on hold nor paused.
    async fn active(&self, sink: &str) -> Result<Duration, Error>;

    /// Stores the value of the sink's own clock.
    async fn save_active(&self, sink: &str, active: Duration) -> Result<(), Error>;

    /// Makes a delivery a dead letter, and stores the event about it; does nothing if the event was
    /// delivered.
    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), Error>;

    /// Marks these sinks as configured. Undelivered events of other sinks, last configured before that
    /// moment, become dead letters. Returns their number for each sink.
    async fn expire_unconfigured(
        &self,
        configured: Vec<String>,
        before: Wall,
        at: Wall,
    ) -> Result<HashMap<String, u64>, Error>;

    /// The number of undelivered events of each sink, configured or not, without dead letters.
    async fn outbox(&self) -> Result<HashMap<String, u64>, Error>;

    /// The number of stored dead letters of each sink.
    async fn dead_letters(&self) -> Result<HashMap<String, u64>, Error>;

    /// At most `limit` tasks that ended before that moment, in the order of their ends, after that one. They
    /// have no undelivered events and no later dead letters. Retention skips those that are still listed, and
    /// passes the rest to [`Store::delete_finished`].
    async fn finished_before(
        &self,
        before: Wall,
        after: FinishedTask,
        limit: usize,
    ) -> Result<Vec<FinishedTask>, Error>;

    /// Deletes these tasks with their events and dead letters, except those that [`Store::finished_before`]
    /// no longer returns.
    async fn delete_finished(&self, before: Wall, tasks: Vec<FinishedTask>) -> Result<(), Error>;

    /// The open rounds of groups whose tasks have all finished.
    async fn finished_groups(&self) -> Result<Vec<GroupRound>, Error>;

    /// Closes a round of a group, and stores the event about it for these sinks. `false`: another task joined
    /// the round, or it is closed already, and nothing was written.
    async fn close_group(&self, group: GroupRow, event: Event, sinks: Vec<String>) -> Result<bool, Error>;

    /// The evidence of each pace key that was saved, in the order of the keys.
    async fn evidence(&self) -> Result<Vec<EvidenceRow>, Error>;

    /// Saves the evidence of these pace keys, and replaces their previous evidence.
    async fn save_evidence(&self, rows: Vec<EvidenceRow>) -> Result<(), Error>;

    /// The time of the latest event.
    async fn newest(&self) -> Result<Option<Wall>, Error>;

    /// Deletes at most `limit` delivered events from before that moment that are about no task. Returns their
    /// number.
    async fn delete_events(&self, before: Wall, limit: usize) -> Result<u64, Error>;

    /// Waits until the store is unusable, and returns the reason, also without a call in progress.
    async fn failed(&self) -> Error;

    /// Writes all accepted work and releases the store, so that it can be opened again. Every later call
    /// returns [`Error::Closed`]. Work that cannot be written within some seconds is dropped, and its callers
    /// get an error.
    async fn close(&self);
}

impl Default for Config {
    fn default() -> Self {
        let url_place = Place { key: Some("store.url".to_owned()), ..Place::default() };
        let retention = Limit(Some(Duration::from_secs(30 * 24 * 3600)));
        Self { url: None, url_place, retention, in_memory: false }
    }
}
