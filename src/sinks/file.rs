//! Events as lines of a file, or of standard output.
//!
//! A batch is acknowledged once it is written and synced. An incomplete line is removed: at once if the file
//! is still open, else at the next opening (`file/regular.rs`). A pipe cannot remove anything, so the rest of
//! the line is written first ([`LineOutput`]). Two sinks on one file are refused with the configuration.

mod regular;
#[cfg(test)]
mod tests;
mod trouble;
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
use self::trouble::{Doing, Trouble, is_standard_output};
use super::sink::{Building, PathForm, PathKey, Sink, TypeConfig, blocking};
use crate::lines::closed::was_standard_output_closed;
use crate::lines::line::escaped;
use crate::lines::output::{LineOutput, lock, write_waiting};
use crate::model::delivery::Refusal;
use crate::model::event::Event;
use crate::section::TableFault;

/// A few hundred kilobytes in general, with one sync.
const BATCH: usize = 256;

/// The longest wait for a reader of a pipe; below the 5 s of a stop.
const PATIENCE: Duration = Duration::from_secs(3);

/// The keys of `type = "file"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The destination; `-` is standard output.
    pub path: PathBuf,
}

impl Config {
    /// The target of the path, through links too; the file need not exist yet. Two paths to one file resolve
    /// alike.
    pub fn resolved(&self) -> PathBuf {
        if is_standard_output(&self.path) {
            return self.path.clone();
        }
        let folder = |path: &Path| {
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
        };
        // A link with a missing target.
        let target = fs::read_link(&self.path)
            .map_or_else(|_| self.path.clone(), |target| folder(&self.path).join(target));
        let in_its_folder = || Some(folder(&target).canonicalize().ok()?.join(target.file_name()?));
        target.canonicalize().ok().or_else(in_its_folder).unwrap_or(target.clone())
    }
}

impl TypeConfig for Config {
    fn paths() -> &'static [PathKey] {
        &[PathKey { key: "path", form: PathForm::Output }]
    }

    fn check(&self, _: &mut dyn FnMut(&'static str, String)) -> Vec<TableFault> {
        let is_empty = self.path.as_os_str().is_empty();
        let what = "is empty; write the file's path, or \"-\" for standard output";
        is_empty.then(|| TableFault::new(&["path"], what)).into_iter().collect()
    }

    fn shown(&self) -> String {
        match is_standard_output(&self.path) {
            true => "file - (standard output)".to_owned(),
            false => format!("file {}", self.path.display()),
        }
    }

    fn appends_to(&self) -> Option<(&'static str, PathBuf)> {
        (!self.path.as_os_str().is_empty()).then(|| ("path", self.resolved()))
    }

    fn build(&self, _: Building<'_>) -> Result<Box<dyn Sink>, Vec<TableFault>> {
        Ok(Box::new(File::new(self)))
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
    /// Opened by the first attempt, and again after a failure or when the path leads to another file.
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    /// A regular file, which can be synced and truncated.
    Regular(Regular),
    /// A FIFO or a device, with its identity.
    Stream(Mutex<LineOutput>, Identity),
    /// Standard output of any kind.
    StandardOutput(Mutex<LineOutput>),
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

    fn released_by(&self) -> Vec<PathBuf> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map(Path::to_owned).into_iter().collect()
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
            // The same JSON value, without control characters for a terminal that shows the file.
            lines.extend_from_slice(escaped(&event.body).as_bytes());
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

/// The state of the destination, without opening it.
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
            Open::Regular(file) => match file.append(lines, &self.path, fs::File::sync_data) {
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
                let checked = match lock(out).is_within_a_line() {
                    true => Ok(()),
                    false => regular::check_standard_output(),
                };
                let written = checked.and_then(|()| write_waiting(out, lines, PATIENCE));
                (written.map_err(Trouble::of(Doing::Writing)), true)
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
            return Ok(Self::StandardOutput(Mutex::new(LineOutput::new(own.into()))));
        }
        // A missing file is created as a regular one.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let stream = regular::options().open(path).map_err(Trouble::of(Doing::Opening))?;
            let identity = Identity::of(&stream.metadata().map_err(Trouble::of(Doing::Opening))?);
            return Ok(Self::Stream(Mutex::new(LineOutput::new(stream)), identity));
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
