//! One file per subcommand: parse, call, print, exit code; no logic.

pub mod check;
pub mod demo;
pub mod events;
mod help;
pub mod operations;
pub mod print;
pub mod run;
pub mod shell;
pub mod sim;
mod usage;
pub mod wait;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::clock::Clock;
use crate::daemon;
use crate::problem::{Problem, chain, lines};

/// Watches asynchronous tasks of Tencent Cloud until they finish, and delivers the result to your systems.
#[derive(Parser)]
#[command(bin_name = "opwatch", version, about, max_term_width = 100, disable_help_subcommand = true, after_help = help::BEGINNING)]
struct Cli {
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
    /// Test the delivery of events
    #[command(disable_help_subcommand = true)]
    Events {
        #[command(subcommand)]
        command: EventsCommand,
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

#[derive(Subcommand)]
enum EventsCommand {
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
    #[error("all remaining tasks are on hold: {}; the log has the reason and the fix, and a later run continues", .0.join(", "))]
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
            Self::Held(_) => 5,
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
    let arguments = match Cli::try_parse() {
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

/// An address to listen on, or the fix; clap names the argument.
fn address(written: &str) -> Result<SocketAddr, &'static str> {
    written
        .parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:9465, or port 0 for a free one")
}

async fn dispatch(command: CliCommand) -> Result<(), CommandFailure> {
    let clock = Clock::start();
    match command {
        CliCommand::Run { file, until_done, allow_removals } => {
            run::run(&file.config, until_done, allow_removals, clock).await
        }
        CliCommand::Check { file, live } => check::run(&file.config, live, clock).await,
        CliCommand::Wait(arguments) => wait::run(arguments, clock).await,
        CliCommand::Events { command: EventsCommand::Test { sinks, file, print } } => {
            events::test(&file.config, &sinks, print, clock).await
        }
        CliCommand::Demo => demo::run(clock).await,
        CliCommand::Sim { listen, scenario } => sim::run(listen, scenario.as_deref(), clock).await,
        CliCommand::Operations { show } => operations::run(show.as_deref()),
        CliCommand::Completions { shell } => shell::completions(self::command(), shell),
        CliCommand::Man => shell::man(self::command()),
    }
}
