//! Events as lines of a file, or of standard output.
//!
//! A batch is acknowledged once it is written and synced. What an attempt wrote and could not finish is taken
//! back, at once where the file is still open, else when it is opened next (`file/regular.rs`); a pipe cannot
//! take anything back, so there a line that was begun is finished first ([`Lines`]). Two sinks on one file
//! are refused with the configuration.

mod regular;
#[cfg(test)]
mod tests;
mod turn;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use self::regular::{Identity, Regular};
use super::{Sink, blocking};
use crate::lines::closed::was_standard_output_closed;
use crate::lines::output::{Lines, lock, write_waiting};
use crate::model::delivery::Refusal;
use crate::model::event::Event;

/// A few hundred kilobytes at most as a rule, and one sync for all of them.
const BATCH: usize = 256;

/// How long the reader of a pipe may take nothing; below the five seconds that a stop may last.
const PATIENCE: Duration = Duration::from_secs(3);

/// The keys of `type = "file"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Where the lines go; `-` is standard output.
    pub path: PathBuf,
}

impl Config {
    /// Where the path leads, through links too, as far as that can be told while the file need not be there
    /// yet. Two paths that lead to one file resolve alike.
    pub fn resolved(&self) -> PathBuf {
        if is_standard_output(&self.path) {
            return self.path.clone();
        }
        let folder = |path: &Path| {
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
        };
        // A link whose target is not there yet.
        let target = fs::read_link(&self.path)
            .map_or_else(|_| self.path.clone(), |target| folder(&self.path).join(target));
        let in_its_folder = || Some(folder(&target).canonicalize().ok()?.join(target.file_name()?));
        target.canonicalize().ok().or_else(in_its_folder).unwrap_or(target.clone())
    }
}

/// A sink of type `file`.
#[derive(Debug)]
pub struct File {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    /// Opened by the first attempt, and anew after trouble or when the path leads elsewhere.
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    /// A regular file, which can be synced and cut back.
    Regular(Regular),
    /// A FIFO or a device, with what identifies it.
    Stream(Mutex<Lines>, Identity),
    /// Standard output, whatever it is.
    StandardOutput(Mutex<Lines>),
}

/// What was being done when an error came: the messages differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Opening,
    Repairing,
    Writing,
    Syncing,
}

/// What failed, while doing what.
#[derive(Debug)]
struct Trouble {
    doing: Doing,
    error: io::Error,
}

impl File {
    /// To that path; nothing is opened yet.
    pub fn new(config: &Config) -> Self {
        let path = config.path.clone();
        Self { state: Arc::new(Mutex::new(State { path: path.clone(), open: None })), path }
    }
}

#[async_trait]
impl Sink for File {
    fn batch(&self) -> usize {
        BATCH
    }

    fn max_in_flight(&self) -> usize {
        1
    }

    fn mended_by(&self) -> Vec<PathBuf> {
        // A folder that is there changes with every file in it, which says nothing of ours.
        self.path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .map(Path::to_owned)
            .into_iter()
            .collect()
    }

    async fn reach(&self) -> Result<Option<&'static str>, Refusal> {
        let path = self.path.clone();
        blocking(move || {
            found(&path).map(Some).map_err(|error| Trouble { doing: Doing::Opening, error }.refusal(&path))
        })
        .await
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        let mut lines = Vec::with_capacity(events.iter().map(|event| event.body.len() + 1).sum());
        for event in events {
            lines.extend_from_slice(event.body.as_bytes());
            lines.push(b'\n');
        }
        let state = Arc::clone(&self.state);
        blocking(move || {
            let mut state = lock(&state);
            state.append(&lines).map_err(|trouble| trouble.refusal(&state.path))
        })
        .await
    }
}

/// What an attempt would find there: the system is asked, and nothing is opened.
fn found(path: &Path) -> io::Result<&'static str> {
    if is_standard_output(path) {
        return if was_standard_output_closed() {
            Err(ErrorKind::BrokenPipe.into())
        } else {
            Ok("standard output is open")
        };
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(metadata) if metadata.is_file() => access(path, Access::READ_OK | Access::WRITE_OK)
            .map(|()| "the file can be written")
            .map_err(io::Error::from),
        Ok(_) => access(path, Access::WRITE_OK).map(|()| "it can be written").map_err(io::Error::from),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let target = Config { path: path.to_owned() }.resolved();
            let folder =
                target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            access(folder, Access::WRITE_OK | Access::EXEC_OK)
                .map(|()| "the file can be created")
                .map_err(io::Error::from)
        }
        Err(error) => Err(error),
    }
}

impl State {
    fn append(&mut self, lines: &[u8]) -> Result<(), Trouble> {
        let open = match self.open.take() {
            Some(open) if open.is_still_at(&self.path) => open,
            Some(_) | None => Open::at(&self.path)?,
        };
        let (written, is_usable) = match &open {
            Open::Regular(file) => match file.append(lines, fs::File::sync_data) {
                Ok(()) => (Ok(()), true),
                Err((trouble, undone)) => (Err(trouble), undone),
            },
            Open::Stream(out, _) => {
                let written = write_waiting(out, lines, PATIENCE);
                // The next reader of a FIFO has not seen the beginning of the line that this one left.
                let has_reader = !written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
                (written.map_err(Trouble::of(Doing::Writing)), has_reader)
            }
            Open::StandardOutput(out) => {
                (write_waiting(out, lines, PATIENCE).map_err(Trouble::of(Doing::Writing)), true)
            }
        };
        self.open = is_usable.then_some(open);
        written
    }
}

impl Open {
    fn at(path: &Path) -> Result<Self, Trouble> {
        if is_standard_output(path) {
            if was_standard_output_closed() {
                return Err(Trouble { doing: Doing::Opening, error: ErrorKind::BrokenPipe.into() });
            }
            let own = io::stdout().as_fd().try_clone_to_owned().map_err(Trouble::of(Doing::Opening))?;
            return Ok(Self::StandardOutput(Mutex::new(Lines::new(own.into()))));
        }
        // A file that is not there yet will be a regular one.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let stream = regular::options().open(path).map_err(Trouble::of(Doing::Opening))?;
            let identity = Identity::of(&stream.metadata().map_err(Trouble::of(Doing::Opening))?);
            return Ok(Self::Stream(Mutex::new(Lines::new(stream)), identity));
        }
        Regular::at(path).map(Self::Regular)
    }

    /// Whether the path still leads here: log rotation may have moved or deleted the file.
    fn is_still_at(&self, path: &Path) -> bool {
        let identity = match self {
            Self::Regular(file) => file.identity(),
            Self::Stream(_, identity) => *identity,
            Self::StandardOutput(_) => return true,
        };
        fs::metadata(path).is_ok_and(|metadata| Identity::of(&metadata) == identity)
    }
}

impl Trouble {
    fn of(doing: Doing) -> impl Fn(io::Error) -> Self {
        move |error| Self { doing, error }
    }

    /// What it means for the sink: what failed, where, and what to do. A person must act where waiting mends
    /// nothing.
    fn refusal(&self, path: &Path) -> Refusal {
        let Self { doing, error } = self;
        let place =
            if is_standard_output(path) { "standard output".into() } else { path.display().to_string() };
        let what = format!("{} {place}", doing.words());
        if *doing == Doing::Syncing {
            return Refusal::passing(format!(
                "{what}: {error}; its last lines are written again, look at the disk"
            ));
        }
        let has_no_reader = error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "foreign and non-exhaustive: whatever has no words of its own passes"
        )]
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Refusal::passing(format!("{what}: no space is left; free some there"))
            }
            ErrorKind::FileTooLarge => Refusal::passing(format!(
                "{what}: it is as large as files may be; move it away or raise the limit"
            )),
            ErrorKind::ResourceBusy => {
                Refusal::passing(format!("{what}: another program keeps it locked; see to that one"))
            }
            ErrorKind::TimedOut => {
                Refusal::passing(format!("{what}: whoever reads it takes nothing; see to that reader"))
            }
            ErrorKind::BrokenPipe if is_standard_output(path) => {
                Refusal::of_sink(format!("{what}: it is closed; restart with a standard output that is read"))
            }
            ErrorKind::BrokenPipe => Refusal::passing(format!("{what}: its reader is gone; start one")),
            ErrorKind::NotFound => {
                Refusal::of_sink(format!("{what}: its folder does not exist; create it or name another path"))
            }
            ErrorKind::IsADirectory => Refusal::of_sink(format!("{what}: it is a folder; name a file in it")),
            ErrorKind::NotADirectory => {
                Refusal::of_sink(format!("{what}: a part of the path is no folder; name another path"))
            }
            ErrorKind::PermissionDenied => Refusal::of_sink(format!(
                "{what}: permission denied; let this user read and write it, and create it in its folder"
            )),
            ErrorKind::ReadOnlyFilesystem => {
                Refusal::of_sink(format!("{what}: the file system is read-only; name another path"))
            }
            // Our own words, which say what to do.
            ErrorKind::InvalidData => Refusal::of_sink(format!("cannot append to {place}: {error}")),
            ErrorKind::InvalidFilename => Refusal::of_sink(format!("{what}: {error}; name another path")),
            _ if has_no_reader => Refusal::passing(format!("{what}: nobody reads it; start a reader")),
            _ => Refusal::passing(format!("{what}: {error}; see to it or name another path")),
        }
    }
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Self::Opening => "cannot open",
            Self::Repairing => "cannot take back the torn last line of",
            Self::Writing => "cannot write",
            Self::Syncing => "cannot bring to the disk",
        }
    }
}

fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}
