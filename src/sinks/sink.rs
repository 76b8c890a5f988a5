//! The two traits of a sink: [`Sink`] makes attempts, [`TypeConfig`] holds the keys of one `type` and builds
//! the sink from them. The registry of the types is `sinks/mod.rs`.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::clock::Clock;
use crate::files::FilesChange;
use crate::lines::event::OpenTasks;
use crate::model::delivery::Refusal;
use crate::model::event::Event;
use crate::secret::hidden::Hidden;
use crate::section::{self, TableFault};
use crate::telemetry::ResolvedFormat;
use crate::units::Span;

/// Where events go.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The largest number of events in one attempt; 1 or more.
    fn batch(&self) -> usize;

    /// The largest number of attempts at the same time, above any configured value.
    fn max_in_flight(&self) -> usize {
        usize::MAX
    }

    /// Files whose change may remove the cause of a hold: secrets, certificates, program, folder.
    fn released_by(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Reads its files again, off the loop; the next attempt uses their content.
    ///
    /// # Errors
    /// When the system refuses a thread.
    async fn refresh(&self) -> io::Result<FilesChange> {
        Ok(FilesChange::None)
    }

    /// Checks without an event that the destination exists and accepts this user; changes nothing there.
    /// Returns the result in a few words; `None`: only an attempt can show it.
    async fn reach(&self) -> Result<Option<&'static str>, Refusal> {
        Ok(None)
    }

    /// One attempt to deliver these events, in order. `Ok` acknowledges all of them; after an error none
    /// counts as delivered, and all are sent again.
    async fn send(&self, events: &[Event]) -> Result<(), Refusal>;
}

/// Keys of one type of sink, as written.
pub trait TypeConfig {
    /// The keys with their defaults; keys that are never printed, such as secrets, are null.
    fn keys() -> Value
    where
        Self: Sized + Serialize + Default,
    {
        section::keys::<Self>(&[])
    }

    /// The keys whose text is a path, relative to the file that names it.
    fn paths() -> &'static [PathKey]
    where
        Self: Sized,
    {
        &[]
    }

    /// Errors beyond the types of the keys, each with its key and without a secret. Files are read; `doubt`
    /// receives warnings, each with its key.
    fn check(&self, doubt: &mut dyn FnMut(&'static str, String)) -> Vec<TableFault>;

    /// Type and destination, without secrets.
    fn shown(&self) -> String;

    /// The secrets that are written in the keys.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the sink starts programs. Default: no.
    fn starts_programs(&self) -> bool {
        false
    }

    /// Whether each attempt carries one event, so that `batch` gathers nothing.
    fn sends_singly(&self) -> bool {
        false
    }

    /// The file that the sink appends to, with its key; two sinks on one file are refused.
    fn appends_to(&self) -> Option<(&'static str, PathBuf)> {
        None
    }

    /// Builds the sink. A missing folder, reader or server is no error: the first attempt reports it, and the
    /// sink goes on hold.
    ///
    /// # Errors
    /// All errors, each with its key, without a secret.
    fn build(&self, building: Building<'_>) -> Result<Box<dyn Sink>, Vec<TableFault>>;
}

/// Values that a sink needs beside the keys of its type.
#[derive(Clone, Copy, Debug)]
pub struct Building<'a> {
    /// Name of the sink.
    pub name: &'a str,
    /// Whether events are gathered for one attempt.
    pub is_batched: bool,
    /// The style of log lines.
    pub style: &'a LineStyle,
    /// The daemon's clock.
    pub clock: Clock,
    /// The secrets of the whole configuration.
    pub hidden: &'a Hidden,
}

/// The style of the lines of the sink `log`, and the values of programs.
#[derive(Clone, Debug)]
pub struct LineStyle {
    /// The format.
    pub format: ResolvedFormat,
    /// The number of open tasks.
    pub open_tasks: OpenTasks,
}

impl LineStyle {
    /// Lines without the number of open tasks, where no daemon runs.
    pub fn without_number(format: ResolvedFormat) -> Self {
        Self { format, open_tasks: OpenTasks::default() }
    }
}

/// A key whose text is a path.
#[derive(Clone, Copy, Debug)]
pub struct PathKey {
    /// The key within the sink's table, dotted; elements of lists by their number.
    pub key: &'static str,
    /// Exceptions to "relative to the file that names it".
    pub form: PathForm,
}

/// Exceptions to "a path is relative to the file that names it".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// None.
    Plain,
    /// `-` is standard output.
    Output,
    /// A name without a slash is looked up in `$PATH`.
    Program,
    /// A name without a slash is looked up in `$CREDENTIALS_DIRECTORY` first.
    Credential,
}

/// The error of a `timeout` that is zero.
pub fn timeout_fault(timeout: Span) -> Option<TableFault> {
    timeout.0.is_zero().then(|| TableFault::new(&["timeout"], "is zero; write more than 0s"))
}

/// Runs code that may block (files, pipes, a full disk) on a thread where no other task waits for it.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|failed| Err(Refusal::passing(format!("the attempt failed: {failed}"))))
}
