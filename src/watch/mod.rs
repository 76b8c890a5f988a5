//! The polling loop: it waits, sends what [`machine`] says is due, hands it the answers, and has the store
//! keep what comes of them.
//!
//! It judges nothing itself. A task whose end, or change, is being made durable is out of the queue until it
//! is.

pub mod board;
mod load;
pub mod machine;
mod tell;
#[cfg(test)]
mod tests;
pub mod write;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment, Steady};
use crate::cloud::{Cloud, Stamp};
use crate::model::due::Slot;
use crate::model::reading::Response;
use crate::store::{Error, Store};
pub use load::Start;
use machine::{Ask, Machine};
pub use tell::{Seen, Standing};
use write::{Write, Written};

/// How long a stop waits for answers that are under way: an end that is seen now need not be asked for again.
const DRAIN: Duration = Duration::from_secs(2);
/// So many writes are under way at once: as many as a few group commits take, and no more memory than that.
const WRITES: usize = 1_024;
/// How many hot rows are stored in one write at a stop.
const KEPT_AT_ONCE: usize = 5_000;
/// How often the key files of held accounts are looked at: as fast as somebody who just wrote one waits.
const KEY_FILES: Duration = Duration::from_secs(1);

/// The loop, loaded and ready to run.
pub struct Watch {
    cloud: Cloud,
    store: Arc<dyn Store>,
    clock: Clock,
    machine: Machine,
    /// When each key file was last seen to change, while its account is held.
    key_files: HashMap<String, Option<SystemTime>>,
    next_look_at_key_files: Steady,
    polls: JoinSet<Polled>,
    writes: JoinSet<Result<Written, Error>>,
    /// What waits for room among the writes.
    backlog: VecDeque<Write>,
    standing: watch::Sender<Standing>,
    /// Told that something may be owed to sinks.
    owed: watch::Sender<()>,
    /// Told what each poll brought, where somebody looks on.
    seen: Option<mpsc::Sender<Seen>>,
}

struct Polled {
    slot: Slot,
    sent: Moment,
    now: Moment,
    answer: Response,
}

impl Watch {
    /// Loads every open task, and is ready to run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        start: Start,
        cloud: Cloud,
        store: Arc<dyn Store>,
        clock: Clock,
        standing: watch::Sender<Standing>,
        owed: watch::Sender<()>,
    ) -> Result<Self, Error> {
        let (machine, first) = Machine::load(start, &cloud, store.as_ref(), || clock.now()).await?;
        standing.send_replace(machine.stands());
        let key_files = HashMap::new();
        let next_look_at_key_files = Steady::default();
        let polls = JoinSet::new();
        let writes = JoinSet::new();
        let seen = None;
        let mut watch = Self {
            cloud,
            store,
            clock,
            machine,
            key_files,
            next_look_at_key_files,
            polls,
            writes,
            backlog: VecDeque::new(),
            standing,
            owed,
            seen,
        };
        watch.write(first);
        Ok(watch)
    }

    /// Tells from now on what each poll brings.
    pub fn tell_polls(&mut self, seen: Option<mpsc::Sender<Seen>>) {
        self.seen = seen;
    }

    /// Polls until the stop, then drains within a few seconds: answers under way are waited for, and where
    /// each task stands is stored.
    ///
    /// # Errors
    /// When the store fails; nothing that was acknowledged is lost then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            self.look_at_key_files();
            let now = self.clock.now();
            while self.is_unhurried()
                && let Some(write) = self.machine.overdue(now)
            {
                self.write([write]);
            }
            self.send_due(now);
            let standing = self.machine.stands();
            self.standing.send_if_modified(|before| {
                let changed = *before != standing;
                *before = standing;
                changed
            });
            let wake = self.machine.wake(self.is_unhurried());
            let key_files = self.machine.board.any_account_held().then_some(self.next_look_at_key_files);
            let wake = wake.into_iter().chain(key_files).min();
            tokio::select! {
                // Answers first: what they bring may be an end.
                biased;
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(written) = self.writes.join_next() => self.written(written)?,
                () = self.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                () = stop.cancelled() => {}
            }
        }
        self.drain().await
    }

    fn send_due(&mut self, now: Moment) {
        let clock = self.clock;
        while let Some(Ask { slot, route, id, params, new_connection, at }) = self.machine.ask(now) {
            let stamp = Stamp { nonce: clock.nonce(), at };
            self.polls.spawn(async move {
                let answer = route.ask(&id, &params, stamp, new_connection).await;
                Polled { slot, sent: now, now: clock.now(), answer }
            });
        }
    }

    fn polled(&mut self, polled: Result<Polled, JoinError>) {
        let Polled { slot, sent, now, answer } = polled.unwrap_or_else(|error| resume_panic(error));
        let seen = self.seen.as_ref().and_then(|_| self.machine.seen(slot, &answer.poll));
        let writes = self.machine.answered(slot, answer, sent, now, self.clock.spread());
        if let (Some(sender), Some(seen)) = (&self.seen, seen) {
            let changed = writes.iter().find_map(|write| write.due_of(slot));
            let next = changed.or_else(|| self.machine.board.get(slot).map(|task| task.due));
            // Who looks on too slowly misses a poll, and sees the next one of that task.
            let _ = sender.try_send(Seen { next, ..seen });
        }
        self.write(writes);
    }

    /// Whether there is room for what can wait.
    fn is_unhurried(&self) -> bool {
        self.backlog.is_empty() && self.writes.len() < WRITES
    }

    fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.backlog.extend(writes);
        while self.writes.len() < WRITES
            && let Some(write) = self.backlog.pop_front()
        {
            let store = Arc::clone(&self.store);
            self.writes.spawn(async move { write.carry_out(store.as_ref()).await });
        }
    }

    fn written(&mut self, written: Result<Result<Written, Error>, JoinError>) -> Result<(), Error> {
        self.machine.written(written.unwrap_or_else(|error| resume_panic(error))?);
        self.write([]);
        self.owed.send_replace(());
        Ok(())
    }

    /// Reads the key files of held accounts again when they changed: a right key mends everything without a
    /// restart.
    fn look_at_key_files(&mut self) {
        let now = self.clock.now().steady;
        if !self.machine.board.any_account_held() || now < self.next_look_at_key_files {
            return;
        }
        self.next_look_at_key_files = now + KEY_FILES;
        let modified = |path: &std::path::Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let files: Vec<_> =
            self.cloud.key_files().map(|(name, path)| (name.to_owned(), modified(path))).collect();
        for (name, modified) in files {
            if self.key_files.insert(name.clone(), modified) == Some(modified) {
                continue;
            }
            match self.cloud.read_key_again(&name) {
                None => {}
                Some(Err(what)) => {
                    tracing::error!(
                        account = name,
                        error = what,
                        "the key of a held account could not be read again; the one before stays"
                    )
                }
                Some(Ok(())) => self.machine.use_new_key(&self.cloud, &name, now),
            }
        }
    }

    async fn drain(mut self) -> Result<(), Error> {
        let clock = self.clock;
        let until = clock.now().steady + DRAIN;
        while !(self.polls.is_empty() && self.writes.is_empty() && self.backlog.is_empty()) {
            tokio::select! {
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(written) = self.writes.join_next() => self.written(written)?,
                () = clock.sleep_until(until) => break,
            }
        }
        for rows in self.machine.unsaved(clock.now()).chunks(KEPT_AT_ONCE) {
            self.store.save(rows.to_vec()).await?;
        }
        self.standing.send_replace(self.machine.stands());
        Ok(())
    }
}

/// A panic of a poll, an attempt or a write is its loop's: the program ends, and starts afresh from what is
/// stored.
pub fn resume_panic(error: JoinError) -> ! {
    std::panic::resume_unwind(if error.is_panic() {
        error.into_panic()
    } else {
        Box::new("it was cancelled, and nobody does that")
    })
}
