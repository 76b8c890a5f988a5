//! Each error code of docs/tencent-cloud-api.md §1, with its consequences: for the task, its pace key, its
//! account, the pace, and the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::machine::Machine;
use super::write::Write;
use crate::clock::{Moment, Steady, Wall};
use crate::cloud::account::Account;
use crate::cloud::operations::Operations;
use crate::cloud::{Cloud, connection, response};
use crate::live::Current;
use crate::model::policy::Policy;
use crate::model::reading::Response;
use crate::model::records::RowSet;
use crate::model::route::Routes;
use crate::model::task::{IdType, NewTask, Origin, Row, Settings, Target};
use crate::register::catalogue::Catalogue;
use crate::secret::Secret;
use crate::store;
use crate::telemetry::captured;

/// The consequence of a code.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Comes {
    /// Polled again with backoff.
    Again,
    /// Polled again in the very next slot.
    AtOnce,
    /// The account is held: nothing of it goes out.
    AccountHeld,
    /// The pace key goes on hold, and another region continues.
    KeyHeld,
    /// The rate is reduced.
    Slower,
}

/// Code, message, consequence, and a part of the log line.
const CODES: &[(i64, &str, Comes, &str)] = &[
    (9001, "InternalError.DbError", Comes::Again, "a poll failed"),
    (10001, "InvalidParameter", Comes::Again, "a poll failed"),
    (10001, "invalid Region", Comes::KeyHeld, "the region and the endpoint"),
    (4000, "invalid request parameter", Comes::Again, "a poll failed"),
    (4100, "signature failure", Comes::AccountHeld, "check secret_id and secret_key"),
    (4101, "unauthorized", Comes::KeyHeld, "permissions of the sub-account"),
    (4102, "", Comes::KeyHeld, "permissions of the sub-account"),
    (4103, "", Comes::KeyHeld, "permissions of the sub-account"),
    (4104, "SecretId not found", Comes::AccountHeld, "check secret_id and secret_key"),
    (4105, "token error", Comes::AccountHeld, "check secret_id and secret_key"),
    (4106, "MFA", Comes::AccountHeld, "check secret_id and secret_key"),
    (4110, "CAM", Comes::KeyHeld, "permissions of the sub-account"),
    (4200, "expired", Comes::AtOnce, "a poll failed"),
    (4300, "access denied", Comes::KeyHeld, "permissions of the sub-account"),
    (4400, "quota", Comes::Slower, "throttled: too many requests"),
    (4500, "replay", Comes::AtOnce, "a poll failed"),
    (4600, "protocol", Comes::KeyHeld, "permissions of the sub-account"),
    (5000, "resource does not exist", Comes::Again, "a poll failed"),
    (5100, "(9001)db error", Comes::Again, "9001"),
    (5200, "", Comes::Again, "a poll failed"),
    (5300, "", Comes::Again, "a poll failed"),
    (5400, "", Comes::Again, "a poll failed"),
    (5500, "", Comes::Again, "a poll failed"),
    (6000, "internal", Comes::Again, "a poll failed"),
    (6100, "not served here", Comes::KeyHeld, "permissions of the sub-account"),
    (6200, "maintenance", Comes::Again, "a poll failed"),
    (77_777, "never seen", Comes::Again, "77777"),
];

/// A loop that watches one task in each of two regions.
async fn machine() -> Machine {
    let account = Account {
        endpoint: "http://127.0.0.1:1".parse().ok(),
        ..Account::new("default", "AKID", Secret::new("k"))
    };
    let policy = Policy::default();
    let accounts = [("default".to_owned(), account)].into();
    let timeout = policy.request_timeout.0;
    let cloud = Cloud::new(accounts, Operations::built_in(), timeout, connection::pools).unwrap();
    let store = store::open(&store::Config::in_memory()).await.unwrap();
    let task = |region: &str| {
        let target = Target { account: "default".into(), region: region.into(), operation: "bm".into() };
        let id = IdType::Int.canonical("1").unwrap();
        NewTask {
            target: Arc::new(target),
            id,
            settings: Settings::default(),
            origin: Origin::File,
            again: false,
        }
    };
    let registered =
        store.register(vec![task("bj"), task("gz")], at(0).wall, vec![at(0).wall; 2]).await.unwrap();
    let mut listed = RowSet::default();
    registered.iter().for_each(|registered| listed.insert(registered.row));
    let catalogue = Arc::new(Catalogue::new([], Operations::built_in(), []));
    let current =
        Current { policy, cloud, routes: Routes::default(), listed, sinks: BTreeSet::new(), catalogue };
    Machine::load(Arc::new(current), false, &*store, || at(0)).await.unwrap().0
}

fn at(seconds: i64) -> Moment {
    Moment { steady: Steady(seconds * 1_000_000), wall: Wall(1_764_000_000_000 + seconds * 1000) }
}

/// The consequence of that response to the first poll of the first task.
fn comes_of(machine: &mut Machine, body: &str) -> (Comes, bool) {
    let first = machine.next_poll(at(1)).expect("the first task");
    assert_eq!(machine.board.get(first.slot).map(|task| task.row), Some(Row(1)));
    let target = machine.board.get(first.slot).unwrap().target;
    let spacing = machine.spacing(target, at(1).steady);
    let poll = response::read(Operations::built_in().get("bm").unwrap(), 200, None, body.as_bytes());
    let writes = machine.settle(first.slot, Response { poll, date: None }, at(1), at(1), 0.5);
    let stands = machine.status();
    let other = machine
        .next_poll(at(2))
        .is_some_and(|ask| machine.board.get(ask.slot).is_some_and(|task| task.row == Row(2)));
    let task = machine.board.get(first.slot).expect("nothing is abandoned at once");
    let has_event = writes.iter().any(|write| matches!(write, Write::Event(..)));
    let comes = match () {
        () if has_event && !other => Comes::AccountHeld,
        () if has_event => Comes::KeyHeld,
        () if machine.spacing(target, at(1).steady) > spacing => Comes::Slower,
        () if task.due <= at(1).steady => Comes::AtOnce,
        () => Comes::Again,
    };
    assert_eq!(stands.open, 2);
    (comes, other)
}

#[tokio::test]
async fn every_code_has_its_effect_on_task_pace_key_account_pace_and_log() {
    for (code, message, wanted, line) in CODES {
        let mut machine = machine().await;
        let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
        let ((comes, other), text) = captured::while_doing(|| comes_of(&mut machine, &body));
        assert_eq!((comes, other), (*wanted, *wanted != Comes::AccountHeld), "{code} {message}");
        let reported: Vec<_> = text.lines().collect();
        assert!(reported.len() == 1 && reported[0].contains(line), "{code} {message}: {reported:?}");
        let loud = matches!(wanted, Comes::AccountHeld | Comes::KeyHeld);
        assert_eq!(reported[0].contains("ERROR"), loud, "{reported:?}");
        let whole = [" account=\"default\" ", " since=2025-", " tasks=", " next_probe=2025-", " remedy="]
            .iter()
            .all(|part| reported[0].contains(part));
        let of_key = reported[0].contains(" region=\"bj\" operation=\"bm\" ");
        assert!(!loud || whole && of_key == (*wanted == Comes::KeyHeld), "{reported:?}");
    }
}
