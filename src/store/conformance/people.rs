//! Requests of people: pauses, deadlines, and tasks that are registered again.

use std::time::Duration;

use super::*;
use crate::model::records::PauseScope;

pub async fn a_pause_and_an_extension_are_kept_until_the_task_is_registered_anew(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 2).await[0];
    let changed = HotRow { paused: true, extended: Some(Duration::from_millis(90_500)), ..hot(row) };
    assert!(store.commit(Commit { hot: changed.clone(), end: None, event: None }).await.unwrap());
    register(&*store, &[named(1, "renamed")]).await;
    let open = store.open_of(vec![row, Row(999)]).await.unwrap();
    assert_eq!(open.iter().map(|task| &task.hot).collect::<Vec<_>>(), [&changed]);
    let end = Some(End { at: NOW, conclusion: Conclusion::Abandoned(Reason::Removed) });
    store.commit(Commit { end, ..finished(row, NOW, &[]) }).await.unwrap();
    assert_eq!(store.open_of(vec![row]).await.unwrap(), []);
    register(&*store, &[task(1)]).await;
    let open = store.open_of(vec![row]).await.unwrap();
    assert_eq!((open[0].hot.paused, open[0].hot.extended), (false, None));
}

pub async fn the_pauses_of_accounts_and_sinks_are_kept(engine: impl Engine) {
    let store = engine.open().await;
    let scopes = [PauseScope::Account("a".into()), PauseScope::Sink("a".into())];
    for scope in &scopes {
        store.set_paused(scope.clone(), true).await.unwrap();
        store.set_paused(scope.clone(), true).await.unwrap();
    }
    assert_eq!(store.paused().await.unwrap(), scopes.clone().into());
    store.set_paused(scopes[0].clone(), false).await.unwrap();
    store.set_paused(scopes[0].clone(), false).await.unwrap();
    assert_eq!(store.paused().await.unwrap(), [scopes[1].clone()].into());
}

pub async fn an_ended_task_is_registered_anew_by_request(engine: impl Engine) {
    let store = engine.open().await;
    let row = rows(&*store, 1).await[0];
    store.commit(finished(row, NOW, &[])).await.unwrap();
    let again = NewTask { origin: Origin::Command, again: true, ..task(1) };
    let registered = register(&*store, &[task(1), again.clone(), again]).await;
    let states: Vec<_> = registered.iter().map(|registered| registered.state).collect();
    assert_eq!(states, [RegisteredState::Finished, RegisteredState::New, RegisteredState::Known]);
    assert_eq!(store.open_of(vec![row]).await.unwrap()[0].origin, Origin::Command);
}
