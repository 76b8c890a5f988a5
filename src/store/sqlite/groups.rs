//! The statements about groups. Each function is the body of a job (worker.rs), and may run more than once.

use rusqlite::{Connection, OptionalExtension, params};

use super::values::settings;
use crate::clock::Wall;
use crate::model::event::GroupCounts;
use crate::model::records::{GroupRound, GroupRow};
use crate::model::task::Row;

/// The round that a task of that group joins now: the open one, else a new one.
pub fn join(connection: &Connection, name: &str, now: Wall) -> rusqlite::Result<GroupRow> {
    let mut open = connection
        .prepare_cached("SELECT group_row FROM task_group WHERE name = ?1 AND finished_at IS NULL")?;
    if let Some(group) = open.query_row([name], |record| record.get(0)).optional()? {
        return Ok(group);
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO task_group (name, round, started_at)
         VALUES (?1, (SELECT coalesce(max(round), 0) + 1 FROM task_group WHERE name = ?1), ?2)",
    )?;
    insert.execute(params![name, now])?;
    Ok(GroupRow(connection.last_insert_rowid()))
}

/// Puts a task into the round of its group, or into none.
pub fn put(connection: &Connection, row: Row, name: Option<&str>, now: Wall) -> rusqlite::Result<()> {
    let group = name.map(|name| join(connection, name, now)).transpose()?;
    connection
        .prepare_cached("UPDATE task SET group_row = ?2 WHERE task_row = ?1")?
        .execute(params![row, group])
        .map(drop)
}

/// Open rounds without an open task, by the index of groups.
pub const OVER: &str =
    "SELECT group_row, name, round, started_at, (SELECT max(ended_at) FROM task WHERE task.group_row = task_group.group_row)
     FROM task_group WHERE finished_at IS NULL
       AND EXISTS (SELECT 1 FROM task WHERE task.group_row = task_group.group_row)
       AND NOT EXISTS (SELECT 1 FROM task WHERE task.group_row = task_group.group_row AND ended_at IS NULL)";

/// Open rounds whose tasks have all finished.
pub fn finished_rounds(connection: &Connection) -> rusqlite::Result<Vec<GroupRound>> {
    let mut select = connection.prepare_cached(OVER)?;
    let found = select.query_map([], |record| {
        let row = record.get(0)?;
        let name = record.get(1)?;
        let round = record.get(2)?;
        let started_at = record.get(3)?;
        // A round whose tasks all moved to another group has no end time.
        let finished_at = record.get::<_, Option<Wall>>(4)?.unwrap_or(started_at);
        Ok(GroupRound {
            row,
            name,
            round,
            started_at,
            finished_at,
            counts: GroupCounts::default(),
            settings: Vec::new(),
        })
    })?;
    let mut rounds: Vec<GroupRound> = found.collect::<rusqlite::Result<_>>()?;
    rounds.iter_mut().try_for_each(|round| count(connection, round))?;
    Ok(rounds)
}

fn count(connection: &Connection, round: &mut GroupRound) -> rusqlite::Result<()> {
    let mut select = connection
        .prepare_cached("SELECT outcome, count(*) FROM task WHERE group_row = ?1 GROUP BY outcome")?;
    let mut rows = select.query([round.row])?;
    while let Some(record) = rows.next()? {
        let count = record.get::<_, i64>(1)?.unsigned_abs();
        match record.get::<_, Option<String>>(0)?.as_deref() {
            Some("success") => round.counts.success += count,
            Some("failure") => round.counts.failure += count,
            Some("partial") => round.counts.partial += count,
            Some(_) | None => round.counts.abandoned += count,
        }
    }
    let mut select = connection.prepare_cached("SELECT DISTINCT settings FROM task WHERE group_row = ?1")?;
    round.settings =
        select.query_map([round.row], |record| settings(record, 0))?.collect::<rusqlite::Result<_>>()?;
    Ok(())
}
