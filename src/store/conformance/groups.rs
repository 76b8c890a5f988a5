//! Rounds of groups, and the events that are about no task or for no sink.

use std::collections::HashMap;

use super::*;

pub async fn a_group_is_over_with_its_last_task_and_later_tasks_begin_a_new_round(engine: impl Engine) {
    let store = engine.open().await;
    let grouped = |id, group: Option<&str>| NewTask {
        settings: Settings { group: group.map(Into::into), ..Settings::default() },
        ..task(id)
    };
    let in_group = |ids: std::ops::Range<u64>| ids.map(|id| grouped(id, Some("rack"))).collect::<Vec<_>>();
    let rows: Vec<_> = register(&*store, &in_group(1..4)).await.into_iter().map(|task| task.row).collect();
    store.commit(finished(rows[0], Wall(NOW.0 + 1), &[])).await.unwrap();
    let end = Some(End { at: Wall(NOW.0 + 9), conclusion: Conclusion::Abandoned(Reason::Deadline) });
    store.commit(Commit { end, ..finished(rows[1], NOW, &[]) }).await.unwrap();
    assert_eq!(store.finished_groups().await.unwrap(), []);
    // The third task leaves the group while it is open.
    register(&*store, &[grouped(3, None)]).await;
    let over = store.finished_groups().await.unwrap().remove(0);
    let counts = GroupCounts { success: 1, abandoned: 1, ..GroupCounts::default() };
    assert_eq!((over.name.as_str(), over.round, over.counts, over.started_at), ("rack", 1, counts, NOW));
    assert_eq!((over.finished_at, over.settings.len()), (Wall(NOW.0 + 9), 1));
    assert_eq!(
        store.finished_before(Wall(i64::MAX), FinishedTask::default(), 10).await.unwrap(),
        [],
        "what an open round counts is not forgotten"
    );
    assert!(store.close_group(over.row, event(50), vec!["hook".into()]).await.unwrap());
    assert!(!store.close_group(over.row, event(51), vec!["hook".into()]).await.unwrap());
    assert_eq!(undelivered(&*store, "hook").await.len(), 1);
    let row = register(&*store, &in_group(7..8)).await[0].row;
    store.commit(finished(row, NOW, &[])).await.unwrap();
    let second = store.finished_groups().await.unwrap().remove(0);
    assert_eq!((second.round, second.counts), (2, GroupCounts { success: 1, ..GroupCounts::default() }));
    register(&*store, &in_group(8..9)).await;
    assert!(!store.close_group(second.row, event(52), vec![]).await.unwrap(), "another task joined it");
}

pub async fn delivered_events_of_no_task_are_deleted(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, NOW, &[])).await.unwrap();
    for (number, sinks) in [(1, vec!["log".to_owned()]), (2, vec![]), (3, vec![])] {
        store.add_event(event(number), sinks).await.unwrap();
    }
    assert_eq!(store.delete_events(NOW, 10).await.unwrap(), 0);
    assert_eq!(store.delete_events(Wall(NOW.0 + 60_000), 1).await.unwrap(), 1);
    assert_eq!(store.delete_events(Wall(NOW.0 + 60_000), 10).await.unwrap(), 1);
    assert_eq!(undelivered(&*store, "log").await.len(), 1);
}

pub async fn undelivered_events_of_a_removed_sink_become_dead_letters_after_the_retention(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let rows = rows(&*store, 2).await;
    store.commit(finished(rows[0], NOW, &["gone", "hook"])).await.unwrap();
    let mut later = event(2);
    later.time = Wall(NOW.0 + 1_000);
    let end = Some(End { at: NOW, conclusion: Conclusion::Finished(Outcome::Success) });
    store.commit(Commit { hot: hot(rows[1]), end, event: Some((later, vec!["gone".into()])) }).await.unwrap();
    assert_eq!(
        store.expire_unconfigured(vec!["hook".into()], Wall(NOW.0 + 500), NOW).await.unwrap(),
        HashMap::from([("gone".into(), 1)])
    );
    assert_eq!(store.outbox().await.unwrap(), HashMap::from([("gone".into(), 1), ("hook".into(), 1)]));
}
