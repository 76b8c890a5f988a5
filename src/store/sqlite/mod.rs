//! The store in one SQLite file, or in memory.
//!
//! Two threads do the work (worker.rs): a writer with group commit, and a reader. Here each call of the trait
//! becomes a job; the statements are in tasks.rs and outbox.rs.

mod connect;
mod groups;
mod job;
mod location;
mod lock;
mod outbox;
mod tasks;
#[cfg(test)]
mod tests;
mod trouble;
mod values;
mod wal;
mod worker;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use async_trait::async_trait;

pub use self::location::{Location, location, location_to_be};
use self::lock::Lock;
use self::trouble::Patience;
use self::wal::Wal;
use self::worker::{Poison, Role, Worker};
use super::{Error, Store};
use crate::clock::Wall;
use crate::model::event::Event;
use crate::model::records::{
    Commit, DeadLetter, FinishedTask, GroupRound, GroupRow, HotRow, OpenTask, OutboxRow, Record, Registered,
    Seq, TargetRow,
};
use crate::model::task::{NewTask, Row, Target};

/// An open SQLite store. Dropped without [`Store::close`], its threads end a little later by themselves.
#[derive(Debug)]
pub struct Sqlite {
    writer: Worker,
    /// None in memory, where the writer's connection is the only one that sees the data.
    reader: Option<Worker>,
}

impl Sqlite {
    /// Opens the store, creating the file and bringing its schema up to date as needed. A foreign lock and a
    /// full disk are waited for, visibly, until the future is dropped.
    ///
    /// # Errors
    /// When it is in use by another daemon, was written by a later version, or cannot be opened.
    pub async fn open(location: Location) -> Result<Self, Error> {
        let (open, closing) = std::sync::mpsc::channel();
        let opened = tokio::task::spawn_blocking(move || Self::open_waiting(&location, closing)).await;
        drop(open);
        opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    fn open_waiting(location: &Location, closing: Receiver<Infallible>) -> Result<Self, Error> {
        let poison = Poison::default();
        let path = match location {
            Location::File(path) => path.clone(),
            Location::Memory => PathBuf::from(":memory:"),
        };
        let mut patience = Patience::new(path.clone(), closing);
        let start = |connection, role| {
            Worker::start(connection, path.clone(), role, poison.clone())
                .map_err(|error| connect::unusable(&path, error))
        };
        match location {
            Location::Memory => {
                let writer = connect::connect(location, &mut patience)?;
                Ok(Self { writer: start(writer, Role::Writer { _lock: None, wal: None })?, reader: None })
            }
            Location::File(path) => {
                // Before the first look, so that two that start at once never bring the schema up to date
                // together.
                let lock = Lock::take(path)?;
                let writer = connect::connect(location, &mut patience)?;
                let reader = connect::connect(location, &mut patience)?;
                let role = Role::Writer { _lock: Some(lock), wal: Some(Wal::of(path)) };
                Ok(Self { writer: start(writer, role)?, reader: Some(start(reader, Role::Reader)?) })
            }
        }
    }

    fn reader(&self) -> &Worker {
        self.reader.as_ref().unwrap_or(&self.writer)
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
        self.writer.ask(move |connection| tasks::register(connection, &tasks, now, &due)).await
    }

    async fn targets(&self) -> Result<HashMap<TargetRow, Target>, Error> {
        self.reader().ask(tasks::targets).await
    }

    async fn open_tasks(&self, after: Row, limit: usize) -> Result<Vec<OpenTask>, Error> {
        self.reader().ask(move |connection| tasks::open(connection, after, limit)).await
    }

    async fn record(&self, row: Row) -> Result<Option<Record>, Error> {
        self.reader().ask(move |connection| tasks::record(connection, row)).await
    }

    async fn commit(&self, commit: Commit) -> Result<bool, Error> {
        self.writer.ask(move |connection| outbox::commit(connection, &commit)).await
    }

    async fn add_event(&self, event: Event, sinks: Vec<String>) -> Result<(), Error> {
        self.writer.ask(move |connection| outbox::insert_event(connection, None, &event, &sinks)).await
    }

    async fn save(&self, hot: Vec<HotRow>) -> Result<(), Error> {
        self.writer
            .ask(move |connection| hot.iter().try_for_each(|hot| tasks::save(connection, hot).map(drop)))
            .await
    }

    async fn undelivered(&self, sink: &str, after: Seq, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        let sink = sink.to_owned();
        self.reader().ask(move |connection| outbox::undelivered(connection, &sink, after, limit)).await
    }

    async fn acknowledge(&self, sink: &str, seqs: Vec<Seq>) -> Result<(), Error> {
        let sink = sink.to_owned();
        self.writer.ask(move |connection| outbox::acknowledge(connection, &sink, &seqs)).await
    }

    async fn mark_tried(&self, sink: &str, seqs: Vec<Seq>, active: Duration) -> Result<(), Error> {
        let sink = sink.to_owned();
        self.writer.ask(move |connection| outbox::mark_tried(connection, &sink, &seqs, active)).await
    }

    async fn active(&self, sink: &str) -> Result<Duration, Error> {
        let sink = sink.to_owned();
        self.reader().ask(move |connection| outbox::active(connection, &sink)).await
    }

    async fn save_active(&self, sink: &str, active: Duration) -> Result<(), Error> {
        let sink = sink.to_owned();
        self.writer.ask(move |connection| outbox::save_active(connection, &sink, active)).await
    }

    async fn dead_letter(&self, burial: DeadLetter) -> Result<(), Error> {
        self.writer.ask(move |connection| outbox::dead_letter(connection, &burial)).await
    }

    async fn expire_unconfigured(
        &self,
        configured: Vec<String>,
        before: Wall,
        at: Wall,
    ) -> Result<HashMap<String, u64>, Error> {
        self.writer
            .ask(move |connection| outbox::expire_unconfigured(connection, &configured, before, at))
            .await
    }

    async fn outbox(&self) -> Result<HashMap<String, u64>, Error> {
        self.reader().ask(outbox::outbox).await
    }

    async fn dead_letters(&self) -> Result<HashMap<String, u64>, Error> {
        self.reader().ask(outbox::dead_letters).await
    }

    async fn finished_before(
        &self,
        before: Wall,
        after: FinishedTask,
        limit: usize,
    ) -> Result<Vec<FinishedTask>, Error> {
        self.reader().ask(move |connection| tasks::finished_before(connection, before, after, limit)).await
    }

    async fn delete_finished(&self, before: Wall, tasks: Vec<FinishedTask>) -> Result<(), Error> {
        self.writer.ask(move |connection| tasks::delete_finished(connection, before, &tasks)).await
    }

    async fn finished_groups(&self) -> Result<Vec<GroupRound>, Error> {
        self.reader().ask(groups::over).await
    }

    async fn close_group(&self, group: GroupRow, event: Event, sinks: Vec<String>) -> Result<bool, Error> {
        self.writer.ask(move |connection| outbox::close_group(connection, group, &event, &sinks)).await
    }

    async fn newest(&self) -> Result<Option<Wall>, Error> {
        self.reader().ask(outbox::newest).await
    }

    async fn delete_events(&self, before: Wall, limit: usize) -> Result<u64, Error> {
        self.writer.ask(move |connection| outbox::delete_events(connection, before, limit)).await
    }

    async fn close(&self) {
        // The reader first: the writer then empties the log, and the last connection removes it.
        if let Some(reader) = &self.reader {
            reader.close().await;
        }
        self.writer.close().await;
    }
}
