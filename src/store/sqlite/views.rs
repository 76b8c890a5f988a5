//! The statements of requests by people: lists of tasks and events, and dead letters that are sent again or discarded.

use rusqlite::{Connection, OptionalExtension, params};

use super::tasks::{hot_row, numbers};
use super::values::{at_most, event, settings};
use crate::model::records::view::{
    DeliveryFilter, DeliveryView, EventFilter, EventName, EventView, TaskFilter, TaskView,
};
use crate::model::records::{Seq, TargetRow};
use crate::model::task::{Row, Target, TaskId};

/// The columns of a task; the first 17 are those of `tasks::hot_row`.
const TASK: &str = "task_row, target, id, registered_at, settings, due, since, seen, digest, status, polls, errors, streak, registered_cloud, warned,
  paused, extended, origin, account, region, operation, ended_at, outcome, reason";

/// A page of tasks in the order of their keys.
pub fn tasks(
    connection: &Connection,
    filter: &TaskFilter,
    after: Row,
    limit: usize,
) -> rusqlite::Result<Vec<TaskView>> {
    let TaskFilter { ended, ids, account, region, operation } = filter;
    let targets = targets(connection, account.as_deref(), region.as_deref(), operation.as_deref())?;
    let targets = numbers(targets.into_iter().map(|TargetRow(row)| row));
    if ids.is_empty() {
        let statement = format!(
            "SELECT {TASK} FROM task JOIN target ON target_row = target
             WHERE task_row > ?1 AND target IN (SELECT value FROM json_each(?2)) AND (?3 IS NULL OR (ended_at IS NOT NULL) = ?3)
             ORDER BY task_row LIMIT ?4"
        );
        let mut select = connection.prepare_cached(&statement)?;
        return select.query_map(params![after, targets, ended, at_most(limit)], task)?.collect();
    }
    let mut found = Vec::new();
    for id in ids {
        // The unique key of the table finds each, whatever the number of tasks.
        let statement = format!(
            "SELECT {TASK} FROM task JOIN target ON target_row = target
             WHERE target IN (SELECT value FROM json_each(?2)) AND id = ?5 AND task_row > ?1 AND (?3 IS NULL OR (ended_at IS NOT NULL) = ?3)
             ORDER BY task_row LIMIT ?4"
        );
        let mut select = connection.prepare_cached(&statement)?;
        for view in select.query_map(params![after, targets, ended, at_most(limit), id], task)? {
            found.push(view?);
        }
    }
    found.sort_by_key(|view| view.hot.row);
    found.truncate(limit);
    Ok(found)
}

/// The task of that key.
pub fn task_of(connection: &Connection, row: Row) -> rusqlite::Result<Option<TaskView>> {
    let statement = format!("SELECT {TASK} FROM task JOIN target ON target_row = target WHERE task_row = ?1");
    connection.prepare_cached(&statement)?.query_row([row], task).optional()
}

fn task(record: &rusqlite::Row<'_>) -> rusqlite::Result<TaskView> {
    Ok(TaskView {
        target: Target { account: record.get(18)?, region: record.get(19)?, operation: record.get(20)? },
        id: record.get::<_, TaskId>(2)?,
        origin: record.get(17)?,
        registered_at: record.get(3)?,
        settings: settings(record, 4)?,
        hot: hot_row(record)?,
        ended_at: record.get(21)?,
        outcome: record.get(22)?,
        reason: record.get(23)?,
    })
}

fn targets(
    connection: &Connection,
    account: Option<&str>,
    region: Option<&str>,
    operation: Option<&str>,
) -> rusqlite::Result<Vec<TargetRow>> {
    let mut select = connection.prepare_cached(
        "SELECT target_row FROM target
         WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR region = ?2) AND (?3 IS NULL OR operation = ?3)",
    )?;
    select.query_map(params![account, region, operation], |record| record.get(0))?.collect()
}

/// A page of events, oldest first.
pub fn events(
    connection: &Connection,
    filter: &EventFilter,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<EventView>> {
    let EventFilter { kind, task, since, sink, failed } = filter;
    let mut select = connection.prepare_cached(
        "SELECT seq, event_id, kind, time, body FROM event
         WHERE seq > ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR task_row = ?3) AND (?4 IS NULL OR time >= ?4)
           AND (NOT ?6 OR EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.seq = event.seq AND (?5 IS NULL OR sink = ?5)))
           AND (?6 OR ?5 IS NULL OR EXISTS (SELECT 1 FROM delivery WHERE delivery.seq = event.seq AND sink = ?5)
                OR EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.seq = event.seq AND sink = ?5))
         ORDER BY seq LIMIT ?7",
    )?;
    let parameters = params![after, kind, task, since, sink, failed, at_most(limit)];
    let found = select.query_map(parameters, |record| Ok((record.get(0)?, event(record, 1)?)))?;
    let found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
    let view = |(seq, event)| Ok(EventView { seq, event, deliveries: deliveries(connection, seq)? });
    found.into_iter().map(view).collect()
}

/// The event of that name.
pub fn event_of(connection: &Connection, name: EventName) -> rusqlite::Result<Option<EventView>> {
    let Some(seq) = seq_of(connection, name)? else { return Ok(None) };
    let found = events(connection, &EventFilter::default(), Seq(seq.0 - 1), 1)?;
    Ok(found.into_iter().next().filter(|view| view.seq == seq))
}

/// The number of the event of that name. An id is searched in all events.
fn seq_of(connection: &Connection, name: EventName) -> rusqlite::Result<Option<Seq>> {
    match name {
        EventName::Seq(seq) => connection
            .prepare_cached("SELECT seq FROM event WHERE seq = ?1")?
            .query_row([seq], |record| record.get(0))
            .optional(),
        EventName::Id(id) => connection
            .prepare_cached("SELECT seq FROM event WHERE event_id = ?1 ORDER BY seq DESC LIMIT 1")?
            .query_row([id.as_bytes()], |record| record.get(0))
            .optional(),
    }
}

fn deliveries(connection: &Connection, seq: Seq) -> rusqlite::Result<Vec<DeliveryView>> {
    let mut select = connection.prepare_cached(
        "SELECT sink, attempts, NULL FROM delivery WHERE seq = ?1
         UNION ALL SELECT sink, attempts, error FROM dead_letter WHERE seq = ?1 ORDER BY sink",
    )?;
    let found = select.query_map([seq], |record| {
        Ok(DeliveryView { sink: record.get(0)?, attempts: record.get(1)?, dead: record.get(2)? })
    })?;
    found.collect()
}

/// Sends dead letters again: those of a selection, or events to a sink that got them before. Returns the sinks with the
/// numbers of their events.
pub fn redeliver(connection: &Connection, filter: &DeliveryFilter) -> rusqlite::Result<Vec<(String, Seq)>> {
    let mut selected = dead_letters(connection, filter)?;
    if let (Some(events), Some(sink)) = (&filter.events, &filter.sink) {
        for name in events {
            let seq = seq_of(connection, *name)?;
            selected.extend(seq.map(|seq| (sink.clone(), seq)));
        }
    }
    selected.sort_unstable();
    selected.dedup();
    let mut insert = connection
        .prepare_cached("INSERT INTO delivery (sink, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for (sink, seq) in &selected {
        discard_one(connection, sink, *seq)?;
        insert.execute(params![sink, seq])?;
    }
    Ok(selected)
}

/// Deletes dead letters. Returns their number.
pub fn discard(connection: &Connection, filter: &DeliveryFilter) -> rusqlite::Result<u64> {
    let selected = dead_letters(connection, filter)?;
    selected.iter().try_for_each(|(sink, seq)| discard_one(connection, sink, *seq))?;
    Ok(selected.len() as u64)
}

fn discard_one(connection: &Connection, sink: &str, seq: Seq) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM dead_letter WHERE sink = ?1 AND seq = ?2")?;
    delete.execute(params![sink, seq]).map(drop)
}

fn dead_letters(connection: &Connection, filter: &DeliveryFilter) -> rusqlite::Result<Vec<(String, Seq)>> {
    let DeliveryFilter { events, sink, since } = filter;
    let seqs = match events {
        Some(events) => {
            let mut seqs = Vec::new();
            for name in events {
                seqs.extend(seq_of(connection, *name)?);
            }
            Some(numbers(seqs.into_iter().map(|Seq(seq)| seq)))
        }
        None => None,
    };
    let mut select = connection.prepare_cached(
        "SELECT sink, seq FROM dead_letter
         WHERE (?1 IS NULL OR seq IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR sink = ?2) AND (?3 IS NULL OR at >= ?3)",
    )?;
    select.query_map(params![seqs, sink, since], |record| Ok((record.get(0)?, record.get(1)?)))?.collect()
}
