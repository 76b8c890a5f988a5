//! One run of a program for each event: the record on its standard input, the main facts in its environment,
//! without a shell.
//!
//! The exit code alone decides the result of the event. The program runs in the working directory of the
//! daemon, as the user of the daemon. `exec/run.rs` runs and ends it with its process group;
//! `exec/environment.rs` makes its environment.

mod environment;
mod run;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Access, access};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use self::environment::Inherited;
use self::run::RunEnd;
use super::sink::{Building, PathForm, PathKey, Sink, TypeConfig, blocking, timeout_fault};
use crate::lines::event::OpenTasks;
use crate::model::delivery::Refusal;
use crate::model::event::Event;
use crate::secret::hidden::Hidden;
use crate::section::TableFault;
use crate::units::Span;

/// Exit codes with a meaning beside 0; the numbers are those of sysexits.h.
const REFUSED: i32 = 65;
const COME_AGAIN: i32 = 75;

/// The keys of `type = "exec"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The program and its arguments. A program without a slash is looked up in `$PATH`.
    pub command: CommandLine,
    /// The time limit of one run. Default 10s.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// A program and its arguments, which may hold secrets: `Debug` shows the program alone.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct CommandLine(Vec<String>);

/// A sink of type `exec`.
#[derive(Debug)]
pub struct Exec {
    command: CommandLine,
    timeout: Duration,
    hidden: Hidden,
    open_tasks: OpenTasks,
    inherited: Inherited,
}

impl Default for Config {
    fn default() -> Self {
        Self { command: CommandLine::default(), timeout: default_timeout() }
    }
}

fn default_timeout() -> Span {
    Span::seconds(10)
}

impl TypeConfig for Config {
    fn paths() -> &'static [PathKey] {
        &[PathKey { key: "command.0", form: PathForm::Program }]
    }

    fn check(&self, _: &mut dyn FnMut(&'static str, String)) -> Vec<TableFault> {
        let mut faults = Vec::from_iter(timeout_fault(self.timeout));
        if self.command.program().is_empty() {
            let what = "names no program; write it first, such as [\"/usr/local/bin/on-done\"]";
            faults.push(TableFault::new(&["command"], what));
        }
        if self.command.has_nul() {
            let what = "holds a NUL character, which an argument cannot have; leave it out";
            faults.push(TableFault::new(&["command"], what));
        }
        faults
    }

    fn shown(&self) -> String {
        format!("exec {}", self.command.program())
    }

    fn sends_singly(&self) -> bool {
        true
    }

    fn starts_programs(&self) -> bool {
        true
    }

    fn build(&self, building: Building<'_>) -> Result<Box<dyn Sink>, Vec<TableFault>> {
        Ok(Box::new(Exec::new(self, building.hidden.clone(), building.style.open_tasks.clone())))
    }
}

impl CommandLine {
    /// The program; empty where none was written.
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Whether an argument has a NUL character, so that no program can be started with it.
    fn has_nul(&self) -> bool {
        self.0.iter().any(|word| word.contains('\0'))
    }

    fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with {} arguments", self.program(), self.arguments().len())
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The error of a command that is not a list: often a whole shell line.
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts, the program first, such as [\"/usr/local/bin/on-done\", \"--flag\"]; no shell is used")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(words)
            }
        }
        deserializer.deserialize_seq(Words).map(Self)
    }
}

impl Exec {
    /// To that program. The first attempt reports whether it exists. These secrets are hidden in its output.
    pub fn new(config: &Config, hidden: Hidden, open_tasks: OpenTasks) -> Self {
        Self {
            command: config.command.clone(),
            timeout: config.timeout.0,
            hidden,
            open_tasks,
            inherited: Inherited::of_process(),
        }
    }

    async fn attempt(&self, event: &Event) -> Result<(), Refusal> {
        let program = self.command.program();
        let mut command = tokio::process::Command::new(program);
        command
            .args(self.command.arguments())
            .env_clear()
            .envs(self.inherited.variables())
            .envs(environment::of(event, &self.open_tasks));
        let record = format!("{}\n", event.body);
        match run::run(command, record.into_bytes(), self.timeout, &self.hidden).await {
            Err(error) => Err(not_started(program, &error)),
            Ok(RunEnd { status, last_output }) => self.verdict(status, &last_output),
        }
    }

    fn verdict(&self, status: Option<ExitStatus>, last_output: &str) -> Result<(), Refusal> {
        let program = self.command.program();
        let Some(status) = status else {
            let timeout = Span(self.timeout);
            return Err(Refusal::passing(format!(
                "{program} took longer than {timeout} and was killed; make it faster, or raise `timeout`{}",
                quoted(last_output)
            )));
        };
        match status.code() {
            Some(0) => {
                tracing::debug!(program, output = last_output, "the program accepted the event");
                Ok(())
            }
            Some(REFUSED) => Err(Refusal::of_event(format!(
                "{program} refused the event (exit code {REFUSED}){}",
                quoted(last_output)
            ))),
            Some(COME_AGAIN) => Err(Refusal::passing(format!(
                "{program} requests a retry (exit code {COME_AGAIN}){}",
                quoted(last_output)
            ))),
            Some(code) => Err(Refusal::passing(format!(
                "{program} failed (exit code {code}); check the program{}",
                quoted(last_output)
            ))),
            None => {
                let signal = status.signal().unwrap_or_default();
                Err(Refusal::passing(format!(
                    "{program} was ended by signal {signal}; check the program{}",
                    quoted(last_output)
                )))
            }
        }
    }
}

#[async_trait]
impl Sink for Exec {
    fn batch(&self) -> usize {
        1
    }

    fn released_by(&self) -> Vec<PathBuf> {
        // A program of the search path may appear in any of its folders.
        Some(self.command.program())
            .filter(|program| program.contains('/'))
            .map(PathBuf::from)
            .into_iter()
            .collect()
    }

    async fn reach(&self) -> Result<Option<&'static str>, Refusal> {
        let program = self.command.program().to_owned();
        let search_path = self.inherited.search_path();
        blocking(move || {
            found(&program, &search_path)
                .map(|()| Some("the program exists"))
                .map_err(|error| not_started(&program, &error))
        })
        .await
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        for event in events {
            self.attempt(event).await?;
        }
        Ok(())
    }
}

/// Checks that a program exists and may be executed, without running it.
fn found(program: &str, search_path: &[PathBuf]) -> io::Result<()> {
    let may_be_run = |path: &Path| match std::fs::metadata(path)?.is_file() {
        true => Ok(access(path, Access::EXEC_OK)?),
        false => Err(ErrorKind::PermissionDenied.into()),
    };
    if program.contains('/') {
        return may_be_run(Path::new(program));
    }
    // As the system does: a file that may not be executed does not end the search, and is the error if
    // nothing else is found.
    let mut error = io::Error::from(ErrorKind::NotFound);
    for folder in search_path {
        match may_be_run(&folder.join(program)) {
            Ok(()) => return Ok(()),
            Err(denied) if denied.kind() == ErrorKind::PermissionDenied => error = denied,
            Err(_) => {}
        }
    }
    Err(error)
}

fn quoted(last_output: &str) -> String {
    if last_output.is_empty() { String::new() } else { format!("; its last output: {last_output}") }
}

/// The refusal of a program that did not start. A person must act where a retry cannot help.
fn not_started(program: &str, error: &io::Error) -> Refusal {
    let what = format!("cannot run {program}");
    let is_no_program = error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error());
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "foreign and non-exhaustive: whatever has no words of its own passes"
    )]
    match error.kind() {
        ErrorKind::NotFound => Refusal::of_sink(format!(
            "{what}: the program or its interpreter does not exist; install it, or name another one"
        )),
        ErrorKind::PermissionDenied => Refusal::of_sink(format!(
            "{what}: permission denied; let this user execute it (chmod +x) and enter its folders"
        )),
        ErrorKind::NotADirectory => {
            Refusal::of_sink(format!("{what}: a part of the path is not a folder; name another path"))
        }
        ErrorKind::InvalidFilename => Refusal::of_sink(format!("{what}: {error}; name another path")),
        ErrorKind::ArgumentListTooLong => {
            Refusal::of_sink(format!("{what}: its arguments are too long; shorten them"))
        }
        ErrorKind::ExecutableFileBusy => Refusal::passing(format!(
            "{what}: the file is open for writing; replace it by renaming a new one"
        )),
        _ if is_no_program => Refusal::of_sink(format!(
            "{what}: this machine cannot execute it; build it for this machine, or begin it with #!"
        )),
        _ => Refusal::passing(format!("{what}: {error}; check the limits of the system")),
    }
}
