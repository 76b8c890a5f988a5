//! Events for the tests of lines and sinks.

use super::*;
use crate::model::reading::Class;

const AT: Wall = Wall(1_764_000_000_000);

/// An event of the task of docs/architecture.md §7, with that name and that data.
pub fn task(kind: Kind, name: &str, change: impl FnOnce(&mut TaskData)) -> Event {
    let target = Target { account: "default".into(), region: "bj".into(), operation: "bm".into() };
    let settings = Settings { name: Some(name.to_owned()), ..Settings::default() };
    let id = TaskId::Int(1_000_800_001);
    let about =
        EventContext { target: &target, id: &id, settings: &settings, registered_at: AT, sequence: 0 };
    let mut data = TaskData { elapsed_seconds: Some(723.4), polls: Some(17), ..TaskData::of(&about) };
    change(&mut data);
    Event { id: Uuid::from_u128(1), ..of_task(&about, kind, AT, data) }
}

/// A task of that name that succeeded.
pub fn success(name: &str) -> Event {
    task(Kind::Finished, name, |data| {
        data.outcome = Some(Outcome::Success);
        data.status = Some(Code::Int(1));
    })
}

/// Equal events.
pub fn successes(count: usize) -> Vec<Event> {
    vec![success("reinstall rack 7"); count]
}

/// A dead letter of that event.
pub fn dead_letter(event: &Event) -> Event {
    dead(&Dead { sink: "page", event, attempts: 3, error: "too long" }, AT)
}

/// An account on hold, or released.
pub fn hold(released: bool) -> Event {
    let cause = Fault {
        class: Class::Account,
        code: Code::Int(4100),
        message: "wrong key".to_owned(),
        retry_after: None,
    };
    let held = Held { account: "main", pace_key: None, cause: &cause, since: AT, number: 1, tasks: 3 };
    account(&held, released, AT)
}
