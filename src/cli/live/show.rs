//! `opwatch show`: one task with its history.

use super::list::{state, status};
use super::table::{Cell, relative, table};
use super::{Connection, Selector};
use crate::api::wire::{EventItem, PollItem, TaskDetail, TaskItem};
use crate::cli::{CommandFailure, print};
use crate::clock::{Clock, Wall};

/// Prints the task of that id.
///
/// # Errors
/// When no daemon responds, or there is no such task.
pub async fn run(
    connection: &Connection,
    selector: &Selector,
    id: &str,
    clock: Clock,
) -> Result<(), CommandFailure> {
    let daemon = connection.connect()?;
    let key = selector.find(&daemon, id).await?.key.to_string();
    let detail: TaskDetail = daemon.get(&["tasks", &key], &[]).await?;
    if connection.print_json(std::slice::from_ref(&detail))? {
        return Ok(());
    }
    print::document(text(&detail, clock.now().wall).as_bytes())
}

fn text(detail: &TaskDetail, now: Wall) -> String {
    let TaskDetail { task, events, recent_polls: polls, sinks, params } = detail;
    let TaskItem { id, operation, account, region, .. } = task;
    let when = |at: &Option<String>| at.as_ref().map(|at| format!("{at} ({})", relative(at, now)));
    let pairs = |pairs: &std::collections::BTreeMap<String, String>| {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join(", "))
    };
    let facts: Vec<(&str, Option<Cell>)> = vec![
        ("task", Some(format!("{operation}/{id}").into())),
        ("account", Some(format!("{account}/{region}").into())),
        ("name", task.name.clone().map(Cell::from)),
        ("labels", pairs(&task.labels).map(Cell::from)),
        ("group", task.group.clone().map(Cell::from)),
        ("sinks", sinks.as_ref().map(|sinks| sinks.join(", ").into())),
        ("params", pairs(params).map(Cell::from)),
        ("state", Some(state(task))),
        ("status", Some(status(task).into())),
        ("error", task.error.clone().map(Cell::red)),
        ("registered", when(&Some(task.registered_at.clone())).map(Cell::from)),
        ("last poll", when(&task.last_poll).map(Cell::from)),
        ("next poll", when(&task.next_poll).map(Cell::from)),
        ("deadline", when(&task.deadline).map(Cell::from)),
        ("ended", when(&task.ended_at).map(Cell::from)),
        ("polls", Some(format!("{}, {} failed", task.polls, task.errors).into())),
        ("origin", Some(task.origin.clone().into())),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some(vec![name.into(), value?])).collect();
    let mut text = table(&["fact", "value"], facts);
    if !events.is_empty() {
        text += "\n";
        text += &table(
            &["event", "time", "deliveries that wait"],
            events.iter().map(|event| of_event(event, now)).collect(),
        );
    }
    if !polls.is_empty() {
        let row = |poll: &PollItem| {
            let result = match (&poll.status, &poll.error) {
                (Some(status), _) => Cell::from(format!("status {status}")),
                (None, error) => Cell::yellow(error.clone().unwrap_or_default()),
            };
            vec![relative(&poll.at, now).into(), result]
        };
        text += "\n";
        text += &table(&["poll", "result"], polls.iter().map(row).collect());
    }
    text
}

fn of_event(item: &EventItem, now: Wall) -> Vec<Cell> {
    let field = |name: &str| item.event[name].as_str().unwrap_or_default().to_owned();
    let deliveries: Vec<_> = item
        .deliveries
        .iter()
        .map(|delivery| match (&delivery.error, delivery.is_dead) {
            (Some(error), _) => format!("{} (dead letter: {error})", delivery.sink),
            (None, true) => format!("{} (dead letter)", delivery.sink),
            (None, false) => format!("{} ({} attempts)", delivery.sink, delivery.attempts),
        })
        .collect();
    let kind = field("type");
    vec![
        kind.strip_prefix("opwatch.").unwrap_or(&kind).into(),
        relative(&field("time"), now).into(),
        if deliveries.is_empty() { "none".into() } else { Cell::yellow(deliveries.join(", ")) },
    ]
}
