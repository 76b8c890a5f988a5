mod people;

use std::collections::HashMap;

use super::*;
use crate::model::gate::GateChange;
use crate::model::reading::{Class, Code, Fault, Phase, Reading, Response};
use crate::model::step::Effect;
use crate::model::task::{Row, TaskId};

fn moment(microseconds: i64) -> Moment {
    Moment { steady: Steady(microseconds), wall: Wall(1_764_000_000_000 + microseconds / 1000) }
}

fn task(target: u32, number: i64, due: Steady) -> Waiting {
    let id = TaskId::Int(number.unsigned_abs());
    Waiting { due, ..Waiting::new(Row(number), id, TargetIndex(target), moment(0)) }
}

fn board(keys: usize, calls_a_second: f64, max_in_flight: u32, tasks: i64) -> Board {
    let mut board = Board::new(Policy::default());
    let account = board.add_account(max_in_flight);
    for _ in 0..keys {
        let key = board.add_key(Rate::new(calls_a_second, Duration::from_secs(1)).unwrap(), Steady(0));
        board.add_target(account, key);
    }
    (0..tasks)
        .for_each(|number| _ = board.add(task(number as u32 % keys as u32, number, Steady(0)), moment(0)));
    board
}

fn running() -> Response {
    let reading = Reading {
        phase: Phase::Running,
        status: Code::Int(4),
        instances: Vec::new(),
        known: true,
        message: None,
    };
    Response { poll: Ok(reading), date: None }
}

fn refused(class: Class, code: i64) -> Response {
    let fault = Fault { class, code: Code::Int(code), message: "refused".into(), retry_after: None };
    Response { poll: Err(fault), date: None }
}

/// Simulates a board for that many seconds; each poll gets a response at once. Returns the polls with their
/// times, and the logged changes.
fn play(
    board: &mut Board,
    seconds: std::ops::Range<i64>,
    response: impl Fn(Row, i64) -> Response,
) -> (Vec<(i64, Row)>, Vec<Notice>) {
    let mut polls = Vec::new();
    let mut notices = Vec::new();
    for now in (seconds.start * 1_000_000..seconds.end * 1_000_000).step_by(20_000) {
        while let Some((slot, task)) = board.take(Steady(now)) {
            let row = task.row;
            polls.push((now, row));
            let settled = board.settle(slot, response(row, now), moment(now), moment(now), 0.5).unwrap();
            notices.extend(settled.notices);
            match settled.effect {
                Effect::Again(task) | Effect::First(task) | Effect::Progress(task, ..) => {
                    board.put_back(slot, task)
                }
                Effect::AtOnce(task) => board.put_back_at_once(slot, task, Steady(now)),
                Effect::Finish(task, ..) | Effect::Abandon(task, ..) => {
                    notices.push(Notice::ClockOffset(AccountIndex(99), task.row.0));
                    board.remove(slot, task.target);
                }
            }
        }
    }
    (polls, notices)
}

/// The rows of tasks that ended in a simulation.
fn ended(notices: &[Notice]) -> usize {
    notices.iter().filter(|notice| matches!(notice, Notice::ClockOffset(AccountIndex(99), _))).count()
}

#[test]
fn no_more_requests_of_an_account_are_under_way_than_its_bound() {
    let mut board = board(2, 1_000.0, 3, 10);
    let mut taken = Vec::new();
    for now in (0..1_000_000).step_by(1_000) {
        taken.extend(board.take(Steady(now)).map(|(slot, _)| slot));
    }
    assert_eq!(taken.len(), 3);
    assert_eq!(board.wake(true), None);
    let settled = board.settle(taken[0], running(), moment(0), moment(0), 0.5).unwrap();
    let Effect::First(answered) = settled.effect else { panic!("{settled:?}") };
    board.put_back(taken[0], answered);
    assert!(board.wake(true).is_some());
    assert!(board.take(Steady(2_000_000)).is_some());
}

#[test]
fn when_the_rate_is_the_bottleneck_none_starves() {
    let mut board = board(1, 10.0, 32, 100);
    let (polls, _) = play(&mut board, 0..100, |_, _| running());
    let mut counts: HashMap<Row, u32> = HashMap::new();
    polls.iter().for_each(|(_, row)| *counts.entry(*row).or_default() += 1);
    assert!(counts.len() == 100 && counts.values().all(|count| (5..=15).contains(count)), "{counts:?}");
}

#[test]
fn one_pace_key_does_not_delay_another() {
    let mut board = board(2, 10.0, 32, 50);
    let rows: Vec<_> =
        std::iter::from_fn(|| board.take(Steady(100_000)).map(|(_, task)| task.target)).collect();
    assert_eq!(rows, [TargetIndex(0), TargetIndex(1)]);
}

#[test]
fn a_refused_key_holds_the_account_at_once_and_a_probe_that_is_answered_releases_it() {
    let mut board = board(2, 10.0, 32, 100);
    let (polls, notices) = play(&mut board, 0..60, |_, _| refused(Class::Account, 4100));
    assert!(polls.len() <= 20, "{} requests in the first minute", polls.len());
    assert!(matches!(notices[..], [Notice::Gate(Scope::Account(_), GateChange::Held(_))]), "{notices:?}");
    assert_eq!(board.all_on_hold(), [Scope::Account(AccountIndex(0))]);
    let rows: std::collections::HashSet<_> = polls.iter().map(|(_, row)| row).collect();
    assert_eq!(rows.len(), polls.len(), "each probe takes another task, never-asked first");
    let (_, notices) = play(&mut board, 60..600, |_, _| running());
    assert!(matches!(notices[..], [Notice::Gate(Scope::Account(_), GateChange::Released(_))]), "{notices:?}");
}

#[test]
fn a_changed_key_is_tried_at_once() {
    let mut board = board(1, 10.0, 32, 100);
    play(&mut board, 0..200, |_, _| refused(Class::Account, 4100));
    board.probe_now(AccountIndex(0), Steady(200_000_000));
    let (polls, _) = play(&mut board, 200..201, |_, _| running());
    assert!(!polls.is_empty());
}

#[test]
fn a_list_that_is_refused_alike_holds_its_pace_key_and_abandons_nothing() {
    let mut board = board(1, 10.0, 32, 500);
    let (polls, notices) = play(&mut board, 0..3600, |_, _| refused(Class::Task, 5000));
    assert!(
        notices.iter().any(|notice| matches!(notice, Notice::Gate(Scope::Key(_), GateChange::Held(_)))),
        "{notices:?}"
    );
    assert!(polls.len() < 40 && ended(&notices) == 0, "{} polls, {} ended", polls.len(), ended(&notices));
}

#[test]
fn a_wrong_id_among_good_ones_is_abandoned_and_holds_nothing() {
    let mut board = board(1, 10.0, 32, 20);
    let response = |row, _| if row == Row(7) { refused(Class::Task, 5000) } else { running() };
    let (_, notices) = play(&mut board, 0..600, response);
    assert_eq!((ended(&notices), board.open(), notices.len()), (1, 19, 1), "{notices:?}");
}

#[test]
fn during_an_outage_only_probes_are_sent_and_afterwards_the_rate_recovers_for_all() {
    let mut board = board(1, 50.0, 32, 10_000);
    play(&mut board, 0..210, |_, _| running());
    let (polls, notices) = play(&mut board, 210..810, |_, _| refused(Class::Service, 6000));
    assert!(
        notices.iter().all(|notice| matches!(
            notice,
            Notice::Gate(_, GateChange::Opened(_) | GateChange::StillOpen(_))
        )),
        "{notices:?}"
    );
    assert!(polls.len() < 30, "{} polls in ten minutes of outage", polls.len());
    let (polls, notices) = play(&mut board, 810..1500, |_, _| running());
    assert!(matches!(notices[..], [Notice::Gate(_, GateChange::Closed(_))]), "{notices:?}");
    let gaps = polls.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.min().unwrap() >= 20_000 - 5_000);
    let rows: std::collections::HashSet<_> = polls.iter().map(|(_, row)| row).collect();
    assert_eq!(rows.len(), 10_000);
}

#[test]
fn an_outage_that_lasts_is_reported_again_with_backoff() {
    let mut board = board(1, 50.0, 32, 100);
    let (_, notices) = play(&mut board, 0..4 * 3600, |_, _| refused(Class::Service, 6000));
    let reported = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Gate(_, GateChange::Opened(_) | GateChange::StillOpen(_))))
        .count();
    assert!((6..=10).contains(&reported) && reported == notices.len(), "{notices:?}");
    let (_, notices) = play(&mut board, 4 * 3600..4 * 3600 + 400, |_, _| running());
    let [Notice::Gate(_, GateChange::Closed(probes))] = &notices[..] else { panic!("{notices:?}") };
    assert!(probes.lasting.since.steady < Steady(60_000_000), "{probes:?}");
}

#[test]
fn a_pace_that_is_too_fast_again_and_again_is_reported_with_backoff() {
    for class in [Class::Throttled, Class::AccountThrottled] {
        let mut board = board(1, 20.0, 32, 100);
        let (_, notices) = play(&mut board, 0..3600, |_, _| refused(class, 4400));
        let reported = notices.iter().filter(|notice| matches!(notice, Notice::Throttled(..))).count();
        assert!((5..=7).contains(&reported) && reported == notices.len(), "{notices:?}");
    }
}

#[test]
fn the_end_of_throttling_is_reported_once_no_request_was_refused_for_ten_minutes() {
    for (class, scope) in [
        (Class::Throttled, Scope::Key(KeyIndex(0))),
        (Class::AccountThrottled, Scope::Account(AccountIndex(0))),
    ] {
        let mut board = board(1, 20.0, 32, 10);
        let response = |_, now: i64| if now < 60_000_000 { refused(class, 4400) } else { running() };
        let (_, early) = play(&mut board, 0..600, response);
        assert!(early.iter().all(|notice| matches!(notice, Notice::Throttled(..))), "{early:?}");
        let (_, later) = play(&mut board, 600..3600, response);
        let [Notice::Unthrottled(of, lasted)] = &later[..] else { panic!("{later:?}") };
        assert!(*of == scope && *lasted <= Duration::from_secs(60), "{later:?}");
    }
}

#[test]
fn a_hold_is_reported_again_though_its_probes_fail_in_a_way_that_passes() {
    for (held_by, scope) in
        [(Class::Account, Scope::Account(AccountIndex(0))), (Class::PaceKey, Scope::Key(KeyIndex(0)))]
    {
        let mut board = board(1, 10.0, 32, 100);
        let response =
            |_, now| if now < 5_000_000 { refused(held_by, 4100) } else { refused(Class::Service, 6000) };
        let (_, notices) = play(&mut board, 0..4 * 3600, response);
        let again =
            notices.iter().filter(|notice| matches!(notice, Notice::Gate(of, GateChange::StillHeld(fault)) if *of == scope && fault.class == Class::Service));
        let again = again.count();
        assert!((5..=9).contains(&again), "{again} times: {notices:?}");
        assert!(
            board.gate(scope).hold().is_some_and(|hold| hold.cause.class == held_by),
            "what must be mended stays its cause"
        );
    }
}

#[test]
fn an_overdue_task_is_reported_once() {
    let mut board = board(1, 10.0, 32, 0);
    board.add(
        Waiting { warn_after: Some(Duration::from_secs(30)).into(), ..task(0, 1, Steady(0)) },
        moment(0),
    );
    assert!(board.take_overdue(moment(29_000_000)).is_none());
    assert!(board.take_overdue(moment(30_000_000)).is_some_and(|(slot, task, _)| {
        let reported = task.row == Row(1);
        board.put_back(slot, task);
        reported
    }));
    assert!(board.take_overdue(moment(90_000_000)).is_none());
}

#[test]
fn a_peer_that_closes_every_connection_is_asked_by_probes_alone() {
    let mut board = board(1, 20.0, 32, 3_000);
    let (polls, _) = play(&mut board, 0..120, |_, _| refused(Class::Connection, 0));
    assert!(polls.len() < 60, "{} requests in two minutes", polls.len());
}

#[test]
fn a_wake_up_finds_a_task_or_a_later_moment() {
    let mut board = Board::new(Policy::default());
    let account = board.add_account(32);
    for interval in [Duration::from_millis(50), Duration::from_secs(7)] {
        let key = board.add_key(Rate::new(1.0, interval).unwrap(), Steady(0));
        board.add_target(account, key);
    }
    (0..4).for_each(|number| _ = board.add(task(number as u32 % 2, number, Steady(0)), moment(0)));
    let mut now = Steady(0);
    let mut idle = 0;
    while now < Steady(600_000_000) {
        match board.take(now) {
            Some((slot, _)) => {
                idle = 0;
                let settled = board
                    .settle(slot, refused(Class::Account, 4100), moment(now.0), moment(now.0), 0.5)
                    .unwrap();
                let Effect::Again(task) = settled.effect else { panic!("{settled:?}") };
                board.put_back(slot, task);
            }
            None => idle += 1,
        }
        assert!(idle < 10, "it spins at {now:?}");
        now = now.max(board.wake(true).unwrap());
    }
}

#[test]
fn accounts_with_one_pace_key_share_its_lower_rate_and_nothing_else() {
    let mut board = Board::new(Policy::default());
    let mistyped = board.add_account(1);
    let right = board.add_account(2);
    let key = board.add_key(Rate::new(10.0, Duration::from_secs(1)).unwrap(), Steady(0));
    board.lower_rate(key, Rate::ONE_A_SECOND);
    board.lower_rate(key, Rate::new(5.0, Duration::from_secs(1)).unwrap());
    [mistyped, right].into_iter().for_each(|account| board.add_target(account, key));
    (0..6).for_each(|number| _ = board.add(task(number as u32 % 2, number, Steady(0)), moment(0)));
    let response = |row: Row, _| if row.0 % 2 == 0 { refused(Class::Account, 4100) } else { running() };
    let (polls, _) = play(&mut board, 0..60, response);
    assert!(polls.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 995_000), "{polls:?}");
    let of_right = polls.iter().filter(|(_, row)| row.0 % 2 == 1).count();
    assert!(of_right > 12 && polls.len() - of_right < 6, "{polls:?}");
    assert_eq!(board.tasks_of(Scope::Account(right)), 3);
}

#[test]
fn tasks_that_cannot_be_polled_wait_and_are_named_as_on_hold() {
    let mut board = board(1, 10.0, 32, 0);
    let nobody = board.add_account(0);
    let key = board.add_key(Rate::ONE_A_SECOND, Steady(0));
    board.add_target(nobody, key);
    board.add(task(1, 1, Steady(0)), moment(0));
    assert!(board.take(Steady(9_000_000)).is_none());
    assert_eq!((board.wake(true), board.all_on_hold()), (None, vec![Scope::Account(nobody)]));
}

#[test]
fn one_task_that_alone_is_refused_like_a_setting_delays_no_other_for_long() {
    let mut board = board(1, 10.0, 32, 50);
    let response = |row, _| if row == Row(7) { refused(Class::PaceKey, 4102) } else { running() };
    let (polls, notices) = play(&mut board, 0..600, response);
    let held = notices.iter().filter(|notice| matches!(notice, Notice::Gate(_, GateChange::Held(_)))).count();
    assert_eq!((held, board.open()), (1, 50), "{notices:?}");
    let alone = polls.iter().filter(|(_, row)| *row == Row(7)).count();
    assert!(alone < 20 && polls.len() > 500, "{alone} of {} polls", polls.len());
}

#[test]
fn what_was_under_way_when_an_account_was_held_does_not_release_it() {
    let mut board = board(1, 1_000.0, 32, 3);
    let slots: Vec<_> = (0..3).map(|tick| board.take(Steady(tick * 10_000 + 10_000)).unwrap().0).collect();
    let responses = [refused(Class::Account, 4100), running(), running()];
    for (slot, response) in slots.into_iter().zip(responses) {
        let settled = board.settle(slot, response, moment(40_000), moment(50_000), 0.5).unwrap();
        match settled.effect {
            Effect::Again(task) | Effect::First(task) | Effect::Progress(task, ..) => {
                board.put_back(slot, task)
            }
            Effect::AtOnce(_) | Effect::Finish(..) | Effect::Abandon(..) => panic!("it is over"),
        }
    }
    assert_eq!(board.all_on_hold(), [Scope::Account(AccountIndex(0))]);
}

/// Takes what may leave within ten seconds. The targets of the polls, in order.
fn take_all(board: &mut Board, seconds: std::ops::Range<i64>) -> Vec<(Slot, u32)> {
    let mut taken = Vec::new();
    for now in (seconds.start * 1_000_000..seconds.end * 1_000_000).step_by(1_000) {
        while let Some((slot, task)) = board.take(Steady(now)) {
            let TargetIndex(target) = task.target;
            taken.push((slot, target));
        }
    }
    taken
}

#[test]
fn polls_without_a_response_of_one_pace_key_leave_the_last_place_to_another() {
    let mut board = board(2, 1_000.0, 8, 0);
    (0..40).for_each(|number| _ = board.add(task(0, number, Steady(0)), moment(0)));
    // The other pace key has its first due task only later: until then the first one may use every place but one of it.
    board.add(task(1, 40, Steady(50_000)), moment(0));
    let first: Vec<_> = take_all(&mut board, 0..1).into_iter().map(|(_, target)| target).collect();
    assert_eq!(first.len(), 8, "idle places are used");
    let mut board = self::board(2, 1_000.0, 8, 0);
    (0..40).for_each(|number| _ = board.add(task(u32::from(number >= 39), number, Steady(0)), moment(0)));
    let taken = take_all(&mut board, 0..1);
    assert!(taken.iter().any(|(_, target)| *target == 1), "{taken:?}");
    assert_eq!(taken.len(), 8);
}

#[test]
fn with_one_place_the_pace_keys_alternate() {
    let mut board = board(2, 1_000.0, 1, 20);
    let mut targets = Vec::new();
    for turn in 0..10 {
        let now = 1_000_000 + turn * 100_000;
        let (slot, task) = board.take(Steady(now)).expect("a due task");
        targets.push(task.target.0);
        assert!(board.take(Steady(now)).is_none());
        let settled = board.settle(slot, running(), moment(now), moment(now), 0.5).unwrap();
        let Effect::First(task) = settled.effect else { panic!("{settled:?}") };
        board.put_back(slot, task);
    }
    assert!(targets.windows(2).all(|pair| pair[0] != pair[1]), "{targets:?}");
}

#[test]
fn the_last_place_is_kept_for_a_pace_key_that_becomes_due_while_another_hangs() {
    let mut board = board(3, 1_000.0, 4, 0);
    (0..30).for_each(|number| _ = board.add(task(0, number, Steady(0)), moment(0)));
    (30..40)
        .for_each(|number| _ = board.add(task(1 + number as u32 % 2, number, Steady(5_000_000)), moment(0)));
    let hanging = take_all(&mut board, 0..1);
    assert_eq!(hanging.len(), 4);
    // One of the four ends while the others are due: the place goes to another pace key, though the first has more.
    let now = 6_000_000;
    let settled = board.settle(hanging[0].0, running(), moment(0), moment(now), 0.5).unwrap();
    let Effect::First(back) = settled.effect else { panic!("{settled:?}") };
    board.put_back(hanging[0].0, back);
    let next = take_all(&mut board, 6..7);
    assert!(next.len() == 1 && next[0].1 != 0, "{next:?}");
}

#[test]
fn a_throttled_poll_costs_its_task_the_next_slot_and_no_error_interval() {
    let mut board = board(1, 10.0, 32, 1);
    let response = |_, now: i64| if now < 300_000 { refused(Class::Throttled, 4400) } else { running() };
    let (polls, _) = play(&mut board, 0..9, response);
    let first_good = polls.iter().map(|(now, _)| *now).find(|now| *now >= 300_000).expect("a good response");
    assert!(first_good < 9_000_000, "{polls:?}");
}

#[test]
fn evidence_of_a_pace_key_is_handed_out_when_it_changes_and_restored_at_a_start() {
    let mut first = board(1, 10.0, 32, 3);
    let mut stored = None;
    for now in (1..=3).map(|second| second * 1_000_000) {
        let (slot, _) = first.take(Steady(now)).unwrap();
        let settled = first.settle(slot, refused(Class::Task, 5000), moment(now), moment(now), 0.5).unwrap();
        stored = settled.evidence.or(stored);
    }
    let (_, evidence) = stored.expect("evidence");
    let mut restarted = board(1, 10.0, 32, 3);
    restarted.gate_mut(Scope::Key(KeyIndex(0))).restore(evidence);
    let (slot, _) = restarted.take(Steady(1_000_000)).unwrap();
    let settled = restarted
        .settle(slot, refused(Class::Task, 5000), moment(1_000_000), moment(1_000_000), 0.5)
        .unwrap();
    assert!(matches!(settled.notices[..], [Notice::Gate(Scope::Key(_), GateChange::Held(_))]), "{settled:?}");
    // A good response of an earlier run: a dead id is its own fault, in every later run.
    let mut healthy = board(1, 10.0, 32, 3);
    healthy
        .gate_mut(Scope::Key(KeyIndex(0)))
        .restore(crate::model::gate::Evidence { has_succeeded: true, refused: Vec::new() });
    let (polls, notices) = play(&mut healthy, 0..600, |_, _| refused(Class::Task, 5000));
    assert!(
        !polls.is_empty() && !notices.iter().any(|notice| matches!(notice, Notice::Gate(..))),
        "{notices:?}"
    );
}

#[test]
fn ten_thousand_pace_keys_are_polled_in_turn_within_their_rates() {
    let mut board = Board::new(Policy::default());
    let account = board.add_account(64);
    for _ in 0..10_000 {
        let key = board.add_key(Rate::ONE_A_SECOND, Steady(0));
        board.add_target(account, key);
    }
    (0..10_000).for_each(|number| _ = board.add(task(number as u32, number, Steady(0)), moment(0)));
    let (polls, _) = play(&mut board, 0..3, |_, _| running());
    let rows: std::collections::HashSet<_> = polls.iter().map(|(_, row)| row).collect();
    assert_eq!(rows.len(), 10_000);
}

#[test]
fn a_task_that_alone_is_throttled_for_ever_delays_no_other() {
    let mut board = board(1, 20.0, 32, 60);
    let response = |row, _| if row == Row(7) { refused(Class::Throttled, 4400) } else { running() };
    let (polls, _) = play(&mut board, 0..60, response);
    let rows: std::collections::HashSet<_> = polls.iter().map(|(_, row)| row).collect();
    assert_eq!(rows.len(), 60);
}

#[test]
fn a_pace_key_whose_slot_comes_later_finds_the_last_place_free_though_another_hangs() {
    for bound in [2, 3, 8, 32] {
        let mut board = board(2, 20.0, bound, 600);
        let mut responded = Vec::new();
        for now in (0..30_000_000).step_by(10_000) {
            while let Some((slot, task)) = board.take(Steady(now)) {
                // The first pace key never responds.
                if task.target == TargetIndex(0) {
                    continue;
                }
                responded.push(now);
                let settled = board.settle(slot, running(), moment(now), moment(now), 0.5).unwrap();
                match settled.effect {
                    Effect::Again(task) | Effect::First(task) | Effect::Progress(task, ..) => {
                        board.put_back(slot, task)
                    }
                    other @ (Effect::AtOnce(_) | Effect::Finish(..) | Effect::Abandon(..)) => {
                        panic!("{other:?}")
                    }
                }
            }
        }
        let longest = responded.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= 100_000 && responded.len() > 500, "{bound}: {longest} {}", responded.len());
    }
}

#[test]
fn a_task_that_alone_has_its_credentials_refused_does_not_hold_the_account_again_and_again() {
    let mut board = board(2, 10.0, 32, 20);
    let alone = |row: Row, _| if row == Row(3) { refused(Class::Account, 4100) } else { running() };
    let (_, notices) = play(&mut board, 0..3600, alone);
    let is_hold = |notice: &&Notice| matches!(notice, Notice::Gate(_, GateChange::Held(_)));
    assert_eq!(notices.iter().filter(is_hold).count(), 1, "{notices:?}");
}

#[test]
fn a_task_that_was_refused_and_then_succeeded_holds_its_account_again() {
    let mut board = board(1, 10.0, 32, 1);
    for seconds in [0, 1_000, 2_000] {
        let (_, notices) = play(&mut board, seconds..seconds + 500, |_, _| refused(Class::Account, 4100));
        assert!(matches!(notices[0], Notice::Gate(_, GateChange::Held(_))), "{notices:?}");
        play(&mut board, seconds + 500..seconds + 1_000, |_, _| running());
    }
}

#[test]
fn a_pause_that_the_cloud_requests_is_logged_and_a_person_ends_it() {
    let mut board = board(2, 10.0, 32, 4);
    let busy = |_, _| {
        let Response { poll, date } = refused(Class::Service, 503);
        let poll = poll.map_err(|fault| Fault { retry_after: Some(Duration::from_secs(1_800)), ..fault });
        Response { poll, date }
    };
    let (polls, notices) = play(&mut board, 0..600, busy);
    assert_eq!(polls.len(), 2, "one of each pace key: {polls:?}");
    let is_logged = |notice: &&Notice| matches!(notice, Notice::PauseRequested(..));
    assert_eq!(notices.iter().filter(is_logged).count(), 2, "{notices:?}");
    let delay = board.delay_of(TargetIndex(0), Steady(600_000_000)).unwrap();
    assert_eq!(delay.cause, DelayCause::RequestedPause);
    assert!(board.next_of(TargetIndex(0)).unwrap() > Steady(1_800_000_000));
    board.retry_account(AccountIndex(0), Steady(600_000_000));
    let (polls, _) = play(&mut board, 600..602, |_, _| running());
    assert!(polls.len() >= 4, "{polls:?}");
}

#[test]
fn a_refused_task_that_asks_for_a_pause_delays_no_other() {
    let mut board = board(1, 10.0, 32, 4);
    let alone = |row: Row, _| {
        let Response { poll, date } = if row == Row(3) { refused(Class::Task, 5000) } else { running() };
        let poll = poll.map_err(|fault| Fault { retry_after: Some(Duration::from_secs(900)), ..fault });
        Response { poll, date }
    };
    let (polls, _) = play(&mut board, 0..60, alone);
    assert!(polls.iter().filter(|(_, row)| *row != Row(3)).count() > 15, "{polls:?}");
}
