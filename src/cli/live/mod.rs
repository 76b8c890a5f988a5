//! The commands to a running daemon, over its Unix socket.

pub mod act;
pub mod add;
pub mod events;
pub mod list;
pub mod show;
pub mod status;
mod table;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{CommandFailure, DEFAULT_CONFIG, print};
use crate::api::client::{ClientError, DaemonClient, sockets};
use crate::api::wire::{TaskItem, TaskPage};
use crate::clock::{Clock, Wall};
use crate::config;
use crate::problem::{Place, Problem};

/// The time between two views of `--watch`.
const VIEW: Duration = Duration::from_secs(2);

/// The configuration whose daemon is asked, and the form of the output.
#[derive(Clone, clap::Args)]
pub struct Connection {
    /// The configuration; only [http] socket is read
    #[arg(short, long, value_name = "FILE", env = "OPWATCH_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// The account, region and operation of a task id that several tasks have.
#[derive(Clone, Default, clap::Args)]
pub struct Selector {
    /// The account of the task
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// The region of the task
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The operation of the task
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,
}

impl Connection {
    /// The running daemon.
    pub fn connect(&self) -> Result<DaemonClient, CommandFailure> {
        let configured = match &self.config {
            Some(path) => config::socket(path).map_err(CommandFailure::Configuration)?,
            // A broken default file is the affair of the daemon.
            None => config::socket(Path::new(DEFAULT_CONFIG)).unwrap_or_default(),
        };
        Ok(DaemonClient::connect(&sockets(configured, |name| std::env::var_os(name)))?)
    }

    /// Prints values as JSON lines. Returns whether JSON was requested.
    pub fn print_json<T: Serialize>(&self, values: &[T]) -> Result<bool, CommandFailure> {
        if self.json {
            for value in values {
                print::line(&serde_json::to_string(value).unwrap_or_default())?;
            }
        }
        Ok(self.json)
    }
}

impl Selector {
    /// The parameters of a request.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let named = [("account", &self.account), ("region", &self.region), ("operation", &self.operation)];
        named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// The only task of that id.
    pub async fn find(&self, daemon: &DaemonClient, id: &str) -> Result<TaskItem, CommandFailure> {
        let mut parameters = self.parameters();
        parameters.extend([("id", id.to_owned()), ("state", "all".to_owned())]);
        let TaskPage { tasks, .. } = daemon.get(&["tasks"], &parameters).await?;
        match &tasks[..] {
            [only] => Ok(only.clone()),
            [] => Err(wrong(format!("{id}: there is no such task; `opwatch list --all` lists all"))),
            several => {
                let names = several.iter().map(|task| {
                    let TaskItem { account, region, operation, .. } = task;
                    format!("--account {account} --region {region} --operation {operation}")
                });
                let names: Vec<_> = names.collect();
                Err(wrong(format!("{id}: several tasks have this id; add one of\n{}", names.join("\n"))))
            }
        }
    }
}

/// An error of the usage.
fn wrong(what: String) -> CommandFailure {
    CommandFailure::Configuration(vec![Problem::new(Place::default(), what)])
}

impl From<ClientError> for CommandFailure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// Prints a view once, or again and again until a signal.
async fn shown<T>(
    clock: Clock,
    watch: bool,
    view: impl AsyncFn(Wall) -> Result<T, CommandFailure>,
    print: impl Fn(T, Wall) -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    loop {
        let now = clock.now();
        let found = view(now.wall).await?;
        if watch && std::io::stdout().is_terminal() {
            // The cursor moves to the first place, and the rest of the screen is cleared.
            print::document(b"\x1b[H\x1b[J")?;
        }
        print(found, now.wall)?;
        if !watch {
            return Ok(());
        }
        clock.sleep_until(now.steady + VIEW).await;
    }
}
