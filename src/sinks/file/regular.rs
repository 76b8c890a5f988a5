//! A regular file of whole lines, synced to the disk.
//!
//! Lines are appended, synced, and removed if either fails. A process that was killed cannot remove them. So
//! the beginning of an event after the last line end is cut off first: it was never acknowledged and is sent
//! again. Any other text there is another program's. It is kept and puts the sink on hold: an event after it
//! would be a part of that line, and lost to every reader.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::trouble::{Doing, Trouble};
use super::turn::Turn;

/// The range in which a torn line is searched. An event is far smaller: responses of the cloud are bounded to
/// 1 MiB.
const MAX_TORN_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of one read in that search.
const BLOCK_BYTES: u64 = 64 * 1024;

/// The first bytes of every event.
const BEGINNING: &[u8] = b"{\"specversion\"";

/// The error of a file with a foreign half line.
const FOREIGN: &str =
    "its last line is incomplete and not an event; complete that line, or name another path";

/// The owner reads and writes, the group reads: names and labels of tasks are not public.
const MODE: u32 = 0o640;

/// Which file a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// The error of lines with foreign text in them.
const MIXED: &str =
    "another program wrote there at the same time; make it lock the file with flock(2), or name another path";

/// An open file.
#[derive(Debug)]
pub struct Regular {
    file: File,
    identity: Identity,
}

impl Identity {
    /// The one of that file.
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Options of every opening: append, and no wait for the reader of a FIFO.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

impl Regular {
    /// Opens or creates the file, and removes an incomplete last line: the destination is checked even
    /// without an event.
    pub fn at(path: &Path) -> Result<Self, Trouble> {
        let opening = Trouble::of(Doing::Opening);
        let file = options().read(true).create(true).mode(MODE).open(path).map_err(&opening)?;
        let metadata = file.metadata().map_err(&opening)?;
        if !metadata.is_file() {
            return Err(opening(io::Error::other("the file was replaced meanwhile")));
        }
        {
            let _turn = Turn::of(&file).map_err(&opening)?;
            // A process that was killed may have written any part of an event.
            cut_torn_line(&file, path, 1).map_err(Trouble::of(Doing::Repairing))?;
        }
        sync_folder(path).map_err(Trouble::of(Doing::Syncing))?;
        Ok(Self { file, identity: Identity::of(&metadata) })
    }

    /// Which file it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Appends and syncs these lines. After an error the file is unchanged, with `true`; else it must be
    /// opened again. After a failed sync the state of the written bytes is unknown, and the next sync of this
    /// descriptor may succeed without them.
    ///
    /// Other programs may have written since, so the end of the file is checked as at the opening. A program
    /// that writes between check and append ignores the lock; then the lines are not acknowledged, and are
    /// sent again.
    pub fn append(
        &self,
        lines: &[u8],
        path: &Path,
        sync: impl Fn(&File) -> io::Result<()>,
    ) -> Result<(), (Trouble, bool)> {
        let _turn = match Turn::of(&self.file) {
            Ok(turn) => turn,
            Err(error) => return Err((Trouble { doing: Doing::Writing, error }, true)),
        };
        let failed = |doing| move |error| (Trouble { doing, error }, true);
        // This process took back its own torn lines. A few bytes of another program are no torn event.
        cut_torn_line(&self.file, path, BEGINNING.len()).map_err(failed(Doing::Repairing))?;
        let before = self.file.metadata().map_err(failed(Doing::Writing))?.len();
        if let Err(error) = (&self.file).write_all(lines) {
            return Err((Trouble { doing: Doing::Writing, error }, self.file.set_len(before).is_ok()));
        }
        if !lines.is_empty() && !self.is_a_line_of_its_own(lines).map_err(failed(Doing::Writing))? {
            return Err(failed(Doing::Writing)(io::Error::other(MIXED)));
        }
        if let Err(error) = sync(&self.file) {
            // Best effort: remaining lines are repeated with the same ids.
            _ = self.file.set_len(before);
            return Err((Trouble { doing: Doing::Syncing, error }, false));
        }
        Ok(())
    }

    /// Whether the appended lines begin after a line end, or at the beginning of the file. An appending write
    /// leaves the position of the descriptor at its end.
    fn is_a_line_of_its_own(&self, lines: &[u8]) -> io::Result<bool> {
        let start = (&self.file).stream_position()?.saturating_sub(lines.len() as u64);
        ends_a_line(&self.file, start)
    }
}

/// Removes the beginning of an event behind the last line end, if it has at least `shortest` bytes of [`BEGINNING`].
fn cut_torn_line(file: &File, path: &Path, shortest: usize) -> io::Result<()> {
    let length = file.metadata()?.len();
    if !ends_a_line(file, length)? {
        let end = end_of_last_line(file, length)?;
        if !begins_like_an_event(file, end, length, shortest)? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, FOREIGN));
        }
        file.set_len(end)?;
        tracing::warn!(path = %path.display(), bytes = length - end, "incomplete last line removed; its event is delivered again");
    }
    Ok(())
}

/// Whether a line begins at that position: after a line end, or at the beginning of the file.
fn ends_a_line(file: &File, position: u64) -> io::Result<bool> {
    let Some(last) = position.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Whether the bytes from `start` to `end` begin like an event, by at least `shortest` bytes.
fn begins_like_an_event(file: &File, start: u64, end: u64, shortest: usize) -> io::Result<bool> {
    let mut begun = vec![0; BEGINNING.len().min(usize::try_from(end - start).unwrap_or(usize::MAX))];
    file.read_exact_at(&mut begun, start)?;
    Ok(begun.len() >= shortest && BEGINNING.starts_with(&begun))
}

/// Checks that the regular file behind standard output ends with a line end: an event after a half line would
/// be a part of that line, and lost to every reader. Other kinds of standard output pass.
///
/// # Errors
/// If the last line has no end.
pub fn check_standard_output() -> io::Result<()> {
    const PATH: &str = "/proc/self/fd/1";
    let is_regular = std::fs::metadata(PATH).is_ok_and(|metadata| metadata.is_file());
    // Standard output is often open for writing only, and a file that must not be read cannot be checked.
    let Some(file) = is_regular.then(|| File::open(PATH).ok()).flatten() else { return Ok(()) };
    match ends_a_line(&file, file.metadata()?.len())? {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, FOREIGN)),
    }
}

/// Where the last whole line ends; 0 if there is none.
fn end_of_last_line(file: &File, length: u64) -> io::Result<u64> {
    let mut block = Vec::new();
    let mut end = length;
    while end > 0 {
        if length - end >= MAX_TORN_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, FOREIGN));
        }
        let start = end.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(end - start).map_err(io::Error::other)?, 0);
        file.read_exact_at(&mut block, start)?;
        if let Some(position) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + position as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Syncs the name of the file: at every opening, since a process that created it may have been killed before
/// its sync.
fn sync_folder(path: &Path) -> io::Result<()> {
    // The target of a link is in another folder than the link.
    let target = path.canonicalize()?;
    let folder = match target.parent().map(File::open) {
        Some(Ok(folder)) => folder,
        // A folder that cannot be read: other users created the file earlier.
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Some(Err(error)) => return Err(error),
        None => return Ok(()),
    };
    match folder.sync_all() {
        // Some file systems (CIFS, FUSE) cannot sync a folder.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}
