//! Values that a shell completes: from the running daemon, from the table of operations, from the file system.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter};
use serde::Deserialize;

use crate::api::client::{ClientError, DaemonClient, sockets};
use crate::api::wire::TaskPage;
use crate::cloud::operations::Operations;

/// The variable through which a shell asks for completions: a name that no other program sets.
pub const VARIABLE: &str = "_OPWATCH_COMPLETE";

/// The time that a key press waits for the daemon.
const PATIENCE: Duration = Duration::from_secs(1);
/// The largest number of task ids that are offered.
const TASKS: usize = 500;

/// A thing of the daemon that has a name.
#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The command line with the values that its arguments take.
pub fn with_values(command: Command) -> Command {
    let name = command.get_name().to_owned();
    // Their ids are those of tasks or events that the daemon may not know.
    let is_foreign = ["wait", "add", "init", "events"].contains(&name.as_str());
    let command = command.mut_args(|argument| with_value(argument, is_foreign));
    command.mut_subcommands(with_values)
}

fn with_value(argument: Arg, is_foreign: bool) -> Arg {
    let completer =
        match argument.get_id().as_str() {
            "id" | "ids" | "tasks" if !is_foreign => ArgValueCompleter::new(matching(tasks)),
            "name" => ArgValueCompleter::new(matching(things)),
            "account" => ArgValueCompleter::new(matching(accounts)),
            "sink" | "sinks" => ArgValueCompleter::new(matching(sinks)),
            "region" => ArgValueCompleter::new(matching(regions)),
            "operation" | "show" => ArgValueCompleter::new(matching(operations)),
            "config" => ArgValueCompleter::new(PathCompleter::file().filter(|path| {
                path.is_dir() || path.extension().is_some_and(|extension| extension == "toml")
            })),
            "id" | "ids" | "tasks" => ArgValueCompleter::new(|_: &OsStr| Vec::new()),
            _ => return argument,
        };
    argument.add(completer)
}

/// The values of `all` that begin with the typed word. Without a daemon there are none.
fn matching<F: Future<Output = Option<Vec<String>>>>(
    all: fn() -> F,
) -> impl Fn(&OsStr) -> Vec<CompletionCandidate> {
    move |typed: &OsStr| {
        let typed = typed.to_string_lossy().into_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.ok().and_then(|runtime| {
            runtime.block_on(async { tokio::time::timeout(PATIENCE, all()).await.ok().flatten() })
        });
        let found: BTreeSet<_> = found.unwrap_or_default().into_iter().collect();
        found.into_iter().filter(|value| value.starts_with(&typed)).map(CompletionCandidate::new).collect()
    }
}

fn daemon() -> Result<DaemonClient, ClientError> {
    let variable = |name: &str| std::env::var_os(name);
    let mut typed = std::env::args_os().skip_while(|word| word != "-c" && word != "--config").skip(1);
    let path = typed.next().or_else(|| variable("OPWATCH_CONFIG"));
    let configured = path.and_then(|path| crate::config::socket(Path::new(&path)).ok());
    DaemonClient::connect(&sockets(configured.flatten(), variable))
}

async fn page() -> Option<TaskPage> {
    daemon().ok()?.get(&["tasks"], &[("limit", TASKS.to_string())]).await.ok()
}

async fn tasks() -> Option<Vec<String>> {
    Some(page().await?.tasks.into_iter().map(|task| task.id).collect())
}

async fn regions() -> Option<Vec<String>> {
    Some(page().await?.tasks.into_iter().map(|task| task.region).collect())
}

async fn named(what: &str) -> Option<Vec<String>> {
    let found: Vec<Named> = daemon().ok()?.get(&[what], &[]).await.ok()?;
    Some(found.into_iter().map(|Named { name }| name).collect())
}

async fn accounts() -> Option<Vec<String>> {
    named("accounts").await
}

async fn sinks() -> Option<Vec<String>> {
    named("sinks").await
}

/// The name behind `pause task`, `pause account` and `pause sink`.
async fn things() -> Option<Vec<String>> {
    let words = std::env::args().collect::<Vec<_>>();
    let kind = |kind: &str| words.iter().any(|word| word == kind);
    if kind("account") {
        accounts().await
    } else if kind("sink") {
        sinks().await
    } else {
        tasks().await
    }
}

async fn operations() -> Option<Vec<String>> {
    Some(Operations::built_in().iter().map(|(name, _)| name.to_owned()).collect())
}
