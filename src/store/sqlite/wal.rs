//! Keeps the write-ahead log short.
//!
//! SQLite's automatic checkpoint hides its errors, a failed fsync among them, and never truncates the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::connect::BUSY;
use super::location::beside;
use crate::clock::{Clock, Steady};

/// The log is truncated when it has grown to the size of the database, within these bounds: a small store
/// must not fill a small disk with its log, and above five hundred pages the hot ones are written only once
/// anyway.
const FULL_BYTES: std::ops::RangeInclusive<u64> = 256 << 10..=2 << 20;
/// The log reaches this size only after a program has been reading for very long.
const WARN_BYTES: u64 = 256 << 20;
/// Time between two tries while a program reads from the log.
const AGAIN: Duration = Duration::from_secs(5);

/// The log of a database.
#[derive(Debug)]
pub struct Wal {
    database: PathBuf,
    path: PathBuf,
    clock: Clock,
    stuck: Option<Stuck>,
}

/// A try that failed because of a reader. The next one waits for time or growth.
#[derive(Clone, Copy, Debug)]
struct Stuck {
    size_bytes: u64,
    tried: Steady,
}

impl Wal {
    /// The log of that database.
    pub fn of(database: &Path) -> Self {
        // SQLite has the log beside the file that a symbolic link leads to.
        let database = database.canonicalize().unwrap_or_else(|_| database.into());
        Self { path: beside(&database, "-wal"), database, clock: Clock::start(), stuck: None }
    }

    /// Truncates the log if it has grown, or if a reader prevented the last try.
    pub fn tend(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let size_bytes = self::size_bytes(&self.path);
        if let Some(Stuck { size_bytes: before, tried }) = self.stuck
            && size_bytes < before * 2
        {
            if self.clock.now().steady - tried < AGAIN {
                return Ok(());
            }
            // Without a wait for the reader, which would delay every commit.
            connection.busy_timeout(Duration::ZERO)?;
            let emptied = self.empty(connection);
            connection.busy_timeout(BUSY)?;
            return emptied;
        }
        // The size of the database is read only if it can matter.
        if size_bytes < *FULL_BYTES.start()
            || size_bytes < self::size_bytes(&self.database).min(*FULL_BYTES.end())
        {
            return Ok(());
        }
        if size_bytes >= WARN_BYTES {
            let path = self.path.display();
            tracing::warn!(%path, size_bytes, "the store's write-ahead log grows; end the program that has been reading the store");
        }
        self.empty(connection)
    }

    /// Truncates the log, unless a program still reads from it.
    pub fn empty(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let size_bytes = size_bytes(&self.path);
        let busy: bool =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |record| record.get(0))?;
        self.stuck = busy.then(|| Stuck { size_bytes, tried: self.clock.now().steady });
        Ok(())
    }
}

fn size_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
