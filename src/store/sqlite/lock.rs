//! The lock file beside the database: one daemon to a store.
//!
//! SQLite's own exclusive mode would keep a second daemon out as well, but backups with it. The kernel lets
//! go of the lock with the process, however that ends; the file itself stays, since removing it would race
//! with the next holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use super::connect;
use super::location::beside;
use crate::store::Error;

/// A program that a killed daemon was just starting has its lock until it is started: that is over within a
/// moment.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of that database, or tells who has it.
    pub fn take(database: &Path) -> Result<Self, Error> {
        // Two names of one database (a symbolic link) must meet at one lock.
        let resolved = database.canonicalize().unwrap_or_else(|_| database.into());
        let unusable = |error| connect::unusable(database, error);
        let path = beside(&resolved, ".lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(unusable)?;
        for tries_left in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries_left > 0 => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::InUse {
                        place: database.display().to_string(),
                        holder: holder(&file),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        if let Err(error) = write_pid(&file) {
            // The number is for people; the lock holds without it, on a full disk too.
            tracing::debug!(error = %error, "cannot write the process id into the lock file");
        }
        Ok(Self { _file: file })
    }
}

fn write_pid(mut file: &File) -> std::io::Result<()> {
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
        Ok(_) | Err(_) => "its lock file does not say which".into(),
    }
}
