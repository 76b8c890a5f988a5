//! One file per subcommand: parse, call, print, exit code; no logic.

pub mod check;
mod complete;
pub mod demo;
pub mod events;
mod help;
pub mod init;
pub mod live;
pub mod operations;
pub mod print;
pub mod run;
pub mod shell;
pub mod sim;
mod usage;
pub mod wait;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::events::{TestOutcome, TestType};
use self::live::act::{Thing, Verb};
use self::live::events::Selection;
use self::live::{Connection, Selector};
use crate::api::client::ClientError;
use crate::clock::Clock;
use crate::daemon;
use crate::lines::line::Level;
use crate::problem::{Problem, chain, lines};
use crate::telemetry;
use crate::units::Span;

/// Watches asynchronous tasks of Tencent Cloud until they finish, and delivers the result to your systems.
#[derive(Parser)]
#[command(bin_name = "opwatch", version, about, max_term_width = 100, disable_help_subcommand = true, after_help = help::BEGINNING)]
struct Cli {
    /// Log more: level debug, in place of [log] level
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Log less: warnings and errors, in place of [log] level
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: CliCommand,
}

/// The default path of the configuration.
const DEFAULT_CONFIG: &str = "/etc/opwatch/opwatch.toml";

#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration
    #[arg(short, long, value_name = "FILE", env = "OPWATCH_CONFIG", hide_env_values = true, default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Run the daemon: poll every listed task until it finishes, and deliver its events to the sinks
    #[command(after_help = help::RUN)]
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// End once every task has finished and every event is delivered
        #[arg(long)]
        until_done: bool,
        /// Let the start abandon more than half of the open tasks, if they are no longer listed
        #[arg(long)]
        allow_removals: bool,
    },
    /// Write a first configuration, by options and questions, and check it
    ///
    /// A SecretKey that is typed is kept in the file secret_key beside it. Credentials in TENCENTCLOUD_SECRET_ID and
    /// TENCENTCLOUD_SECRET_KEY are used as they are.
    #[command(after_help = help::INIT)]
    Init(init::InitArguments),
    /// Validate a configuration, and print its tasks, rates and sinks
    ///
    /// Nothing is started or changed. Without --live, nothing is sent.
    #[command(after_help = help::CHECK, after_long_help = help::CHECK_WITH_AN_EXAMPLE.as_str())]
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Also sign one request per account and connect to every sink; no event is sent
        #[arg(long)]
        live: bool,
    },
    /// Watch these tasks until they finish, without a daemon and without a configuration
    #[command(after_help = help::WAIT)]
    Wait(wait::Arguments),
    /// List, follow, redeliver and test events
    #[command(disable_help_subcommand = true)]
    Events {
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// Show the state of the running daemon
    #[command(after_help = help::LIVE)]
    Status {
        #[command(flatten)]
        connection: Connection,
        /// Show it again every 2s
        #[arg(long)]
        watch: bool,
    },
    /// List the tasks of the running daemon
    #[command(after_help = help::LIVE)]
    List(live::list::ListArguments),
    /// Show one task of the running daemon, with its history
    #[command(after_help = help::LIVE)]
    Show {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        selector: Selector,
        /// The task id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Add tasks to the running daemon
    #[command(after_help = help::LIVE)]
    Add(live::add::AddArguments),
    /// Poll tasks of the running daemon now
    #[command(after_help = help::LIVE)]
    Poll(OnTasks),
    /// Move the deadline of a task
    #[command(after_help = help::LIVE)]
    Extend {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        selector: Selector,
        /// The task id
        #[arg(value_name = "ID")]
        id: String,
        /// The time from now to the deadline, such as 2h
        #[arg(value_name = "DURATION", value_parser = span)]
        duration: Span,
    },
    /// Abandon tasks, with the reason `cancelled`
    #[command(after_help = help::LIVE)]
    Cancel(OnTasks),
    /// Stop the polls of a task or an account, or the deliveries to a sink
    ///
    /// The pause survives restarts. A deadline runs on, and its event waits for a response.
    #[command(after_help = help::LIVE)]
    Pause(OnThing),
    /// End a pause
    #[command(after_help = help::LIVE)]
    Resume(OnThing),
    /// Probe an account or a sink on hold now, or poll a task
    #[command(after_help = help::LIVE)]
    Retry(OnThing),
    /// Let the running daemon read its configuration again, and wait for the result
    #[command(after_help = help::LIVE)]
    Reload {
        #[command(flatten)]
        connection: Connection,
        /// Abandon also more than half of the open tasks, if they are no longer listed
        #[arg(long)]
        allow_removals: bool,
    },
    /// See opwatch at work with the built-in simulator, without credentials
    Demo,
    /// Run the simulator alone: a cloud that checks signatures and misbehaves on demand
    Sim {
        /// The address to listen on; port 0 selects a free one
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9465", value_parser = address)]
        listen: SocketAddr,
        /// Its responses. Without a scenario, every task ends within seconds
        #[arg(long, value_name = "FILE")]
        scenario: Option<PathBuf>,
        /// A file for the configuration that polls it, which is replaced at each start; default: standard output
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Print the table of operations
    Operations {
        /// Print one row in full instead, as TOML
        #[arg(long, value_name = "NAME")]
        show: Option<String>,
    },
    /// Print what a shell completes after `opwatch`
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = help::MAN)]
    Man,
}

/// Tasks of the running daemon.
#[derive(clap::Args)]
struct OnTasks {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    selector: Selector,
    /// The task ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// A task, an account or a sink of the running daemon.
#[derive(clap::Args)]
struct OnThing {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    selector: Selector,
    /// The kind
    #[arg(value_name = "KIND")]
    thing: Thing,
    /// The task id, or the name
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Subcommand)]
enum EventsCommand {
    /// List the events of the running daemon
    #[command(after_help = help::LIVE)]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        selection: Selection,
    },
    /// Show one event, with the deliveries that are not acknowledged
    #[command(after_help = help::LIVE)]
    Show {
        #[command(flatten)]
        connection: Connection,
        /// The number or the id of the event
        #[arg(value_name = "EVENT")]
        id: String,
    },
    /// Print new events as JSON lines, as they happen
    #[command(after_help = help::LIVE)]
    Follow {
        #[command(flatten)]
        connection: Connection,
        /// Begin behind the event of that number
        #[arg(long, value_name = "NUMBER")]
        after: Option<i64>,
    },
    /// Deliver dead letters again, or events to one sink
    ///
    /// EVENT with --sink is delivered to that sink, acknowledged or not.
    #[command(after_help = help::LIVE)]
    Redeliver {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        selection: Selection,
        /// The numbers or ids of events
        #[arg(value_name = "EVENT")]
        ids: Vec<String>,
    },
    /// Delete dead letters
    #[command(after_help = help::LIVE)]
    Discard {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        selection: Selection,
        /// The numbers or ids of events
        #[arg(value_name = "EVENT")]
        ids: Vec<String>,
    },
    /// Send one test event to each sink, and print the results
    ///
    /// The store is not used, so a daemon may run at the same time.
    #[command(after_help = help::EVENTS_TEST)]
    Test {
        /// The sinks to test; by default all of them
        #[arg(value_name = "SINK")]
        sinks: Vec<String>,
        #[command(flatten)]
        file: ConfigFile,
        /// Print the event, and send nothing; needs no configuration
        #[arg(long, conflicts_with = "sinks")]
        print: bool,
        /// The type of the event
        #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t)]
        kind: TestType,
        /// The outcome of a finished task
        #[arg(long, value_name = "OUTCOME", value_enum, default_value_t)]
        outcome: TestOutcome,
    },
}

/// The error of a command; each has its exit code (docs/architecture.md §6).
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    /// An error in the arguments or the configuration.
    #[error("{}", lines(.0))]
    Configuration(Vec<Problem>),
    /// The daemon did not start, or ended.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// The program's runtime could not be built.
    #[error("cannot start: the system refuses a timer, a poller or a thread")]
    Runtime(#[source] std::io::Error),
    /// Nothing but held work was left.
    #[error("all that is left is on hold, paused or not configured: {}; the log has the causes, and a later run continues once they are corrected", .0.join(", "))]
    Held(Vec<String>),
    /// A test event was not accepted; the result of each sink was printed.
    #[error("the test event was not accepted by {}", .0.sinks.join(", "))]
    NotAccepted(events::NotAccepted),
    /// An account or a sink was not reached; the results were printed.
    #[error("not usable as it is: {}", [.0.refused.as_slice(), &.0.later].concat().join(", "))]
    NotReached(check::NotReached),
    /// Deliveries became dead letters.
    #[error("deliveries became dead letters ({0}); the log has the events and the reasons")]
    Dead(u64),
    /// Standard output cannot be written, and its reader does not know.
    #[error("cannot write to standard output; check its destination")]
    Output(#[source] std::io::Error),
    /// The running daemon refused a command, or does not respond.
    #[error(transparent)]
    Client(ClientError),
    /// The probe or the attempt of `retry` failed.
    #[error("tried, and it failed again: {}", .0.join("; "))]
    StillHeld(Vec<String>),
    /// A task did not succeed.
    #[error(transparent)]
    Waited(#[from] wait::Verdict),
    /// A signal ended the wait.
    #[error(transparent)]
    Stopped(#[from] wait::Stopped),
    /// The reader of standard output closed it.
    #[error("standard output is closed")]
    Closed,
}

impl CommandFailure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Held(_) | Self::StillHeld(_) => 5,
            Self::NotAccepted(sinks) => {
                if sinks.for_good {
                    5
                } else {
                    1
                }
            }
            Self::NotReached(found) => {
                if found.refused.is_empty() {
                    1
                } else {
                    5
                }
            }
            Self::Dead(_) => 1,
            Self::Client(ClientError::NoDaemon(_) | ClientError::Broken(_)) => 1,
            Self::Client(ClientError::Denied(_)) => 5,
            Self::Client(ClientError::Refused(problem)) => match problem.status {
                400 | 404 | 422 => 2,
                _ => 5,
            },
            Self::Waited(verdict) => match verdict.worst {
                wait::Worst::Refused => 5,
                wait::Worst::Failure => 1,
                wait::Worst::Deadline => 4,
                wait::Worst::Partial => 3,
            },
            // As a shell reports a program that a signal ended.
            Self::Stopped(wait::Stopped { signal, .. }) => 128 + signal,
            Self::Configuration(_)
            | Self::Daemon(daemon::Error::Configuration(_) | daemon::Error::Cloud(_)) => 2,
            Self::Daemon(daemon::Error::Opening(_, error) | daemon::Error::Store(error)) => {
                if error.needs_a_person() { 2 } else { 1 }
            }
            Self::Daemon(daemon::Error::Thread(_)) | Self::Runtime(_) | Self::Output(_) => 1,
        }
    }
}

impl From<Problem> for CommandFailure {
    fn from(problem: Problem) -> Self {
        Self::Configuration(vec![problem])
    }
}

/// The definition of the command line, for the manual page and the pages of the reference.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command, and prints errors.
pub fn main() -> ExitCode {
    // Ends the process if a shell asks.
    clap_complete::CompleteEnv::with_factory(|| complete::with_values(command()))
        .var(complete::VARIABLE)
        .complete();
    let arguments = match Cli::try_parse_from(in_our_order(std::env::args_os().collect())) {
        Ok(arguments) => arguments,
        Err(error) => match usage::message(&error) {
            Some(what) => {
                print::error(&what);
                return ExitCode::from(2);
            }
            // Prints help, and exits with 0, or with 2 without any command.
            None => error.exit(),
        },
    };
    match (arguments.verbose, arguments.quiet) {
        (true, _) => telemetry::override_level(Level::Debug),
        (false, true) => telemetry::override_level(Level::Warn),
        (false, false) => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(CommandFailure::Runtime).and_then(|runtime| {
        let result = runtime.block_on(dispatch(arguments.command));
        // A blocked write to a dead disk or terminal must not delay the end of the program.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, CommandFailure::Closed) {
                print::error(&chain(&failure));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The arguments in the order of this program: a configuration before the command moves behind it, and `help COMMAND` is
/// `COMMAND --help`.
fn in_our_order(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let text = |argument: &OsString| argument.to_str().map(str::to_owned).unwrap_or_default();
    let mut moved = Vec::new();
    let mut at = 1;
    while let Some(argument) = arguments.get(at).map(text) {
        let is_joined = argument.starts_with("--config=") || argument.starts_with("-c") && argument.len() > 2;
        match argument.as_str() {
            "-c" | "--config" if arguments.len() > at + 1 => moved.extend(arguments.drain(at..at + 2)),
            _ if is_joined => moved.extend(arguments.drain(at..=at)),
            _ if argument.starts_with('-') => at += 1,
            _ => break,
        }
    }
    if arguments.get(at).is_some_and(|argument| argument == "help") {
        arguments.remove(at);
        moved.push("--help".into());
    }
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    arguments.splice(end..end, moved);
    arguments
}

/// An address to listen on, or the fix; clap names the argument.
fn address(written: &str) -> Result<SocketAddr, &'static str> {
    let written =
        written.strip_prefix("localhost:").map_or(written.to_owned(), |port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = written
        .parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:9465, or port 0 for a free one")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(
            "write an address of this machine alone, such as 127.0.0.1:9465: opwatch sends plain http to no other",
        )
    }
}

fn span(written: &str) -> Result<Span, &'static str> {
    written.parse()
}

async fn on_tasks(on: OnTasks, verb: Verb, clock: Clock) -> Result<(), CommandFailure> {
    live::act::on_tasks(&on.connection, &on.selector, &on.ids, verb, clock).await
}

async fn on_thing(on: OnThing, verb: Verb, clock: Clock) -> Result<(), CommandFailure> {
    live::act::on(&on.connection, &on.selector, on.thing, &on.name, verb, clock).await
}

async fn on_events(command: EventsCommand, clock: Clock) -> Result<(), CommandFailure> {
    match command {
        EventsCommand::List { connection, selection } => {
            live::events::list(&connection, &selection, clock).await
        }
        EventsCommand::Show { connection, id } => live::events::show(&connection, &id).await,
        EventsCommand::Follow { connection, after } => live::events::follow(&connection, after, clock).await,
        EventsCommand::Redeliver { connection, selection, ids } => {
            live::events::again(&connection, ids, &selection, false, clock).await
        }
        EventsCommand::Discard { connection, selection, ids } => {
            live::events::again(&connection, ids, &selection, true, clock).await
        }
        EventsCommand::Test { sinks, file, print, kind, outcome } => {
            events::test(&file.config, &sinks, print, kind, outcome, clock).await
        }
    }
}

async fn dispatch(command: CliCommand) -> Result<(), CommandFailure> {
    let clock = Clock::start();
    match command {
        CliCommand::Run { file, until_done, allow_removals } => {
            run::run(&file.config, until_done, allow_removals, clock).await
        }
        CliCommand::Init(arguments) => init::run(arguments, clock).await,
        CliCommand::Check { file, live } => check::run(&file.config, live, clock).await,
        CliCommand::Wait(arguments) => wait::run(arguments, clock).await,
        CliCommand::Events { command } => on_events(command, clock).await,
        CliCommand::Status { connection, watch } => live::status::run(&connection, watch, clock).await,
        CliCommand::List(arguments) => live::list::run(&arguments, clock).await,
        CliCommand::Show { connection, selector, id } => {
            live::show::run(&connection, &selector, &id, clock).await
        }
        CliCommand::Add(arguments) => live::add::run(arguments).await,
        CliCommand::Poll(on) => on_tasks(on, Verb::Poll, clock).await,
        CliCommand::Cancel(on) => on_tasks(on, Verb::Cancel, clock).await,
        CliCommand::Extend { connection, selector, id, duration } => {
            live::act::extend(&connection, &selector, &id, duration).await
        }
        CliCommand::Pause(on) => on_thing(on, Verb::Pause, clock).await,
        CliCommand::Resume(on) => on_thing(on, Verb::Resume, clock).await,
        CliCommand::Retry(on) => on_thing(on, Verb::Retry, clock).await,
        CliCommand::Reload { connection, allow_removals } => {
            live::act::reload(&connection, allow_removals, clock).await
        }
        CliCommand::Demo => demo::run(clock).await,
        CliCommand::Sim { listen, scenario, write } => {
            sim::run(listen, scenario.as_deref(), write.as_deref(), clock).await
        }
        CliCommand::Operations { show } => operations::run(show.as_deref()),
        CliCommand::Completions { shell } => shell::completions(shell),
        CliCommand::Man => shell::man(self::command()),
    }
}
