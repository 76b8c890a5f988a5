//! `opwatch add`: new tasks for the running daemon.

use std::io::Read;
use std::path::Path;

use super::table::table;
use super::{Connection, wrong};
use crate::api::client::DaemonClient;
use crate::api::wire::{Added, AddedTask, Addition};
use crate::cli::{CommandFailure, print};
use crate::files;
use crate::register::piped::{self, MOST_BYTES};
use crate::register::{TaskEntry, WrittenId};
use crate::units::Limit;

/// Standard input among the ids, and in messages.
const STANDARD_INPUT: &str = "-";
/// Tasks of one request.
const BATCH: usize = 5_000;
/// A longer result is a count.
const MOST_SHOWN: usize = 50;

/// The options.
#[derive(Clone, clap::Args)]
pub struct AddArguments {
    #[command(flatten)]
    connection: Connection,
    /// The task ids; `-` reads them from standard input, as `wait -` does
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A label, copied into every event; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// The group: one event follows when all its tasks have finished
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The time from now to the deadline, such as 2h, or never
    #[arg(long, value_name = "TIME", value_parser = limit)]
    timeout: Option<Limit>,
    /// The time from now to the `overdue` event, such as 1h, or never
    #[arg(long, value_name = "TIME", value_parser = limit)]
    warn_after: Option<Limit>,
    /// A sink of the events; may be repeated [default: all whose filters match]
    #[arg(long = "sink", value_name = "NAME")]
    sinks: Vec<String>,
    /// The operation, one of `opwatch operations` [default: bm]
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// The account [default: `default`, or the only one]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The region, as in the API [default: that of the account]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// A further request parameter; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// Register tasks that have ended again
    #[arg(long)]
    again: bool,
}

fn pair(written: &str) -> Result<(String, String), &'static str> {
    let pair = written.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

fn limit(written: &str) -> Result<Limit, &'static str> {
    written.parse()
}

/// Adds the tasks, and prints the result of each.
///
/// # Errors
/// When no daemon responds, or a task is wrong; then the tasks of its request are not added.
pub async fn run(arguments: AddArguments) -> Result<(), CommandFailure> {
    let daemon = arguments.connection.connect()?;
    let (arguments, tasks) = files::off_loop(move || {
        let tasks = arguments.tasks();
        (arguments, tasks)
    })
    .await
    .map_err(CommandFailure::Runtime)?;
    let added = send(&daemon, tasks?, arguments.again).await?;
    if arguments.connection.print_json(&added)? {
        return Ok(());
    }
    let count = |state: &str| added.iter().filter(|task| task.state == state).count();
    if added.len() <= MOST_SHOWN {
        let row = |task: &AddedTask| {
            let state = match task.state.as_str() {
                "new" => "added".to_owned(),
                "known" => "known; its settings apply".to_owned(),
                other => format!("{other}; --again registers it again"),
            };
            vec![
                task.id.clone().into(),
                task.operation.clone().into(),
                format!("{}/{}", task.account, task.region).into(),
                state.into(),
            ]
        };
        return print::document(
            table(&["id", "operation", "account", "result"], added.iter().map(row).collect()).as_bytes(),
        );
    }
    print::line(&format!("{} added, {} known, {} finished", count("new"), count("known"), count("finished")))
}

async fn send(
    daemon: &DaemonClient,
    tasks: Vec<TaskEntry>,
    again: bool,
) -> Result<Vec<AddedTask>, CommandFailure> {
    let mut added = Vec::with_capacity(tasks.len());
    for batch in tasks.chunks(BATCH) {
        let tasks = batch.iter().map(|task| serde_json::to_value(task).unwrap_or_default()).collect();
        let result: Added = daemon.post(&["tasks"], &Addition { tasks, again }).await?;
        added.extend(result.tasks);
    }
    Ok(added)
}

impl AddArguments {
    fn tasks(&self) -> Result<Vec<TaskEntry>, CommandFailure> {
        let defaults = TaskEntry {
            name: self.name.clone(),
            operation: self.operation.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            labels: self.labels.iter().cloned().collect(),
            group: self.group.clone(),
            timeout: self.timeout,
            warn_after: self.warn_after,
            sinks: (!self.sinks.is_empty()).then(|| self.sinks.clone()),
            params: self.params.iter().cloned().collect(),
            ..TaskEntry::default()
        };
        let mut tasks = Vec::new();
        for id in &self.ids {
            if id == STANDARD_INPUT {
                tasks.extend(self.piped(&defaults)?);
            } else {
                // Ids of a list in another tool have commas.
                let ids = id.split(',').filter(|id| !id.is_empty());
                tasks.extend(
                    ids.map(|id| TaskEntry { id: Some(WrittenId::Text(id.to_owned())), ..defaults.clone() }),
                );
            }
        }
        Ok(tasks)
    }

    fn piped(&self, defaults: &TaskEntry) -> Result<Vec<TaskEntry>, CommandFailure> {
        let mut input = Vec::new();
        let read = std::io::stdin().lock().take(MOST_BYTES as u64 + 1).read_to_end(&mut input);
        read.map_err(|error| wrong(format!("standard input cannot be read: {error}")))?;
        let listed = piped::read(&input, Path::new(STANDARD_INPUT), defaults);
        let listed = listed.map_err(CommandFailure::Configuration)?;
        let with_settings = |task: TaskEntry| TaskEntry {
            name: task.name.or_else(|| defaults.name.clone()),
            labels: if task.labels.is_empty() { defaults.labels.clone() } else { task.labels },
            group: task.group.or_else(|| defaults.group.clone()),
            timeout: task.timeout.or(defaults.timeout),
            warn_after: task.warn_after.or(defaults.warn_after),
            sinks: task.sinks.or_else(|| defaults.sinks.clone()),
            ..task
        };
        Ok(listed.into_iter().map(|task| with_settings(task.written)).collect())
    }
}
