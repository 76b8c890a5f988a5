//! The statements about targets and tasks. Each function is the body of a job (worker.rs), and may run more
//! than once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::groups;
use super::values::{at_most, settings, settings_text};
use crate::clock::Wall;
use crate::model::records::{
    FinishedTask, HotRow, OpenTask, PauseScope, Record, Registered, RegisteredState, TargetRow,
};
use crate::model::step::Reason;
use crate::model::task::{NewTask, Origin, Row, Target};

/// The kinds of `paused` scopes.
const ACCOUNT: &str = "account";
const SINK: &str = "sink";

/// Registers tasks with the due moments beside them. A known task is read and not upserted: a start without
/// changes writes nothing, and so needs no free disk.
pub fn register(
    connection: &Connection,
    tasks: &[NewTask],
    now: Wall,
    due: &[Wall],
) -> rusqlite::Result<Vec<Registered>> {
    let mut insert = connection
        .prepare_cached("INSERT INTO task (target, id, origin, registered_at, settings, due, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)")?;
    let mut last: Option<(&Arc<Target>, TargetRow)> = None;
    let mut registered = Vec::with_capacity(tasks.len());
    for (task, due) in tasks.iter().zip(due) {
        // The tasks of a list share one target, so a comparison of pointers is usually enough.
        let target = match last {
            Some((target, row)) if Arc::ptr_eq(target, &task.target) => row,
            Some(_) | None => intern(connection, &task.target)?,
        };
        last = Some((&task.target, target));
        let text = settings_text(&task.settings)?;
        registered.push(match known(connection, target, task, text.as_deref(), now)? {
            Some(Registered { row, state: RegisteredState::Finished }) if goes_on(connection, row, task)? => {
                begin_again(connection, row, task, text.as_deref(), now, *due)?;
                groups::put(connection, row, task.settings.group.as_deref(), now)?;
                Registered { row, state: RegisteredState::New }
            }
            Some(known) => known,
            None => {
                insert.execute(params![target, task.id, task.origin, now, text, due])?;
                let row = Row(connection.last_insert_rowid());
                if let Some(group) = &task.settings.group {
                    groups::put(connection, row, Some(group), now)?;
                }
                Registered { row, state: RegisteredState::New }
            }
        });
    }
    Ok(registered)
}

/// The rows of those of these tasks that are open.
pub fn open_among(connection: &Connection, tasks: &[NewTask]) -> rusqlite::Result<Vec<Row>> {
    let known: HashMap<Target, TargetRow> =
        targets(connection)?.into_iter().map(|(row, target)| (target, row)).collect();
    let mut select = connection
        .prepare_cached("SELECT task_row FROM task WHERE target = ?1 AND id = ?2 AND ended_at IS NULL")?;
    let mut open = Vec::new();
    for task in tasks {
        let Some(target) = known.get(&*task.target) else { continue };
        let row: Option<Row> =
            select.query_row(params![target, task.id], |record| record.get(0)).optional()?;
        open.extend(row);
    }
    Ok(open)
}

/// Number of open tasks of file origin.
pub fn open_from_files(connection: &Connection) -> rusqlite::Result<usize> {
    let mut select = connection.prepare_cached(
        "SELECT count(*) FROM task INDEXED BY task_by_end WHERE ended_at IS NULL AND origin = ?1",
    )?;
    let count: i64 = select.query_row([Origin::File], |record| record.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// The known task with its new settings; `None` if it is new.
fn known(
    connection: &Connection,
    target: TargetRow,
    task: &NewTask,
    text: Option<&str>,
    now: Wall,
) -> rusqlite::Result<Option<Registered>> {
    let mut select = connection.prepare_cached(
        "SELECT task_row, ended_at IS NOT NULL, settings IS ?3 FROM task WHERE target = ?1 AND id = ?2",
    )?;
    let found = select
        .query_row(params![target, task.id, text], |record| {
            Ok((record.get(0)?, record.get(1)?, record.get(2)?))
        })
        .optional()?;
    let Some((row, over, same)) = found else { return Ok(None) };
    let (row, over, same): (Row, bool, bool) = (row, over, same);
    if over {
        return Ok(Some(Registered { row, state: RegisteredState::Finished }));
    }
    if !same {
        let mut select =
            connection.prepare_cached("SELECT settings ->> '$.group' FROM task WHERE task_row = ?1")?;
        let group: Option<String> = select.query_row([row], |record| record.get(0))?;
        connection
            .prepare_cached("UPDATE task SET settings = ?2 WHERE task_row = ?1")?
            .execute(params![row, text])?;
        if group != task.settings.group {
            groups::put(connection, row, task.settings.group.as_deref(), now)?;
        }
    }
    Ok(Some(Registered { row, state: RegisteredState::Known }))
}

/// Whether an ended task starts again: by request, with another `run`, or since it had ended only because it was not
/// listed.
fn goes_on(connection: &Connection, row: Row, task: &NewTask) -> rusqlite::Result<bool> {
    if task.again {
        return Ok(true);
    }
    let mut select = connection.prepare_cached(
        "SELECT settings ->> '$.run' IS NOT ?2 OR reason IS ?3 FROM task WHERE task_row = ?1",
    )?;
    select.query_row(params![row, task.settings.run, Reason::Removed], |record| record.get(0))
}

/// Registers the task again; its events stay. Its start differs from the one before by any clock: the ids of
/// its events derive from it.
fn begin_again(
    connection: &Connection,
    row: Row,
    task: &NewTask,
    settings: Option<&str>,
    now: Wall,
    due: Wall,
) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE task SET settings = ?2, registered_at = max(?3, registered_at + 1), due = ?4, since = ?4, registered_cloud = NULL, warned = 0, seen = NULL,
             digest = 0, status = NULL, polls = 0, errors = 0, streak = 0, sequence = 0, ended_at = NULL, outcome = NULL, reason = NULL,
             paused = 0, extended = NULL, origin = ?5
         WHERE task_row = ?1",
    )?;
    update.execute(params![row, settings, now, due, task.origin]).map(drop)
}

fn intern(connection: &Connection, target: &Target) -> rusqlite::Result<TargetRow> {
    let key = params![target.account, target.region, target.operation];
    let mut select = connection.prepare_cached(
        "SELECT target_row FROM target WHERE account = ?1 AND region = ?2 AND operation = ?3",
    )?;
    if let Some(row) = select.query_row(key, |record| record.get(0)).optional()? {
        return Ok(row);
    }
    connection
        .prepare_cached("INSERT INTO target (account, region, operation) VALUES (?1, ?2, ?3)")?
        .execute(key)?;
    Ok(TargetRow(connection.last_insert_rowid()))
}

/// All targets.
pub fn targets(connection: &Connection) -> rusqlite::Result<HashMap<TargetRow, Target>> {
    let mut select =
        connection.prepare_cached("SELECT target_row, account, region, operation FROM target")?;
    let found = select.query_map([], |record| {
        Ok((
            record.get(0)?,
            Target { account: record.get(1)?, region: record.get(2)?, operation: record.get(3)? },
        ))
    })?;
    found.collect()
}

/// The index is named, so that statistics cannot lead the planner to all ended tasks.
pub const OPEN: &str = "SELECT task_row, target, id, registered_at, settings, due, since, seen, digest, status, polls, errors, streak, registered_cloud, warned,
       paused, extended, origin
     FROM task INDEXED BY task_by_end WHERE ended_at IS NULL AND task_row > ?1
       AND (?3 IS NULL OR target IN (SELECT value FROM json_each(?3))) ORDER BY task_row LIMIT ?2";

/// Keys as a JSON array, one parameter of a statement.
pub fn numbers(keys: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<_> = keys.map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

/// The accounts and sinks that a person paused.
pub fn paused(connection: &Connection) -> rusqlite::Result<BTreeSet<PauseScope>> {
    let mut select = connection.prepare_cached("SELECT kind, name FROM paused")?;
    let found = select.query_map([], |record| {
        let kind: String = record.get(0)?;
        Ok(if kind == SINK { PauseScope::Sink(record.get(1)?) } else { PauseScope::Account(record.get(1)?) })
    })?;
    found.collect()
}

/// Stores whether that account or sink is paused.
pub fn set_paused(connection: &Connection, scope: &PauseScope, paused: bool) -> rusqlite::Result<()> {
    let statement = if paused {
        "INSERT OR IGNORE INTO paused (kind, name) VALUES (?1, ?2)"
    } else {
        "DELETE FROM paused WHERE kind = ?1 AND name = ?2"
    };
    let (kind, name) = match scope {
        PauseScope::Account(name) => (ACCOUNT, name),
        PauseScope::Sink(name) => (SINK, name),
    };
    connection.prepare_cached(statement)?.execute([kind, name]).map(drop)
}

/// A page of the open tasks of these targets; `None`: of all.
pub fn open(
    connection: &Connection,
    targets: Option<&str>,
    after: Row,
    limit: usize,
) -> rusqlite::Result<Vec<OpenTask>> {
    let mut select = connection.prepare_cached(OPEN)?;
    select.query_map(params![after, at_most(limit), targets], open_task)?.collect()
}

/// Those of these tasks that are open, in the order of their keys.
pub fn open_of(connection: &Connection, rows: &str) -> rusqlite::Result<Vec<OpenTask>> {
    let mut select = connection.prepare_cached(
        "SELECT task_row, target, id, registered_at, settings, due, since, seen, digest, status, polls, errors, streak, registered_cloud, warned,
           paused, extended, origin
         FROM task WHERE ended_at IS NULL AND task_row IN (SELECT value FROM json_each(?1)) ORDER BY task_row",
    )?;
    select.query_map([rows], open_task)?.collect()
}

fn open_task(record: &rusqlite::Row<'_>) -> rusqlite::Result<OpenTask> {
    Ok(OpenTask {
        target: record.get(1)?,
        id: record.get(2)?,
        origin: record.get(17)?,
        registered_at: record.get(3)?,
        settings: settings(record, 4)?,
        hot: hot_row(record)?,
    })
}

/// The hot part of a task, in the columns of [`OPEN`].
pub fn hot_row(record: &rusqlite::Row<'_>) -> rusqlite::Result<HotRow> {
    let extended: Option<i64> = record.get(16)?;
    Ok(HotRow {
        row: record.get(0)?,
        due: record.get(5)?,
        since: record.get(6)?,
        seen: record.get(7)?,
        digest: record.get::<_, i64>(8)?.cast_unsigned(),
        status: record.get(9)?,
        polls: record.get(10)?,
        errors: record.get(11)?,
        streak: record.get(12)?,
        registered_cloud: record.get(13)?,
        warned: record.get(14)?,
        paused: record.get(15)?,
        extended: extended.map(|extended| Duration::from_millis(extended.unsigned_abs())),
    })
}

/// The values of a task for an event.
pub fn record(connection: &Connection, row: Row) -> rusqlite::Result<Option<Record>> {
    let mut select = connection
        .prepare_cached("SELECT settings, registered_at, sequence FROM task WHERE task_row = ?1")?;
    select
        .query_row([row], |record| {
            Ok(Record {
                settings: settings(record, 0)?,
                registered_at: record.get(1)?,
                sequence: record.get(2)?,
            })
        })
        .optional()
}

/// Stores the polls of a task that is still open and has no more polls in the store.
pub fn save_polls(connection: &Connection, hot: &HotRow) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE task SET due = ?2, since = ?3, seen = ?4, digest = ?5, status = ?6, polls = ?7, errors = ?8, streak = ?9,
             registered_cloud = ?10
         WHERE task_row = ?1 AND ended_at IS NULL AND polls <= ?7",
    )?;
    let HotRow { row, due, since, seen, digest, status, polls, errors, streak, registered_cloud, .. } = hot;
    let digest = digest.cast_signed();
    update
        .execute(params![row, due, since, seen, digest, status, polls, errors, streak, registered_cloud])
        .map(drop)
}

/// Stores the hot part of a task that is still open; `false`: there is none.
pub fn save(connection: &Connection, hot: &HotRow) -> rusqlite::Result<bool> {
    let mut update = connection.prepare_cached(
        "UPDATE task SET due = ?2, since = ?3, seen = ?4, digest = ?5, status = ?6, polls = ?7, errors = ?8, streak = ?9,
             registered_cloud = ?10, warned = ?11, paused = ?12, extended = ?13
         WHERE task_row = ?1 AND ended_at IS NULL",
    )?;
    let HotRow {
        row,
        due,
        since,
        seen,
        digest,
        status,
        polls,
        errors,
        streak,
        registered_cloud,
        warned,
        paused,
        extended,
    } = hot;
    let extended = extended.map(|extended| i64::try_from(extended.as_millis()).unwrap_or(i64::MAX));
    let changed = update.execute(params![
        row,
        due,
        since,
        seen,
        digest.cast_signed(),
        status,
        polls,
        errors,
        streak,
        registered_cloud,
        warned,
        paused,
        extended
    ])?;
    Ok(changed > 0)
}

/// A page of tasks that ended before that moment and have no undelivered event.
pub fn finished_before(
    connection: &Connection,
    before: Wall,
    after: FinishedTask,
    limit: usize,
) -> rusqlite::Result<Vec<FinishedTask>> {
    let mut select = connection.prepare_cached(PAST)?;
    let found = select.query_map(params![before, after.at, after.row, at_most(limit)], |record| {
        Ok(FinishedTask { at: record.get(0)?, row: record.get(1)? })
    })?;
    found.collect()
}

/// A scan of the index of ends; events and deliveries of each task are read by index.
pub const PAST: &str = "SELECT ended_at, task_row FROM task
     WHERE ended_at < ?1 AND (ended_at, task_row) > (?2, ?3)
       AND NOT EXISTS (SELECT 1 FROM task_group WHERE task_group.group_row = task.group_row AND finished_at IS NULL)
       AND NOT EXISTS (SELECT 1 FROM event JOIN delivery USING (seq) WHERE event.task_row = task.task_row)
       AND NOT EXISTS (SELECT 1 FROM event JOIN dead_letter USING (seq) WHERE event.task_row = task.task_row AND at >= ?1)
     ORDER BY ended_at, task_row LIMIT ?4";

/// Deletes tasks and their events, unless [`PAST`] no longer returns them.
pub fn delete_finished(
    connection: &Connection,
    before: Wall,
    tasks: &[FinishedTask],
) -> rusqlite::Result<()> {
    let mut dead = connection
        .prepare_cached("DELETE FROM dead_letter WHERE seq IN (SELECT seq FROM event WHERE task_row = ?1)")?;
    let mut events = connection.prepare_cached("DELETE FROM event WHERE task_row = ?1")?;
    let mut task = connection.prepare_cached("DELETE FROM task WHERE task_row = ?1")?;
    for found in tasks {
        let just_before = FinishedTask { row: Row(found.row.0 - 1), ..*found };
        if finished_before(connection, before, just_before, 1)? == [*found] {
            dead.execute([found.row])?;
            events.execute([found.row])?;
            task.execute([found.row])?;
        }
    }
    Ok(())
}
