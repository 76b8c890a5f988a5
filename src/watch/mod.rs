//! The polling loop: waits, sends the polls that [`machine`] plans, passes the responses to it, and has the
//! store keep the results.
//!
//! This file decides nothing. A task whose change or end is being stored is out of the queue until then.

mod load;
mod log;
pub mod machine;
#[cfg(test)]
mod tests;
pub mod write;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment};
use crate::cloud::Stamp;
use crate::files::Watched;
use crate::live::command::{Action, Command, CommandRefused};
use crate::live::{self, Live};
use crate::model::due::Slot;
use crate::model::reading::{Class, Fault, Response};
use crate::store::{Error, Store};
pub use log::{InstanceTally, PollReport, WatchStatus};
use machine::{Machine, PollRequest};
use write::{Durable, Write};

/// Wait of a stop for the responses in flight: an end that is detected now needs no further poll.
const DRAIN: Duration = Duration::from_secs(2);
/// The largest number of writes in flight: a few group commits.
const WRITES: usize = 1_024;
/// Hot rows in one write at a stop.
const SAVED_AT_ONCE: usize = 5_000;

/// The parts that a polling loop is built from.
pub struct Start {
    /// The live configuration.
    pub live: Live,
    /// Whether the start may remove more than half of a list.
    pub allow_removals: bool,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and randomness.
    pub clock: Clock,
    /// The state of the loop, for others.
    pub status: watch::Sender<WatchStatus>,
    /// Notifies the delivery loop that the outbox may have new rows.
    pub outbox: watch::Sender<()>,
    /// Commands into the loop.
    pub commands: mpsc::Receiver<Command>,
    /// The files of all accounts, which are read again on request.
    pub files: Arc<Watched>,
    /// Reports of polls, for a view in the same process.
    pub reports: Option<mpsc::Sender<PollReport>>,
}

/// The loop, loaded and ready to run.
pub struct Watch {
    parts: Start,
    machine: Machine,
    polls: JoinSet<Polled>,
    writes: JoinSet<Result<Durable, Error>>,
    /// Writes that wait for room.
    backlog: VecDeque<Write>,
}

/// A loop that stopped, with its state: a reload continues it.
pub struct StoppedWatch {
    parts: Start,
    machine: Machine,
}

struct Polled {
    slot: Slot,
    sent: Moment,
    now: Moment,
    response: Response,
}

impl Watch {
    /// Loads every open task, and is ready to run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(parts: Start) -> Result<Self, Error> {
        Self::new(parts, None).await
    }

    /// Loads every open task for the present snapshot, and continues as the stopped loop.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reload(stopped: StoppedWatch, allow_removals: bool) -> Result<Self, Error> {
        let StoppedWatch { mut parts, machine } = stopped;
        parts.live.mark_unchanged();
        Self::new(Start { allow_removals, ..parts }, Some(machine)).await
    }

    async fn new(parts: Start, before: Option<Machine>) -> Result<Self, Error> {
        let current = live::current(&parts.live);
        let clock = parts.clock;
        let loading =
            Machine::load(current, parts.allow_removals, parts.store.as_ref(), || clock.now(), before);
        let (machine, first) = loading.await?;
        parts.status.send_replace(machine.status());
        let polls = JoinSet::new();
        let writes = JoinSet::new();
        let mut watch = Self { parts, machine, polls, writes, backlog: VecDeque::new() };
        watch.write(first);
        Ok(watch)
    }

    /// Polls until the stop, then drains within a few seconds: it waits for the responses in flight, and saves the hot
    /// rows.
    ///
    /// # Errors
    /// When the store fails; nothing that was acknowledged is lost then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<StoppedWatch, Error> {
        while !stop.is_cancelled() {
            let now = self.parts.clock.now();
            while self.has_room_for_writes()
                && let Some(write) = self.machine.overdue(now)
            {
                self.write([write]);
            }
            self.send_due(now);
            self.publish_status();
            let wake = self.machine.wake(self.has_room_for_writes());
            tokio::select! {
                // Responses first: one of them may be an end.
                biased;
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(written) = self.writes.join_next() => self.written(written)?,
                () = self.parts.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                Ok(()) = self.parts.live.changed() => self.replace(),
                Some(command) = self.parts.commands.recv() => self.carry_out(command),
                () = stop.cancelled() => {}
            }
        }
        self.drain().await
    }

    fn send_due(&mut self, now: Moment) {
        let clock = self.parts.clock;
        while let Some(PollRequest { slot, route, id, params, new_connection, at }) =
            self.machine.next_poll(now)
        {
            let stamp = Stamp { nonce: clock.nonce(), at };
            self.polls.spawn(async move {
                let response = route.poll(&id, &params, stamp, new_connection).await;
                Polled { slot, sent: now, now: clock.now(), response }
            });
        }
    }

    fn polled(&mut self, polled: Result<Polled, JoinError>) {
        let Polled { slot, sent, now, response } = polled.unwrap_or_else(|error| resume_panic(error));
        if let Err(Fault { class: Class::Account, .. }) = &response.poll
            && let Some(account) = self.machine.account_of(slot)
        {
            // The next probe signs with the present content of the files, changed or not.
            self.parts.files.request(account);
        }
        let report = self.parts.reports.as_ref().and_then(|_| self.machine.report(slot, &response.poll));
        let writes = self.machine.settle(slot, response, sent, now, self.parts.clock.spread());
        if let (Some(sender), Some(report)) = (&self.parts.reports, report) {
            let changed = writes.iter().find_map(|write| write.due_of(slot));
            let next = changed.or_else(|| self.machine.board.get(slot).map(|task| task.due));
            // A view that is too slow misses a poll, and receives the next one of that task.
            let delay = self.machine.delay_of(&report.target, now.steady);
            let _ = sender.try_send(PollReport { next, delay, ..report });
        }
        self.write(writes);
    }

    fn has_room_for_writes(&self) -> bool {
        self.backlog.is_empty() && self.writes.len() < WRITES
    }

    fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.backlog.extend(writes);
        while self.writes.len() < WRITES
            && let Some(write) = self.backlog.pop_front()
        {
            let store = Arc::clone(&self.parts.store);
            self.writes.spawn(async move { write.carry_out(store.as_ref()).await });
        }
    }

    fn written(&mut self, written: Result<Result<Durable, Error>, JoinError>) -> Result<(), Error> {
        self.machine.written(written.unwrap_or_else(|error| resume_panic(error))?);
        self.write([]);
        self.parts.outbox.send_replace(());
        Ok(())
    }

    fn publish_status(&self) {
        let status = self.machine.status();
        self.parts.status.send_if_modified(|before| {
            let is_new = *before != status;
            *before = status;
            is_new
        });
    }

    fn replace(&mut self) {
        let current = Arc::clone(&self.parts.live.borrow_and_update());
        self.machine.replace(current, self.parts.clock.now().steady);
    }

    fn carry_out(&mut self, command: Command) {
        let now = self.parts.clock.now().steady;
        let Command { action, result } = command;
        let done = match action {
            Action::Retry(account) if self.machine.retry(&account, now) => Ok(()),
            Action::Retry(_) => Err(CommandRefused::Unknown),
            Action::Report(to) => {
                // The receiver may be gone.
                let _ = to.send(self.machine.for_people(now));
                Ok(())
            }
        };
        let _ = result.send(done);
    }

    async fn drain(mut self) -> Result<StoppedWatch, Error> {
        let clock = self.parts.clock;
        let until = clock.now().steady + DRAIN;
        while !(self.polls.is_empty() && self.writes.is_empty() && self.backlog.is_empty()) {
            tokio::select! {
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(written) = self.writes.join_next() => self.written(written)?,
                () = clock.sleep_until(until) => break,
            }
        }
        for rows in self.machine.unsaved(clock.now()).chunks(SAVED_AT_ONCE) {
            self.parts.store.save(rows.to_vec()).await?;
        }
        self.parts.status.send_replace(self.machine.status());
        Ok(StoppedWatch { parts: self.parts, machine: self.machine })
    }
}

/// A panic of a poll, an attempt or a write continues in its loop: the program ends, and the next start
/// continues from the stored state.
pub fn resume_panic(error: JoinError) -> ! {
    std::panic::resume_unwind(if error.is_panic() {
        error.into_panic()
    } else {
        Box::new("a cancelled task, although no code cancels it")
    })
}
