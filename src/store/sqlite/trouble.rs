//! Tells the trouble that passes from that which does not, and waits the first kind out, loudly.
//!
//! A full disk or somebody else's lock is no reason to lose a task: the same batch is written again until it
//! succeeds. After an I/O error, a failed fsync above all, nothing may be assumed written (the kernel may
//! have dropped the pages), so that only a fresh start from what is on the disk is safe.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::clock::{Clock, Steady};
use crate::model::backoff;
use crate::units::rounded;

/// What an error of SQLite means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It passes when somebody does this.
    Passing(&'static str),
    /// Nothing may be assumed any more.
    Fatal,
    /// The job's own: a mistake of ours that hurts nobody else.
    Own,
}

/// Codes that pass, and what to do about them.
const PASSING: &[(ErrorCode, &str)] = &[
    (ErrorCode::DiskFull, "free some space on its disk"),
    (ErrorCode::DatabaseBusy, "find the program that keeps it locked, and end that"),
    (ErrorCode::DatabaseLocked, "find the program that keeps it locked, and end that"),
    (ErrorCode::FileLockingProtocolFailed, "find the program that keeps it locked, and end that"),
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

impl Trouble {
    /// What that error means.
    pub fn of(error: &rusqlite::Error) -> Self {
        // The shared-memory index could not grow: this is how a full disk shows there, and no row was
        // touched.
        if error.sqlite_extended_error_code() == Some(SQLITE_IOERR_SHMSIZE) {
            return Self::Passing("free some space on its disk");
        }
        let Some(code) = error.sqlite_error_code() else { return Self::Own };
        match PASSING.iter().find(|(passing, _)| *passing == code) {
            Some((_, remedy)) => Self::Passing(remedy),
            None if FATAL.contains(&code) => Self::Fatal,
            None => Self::Own,
        }
    }
}

/// Waits between two tries, tells of it, and stops waiting once the store is being closed.
#[derive(Debug)]
pub struct Patience {
    path: PathBuf,
    closing: Receiver<Infallible>,
    clock: Clock,
    /// Since when there is trouble, how often it was tried, and how long after the start it is told again.
    trouble: Option<(Steady, u32, Duration)>,
}

impl Patience {
    /// The first wait: a lock held for a moment should cost no more.
    const SHORTEST: Duration = Duration::from_millis(50);
    /// The longest: so late is the end of the trouble seen.
    const LONGEST: Duration = Duration::from_secs(5);
    /// When the trouble is told for the second time; the time doubles from there.
    const TELL_AGAIN: Duration = Duration::from_secs(30);

    /// For that database, until the other end of `closing` is dropped.
    pub fn new(path: PathBuf, closing: Receiver<Infallible>) -> Self {
        Self { path, closing, clock: Clock::start(), trouble: None }
    }

    /// Waits before the next try. `false`: the store is being closed, so that there is none.
    pub fn wait(&mut self, error: &rusqlite::Error, remedy: &'static str) -> bool {
        let now = self.clock.now().steady;
        let (since, tries, tell_after) = self.trouble.unwrap_or((now, 0, Duration::ZERO));
        let lasted = now - since;
        let told = lasted >= tell_after;
        if told {
            let path = self.path.display();
            let lasted = rounded(lasted);
            tracing::error!(%path, %error, %lasted, remedy, "the store cannot be used; opwatch waits and tries again");
        }
        let tell_after = if told { (tell_after * 2).max(Self::TELL_AGAIN) } else { tell_after };
        let tries = tries.saturating_add(1);
        self.trouble = Some((since, tries, tell_after));
        let pause = backoff::after_failure(Self::SHORTEST, Self::LONGEST, tries, 1.0);
        matches!(self.closing.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }

    /// It went well again.
    pub fn over(&mut self) {
        if let Some((since, ..)) = self.trouble.take() {
            let lasted = rounded(self.clock.now().steady - since);
            tracing::warn!(path = %self.path.display(), %lasted, "the store can be used again");
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{self, SQLITE_FULL, SQLITE_IOERR_FSYNC};

    use super::*;
    use crate::telemetry::captured;

    fn failure(code: std::ffi::c_int) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn trouble_is_told_once_with_its_remedy_and_once_more_when_it_is_over() {
        let ((), text) = captured::while_doing(|| {
            let (_open, closing) = std::sync::mpsc::channel();
            let mut patience = Patience::new("/var/lib/opwatch.db".into(), closing);
            assert!((0..3).all(|_| patience.wait(&failure(SQLITE_FULL), "free some space")));
            patience.over();
            patience.over();
        });
        let [trouble, over] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        for part in ["ERROR", "/var/lib/opwatch.db", "database or disk is full", "free some space"] {
            assert!(trouble.contains(part), "{trouble}");
        }
        assert!(over.contains("can be used again"), "{over}");
    }

    #[test]
    fn a_full_disk_passes_and_a_failed_fsync_does_not() {
        assert!(matches!(Trouble::of(&failure(SQLITE_FULL)), Trouble::Passing(_)));
        assert!(matches!(Trouble::of(&failure(SQLITE_IOERR_SHMSIZE)), Trouble::Passing(_)));
        assert_eq!(Trouble::of(&failure(SQLITE_IOERR_FSYNC)), Trouble::Fatal);
        assert_eq!(Trouble::of(&failure(ffi::SQLITE_CONSTRAINT)), Trouble::Own);
        assert_eq!(Trouble::of(&rusqlite::Error::QueryReturnedNoRows), Trouble::Own);
    }
}
