//! The polling loop: it asks who is due, has the cloud asked, and carries out what the model answers.
//!
//! It judges nothing itself. A task whose end, or change, is being made durable is out of the queue until it is.

pub mod board;
mod load;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment, Steady};
use crate::cloud::{Cloud, Route, Stamp};
use crate::model::due::Slot;
use crate::model::event::{About, Ending, FinalWord, final_word};
use crate::model::policy::Policy;
use crate::model::reading::{Fault, Reading};
use crate::model::route::Routes;
use crate::model::step::{Draw, Effect, Reason, step};
use crate::model::task::Target;
use crate::model::waiting::{TargetIndex, Waiting};
use crate::store::{Commit, End, Error, Hot, Store};
use board::{AccountIndex, Board, KeyIndex};

/// How long a stop waits for answers that are under way: an end that is seen now need not be asked for again.
const DRAIN: Duration = Duration::from_secs(2);
/// How many hot rows are stored in one write at a stop.
const KEPT_AT_ONCE: usize = 5_000;

/// What the loop works with.
#[derive(Clone)]
pub struct Parts {
    /// Who is asked.
    pub cloud: Arc<Cloud>,
    /// Where ends are kept.
    pub store: Arc<dyn Store>,
    /// Which sinks hear of an end.
    pub routes: Arc<Routes>,
    /// How tasks are polled.
    pub policy: Arc<Policy>,
    /// Time and chance.
    pub clock: Clock,
}

/// The loop, loaded and ready to run.
pub struct Watch {
    parts: Parts,
    board: Board,
    targets: Vec<Known>,
    accounts: HashMap<String, AccountIndex>,
    keys: HashMap<crate::cloud::PaceKey, KeyIndex>,
    polls: JoinSet<Polled>,
    commits: JoinSet<Result<Committed, Error>>,
    /// Told how many tasks are open.
    open: watch::Sender<usize>,
    /// Told that something may be owed to sinks.
    owed: watch::Sender<()>,
}

/// A target, and how it is asked.
struct Known {
    target: Arc<Target>,
    route: Arc<Route>,
    /// Whether the last poll of it failed: the first failure is told, and the first success after it.
    troubled: bool,
}

struct Polled {
    slot: Slot,
    sent: Steady,
    now: Moment,
    poll: Result<Reading, Fault>,
}

/// A task whose step is durable; `None`: it is over.
struct Committed {
    slot: Slot,
    waiting: Option<Waiting>,
}

impl Watch {
    /// Polls until the stop, then drains within a few seconds: answers under way are waited for, and where each task stands is
    /// stored.
    ///
    /// # Errors
    /// When the store fails; nothing that was acknowledged is lost then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            self.send_due();
            self.open.send_if_modified(|open| std::mem::replace(open, self.board.open()) != self.board.open());
            let wake = self.board.wake();
            tokio::select! {
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(committed) = self.commits.join_next() => self.committed(committed)?,
                () = self.parts.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                () = stop.cancelled() => {}
            }
        }
        self.drain().await
    }

    fn send_due(&mut self) {
        let clock = self.parts.clock;
        let now = clock.now();
        while let Some((slot, task)) = self.board.take(now.steady) {
            let route = Arc::clone(&self.targets[task.target.0 as usize].route);
            let (id, params) = (task.id.clone(), task.params.clone().unwrap_or_default());
            let stamp = Stamp { nonce: clock.nonce(), at: now.wall };
            self.polls.spawn(async move {
                let poll = route.ask(&id, &params, stamp).await;
                Polled { slot, sent: now.steady, now: clock.now(), poll }
            });
        }
    }

    fn polled(&mut self, polled: Result<Polled, JoinError>) {
        let Polled { slot, sent, now, poll } = match polled {
            Ok(polled) => polled,
            Err(error) => resume_panic(error),
        };
        let Some(task) = self.board.answered(slot) else { return };
        self.tell(&task, &poll);
        let draw = Draw { sent, now: now.steady, spread: self.parts.clock.spread() };
        match step(task, &poll, &self.parts.policy, draw) {
            Effect::Again(task) => self.board.put_back(slot, task),
            Effect::Progress(task) => {
                let commit = Commit { hot: hot(&task, now), end: None, event: None };
                let store = Arc::clone(&self.parts.store);
                self.commits.spawn(async move {
                    let open = store.commit(commit).await?;
                    Ok(Committed { slot, waiting: open.then_some(task) })
                });
            }
            Effect::Finish(task, outcome) => self.end(slot, task, now, poll.ok().map(|reading| (outcome, reading)).ok_or(Reason::Deadline)),
            Effect::Abandon(task, reason) => self.end(slot, task, now, Err(reason)),
        }
    }

    /// Commits the one final word on a task.
    fn end(&mut self, slot: Slot, task: Waiting, now: Moment, word: Result<(crate::model::reading::Outcome, Reading), Reason>) {
        let Parts { store, routes, .. } = self.parts.clone();
        let target = Arc::clone(&self.targets[task.target.0 as usize].target);
        self.commits.spawn(async move {
            let Some(record) = store.record(task.row).await? else { return Ok(Committed { slot, waiting: None }) };
            let ending = Ending {
                at: now.wall,
                elapsed: now.steady - task.registered,
                detected_within: task.seen.map(|seen| now.steady - seen),
                polls: task.polls,
                errors: task.errors,
            };
            let about = About {
                target: &target,
                id: &task.id,
                settings: &record.settings,
                registered_at: record.registered_at,
                sequence: record.sequence,
            };
            let (outcome, event) = match &word {
                Ok((outcome, Reading { status, instances, .. })) => {
                    (Some(*outcome), final_word(&about, &FinalWord::Finished { outcome: *outcome, status, instances }, &ending))
                }
                Err(reason) => (None, final_word(&about, &FinalWord::Abandoned { reason: *reason, status: task.status.as_ref() }, &ending)),
            };
            let sinks = routes.of(&record.settings);
            let end = Some(End { at: now.wall, outcome });
            store.commit(Commit { hot: hot(&task, now), end, event: Some((event, sinks)) }).await?;
            Ok(Committed { slot, waiting: None })
        });
    }

    fn committed(&mut self, committed: Result<Result<Committed, Error>, JoinError>) -> Result<(), Error> {
        let Committed { slot, waiting } = committed.unwrap_or_else(|error| resume_panic(error))?;
        match waiting {
            Some(task) => self.board.put_back(slot, Waiting { unsaved: false, ..task }),
            None => {
                self.board.remove(slot);
                self.owed.send_replace(());
            }
        }
        Ok(())
    }

    /// The first fault of a target and its end are told at levels that people read; each poll only to who asks for it.
    fn tell(&mut self, task: &Waiting, poll: &Result<Reading, Fault>) {
        let known = &mut self.targets[task.target.0 as usize];
        let Target { account, region, operation } = &*known.target;
        match poll {
            Ok(reading) => {
                tracing::debug!(task = %task.id, operation, status = %reading.status, "polled");
                if std::mem::take(&mut known.troubled) {
                    tracing::info!(account, region, operation, "polls are answered again");
                }
            }
            Err(fault) => {
                tracing::debug!(task = %task.id, operation, class = %fault.class, %fault, "poll failed");
                if !std::mem::replace(&mut known.troubled, true) {
                    tracing::warn!(account, region, operation, task = %task.id, class = %fault.class, %fault, "a poll failed; polled again with backoff");
                }
            }
        }
    }

    async fn drain(mut self) -> Result<(), Error> {
        let until = self.parts.clock.now().steady + DRAIN;
        let clock = self.parts.clock;
        while !(self.polls.is_empty() && self.commits.is_empty()) {
            tokio::select! {
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(committed) = self.commits.join_next() => self.committed(committed)?,
                () = clock.sleep_until(until) => break,
            }
        }
        let now = clock.now();
        let unsaved: Vec<_> = self.board.tasks().filter(|task| task.unsaved).map(|task| hot(task, now)).collect();
        for rows in unsaved.chunks(KEPT_AT_ONCE) {
            self.parts.store.keep(rows.to_vec()).await?;
        }
        Ok(())
    }
}

/// The stored form of where a task stands.
fn hot(task: &Waiting, now: Moment) -> Hot {
    Hot {
        row: task.row,
        due: now.wall_of(task.due),
        since: now.wall_of(task.since),
        seen: task.seen.map(|seen| now.wall_of(seen)),
        digest: task.digest,
        status: task.status.clone(),
        polls: task.polls,
        errors: task.errors,
        streak: task.streak,
    }
}

/// A panic of a task is its owner's: the program ends, and starts afresh from what is stored.
fn resume_panic(error: JoinError) -> ! {
    std::panic::resume_unwind(if error.is_panic() { error.into_panic() } else { Box::new("a poll was cancelled by nobody") })
}
