//! A job: work for a thread, and the caller that waits for it.

use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::Error;

/// The reason for which the store is unusable, shared by all callers.
#[derive(Clone, Debug)]
pub enum StoreFailure {
    /// A read or a write failed permanently.
    Broken(Arc<dyn std::error::Error + Send + Sync>),
    /// The files of the store are no longer at their place.
    Moved {
        /// The place of the store.
        place: String,
        /// The change.
        change: &'static str,
    },
}

impl From<StoreFailure> for Error {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            StoreFailure::Broken(error) => Self::Failed(Box::new(error)),
            StoreFailure::Moved { place, change } => Self::Moved { place, change },
        }
    }
}

/// The result of a batch.
#[derive(Debug)]
pub enum BatchOutcome {
    /// Stored durably.
    Done,
    /// The store is unusable.
    Failed(StoreFailure),
    /// The store was closed before the failure ended.
    Closed,
}

/// Work of any type. It is run until it is stored, and then returns one result.
pub trait Job: Send + fmt::Debug {
    /// Does the work; the result of an earlier run is dropped.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Notes that the work failed by its own fault.
    fn fail(&mut self, error: rusqlite::Error);
    /// Whether the last run failed by its own fault.
    fn failed(&self) -> bool;
    /// Returns the result to the caller, which may be gone.
    fn response(self: Box<Self>, verdict: &BatchOutcome);
}

/// Work with a result of type `T`.
pub struct Requested<T, W> {
    work: W,
    found: Option<rusqlite::Result<T>>,
    response: oneshot::Sender<Result<T, Error>>,
}

impl<T, W> Requested<T, W>
where
    T: Send + 'static,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    /// The work; `answer` is the way to the caller.
    pub fn new(work: W, response: oneshot::Sender<Result<T, Error>>) -> Self {
        Self { work, found: None, response }
    }
}

impl<T, W> Job for Requested<T, W>
where
    T: Send + 'static,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.found = None;
        self.found = Some(Ok((self.work)(connection)?));
        Ok(())
    }

    fn fail(&mut self, error: rusqlite::Error) {
        self.found = Some(Err(error));
    }

    fn failed(&self) -> bool {
        matches!(self.found, Some(Err(_)))
    }

    fn response(self: Box<Self>, verdict: &BatchOutcome) {
        let response = match (verdict, self.found) {
            (BatchOutcome::Done, Some(found)) => found.map_err(|error| Error::Failed(error.into())),
            (BatchOutcome::Failed(failure), _) => Err(failure.clone().into()),
            (BatchOutcome::Closed, _) | (BatchOutcome::Done, None) => Err(Error::Closed),
        };
        // The caller may be gone.
        drop(self.response.send(response));
    }
}

impl<T, W> fmt::Debug for Requested<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}
