//! Keeps the write-ahead log short.
//!
//! SQLite's automatic checkpoint hides its errors, a failed fsync among them, and never makes the file shorter.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::location::beside;

/// The log is emptied when it has grown to this: five hundred pages, of which the hot ones are written but once.
const FULL_BYTES: u64 = 2 << 20;
/// Somebody must have read for very long for the log to grow to this.
const WARN_BYTES: u64 = 256 << 20;

/// The log of a database.
#[derive(Debug)]
pub struct Wal {
    path: PathBuf,
    /// At this size it is emptied.
    full_bytes: u64,
}

impl Wal {
    /// The log of that database.
    pub fn of(database: &Path) -> Self {
        Self { path: beside(database, "-wal"), full_bytes: FULL_BYTES }
    }

    /// Empties the log if it has grown.
    pub fn tend(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let size_bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if size_bytes < self.full_bytes {
            return Ok(());
        }
        // Set first, so that a log which cannot be emptied now is not tried after every commit: each try may wait for a reader.
        self.full_bytes = size_bytes.saturating_mul(2);
        if size_bytes >= WARN_BYTES {
            let path = self.path.display();
            tracing::warn!(%path, size_bytes, "the store's write-ahead log grows; end the program that reads the store for so long");
        }
        self.empty(connection)
    }

    /// Empties the log, unless somebody still reads from it.
    pub fn empty(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |record| record.get(0))?;
        if !busy {
            self.full_bytes = FULL_BYTES;
        }
        Ok(())
    }
}
