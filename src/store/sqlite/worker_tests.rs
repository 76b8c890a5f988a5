//! The writer thread alone: batches, savepoints, and the callers that get a failure.

use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::ffi::{self, SQLITE_CONSTRAINT, SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMSIZE};

use super::*;

fn worker() -> Worker {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE number (number INTEGER PRIMARY KEY)").unwrap();
    Worker::start(connection, Role::Writer { _lock: None, wal: None }, StoreShared::default()).unwrap()
}

fn failure(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

fn insert(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO number VALUES (?1)", [number]).map(drop)
}

async fn count(worker: &Worker) -> i64 {
    worker
        .run(|connection| connection.query_row("SELECT count(*) FROM number", [], |record| record.get(0)))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_job_that_fails_is_undone_alone() {
    let worker = worker();
    let good = |number| worker.run(move |connection| insert(connection, number));
    let bad = worker.run(|connection| {
        insert(connection, 2)?;
        Err::<(), _>(failure(SQLITE_CONSTRAINT))
    });
    let (before, failed, after) = tokio::join!(good(1), bad, good(3));
    before.unwrap();
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    after.unwrap();
    assert_eq!(count(&worker).await, 2);
}

#[tokio::test]
async fn a_full_disk_is_waited_out_and_the_batch_is_written_once() {
    for code in [SQLITE_FULL, SQLITE_IOERR_SHMSIZE] {
        let worker = worker();
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let filling = worker.run(move |connection| {
            insert(connection, 2)?;
            if counted.fetch_add(1, Ordering::Relaxed) < 2 { Err(failure(code)) } else { Ok(()) }
        });
        let (one, two) = tokio::join!(worker.run(|connection| insert(connection, 1)), filling);
        one.unwrap();
        two.unwrap();
        assert_eq!(tries.load(Ordering::Relaxed), 3);
        assert_eq!(count(&worker).await, 2);
    }
}

#[tokio::test]
async fn after_a_failed_fsync_no_caller_gets_a_success() {
    let worker = worker();
    let failed = worker.run(|_| Err::<(), _>(failure(SQLITE_IOERR_FSYNC))).await;
    let later = worker.run(|connection| insert(connection, 1)).await;
    for response in [failed, later] {
        let error = response.unwrap_err();
        assert!(matches!(error, Error::Failed(_)), "{error:?}");
        assert!(
            crate::problem::chain(&error).ends_with("disk I/O error"),
            "{}",
            crate::problem::chain(&error)
        );
    }
}

#[tokio::test]
async fn a_panic_in_the_thread_is_an_error_for_all_who_wait_and_come() {
    let worker = worker();
    let panicking = worker.run(|_| -> rusqlite::Result<()> { panic!("on purpose") });
    let (panicked, beside) = tokio::join!(panicking, worker.run(|connection| insert(connection, 1)));
    let later = worker.run(|connection| insert(connection, 2)).await;
    for response in [panicked, beside, later] {
        assert!(matches!(response, Err(Error::Failed(_))), "{response:?}");
    }
    worker.close().await;
}

#[tokio::test]
async fn a_close_finishes_what_is_queued() {
    let worker = worker();
    let inserts = async {
        tokio::join!(
            worker.run(|connection| insert(connection, 1)),
            worker.run(|connection| insert(connection, 2))
        )
    };
    // The inserts are polled first, so that they are queued before the close.
    let ((one, two), ()) = tokio::join!(inserts, worker.close());
    one.unwrap();
    two.unwrap();
}
