//! A thread with a connection, and its jobs.
//!
//! SQLite blocks, so it runs outside of the async threads. The writer gathers queued jobs into one
//! transaction: one fsync acknowledges them all (group commit). Each job has a savepoint, so that a failed
//! one affects no other. The reader has a connection of its own and no transaction that outlives a job, which
//! would prevent the truncation of the write-ahead log.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake};
use std::thread::Thread as OsThread;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot, watch};

use super::files::Files;
use super::job::{BatchOutcome, Job, Requested, StoreFailure};
use super::lock::Lock;
use super::trouble::{ErrorMeaning, Patience};
use super::wal::Wal;
use crate::store::Error;
use crate::threads;

/// The bound of waiting jobs; further callers wait for a place.
const QUEUE: usize = 1024;
/// Jobs in one transaction: above some hundred the cost of the fsync is negligible, and all of them wait for
/// the last.
const BATCH: usize = 256;
/// The longest time, without a job, until the writer detects moved files, or the end of a reader of the
/// write-ahead log.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The time for which a close waits for a thread: less than systemd waits for the process.
const CLOSE_LONGEST: Duration = Duration::from_secs(10);

/// The handle of a thread; it ends with the handle, or with [`Worker::close`].
#[derive(Debug)]
pub struct Worker {
    doors: Mutex<Option<Doors>>,
}

#[derive(Debug)]
struct Doors {
    jobs: mpsc::Sender<Box<dyn Job>>,
    /// Dropping it stops a thread from waiting for the end of a failure.
    _closing: std::sync::mpsc::Sender<Infallible>,
    ended: oneshot::Receiver<Infallible>,
}

/// The role of a thread.
#[derive(Debug)]
pub enum Role {
    /// Jobs are gathered into transactions.
    Writer {
        /// Held until the connection is closed; none in memory.
        _lock: Option<Lock>,
        /// Truncated when it has grown; none in memory.
        wal: Option<Wal>,
    },
    /// Jobs run one by one, without a transaction.
    Reader,
}

/// The facts that both threads of a store share.
#[derive(Clone, Debug, Default)]
pub struct StoreShared {
    /// The database.
    pub path: PathBuf,
    /// The files of the database.
    pub files: Arc<Files>,
    /// The state that the threads and the handle of the store share.
    pub poison: Poison,
}

/// The failure that makes the store unusable, if there is one: set by the first thread that finds it.
#[derive(Clone, Debug)]
pub struct Poison(watch::Sender<Option<StoreFailure>>);

impl Default for Poison {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Poison {
    fn get(&self) -> Option<StoreFailure> {
        self.0.borrow().clone()
    }

    fn set(&self, failure: StoreFailure) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }

    /// Waits for the failure.
    pub async fn wait(&self) -> StoreFailure {
        let mut receiver = self.0.subscribe();
        loop {
            if let Some(failure) = receiver.borrow_and_update().clone() {
                return failure;
            }
            // An error would mean that the sender is gone, and this is one.
            let _ = receiver.changed().await;
        }
    }
}

impl Worker {
    /// Starts a thread.
    pub fn start(connection: Connection, role: Role, shared: StoreShared) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (closing, closed) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel::<Infallible>();
        let name = match role {
            Role::Writer { .. } => "store-writer",
            Role::Reader => "store-reader",
        };
        let patience = Patience::new(shared.path.clone(), closed);
        let thread = StoreThread { connection, role, queue, patience, shared };
        threads::spawn(name, move || {
            thread.run();
            drop(end);
        })?;
        Ok(Self { doors: Mutex::new(Some(Doors { jobs, _closing: closing, ended })) })
    }

    /// Runs the work until it is stored, and waits for its result.
    pub async fn run<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let jobs = self.doors().as_ref().map(|doors| doors.jobs.clone()).ok_or(Error::Closed)?;
        let (response, answered) = oneshot::channel();
        // A job is dropped without a result only when the thread unwinds.
        let died = || Error::Failed("the store's thread panicked".into());
        jobs.send(Box::new(Requested::new(work, response))).await.map_err(|_| died())?;
        answered.await.map_err(|_| died())?
    }

    /// Lets the thread finish its queue and end; waits for that, within a time limit.
    pub async fn close(&self) {
        let Some(Doors { jobs, _closing, ended }) = self.doors().take() else { return };
        drop((jobs, _closing));
        if tokio::time::timeout(CLOSE_LONGEST, ended).await.is_err() {
            tracing::error!("the store did not close in time; committed data is safe");
        }
    }

    fn doors(&self) -> std::sync::MutexGuard<'_, Option<Doors>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct StoreThread {
    // Dropped in this order: the connection is closed before the lock in the role is released.
    connection: Connection,
    role: Role,
    queue: mpsc::Receiver<Box<dyn Job>>,
    patience: Patience,
    shared: StoreShared,
}

/// The next step of a thread.
enum Next {
    Job(Box<dyn Job>),
    Look,
    End,
}

/// Ends the wait of a thread.
struct Unpark(OsThread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl StoreThread {
    fn run(mut self) {
        loop {
            match self.next() {
                Next::Job(first) => {
                    let mut batch = vec![first];
                    if matches!(self.role, Role::Writer { .. }) {
                        batch.extend(std::iter::from_fn(|| self.queue.try_recv().ok()).take(BATCH - 1));
                    }
                    let verdict = self.carry_out(&mut batch);
                    for job in batch {
                        job.response(&verdict);
                    }
                }
                Next::Look => {}
                Next::End => break,
            }
            self.tend_wal(Wal::tend);
        }
        self.tend_wal(Wal::empty);
        if matches!(self.failure(), Some(StoreFailure::Moved { .. })) {
            // The close would delete the file that is now at the place of the write-ahead log.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }

    /// The next job, or a check of the files after a while without one.
    fn next(&mut self) -> Next {
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = Context::from_waker(&waker);
        for pause in [Some(LOOK_EVERY), None] {
            match (self.queue.poll_recv(&mut context), pause) {
                (Poll::Ready(Some(job)), _) => return Next::Job(job),
                (Poll::Ready(None), _) => return Next::End,
                (Poll::Pending, Some(pause)) => std::thread::park_timeout(pause),
                (Poll::Pending, None) => {}
            }
        }
        Next::Look
    }

    /// The failure of the store, if there is one, after a check of its files.
    fn failure(&self) -> Option<StoreFailure> {
        let StoreShared { path, files, poison } = &self.shared;
        if let Some(failure) = poison.get() {
            return Some(failure);
        }
        let change = files.change()?;
        poison.set(StoreFailure::Moved { place: path.display().to_string(), change });
        poison.get()
    }

    /// Tries until the batch is stored, or until the store has failed.
    fn carry_out(&mut self, batch: &mut [Box<dyn Job>]) -> BatchOutcome {
        loop {
            if let Some(failure) = self.failure() {
                return BatchOutcome::Failed(failure);
            }
            let error = match self.attempt(batch) {
                Ok(()) => {
                    self.patience.passed();
                    return BatchOutcome::Done;
                }
                Err(error) => error,
            };
            match self.trouble(&error) {
                ErrorMeaning::Passing(remedy) if self.patience.wait(&error, remedy) => self.make_room(),
                ErrorMeaning::Passing(_) => return BatchOutcome::Closed,
                // A failure outside of a job is one of the begin or end of a transaction, and belongs to no
                // job.
                ErrorMeaning::Fatal | ErrorMeaning::Own => self.fail(error),
            }
        }
    }

    /// The caller that ends the program logs the failure: every caller gets it.
    fn fail(&self, error: rusqlite::Error) {
        self.shared.poison.set(StoreFailure::Broken(Arc::new(error)));
    }

    fn trouble(&self, error: &rusqlite::Error) -> ErrorMeaning {
        ErrorMeaning::of(error, &self.shared.path)
    }

    fn attempt(&self, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        match self.role {
            Role::Reader => batch.iter_mut().try_for_each(|job| self.run_job(job)),
            Role::Writer { .. } => self.transaction(batch).or_else(|error| {
                // SQLite may have rolled back by itself, as on a full disk.
                if !self.connection.is_autocommit() {
                    self.connection.execute_batch("ROLLBACK")?;
                }
                Err(error)
            }),
        }
    }

    /// Runs a job. Its own failure is noted in it; any other failure is that of the whole batch.
    fn run_job(&self, job: &mut Box<dyn Job>) -> rusqlite::Result<()> {
        match job.run(&self.connection) {
            Err(error) if self.trouble(&error) == ErrorMeaning::Own => {
                job.fail(error);
                Ok(())
            }
            other => other,
        }
    }

    fn transaction(&self, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        let execute = |sql| self.connection.prepare_cached(sql)?.execute([]);
        execute("BEGIN IMMEDIATE")?;
        for job in batch {
            execute("SAVEPOINT job")?;
            self.run_job(job)?;
            if job.failed() {
                execute("ROLLBACK TO job")?;
            }
            execute("RELEASE job")?;
        }
        execute("COMMIT").map(drop)
    }

    /// On a full disk the log itself may use the room: its content moves into the database, where pages are
    /// used again. The next try reports a failure of this step.
    fn make_room(&mut self) {
        if let Role::Writer { wal: Some(wal), .. } = &mut self.role {
            let _ = wal.empty(&self.connection);
        }
    }

    fn tend_wal(&mut self, tend: fn(&mut Wal, &Connection) -> rusqlite::Result<()>) {
        if self.failure().is_some() {
            return;
        }
        let Role::Writer { wal: Some(wal), .. } = &mut self.role else { return };
        if let Err(error) = tend(wal, &self.connection) {
            match self.trouble(&error) {
                ErrorMeaning::Fatal => self.fail(error),
                ErrorMeaning::Passing(remedy) => {
                    tracing::warn!(error_message = %error, remedy, "the store's write-ahead log cannot be emptied yet")
                }
                ErrorMeaning::Own => {
                    tracing::warn!(error_message = %error, "the store's write-ahead log cannot be emptied yet")
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
