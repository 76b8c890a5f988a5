//! Files that are read: regular files only, opened without blocking, bounded in size and in time.
//!
//! Opening a FIFO blocks, and any call on a file behind a dead network mount may block for ever. Such calls
//! run on plain threads, and a caller stops waiting after [`PATIENCE`]. A hanging thread belongs to no
//! runtime, so no stop waits for it. The functions here block their caller for at most that time; a loop
//! calls them through [`off_loop`].

pub mod descriptors;
mod stream;
mod watcher;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::threads;

pub use stream::Stream;
pub use watcher::{AnnounceReason, Watched, Watcher};

/// The longest time for opening a file, and for each part of it. A disk that spins up takes less.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The error of a file that was not read. `Display` gives the reason without the file's name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a regular file.
    #[error("it is a {0}, and only a regular file is read")]
    NotRegular(&'static str),
    /// More bytes than this kind of file may have.
    #[error("it is larger than {}", shown_size(*.0))]
    TooLarge(u64),
    /// No progress within [`PATIENCE`].
    #[error("nothing was read within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// The system's own error.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Error {
    /// The error with the file's name and the fix.
    pub fn at(&self, path: &Path) -> String {
        format!("cannot read {} ({self}); {}", path.display(), self.fix())
    }

    /// The fix, as an imperative.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NotRegular(_) => "name a regular file",
            Self::TooLarge(_) => "name another file",
            Self::TimedOut => "check the disk or the network mount behind it",
            Self::System(_) => "check its name, owner and mode",
        }
    }

    /// Whether there is no file of that name.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::System(error) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            Self::NotRegular(_) | Self::TooLarge(_) | Self::TimedOut => false,
        }
    }
}

/// The result of reading the files of an account or a sink again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesChange {
    /// They hold what they held.
    None,
    /// The new content is in use.
    Read,
    /// The files are unusable, with the reason and the fix and without a secret. The content before stays in
    /// use. Each reason is reported once.
    Broken(String),
}

/// A file as it was read.
pub struct FileContent {
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// Reads a whole file of at most `largest_bytes`. Links are followed.
///
/// # Errors
/// When it is not a regular file, too large, or not read in time; and with the system's own errors.
pub fn read(path: &Path, largest_bytes: u64) -> Result<FileContent, Error> {
    let mut stream = Stream::open(path, largest_bytes)?;
    let mut bytes = Vec::new();
    while let Some(part) = stream.next_part()? {
        if bytes.is_empty() {
            bytes = part;
        } else {
            bytes.extend_from_slice(&part);
        }
    }
    Ok(FileContent { bytes, mode: stream.mode })
}

/// The metadata of the target of a path.
///
/// # Errors
/// When it is not known in time; and with the system's own errors.
pub fn metadata(path: &Path) -> Result<Metadata, Error> {
    let path = path.to_owned();
    within(PATIENCE, move || fs::metadata(path))
}

/// The paths in a folder, in no order.
///
/// # Errors
/// When they are not known in time; and with the system's own errors.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = folder.to_owned();
    within(PATIENCE, move || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect())
}

/// Runs work with files on a plain thread, so that the caller's runtime continues meanwhile and can end
/// without it.
///
/// # Errors
/// When the system refuses a thread.
pub fn off_loop<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = io::Result<T>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // The caller may be gone when the work is done.
    let started = spawn(move || drop(sender.send(catch_unwind(AssertUnwindSafe(work)))));
    async move {
        started?;
        let result = receiver.await.map_err(io::Error::other)?;
        // A panic continues in its owner.
        Ok(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

/// The result of calls that may hang, or an error once `patience` has passed. Then the calls continue on their thread.
fn within<T: Send + 'static>(
    patience: Duration,
    calls: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = sync_channel(1);
    // The caller may have stopped waiting.
    spawn(move || drop(sender.send(calls())))?;
    receiver.recv_timeout(patience).map_err(gave_up)?.map_err(Error::System)
}

fn gave_up(error: RecvTimeoutError) -> Error {
    match error {
        RecvTimeoutError::Timeout => Error::TimedOut,
        RecvTimeoutError::Disconnected => io::Error::other("the thread that reads files ended").into(),
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    threads::spawn("files", work).map(drop)
}

/// Refuses all but regular files, with the name of their kind.
fn regular(metadata: &Metadata) -> Result<(), Error> {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => Ok(()),
        () if kind.is_dir() => Err(Error::NotRegular("folder")),
        () if kind.is_fifo() => Err(Error::NotRegular("FIFO")),
        () if kind.is_socket() => Err(Error::NotRegular("socket")),
        () => Err(Error::NotRegular("device")),
    }
}

fn shown_size(bytes: u64) -> String {
    match (bytes >> 30, bytes >> 20, bytes >> 10) {
        (0, 0, kibibytes) => format!("{kibibytes} KiB"),
        (0, mebibytes, _) => format!("{mebibytes} MiB"),
        (gibibytes, ..) => format!("{gibibytes} GiB"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
