//! Failures of a `file` sink: the step that failed, and the meaning of its error for the sink.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::model::delivery::Refusal;

/// The step that failed: each has its own message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Opening or creating it.
    Opening,
    /// Removing a torn last line.
    Repairing,
    /// Appending lines.
    Writing,
    /// Writing it back to the disk.
    Syncing,
}

/// A failed step.
#[derive(Debug)]
pub struct Trouble {
    /// The step that failed.
    pub doing: Doing,
    /// The error of the system.
    pub error: io::Error,
}

impl Trouble {
    /// Makes it from an error of that step.
    pub fn of(doing: Doing) -> impl Fn(io::Error) -> Self {
        move |error| Self { doing, error }
    }

    /// The refusal: the failure, its place, and the fix. The sink goes on hold where only a person can act.
    pub fn refusal(&self, path: &Path) -> Refusal {
        let Self { doing, error } = self;
        let place =
            if is_standard_output(path) { "standard output".into() } else { path.display().to_string() };
        let what = format!("{} {place}", doing.words());
        if *doing == Doing::Syncing {
            return Refusal::passing(format!(
                "{what}: {error}; the last lines will be written again, perhaps twice; check the disk"
            ));
        }
        let has_no_reader = error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "foreign and non-exhaustive: whatever has no words of its own passes"
        )]
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Refusal::passing(format!("{what}: no space is left; free some space there"))
            }
            ErrorKind::FileTooLarge => Refusal::passing(format!(
                "{what}: the file has the largest allowed size; move it away or raise the limit"
            )),
            ErrorKind::ResourceBusy => {
                Refusal::passing(format!("{what}: another program keeps it locked; check that program"))
            }
            ErrorKind::TimedOut => {
                Refusal::passing(format!("{what}: its reader does not read; check that reader"))
            }
            ErrorKind::BrokenPipe if is_standard_output(path) => {
                Refusal::of_sink(format!("{what}: it is closed; restart with a standard output that is read"))
            }
            ErrorKind::BrokenPipe => Refusal::passing(format!("{what}: its reader has ended; start one")),
            ErrorKind::NotFound => {
                Refusal::of_sink(format!("{what}: its folder does not exist; create it or name another path"))
            }
            ErrorKind::IsADirectory => Refusal::of_sink(format!("{what}: it is a folder; name a file in it")),
            ErrorKind::NotADirectory => {
                Refusal::of_sink(format!("{what}: a part of the path is not a folder; name another path"))
            }
            ErrorKind::PermissionDenied => Refusal::of_sink(format!(
                "{what}: permission denied; let this user read and write it, and create it in its folder"
            )),
            ErrorKind::ReadOnlyFilesystem => {
                Refusal::of_sink(format!("{what}: the file system is read-only; name another path"))
            }
            // These messages are opwatch's own and name the fix.
            ErrorKind::InvalidData => Refusal::of_sink(format!("cannot append to {place}: {error}")),
            ErrorKind::InvalidFilename => Refusal::of_sink(format!("{what}: {error}; name another path")),
            _ if has_no_reader => Refusal::passing(format!("{what}: no program reads it; start a reader")),
            _ => Refusal::passing(format!("{what}: {error}; correct it or name another path")),
        }
    }
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Self::Opening => "cannot open",
            Self::Repairing => "cannot remove the incomplete last line of",
            Self::Writing => "cannot write",
            Self::Syncing => "cannot sync to the disk",
        }
    }
}

/// Whether that path means standard output.
pub fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}
