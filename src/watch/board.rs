//! Whose turn it is: the hot table, the queue and pace of each pace key, and the bound of each account.
//!
//! Plain and synchronous: the loop asks it for the next task and tells it what became of it.

use crate::clock::Steady;
use crate::model::due::{Queue, Slot};
use crate::model::pace::Pace;
use crate::model::waiting::{TargetIndex, Waiting};
use crate::units::Rate;

/// All open tasks of the running daemon.
#[derive(Debug, Default)]
pub struct Board {
    table: Vec<Option<Waiting>>,
    free: Vec<Slot>,
    keys: Vec<Key>,
    accounts: Vec<Bound>,
    targets: Vec<KeyIndex>,
    /// Where the search for a ready pace key goes on, so that none is always last.
    turn: usize,
}

/// Where a pace key stands in the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyIndex(usize);

/// Where an account stands in the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountIndex(usize);

#[derive(Debug)]
struct Key {
    queue: Queue,
    pace: Pace,
    account: AccountIndex,
}

#[derive(Debug)]
struct Bound {
    in_flight: u32,
    max_in_flight: u32,
}

impl Board {
    /// A new account, with the most requests that may be under way at once.
    pub fn add_account(&mut self, max_in_flight: u32) -> AccountIndex {
        self.accounts.push(Bound { in_flight: 0, max_in_flight });
        AccountIndex(self.accounts.len() - 1)
    }

    /// A new pace key, whose first call leaves one interval from now.
    pub fn add_key(&mut self, account: AccountIndex, rate: Rate, now: Steady) -> KeyIndex {
        self.keys.push(Key { queue: Queue::default(), pace: Pace::new(rate, now), account });
        KeyIndex(self.keys.len() - 1)
    }

    /// A new target, asked at that pace key's pace. Targets are numbered in the order in which they are added.
    pub fn add_target(&mut self, key: KeyIndex) {
        self.targets.push(key);
    }

    /// A new task, in the queue from now on.
    pub fn add(&mut self, task: Waiting) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            // More tasks than 2^32 would not fit into memory.
            Slot::try_from(self.table.len() - 1).unwrap_or(Slot::MAX)
        });
        self.put_back(slot, task);
    }

    /// Takes the task whose turn it is, if any may be asked now. It counts as under way until [`Board::answered`].
    pub fn take(&mut self, now: Steady) -> Option<(Slot, &Waiting)> {
        let count = self.keys.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let key = &mut self.keys[index];
            let bound = &mut self.accounts[key.account.0];
            if bound.in_flight >= bound.max_in_flight || key.queue.next().is_none_or(|due| due > now) || !key.pace.take(now) {
                continue;
            }
            if let Some(slot) = key.queue.pop(now) {
                bound.in_flight += 1;
                self.turn = index + 1;
                return self.table[slot as usize].as_ref().map(|task| (slot, task));
            }
        }
        None
    }

    /// When [`Board::take`] has something next; `None`: not before an answer comes or a task is added.
    pub fn wake(&self) -> Option<Steady> {
        let has_room = |key: &&Key| self.accounts[key.account.0].in_flight < self.accounts[key.account.0].max_in_flight;
        self.keys.iter().filter(has_room).filter_map(|key| key.queue.next().map(|due| due.max(key.pace.next()))).min()
    }

    /// The poll of that task is over: its account has room again, and the task is the caller's until [`Board::put_back`] or
    /// [`Board::remove`].
    pub fn answered(&mut self, slot: Slot) -> Option<Waiting> {
        let task = self.table[slot as usize].take()?;
        let account = self.keys[self.key_of(task.target).0].account;
        self.accounts[account.0].in_flight -= 1;
        Some(task)
    }

    /// The task waits again.
    pub fn put_back(&mut self, slot: Slot, task: Waiting) {
        let key = self.key_of(task.target);
        self.keys[key.0].queue.push(task.due, slot);
        self.table[slot as usize] = Some(task);
    }

    /// The task is over.
    pub fn remove(&mut self, slot: Slot) {
        self.table[slot as usize] = None;
        self.free.push(slot);
    }

    /// How many tasks are open.
    pub fn open(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// The tasks that wait or are under way.
    pub fn tasks(&self) -> impl Iterator<Item = &Waiting> {
        self.table.iter().flatten()
    }

    fn key_of(&self, target: TargetIndex) -> KeyIndex {
        self.targets[target.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::model::task::{Row, TaskId};

    fn task(target: u32, number: i64, due: Steady) -> Waiting {
        Waiting::new(Row(number), TaskId::Int(number.unsigned_abs()), TargetIndex(target), due)
    }

    fn board(keys: usize, calls_a_second: f64, max_in_flight: u32) -> Board {
        let mut board = Board::default();
        let account = board.add_account(max_in_flight);
        for _ in 0..keys {
            let key = board.add_key(account, Rate::new(calls_a_second, Duration::from_secs(1)).unwrap(), Steady(0));
            board.add_target(key);
        }
        board
    }

    #[test]
    fn no_more_requests_of_an_account_are_under_way_than_its_bound() {
        let mut board = board(2, 1_000.0, 3);
        (0..10).for_each(|number| board.add(task(number as u32 % 2, number, Steady(0))));
        let mut taken = Vec::new();
        for now in (0..1_000_000).step_by(1_000) {
            taken.extend(board.take(Steady(now)).map(|(slot, _)| slot));
        }
        assert_eq!(taken.len(), 3);
        assert_eq!(board.wake(), None);
        let answered = board.answered(taken[0]).unwrap();
        board.put_back(taken[0], answered);
        assert!(board.wake().is_some());
        assert!(board.take(Steady(2_000_000)).is_some());
    }

    #[test]
    fn when_the_rate_is_the_bottleneck_the_earliest_due_goes_first_and_none_starves() {
        let mut board = board(1, 10.0, 32);
        (0..100).for_each(|number| board.add(task(0, number, Steady(number))));
        let mut polls: HashMap<Row, u32> = HashMap::new();
        for now in (0..100_000_000).step_by(5_000).map(Steady) {
            let Some((slot, task)) = board.take(now) else { continue };
            *polls.entry(task.row).or_default() += 1;
            let mut task = board.answered(slot).unwrap();
            task.due = now + Duration::from_secs(1);
            board.put_back(slot, task);
        }
        let (least, most) = (polls.values().min().unwrap(), polls.values().max().unwrap());
        assert!(polls.len() == 100 && most - least <= 1, "{least} to {most} polls");
    }

    #[test]
    fn one_pace_key_does_not_delay_another() {
        let mut board = board(2, 10.0, 32);
        (0..50).for_each(|number| board.add(task(0, number, Steady(0))));
        board.add(task(1, 99, Steady(0)));
        let rows: Vec<_> = std::iter::from_fn(|| board.take(Steady(100_000)).map(|(_, task)| task.row)).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows.contains(&Row(99)));
    }
}
