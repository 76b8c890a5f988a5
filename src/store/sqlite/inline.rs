//! A database in memory, whose jobs run in the thread of the caller.
//!
//! Nothing here waits: a job is done when the first poll of its future returns. A runtime with paused time
//! advances it as soon as all of its tasks wait, so a response from another thread would come too late.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::store::Error;

/// The only connection to the database, until it is closed.
#[derive(Debug)]
pub struct Inline {
    connection: Mutex<Option<Connection>>,
}

impl Inline {
    /// Jobs run on that connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection: Mutex::new(Some(connection)) }
    }

    /// Runs a job in a transaction of its own.
    pub fn run<T>(&self, mut work: impl FnMut(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = connection.as_mut() else { return Err(Error::Closed) };
        let answered = connection.transaction().and_then(|transaction| {
            let response = work(&transaction)?;
            transaction.commit().map(|()| response)
        });
        answered.map_err(|error| Error::Failed(error.into()))
    }

    /// Forgets the database.
    pub fn close(&self) {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
