//! `opwatch status`: the state of the running daemon.

use std::collections::BTreeMap;

use super::table::{Cell, relative, table};
use super::{Connection, shown};
use crate::api::wire::{DelayItem, DelayState, Status};
use crate::cli::{CommandFailure, print};
use crate::clock::{Clock, Wall};

/// Prints the status, with `watch` every 2 s.
///
/// # Errors
/// When no daemon responds.
pub async fn run(connection: &Connection, watch: bool, clock: Clock) -> Result<(), CommandFailure> {
    let daemon = connection.connect()?;
    let view = async |_| Ok(daemon.get::<Status>(&["status"], &[]).await?);
    shown(clock, watch, view, |status, now| report(connection, &status, now)).await
}

/// Prints a status.
pub fn report(connection: &Connection, status: &Status, now: Wall) -> Result<(), CommandFailure> {
    if connection.print_json(std::slice::from_ref(status))? {
        return Ok(());
    }
    print::document(text(status, now).as_bytes())
}

fn text(status: &Status, now: Wall) -> String {
    let list = |names: &[String]| names.join(", ");
    let counts = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(sink, count)| format!("{sink} ({count})")).collect::<Vec<_>>().join(", ")
    };
    let tasks = |count: u64| if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") };
    let mut paused: Vec<String> =
        status.paused_accounts.iter().map(|name| format!("account {name}")).collect();
    paused.extend(status.paused_sinks.iter().map(|name| format!("sink {name}")));
    paused.extend((status.paused_tasks > 0).then(|| tasks(status.paused_tasks)));
    let mut on_hold = status.on_hold.clone();
    on_hold.extend(status.sinks_on_hold.iter().map(|name| format!("sink {name}")));
    let lines = [
        ("version", format!("{}, started {}", status.version, relative(&status.started_at, now))),
        ("tasks", format!("{} open, {} ended since the start", status.open, status.finished)),
        ("on hold", list(&on_hold)),
        ("paused", list(&paused)),
        (
            "throttled",
            if status.throttled > 0 {
                format!("{} rate-limit scopes", status.throttled)
            } else {
                String::new()
            },
        ),
        ("rate", format!("{:.2} of {:.2} polls a second", status.rate_used, status.rate_allowed)),
        ("next poll", status.next_poll.as_ref().map(|at| relative(at, now)).unwrap_or_default()),
        ("undelivered", counts(&status.undelivered)),
        ("dead letters", counts(&status.dead_letters)),
    ];
    let line = |(name, value): (&str, String)| {
        let value = if value.is_empty() { "none".to_owned() } else { value };
        format!("{name:<13}{value}\n")
    };
    let mut text: String = lines.into_iter().map(line).collect();
    if !status.delays.is_empty() {
        text.push('\n');
        let head = ["delayed", "state", "since", "next", "error"];
        text += &table(&head, status.delays.iter().map(|delay| row(delay, now)).collect());
    }
    text
}

fn row(delay: &DelayItem, now: Wall) -> Vec<Cell> {
    vec![
        delay.what.clone().into(),
        match delay.state {
            DelayState::OnHold => Cell::red("on hold"),
            DelayState::CircuitBreakerOpen => Cell::yellow("circuit breaker open"),
            DelayState::PauseRequested => Cell::yellow("pause requested"),
            DelayState::Retrying => Cell::yellow("retrying"),
        },
        delay.since.as_ref().map(|since| relative(since, now)).unwrap_or_default().into(),
        relative(&delay.next, now).into(),
        delay.error.clone().unwrap_or_default().into(),
    ]
}
