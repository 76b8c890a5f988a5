//! A thread with a connection, and the jobs that it carries out.
//!
//! SQLite blocks, so it stays off the async threads. The writer gathers what is queued into one transaction:
//! one fsync acknowledges them all (group commit). Each job has a savepoint, so that one which fails hurts no
//! other. The reader has a connection of its own and no transaction that outlives a job, which would keep the
//! write-ahead log from being emptied.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::job::{Asked, Failure, Job, Verdict};
use super::lock::Lock;
use super::trouble::{Patience, Trouble};
use super::wal::Wal;
use crate::store::Error;

/// Jobs that wait for the thread; whoever comes next waits for a place.
const QUEUE: usize = 1024;
/// Jobs in one transaction: beyond some hundred the fsync no longer counts, and all of them wait for the
/// last.
const BATCH: usize = 256;
/// How long a close waits for a thread: less than what systemd waits for the process.
const CLOSE_LONGEST: Duration = Duration::from_secs(10);

/// The handle of a thread; it ends with the handle, or with [`Worker::close`].
#[derive(Debug)]
pub struct Worker {
    doors: Mutex<Option<Doors>>,
}

#[derive(Debug)]
struct Doors {
    jobs: mpsc::Sender<Box<dyn Job>>,
    /// Its end tells a thread that waits out some trouble to wait no longer.
    _closing: std::sync::mpsc::Sender<Infallible>,
    ended: oneshot::Receiver<Infallible>,
}

/// What a thread carries jobs out with.
#[derive(Debug)]
pub enum Role {
    /// Jobs are gathered into transactions.
    Writer {
        /// Kept until the connection is closed; there is none in memory.
        _lock: Option<Lock>,
        /// Emptied when it has grown; there is none in memory.
        wal: Option<Wal>,
    },
    /// Jobs run one by one, without a transaction.
    Reader,
}

/// Set by the first thread that found the store unusable, and seen by both.
pub type Poison = Arc<OnceLock<Failure>>;

impl Worker {
    /// Starts a thread; `path` is the database in what it logs.
    pub fn start(connection: Connection, path: PathBuf, role: Role, poison: Poison) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (closing, closed) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel::<Infallible>();
        let name = match role {
            Role::Writer { .. } => "store-writer",
            Role::Reader => "store-reader",
        };
        let thread = Thread { connection, role, queue, patience: Patience::new(path, closed), poison };
        std::thread::Builder::new().name(name.into()).spawn(move || {
            thread.run();
            drop(end);
        })?;
        Ok(Self { doors: Mutex::new(Some(Doors { jobs, _closing: closing, ended })) })
    }

    /// Has that work done, as often as it takes until it is safely stored, and waits for its answer.
    pub async fn ask<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let jobs = self.doors().as_ref().map(|doors| doors.jobs.clone()).ok_or(Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        // A job is dropped unanswered only when the thread unwinds.
        let died = || Error::Failed("the store's thread panicked".into());
        jobs.send(Box::new(Asked::new(work, answer))).await.map_err(|_| died())?;
        answered.await.map_err(|_| died())?
    }

    /// Has the thread finish what is queued and end; waits for that, but not for ever.
    pub async fn close(&self) {
        let Some(Doors { jobs, _closing, ended }) = self.doors().take() else { return };
        drop((jobs, _closing));
        if tokio::time::timeout(CLOSE_LONGEST, ended).await.is_err() {
            tracing::error!("the store does not come to an end; opwatch leaves it as it is, which is safe");
        }
    }

    fn doors(&self) -> std::sync::MutexGuard<'_, Option<Doors>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    // Dropped in this order: the connection is closed before the lock in the role is let go.
    connection: Connection,
    role: Role,
    queue: mpsc::Receiver<Box<dyn Job>>,
    patience: Patience,
    poison: Poison,
}

impl Thread {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = vec![first];
            if matches!(self.role, Role::Writer { .. }) {
                batch.extend(std::iter::from_fn(|| self.queue.try_recv().ok()).take(BATCH - 1));
            }
            let verdict = self.carry_out(&mut batch);
            for job in batch {
                job.answer(&verdict);
            }
            self.tend_wal(Wal::tend);
        }
        self.tend_wal(Wal::empty);
    }

    /// Tries until the batch is stored, or until there is no more hope.
    fn carry_out(&mut self, batch: &mut [Box<dyn Job>]) -> Verdict {
        loop {
            if let Some(failure) = self.poison.get() {
                return Verdict::Failed(failure.clone());
            }
            let error = match self.attempt(batch) {
                Ok(()) => {
                    self.patience.over();
                    return Verdict::Done;
                }
                Err(error) => error,
            };
            match Trouble::of(&error) {
                Trouble::Passing(remedy) if self.patience.wait(&error, remedy) => self.make_room(),
                Trouble::Passing(_) => return Verdict::Closed,
                // What fails here beside a job is a transaction's begin or end, and that is nobody's own.
                Trouble::Fatal | Trouble::Own => self.fail(error),
            }
        }
    }

    /// The failure is logged by whoever ends the program over it: every caller is handed it.
    fn fail(&self, error: rusqlite::Error) {
        self.poison.get_or_init(|| Arc::new(error));
    }

    fn attempt(&self, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        match self.role {
            Role::Reader => batch.iter_mut().try_for_each(|job| run(&self.connection, job)),
            Role::Writer { .. } => self.transaction(batch).or_else(|error| {
                // SQLite may have rolled back by itself, as a full disk makes it do.
                if !self.connection.is_autocommit() {
                    self.connection.execute_batch("ROLLBACK")?;
                }
                Err(error)
            }),
        }
    }

    fn transaction(&self, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        let execute = |sql| self.connection.prepare_cached(sql)?.execute([]);
        execute("BEGIN IMMEDIATE")?;
        for job in batch {
            execute("SAVEPOINT job")?;
            run(&self.connection, job)?;
            if job.failed() {
                execute("ROLLBACK TO job")?;
            }
            execute("RELEASE job")?;
        }
        execute("COMMIT").map(drop)
    }

    /// On a full disk the log itself may take the room: what is committed in it moves to where pages are used
    /// again. Its failure is the next attempt's to tell.
    fn make_room(&mut self) {
        if let Role::Writer { wal: Some(wal), .. } = &mut self.role {
            let _ = wal.empty(&self.connection);
        }
    }

    fn tend_wal(&mut self, tend: fn(&mut Wal, &Connection) -> rusqlite::Result<()>) {
        let Role::Writer { wal: Some(wal), .. } = &mut self.role else { return };
        if self.poison.get().is_some() {
            return;
        }
        if let Err(error) = tend(wal, &self.connection) {
            match Trouble::of(&error) {
                Trouble::Fatal => self.fail(error),
                Trouble::Passing(remedy) => {
                    tracing::warn!(%error, remedy, "the store's write-ahead log cannot be emptied yet")
                }
                Trouble::Own => tracing::warn!(%error, "the store's write-ahead log cannot be emptied yet"),
            }
        }
    }
}

/// Runs a job; its own failure is noted in it, any other is everybody's.
fn run(connection: &Connection, job: &mut Box<dyn Job>) -> rusqlite::Result<()> {
    match job.run(connection) {
        Err(error) if Trouble::of(&error) == Trouble::Own => {
            job.fail(error);
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
