//! Distinguishes temporary from permanent failures, and retries the former with log lines.
//!
//! A full disk or a lock of another process must not lose a task: the same batch is written again until it
//! succeeds. After an I/O error, above all a failed fsync, the state of the file is unknown: the kernel may
//! have dropped the pages. Only a new start from the disk is safe.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::ErrorCode;
use rusqlite::ffi::{
    SQLITE_IOERR_CLOSE, SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_IOERR_DIR_CLOSE,
    SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC, SQLITE_IOERR_READ, SQLITE_IOERR_SHMSIZE,
    SQLITE_IOERR_SHORT_READ,
};

use super::location::beside;
use crate::clock::{Clock, Steady};
use crate::model::backoff;
use crate::units::rounded;

/// The meaning of an SQLite error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorMeaning {
    /// Temporary, with the remedy.
    Passing(&'static str),
    /// Nothing may be assumed any more.
    Fatal,
    /// An error of the job itself, which affects no other job.
    Own,
}

/// The remedy of a full disk, a used-up quota, and a file at its size limit.
pub const FREE_SPACE: &str =
    "free some space on its disk, or raise the quota or the limit of file sizes (LimitFSIZE=, `ulimit -f`)";

/// Temporary error codes, and the remedy.
const PASSING: &[(ErrorCode, &str)] = &[
    (ErrorCode::DiskFull, FREE_SPACE),
    (ErrorCode::DatabaseBusy, "find the program that keeps it locked, and end it"),
    (ErrorCode::DatabaseLocked, "find the program that keeps it locked, and end it"),
    (ErrorCode::FileLockingProtocolFailed, "find the program that keeps it locked, and end it"),
    (ErrorCode::ReadOnly, "make the file and its folder writable for opwatch again, at their old place"),
    (ErrorCode::CannotOpen, "make the file and its folder accessible to opwatch again"),
];

/// Codes after which nothing may be assumed.
const FATAL: &[ErrorCode] = &[
    ErrorCode::SystemIoFailure,
    ErrorCode::DatabaseCorrupt,
    ErrorCode::NotADatabase,
    ErrorCode::OutOfMemory,
    ErrorCode::InternalMalfunction,
    ErrorCode::ApiMisuse,
];

/// I/O errors that no full disk explains: a failed read, or a failed sync, also that of a close. After these
/// the state of the file is unknown.
const NEVER_FULL: &[std::ffi::c_int] = &[
    SQLITE_IOERR_READ,
    SQLITE_IOERR_SHORT_READ,
    SQLITE_IOERR_DATA,
    SQLITE_IOERR_CORRUPTFS,
    SQLITE_IOERR_FSYNC,
    SQLITE_IOERR_DIR_FSYNC,
    SQLITE_IOERR_CLOSE,
    SQLITE_IOERR_DIR_CLOSE,
];

/// Bytes of the probe write: more than the few pages of a small commit, and more than the rest of a quota
/// that was too small for those.
const PROBE_BYTES: usize = 64 << 10;

impl ErrorMeaning {
    /// The meaning of that error of that database.
    pub fn of(error: &rusqlite::Error, database: &Path) -> Self {
        Self::meaning(error, || probe(database))
    }

    /// SQLite reports an exhausted quota as any other failed write, and a full disk as a file that cannot be
    /// created or grow. A probe write beside the database distinguishes these from a broken disk.
    fn meaning(error: &rusqlite::Error, probe: impl FnOnce() -> io::Result<()>) -> Self {
        let Some(code) = error.sqlite_error_code() else { return Self::Own };
        let extended = error.sqlite_extended_error_code();
        // The index of the write-ahead log could not grow, and no row was changed.
        if extended == Some(SQLITE_IOERR_SHMSIZE) {
            return Self::Passing(FREE_SPACE);
        }
        let is_write = || extended.is_none_or(|code| !NEVER_FULL.contains(&code));
        let may_be_full = code == ErrorCode::CannotOpen || (code == ErrorCode::SystemIoFailure && is_write());
        if may_be_full && probe().is_err_and(|error| is_full(&error)) {
            return Self::Passing(FREE_SPACE);
        }
        match PASSING.iter().find(|(passing, _)| *passing == code) {
            Some((_, remedy)) => Self::Passing(remedy),
            None if FATAL.contains(&code) => Self::Fatal,
            None => Self::Own,
        }
    }
}

/// Whether that is the error of a full disk, of a used-up quota, or of a file at its size limit.
pub fn is_full(error: &io::Error) -> bool {
    [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge].contains(&error.kind())
}

/// Writes a nameless file in the folder of the database, behind the size of its largest file: the limit of file sizes
/// counts from the start. No sync: its failure would have another cause.
fn probe(database: &Path) -> io::Result<()> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    let size = |file: PathBuf| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let largest = size(database.into()).max(size(beside(database, "-wal")));
    let mut file = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.seek(SeekFrom::Start(largest))?;
    file.write_all(&[0; PROBE_BYTES])
}

/// Waits between two tries, logs the failure, and stops once the store is being closed.
#[derive(Debug)]
pub struct Patience {
    path: PathBuf,
    closing: Receiver<Infallible>,
    clock: Clock,
    /// The start of the failure, the number of tries, and the time from the start to the next log line.
    trouble: Option<(Steady, u32, Duration)>,
}

impl Patience {
    /// The first wait: a short lock should cost no more.
    const SHORTEST: Duration = Duration::from_millis(50);
    /// The longest wait, and so the delay after the end of a failure.
    const LONGEST: Duration = Duration::from_secs(5);
    /// The time to the second log line; it doubles from there.
    const LOG_AGAIN: Duration = Duration::from_secs(30);

    /// For that database, until the other end of `closing` is dropped.
    pub fn new(path: PathBuf, closing: Receiver<Infallible>) -> Self {
        Self { path, closing, clock: Clock::start(), trouble: None }
    }

    /// Waits before the next try. `false`: the store is being closed.
    pub fn wait(&mut self, error: &dyn Display, remedy: &'static str) -> bool {
        let now = self.clock.now().steady;
        let (since, tries, tell_after) = self.trouble.unwrap_or((now, 0, Duration::ZERO));
        let lasted = now - since;
        let reported = lasted >= tell_after;
        if reported {
            let path = self.path.display();
            let lasted = rounded(lasted);
            tracing::error!(%path, error_message = %error, %lasted, remedy, "the store is not usable for now; opwatch waits and retries");
        }
        let tell_after = if reported { (tell_after * 2).max(Self::LOG_AGAIN) } else { tell_after };
        let tries = tries.saturating_add(1);
        self.trouble = Some((since, tries, tell_after));
        let pause = backoff::after_failure(Self::SHORTEST, Self::LONGEST, tries, 1.0);
        matches!(self.closing.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }

    /// A try succeeded.
    pub fn passed(&mut self) {
        if let Some((since, ..)) = self.trouble.take() {
            let lasted = rounded(self.clock.now().steady - since);
            tracing::warn!(path = %self.path.display(), %lasted, "the store is usable again");
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{self, SQLITE_FULL};

    use super::*;
    use crate::telemetry::captured;

    fn failure(code: std::ffi::c_int) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn trouble_is_reported_once_with_its_remedy_and_once_more_when_it_is_over() {
        let ((), text) = captured::while_doing(|| {
            let (_open, closing) = std::sync::mpsc::channel();
            let mut patience = Patience::new("/var/lib/opwatch.db".into(), closing);
            assert!((0..3).all(|_| patience.wait(&failure(SQLITE_FULL), "free some space")));
            patience.passed();
            patience.passed();
        });
        let [trouble, over] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        for part in ["ERROR", "/var/lib/opwatch.db", "database or disk is full", "free some space"] {
            assert!(trouble.contains(part), "{trouble}");
        }
        assert!(over.contains("is usable again"), "{over}");
    }

    #[test]
    fn a_full_disk_passes_and_a_failed_fsync_does_not() {
        let meaning = |code, probe: Option<rustix::io::Errno>| {
            ErrorMeaning::meaning(&failure(code), || probe.map_or(Ok(()), |errno| Err(errno.into())))
        };
        let full = ErrorMeaning::Passing(FREE_SPACE);
        let (no_space, quota, broken) =
            (Some(rustix::io::Errno::NOSPC), Some(rustix::io::Errno::DQUOT), Some(rustix::io::Errno::IO));
        for probe in [None, no_space, quota, broken] {
            assert_eq!(meaning(SQLITE_FULL, probe), full);
            assert_eq!(meaning(SQLITE_IOERR_SHMSIZE, probe), full);
            for code in NEVER_FULL {
                assert_eq!(meaning(*code, probe), ErrorMeaning::Fatal, "{code}");
            }
            assert_eq!(meaning(ffi::SQLITE_CORRUPT, probe), ErrorMeaning::Fatal);
            assert_eq!(meaning(ffi::SQLITE_CONSTRAINT, probe), ErrorMeaning::Own);
        }
        let writes = [
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_TRUNCATE,
            ffi::SQLITE_IOERR_SHMOPEN,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_IOERR_FSTAT,
        ];
        for code in writes {
            assert_eq!([no_space, quota].map(|probe| meaning(code, probe)), [full, full], "{code}");
            assert_eq!(
                [None, broken].map(|probe| meaning(code, probe)),
                [ErrorMeaning::Fatal, ErrorMeaning::Fatal]
            );
        }
        assert_eq!(meaning(ffi::SQLITE_CANTOPEN, quota), full);
        assert!(
            matches!(meaning(ffi::SQLITE_CANTOPEN, None), ErrorMeaning::Passing(remedy) if remedy != FREE_SPACE)
        );
        let no_rows = rusqlite::Error::QueryReturnedNoRows;
        assert_eq!(ErrorMeaning::of(&no_rows, Path::new("x")), ErrorMeaning::Own);
    }

    #[test]
    fn a_probe_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        probe(&folder.path().join("opwatch.db")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(probe(Path::new("/nowhere/opwatch.db")).is_err_and(|error| !is_full(&error)));
    }
}
