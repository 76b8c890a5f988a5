//! `opwatch list`: the tasks of the running daemon.

use std::io::IsTerminal;

use super::table::{Cell, relative, table};
use super::{Connection, Selector, shown};
use crate::api::wire::{TaskItem, TaskPage, TaskState};
use crate::cli::{CommandFailure, print};
use crate::clock::{Clock, Wall};

/// Tasks of one request.
const PAGE: usize = 1_000;
/// Rows of a page on a terminal without a size.
const USUAL_ROWS: usize = 24;
/// Rows for the head of the table and the line on the rest.
const OTHER_ROWS: usize = 3;

/// The options.
#[derive(Clone, clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    selector: Selector,
    /// The state: open, failing, on_hold, paused, finished, abandoned or all [default: open]
    #[arg(long, value_name = "STATE", conflicts_with = "all")]
    state: Option<String>,
    /// All tasks, also those that have ended
    #[arg(long)]
    all: bool,
    /// The group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// A part of the id, the name, the group or a label
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// The cursor of the page before, as printed below it
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Show the list again every 2s
    #[arg(long)]
    watch: bool,
}

/// Prints the tasks: on a terminal one page, elsewhere all.
///
/// # Errors
/// When no daemon responds, or an option is wrong.
pub async fn run(arguments: &ListArguments, clock: Clock) -> Result<(), CommandFailure> {
    let daemon = arguments.connection.connect()?;
    let is_paged = std::io::stdout().is_terminal() && !arguments.connection.json;
    let view = async |_| {
        let mut tasks = Vec::new();
        let mut after = arguments.after.clone();
        let limit = if is_paged { rows() } else { usize::MAX };
        loop {
            let page = limit.saturating_sub(tasks.len()).min(PAGE);
            let mut parameters = arguments.parameters();
            parameters.push(("limit", page.to_string()));
            parameters.extend(after.take().map(|after| ("after", after)));
            let TaskPage { tasks: found, next } = daemon.get(&["tasks"], &parameters).await?;
            tasks.extend(found);
            after = next;
            if after.is_none() || tasks.len() >= limit {
                return Ok((tasks, after));
            }
        }
    };
    shown(clock, arguments.watch, view, |(tasks, next), now| {
        if arguments.connection.print_json(&tasks)? {
            return Ok(());
        }
        print::document(text(&tasks, now).as_bytes())?;
        match next {
            Some(next) => print::line(&format!("There are more: add --after {next}")),
            None => Ok(()),
        }
    })
    .await
}

fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_row));
    size.filter(|rows| *rows > 0).unwrap_or(USUAL_ROWS).saturating_sub(OTHER_ROWS).max(1)
}

impl ListArguments {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = self.selector.parameters();
        let state = if self.all { Some("all".to_owned()) } else { self.state.clone() };
        let named = [("state", state), ("group", self.group.clone()), ("text", self.text.clone())];
        parameters.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
        parameters.extend(self.labels.iter().map(|label| ("label", label.clone())));
        parameters
    }
}

fn text(tasks: &[TaskItem], now: Wall) -> String {
    if tasks.is_empty() {
        return "no tasks\n".to_owned();
    }
    let row = |task: &TaskItem| {
        let moment = task.ended_at.as_ref().or(task.next_poll.as_ref());
        let what = task.error.clone().or(task.name.clone()).unwrap_or_default();
        vec![
            task.id.clone().into(),
            task.operation.clone().into(),
            format!("{}/{}", task.account, task.region).into(),
            state(task),
            status(task).into(),
            moment.map(|at| relative(at, now)).unwrap_or_default().into(),
            what.into(),
        ]
    };
    let has_ended = tasks.iter().any(|task| task.ended_at.is_some());
    let moment = if has_ended { "next poll or end" } else { "next poll" };
    let head = ["id", "operation", "account", "state", "status", moment, "name or error"];
    table(&head, tasks.iter().map(row).collect())
}

/// The state in words.
pub fn state(task: &TaskItem) -> Cell {
    match task.state {
        TaskState::Open => "open".into(),
        TaskState::Failing => Cell::yellow("failing"),
        TaskState::OnHold => Cell::red("on hold"),
        TaskState::Paused => Cell::yellow("paused"),
        TaskState::Finished => match task.outcome.as_deref() {
            Some("success") => Cell::green("success"),
            Some("failure") => Cell::red("failure"),
            other => Cell::yellow(other.unwrap_or("finished")),
        },
        TaskState::Abandoned => {
            Cell::yellow(format!("abandoned ({})", task.reason.as_deref().unwrap_or("unknown")))
        }
    }
}

/// The last status of the cloud.
pub fn status(task: &TaskItem) -> String {
    match &task.status {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    }
}
