//! `opwatch events list`, `show`, `redeliver`, `discard` and `follow`: the events of the running daemon.

use std::time::Duration;

use reqwest::Response;

use super::table::{Cell, relative, table};
use super::{Connection, wrong};
use crate::api::client::ClientError;
use crate::api::wire::{Count, EventItem, EventPage, Redelivery};
use crate::cli::{CommandFailure, print};
use crate::clock::{Clock, Wall};
use crate::units::Span;

/// Events of one request.
const PAGE: usize = 1_000;
/// The time between two attempts to continue a stream.
const RECONNECT: Duration = Duration::from_secs(1);

/// The selection of events.
#[derive(Clone, Default, clap::Args)]
pub struct Selection {
    /// Only events with a dead letter
    #[arg(long)]
    failed: bool,
    /// Only events that this sink has not acknowledged
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only events since that time: 2026-11-24T10:00:00Z, or a duration before now such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

impl Selection {
    fn since(&self, now: Wall) -> Result<Option<String>, CommandFailure> {
        let Some(written) = &self.since else { return Ok(None) };
        if let Ok(Span(before)) = written.parse() {
            return Ok(Some((now - before).to_string()));
        }
        match humantime::parse_rfc3339(written) {
            Ok(_) => Ok(Some(written.clone())),
            Err(_) => Err(wrong(format!(
                "--since {written}: write a time in UTC such as 2026-11-24T10:00:00Z, or a duration such as 2h"
            ))),
        }
    }
}

/// Prints events, oldest first.
///
/// # Errors
/// When no daemon responds, or an option is wrong.
pub async fn list(
    connection: &Connection,
    selection: &Selection,
    clock: Clock,
) -> Result<(), CommandFailure> {
    let daemon = connection.connect()?;
    let now = clock.now().wall;
    let mut parameters = vec![("limit", PAGE.to_string())];
    parameters.extend(selection.failed.then(|| ("failed", "true".to_owned())));
    parameters.extend(selection.sink.clone().map(|sink| ("sink", sink)));
    parameters.extend(selection.since(now)?.map(|since| ("since", since)));
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = parameters.iter().cloned().chain(after.take().map(|after| ("after", after)));
        let page: Vec<_> = page.collect();
        let EventPage { events, next } = daemon.get(&["events"], &page).await?;
        if !connection.print_json(&events)? {
            rows.extend(events.iter().map(|item| row(item, now)));
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    match (connection.json, rows.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => print::line("no events"),
        (false, false) => {
            let head = ["number", "type", "subject", "time", "not acknowledged by"];
            print::document(table(&head, rows).as_bytes())
        }
    }
}

fn row(item: &EventItem, now: Wall) -> Vec<Cell> {
    let field = |name: &str| item.event[name].as_str().unwrap_or_default().to_owned();
    let kind = field("type");
    let waiting: Vec<_> = item
        .deliveries
        .iter()
        .map(|delivery| {
            if delivery.is_dead { format!("{} (dead letter)", delivery.sink) } else { delivery.sink.clone() }
        })
        .collect();
    vec![
        item.seq.to_string().into(),
        kind.strip_prefix("opwatch.").unwrap_or(&kind).into(),
        field("subject").into(),
        relative(&field("time"), now).into(),
        if waiting.is_empty() { "".into() } else { Cell::yellow(waiting.join(", ")) },
    ]
}

/// Prints one event as JSON, with its deliveries.
///
/// # Errors
/// When no daemon responds, or there is no such event.
pub async fn show(connection: &Connection, id: &str) -> Result<(), CommandFailure> {
    let item: EventItem = connection.connect()?.get(&["events", id], &[]).await?;
    if connection.print_json(std::slice::from_ref(&item))? {
        return Ok(());
    }
    print::line(&serde_json::to_string_pretty(&item).unwrap_or_default())
}

/// Delivers events again, or discards their dead letters.
///
/// # Errors
/// When no daemon responds, or nothing is selected.
pub async fn again(
    connection: &Connection,
    ids: Vec<String>,
    selection: &Selection,
    discard: bool,
    clock: Clock,
) -> Result<(), CommandFailure> {
    if ids.is_empty() && !selection.failed {
        return Err(wrong(
            "name events by their numbers or ids, or select dead letters with --failed".to_owned(),
        ));
    }
    // Without any other choice, all dead letters are meant.
    let since = selection
        .since(clock.now().wall)?
        .or_else(|| (ids.is_empty() && selection.sink.is_none()).then(|| Wall(0).to_string()));
    let body = Redelivery { events: (!ids.is_empty()).then_some(ids), sink: selection.sink.clone(), since };
    let path = if discard { "discards" } else { "redeliveries" };
    let count: Count = connection.connect()?.post(&[path], &body).await?;
    if connection.print_json(std::slice::from_ref(&count))? {
        return Ok(());
    }
    let Count { count } = count;
    match (discard, count) {
        (true, 1) => print::line("1 dead letter discarded"),
        (true, _) => print::line(&format!("{count} dead letters discarded")),
        (false, 0) => {
            print::line("no dead letter was selected; with --sink, an acknowledged event is delivered again")
        }
        (false, 1) => print::line("1 delivery is made again"),
        (false, _) => print::line(&format!("{count} deliveries are made again")),
    }
}

/// Prints new events as JSON lines, until a signal. After a restart of the daemon it continues behind the last event.
///
/// # Errors
/// When no daemon responds at first, or one refuses the stream.
pub async fn follow(
    connection: &Connection,
    mut after: Option<i64>,
    clock: Clock,
) -> Result<(), CommandFailure> {
    let mut response = connection.connect()?.stream(after).await?;
    loop {
        printed(&mut response, &mut after).await?;
        print::error("the daemon has stopped; the events continue once it runs again");
        response = loop {
            clock.sleep_until(clock.now().steady + RECONNECT).await;
            let Ok(daemon) = connection.connect() else { continue };
            match daemon.stream(after).await {
                Ok(response) => break response,
                Err(refused @ ClientError::Refused(_)) => return Err(refused.into()),
                Err(_) => {}
            }
        };
    }
}

/// Prints the events of a stream until its end. `last` is the number of the last one.
async fn printed(response: &mut Response, last: &mut Option<i64>) -> Result<(), CommandFailure> {
    let mut rest = Vec::new();
    let mut number = None;
    // A broken connection is an end like any other.
    while let Ok(Some(chunk)) = response.chunk().await {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(id) = line.strip_prefix(b"id: ") {
                number = std::str::from_utf8(id).ok().and_then(|id| id.trim().parse().ok());
            }
            if let Some(data) = line.strip_prefix(b"data: ") {
                print::document(data)?;
            }
            // The position counts once its event is printed, or at the end of the first block, which has no event.
            if line.starts_with(b"data: ") || line == b"\n" {
                *last = number.or(*last);
            }
        }
    }
    Ok(())
}
