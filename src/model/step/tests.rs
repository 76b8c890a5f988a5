use super::*;
use crate::clock::Wall;
use crate::model::reading::{Class, Code};
use crate::model::task::{Row, TaskId};
use crate::model::waiting::TargetIndex;

/// Where local wall time starts in these tests.
const EPOCH: i64 = 1_764_000_000_000;

fn moment(seconds: i64) -> Moment {
    Moment { steady: at(seconds), wall: Wall(EPOCH + seconds * 1000) }
}

fn at(seconds: i64) -> Steady {
    Steady(seconds * 1_000_000)
}

fn waiting(timeout_seconds: u64) -> Waiting {
    Waiting {
        timeout: Some(Duration::from_secs(timeout_seconds)).into(),
        ..Waiting::new(Row(1), TaskId::Int(1), TargetIndex(0), moment(0))
    }
}

fn says(status: i64, phase: Phase) -> Result<Reading, Fault> {
    Ok(Reading { phase, status: Code::Int(status), instances: Vec::new(), known: true, message: None })
}

fn unfinished() -> Result<Reading, Fault> {
    says(4, Phase::Running)
}

fn fault(class: Class, code: i64) -> Result<Reading, Fault> {
    Err(Fault { class, code: Code::Int(code), message: String::new(), retry_after: None })
}

fn trouble() -> Result<Reading, Fault> {
    fault(Class::Service, 6000)
}

fn after(task: Waiting, poll: &Result<Reading, Fault>, sent: i64, now: i64) -> Effect {
    let now = Times { local: moment(now), cloud: None };
    let poll = poll.clone().map_err(|fault| {
        let scope = Attribution::of(fault.class, &task);
        (fault, scope)
    });
    step(task, poll, &Policy::default(), Draw { sent: moment(sent), now, spread: 0.5 })
}

fn kept(effect: Effect) -> Waiting {
    match effect {
        Effect::Again(task) | Effect::AtOnce(task) | Effect::First(task) | Effect::Progress(task, ..) => task,
        Effect::Finish(..) | Effect::Abandon(..) => panic!("the task is over: {effect:?}"),
    }
}

#[test]
fn the_last_poll_is_planned_for_the_deadline() {
    assert_eq!(kept(after(waiting(1_010), &unfinished(), 999, 1_000)).due, at(1_010));
    assert_eq!(kept(after(waiting(1_001), &trouble(), 999, 1_000)).due, at(1_001));
}

#[test]
fn only_an_unfinished_response_to_a_poll_sent_at_the_deadline_abandons() {
    assert!(matches!(
        after(waiting(1_000), &unfinished(), 1_000, 1_001),
        Effect::Abandon(_, Reason::Deadline, None)
    ));
    assert!(matches!(after(waiting(1_000), &unfinished(), 999, 1_001), Effect::First(_)));
    assert!(matches!(after(waiting(1_000), &trouble(), 1_000, 1_001), Effect::Again(_)));
    assert!(matches!(
        after(waiting(1_000), &says(1, Phase::Finished(Outcome::Success)), 9_000, 9_001),
        Effect::Finish(_, Outcome::Success, _)
    ));
}

#[test]
fn after_a_missed_deadline_faults_go_on_backing_off() {
    assert_eq!(kept(after(waiting(1_000), &trouble(), 2_000, 2_000)).due, at(2_005));
}

#[test]
fn a_changed_status_starts_the_interval_over_and_an_unchanged_one_does_not() {
    let first = after(waiting(86_400), &unfinished(), 20, 20);
    assert!(matches!(first, Effect::First(_)), "the first answer is stored: {first:?}");
    let first = kept(first);
    assert_eq!((first.since, first.due), (at(0), at(34)));
    let same = after(first.clone(), &unfinished(), 40, 40);
    assert!(matches!(same, Effect::Again(_)), "{same:?}");
    let changed = kept(after(first, &says(5, Phase::Running), 40, 40));
    assert_eq!((changed.since, changed.due), (at(40), at(42)));
}

#[test]
fn faults_in_a_row_back_off_until_a_good_response() {
    let once = kept(after(waiting(86_400), &trouble(), 0, 0));
    let twice = kept(after(once, &trouble(), 0, 0));
    assert_eq!((twice.due, twice.errors, twice.polls), (at(10), 2, 2));
    let well = kept(after(twice, &unfinished(), 0, 0));
    assert_eq!((well.streak, well.due, well.errors), (0, at(2), 2));
}

#[test]
fn a_refused_id_counts_after_three_equal_refusals_over_reject_after() {
    let gone = |code| fault(Class::Task, code);
    let mut task = waiting(86_400);
    for (second, code) in [(0, 5000), (10, 5000), (20, 5000), (25, 10001), (40, 10001)] {
        task = kept(after(task, &gone(code), second, second));
    }
    task = kept(after(task, &trouble(), 45, 45));
    let almost = after(task.clone(), &gone(10001), 54, 54);
    assert!(matches!(almost, Effect::Again(_)), "{almost:?}");
    let confirmed = after(task.clone(), &gone(10001), 55, 55);
    assert!(
        matches!(confirmed, Effect::Abandon(_, Reason::Rejected, Some(_))),
        "a fault between does not reset the count: {confirmed:?}"
    );
    task = kept(after(task, &unfinished(), 50, 50));
    assert!(matches!(after(task, &gone(10001), 90, 90), Effect::Again(_)), "a good answer does");
}

#[test]
fn a_clock_fault_is_tried_again_at_once_and_then_with_backoff() {
    let first = after(waiting(86_400), &fault(Class::Clock, 4200), 0, 0);
    assert!(matches!(first, Effect::AtOnce(_)), "{first:?}");
    let second = after(kept(first), &fault(Class::Clock, 4200), 0, 0);
    assert!(matches!(second, Effect::Again(_)), "{second:?}");
}

#[test]
fn a_connection_that_died_before_an_response_counts_once_it_happens_twice() {
    let first = after(waiting(86_400), &fault(Class::Connection, 0), 0, 0);
    assert!(matches!(&first, Effect::AtOnce(task) if task.errors == 0 && task.streak == 0), "{first:?}");
    let second = after(kept(first), &fault(Class::Connection, 0), 0, 0);
    assert!(matches!(&second, Effect::Again(task) if task.errors == 1), "{second:?}");
}

#[test]
fn what_is_not_the_tasks_trouble_leaves_it_its_turn() {
    for class in [Class::Account, Class::PaceKey] {
        let parked = kept(after(waiting(86_400), &fault(class, 4100), 100, 101));
        assert_eq!(parked.due, at(101));
    }
}

#[test]
fn a_jumping_local_clock_abandons_nothing_while_the_cloud_s_clock_does_not_say_so() {
    let mut task = waiting(3_600);
    task.started.cloud = Some(Wall(EPOCH)).into();
    let jumped = Moment { wall: Wall(EPOCH + 5 * 365 * 86_400_000), ..moment(60) };
    let draw =
        Draw { sent: jumped, now: Times { local: jumped, cloud: Some(Wall(EPOCH + 60_000)) }, spread: 0.5 };
    assert!(matches!(
        step(task, unfinished().map_err(|fault| (fault, Attribution::Service)), &Policy::default(), draw),
        Effect::First(_)
    ));
}

#[test]
fn the_word_at_the_deadline_reports_the_status_of_the_response_that_brought_it() {
    let task = Waiting { status: Some(Code::Int(4)), seen: Some(moment(900).wall).into(), ..waiting(1_000) };
    let Effect::Abandon(task, ..) = after(task, &says(5, Phase::Running), 1_000, 1_001) else {
        panic!("it goes on")
    };
    assert_eq!((task.status, task.seen.get()), (Some(Code::Int(5)), Some(moment(900).wall)));
}

#[test]
fn a_task_that_is_throttled_again_is_due_now_behind_the_tasks_that_are_due() {
    let first = kept(after(waiting(10_000), &fault(Class::Throttled, 4400), 9, 10));
    let Effect::Again(again) = after(first, &fault(Class::Throttled, 4400), 19, 20) else {
        panic!("out of turn")
    };
    assert_eq!(again.due, at(20));
}

#[test]
fn the_reasons_are_those_of_events_and_logs() {
    let reasons = [Reason::Deadline, Reason::Rejected, Reason::Removed, Reason::Cancelled]
        .map(|reason| reason.to_string());
    assert_eq!(reasons, ["deadline", "rejected", "removed", "cancelled"]);
}
