//! Opens a connection, and updates the schema to the version of this program.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::trouble::{ErrorMeaning, FREE_SPACE, Patience, is_full};
use crate::store::Error;

/// The schema, one step for each version; `PRAGMA user_version` counts the applied ones. A released step is
/// never changed.
const STEPS: &[&str] = &[include_str!("step_1.sql"), include_str!("step_2.sql"), include_str!("step_3.sql")];
/// Set by the first step.
const APPLICATION_ID: i64 = 0x6f70_7761;
/// The time for which SQLite itself waits for the lock of another process: short, so that longer waits are
/// logged (trouble.rs).
pub const BUSY: Duration = Duration::from_millis(250);
/// The mode of the files that opwatch creates here; SQLite gives its own files that of the database.
pub const MODE: u32 = 0o600;
/// The memory bound of each connection. A larger cache would not be faster: keys rise, so new rows are
/// adjacent.
const CACHE_KIB: i64 = 2 * 1024;
/// More than the number of statements in this folder.
const STATEMENTS: usize = 64;

/// Error codes of SQLite with one meaning, apart from those that are retried.
const KNOWN_CODES: &[(ErrorCode, UnusableStore)] =
    &[(ErrorCode::NotADatabase, UnusableStore::Foreign), (ErrorCode::ReadOnly, UnusableStore::ReadOnly)];
/// Errors of the system that do.
const KNOWN_KINDS: &[(ErrorKind, UnusableStore)] = &[
    (ErrorKind::NotFound, UnusableStore::NoFolder),
    (ErrorKind::NotADirectory, UnusableStore::NotFolder),
    (ErrorKind::IsADirectory, UnusableStore::Folder),
    (ErrorKind::PermissionDenied, UnusableStore::Denied),
    (ErrorKind::ReadOnlyFilesystem, UnusableStore::ReadOnly),
    (ErrorKind::StorageFull, UnusableStore::Full),
    (ErrorKind::QuotaExceeded, UnusableStore::Full),
];

/// The reason for which a store cannot be opened, and the fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableStore {
    /// A part of the path is missing.
    #[error("its folder does not exist; create it, or name another path")]
    NoFolder,
    /// A part of the path is not a folder.
    #[error("a part of its path is not a folder; name another path")]
    NotFolder,
    /// The path is that of a folder.
    #[error("it is a folder; name a file in it")]
    Folder,
    /// The path is that of a FIFO, a socket or a device.
    #[error("it is not a regular file; name another path")]
    NotRegular,
    /// The file is not a database, or another program's.
    #[error("it is not a store of opwatch; name another path")]
    Foreign,
    /// This user may not use it.
    #[error("permission denied; let this user read and write the file, and create files in its folder")]
    Denied,
    /// The file, its folder or its file system is read-only for all.
    #[error("it is read-only; make the file, its folder and its file system writable, or name another path")]
    ReadOnly,
    /// Its disk is full.
    #[error("no space is left; free some space on its disk")]
    Full,
    /// Any other cause.
    #[error("remove the cause, or name another path")]
    Other,
}

impl UnusableStore {
    /// Whether only a person can remove the cause, so that a retry is useless.
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::NoFolder
            | Self::NotFolder
            | Self::Folder
            | Self::NotRegular
            | Self::Foreign
            | Self::Denied
            | Self::ReadOnly => true,
            Self::Full | Self::Other => false,
        }
    }

    /// This reason as an error of that database.
    pub fn of(self, path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Open {
            place: path.display().to_string(),
            why: self.to_string(),
            needs_a_person: self.needs_a_person(),
            source: source.into(),
        }
    }
}

/// A file that is not a database of opwatch, beside the errors of SQLite.
#[derive(Debug, thiserror::Error)]
enum NotOurs {
    #[error("it is the database of another program")]
    Foreign,
    #[error("its file system does not support SQLite's write-ahead log (journal mode {0})")]
    NoWal(String),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// A configured connection to a database with the present schema. A lock of another process and a full disk
/// are waited for, within the patience.
pub fn connect(path: &Path, patience: &mut Patience) -> Result<Connection, Error> {
    let refused = |reason: NotOurs| reason.why(path).of(path, reason);
    let (connection, version) = loop {
        match opened(path)
            .and_then(|mut connection| prepared(&mut connection).map(|version| (connection, version)))
        {
            Ok(ready) => break ready,
            Err(NotOurs::Sqlite(error)) => match passing(&error, path) {
                Some(remedy) if patience.wait(&error, remedy) => {}
                Some(_) | None => return Err(refused(error.into())),
            },
            Err(reason @ (NotOurs::Foreign | NotOurs::NoWal(_))) => return Err(refused(reason)),
        }
    };
    patience.passed();
    match i64::try_from(STEPS.len()) {
        Ok(known) if version > known => {
            Err(Error::Newer { place: path.display().to_string(), found: version, known })
        }
        Ok(_) | Err(_) => Ok(connection),
    }
}

/// A configured connection to a new database in memory.
pub fn in_memory() -> Result<Connection, Error> {
    let prepared = || {
        let mut connection = Connection::open_in_memory()?;
        configure(&connection)?;
        prepared(&mut connection)?;
        Ok(connection)
    };
    prepared().map_err(|reason: NotOurs| UnusableStore::Other.of(Path::new(":memory:"), reason))
}

/// The remedy of a temporary failure. A missing or forbidden file at the start is likely a wrong setting.
fn passing(error: &rusqlite::Error, path: &Path) -> Option<&'static str> {
    const MISTAKES: [ErrorCode; 2] = [ErrorCode::ReadOnly, ErrorCode::CannotOpen];
    let is_mistake = error.sqlite_error_code().is_some_and(|code| MISTAKES.contains(&code));
    match ErrorMeaning::of(error, path) {
        ErrorMeaning::Passing(remedy) if remedy == FREE_SPACE || !is_mistake => Some(remedy),
        ErrorMeaning::Passing(_) | ErrorMeaning::Fatal | ErrorMeaning::Own => None,
    }
}

/// Creates the file of a new database, for its owner alone. A full disk is waited for.
pub fn create(path: &Path, patience: &mut Patience) -> Result<(), Error> {
    // Opening and closing an existing file would drop SQLite's locks on it.
    while !path.exists() {
        match OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path) {
            Ok(_) => {}
            Err(error) if is_full(&error) && patience.wait(&error, FREE_SPACE) => {}
            Err(error) => return Err(unusable(path, error)),
        }
    }
    Ok(())
}

/// The error of a database, or of a file beside it, that the system refuses.
pub fn unusable(path: &Path, error: io::Error) -> Error {
    known_kind(&error).of(path, error)
}

impl NotOurs {
    /// The reason for people. SQLite reports many causes only as "cannot open", so the system is asked too.
    fn why(&self, path: &Path) -> UnusableStore {
        let code = match self {
            Self::Foreign => return UnusableStore::Foreign,
            Self::NoWal(_) => return UnusableStore::Other,
            Self::Sqlite(error) => error.sqlite_error_code(),
        };
        if let Some((_, why)) = KNOWN_CODES.iter().find(|(known, _)| Some(*known) == code) {
            return *why;
        }
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => UnusableStore::Other,
            Err(error) => known_kind(&error),
        }
    }
}

fn known_kind(error: &io::Error) -> UnusableStore {
    KNOWN_KINDS.iter().find(|(known, _)| *known == error.kind()).map_or(UnusableStore::Other, |(_, why)| *why)
}

fn opened(path: &Path) -> Result<Connection, NotOurs> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let (objects, application): (i64, i64) = connection.query_row(
        "SELECT count(*), (SELECT application_id FROM pragma_application_id) FROM sqlite_schema",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if objects > 0 && application != APPLICATION_ID {
        return Err(NotOurs::Foreign);
    }
    let journal: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if journal != "wal" {
        return Err(NotOurs::NoWal(journal));
    }
    configure(&connection)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // FULL: a commit is on the disk when it returns. The worker makes the checkpoints and sees their errors;
    // SQLite's own hide them. Temporary files would need space in a second place.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY;"
    ))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Applies the missing schema steps, all or none; returns the version after them.
fn prepared(connection: &mut Connection) -> Result<i64, NotOurs> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let taken = usize::try_from(found).unwrap_or(0);
    let mut version = found;
    if let Some(missing @ [_, ..]) = STEPS.get(taken..) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in missing {
            transaction.execute_batch(step)?;
            version += 1;
        }
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(version)
}
