//! The commands of people to the polling loop: on one task, on an account, and new tasks.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::load::{apply_settings, waiting};
use super::machine::Machine;
use super::write::{AddedTasks, FinalStep, StepKind, Write};
use crate::clock::Moment;
use crate::live::command::{CommandRefused, Responder, TaskAction};
use crate::model::due::Slot;
use crate::model::records::{OpenTask, Registered};
use crate::model::step::Reason;
use crate::model::task::{NewTask, Row, Target};

/// An action that waits until its task is free.
pub(super) enum Deferred {
    /// A command.
    Command(TaskAction, Responder),
    /// Changed settings.
    Settings(Box<OpenTask>),
    /// The file does not list the task any more.
    Removal,
}

impl Machine {
    /// Carries out a command on a task, or keeps it until the task is free. Returns the writes that follow.
    pub fn command(&mut self, row: Row, action: TaskAction, responder: Responder, now: Moment) -> Vec<Write> {
        match self.board.find(row) {
            Some(slot) => self.defer(slot, Deferred::Command(action, responder), now),
            None => {
                // The sender may be gone.
                let _ = responder.send(Err(CommandRefused::Ended));
                Vec::new()
            }
        }
    }

    /// A registered task: enters the board, or takes its changed settings. Returns the writes that follow.
    pub(super) fn admit(&mut self, task: OpenTask, target: &Target, now: Moment) -> Vec<Write> {
        if let Some(slot) = self.board.find(task.hot.row) {
            return self.defer(slot, Deferred::Settings(Box::new(task)), now);
        }
        let target = self.add_target(target, now);
        self.board.add(waiting(task, target, &self.current.policy, now), now);
        Vec::new()
    }

    /// The registration of new tasks.
    pub(super) fn addition(
        &self,
        tasks: Vec<NewTask>,
        registered: oneshot::Sender<Vec<Registered>>,
        responder: Responder,
        now: Moment,
    ) -> Write {
        let delay = self.current.policy.initial_delay;
        let due = tasks.iter().map(|task| now.wall + task.settings.initial_delay(delay)).collect();
        Write::Add(AddedTasks { tasks, now: now.wall, due, registered, responder })
    }

    /// The pause of an account, or its end. `None`: there is no such account, which the sender learns.
    pub(super) fn pause(&self, account: String, paused: bool, responder: Responder) -> Option<Write> {
        if self.current.cloud.has_account(&account) {
            return Some(Write::Pause { account, paused, responder });
        }
        let _ = responder.send(Err(CommandRefused::Unknown));
        None
    }

    /// The pause of an account is stored, or its end.
    pub(super) fn apply_pause(&mut self, account: &str, paused: bool) {
        let is_new = if paused {
            self.paused_accounts.insert(account.to_owned())
        } else {
            self.paused_accounts.remove(account)
        };
        if let Some(index) = self.accounts.get(account).filter(|_| is_new) {
            self.board.pause_account(*index, paused);
        }
    }

    /// Carries out what waited for a task that is free again.
    pub(super) fn catch_up(&mut self, slot: Slot, now: Moment) -> Vec<Write> {
        let mut writes = Vec::new();
        while !self.deferred.is_empty() && !self.board.is_busy(slot) {
            let Some(next) = self.deferred.get_mut(&slot).and_then(|waiting| waiting.pop_front()) else {
                self.deferred.remove(&slot);
                break;
            };
            writes.extend(self.act(slot, next, now));
        }
        writes
    }

    /// The task has ended: commands that waited for it are refused.
    pub(super) fn refuse_deferred(&mut self, slot: Slot) {
        let deferred = self.deferred.remove(&slot).unwrap_or_default();
        self.refuse(deferred);
    }

    pub(super) fn refuse(&self, deferred: VecDeque<Deferred>) {
        for deferred in deferred {
            if let Deferred::Command(_, responder) = deferred {
                let _ = responder.send(Err(CommandRefused::Ended));
            }
        }
    }

    pub(super) fn defer(&mut self, slot: Slot, deferred: Deferred, now: Moment) -> Vec<Write> {
        if self.board.is_busy(slot) {
            self.deferred.entry(slot).or_default().push_back(deferred);
            return Vec::new();
        }
        self.act(slot, deferred, now).into_iter().collect()
    }

    /// Acts on a task that is free.
    fn act(&mut self, slot: Slot, deferred: Deferred, now: Moment) -> Option<Write> {
        let mut task = self.board.withdraw(slot)?;
        let times = self.board.times(task.target, now);
        let (action, responder) = match deferred {
            Deferred::Command(action, responder) => (action, responder),
            Deferred::Removal => {
                let what = StepKind::Ended(FinalStep::Abandoned(Reason::Removed, None));
                return Some(self.step(slot, task, times, what));
            }
            Deferred::Settings(changed) => {
                apply_settings(&mut task, &changed.settings, &self.current.policy, now);
                self.board.arm_overdue(slot, &task, now);
                self.board.put_back(slot, task);
                return None;
            }
        };
        let what = match action {
            TaskAction::Poll if task.paused || self.board.is_account_paused(task.target) => {
                let refused =
                    if task.paused { CommandRefused::Paused } else { CommandRefused::AccountPaused };
                self.board.put_back(slot, task);
                let _ = responder.send(Err(refused));
                return None;
            }
            TaskAction::Poll if self.board.is_on_hold(task.target) => {
                self.board.put_back(slot, task);
                let _ = responder.send(Err(CommandRefused::OnHold));
                return None;
            }
            TaskAction::Poll => {
                self.board.put_back_at_once(slot, task, now.steady);
                let _ = responder.send(Ok(()));
                return None;
            }
            TaskAction::Pause | TaskAction::Resume if task.paused == (action == TaskAction::Pause) => {
                self.board.put_back(slot, task);
                let _ = responder.send(Ok(()));
                return None;
            }
            TaskAction::Pause | TaskAction::Resume => {
                task.paused = action == TaskAction::Pause;
                StepKind::Changed
            }
            TaskAction::Extend(left) => {
                task.extend(left, times);
                StepKind::Changed
            }
            TaskAction::Cancel => StepKind::Ended(FinalStep::Abandoned(Reason::Cancelled, None)),
        };
        Some(self.step_of_command(slot, task, times, what, Some(responder)))
    }
}
