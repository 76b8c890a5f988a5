//! The lock file beside the database: one daemon for each store.
//!
//! SQLite's own exclusive mode would also block a second daemon, but backups too. The kernel releases the
//! lock with the process, however it ends. The file itself stays, since its removal would race with the next
//! holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::connect::{self, MODE};
use super::location::beside;
use super::trouble::{FREE_SPACE, Patience, is_full};
use crate::store::Error;

/// A program that a killed daemon was starting holds the lock until it has started, which takes a moment.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);
/// Errors of file systems without locks.
const NO_LOCKS: [Errno; 3] = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS];

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of that database, or names the holder. A full disk is waited for.
    pub fn take(database: &Path, patience: &mut Patience) -> Result<Self, Error> {
        // Two names of one database (a symbolic link) must meet at one lock.
        let resolved = database.canonicalize().unwrap_or_else(|_| database.into());
        let path = beside(&resolved, ".lock");
        let file = loop {
            match open(&path) {
                Ok(file) => break file,
                Err(error) if is_full(&error) && patience.wait(&error, FREE_SPACE) => {}
                Err(error) => return Err(refused(database, &path, error)),
            }
        };
        for tries_left in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries_left > 0 => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let place = database.display().to_string();
                    return Err(Error::InUse { place, holder: holder(&file) });
                }
                Err(TryLockError::Error(error)) => return Err(refused(database, &path, error)),
            }
        }
        if let Err(error) = write_pid(&file) {
            // The number is for people; the lock works without it, on a full disk too.
            tracing::debug!(error_message = %error, "cannot write the process id into the lock file");
        }
        Ok(Self { _file: file })
    }
}

/// Never through a symbolic link: the process id would overwrite its target.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::InvalidInput.into()) }
}

/// The error of a lock file that cannot be used, with the fix.
fn refused(database: &Path, lock: &Path, error: io::Error) -> Error {
    let shown = lock.display();
    let found = lock.symlink_metadata().ok();
    let own = rustix::process::geteuid().as_raw();
    let foreign_owner = found.as_ref().map(MetadataExt::uid).filter(|owner| *owner != own);
    let is_regular = found.as_ref().is_none_or(|metadata| metadata.is_file());
    let has_locks = !NO_LOCKS.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    let why = match foreign_owner {
        _ if !has_locks => {
            "its file system refuses locks; mount it with locks, or keep the store on a local disk".to_owned()
        }
        _ if !is_regular => format!("its lock file {shown} is not a regular file; remove it"),
        Some(owner) if error.kind() == ErrorKind::PermissionDenied => {
            let owner = if owner == 0 { "root".to_owned() } else { format!("the user with id {owner}") };
            format!(
                "its lock file {shown} belongs to {owner}; remove it while no opwatch runs, then start as one user only"
            )
        }
        Some(_) | None => return connect::unusable(database, error),
    };
    Error::Open { place: database.display().to_string(), why, needs_a_person: true, source: error.into() }
}

fn write_pid(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &File) -> String {
    /// Far more than the digits of any process id.
    const LONGEST_BYTES: u64 = 32;
    let mut written = String::new();
    match file.take(LONGEST_BYTES).read_to_string(&mut written).map(|_| written.trim()) {
        Ok(pid) if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("process {pid}")
        }
        Ok(_) | Err(_) => "its lock file has no process id".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_has_words_of_its_own() {
        for errno in NO_LOCKS {
            let refused = refused(Path::new("x.db"), Path::new("x.db.lock"), errno.into());
            assert!(
                refused.to_string().contains("its file system refuses locks; mount it with locks"),
                "{refused}"
            );
            assert!(refused.needs_a_person());
        }
        let other = refused(Path::new("x.db"), Path::new("x.db.lock"), Errno::IO.into());
        assert!(!other.to_string().contains("locks"), "{other}");
    }
}
