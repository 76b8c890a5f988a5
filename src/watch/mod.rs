//! The polling loop: it asks who is due, has the cloud asked, and carries out what the model answers.
//!
//! It judges nothing itself. A task whose end, or change, is being made durable is out of the queue until it is.

pub mod board;
mod load;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment, Steady};
use crate::cloud::{Answer, Cloud, PaceKey, Route, Stamp};
use crate::model::due::Slot;
use crate::model::event::{About, Ending, Event, FinalWord, final_word, overdue, progressed};
use crate::model::policy::Policy;
use crate::model::reading::{Code, Fault, Outcome, Reading};
use crate::model::route::Routes;
use crate::model::step::{Effect, Reason};
use crate::model::task::Target;
use crate::model::waiting::{TargetIndex, Times, Waiting};
use crate::store::{Commit, End, Error, Hot, Record, Rows, Store};
use board::{AccountIndex, Board, KeyIndex, Settled};

/// How long a stop waits for answers that are under way: an end that is seen now need not be asked for again.
const DRAIN: Duration = Duration::from_secs(2);
/// How many hot rows are stored in one write at a stop.
const KEPT_AT_ONCE: usize = 5_000;
/// How often the key files of held accounts are looked at: as fast as somebody who just wrote one waits.
const KEY_FILES: Duration = Duration::from_secs(1);

/// What the loop works with.
pub struct Parts {
    /// Who is asked.
    pub cloud: Cloud,
    /// Where ends are kept.
    pub store: Arc<dyn Store>,
    /// Which sinks hear of an end.
    pub routes: Arc<Routes>,
    /// How tasks are polled.
    pub policy: Policy,
    /// Time and chance.
    pub clock: Clock,
    /// What the file lists.
    pub listed: Arc<Rows>,
    /// Whether a start may remove more than half of a list.
    pub allow_removals: bool,
}

/// Where the watch stands, for whoever waits for its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many tasks are open.
    pub open: usize,
    /// What is held, where nothing but held work is left.
    pub held: Vec<String>,
}

/// The loop, loaded and ready to run.
pub struct Watch {
    parts: Parts,
    board: Board,
    targets: Vec<Known>,
    accounts: HashMap<String, AccountIndex>,
    keys: HashMap<PaceKey, KeyIndex>,
    /// When each key file was last seen to change, while its account is held.
    key_files: HashMap<String, Option<SystemTime>>,
    next_look_at_key_files: Steady,
    /// Open tasks that cannot be asked about, since their account or operation is not configured any more.
    unasked: usize,
    polls: JoinSet<Polled>,
    commits: JoinSet<Result<Committed, Error>>,
    standing: watch::Sender<Standing>,
    /// Told that something may be owed to sinks.
    owed: watch::Sender<()>,
}

/// A target, and how it is asked.
struct Known {
    target: Arc<Target>,
    route: Arc<Route>,
    key: KeyIndex,
    /// Whether the last poll of it failed: the first failure is told, and the first success after it.
    troubled: bool,
    /// The last status that its row does not know, so that each is told once.
    unknown: Option<Code>,
}

struct Polled {
    slot: Slot,
    sent: Moment,
    now: Moment,
    answer: Answer,
}

/// What was made durable.
enum Committed {
    /// A change of a task that goes on.
    Change(Slot, Box<Waiting>),
    /// The end of a task.
    End(Slot, TargetIndex),
    /// An event beside the polling.
    Told,
}

impl Watch {
    /// Polls until the stop, then drains within a few seconds: answers under way are waited for, and where each task stands is
    /// stored.
    ///
    /// # Errors
    /// When the store fails; nothing that was acknowledged is lost then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            self.look_at_key_files();
            let now = self.parts.clock.now();
            self.tell_overdue(now);
            self.send_due(now);
            let standing = self.stands();
            self.standing.send_if_modified(|before| {
                let changed = *before != standing;
                *before = standing;
                changed
            });
            let wake = self.board.wake();
            let wake = if self.board.any_account_held() { wake.into_iter().chain([self.next_look_at_key_files]).min() } else { wake };
            tokio::select! {
                // Answers first: what they bring may be an end.
                biased;
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(committed) = self.commits.join_next() => self.committed(committed)?,
                () = self.parts.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                () = stop.cancelled() => {}
            }
        }
        self.drain().await
    }

    fn send_due(&mut self, now: Moment) {
        let clock = self.parts.clock;
        while let Some((slot, task)) = self.board.take(now.steady) {
            let (target, id, params) = (task.target, task.id.clone(), task.params.clone().unwrap_or_default());
            let new_connection = task.lost_connection;
            let route = Arc::clone(&self.targets[target.0 as usize].route);
            let stamp = Stamp { nonce: clock.nonce(), at: self.board.stamp(target, now.wall) };
            self.polls.spawn(async move {
                let answer = route.ask(&id, &params, stamp, new_connection).await;
                Polled { slot, sent: now, now: clock.now(), answer }
            });
        }
    }

    fn polled(&mut self, polled: Result<Polled, JoinError>) {
        let Polled { slot, sent, now, answer } = polled.unwrap_or_else(|error| resume_panic(error));
        let Some(Settled { effect, now, notices }) = self.board.settle(slot, &answer, sent, now, self.parts.clock.spread()) else { return };
        notices.iter().for_each(|notice| self.tell_notice(notice, now.local));
        if let Effect::Again(task) | Effect::AtOnce(task) | Effect::Progress(task, _) = &effect {
            self.tell_poll(task, &answer.poll);
        }
        match effect {
            Effect::Again(task) => self.board.put_back(slot, task),
            Effect::AtOnce(task) => self.board.put_back_at_once(slot, task, now.local.steady),
            Effect::Progress(task, previous) => self.progress(slot, task, previous, now, answer.poll),
            Effect::Finish(task, outcome) => {
                self.end(slot, task, now, answer.poll.map(|reading| (outcome, reading)).map_err(|fault| (Reason::Rejected, Some(fault))))
            }
            Effect::Abandon(task, reason) => self.end(slot, task, now, Err((reason, answer.poll.err()))),
        }
    }

    /// Stores a change, with its event where there was a status before.
    fn progress(&mut self, slot: Slot, task: Waiting, previous: Option<Code>, now: Times, poll: Result<Reading, Fault>) {
        let (store, routes, target) = self.for_an_event(&task);
        self.commits.spawn(async move {
            let mut event = None;
            if let (Some(previous), Ok(reading)) = (previous, poll)
                && let Some(record) = store.record(task.row).await?
            {
                let made = progressed(&about(&task, &target, &record), &reading, &previous, now.local.wall);
                let sinks = routes.of_task(made.kind, &record.settings);
                event = Some((made, sinks));
            }
            let open = store.commit(Commit { hot: hot(&task, now.local), end: None, event }).await?;
            Ok(if open { Committed::Change(slot, Box::new(task)) } else { Committed::End(slot, task.target) })
        });
    }

    /// Commits the one final word on a task.
    fn end(&mut self, slot: Slot, task: Waiting, now: Times, word: Result<(Outcome, Reading), (Reason, Option<Fault>)>) {
        let (store, routes, target) = self.for_an_event(&task);
        self.commits.spawn(async move {
            if let Some(record) = store.record(task.row).await? {
                let outcome = word.as_ref().ok().map(|(outcome, _)| *outcome);
                let event = last_event(&task, &about(&task, &target, &record), &word, now);
                let sinks = routes.of_task(event.kind, &record.settings);
                let end = Some(End { at: now.local.wall, outcome });
                store.commit(Commit { hot: hot(&task, now.local), end, event: Some((event, sinks)) }).await?;
            }
            Ok(Committed::End(slot, task.target))
        });
    }

    fn tell_overdue(&mut self, now: Moment) {
        while let Some((task, times)) = self.board.take_overdue(now) {
            let task = task.clone();
            let (store, routes, target) = self.for_an_event(&task);
            self.commits.spawn(async move {
                if let Some(record) = store.record(task.row).await? {
                    let event = overdue(&about(&task, &target, &record), task.status.as_ref(), task.started.elapsed(times), now.wall);
                    let sinks = routes.of_task(event.kind, &record.settings);
                    store.commit(Commit { hot: hot(&task, now), end: None, event: Some((event, sinks)) }).await?;
                }
                Ok(Committed::Told)
            });
        }
    }

    /// What an event of that task is made and committed with.
    fn for_an_event(&self, task: &Waiting) -> (Arc<dyn Store>, Arc<Routes>, Arc<Target>) {
        let target = &self.targets[task.target.0 as usize].target;
        (Arc::clone(&self.parts.store), Arc::clone(&self.parts.routes), Arc::clone(target))
    }

    fn committed(&mut self, committed: Result<Result<Committed, Error>, JoinError>) -> Result<(), Error> {
        match committed.unwrap_or_else(|error| resume_panic(error))? {
            Committed::Change(slot, task) => self.board.put_back(slot, Waiting { unsaved: false, ..*task }),
            Committed::End(slot, target) => self.board.remove(slot, target),
            Committed::Told => {}
        }
        self.owed.send_replace(());
        Ok(())
    }

    /// Reads the key files of held accounts again when they changed: a right key mends everything without a restart.
    fn look_at_key_files(&mut self) {
        if !self.board.any_account_held() {
            return;
        }
        let now = self.parts.clock.now().steady;
        if now < self.next_look_at_key_files {
            return;
        }
        self.next_look_at_key_files = now + KEY_FILES;
        let modified = |path: &std::path::Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let files: Vec<_> = self.parts.cloud.key_files().map(|(name, path)| (name.to_owned(), modified(path))).collect();
        for (name, modified) in files {
            if self.key_files.insert(name.clone(), modified) == Some(modified) {
                continue;
            }
            match self.parts.cloud.read_key_again(&name) {
                None => {}
                Some(Err(what)) => {
                    tracing::error!(account = name, error = what, "the key of a held account could not be read again; the one before stays")
                }
                Some(Ok(())) => self.use_new_key(&name, now),
            }
        }
    }

    fn use_new_key(&mut self, account: &str, now: Steady) {
        for known in self.targets.iter_mut().filter(|known| known.target.account == account) {
            if let Ok(route) = self.parts.cloud.route(&known.target) {
                known.route = Arc::new(route);
            }
        }
        tracing::info!(account, "the key of a held account was read again; it is tried at once");
        if let Some(index) = self.accounts.get(account) {
            self.board.try_now(*index, now);
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

fn about<'a>(task: &'a Waiting, target: &'a Target, record: &'a Record) -> About<'a> {
    About { target, id: &task.id, settings: &record.settings, registered_at: record.registered_at, sequence: record.sequence }
}

fn last_event(task: &Waiting, about: &About<'_>, word: &Result<(Outcome, Reading), (Reason, Option<Fault>)>, now: Times) -> Event {
    let ending = Ending {
        at: now.local.wall,
        elapsed: task.started.elapsed(now),
        detected_within: task.seen.map(|seen| now.local.steady - seen),
        polls: task.polls,
        errors: task.errors,
    };
    let word = match word {
        Ok((outcome, Reading { status, instances, message, .. })) => {
            FinalWord::Finished { outcome: *outcome, status, instances, message: message.as_deref() }
        }
        Err((reason, error)) => FinalWord::Abandoned {
            reason: *reason,
            status: task.status.as_ref(),
            last_seen_at: task.seen.map(|seen| now.local.wall_of(seen)),
            error: error.as_ref(),
        },
    };
    final_word(about, &word, &ending)
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
        registered_cloud: task.started.cloud,
        warned: task.warned,
    }
}

/// A panic of a task is its owner's: the program ends, and starts afresh from what is stored.
fn resume_panic(error: JoinError) -> ! {
    std::panic::resume_unwind(if error.is_panic() { error.into_panic() } else { Box::new("a poll was cancelled by nobody") })
}
