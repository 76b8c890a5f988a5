//! A file that is read part by part, on a thread of its own.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rustix::fs::OFlags;

use super::{Error, PATIENCE, gave_up, regular, spawn};

/// Bytes of one part. Two parts are in memory ahead of the reader.
const PART_BYTES: usize = 256 * 1024;

/// A regular file while it is read. Dropping it ends its thread at the next part.
pub struct Stream {
    parts: Receiver<Result<Vec<u8>, Error>>,
    patience: Duration,
    /// The current part for [`BufRead`], and its consumed bytes.
    part: Vec<u8>,
    consumed: usize,
    has_ended: bool,
    /// The file's permissions.
    pub mode: u32,
}

impl Stream {
    /// Opens a file of at most `largest_bytes`. Links are followed.
    ///
    /// # Errors
    /// When it is not a regular file, too large, or not opened in time; and with the system's own errors.
    pub fn open(path: &Path, largest_bytes: u64) -> Result<Self, Error> {
        let path = path.to_owned();
        Self::of(PATIENCE, largest_bytes, move || {
            // Before it is opened, since opening a device may have effects …
            regular(&fs::metadata(&path)?)?;
            let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY).bits().cast_signed();
            let file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
            // … and after, since the name may have another file meanwhile.
            let metadata = file.metadata()?;
            regular(&metadata)?;
            Ok((file, metadata.mode()))
        })
    }

    pub(super) fn of<R: Read>(
        patience: Duration,
        largest_bytes: u64,
        open: impl FnOnce() -> Result<(R, u32), Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (opened_sender, opened) = sync_channel(1);
        let (sender, parts) = sync_channel(1);
        spawn(move || {
            let (file, mode) = match open() {
                Ok(opened) => opened,
                // The caller may have stopped waiting, here and below.
                Err(error) => return drop(opened_sender.send(Err(error))),
            };
            if opened_sender.send(Ok(mode)).is_ok() {
                send_parts(file, largest_bytes, &sender);
            }
        })?;
        let mode = opened.recv_timeout(patience).map_err(gave_up)??;
        Ok(Self { parts, patience, part: Vec::new(), consumed: 0, has_ended: false, mode })
    }

    /// The next bytes; `None` at the end of the file.
    pub(super) fn next_part(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        let part = self.parts.recv_timeout(self.patience).map_err(gave_up)??;
        // Only an empty part is the end: a thread that ended would look the same otherwise.
        self.has_ended = part.is_empty();
        Ok((!self.has_ended).then_some(part))
    }
}

/// Sends a file in parts, then an empty part. A file that grows meanwhile is read up to its bound.
fn send_parts(mut file: impl Read, largest_bytes: u64, parts: &SyncSender<Result<Vec<u8>, Error>>) {
    let mut read_bytes = 0;
    loop {
        let mut part = Vec::new();
        let read = file.by_ref().take(PART_BYTES as u64).read_to_end(&mut part);
        read_bytes += part.len() as u64;
        let message = match read {
            Ok(_) if read_bytes > largest_bytes => Err(Error::TooLarge(largest_bytes)),
            Ok(_) => Ok(part),
            Err(error) => Err(Error::System(error)),
        };
        let is_last = message.as_ref().map_or(true, Vec::is_empty);
        if parts.send(message).is_err() || is_last {
            return;
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed == self.part.len() {
            self.part = self.next_part().map_err(io::Error::other)?.unwrap_or_default();
            self.consumed = 0;
        }
        Ok(&self.part[self.consumed..])
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
    }
}
