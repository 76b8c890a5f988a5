//! The statements about events and deliveries. Each function is the body of a job (worker.rs), and may run
//! more than once.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::tasks;
use super::values::{at_most, event};
use crate::clock::Wall;
use crate::model::event::Event;
use crate::model::records::{Commit, Conclusion, DeadLetter, End, GroupRow, OutboxRow, Seq};
use crate::model::task::Row;

/// One step of a task; `false`: the task has ended already, and nothing was written.
pub fn commit(connection: &Connection, commit: &Commit) -> rusqlite::Result<bool> {
    let Commit { hot, end, event } = commit;
    if !tasks::save(connection, hot)? {
        return Ok(false);
    }
    if let Some(End { at, conclusion }) = end {
        let (outcome, reason) = match conclusion {
            Conclusion::Finished(outcome) => (Some(outcome), None),
            Conclusion::Abandoned(reason) => (None, Some(reason)),
        };
        connection
            .prepare_cached("UPDATE task SET ended_at = ?2, outcome = ?3, reason = ?4 WHERE task_row = ?1")?
            .execute(params![hot.row, at, outcome, reason])?;
    }
    if let Some((event, sinks)) = event {
        connection
            .prepare_cached("UPDATE task SET sequence = sequence + 1 WHERE task_row = ?1")?
            .execute([hot.row])?;
        insert_event(connection, Some(hot.row), event, sinks)?;
    }
    Ok(true)
}

/// An event, about a task or not, and its deliveries.
pub fn insert_event(
    connection: &Connection,
    row: Option<Row>,
    event: &Event,
    sinks: &[String],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO event (task_row, event_id, kind, time, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![row, event.id.as_bytes(), event.kind, event.time, event.body])?;
    let seq = connection.last_insert_rowid();
    // Sinks are a set: a sink that is named twice gets the event once.
    let mut insert = connection
        .prepare_cached("INSERT INTO delivery (sink, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    sinks.iter().try_for_each(|sink| insert.execute(params![sink, seq]).map(drop))
}

/// A range of the outbox's key, and each event by its own key: the cost depends on the page alone.
pub const UNDELIVERED: &str = "SELECT seq, task_row, attempts, tried, event_id, kind, time, body FROM delivery CROSS JOIN event USING (seq)
     WHERE sink = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

/// A page of the undelivered events of a sink.
pub fn undelivered(
    connection: &Connection,
    sink: &str,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<OutboxRow>> {
    let mut select = connection.prepare_cached(UNDELIVERED)?;
    let found = select.query_map(params![sink, after, at_most(limit)], |record| {
        let tried = record.get::<_, Option<i64>>(3)?.map(|tried| Duration::from_millis(tried.unsigned_abs()));
        Ok(OutboxRow {
            seq: record.get(0)?,
            task: record.get(1)?,
            attempts: record.get(2)?,
            tried,
            event: event(record, 4)?,
        })
    })?;
    found.collect()
}

/// Takes deliveries out of the outbox.
pub fn acknowledge(connection: &Connection, sink: &str, seqs: &[Seq]) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM delivery WHERE sink = ?1 AND seq = ?2")?;
    seqs.iter().try_for_each(|seq| delete.execute(params![sink, seq]).map(drop))
}

/// Counts a first failure.
pub fn mark_tried(
    connection: &Connection,
    sink: &str,
    seqs: &[Seq],
    active: Duration,
) -> rusqlite::Result<()> {
    let mut update = connection
        .prepare_cached("UPDATE delivery SET attempts = attempts + 1, tried = coalesce(tried, ?3) WHERE sink = ?1 AND seq = ?2")?;
    seqs.iter().try_for_each(|seq| update.execute(params![sink, seq, milliseconds(active)]).map(drop))?;
    save_active(connection, sink, active)
}

/// The stored value of the sink's own clock.
pub fn active(connection: &Connection, sink: &str) -> rusqlite::Result<Duration> {
    let mut select = connection.prepare_cached("SELECT active FROM sink WHERE name = ?1")?;
    let active = select.query_row([sink], |record| record.get::<_, i64>(0)).optional()?;
    Ok(Duration::from_millis(active.unwrap_or_default().unsigned_abs()))
}

/// Stores the value of the sink's own clock.
pub fn save_active(connection: &Connection, sink: &str, active: Duration) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO sink (name, active) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET active = ?2",
    )?;
    upsert.execute(params![sink, milliseconds(active)]).map(drop)
}

/// SQLite has no integers above 2^63; no sink is used for that long.
fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Closes a round and stores its event, unless a task has joined it; `false`: nothing was written.
pub fn close_group(
    connection: &Connection,
    group: GroupRow,
    event: &Event,
    sinks: &[String],
) -> rusqlite::Result<bool> {
    let mut update = connection.prepare_cached(
        "UPDATE task_group SET finished_at = ?2 WHERE group_row = ?1 AND finished_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM task WHERE task.group_row = ?1 AND ended_at IS NULL)",
    )?;
    if update.execute(params![group, event.time])? == 0 {
        return Ok(false);
    }
    insert_event(connection, None, event, sinks).map(|()| true)
}

/// From the outbox to the dead letters.
pub fn dead_letter(connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
    let DeadLetter { sink, seq, at, attempts, error, event } = letter;
    let rest = connection
        .prepare_cached("DELETE FROM delivery WHERE sink = ?1 AND seq = ?2")?
        .execute(params![sink, seq])?;
    if rest == 0 {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO dead_letter (sink, seq, at, attempts, error) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![sink, seq, at, attempts, error])?;
    event.iter().try_for_each(|(event, sinks)| insert_event(connection, None, event, sinks))
}

/// Old undelivered events of sinks that are not configured become dead letters.
pub fn expire_unconfigured(
    connection: &Connection,
    configured: &[String],
    before: Wall,
    at: Wall,
) -> rusqlite::Result<HashMap<String, u64>> {
    let mut seen = connection.prepare_cached(
        "INSERT INTO sink (name, seen) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seen = ?2",
    )?;
    configured.iter().try_for_each(|sink| seen.execute(params![sink, at]).map(drop))?;
    let mut select = connection.prepare_cached(
        "SELECT sink, seq, attempts FROM delivery JOIN event USING (seq) LEFT JOIN sink ON sink.name = delivery.sink
         WHERE coalesce(sink.seen, event.time) < ?1",
    )?;
    let found = select.query_map([before], |record| Ok((record.get(0)?, record.get(1)?, record.get(2)?)))?;
    let mut buried = HashMap::new();
    for found in found {
        let (sink, seq, attempts): (String, Seq, u32) = found?;
        if !configured.contains(&sink) {
            let error = "the sink was not configured for longer than [store] retention".to_owned();
            *buried.entry(sink.clone()).or_default() += 1;
            dead_letter(connection, &DeadLetter { sink, seq, at, attempts, error, event: None })?;
        }
    }
    Ok(buried)
}

/// Events about no task, since those of a task are deleted with it; and rounds of groups without a task. The
/// last round of each group stays, so that no later one gets its number.
pub fn delete_events(connection: &Connection, before: Wall, limit: usize) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached(
        "SELECT seq FROM event WHERE task_row IS NULL AND time < ?1 AND seq NOT IN (SELECT seq FROM delivery)
           AND seq NOT IN (SELECT seq FROM dead_letter WHERE at >= ?1) ORDER BY seq LIMIT ?2",
    )?;
    let seqs: Vec<Seq> = select
        .query_map(params![before, at_most(limit)], |record| record.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for seq in &seqs {
        connection.prepare_cached("DELETE FROM dead_letter WHERE seq = ?1")?.execute([seq])?;
        connection.prepare_cached("DELETE FROM event WHERE seq = ?1")?.execute([seq])?;
    }
    let mut groups = connection.prepare_cached(
        "DELETE FROM task_group WHERE finished_at < ?1 AND NOT EXISTS (SELECT 1 FROM task WHERE task.group_row = task_group.group_row)",
    )?;
    groups.execute([before])?;
    Ok(seqs.len() as u64)
}

/// The time of the latest event.
pub fn newest(connection: &Connection) -> rusqlite::Result<Option<Wall>> {
    connection
        .prepare_cached("SELECT time FROM event ORDER BY seq DESC LIMIT 1")?
        .query_row([], |record| record.get(0))
        .optional()
}

/// The number of the latest event; zero before the first.
pub fn newest_seq(connection: &Connection) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM event")?
        .query_row([], |record| record.get(0))
}

/// The number of undelivered events of each sink.
pub fn outbox(connection: &Connection) -> rusqlite::Result<HashMap<String, u64>> {
    counts(connection, "SELECT sink, count(*) FROM delivery GROUP BY sink")
}

/// The number of dead letters of each sink.
pub fn dead_letters(connection: &Connection) -> rusqlite::Result<HashMap<String, u64>> {
    counts(connection, "SELECT sink, count(*) FROM dead_letter GROUP BY sink")
}

fn counts(connection: &Connection, by_sink: &str) -> rusqlite::Result<HashMap<String, u64>> {
    let mut select = connection.prepare_cached(by_sink)?;
    let found =
        select.query_map([], |record| Ok((record.get(0)?, record.get::<_, i64>(1)?.unsigned_abs())))?;
    found.collect()
}
