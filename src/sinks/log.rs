//! One log line for each event, on standard error or in the journal (docs/architecture.md §7: guaranteed to
//! log watchers).
//!
//! Lines are written to the descriptor itself, independent of the program's own log and its level. An event
//! is acknowledged once written.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::sink::{Building, LineStyle, Sink, TypeConfig, blocking};
use crate::lines::closed::was_standard_error_closed;
use crate::lines::event::{OpenTasks, in_colour};
use crate::lines::journal::{self, Journal};
use crate::lines::line::LogLine;
use crate::lines::output::{LineOutput, standard_error, write_waiting};
use crate::model::delivery::Refusal;
use crate::model::event::Event;
use crate::section::TableFault;
use crate::telemetry::{ResolvedFormat, Surroundings};

/// About ten kilobytes of lines, the most that is repeated after a crash.
const BATCH: usize = 256;

/// The longest wait for the reader of standard error; below the 5 s of a stop.
const PATIENCE: Duration = Duration::from_secs(3);

/// `[sinks.log]`, which has no keys of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {}

impl TypeConfig for Config {
    fn check(&self, _: &mut dyn FnMut(&'static str, String)) -> Vec<TableFault> {
        Vec::new()
    }

    fn shown(&self) -> String {
        "standard error, or the journal under systemd".to_owned()
    }

    fn build(&self, Building { style, .. }: Building<'_>) -> Result<Box<dyn Sink>, Vec<TableFault>> {
        let what = |error| format!("standard error cannot be used: {error}; restart with a usable one");
        match Log::new(style.clone()) {
            Ok(sink) => Ok(Box::new(sink)),
            Err(error) => Err(vec![TableFault::new(&[], what(error))]),
        }
    }
}

/// The sink `log`.
#[derive(Debug)]
pub struct Log {
    out: Arc<Out>,
    open_tasks: OpenTasks,
}

/// Where the lines go.
#[derive(Debug)]
enum Out {
    /// None: standard error was closed at the start of the process.
    Closed,
    /// Text for people, in colours where the terminal has them.
    Text(Arc<Mutex<LineOutput>>, bool),
    /// JSON for programs.
    Json(Arc<Mutex<LineOutput>>),
    /// Entries of the systemd journal.
    Journal(Journal),
}

impl Log {
    /// To this process's standard error, or to the journal behind it.
    pub fn new(LineStyle { format, open_tasks }: LineStyle) -> io::Result<Self> {
        let out = Arc::new(match format {
            ResolvedFormat::Text | ResolvedFormat::Json if was_standard_error_closed() => Out::Closed,
            ResolvedFormat::Text => Out::Text(standard_error()?, Surroundings::of_process().has_colours()),
            ResolvedFormat::Json => Out::Json(standard_error()?),
            ResolvedFormat::Journal => Out::Journal(Journal::new(journal::SOCKET)?),
        });
        Ok(Self { out, open_tasks })
    }

    /// To a pipe in place of standard error.
    #[cfg(test)]
    pub fn text(out: std::fs::File) -> Self {
        Self::to(Out::Text(Arc::new(Mutex::new(LineOutput::new(out))), false))
    }

    #[cfg(test)]
    fn to(out: Out) -> Self {
        Self { out: Arc::new(out), open_tasks: OpenTasks::default() }
    }
}

#[async_trait]
impl Sink for Log {
    fn batch(&self) -> usize {
        BATCH
    }

    fn max_in_flight(&self) -> usize {
        1
    }

    async fn reach(&self) -> Result<Option<&'static str>, Refusal> {
        match self.out.as_ref() {
            Out::Closed => Err(refusal(ErrorKind::BrokenPipe.into())),
            Out::Text(..) | Out::Json(_) => Ok(Some("standard error is open")),
            Out::Journal(journal) => {
                journal.reach().map(|()| Some("the journal is running")).map_err(|error| of_journal(&error))
            }
        }
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        let out = Arc::clone(&self.out);
        let open_tasks = self.open_tasks.clone();
        let events = events.to_vec();
        blocking(move || out.write(&events, &open_tasks)).await
    }
}

impl Out {
    fn write(&self, events: &[Event], open_tasks: &OpenTasks) -> Result<(), Refusal> {
        match self {
            Self::Closed => Err(refusal(ErrorKind::BrokenPipe.into())),
            Self::Text(lines, has_colours) => {
                let text =
                    |event: &Event, line: &LogLine<'_>| in_colour(event, line.text(false), *has_colours);
                write_waiting(lines, &joined(events, open_tasks, text), PATIENCE).map_err(refusal)
            }
            Self::Json(lines) => {
                write_waiting(lines, &joined(events, open_tasks, |_, line| line.json()), PATIENCE)
                    .map_err(refusal)
            }
            Self::Journal(journal) => events
                .iter()
                .try_for_each(|event| journal.send(event, open_tasks))
                .map_err(|error| of_journal(&error)),
        }
    }
}

/// The lines of these events, each with its end.
fn joined(
    events: &[Event],
    open_tasks: &OpenTasks,
    form: impl Fn(&Event, &LogLine<'_>) -> String,
) -> Vec<u8> {
    let mut lines = Vec::with_capacity(events.len() * 160);
    for event in events {
        lines.extend_from_slice(form(event, &open_tasks.line(event)).as_bytes());
        lines.push(b'\n');
    }
    lines
}

fn of_journal(error: &io::Error) -> Refusal {
    Refusal::passing(format!(
        "the journal at {} accepts no entries: {error}; check systemd-journald",
        journal::SOCKET
    ))
}

fn refusal(error: io::Error) -> Refusal {
    let is_bad_descriptor = error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error());
    if is_bad_descriptor || error.kind() == ErrorKind::BrokenPipe {
        return Refusal::of_sink(
            "standard error is closed, so events cannot be logged; restart with a standard error that is read",
        );
    }
    if error.kind() == ErrorKind::TimedOut {
        return Refusal::passing(
            "the reader of standard error does not read, so events cannot be logged; check that reader",
        );
    }
    if error.kind() == ErrorKind::StorageFull {
        return Refusal::passing(
            "no space is left for standard error, so events cannot be logged; free some space there",
        );
    }
    Refusal::passing(format!("events cannot be logged on standard error: {error}; check its destination"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;
    use crate::model::delivery::RefusalClass;
    use crate::sinks::samples;

    fn to(file: File) -> Arc<Mutex<LineOutput>> {
        Arc::new(Mutex::new(LineOutput::new(file)))
    }

    fn pipe() -> (File, Arc<Mutex<LineOutput>>) {
        let (read_end, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        (File::from(read_end), to(File::from(write_end)))
    }

    async fn written(out: impl Fn(Arc<Mutex<LineOutput>>) -> Out, events: &[Event]) -> String {
        let (mut read_end, lines) = pipe();
        Log::to(out(lines)).send(events).await.unwrap();
        let mut text = String::new();
        read_end.read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test]
    async fn the_text_line_is_as_promised() {
        let line = r#"2025-11-24T16:00:00.000Z task finished task=1000800001 operation=bm outcome=success status=1 elapsed=723.4 polls=17 name="reinstall rack 7""#;
        assert_eq!(
            written(|lines| Out::Text(lines, false), &samples::successes(2)).await,
            format!("{line}\n{line}\n")
        );
    }

    #[tokio::test]
    async fn the_json_line_is_as_promised() {
        let line = r#"{"time":"2025-11-24T16:00:00.000Z","level":"info","message":"task finished","task":"1000800001","operation":"bm","outcome":"success","status":1,"elapsed":723.4,"polls":17,"name":"reinstall rack 7"}"#;
        assert_eq!(written(Out::Json, &samples::successes(1)).await, format!("{line}\n"));
    }

    #[tokio::test]
    async fn one_event_is_one_line_whatever_its_name() {
        for out in [(|lines| Out::Text(lines, false)) as fn(_) -> Out, Out::Json] {
            let text = written(out, &[samples::success("a\nb\r\u{1b}[2J\u{85}\u{2028}c")]).await;
            assert!(
                text.ends_with('\n') && text.chars().filter(|character| character.is_control()).count() == 1,
                "{text:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_closed_standard_error_holds_the_sink() {
        let (read_end, lines) = pipe();
        drop(read_end);
        let sink = Log::to(Out::Text(lines, false));
        let refusal =
            samples::once_its_reader_is_gone(async || sink.send(&samples::successes(1)).await).await;
        assert_eq!(refusal.class, RefusalClass::Sink, "{refusal}");
    }

    #[tokio::test]
    async fn a_full_disk_under_standard_error_passes() {
        let full = File::options().append(true).open("/dev/full").unwrap();
        let refusal = Log::to(Out::Json(to(full))).send(&samples::successes(1)).await.unwrap_err();
        assert_eq!(refusal.class, RefusalClass::Passing);
        assert!(refusal.what.contains("no space"), "{refusal}");
    }
}
