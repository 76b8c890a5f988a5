//! The store in one SQLite file, or in memory.
//!
//! A file store has two threads (worker.rs): a writer with group commit, and a reader. In memory the thread
//! of the caller does the work (inline.rs). Each call of the trait becomes a job; the statements are in
//! tasks.rs, groups.rs, outbox.rs and evidence.rs.

mod connect;
mod evidence;
mod file_system;
mod files;
mod groups;
mod inline;
mod job;
mod location;
mod lock;
mod outbox;
mod tasks;
#[cfg(test)]
mod tests;
mod trouble;
mod values;
mod views;
mod wal;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

pub use self::file_system::network;
use self::files::Files;
use self::inline::Inline;
pub use self::location::{location, location_to_be, path_of, read_only_folder, url_of};
use self::lock::Lock;
use self::trouble::Patience;
use self::wal::Wal;
use self::worker::{Poison, Role, StoreShared, Worker};
use super::{Error, Store};
use crate::clock::Wall;
use crate::model::event::Event;
use crate::model::records::view::{DeliveryFilter, EventFilter, EventName, EventView, TaskFilter, TaskView};
use crate::model::records::{
    Commit, DeadLetter, EvidenceRow, FinishedTask, GroupRound, GroupRow, HotRow, OpenTask, OutboxRow,
    PauseScope, Record, Registered, Seq, TargetRow,
};
use crate::model::task::{NewTask, Row, Target};

/// An open SQLite store. Dropped without [`Store::close`], its threads end a little later.
#[derive(Debug)]
pub enum Sqlite {
    /// In a file.
    File {
        /// Writes, with group commit.
        writer: Worker,
        /// Reads.
        reader: Worker,
        /// The failure that makes both unusable.
        poison: Poison,
    },
    /// In memory, where one connection alone sees the data.
    Memory(Inline),
}

impl Sqlite {
    /// Opens the store in that file; creates the file and updates the schema as needed. A lock of another
    /// process and a full disk are waited for, with log lines, until the future is dropped.
    ///
    /// # Errors
    /// When it is in use by another daemon, was written by a later version, or cannot be opened.
    pub async fn open(path: PathBuf) -> Result<Self, Error> {
        let (open, closing) = std::sync::mpsc::channel();
        let opened = tokio::task::spawn_blocking(move || Self::open_waiting(&path, closing)).await;
        drop(open);
        opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    fn open_waiting(path: &Path, closing: Receiver<Infallible>) -> Result<Self, Error> {
        let mut patience = Patience::new(path.into(), closing);
        let unusable = |error| connect::unusable(path, error);
        // Before the first read, so that two simultaneous starts never update the schema together.
        let lock = Lock::take(path, &mut patience)?;
        connect::create(path, &mut patience)?;
        let writer = connect::connect(path, &mut patience)?;
        let reader = connect::connect(path, &mut patience)?;
        let role = Role::Writer { _lock: Some(lock), wal: Some(Wal::of(path)) };
        let poison = Poison::default();
        let files = Arc::new(Files::of(path).map_err(unusable)?);
        let shared = StoreShared { path: path.into(), files, poison: poison.clone() };
        let writer = Worker::start(writer, role, shared.clone()).map_err(unusable)?;
        let reader = Worker::start(reader, Role::Reader, shared).map_err(unusable)?;
        Ok(Self::File { writer, reader, poison })
    }

    /// An empty store in memory.
    ///
    /// # Errors
    /// When SQLite refuses it, for want of memory.
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self::Memory(Inline::new(connect::in_memory()?)))
    }

    async fn write<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        match self {
            Self::File { writer, .. } => writer.run(work).await,
            Self::Memory(inline) => inline.run(work),
        }
    }

    async fn read<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        match self {
            Self::File { reader, .. } => reader.run(work).await,
            Self::Memory(inline) => inline.run(work),
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn register(
        &self,
        tasks: Vec<NewTask>,
        now: Wall,
        due: Vec<Wall>,
    ) -> Result<Vec<Registered>, Error> {
        self.write(move |connection| tasks::register(connection, &tasks, now, &due)).await
    }

    async fn open_among(&self, tasks: Vec<NewTask>) -> Result<Vec<Row>, Error> {
        self.read(move |connection| tasks::open_among(connection, &tasks)).await
    }

    async fn open_from_files(&self) -> Result<usize, Error> {
        self.read(tasks::open_from_files).await
    }

    async fn targets(&self) -> Result<HashMap<TargetRow, Target>, Error> {
        self.read(tasks::targets).await
    }

    async fn open_tasks(
        &self,
        targets: Option<&[TargetRow]>,
        after: Row,
        limit: usize,
    ) -> Result<Vec<OpenTask>, Error> {
        let targets = targets.map(|targets| tasks::numbers(targets.iter().map(|TargetRow(row)| *row)));
        self.read(move |connection| tasks::open(connection, targets.as_deref(), after, limit)).await
    }

    async fn open_of(&self, rows: Vec<Row>) -> Result<Vec<OpenTask>, Error> {
        let rows = tasks::numbers(rows.into_iter().map(|Row(row)| row));
        self.read(move |connection| tasks::open_of(connection, &rows)).await
    }

    async fn tasks(&self, filter: TaskFilter, after: Row, limit: usize) -> Result<Vec<TaskView>, Error> {
        self.read(move |connection| views::tasks(connection, &filter, after, limit)).await
    }

    async fn task(&self, row: Row) -> Result<Option<TaskView>, Error> {
        self.read(move |connection| views::task_of(connection, row)).await
    }

    async fn events(&self, filter: EventFilter, after: Seq, limit: usize) -> Result<Vec<EventView>, Error> {
        self.read(move |connection| views::events(connection, &filter, after, limit)).await
    }

    async fn event(&self, name: EventName) -> Result<Option<EventView>, Error> {
        self.read(move |connection| views::event_of(connection, name)).await
    }

    async fn redeliver(&self, filter: DeliveryFilter) -> Result<Vec<(String, Seq)>, Error> {
        self.write(move |connection| views::redeliver(connection, &filter)).await
    }

    async fn discard(&self, filter: DeliveryFilter) -> Result<u64, Error> {
        self.write(move |connection| views::discard(connection, &filter)).await
    }

    async fn newest_seq(&self) -> Result<Seq, Error> {
        self.read(outbox::newest_seq).await
    }

    async fn paused(&self) -> Result<BTreeSet<PauseScope>, Error> {
        self.read(tasks::paused).await
    }

    async fn set_paused(&self, scope: PauseScope, paused: bool) -> Result<(), Error> {
        self.write(move |connection| tasks::set_paused(connection, &scope, paused)).await
    }

    async fn record(&self, row: Row) -> Result<Option<Record>, Error> {
        self.read(move |connection| tasks::record(connection, row)).await
    }

    async fn commit(&self, commit: Commit) -> Result<bool, Error> {
        self.write(move |connection| outbox::commit(connection, &commit)).await
    }

    async fn add_event(&self, event: Event, sinks: Vec<String>) -> Result<(), Error> {
        self.write(move |connection| outbox::insert_event(connection, None, &event, &sinks)).await
    }

    async fn save(&self, hot: Vec<HotRow>) -> Result<(), Error> {
        self.write(move |connection| hot.iter().try_for_each(|hot| tasks::save_polls(connection, hot))).await
    }

    async fn undelivered(&self, sink: &str, after: Seq, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        let sink = sink.to_owned();
        self.read(move |connection| outbox::undelivered(connection, &sink, after, limit)).await
    }

    async fn acknowledge(&self, sink: &str, seqs: Vec<Seq>) -> Result<(), Error> {
        let sink = sink.to_owned();
        self.write(move |connection| outbox::acknowledge(connection, &sink, &seqs)).await
    }

    async fn mark_tried(&self, sink: &str, seqs: Vec<Seq>, active: Duration) -> Result<(), Error> {
        let sink = sink.to_owned();
        self.write(move |connection| outbox::mark_tried(connection, &sink, &seqs, active)).await
    }

    async fn active(&self, sink: &str) -> Result<Duration, Error> {
        let sink = sink.to_owned();
        self.read(move |connection| outbox::active(connection, &sink)).await
    }

    async fn save_active(&self, sink: &str, active: Duration) -> Result<(), Error> {
        let sink = sink.to_owned();
        self.write(move |connection| outbox::save_active(connection, &sink, active)).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), Error> {
        self.write(move |connection| outbox::dead_letter(connection, &letter)).await
    }

    async fn expire_unconfigured(
        &self,
        configured: Vec<String>,
        before: Wall,
        at: Wall,
    ) -> Result<HashMap<String, u64>, Error> {
        self.write(move |connection| outbox::expire_unconfigured(connection, &configured, before, at)).await
    }

    async fn outbox(&self) -> Result<HashMap<String, u64>, Error> {
        self.read(outbox::outbox).await
    }

    async fn dead_letters(&self) -> Result<HashMap<String, u64>, Error> {
        self.read(outbox::dead_letters).await
    }

    async fn finished_before(
        &self,
        before: Wall,
        after: FinishedTask,
        limit: usize,
    ) -> Result<Vec<FinishedTask>, Error> {
        self.read(move |connection| tasks::finished_before(connection, before, after, limit)).await
    }

    async fn delete_finished(&self, before: Wall, tasks: Vec<FinishedTask>) -> Result<(), Error> {
        self.write(move |connection| tasks::delete_finished(connection, before, &tasks)).await
    }

    async fn finished_groups(&self) -> Result<Vec<GroupRound>, Error> {
        self.read(groups::finished_rounds).await
    }

    async fn close_group(&self, group: GroupRow, event: Event, sinks: Vec<String>) -> Result<bool, Error> {
        self.write(move |connection| outbox::close_group(connection, group, &event, &sinks)).await
    }

    async fn evidence(&self) -> Result<Vec<EvidenceRow>, Error> {
        self.read(evidence::all).await
    }

    async fn save_evidence(&self, rows: Vec<EvidenceRow>) -> Result<(), Error> {
        self.write(move |connection| evidence::save(connection, &rows)).await
    }

    async fn newest(&self) -> Result<Option<Wall>, Error> {
        self.read(outbox::newest).await
    }

    async fn delete_events(&self, before: Wall, limit: usize) -> Result<u64, Error> {
        self.write(move |connection| outbox::delete_events(connection, before, limit)).await
    }

    async fn failed(&self) -> Error {
        match self {
            Self::File { poison, .. } => poison.wait().await.into(),
            Self::Memory(_) => std::future::pending().await,
        }
    }

    async fn close(&self) {
        match self {
            Self::File { writer, reader, .. } => {
                // The reader first: the writer then truncates the log, and the last connection removes it.
                reader.close().await;
                writer.close().await;
            }
            Self::Memory(inline) => inline.close(),
        }
    }
}
