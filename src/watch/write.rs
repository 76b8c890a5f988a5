//! What is to be made durable: a change of a task, its one final word, an event beside the polling.

use std::sync::Arc;

use crate::clock::{Moment, Steady};
use crate::model::due::Slot;
use crate::model::event::{About, Ending, Event, FinalWord, final_word, overdue, progressed};
use crate::model::reading::{Code, Fault, Outcome, Reading};
use crate::model::records::{Commit, End, HotRow, Record};
use crate::model::route::Routes;
use crate::model::step::Reason;
use crate::model::task::Target;
use crate::model::waiting::{TargetIndex, Times, Waiting};
use crate::store::{Error, Store};

/// One thing that is to be made durable.
pub enum Write {
    /// A step of a task, which waits for it.
    Step(Box<Step>),
    /// An event that is no task's, and the sinks that hear of it.
    Told(Event, Vec<String>),
}

/// A step of a task that is to be made durable.
pub struct Step {
    /// Where the task belongs on the board.
    pub slot: Slot,
    /// As it stands after the step.
    pub task: Waiting,
    /// Where it is asked for.
    pub target: Arc<Target>,
    /// Which sinks hear of it.
    pub routes: Arc<Routes>,
    /// When the step was taken.
    pub now: Times,
    /// What happened.
    pub what: What,
}

/// What happened to a task.
pub enum What {
    /// Its status changed, from that one if there was one before.
    Progressed(Option<Code>, Reading),
    /// It came to its end.
    Ended(Word),
    /// It takes longer than `warn_after`.
    Overdue,
}

/// The word that a task ends with: an outcome and the answer that told it, or why it was given up.
pub type Word = Result<(Outcome, Reading), (Reason, Option<Fault>)>;

/// What was made durable.
pub enum Written {
    /// A step of a task that goes on.
    Change(Slot, Box<Waiting>),
    /// The end of a task.
    End(Slot, TargetIndex),
    /// An event beside the polling.
    Told,
}

impl Write {
    /// When the task of that slot is asked next, if this is a step of it, and not its last.
    pub fn due_of(&self, slot: Slot) -> Option<Steady> {
        match self {
            Self::Step(step) if step.slot == slot && !matches!(step.what, What::Ended(_)) => {
                Some(step.task.due)
            }
            Self::Step(_) | Self::Told(..) => None,
        }
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// When the store fails; then nothing of it happened.
    pub async fn carry_out(self, store: &dyn Store) -> Result<Written, Error> {
        match self {
            Self::Step(step) => step.carry_out(store).await,
            Self::Told(event, sinks) => store.add_event(event, sinks).await.map(|()| Written::Told),
        }
    }
}

impl Step {
    async fn carry_out(self, store: &dyn Store) -> Result<Written, Error> {
        let row = self.task.row;
        // The first answer is a change without an event, and needs no record.
        let record =
            if matches!(self.what, What::Progressed(None, _)) { None } else { store.record(row).await? };
        let event = record.map(|record| {
            let event = self.event(&record)?;
            let lost = broken!(LostDelivery) && matches!(self.what, What::Ended(_));
            let sinks = if lost {
                Vec::new()
            } else {
                self.routes.of_task(event.kind, &record.settings, self.outcome())
            };
            Some((event, sinks))
        });
        let Self { slot, task, now, what, .. } = self;
        let end = match what {
            What::Ended(word) => Some(End {
                at: now.local.wall,
                word: word.map(|(outcome, _)| outcome).map_err(|(reason, _)| reason),
            }),
            What::Progressed(..) | What::Overdue => None,
        };
        let over = end.is_some();
        let open = store.commit(Commit { hot: hot(&task, now.local), end, event: event.flatten() }).await?;
        Ok(if open && !over {
            Written::Change(slot, Box::new(Waiting { unsaved: false, ..task }))
        } else {
            Written::End(slot, task.target)
        })
    }

    fn outcome(&self) -> Option<Outcome> {
        match &self.what {
            What::Ended(Ok((outcome, _))) => Some(*outcome),
            What::Ended(Err(_)) | What::Progressed(..) | What::Overdue => None,
        }
    }

    fn event(&self, record: &Record) -> Option<Event> {
        let Self { task, target, now, .. } = self;
        let Record { settings, registered_at, sequence } = record;
        let about =
            About { target, id: &task.id, settings, registered_at: *registered_at, sequence: *sequence };
        match &self.what {
            What::Progressed(previous, reading) => {
                previous.as_ref().map(|previous| progressed(&about, reading, previous, now.local.wall))
            }
            What::Ended(word) => Some(last_event(task, &about, word, *now)),
            What::Overdue => {
                Some(overdue(&about, task.status.as_ref(), task.started.elapsed(*now), now.local.wall))
            }
        }
    }
}

fn last_event(task: &Waiting, about: &About<'_>, word: &Word, now: Times) -> Event {
    let ending = Ending {
        at: now.local.wall,
        elapsed: task.started.elapsed(now),
        detected_within: task.seen.map(|seen| now.agreed() - seen),
        polls: task.polls,
        errors: task.errors,
    };
    let word = match word {
        Ok((outcome, Reading { status, instances, message, .. })) => {
            FinalWord::Finished { outcome: *outcome, status, instances, message: message.as_deref() }
        }
        Err((reason, error)) => {
            let ago = match reason {
                // The answer to the last poll is what it was given up over.
                Reason::Deadline => task.asked.map(|asked| now.local.steady - asked),
                Reason::Rejected | Reason::Removed => task.seen.map(|seen| now.agreed() - seen),
            };
            FinalWord::Abandoned {
                reason: *reason,
                status: task.status.as_ref(),
                last_seen_at: ago.map(|ago| now.local.wall - ago),
                error: error.as_ref(),
            }
        }
    };
    final_word(about, &word, &ending)
}

/// The stored form of where a task stands.
pub fn hot(task: &Waiting, now: Moment) -> HotRow {
    HotRow {
        row: task.row,
        due: now.wall_of(task.due),
        since: now.wall_of(task.since),
        seen: task.seen,
        digest: task.digest,
        status: task.status.clone(),
        polls: task.polls,
        errors: task.errors,
        streak: task.streak,
        registered_cloud: task.started.cloud,
        warned: task.warned,
    }
}
