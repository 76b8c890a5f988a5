//! One writer of a file at a time, in whichever process: `opwatch events test` beside a daemon must not take
//! a line that is just being written for a torn one, nor the other take back what it did not write.

use std::fs::{File, TryLockError};
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// How often, and how long after one another, it is tried: together below the five seconds that a stop may
/// last.
const TRIES: u32 = 300;
const WAIT: Duration = Duration::from_millis(10);

/// The right to write, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a>(&'a File);

impl<'a> Turn<'a> {
    /// Waits for it a little.
    ///
    /// # Errors
    /// When another one holds it for longer. A file system without locks gives it at once.
    pub fn of(file: &'a File) -> io::Result<Self> {
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => sleep(WAIT),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Not left to the closing of the file: a process that is being started may hold a copy of its
        // descriptor.
        _ = self.0.unlock();
    }
}
