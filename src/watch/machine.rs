//! The polling loop without its waiting: plain and synchronous, so that a test can play any history through
//! it.
//!
//! In come moments, answers and what was made durable; out come polls to be sent and [`Write`]s to be made
//! durable.

use std::collections::HashMap;
use std::sync::Arc;

use super::board::{AccountIndex, Board, KeyIndex, Settled};
use super::write::{Step, What, Word, Write, Written, hot};
use crate::clock::{Moment, Steady, Wall};
use crate::cloud::{Cloud, Route};
use crate::model::due::Slot;
use crate::model::reading::Code;
use crate::model::reading::Response;
use crate::model::records::HotRow;
use crate::model::route::Routes;
use crate::model::step::{Effect, Reason};
use crate::model::task::PaceKey;
use crate::model::task::{Target, TaskId};
use crate::model::waiting::{TargetIndex, Times, Waiting};
use crate::units::Rate;

/// What the loop knows and decides.
pub struct Machine {
    pub(super) board: Board,
    pub(super) targets: Vec<Known>,
    pub(super) accounts: HashMap<String, AccountIndex>,
    pub(super) keys: HashMap<PaceKey, KeyIndex>,
    pub(super) routes: Arc<Routes>,
    /// Holds and releases that were told: no two of one millisecond share an id.
    pub(super) troubles: u32,
}

/// A target, and how it is asked.
pub(super) struct Known {
    pub(super) target: Arc<Target>,
    /// `None`: its account or operation is not configured any more; its tasks wait.
    pub(super) route: Option<Arc<Route>>,
    pub(super) account: AccountIndex,
    pub(super) key: KeyIndex,
    pub(super) trouble: Option<Trouble>,
    /// The last status that its row does not know, so that each is told once.
    pub(super) unknown: Option<Code>,
}

/// A fault of a target that was told.
pub(super) struct Trouble {
    pub(super) code: Code,
    /// When the last poll of the target failed.
    pub(super) last: Steady,
}

/// A poll that is to be sent.
pub struct Ask {
    /// Whose answer it will bring.
    pub slot: Slot,
    /// How it is asked.
    pub route: Arc<Route>,
    /// For whom.
    pub id: TaskId,
    /// Further request parameters.
    pub params: Box<[(String, String)]>,
    /// Whether it must not use a connection again.
    pub new_connection: bool,
    /// What the request is stamped with.
    pub at: Wall,
}

impl Machine {
    /// The next poll, if any may leave now.
    pub fn ask(&mut self, now: Moment) -> Option<Ask> {
        let (slot, task) = self.board.take(now.steady)?;
        let target = task.target;
        let id = task.id.clone();
        let params = task.params.clone();
        let new_connection = task.lost_connection;
        // One without a route belongs to an account that lets nothing out.
        let route = self.targets[target.0 as usize].route.clone()?;
        Some(Ask {
            slot,
            route,
            id,
            params: params.unwrap_or_default(),
            new_connection,
            at: self.board.stamp(target, now),
        })
    }

    /// The answer to a poll sent then: what is to be made durable.
    pub fn answered(
        &mut self,
        slot: Slot,
        answer: Response,
        sent: Moment,
        now: Moment,
        spread: f64,
    ) -> Vec<Write> {
        self.tell_poll(slot, &answer.poll, now.steady);
        let Some(Settled { effect, now, notices }) = self.board.settle(slot, answer, sent, now, spread)
        else {
            return Vec::new();
        };
        let mut writes: Vec<_> =
            notices.iter().filter_map(|notice| self.tell_notice(notice, now.local)).collect();
        match effect {
            Effect::Again(task) => self.board.put_back(slot, task),
            Effect::AtOnce(task) => self.board.put_back_at_once(slot, task, now.local.steady),
            Effect::Progress(task, previous, reading) if broken!(OutOfOrder) => {
                self.board.put_back(slot, task.clone());
                writes.push(self.step(slot, task, now, What::Progressed(previous, reading)));
            }
            Effect::Progress(task, previous, reading) => {
                writes.push(self.step(slot, task, now, What::Progressed(previous, reading)))
            }
            Effect::Finish(task, outcome, reading) => {
                writes.push(self.end(slot, task, now, Ok((outcome, reading))))
            }
            Effect::Abandon(task, reason, fault) => {
                writes.push(self.end(slot, task, now, Err((reason, fault))))
            }
        }
        writes
    }

    /// The next task that is overdue and was not told so yet.
    pub fn overdue(&mut self, now: Moment) -> Option<Write> {
        let (slot, task, times) = self.board.take_overdue(now)?;
        Some(self.step(slot, task, times, What::Overdue))
    }

    /// The step was made durable: its task goes on, or is gone.
    pub fn written(&mut self, written: Written) {
        match written {
            Written::Change(slot, task) => self.board.put_back(slot, *task),
            Written::End(..) if broken!(AskedAfterItsEnd) => {}
            Written::End(slot, target) => self.board.remove(slot, target),
            Written::Told => {}
        }
    }

    /// When there is something to do next, if no answer comes before; the overdue ones where that is asked
    /// for.
    pub fn wake(&self, overdue: bool) -> Option<Steady> {
        self.board.wake(overdue)
    }

    /// The task was taken out of the file.
    pub(super) fn removed(&mut self, slot: Slot, now: Moment) -> Option<Write> {
        let task = self.board.take_away(slot)?;
        let times = self.board.times(task.target, now);
        Some(self.end(slot, task, times, Err((Reason::Removed, None))))
    }

    fn end(&mut self, slot: Slot, task: Waiting, now: Times, word: Word) -> Write {
        if broken!(AskedAfterItsEnd) {
            self.board.put_back(slot, Waiting { due: now.local.steady, ..task.clone() });
        }
        self.step(slot, task, now, What::Ended(word))
    }

    fn step(&self, slot: Slot, task: Waiting, now: Times, what: What) -> Write {
        let target = Arc::clone(&self.targets[task.target.0 as usize].target);
        Write::Step(Box::new(Step { slot, task, target, routes: Arc::clone(&self.routes), now, what }))
    }

    /// Where the tasks stand that were polled since they were last stored.
    pub fn unsaved(&self, now: Moment) -> Vec<HotRow> {
        self.board.tasks().filter(|task| task.unsaved).map(|task| hot(task, now)).collect()
    }

    /// An account's key was read again: its targets are asked with that from now on, and a held one is tried
    /// at once.
    pub fn use_new_key(&mut self, cloud: &Cloud, account: &str, now: Steady) {
        for known in self.targets.iter_mut().filter(|known| known.target.account == account) {
            known.route = cloud.route(&known.target).ok().map(Arc::new).or(known.route.take());
        }
        tracing::info!(account, "the key of a held account was read again; it is tried at once");
        if let Some(index) = self.accounts.get(account) {
            self.board.try_now(*index, now);
        }
    }

    /// The index of a target, new to the board. One that cannot be asked is told, and its tasks wait.
    pub(super) fn add_target(&mut self, cloud: &Cloud, target: &Target, now: Moment) -> TargetIndex {
        let board = &mut self.board;
        let (route, account, key) = match cloud.route(target) {
            Ok(route) => {
                let account = *self
                    .accounts
                    .entry(target.account.clone())
                    .or_insert_with(|| board.add_account(route.max_in_flight));
                let key = *self
                    .keys
                    .entry(route.pace_key.clone())
                    .or_insert_with(|| board.add_key(route.rate, now.steady));
                board.lower_rate(key, route.rate);
                (Some(Arc::new(route)), account, key)
            }
            Err(error) => {
                let Target { account, region, operation } = target;
                tracing::error!(account, region, operation, %error, "open tasks cannot be asked about; they wait in the store");
                (None, board.add_account(0), board.add_key(Rate::ONE_A_SECOND, now.steady))
            }
        };
        board.add_target(account, key);
        self.targets.push(Known {
            target: Arc::new(target.clone()),
            route,
            account,
            key,
            trouble: None,
            unknown: None,
        });
        // As many targets as that would not fit into memory.
        TargetIndex(u32::try_from(self.targets.len() - 1).unwrap_or(u32::MAX))
    }
}
