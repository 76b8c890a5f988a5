//! The writes of the polling loop: a change of a task, its final event, an event of an account, evidence.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::{Moment, Steady, Wall};
use crate::live::Current;
use crate::live::command::{CommandRefused, Responder};
use crate::model::due::Slot;
use crate::model::event::{Ending, Event, EventContext, FinalEvent, final_event, overdue, progressed};
use crate::model::gate::Evidence;
use crate::model::reading::{Code, Fault, Outcome, Reading};
use crate::model::records::{
    Commit, Conclusion, End, EvidenceRow, HotRow, OpenTask, PauseScope, Record, Registered,
};
use crate::model::step::Reason;
use crate::model::task::{NewTask, Row, Target};
use crate::model::waiting::{TargetIndex, Times, Waiting};
use crate::store::{Error, Store};

/// One write of the polling loop.
pub enum Write {
    /// A step of a task; the task waits for it.
    Step(Box<Step>),
    /// The polls of tasks that continue meanwhile.
    Polled(Vec<HotRow>),
    /// An event of an account or pace key, with its sinks.
    Event(Event, Vec<String>),
    /// The evidence of a pace key.
    Evidence(String, Evidence),
    /// New tasks with the moments of their registration and first poll.
    Add(AddedTasks),
    /// The pause of an account begins or ends.
    Pause {
        /// The account.
        account: String,
        /// Whether it begins.
        paused: bool,
        /// The sender of the command.
        responder: Responder,
    },
}

/// Tasks that a command adds.
pub struct AddedTasks {
    /// The tasks.
    pub tasks: Vec<NewTask>,
    /// The moment of the registration.
    pub now: Wall,
    /// The first poll of each.
    pub due: Vec<Wall>,
    /// The receiver of their keys and states.
    pub registered: oneshot::Sender<Vec<Registered>>,
    /// The sender of the command.
    pub responder: Responder,
}

/// A step of a task.
pub struct Step {
    /// The slot of the task on the board.
    pub slot: Slot,
    /// The task after the step.
    pub task: Waiting,
    /// Its target.
    pub target: Arc<Target>,
    /// The snapshot whose filters select the sinks.
    pub current: Arc<Current>,
    /// The moment of the step.
    pub now: Times,
    /// The kind of the step.
    pub what: StepKind,
    /// The sender of the command that caused it.
    pub responder: Option<Responder>,
}

/// The kind of a step.
pub enum StepKind {
    /// The status changed; with the previous one.
    Progressed(Code, Reading),
    /// The task ended.
    Ended(FinalStep),
    /// The task takes longer than `warn_after`.
    Overdue,
    /// A person changed its deadline or its pause.
    Changed,
}

/// The last step of a task.
pub enum FinalStep {
    /// Finished, with that outcome in that response.
    Finished(Outcome, Reading),
    /// Abandoned; with the fault, if that is the reason.
    Abandoned(Reason, Option<Fault>),
}

/// A write that is durable.
pub enum Durable {
    /// A step of an open task.
    Change(Slot, Box<Waiting>),
    /// The end of a task, with its key and registration.
    End {
        /// The slot of the task.
        slot: Slot,
        /// Its target.
        target: TargetIndex,
        /// Its key.
        row: Row,
        /// Its registration.
        registered: Wall,
    },
    /// Tasks of a command are registered; those that are open, with their targets.
    Added(Vec<(OpenTask, Arc<Target>)>, Responder),
    /// The pause of an account begins or ends.
    Pause(String, bool, Responder),
    /// A write that no task waits for.
    Other,
}

impl Write {
    /// The next poll of the task of that slot, if this is a step of it, and not its last.
    pub fn due_of(&self, slot: Slot) -> Option<Steady> {
        match self {
            Self::Step(step) if step.slot == slot && !matches!(step.what, StepKind::Ended(_)) => {
                Some(step.task.due)
            }
            Self::Step(_)
            | Self::Polled(_)
            | Self::Event(..)
            | Self::Evidence(..)
            | Self::Add(_)
            | Self::Pause { .. } => None,
        }
    }

    /// Whether this is the end of a task.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Step(step) if matches!(step.what, StepKind::Ended(_)))
    }

    /// Makes the write durable.
    ///
    /// # Errors
    /// When the store fails; then nothing of the write happened.
    pub async fn carry_out(self, store: &dyn Store) -> Result<Durable, Error> {
        match self {
            Self::Step(step) => return step.carry_out(store).await,
            Self::Polled(rows) => store.save(rows).await?,
            Self::Event(event, sinks) => store.add_event(event, sinks).await?,
            Self::Evidence(pace_key, Evidence { has_succeeded, refused }) => {
                let refused =
                    refused.into_iter().map(|(code, rows)| (code, rows.into_iter().map(Row).collect()));
                let had_good_response = has_succeeded;
                let row = EvidenceRow { pace_key, had_good_response, refused: refused.collect() };
                store.save_evidence(vec![row]).await?;
            }
            Self::Add(added) => return added.carry_out(store).await,
            Self::Pause { account, paused, responder } => {
                store.set_paused(PauseScope::Account(account.clone()), paused).await?;
                return Ok(Durable::Pause(account, paused, responder));
            }
        }
        Ok(Durable::Other)
    }
}

impl AddedTasks {
    async fn carry_out(self, store: &dyn Store) -> Result<Durable, Error> {
        let Self { tasks, now, due, registered, responder } = self;
        let targets: Vec<_> = tasks.iter().map(|task| Arc::clone(&task.target)).collect();
        let results = store.register(tasks, now, due).await?;
        let rows: HashMap<_, _> = results.iter().map(|result| result.row).zip(targets).collect();
        let open = store.open_of(rows.keys().copied().collect()).await?;
        let with_target = |task: OpenTask| rows.get(&task.hot.row).map(|target| (task, Arc::clone(target)));
        let open = open.into_iter().filter_map(with_target).collect();
        // The sender may be gone.
        let _ = registered.send(results);
        Ok(Durable::Added(open, responder))
    }
}

impl Step {
    async fn carry_out(self, store: &dyn Store) -> Result<Durable, Error> {
        let row = self.task.row;
        // A change by a person has no event, and needs no record.
        let record = match self.what {
            StepKind::Changed => None,
            StepKind::Progressed(..) | StepKind::Ended(_) | StepKind::Overdue => store.record(row).await?,
        };
        let event = record.and_then(|record| {
            let event = self.event(&record)?;
            let sinks = self.current.routes.of_task(event.kind, &record.settings, self.outcome());
            Some((event, sinks))
        });
        let Self { slot, task, now, what, responder, .. } = self;
        let conclusion = match what {
            StepKind::Ended(FinalStep::Finished(outcome, _)) => Some(Conclusion::Finished(outcome)),
            StepKind::Ended(FinalStep::Abandoned(reason, _)) => Some(Conclusion::Abandoned(reason)),
            StepKind::Progressed(..) | StepKind::Overdue | StepKind::Changed => None,
        };
        let is_last = conclusion.is_some();
        let end = conclusion.map(|conclusion| End { at: now.local.wall, conclusion });
        let open = store.commit(Commit { hot: hot_row(&task, now.local), end, event }).await?;
        if let Some(responder) = responder {
            // The sender may be gone.
            let _ = responder.send(if open { Ok(()) } else { Err(CommandRefused::Ended) });
        }
        Ok(if open && !is_last {
            Durable::Change(slot, Box::new(Waiting { unsaved: false, ..task }))
        } else {
            Durable::End { slot, target: task.target, row, registered: task.started.local }
        })
    }

    fn outcome(&self) -> Option<Outcome> {
        match &self.what {
            StepKind::Ended(FinalStep::Finished(outcome, _)) => Some(*outcome),
            StepKind::Ended(FinalStep::Abandoned(..))
            | StepKind::Progressed(..)
            | StepKind::Overdue
            | StepKind::Changed => None,
        }
    }

    fn event(&self, record: &Record) -> Option<Event> {
        let Self { task, target, now, .. } = self;
        let Record { settings, registered_at, sequence } = record;
        let about = EventContext {
            target,
            id: &task.id,
            settings,
            registered_at: *registered_at,
            sequence: *sequence,
        };
        match &self.what {
            StepKind::Progressed(previous, reading) => {
                Some(progressed(&about, reading, previous, now.local.wall))
            }
            StepKind::Ended(last) => Some(final_event_of(task, &about, last, *now)),
            StepKind::Overdue => {
                Some(overdue(&about, task.status.as_ref(), task.started.elapsed(*now), now.local.wall))
            }
            StepKind::Changed => None,
        }
    }
}

fn final_event_of(task: &Waiting, about: &EventContext<'_>, last: &FinalStep, now: Times) -> Event {
    let ending = Ending {
        at: now.local.wall,
        elapsed: task.started.elapsed(now),
        detected_within: task.seen.get().map(|seen| now.agreed() - seen),
        polls: task.polls,
        errors: task.errors,
    };
    let word = match last {
        FinalStep::Finished(outcome, Reading { status, instances, message, .. }) => {
            FinalEvent::Finished { outcome: *outcome, status, instances, message: message.as_deref() }
        }
        FinalStep::Abandoned(reason, error) => {
            let ago = match reason {
                // The response to the last poll is the reason.
                Reason::Deadline => task.polled.get().map(|polled| now.local.steady - polled),
                Reason::Rejected | Reason::Removed | Reason::Cancelled => {
                    task.seen.get().map(|seen| now.agreed() - seen)
                }
            };
            FinalEvent::Abandoned {
                reason: *reason,
                status: task.status.as_ref(),
                last_seen_at: ago.map(|ago| now.local.wall - ago),
                error: error.as_ref(),
            }
        }
    };
    final_event(about, &word, &ending)
}

/// The hot row of a task, as it is stored.
pub fn hot_row(task: &Waiting, now: Moment) -> HotRow {
    HotRow {
        row: task.row,
        due: now.wall_of(task.due),
        since: now.wall_of(task.since),
        seen: task.seen.get(),
        digest: task.digest,
        status: task.status.clone(),
        polls: task.polls,
        errors: task.errors,
        streak: task.streak,
        registered_cloud: task.started.cloud.get(),
        warned: task.warned,
        paused: task.paused,
        extended: task.timeout.get().filter(|_| task.extended),
    }
}
