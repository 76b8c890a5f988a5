//! The statements about events and deliveries. Each function is the body of a job (worker.rs), and may run more than once.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::tasks;
use super::values::{at_most, event};
use crate::model::event::Event;
use crate::model::task::Row;
use crate::store::{Commit, End, Owed, Seq};

/// One step of a task; `false`: it is over already, and nothing was written.
pub fn commit(connection: &Connection, commit: &Commit) -> rusqlite::Result<bool> {
    let Commit { hot, end, event } = commit;
    if !tasks::keep(connection, hot)? {
        return Ok(false);
    }
    if let Some(End { at, word }) = end {
        connection.prepare_cached("UPDATE task SET ended_at = ?2, outcome = ?3, reason = ?4 WHERE task_row = ?1")?.execute(params![
            hot.row,
            at,
            word.as_ref().ok(),
            word.as_ref().err()
        ])?;
    }
    if let Some((event, sinks)) = event {
        connection.prepare_cached("UPDATE task SET sequence = sequence + 1 WHERE task_row = ?1")?.execute([hot.row])?;
        insert_event(connection, Some(hot.row), event, sinks)?;
    }
    Ok(true)
}

/// An event, of a task or of none, and what is owed of it.
pub fn insert_event(connection: &Connection, row: Option<Row>, event: &Event, sinks: &[String]) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT INTO event (task_row, event_id, kind, time, body) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        row,
        event.id.as_bytes(),
        event.kind,
        event.time,
        event.body
    ])?;
    let seq = connection.last_insert_rowid();
    // Sinks are a set: one that is named twice is owed the event once.
    let mut insert = connection.prepare_cached("INSERT INTO delivery (sink, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    sinks.iter().try_for_each(|sink| insert.execute(params![sink, seq]).map(drop))
}

/// A range of the outbox's key, and each event by its own: the cost is that of the page, however much is owed.
pub const OWED: &str = "SELECT seq, event_id, kind, time, body FROM delivery CROSS JOIN event USING (seq)
     WHERE sink = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

/// A page of what a sink is owed.
pub fn owed(connection: &Connection, sink: &str, after: Seq, limit: usize) -> rusqlite::Result<Vec<Owed>> {
    let mut select = connection.prepare_cached(OWED)?;
    let found =
        select.query_map(params![sink, after, at_most(limit)], |record| Ok(Owed { seq: record.get(0)?, event: event(record, 1)? }))?;
    found.collect()
}

/// Takes deliveries out of the outbox.
pub fn acknowledge(connection: &Connection, sink: &str, seqs: &[Seq]) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM delivery WHERE sink = ?1 AND seq = ?2")?;
    seqs.iter().try_for_each(|seq| delete.execute(params![sink, seq]).map(drop))
}

/// How much each sink is owed.
pub fn outbox(connection: &Connection) -> rusqlite::Result<HashMap<String, u64>> {
    let mut select = connection.prepare_cached("SELECT sink, count(*) FROM delivery GROUP BY sink")?;
    let found = select.query_map([], |record| Ok((record.get(0)?, record.get::<_, i64>(1)?.unsigned_abs())))?;
    found.collect()
}
