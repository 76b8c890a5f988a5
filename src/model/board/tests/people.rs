//! Pauses by people, and the slots of other programs.

use std::time::Duration;

use super::super::*;
use super::{board, moment, play, refused, running, task};
use crate::model::reading::Class;
use crate::model::task::Row;

/// The task leaves the board and returns with that pause.
fn pause(board: &mut Board, row: i64, paused: bool) {
    let slot = board.find(Row(row)).unwrap();
    let task = board.withdraw(slot).unwrap();
    board.put_back(slot, Waiting { paused, ..task });
}

#[test]
fn a_paused_task_is_polled_by_no_turn_and_no_probe_until_it_is_resumed() {
    let mut board = board(1, 10.0, 8, 3);
    pause(&mut board, 1, true);
    let (polls, _) = play(&mut board, 0..3000, |_, _| running());
    assert!(polls.len() > 20 && polls.iter().all(|(_, row)| *row != Row(1)));
    // On hold: probes use the others.
    let (polls, _) = play(&mut board, 3000..6000, |_, _| refused(Class::PaceKey, 4102));
    assert!(!polls.is_empty() && polls.iter().all(|(_, row)| *row != Row(1)));
    assert_eq!((board.open(), board.paused(), board.is_paused_work_left()), (3, 1, true));
    pause(&mut board, 1, false);
    let (polls, _) = play(&mut board, 6000..9000, |_, _| running());
    assert!(polls.iter().any(|(_, row)| *row == Row(1)));
    assert_eq!((board.paused(), board.all_on_hold()), (0, Vec::new()));
}

#[test]
fn a_paused_task_that_ends_is_counted_no_longer() {
    let mut board = board(1, 10.0, 8, 2);
    pause(&mut board, 1, true);
    let slot = board.find(Row(1)).unwrap();
    board.withdraw(slot).unwrap();
    board.remove(slot, TargetIndex(0));
    assert_eq!((board.open(), board.paused(), board.find(Row(1))), (1, 0, None));
    assert!(!board.is_paused_work_left(), "the other task is polled");
}

#[test]
fn no_task_of_a_paused_account_is_polled_and_the_others_continue() {
    let mut board = board(2, 10.0, 8, 2);
    let other = board.add_account(8);
    let key = board.add_key(Rate::new(10.0, Duration::from_secs(1)).unwrap(), Steady(0));
    board.add_target(other, key);
    board.add(task(2, 7, Steady(0)), moment(0));
    board.pause_account(AccountIndex(0), true);
    let (polls, _) = play(&mut board, 0..600, |_, _| running());
    assert!(!polls.is_empty() && polls.iter().all(|(_, row)| *row == Row(7)));
    board.pause_account(AccountIndex(0), false);
    let (polls, _) = play(&mut board, 600..1200, |_, _| running());
    let rows: std::collections::BTreeSet<_> = polls.into_iter().map(|(_, row)| row).collect();
    assert_eq!(rows, [Row(0), Row(1), Row(7)].into());
}

#[test]
fn a_paused_account_on_hold_is_not_probed() {
    let mut board = board(1, 10.0, 8, 2);
    play(&mut board, 0..60, |_, _| refused(Class::Account, 4100));
    board.pause_account(AccountIndex(0), true);
    assert_eq!(play(&mut board, 60..4000, |_, _| running()).0, []);
    board.pause_account(AccountIndex(0), false);
    assert!(!play(&mut board, 4000..8000, |_, _| running()).0.is_empty());
}

#[test]
fn other_programs_share_the_slots_of_a_pace_key_with_its_tasks_in_turn() {
    let mut board = board(1, 10.0, 32, 1_000);
    (0..1_000).for_each(|_| board.add_visitor(KeyIndex(0)));
    let (mut slots, mut polls) = (0, 0);
    for now in (0..20_000_000).step_by(10_000) {
        while let Some((slot, _)) = board.take(Steady(now)) {
            polls += 1;
            board.settle(slot, running(), moment(now), moment(now), 0.5).unwrap();
            board.remove(slot, TargetIndex(0));
        }
        slots += board.take_granted().len();
    }
    assert!((190..=201).contains(&(slots + polls)), "{slots} slots and {polls} polls within the rate");
    assert!(slots.abs_diff(polls) <= 2, "{slots} slots and {polls} polls in turn");
}

#[test]
fn a_pace_key_on_hold_gives_no_slots_while_it_has_tasks() {
    let mut board = board(1, 10.0, 32, 5);
    play(&mut board, 0..5, |_, _| refused(Class::PaceKey, 4104));
    board.add_visitor(KeyIndex(0));
    play(&mut board, 5..60, |_, _| refused(Class::PaceKey, 4104));
    assert!(board.take_granted().is_empty());
    play(&mut board, 60..600, |_, _| running());
    assert_eq!(board.take_granted(), [KeyIndex(0)]);
}
