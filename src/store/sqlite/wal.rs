//! Keeps the write-ahead log short.
//!
//! SQLite's automatic checkpoint hides its errors, a failed fsync among them, and never makes the file
//! shorter.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::location::beside;

/// The log is emptied when it has grown to the size of the database, within these bounds: a small store must
/// not fill a small disk with its log, and beyond five hundred pages the hot ones are written but once
/// anyway.
const FULL_BYTES: std::ops::RangeInclusive<u64> = 256 << 10..=2 << 20;
/// Somebody must have read for very long for the log to grow to this.
const WARN_BYTES: u64 = 256 << 20;

/// The log of a database.
#[derive(Debug)]
pub struct Wal {
    database: PathBuf,
    path: PathBuf,
    /// A size at which it could not be emptied: not tried again after every commit, since each try may wait
    /// for a reader.
    stuck_bytes: u64,
}

impl Wal {
    /// The log of that database.
    pub fn of(database: &Path) -> Self {
        Self { database: database.into(), path: beside(database, "-wal"), stuck_bytes: 0 }
    }

    /// Empties the log if it has grown.
    pub fn tend(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let size_bytes = self::size_bytes(&self.path);
        // Asked for the database's size only where that can matter.
        if size_bytes < *FULL_BYTES.start() || size_bytes < self.stuck_bytes * 2 {
            return Ok(());
        }
        if size_bytes < self::size_bytes(&self.database).min(*FULL_BYTES.end()) {
            return Ok(());
        }
        if size_bytes >= WARN_BYTES {
            let path = self.path.display();
            tracing::warn!(%path, size_bytes, "the store's write-ahead log grows; end the program that reads the store for so long");
        }
        self.empty(connection)
    }

    /// Empties the log, unless somebody still reads from it.
    pub fn empty(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let before = size_bytes(&self.path);
        let busy: bool =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |record| record.get(0))?;
        self.stuck_bytes = if busy { before } else { 0 };
        Ok(())
    }
}

fn size_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
