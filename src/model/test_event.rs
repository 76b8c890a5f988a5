//! Events for tests of sinks by people.

use std::time::Duration;

use super::event::{
    Ending, Event, EventContext, FinalEvent, Finished, GroupCounts, Held, account, final_event, group,
    overdue, progressed,
};
use super::reading::{Class, Code, Fault, Outcome, Phase, Reading};
use super::route::EventGroup;
use super::step::Reason;
use super::task::{Settings, Target, TaskId};
use crate::clock::Wall;

/// The account, region and operation of a test event. No real operation has that name, so neither source nor
/// subject of a test is that of a real task.
const TEST: &str = "test";
const NAME: &str = "test event from opwatch events test";
const MESSAGE: &str = "This is a test: nothing was watched, and nothing happened in the cloud.";

/// An event that is recognisable as a test, with a new id each time.
pub fn test_event(kind: EventGroup, outcome: Outcome, now: Wall) -> Event {
    let target = Target { account: TEST.into(), region: TEST.into(), operation: TEST.into() };
    let settings = Settings {
        name: Some(NAME.into()),
        labels: [(TEST.into(), "true".into())].into(),
        ..Settings::default()
    };
    let about = EventContext {
        target: &target,
        id: &TaskId::Text(TEST.into()),
        settings: &settings,
        registered_at: now,
        sequence: 0,
    };
    let status = Code::Text("TEST".into());
    let message = Some(MESSAGE.to_owned());
    let ending = Ending { at: now, elapsed: Duration::ZERO, detected_within: None, polls: 1, errors: 0 };
    match kind {
        EventGroup::Finished => {
            let word = FinalEvent::Finished {
                outcome,
                status: &status,
                instances: &[],
                message: message.as_deref(),
            };
            final_event(&about, &word, &ending)
        }
        EventGroup::Abandoned => {
            let reason = Reason::Deadline;
            let word =
                FinalEvent::Abandoned { reason, status: Some(&status), last_seen_at: Some(now), error: None };
            final_event(&about, &word, &ending)
        }
        EventGroup::Progressed => {
            let reading = Reading {
                phase: Phase::Running,
                status: status.clone(),
                instances: vec![],
                known: true,
                message,
            };
            progressed(&about, &reading, &Code::Text("BEFORE".into()), now)
        }
        EventGroup::Overdue => overdue(&about, Some(&status), Duration::ZERO, now),
        EventGroup::Group => {
            let counts = GroupCounts { success: 1, ..GroupCounts::default() };
            let word = Finished { group: TEST, round: 1, counts, started_at: now, finished_at: now };
            group(&word, now)
        }
        EventGroup::Trouble => {
            let cause =
                Fault { class: Class::Account, code: status, message: MESSAGE.to_owned(), retry_after: None };
            let held = Held { account: TEST, pace_key: None, cause: &cause, since: now, number: 1, tasks: 0 };
            account(&held, false, now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::schema;

    #[test]
    fn the_test_event_holds_to_the_schema_and_says_what_it_is() {
        let event = test_event(EventGroup::Finished, Outcome::Success, Wall(1_764_000_000_000));
        let record = serde_json::from_str(&event.body).unwrap();
        assert_eq!(schema::reported(&record), [""; 0]);
        assert_eq!(
            (&record["data"]["task"]["name"], &record["source"]),
            (&NAME.into(), &"opwatch/test/test".into())
        );
    }

    #[test]
    fn no_other_test_has_its_id() {
        let id = |at| test_event(EventGroup::Finished, Outcome::Success, Wall(at)).id;
        assert_ne!(id(1), id(2));
    }
}
