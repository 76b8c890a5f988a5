use std::time::Duration;

use super::*;
use crate::model::policy::Policy;

const NOW: Moment = Moment { steady: Steady(0), wall: Wall(0) };

fn at(seconds: i64) -> Moment {
    Moment { steady: Steady(seconds * 1_000_000), wall: Wall(seconds * 1_000) }
}

fn gate() -> Gate<&'static str> {
    let waits = Policy::default().error_waits();
    Gate::new(Pace::unlimited(), GateWaits { on_hold: waits, breaker_open: waits })
}

#[test]
fn the_circuit_breaker_opens_when_most_of_five_calls_failed_and_a_probe_closes_it() {
    let mut gate = gate();
    let changes: Vec<_> = (0..6).map(|_| gate.failed(&"500", true, false, NOW)).collect();
    assert_eq!(changes, [None, None, None, None, Some(GateChange::Opened("500")), None]);
    assert_eq!(gate.succeeded(false, at(1)), None, "a call in flight closes nothing");
    assert!(matches!(gate.succeeded(true, at(2)), Some(GateChange::Closed(_))));
    assert!(gate.probes().is_none());
}

#[test]
fn failures_that_do_not_count_open_nothing() {
    let mut gate = gate();
    assert!((0..100).all(|_| gate.failed(&"500", false, false, NOW).is_none()));
    assert!(gate.probes().is_none());
}

#[test]
fn one_failing_task_among_three_opens_nothing() {
    let mut gate = gate();
    for _ in 0..100 {
        gate.succeeded(false, NOW);
        assert_eq!(gate.failed(&"500", true, false, NOW), None);
        gate.succeeded(false, NOW);
    }
}

#[test]
fn six_failures_of_ten_calls_open_the_circuit_breaker_and_five_do_not() {
    let mut gate = gate();
    (0..5).for_each(|_| _ = gate.succeeded(false, NOW));
    assert!((0..5).all(|_| gate.failed(&"500", true, false, NOW).is_none()));
    assert_eq!(gate.failed(&"500", true, false, NOW), Some(GateChange::Opened("500")));
}

#[test]
fn after_a_circuit_breaker_the_rate_is_restored_gradually() {
    let waits = Policy::default().error_waits();
    let rate = crate::units::Rate::new(10.0, Duration::from_secs(1)).unwrap();
    let pace = || Pace::new(rate, NOW.steady);
    let mut gate = Gate::new(pace(), GateWaits { on_hold: waits, breaker_open: waits });
    (0..5).for_each(|_| _ = gate.failed(&"500", true, false, NOW));
    assert!(matches!(gate.succeeded(true, at(60)), Some(GateChange::Closed(_))));
    let mut never_closed = Gate::new(pace(), GateWaits { on_hold: waits, breaker_open: waits });
    let gap = |gate: &mut Gate<&'static str>| {
        gate.leave(1, at(60).steady);
        gate.next().unwrap() - at(60).steady
    };
    assert!(gap(&mut gate) > gap(&mut never_closed));
}

#[test]
fn the_start_of_a_failure_is_that_of_its_first_fault() {
    let mut gate = gate();
    (0..5).for_each(|_| _ = gate.failed(&"500", true, false, at(100)));
    gate.backdate(at(40));
    assert_eq!(gate.probes().unwrap().lasting.since, at(40));
    gate.put_on_hold(&"401", false, true, at(120));
    assert_eq!(gate.hold().unwrap().since(), gate.probes().unwrap().lasting.since.wall);
    assert_ne!(gate.hold().unwrap().since(), Wall(0));
}

#[test]
fn a_hold_lets_one_probe_out_at_a_time_and_the_waits_double() {
    let mut gate = gate();
    assert_eq!(gate.put_on_hold(&"401", false, false, NOW), Some(GateChange::Held("401")));
    assert_eq!(gate.put_on_hold(&"403", false, false, NOW), None, "a call in flight says nothing new");
    let mut last = NOW.steady;
    let mut waits = Vec::new();
    for probe in 0..7 {
        let due = gate.next().unwrap();
        waits.push((due - last).as_secs());
        last = due;
        assert!(gate.leave(probe, due));
        assert_eq!(gate.next(), None);
        assert!(!gate.end(99) && gate.end(probe));
        let moment = Moment { steady: due, ..NOW };
        gate.put_on_hold(&"401", false, true, moment);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    gate.probe_now(last);
    assert_eq!(gate.next(), Some(last));
    let Some(GateChange::Released(hold)) = gate.succeeded(true, at(9_000)) else { panic!("not released") };
    assert_eq!((hold.cause, hold.since()), ("401", NOW.wall));
    assert!(gate.probes().is_none() && gate.hold().is_none());
}

#[test]
fn a_hold_is_logged_again_with_backoff_and_keeps_its_cause_through_passing_faults() {
    let mut gate = gate();
    gate.put_on_hold(&"401", false, false, NOW);
    let again = (1..3_600).filter(|second| gate.failed(&"timeout", true, true, at(*second)).is_some());
    assert_eq!(again.collect::<Vec<_>>(), [60, 180, 420, 900, 1860]);
    assert_eq!(gate.hold().unwrap().cause, "401");
}

#[test]
fn a_hold_hides_no_circuit_breaker_of_its_own() {
    let mut gate = gate();
    gate.put_on_hold(&"401", false, false, NOW);
    (0..20).for_each(|_| _ = gate.failed(&"500", true, false, NOW));
    assert!(matches!(gate.succeeded(true, NOW), Some(GateChange::Released(_))));
    assert!(gate.probes().is_none());
}

#[test]
fn a_response_without_success_releases_but_adds_no_evidence() {
    let mut gate = gate();
    gate.put_on_hold(&"401", false, false, NOW);
    assert!(matches!(gate.responded(true, at(1)), Some(GateChange::Released(_))));
    assert!(!gate.evidence().has_succeeded);
}

#[test]
fn three_tasks_refused_alike_before_any_success_show_a_wrong_setting() {
    let mut gate = gate();
    let missing = Code::Int(5000);
    let wrong = Code::Int(10001);
    let calls = [(1, &missing), (1, &missing), (2, &missing), (3, &wrong), (3, &missing)];
    let alike: Vec<_> = calls.map(|(key, code)| gate.is_refused_alike(key, code)).into();
    assert_eq!(alike, [false, false, false, false, true]);
    let mut restarted = self::gate();
    restarted.restore(gate.evidence().clone());
    assert!(restarted.is_refused_alike(9, &missing), "the evidence survives a restart");
    gate.succeeded(false, NOW);
    assert!(!(1..9).any(|row| gate.is_refused_alike(row, &missing)));
}

#[test]
fn a_hold_of_refusals_alike_takes_every_further_refusal_for_the_same() {
    let mut gate = gate();
    gate.put_on_hold(&"5000", true, false, NOW);
    assert!(gate.is_refused_alike(7, &Code::Int(4000)));
}

#[test]
fn a_probe_without_a_call_is_postponed() {
    let mut gate = gate();
    gate.put_on_hold(&"401", false, false, NOW);
    gate.postpone_probe(Steady(10_000_000));
    assert_eq!(gate.next(), Some(Steady(30_000_000)));
}
