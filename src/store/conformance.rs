//! The promises of every store: a function for each promise of the trait, and a line for each engine.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::model::event::GroupCounts;
use crate::model::event::Kind;
use crate::model::reading::{Code, Outcome};
use crate::model::records::{Conclusion, DeadLetter, End, FinishedTask, RegisteredState};
use crate::model::step::Reason;
use crate::model::task::{Origin, Settings, TaskId};
use crate::units::Span;

mod groups;
mod people;

use groups::*;
use people::*;

/// A store that can be opened, and opened again.
pub trait Engine {
    /// Whether its content survives a close.
    fn durable(&self) -> bool;

    async fn open(&self) -> Arc<dyn Store>;
}

/// The promises, once for all engines; each name is a promise.
macro_rules! held_to_the_promises {
    ($($name:ident: $engine:expr;)*) => {
        $(mod $name {
            held_to_the_promises! { $engine =>
                registering_twice_is_registering_once
                changed_settings_of_an_open_task_are_taken_over
                what_is_over_stays_over
                what_was_removed_and_is_listed_again_is_registered_again
                a_task_has_one_final_event
                a_refused_commit_writes_nothing
                a_step_counts_its_events_and_keeps_the_task_open
                an_event_stays_in_the_outbox_of_each_sink_until_it_acknowledges
                undelivered_events_are_read_in_order_and_in_pages
                a_failure_is_counted_from_the_first_on_the_sink_s_own_clock
                a_dead_letter_leaves_the_outbox_and_its_event_enters_it
                a_task_with_a_new_dead_letter_is_not_deleted
                undelivered_events_of_a_removed_sink_become_dead_letters_after_the_retention
                a_group_is_over_with_its_last_task_and_later_tasks_begin_a_new_round
                delivered_events_of_no_task_are_deleted
                open_tasks_come_in_order_and_page_by_page
                open_tasks_of_some_targets_alone_are_found_where_these_are_named
                keeping_leaves_alone_what_is_over
                a_pause_and_an_extension_are_kept_until_the_task_is_registered_anew
                the_pauses_of_accounts_and_sinks_are_kept
                an_ended_task_is_registered_anew_by_request
                the_largest_id_stays_exact
                a_number_and_its_digits_as_text_are_two_tasks
                only_finished_tasks_without_undelivered_events_can_be_deleted
                what_is_registered_again_meanwhile_is_not_forgotten
                a_forgotten_key_is_never_given_out_again
                evidence_is_saved_for_each_pace_key_in_place_of_the_one_before
                commits_at_once_all_arrive
                a_closed_store_says_so
                an_opened_store_has_all_that_was_acknowledged
            }
        })*
    };
    ($engine:expr => $($promise:ident)*) => {
        use super::*;
        $(#[tokio::test]
        async fn $promise() {
            super::$promise($engine).await;
        })*
    };
}

held_to_the_promises! {
    sqlite_in_a_file: InFile(tempfile::tempdir().unwrap());
    sqlite_in_memory: InMemory;
}

struct InFile(tempfile::TempDir);
struct InMemory;

impl Engine for InFile {
    fn durable(&self) -> bool {
        true
    }

    async fn open(&self) -> Arc<dyn Store> {
        let url = Some(format!("sqlite:{}", self.0.path().join("opwatch.db").display()));
        super::open(&Config { url, ..Config::default() }).await.unwrap()
    }
}

impl Engine for InMemory {
    fn durable(&self) -> bool {
        false
    }

    async fn open(&self) -> Arc<dyn Store> {
        super::open(&Config::in_memory()).await.unwrap()
    }
}

const NOW: Wall = Wall(1_764_000_000_000);

fn target(operation: &str) -> Arc<Target> {
    Arc::new(Target { account: "default".into(), region: "bj".into(), operation: operation.into() })
}

fn task(id: u64) -> NewTask {
    NewTask {
        target: target("bm"),
        id: TaskId::Int(id),
        settings: Settings::default(),
        origin: Origin::File,
        again: false,
    }
}

fn named(id: u64, name: &str) -> NewTask {
    NewTask { settings: Settings { name: Some(name.into()), ..Settings::default() }, ..task(id) }
}

fn hot(row: Row) -> HotRow {
    HotRow {
        row,
        due: NOW,
        since: NOW,
        seen: None,
        digest: 0,
        status: None,
        polls: 0,
        errors: 0,
        streak: 0,
        registered_cloud: None,
        warned: false,
        paused: false,
        extended: None,
    }
}

fn event(number: u128) -> Event {
    let body = format!("{{\"number\":{number}}}");
    Event::stored(Uuid::from_u128(number), Kind::Finished, Wall(NOW.0 + 7), body)
}

/// The end of a task at that moment, with an undelivered event for each of these sinks.
fn finished(row: Row, at: Wall, sinks: &[&str]) -> Commit {
    let end = Some(End { at, conclusion: Conclusion::Finished(Outcome::Success) });
    let number = u128::from(row.0.unsigned_abs());
    Commit {
        hot: hot(row),
        end,
        event: Some((event(number), sinks.iter().map(ToString::to_string).collect())),
    }
}

async fn register(store: &dyn Store, tasks: &[NewTask]) -> Vec<Registered> {
    store.register(tasks.to_vec(), NOW, vec![NOW; tasks.len()]).await.unwrap()
}

async fn rows(store: &dyn Store, count: u64) -> Vec<Row> {
    let tasks: Vec<_> = (1..=count).map(task).collect();
    register(store, &tasks).await.into_iter().map(|registered| registered.row).collect()
}

async fn open_rows(store: &dyn Store) -> Vec<Row> {
    store.open_tasks(None, Row(0), 1000).await.unwrap().into_iter().map(|task| task.hot.row).collect()
}

async fn undelivered(store: &dyn Store, sink: &str) -> Vec<OutboxRow> {
    store.undelivered(sink, Seq(0), 1000).await.unwrap()
}

async fn registering_twice_is_registering_once(engine: impl Engine) {
    let store = engine.open().await;
    let first = register(&*store, &[task(1), task(2), task(1)]).await;
    assert_eq!(
        first.iter().map(|task| task.state).collect::<Vec<_>>(),
        [RegisteredState::New, RegisteredState::New, RegisteredState::Known]
    );
    assert_eq!(first[0].row, first[2].row);
    let later = Wall(NOW.0 + 5);
    let second = store.register(vec![task(2)], later, vec![later]).await.unwrap();
    assert_eq!(second, [Registered { row: first[1].row, state: RegisteredState::Known }]);
    let open = store.open_tasks(None, Row(0), 10).await.unwrap();
    assert_eq!(
        open.iter().map(|task| (task.registered_at, task.hot.due)).collect::<Vec<_>>(),
        [(NOW, NOW), (NOW, NOW)]
    );
}

async fn changed_settings_of_an_open_task_are_taken_over(engine: impl Engine) {
    let store = engine.open().await;
    let full = Settings {
        group: Some("rack 7".into()),
        warn_after: Some(crate::units::Limit(None)),
        run: Some("2".into()),
        name: Some("rack 7".into()),
        labels: [("team".into(), "dba".into())].into(),
        initial_delay: Some(Span(Duration::from_millis(1500))),
        timeout: Some(Limit(None)),
        sinks: Some(vec![]),
        params: [("InstanceId".into(), "cpm-1".into())].into(),
    };
    for settings in [Settings::default(), full.clone(), full, Settings::default()] {
        let row = register(&*store, &[NewTask { settings: settings.clone(), ..task(1) }]).await[0].row;
        assert_eq!(store.record(row).await.unwrap().map(|record| record.settings), Some(settings.clone()));
        assert_eq!(store.open_tasks(None, Row(0), 1).await.unwrap()[0].settings, settings);
    }
}

async fn what_is_over_stays_over(engine: impl Engine) {
    let store = engine.open().await;
    let row = register(&*store, &[named(1, "before")]).await[0].row;
    assert!(store.commit(finished(row, NOW, &[])).await.unwrap());
    assert_eq!(
        register(&*store, &[named(1, "after")]).await,
        [Registered { row, state: RegisteredState::Finished }]
    );
    assert_eq!(open_rows(&*store).await, []);
    assert_eq!(store.record(row).await.unwrap().unwrap().settings.name.as_deref(), Some("before"));
}

async fn what_was_removed_and_is_listed_again_is_registered_again(engine: impl Engine) {
    let store = engine.open().await;
    let row = register(&*store, &[task(1)]).await[0].row;
    for reason in [Reason::Removed, Reason::Removed, Reason::Deadline] {
        let before = store.record(row).await.unwrap().unwrap();
        let end = Some(End { at: NOW, conclusion: Conclusion::Abandoned(reason) });
        assert!(store.commit(Commit { end, ..finished(row, NOW, &["hook"]) }).await.unwrap());
        let again = register(&*store, &[task(1)]).await;
        let expected =
            if reason == Reason::Removed { RegisteredState::New } else { RegisteredState::Finished };
        assert_eq!(again, [Registered { row, state: expected }]);
        // The ids of its events derive from its start, and no two rounds may share one.
        let after = store.record(row).await.unwrap().unwrap();
        assert_eq!(after.registered_at > before.registered_at, expected == RegisteredState::New);
    }
}

async fn a_task_has_one_final_event(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    let (one, other) = tokio::join!(
        store.commit(finished(row, NOW, &["hook"])),
        store.commit(finished(row, NOW, &["hook"]))
    );
    assert_ne!(one.unwrap(), other.unwrap());
    assert!(!store.commit(finished(row, NOW, &["hook"])).await.unwrap());
    assert_eq!(undelivered(&*store, "hook").await.len(), 1);
}

async fn a_refused_commit_writes_nothing(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, NOW, &["hook"])).await.unwrap();
    let before = (store.record(row).await.unwrap(), undelivered(&*store, "hook").await);
    assert!(!store.commit(Commit { end: None, ..finished(row, NOW, &["hook", "file"]) }).await.unwrap());
    assert!(!store.commit(finished(Row(999), NOW, &["file"])).await.unwrap());
    assert_eq!((store.record(row).await.unwrap(), undelivered(&*store, "hook").await), before);
    assert_eq!(undelivered(&*store, "file").await, []);
}

async fn a_step_counts_its_events_and_keeps_the_task_open(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    let moved = HotRow {
        seen: Some(Wall(NOW.0 + 1)),
        digest: u64::MAX,
        status: Some(Code::Text("0".into())),
        polls: u32::MAX,
        errors: 2,
        streak: 1,
        ..hot(row)
    };
    let step = Commit { hot: moved.clone(), end: None, event: Some((event(1), vec!["hook".into()])) };
    assert!(store.commit(step).await.unwrap());
    assert!(store.commit(Commit { hot: moved.clone(), end: None, event: None }).await.unwrap());
    assert_eq!(store.open_tasks(None, Row(0), 10).await.unwrap()[0].hot, moved);
    assert_eq!(store.record(row).await.unwrap().unwrap().sequence, 1);
    assert_eq!(store.record(Row(999)).await.unwrap(), None);
}

async fn an_event_stays_in_the_outbox_of_each_sink_until_it_acknowledges(engine: impl Engine) {
    let store = engine.open().await;
    for row in rows(&*store, 2).await {
        store.commit(finished(row, NOW, &["hook", "file"])).await.unwrap();
    }
    let outbox = store.outbox().await.unwrap();
    assert_eq!(outbox, HashMap::from([("hook".into(), 2), ("file".into(), 2)]));
    let first = undelivered(&*store, "hook").await.remove(0);
    store.acknowledge("hook", vec![first.seq]).await.unwrap();
    store.acknowledge("hook", vec![first.seq, Seq(999)]).await.unwrap();
    assert_eq!(store.outbox().await.unwrap(), HashMap::from([("hook".into(), 1), ("file".into(), 2)]));
    assert_eq!(undelivered(&*store, "file").await[0], first);
    assert_ne!(undelivered(&*store, "hook").await[0], first);
}

async fn undelivered_events_are_read_in_order_and_in_pages(engine: impl Engine) {
    let store = engine.open().await;
    let mut rows = rows(&*store, 5).await;
    rows.reverse();
    for row in &rows {
        store.commit(finished(*row, NOW, &["hook"])).await.unwrap();
    }
    let expected: Vec<_> = rows.iter().map(|row| event(u128::from(row.0.unsigned_abs()))).collect();
    let mut seen = Vec::new();
    let mut after = Seq(0);
    while let page @ [_, ..] = &*store.undelivered("hook", after, 2).await.unwrap() {
        assert!(page.len() <= 2);
        after = page[page.len() - 1].seq;
        seen.extend(page.iter().map(|rest| rest.event.clone()));
    }
    assert_eq!(seen, expected);
    assert_eq!(undelivered(&*store, "nobody").await, []);
}

async fn a_failure_is_counted_from_the_first_on_the_sink_s_own_clock(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, NOW, &["hook", "file"])).await.unwrap();
    let owed_before = undelivered(&*store, "hook").await.remove(0);
    assert_eq!((owed_before.task, owed_before.attempts, owed_before.tried), (Some(row), 0, None));
    for seconds in [5, 9] {
        store.mark_tried("hook", vec![owed_before.seq], Duration::from_secs(seconds)).await.unwrap();
    }
    let after = undelivered(&*store, "hook").await.remove(0);
    assert_eq!((after.attempts, after.tried), (2, Some(Duration::from_secs(5))));
    assert_eq!(
        (store.active("hook").await.unwrap(), store.active("file").await.unwrap()),
        (Duration::from_secs(9), Duration::ZERO)
    );
    store.save_active("hook", Duration::from_secs(30)).await.unwrap();
    assert_eq!(store.active("hook").await.unwrap(), Duration::from_secs(30));
    assert_eq!(undelivered(&*store, "file").await[0].attempts, 0);
}

async fn a_dead_letter_leaves_the_outbox_and_its_event_enters_it(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, NOW, &["hook"])).await.unwrap();
    let seq = undelivered(&*store, "hook").await[0].seq;
    let event = Some((event(77), vec!["log".to_owned()]));
    let letter = DeadLetter { sink: "hook".into(), seq, at: NOW, attempts: 3, error: "413".into(), event };
    store.dead_letter(letter.clone()).await.unwrap();
    store.dead_letter(letter).await.unwrap();
    assert_eq!(store.outbox().await.unwrap(), HashMap::from([("log".into(), 1)]));
    assert_eq!(undelivered(&*store, "log").await[0].event, self::event(77));
    assert_eq!(store.dead_letters().await.unwrap(), HashMap::from([("hook".into(), 1)]));
    let past = store.finished_before(Wall(i64::MAX), FinishedTask::default(), 10).await.unwrap();
    store.delete_finished(Wall(i64::MAX), past).await.unwrap();
    assert_eq!(store.record(row).await.unwrap(), None);
    assert_eq!(store.dead_letters().await.unwrap(), HashMap::new());
}

async fn a_task_with_a_new_dead_letter_is_not_deleted(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, Wall(10), &["hook"])).await.unwrap();
    let seq = undelivered(&*store, "hook").await[0].seq;
    store
        .dead_letter(DeadLetter {
            sink: "hook".into(),
            seq,
            at: NOW,
            attempts: 3,
            error: "413".into(),
            event: None,
        })
        .await
        .unwrap();
    let found = vec![FinishedTask { at: Wall(10), row }];
    store.delete_finished(Wall(100), found.clone()).await.unwrap();
    assert!(store.record(row).await.unwrap().is_some());
    store.delete_finished(Wall(NOW.0 + 1), found).await.unwrap();
    assert_eq!(store.record(row).await.unwrap(), None);
}

async fn open_tasks_come_in_order_and_page_by_page(engine: impl Engine) {
    let store = engine.open().await;
    let rows = rows(&*store, 5).await;
    store.commit(finished(rows[1], NOW, &[])).await.unwrap();
    let page = |after| store.open_tasks(None, after, 2);
    let found = [page(Row(0)).await.unwrap(), page(rows[2]).await.unwrap(), page(rows[4]).await.unwrap()];
    assert_eq!(
        found.map(|page| page.iter().map(|task| task.hot.row).collect::<Vec<_>>()),
        [vec![rows[0], rows[2]], vec![rows[3], rows[4]], vec![]]
    );
}

async fn open_tasks_of_some_targets_alone_are_found_where_these_are_named(engine: impl Engine) {
    let store = engine.open().await;
    let tasks = [("bm", 1), ("flow", 2), ("bm", 3), ("other", 4), ("flow", 5)];
    let tasks = tasks.map(|(operation, id)| NewTask { target: target(operation), ..task(id) });
    let rows: Vec<_> = register(&*store, &tasks).await.into_iter().map(|registered| registered.row).collect();
    let targets = store.targets().await.unwrap();
    let of = |names: &[&str]| -> Vec<TargetRow> {
        let named = targets.iter().filter(|(_, target)| names.contains(&target.operation.as_str()));
        named.map(|(row, _)| *row).collect()
    };
    for (names, expected) in [
        (&["bm"] as &[&str], vec![rows[0], rows[2]]),
        (&["bm", "flow"], vec![rows[0], rows[1], rows[2], rows[4]]),
        (&[], vec![]),
    ] {
        let mut found = Vec::new();
        let mut after = Row(0);
        while let page @ [_, ..] = &*store.open_tasks(Some(&of(names)), after, 2).await.unwrap() {
            after = page[page.len() - 1].hot.row;
            found.extend(page.iter().map(|task| task.hot.row));
        }
        assert_eq!(found, expected, "{names:?}");
    }
}

async fn keeping_leaves_alone_what_is_over(engine: impl Engine) {
    let store = engine.open().await;
    let rows = rows(&*store, 2).await;
    store.commit(finished(rows[0], NOW, &[])).await.unwrap();
    let polled = |row| HotRow { polls: 9, ..hot(row) };
    store.save(rows.iter().map(|row| polled(*row)).collect()).await.unwrap();
    let open = async || {
        let open = store.open_tasks(None, Row(0), 10).await.unwrap();
        open.into_iter().map(|task| task.hot).collect::<Vec<_>>()
    };
    assert_eq!(open().await, [polled(rows[1])]);
    let paused = HotRow { paused: true, ..polled(rows[1]) };
    store.commit(Commit { hot: paused.clone(), end: None, event: None }).await.unwrap();
    store.save(vec![polled(rows[1])]).await.unwrap();
    assert_eq!(open().await, std::slice::from_ref(&paused), "the pause of a person stays");
    store.save(vec![HotRow { polls: 8, errors: 3, ..polled(rows[1]) }]).await.unwrap();
    assert_eq!(open().await, [paused], "an earlier state does not return");
}

async fn the_largest_id_stays_exact(engine: impl Engine) {
    let store = engine.open().await;
    let ids = [u64::MAX, i64::MAX.cast_unsigned() + 1, i64::MAX.cast_unsigned(), 0];
    assert!(register(&*store, &ids.map(task)).await.iter().all(|task| task.state == RegisteredState::New));
    assert!(register(&*store, &ids.map(task)).await.iter().all(|task| task.state == RegisteredState::Known));
    let open = store.open_tasks(None, Row(0), 10).await.unwrap();
    assert_eq!(open.into_iter().map(|task| task.id).collect::<Vec<_>>(), ids.map(TaskId::Int));
}

async fn a_number_and_its_digits_as_text_are_two_tasks(engine: impl Engine) {
    let store = engine.open().await;
    let text = NewTask { id: TaskId::Text("42".into()), ..task(42) };
    let elsewhere = NewTask { target: target("flow"), ..text.clone() };
    let tasks = [task(42), text, elsewhere];
    assert!(register(&*store, &tasks).await.iter().all(|task| task.state == RegisteredState::New));
    let targets = store.targets().await.unwrap();
    let open = store.open_tasks(None, Row(0), 10).await.unwrap();
    assert_eq!(targets.len(), 2);
    for (open, task) in open.iter().zip(&tasks) {
        assert_eq!((&open.id, &targets[&open.target]), (&task.id, &*task.target));
    }
}

async fn only_finished_tasks_without_undelivered_events_can_be_deleted(engine: impl Engine) {
    let store = engine.open().await;
    let rows = rows(&*store, 6).await;
    // `rows[0]` stays open, `rows[1]` ends too late, and `rows[2]` has an undelivered event. The others are
    // expected by their ends; two ends at the same moment are in the order of the rows.
    let ends = [
        (rows[1], 100, &[] as &[&str]),
        (rows[2], 10, &["hook"]),
        (rows[4], 11, &[]),
        (rows[3], 12, &[]),
        (rows[5], 12, &[]),
    ];
    for (row, at, sinks) in ends {
        store.commit(finished(row, Wall(at), sinks)).await.unwrap();
    }
    let past = |row, at| FinishedTask { at: Wall(at), row };
    let expected = [past(rows[4], 11), past(rows[3], 12), past(rows[5], 12)];
    assert_eq!(store.finished_before(Wall(100), FinishedTask::default(), 10).await.unwrap(), expected);
    assert_eq!(store.finished_before(Wall(100), expected[0], 1).await.unwrap(), expected[1..2]);
    assert_eq!(store.finished_before(Wall(100), expected[1], 10).await.unwrap(), expected[2..]);

    // The call omits one task, as retention omits a task that the configuration still lists.
    store
        .delete_finished(Wall(100), vec![expected[0], expected[2], past(rows[0], 0), past(rows[2], 10)])
        .await
        .unwrap();
    assert_eq!(
        store.finished_before(Wall(i64::MAX), FinishedTask::default(), 10).await.unwrap(),
        [expected[1], past(rows[1], 100)]
    );
    assert_eq!(open_rows(&*store).await, [rows[0]]);
    assert_eq!(undelivered(&*store, "hook").await.len(), 1);
    assert_eq!(store.record(rows[4]).await.unwrap(), None);
}

async fn what_is_registered_again_meanwhile_is_not_forgotten(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, Wall(10), &[])).await.unwrap();
    // An end at another moment is the end of another round.
    store.delete_finished(NOW, vec![FinishedTask { at: Wall(9), row }]).await.unwrap();
    assert!(store.record(row).await.unwrap().is_some());
}

async fn a_forgotten_key_is_never_given_out_again(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, Wall(10), &["hook"])).await.unwrap();
    let seq = undelivered(&*store, "hook").await[0].seq;
    store.acknowledge("hook", vec![seq]).await.unwrap();
    store.delete_finished(NOW, vec![FinishedTask { at: Wall(10), row }]).await.unwrap();
    let again = rows(&*store, 1).await[0];
    assert!(again > row);
    store.commit(finished(again, Wall(11), &["hook"])).await.unwrap();
    assert!(undelivered(&*store, "hook").await[0].seq > seq);
}

async fn evidence_is_saved_for_each_pace_key_in_place_of_the_one_before(engine: impl Engine) {
    let store = engine.open().await;
    assert_eq!(store.evidence().await.unwrap(), []);
    let evidence = |pace_key: &str, had_good_response, refused: &[(Code, Vec<Row>)]| EvidenceRow {
        pace_key: pace_key.into(),
        had_good_response,
        refused: refused.to_vec(),
    };
    let codes = [
        (Code::Int(10001), vec![Row(3), Row(i64::MAX)]),
        (Code::Text("AuthFailure".into()), vec![]),
        (Code::Text("ResourceNotFound.\"x\"".into()), vec![Row(1)]),
    ];
    let one = evidence("AKID/bj/bm.api.qcloud.com/Describe", false, &codes);
    let other = evidence("a", false, &[]);
    store.save_evidence(vec![one.clone(), other.clone()]).await.unwrap();
    assert_eq!(store.evidence().await.unwrap(), [one.clone(), other]);
    let good = evidence("a", true, &codes[2..]);
    store.save_evidence(vec![good.clone()]).await.unwrap();
    store.save_evidence(vec![]).await.unwrap();
    assert_eq!(store.evidence().await.unwrap(), [one.clone(), good.clone()]);
    store.close().await;
    let after = engine.open().await.evidence().await.unwrap();
    assert_eq!(after, if engine.durable() { vec![one, good] } else { vec![] });
}

async fn commits_at_once_all_arrive(engine: impl Engine) {
    let store = engine.open().await;
    let mut commits = tokio::task::JoinSet::new();
    for row in rows(&*store, 700).await {
        let store = store.clone();
        commits.spawn(async move { store.commit(finished(row, NOW, &["hook"])).await.unwrap() });
    }
    assert!(commits.join_all().await.into_iter().all(|written| written));
    assert_eq!(store.outbox().await.unwrap()["hook"], 700);
}

async fn a_closed_store_says_so(engine: impl Engine) {
    let store = engine.open().await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.outbox().await, Err(Error::Closed)));
    assert!(matches!(store.save(vec![]).await, Err(Error::Closed)));
}

async fn an_opened_store_has_all_that_was_acknowledged(engine: impl Engine) {
    let store = engine.open().await;
    let row = register(&*store, &[named(1, "rack 7"), task(2)]).await[0].row;
    store.commit(finished(row, NOW, &["hook"])).await.unwrap();
    let before = (
        store.open_tasks(None, Row(0), 10).await.unwrap(),
        store.record(row).await.unwrap(),
        undelivered(&*store, "hook").await,
    );
    store.close().await;
    let store = engine.open().await;
    let after = (
        store.open_tasks(None, Row(0), 10).await.unwrap(),
        store.record(row).await.unwrap(),
        undelivered(&*store, "hook").await,
    );
    assert_eq!(after == before, engine.durable(), "{after:?}");
}
