//! One writer of a file at a time, in any process: `opwatch events test` beside a daemon must not remove a
//! line that the daemon is just writing, nor the other way round.

use std::fs::{File, TryLockError};
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// The number of tries and the pause between them: together below the 5 s of a stop.
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
        // Explicitly, and not by closing the file: a starting process may hold a copy of its descriptor.
        _ = self.0.unlock();
    }
}
