//! A new configuration for the running loop. The next machine is loaded page by page beside the present one, which polls
//! on. Then the loop changes over in one turn.
//!
//! Between a page and the change-over the present machine goes on: tasks that it polled or stored meanwhile are taken
//! over again, and tasks that ended meanwhile leave. Polls in flight finish on the new machine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::commands::Deferred;
use super::load::{PAGE, limit_due, restored, waiting};
use super::machine::Machine;
use super::write::Write;
use crate::clock::{Moment, Wall};
use crate::live::Current;
use crate::live::command::{Command, Responder};
use crate::model::due::Slot;
use crate::model::records::{EvidenceRow, OpenTask, TargetRow};
use crate::model::task::{Origin, Row, Target};
use crate::model::waiting::Waiting;
use crate::store::{Error, Store};

/// A machine that is being loaded.
pub(super) struct Replacement {
    next: Machine,
    targets: HashMap<TargetRow, Target>,
    reading: JoinSet<Result<Read, Error>>,
    is_loaded: bool,
    /// Tasks that changed on the present machine.
    touched: BTreeSet<Row>,
    /// Tasks that ended on the present machine, with their registration: a later one is another round.
    ended: BTreeMap<Row, Wall>,
    /// Tasks that the file does not list any more.
    gone: Vec<Row>,
    /// Commands that wait for the change-over.
    pub(super) waiting: Vec<Command>,
    pub(super) responder: Responder,
}

/// A part of the store.
pub(super) enum Read {
    Start(HashMap<TargetRow, Target>, Vec<EvidenceRow>),
    Page(Vec<OpenTask>),
}

/// A poll that was in flight at a change-over.
pub(super) struct Moved {
    /// Its task.
    pub(super) row: Row,
    /// Whether its account is the same.
    pub(super) is_same_account: bool,
}

impl Replacement {
    pub(super) fn begin(current: Arc<Current>, store: &Arc<dyn Store>, responder: Responder) -> Self {
        let mut reading = JoinSet::new();
        let store = Arc::clone(store);
        reading.spawn(async move { Ok(Read::Start(store.targets().await?, store.evidence().await?)) });
        Self {
            next: Machine::new(current, HashMap::new()),
            targets: HashMap::new(),
            reading,
            is_loaded: false,
            touched: BTreeSet::new(),
            ended: BTreeMap::new(),
            gone: Vec::new(),
            waiting: Vec::new(),
            responder,
        }
    }

    /// The next part of the store. Pending once all are read.
    pub(super) async fn read(&mut self) -> Result<Read, Error> {
        match self.reading.join_next().await {
            Some(read) => read.unwrap_or_else(|error| super::resume_panic(error)),
            None => std::future::pending().await,
        }
    }

    /// Whether only the change-over is left.
    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// Takes a part of the store over, and reads the next one.
    pub(super) fn add(&mut self, read: Read, present: &Machine, store: &Arc<dyn Store>, now: Moment) {
        let after = match read {
            Read::Start(targets, evidence) => {
                self.targets = targets;
                self.next.evidence = evidence.into_iter().map(restored).collect();
                self.next.paused_accounts.clone_from(&present.paused_accounts);
                Row(0)
            }
            Read::Page(page) => {
                let Some(last) = page.last().map(|task| task.hot.row) else {
                    self.is_loaded = true;
                    return;
                };
                page.into_iter().for_each(|task| self.add_task(task, present, now));
                last
            }
        };
        let store = Arc::clone(store);
        self.reading.spawn(async move { store.open_tasks(None, after, PAGE).await.map(Read::Page) });
    }

    fn add_task(&mut self, task: OpenTask, present: &Machine, now: Moment) {
        let row = task.hot.row;
        if task.origin == Origin::File && !self.next.current.listed.contains(row) {
            self.gone.push(row);
        }
        // A target is never deleted, and was written before its task.
        let Some(target) = self.targets.get(&task.target) else { return };
        let target = self.next.add_target(target, now);
        let mut task = waiting(task, target, &self.next.current.policy, now);
        match present.board.find(row).map(|slot| present.board.get(slot)) {
            Some(Some(before)) => {
                task.continue_as(before);
                limit_due(&mut task, &self.next.current.policy, now);
            }
            // Its step is being stored.
            Some(None) => _ = self.touched.insert(row),
            None => {}
        }
        self.next.board.add(task, now);
    }

    /// The present machine changed a task.
    pub(super) fn touch(&mut self, row: Row) {
        self.touched.insert(row);
    }

    /// A task ended on the present machine.
    pub(super) fn end(&mut self, row: Row, registered: Wall) {
        self.ended.insert(row, registered);
    }

    /// The new machine with everything that happened on the present one, the polls in flight by their slots there, and
    /// the writes that follow. No write of the present machine is on its way.
    pub(super) fn change_over(
        self,
        present: &mut Machine,
        now: Moment,
    ) -> (Machine, HashMap<Slot, Moved>, Vec<Write>, Vec<Command>, Responder) {
        let Self { mut next, touched, ended, gone, waiting, responder, .. } = self;
        let mut writes = next.continue_as(present, now);
        for row in touched {
            let before = present.board.find(row).and_then(|slot| present.board.get(slot));
            if let (Some(slot), Some(before)) = (next.board.find(row), before)
                && let Some(mut task) = next.board.withdraw(slot)
            {
                task.continue_as(before);
                limit_due(&mut task, &next.current.policy, now);
                next.board.put_back(slot, task);
                next.board.admit_probe(slot);
            }
        }
        for (row, registered) in ended {
            let Some(slot) = next.board.find(row) else { continue };
            let of_that_round = |task: &&Waiting| task.started.local == registered;
            if let Some(task) = next.board.get(slot).filter(of_that_round) {
                let target = task.target;
                next.board.remove(slot, target);
            }
        }
        // Tasks that a command registered behind the pages.
        let missing: Vec<_> =
            present.board.tasks().filter(|task| next.board.find(task.row).is_none()).collect();
        for task in missing {
            let target = Arc::clone(&present.targets[task.target.0 as usize].target);
            let target = next.add_target(&target, now);
            let task = Waiting { target, in_flight: false, ..task.clone() };
            next.board.add(task, now);
        }
        let mut moved = HashMap::new();
        for task in present.board.tasks().filter(|task| task.in_flight) {
            let (Some(old), Some(new)) = (present.board.find(task.row), next.board.find(task.row)) else {
                continue;
            };
            next.board.set_in_flight(new);
            let account = &present.targets[task.target.0 as usize].target.account;
            let is_same_account = next.current.cloud.has_same_account(&present.current.cloud, account);
            moved.insert(old, Moved { row: task.row, is_same_account });
        }
        for (slot, deferred) in std::mem::take(&mut present.deferred) {
            let new = present.board.row_of(slot).and_then(|row| next.board.find(row));
            match new {
                Some(new) => _ = next.deferred.insert(new, deferred),
                None => next.refuse(deferred),
            }
        }
        for row in gone {
            if let Some(slot) = next.board.find(row) {
                writes.extend(next.defer(slot, Deferred::Removal, now));
            }
        }
        (next, moved, writes, waiting, responder)
    }
}
