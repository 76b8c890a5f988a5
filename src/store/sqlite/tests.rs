//! Promises of SQLite alone: its lock, its schema, its query plans, and its failures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};
use tempfile::{TempDir, tempdir};

use super::connect::UnusableStore;
use super::location::beside;
use super::*;
use crate::model::task::{Origin, Settings, TaskId};
use crate::problem::chain;

fn place() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("opwatch.db");
    (folder, path)
}

async fn opened(path: &Path) -> Result<Sqlite, Error> {
    Sqlite::open(path.into()).await
}

async fn refusal(path: &Path) -> String {
    chain(&opened(path).await.map(drop).unwrap_err())
}

fn tasks(ids: std::ops::Range<u64>) -> Vec<NewTask> {
    let target = Arc::new(Target { account: "default".into(), region: "bj".into(), operation: "bm".into() });
    let task = |id| NewTask {
        target: target.clone(),
        id: TaskId::Int(id),
        settings: Settings::default(),
        origin: Origin::File,
        again: false,
    };
    ids.map(task).collect()
}

async fn register(store: &Sqlite, ids: std::ops::Range<u64>) -> Vec<Registered> {
    let tasks = tasks(ids);
    let due = vec![Wall(0); tasks.len()];
    store.register(tasks, Wall(0), due).await.unwrap()
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_reported_who_is_there() {
    let (folder, path) = place();
    let store = opened(&path).await.unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let refused = opened(name).await.unwrap_err();
        assert!(
            matches!(&refused, Error::InUse { place, .. } if *place == name.display().to_string()),
            "{refused:?}"
        );
        assert!(refused.to_string().contains(&format!("(process {})", std::process::id())), "{refused}");
    }
    store.close().await;
    opened(&path).await.unwrap().close().await;
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused() {
    let (_folder, path) = place();
    opened(&path).await.unwrap().close().await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(opened(&path).await, Err(Error::Newer { found: 99, known: 3, .. })));
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_refused_and_left_alone() {
    let (_folder, path) = place();
    std::fs::write(&path, "these are my notes, and long enough to be looked at as a header; ".repeat(20))
        .unwrap();
    let refused = refusal(&path).await;
    assert!(
        refused.starts_with(&format!(
            "cannot open the store {}: it is not a store of opwatch; ",
            path.display()
        )),
        "{refused}"
    );
    assert!(refused.ends_with(": file is not a database"), "{refused}");

    std::fs::remove_file(&path).unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE note (text)").unwrap();
    assert!(
        refusal(&path).await.ends_with(": it is the database of another program"),
        "{}",
        refusal(&path).await
    );
    let tables: i64 =
        foreign.query_row("SELECT count(*) FROM sqlite_schema", [], |record| record.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_path_that_is_written_wrong_is_reported_as_what_it_is() {
    let (folder, path) = place();
    std::fs::write(&path, "").unwrap();
    let below_a_file = path.join("opwatch.db");
    let cases = [
        (Path::new("/nowhere/at/all/opwatch.db"), UnusableStore::NoFolder),
        (&below_a_file, UnusableStore::NotFolder),
        (folder.path(), UnusableStore::Folder),
    ];
    for (path, wanted) in cases {
        let Err(Error::Open { why, needs_a_person, .. }) = opened(path).await else { panic!("{path:?}") };
        assert!(why == wanted.to_string() && needs_a_person, "{path:?}: {why}");
    }
    let refused = refusal(cases[0].0).await;
    assert!(
        refused.contains("/nowhere/at/all/opwatch.db: its folder does not exist; create it"),
        "{refused}"
    );
}

#[test]
fn permanent_failures_are_distinguished_from_temporary_ones() {
    use std::io::{Error as Refused, ErrorKind};
    let kinds = [
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::StorageFull,
        ErrorKind::Other,
    ];
    let whys = kinds.map(|kind| {
        let Error::Open { why, needs_a_person, .. } = connect::unusable(Path::new("x"), Refused::from(kind))
        else {
            panic!("{kind}")
        };
        (why, needs_a_person)
    });
    let expected = [
        (UnusableStore::Denied, true),
        (UnusableStore::ReadOnly, true),
        (UnusableStore::Full, false),
        (UnusableStore::Other, false),
    ];
    assert_eq!(whys, expected.map(|(why, needs_a_person)| (why.to_string(), needs_a_person)));
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for_without_an_error() {
    let (_folder, path) = place();
    let store = opened(&path).await.unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let registering = register(&store, 0..3);
    let holding = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Reading continues meanwhile.
        assert!(store.open_tasks(None, Row(0), 10).await.unwrap().is_empty());
        foreign.execute_batch("COMMIT").unwrap();
    };
    let (registered, ()) = tokio::join!(registering, holding);
    assert_eq!(registered.len(), 3);
}

#[tokio::test]
async fn a_close_does_not_wait_for_a_foreign_lock_and_reports_the_caller() {
    let (_folder, path) = place();
    let store = opened(&path).await.unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let registering = store.register(tasks(0..3), Wall(0), vec![Wall(0); 3]);
    let closing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::time::timeout(Duration::from_secs(5), store.close()).await.unwrap();
    };
    let (registered, ()) = tokio::join!(registering, closing);
    assert!(matches!(registered, Err(Error::Closed)), "{registered:?}");
}

/// A copy of the files at this moment, as after a crash of the process.
fn copied(path: &Path, to: &Path) {
    for ending in ["", "-wal"] {
        std::fs::copy(beside(path, ending), beside(to, ending)).unwrap();
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_files_before_any_close() {
    let (folder, path) = place();
    let store = opened(&path).await.unwrap();
    register(&store, 0..3).await;
    let copy = folder.path().join("copy.db");
    copied(&path, &copy);
    assert_eq!(opened(&copy).await.unwrap().open_tasks(None, Row(0), 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_backup_can_be_made_while_the_daemon_runs() {
    let (folder, path) = place();
    let store = opened(&path).await.unwrap();
    register(&store, 0..3).await;
    let backup = folder.path().join("backup.db");
    Connection::open(&path).unwrap().execute("VACUUM INTO ?1", [backup.to_str()]).unwrap();
    register(&store, 3..6).await;
    assert_eq!(opened(&backup).await.unwrap().open_tasks(None, Row(0), 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn opening_waits_for_a_lock_of_another_process_as_long_as_its_caller_waits() {
    let (_folder, path) = place();
    opened(&path).await.unwrap().close().await;
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let patience = Duration::from_millis(700);
    assert!(tokio::time::timeout(patience, opened(&path)).await.is_err(), "it may only be late");
    // The waiting call is dropped: the lock file is free again soon.
    let mut waiting = std::pin::pin!(async {
        loop {
            match opened(&path).await {
                Err(Error::InUse { .. }) => {}
                other => break other,
            }
        }
    });
    assert!(tokio::time::timeout(patience, &mut waiting).await.is_err());
    drop(foreign);
    waiting.await.unwrap().close().await;
}

#[tokio::test]
async fn the_write_ahead_log_is_emptied_when_it_has_grown_and_gone_after_a_close() {
    let (_folder, path) = place();
    let store = opened(&path).await.unwrap();
    let size_bytes = |ending| std::fs::metadata(beside(&path, ending)).map(|file| file.len()).ok();
    for mut task in tasks(0..30) {
        task.settings.name = Some("x".repeat(1 << 20));
        store.register(vec![task], Wall(0), vec![Wall(0)]).await.unwrap();
    }
    // The response precedes the checkpoint; at the next job it is done.
    store.save(vec![]).await.unwrap();
    assert!(size_bytes("-wal").unwrap() < 10 << 20, "{:?}", size_bytes("-wal"));
    store.close().await;
    assert_eq!(size_bytes("-wal"), None);
}

#[test]
fn the_pages_that_the_loops_ask_for_are_walks_along_an_index() {
    let connection = connect::in_memory().unwrap();
    let plan = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps: Result<Vec<String>, _> =
            explain.query_map(params, |record| record.get(3)).unwrap().collect();
        steps.unwrap().join("; ")
    };
    for targets in [None, Some("[1]")] {
        let open = plan(tasks::OPEN, params![0, 1, targets]);
        assert!(open.starts_with("SEARCH task USING INDEX task_by_end (ended_at=? AND rowid>?)"), "{open}");
        assert!(!open.contains("TEMP"), "{open}");
    }
    let rest = plan(outbox::UNDELIVERED, params!["hook", 0, 1]);
    assert_eq!(
        rest,
        "SEARCH delivery USING PRIMARY KEY (sink=? AND seq>?); SEARCH event USING INTEGER PRIMARY KEY (rowid=?)"
    );
    let past = plan(tasks::PAST, params![0, 0, 0, 1]);
    assert!(past.starts_with("SEARCH task USING INDEX task_by_end (") && !past.contains("TEMP"), "{past}");
    assert!(!past.contains("SCAN"), "{past}");
    let over = plan(groups::OVER, params![]);
    assert!(
        over.contains("task_group_open") && !over.contains("SCAN task ") && !over.ends_with("SCAN task"),
        "{over}"
    );
}

/// The first poll of a call has the response: a runtime with paused time has no moment to advance.
#[test]
fn in_memory_each_call_is_answered_before_its_future_first_returns() {
    fn at_once<T>(future: impl Future<Output = T>) -> T {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(response) => response,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }
    let store = at_once(crate::store::open(&crate::store::Config::in_memory())).unwrap();
    let registered = at_once(store.register(tasks(0..3), Wall(0), vec![Wall(0); 3])).unwrap();
    assert_eq!(at_once(store.open_tasks(None, Row(0), 10)).unwrap().len(), registered.len());
    at_once(store.save(Vec::new())).unwrap();
    at_once(store.close());
    assert!(matches!(at_once(store.outbox()), Err(Error::Closed)));
}

/// A way to remove the files of a store: its name, the change, and the message.
type Change = (&'static str, fn(&Path), &'static str);

const CHANGES: &[Change] = &[
    ("moved", |path| std::fs::rename(path, beside(path, ".old")).unwrap(), "was removed or moved"),
    ("removed", |path| std::fs::remove_file(path).unwrap(), "was removed or moved"),
    (
        "replaced by a copy",
        |path| {
            std::fs::copy(path, beside(path, ".copy")).unwrap();
            std::fs::rename(beside(path, ".copy"), path).unwrap();
        },
        "was replaced",
    ),
    ("without its log", |path| std::fs::remove_file(beside(path, "-wal")).unwrap(), "was removed or moved"),
    (
        "with another log",
        |path| {
            std::fs::write(beside(path, ".copy"), "another log").unwrap();
            std::fs::rename(beside(path, ".copy"), beside(path, "-wal")).unwrap();
        },
        "was replaced",
    ),
    ("without its index", |path| std::fs::remove_file(beside(path, "-shm")).unwrap(), "was removed or moved"),
    (
        "in a moved folder",
        |path| {
            let folder = path.parent().unwrap();
            std::fs::rename(folder, folder.with_extension("moved")).unwrap();
        },
        "was removed or moved",
    ),
    (
        "in a replaced folder",
        |path| {
            let folder = path.parent().unwrap();
            std::fs::rename(folder, folder.with_extension("moved")).unwrap();
            std::fs::write(folder, "").unwrap();
        },
        "was removed or moved",
    ),
];

#[tokio::test]
async fn a_store_whose_files_were_moved_or_replaced_is_used_no_more() {
    let moved =
        |error: &Error, change: &str| matches!(error, Error::Moved { change: found, .. } if *found == change);
    for (name, change, expected) in CHANGES {
        let outer = tempdir().unwrap();
        let folder = outer.path().join("state");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("opwatch.db");
        let store = opened(&path).await.unwrap();
        register(&store, 0..3).await;
        change(&path);
        // The next write and the next read are refused at once.
        let written = store.register(tasks(3..4), Wall(0), vec![Wall(0)]).await.unwrap_err();
        assert!(moved(&written, expected) && written.needs_a_person(), "{name}: {written:?}");
        let read = store.open_tasks(None, Row(0), 1).await.unwrap_err();
        assert!(moved(&read, expected), "{name}: {read:?}");
        store.close().await;
        if *name == "with another log" {
            assert_eq!(std::fs::read_to_string(beside(&path, "-wal")).unwrap(), "another log");
        }
    }
}

#[tokio::test]
async fn a_moved_store_is_noticed_without_any_call() {
    let (_folder, path) = place();
    let store = opened(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let failed = tokio::time::timeout(Duration::from_secs(20), store.failed()).await.unwrap();
    let words = format!("the store {} was removed or moved while opwatch was running; ", path.display());
    assert!(failed.to_string().starts_with(&words), "{failed}");
}

#[tokio::test]
async fn a_backup_another_reader_and_a_foreign_checkpoint_are_no_move() {
    let (folder, path) = place();
    let store = opened(&path).await.unwrap();
    for start in 0..3 {
        let foreign = Connection::open(&path).unwrap();
        foreign.execute("VACUUM INTO ?1", [folder.path().join(format!("{start}.db")).to_str()]).unwrap();
        foreign.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        drop(foreign);
        register(&store, start * 3..start * 3 + 3).await;
    }
    assert!(tokio::time::timeout(Duration::from_millis(2_500), store.failed()).await.is_err());
}

#[tokio::test]
async fn a_store_behind_a_symbolic_link_is_watched_and_its_log_is_emptied() {
    let (folder, path) = place();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let store = opened(&link).await.unwrap();
    for mut task in tasks(0..30) {
        task.settings.name = Some("x".repeat(1 << 20));
        store.register(vec![task], Wall(0), vec![Wall(0)]).await.unwrap();
    }
    store.save(vec![]).await.unwrap();
    assert!(std::fs::metadata(beside(&path, "-wal")).unwrap().len() < 10 << 20);
    std::fs::remove_file(beside(&path, "-wal")).unwrap();
    assert!(matches!(store.save(vec![]).await, Err(Error::Moved { .. })));
}

#[tokio::test]
async fn the_write_ahead_log_is_emptied_by_time_once_a_reader_is_gone() {
    let (_folder, path) = place();
    let store = opened(&path).await.unwrap();
    register(&store, 0..1).await;
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM task").unwrap();
    for mut task in tasks(0..30) {
        task.settings.name = Some("x".repeat(1 << 20));
        store.register(vec![task], Wall(0), vec![Wall(0)]).await.unwrap();
    }
    store.save(vec![]).await.unwrap();
    let size_bytes = || std::fs::metadata(beside(&path, "-wal")).unwrap().len();
    assert!(size_bytes() > 10 << 20, "{}", size_bytes());
    drop(reader);
    // No call from here on.
    let emptied = async {
        while size_bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), emptied).await.unwrap();
}

#[tokio::test]
async fn the_files_of_a_new_store_are_for_their_owner_alone_and_those_of_an_old_one_keep_their_mode() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = place();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(folder.path().join("new.db"), &link).unwrap();
    for (name, path) in [(&path, &path), (&link, &folder.path().join("new.db"))] {
        let store = opened(name).await.unwrap();
        register(&store, 0..3).await;
        assert_eq!(["", "-wal", "-shm"].map(|ending| mode(beside(path, ending))), [0o600; 3]);
        assert_eq!(mode(beside(name, ".lock")), 0o600);
        store.close().await;
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let store = opened(&path).await.unwrap();
    register(&store, 3..6).await;
    assert_eq!(["", "-wal"].map(|ending| mode(beside(&path, ending))), [0o640; 2]);
}

#[tokio::test]
async fn a_lock_file_that_is_a_link_or_no_file_is_refused_and_its_target_left_alone() {
    let (folder, path) = place();
    let target = folder.path().join("precious");
    std::fs::write(&target, "precious").unwrap();
    let lock = beside(&path, ".lock");
    let make: [(&str, &dyn Fn()); 4] = [
        ("a link", &|| std::os::unix::fs::symlink(&target, &lock).unwrap()),
        ("a dangling link", &|| std::os::unix::fs::symlink(folder.path().join("new"), &lock).unwrap()),
        ("a folder", &|| std::fs::create_dir(&lock).unwrap()),
        ("a socket", &|| drop(std::os::unix::net::UnixListener::bind(&lock).unwrap())),
    ];
    for (name, make) in make {
        make();
        let refused = opened(&path).await.map(drop).unwrap_err();
        let words = format!("its lock file {} is not a regular file; remove it", lock.display());
        assert!(refused.to_string().contains(&words) && refused.needs_a_person(), "{name}: {refused}");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious", "{name}");
        assert!(!folder.path().join("new").exists() && !path.exists());
        if std::fs::remove_file(&lock).is_err() {
            std::fs::remove_dir(&lock).unwrap();
        }
    }
}

/// Run with `--release -- --ignored --nocapture`; the number is for people.
#[tokio::test]
#[ignore = "a measurement"]
async fn how_long_200_000_bare_tasks_take() {
    let (_folder, path) = place();
    let store = opened(&path).await.unwrap();
    for word in ["new", "known"] {
        let clock = crate::clock::Clock::start();
        for start in 0..40 {
            register(&store, start * 5000..(start + 1) * 5000).await;
        }
        println!("{word}: {:?}", clock.now().steady - crate::clock::Steady(0));
    }
    let clock = crate::clock::Clock::start();
    let open = store.open_tasks(None, Row(0), 200_000).await.unwrap();
    println!("loaded {}: {:?}", open.len(), clock.now().steady - crate::clock::Steady(0));
    let clock = crate::clock::Clock::start();
    store.save(open.into_iter().map(|task| task.hot).collect()).await.unwrap();
    println!("kept: {:?}", clock.now().steady - crate::clock::Steady(0));
    store.close().await;
    println!("{} bytes a task", std::fs::metadata(&path).unwrap().len() / 200_000);
}
