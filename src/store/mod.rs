//! KEEPS: every task, its end, its events and the deliveries still owed.
//!
//! The only folder with SQL. A task's end, its event and its deliveries are one durable transaction; only
//! then is a sink called (docs/architecture.md §3, promise 1). Trouble that passes (a full disk, somebody else's lock)
//! is waited out in here, visibly; what a caller gets to see is [`Error`], and means that the store is
//! unusable.

#[cfg(test)]
mod conformance;
mod sqlite;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::model::event::Event;
use crate::model::records::{
    Commit, DeadLetter, EvidenceRow, FinishedTask, GroupRound, GroupRow, HotRow, OpenTask, OutboxRow, Record,
    Registered, Seq, TargetRow,
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
    /// Where that is written, or where it would be.
    #[serde(skip)]
    pub url_place: Place,
    /// How long what is over is kept, or forever. Default 30d.
    pub retention: Limit,
    /// Whether the store is kept in memory alone, for `wait`, `demo` and tests. Then each call is answered in
    /// the thread of the caller, before its future returns for the first time.
    #[serde(skip)]
    pub in_memory: bool,
}

impl Config {
    /// A store in memory.
    pub fn in_memory() -> Self {
        Self { in_memory: true, ..Self::default() }
    }
}

/// Why the store cannot be used. Every case needs a person, or a restart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration names no place for a store.
    #[error("{0}")]
    Config(String),
    /// Another daemon holds the store.
    #[error(
        "{place} is in use by another opwatch ({holder}); stop that one, or give this one its own [store] url"
    )]
    InUse {
        /// The place of the store.
        place: String,
        /// The other daemon, as far as that is known.
        holder: String,
    },
    /// The store could not be opened.
    #[error("cannot open the store {place}: {why}")]
    Open {
        /// The place of the store.
        place: String,
        /// The reason and the fix, for people.
        why: String,
        /// Whether another try is of no use before a person acted.
        needs_a_person: bool,
        /// The words of the engine or of the system.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was written by a later version.
    #[error(
        "the store {place} was written by a later opwatch (schema {found}, this one knows {known}); install that version again"
    )]
    Newer {
        /// The place of the store.
        place: String,
        /// The schema version of the store.
        found: i64,
        /// The latest schema version that this program knows.
        known: i64,
    },
    /// A read or a write failed for good: nothing may be assumed of what was not acknowledged.
    #[error("the store failed; opwatch ends here and starts afresh from what is safely written")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The files of the store were removed, moved or replaced while they were in use.
    #[error(
        "the store {place} {change} while opwatch was running; nothing is written or delivered any more. Put the right store at that path, then start opwatch again"
    )]
    Moved {
        /// The place of the store.
        place: String,
        /// What happened to it.
        change: &'static str,
    },
    /// The store is closed, since the program ends.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether only a person can remove the cause, so that another start is of no use.
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

/// What every store promises; `store/conformance.rs` holds an engine to it.
///
/// Each call may wait long (a full disk, a foreign lock): callers bound nothing, and a stop drops the future.
/// A dropped future's write may still happen.
#[async_trait]
pub trait Store: Send + Sync {
    /// Registers tasks, in one transaction, and answers for each in order. A task that is known keeps its
    /// start; if it is still open, its changed settings are taken over.
    async fn register(
        &self,
        tasks: Vec<NewTask>,
        now: Wall,
        due: Vec<Wall>,
    ) -> Result<Vec<Registered>, Error>;

    /// The targets that any task was registered with.
    async fn targets(&self) -> Result<HashMap<TargetRow, Target>, Error>;

    /// At most `limit` open tasks of these targets in the order of their keys, after that key. `None`: of all
    /// targets.
    async fn open_tasks(
        &self,
        targets: Option<&[TargetRow]>,
        after: Row,
        limit: usize,
    ) -> Result<Vec<OpenTask>, Error>;

    /// What an event tells of that task; `None` if it is not known.
    async fn record(&self, row: Row) -> Result<Option<Record>, Error>;

    /// Makes a step durable. `false`: the task is over already, and nothing was written (docs/architecture.md §3,
    /// promise 3).
    async fn commit(&self, commit: Commit) -> Result<bool, Error>;

    /// Makes an event durable that is no task's, with the sinks that are owed it.
    async fn add_event(&self, event: Event, sinks: Vec<String>) -> Result<(), Error>;

    /// Keeps where the polling of these tasks stands, at a clean stop; those that are over by now are left
    /// alone.
    async fn save(&self, hot: Vec<HotRow>) -> Result<(), Error>;

    /// At most `limit` deliveries owed to that sink, oldest first, after that number.
    async fn undelivered(&self, sink: &str, after: Seq, limit: usize) -> Result<Vec<OutboxRow>, Error>;

    /// These deliveries arrived.
    async fn acknowledge(&self, sink: &str, seqs: Vec<Seq>) -> Result<(), Error>;

    /// These deliveries failed for the first time, when the sink's own clock stood there.
    async fn mark_tried(&self, sink: &str, seqs: Vec<Seq>, active: Duration) -> Result<(), Error>;

    /// How the sink's own clock stood when it was last kept: for how long it was used and not held.
    async fn active(&self, sink: &str) -> Result<Duration, Error>;

    /// Keeps how the sink's own clock stands.
    async fn save_active(&self, sink: &str, active: Duration) -> Result<(), Error>;

    /// A delivery becomes a dead letter, and the event that tells of it is owed; nothing happens to one that
    /// is not owed any more.
    async fn dead_letter(&self, burial: DeadLetter) -> Result<(), Error>;

    /// These sinks are configured now. What is owed to others that were last configured before that moment
    /// becomes dead letters; how many of each.
    async fn expire_unconfigured(
        &self,
        configured: Vec<String>,
        before: Wall,
        at: Wall,
    ) -> Result<HashMap<String, u64>, Error>;

    /// How many deliveries are owed to each sink, configured or not; dead letters are not.
    async fn outbox(&self) -> Result<HashMap<String, u64>, Error>;

    /// How many dead letters are kept of each sink.
    async fn dead_letters(&self) -> Result<HashMap<String, u64>, Error>;

    /// At most `limit` tasks that ended before that moment, whose events are owed to nobody and no dead
    /// letter since, in the order in which they ended, after that one. Retention looks here, leaves out what
    /// is still listed, and hands the rest to [`Store::delete_finished`].
    async fn finished_before(
        &self,
        before: Wall,
        after: FinishedTask,
        limit: usize,
    ) -> Result<Vec<FinishedTask>, Error>;

    /// Forgets these tasks with their events and dead letters, except those that [`Store::finished_before`] does not
    /// find any more.
    async fn delete_finished(&self, before: Wall, tasks: Vec<FinishedTask>) -> Result<(), Error>;

    /// The open rounds of groups whose tasks are all over.
    async fn finished_groups(&self) -> Result<Vec<GroupRound>, Error>;

    /// Closes a round of a group, and makes the event durable that tells of it, with the sinks that are owed
    /// it. `false`: another task joined it, or it is closed already, and nothing was written.
    async fn close_group(&self, group: GroupRow, event: Event, sinks: Vec<String>) -> Result<bool, Error>;

    /// The evidence of each pace key that was saved, in the order of the keys.
    async fn evidence(&self) -> Result<Vec<EvidenceRow>, Error>;

    /// Saves the evidence of these pace keys in place of what was saved for them before.
    async fn save_evidence(&self, rows: Vec<EvidenceRow>) -> Result<(), Error>;

    /// The time of the latest event.
    async fn newest(&self) -> Result<Option<Wall>, Error>;

    /// Forgets at most `limit` events from before that moment that are no task's and are owed to nobody; how
    /// many.
    async fn delete_events(&self, before: Wall, limit: usize) -> Result<u64, Error>;

    /// Waits until the store is unusable, and returns the reason: also while it has no call to answer.
    async fn failed(&self) -> Error;

    /// Writes what was asked for until now and lets go of the store, so that it can be opened again. Every
    /// later call answers [`Error::Closed`]. What cannot be written within some seconds is given up, and its
    /// callers are told.
    async fn close(&self);
}

impl Default for Config {
    fn default() -> Self {
        let url_place = Place { key: Some("store.url".to_owned()), ..Place::default() };
        let retention = Limit(Some(Duration::from_secs(30 * 24 * 3600)));
        Self { url: None, url_place, retention, in_memory: false }
    }
}
