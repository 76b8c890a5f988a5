//! The polling loop: waits, sends the polls that [`machine`] plans, passes the responses to it, and has the
//! store keep the results.
//!
//! This file decides nothing. A task whose change or end is being stored is out of the queue until then.

mod commands;
mod load;
mod log;
pub mod machine;
mod replace;
mod report;
#[cfg(test)]
mod tests;
pub mod write;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment};
use crate::cloud::Stamp;
use crate::files::Watched;
use crate::lines::event::OpenTasks;
use crate::live::command::{Action, Command, CommandRefused, WatchReport};
use crate::live::{self, Live};
use crate::model::due::Slot;
use crate::model::reading::{Class, Fault, Response};
use crate::store::{Error, Store};
pub use log::{InstanceTally, PollReport, WatchStatus};
use machine::{Machine, PollRequest};
use replace::{Moved, Read, Replacement};
use write::{Durable, Write};

/// Wait of a stop for the responses in flight: an end that is detected now needs no further poll.
const DRAIN: Duration = Duration::from_secs(2);
/// The largest number of writes in flight: a few group commits.
const WRITES: usize = 1_024;
/// Hot rows in one write at a stop.
const SAVED_AT_ONCE: usize = 5_000;
/// Timers within this time are handled in one turn; the pace forgives 5 ms (docs/architecture.md §3, promise 5).
const TURN: Duration = Duration::from_millis(4);
/// The largest number of responses, and of stored writes, in one turn.
const AT_ONCE: usize = 256;

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
    /// The number of open tasks, for the lines of their events.
    pub open_tasks: OpenTasks,
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
    /// Number of ends among the writes that are not stored yet.
    ending: usize,
    /// Number of replaced configurations.
    generation: u32,
    /// Polls that were in flight when the configuration was replaced, by generation and slot of that time.
    moved: HashMap<(u32, Slot), Moved>,
    /// The machine of the next configuration.
    replacement: Option<Replacement>,
}

struct Polled {
    generation: u32,
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
        let current = live::current(&parts.live);
        let clock = parts.clock;
        let loading = Machine::load(current, parts.allow_removals, parts.store.as_ref(), || clock.now());
        let (machine, first) = loading.await?;
        parts.status.send_replace(machine.status());
        let polls = JoinSet::new();
        let writes = JoinSet::new();
        let mut watch = Self {
            parts,
            machine,
            polls,
            writes,
            backlog: VecDeque::new(),
            ending: 0,
            generation: 0,
            moved: HashMap::new(),
            replacement: None,
        };
        watch.write(first);
        watch.count_open();
        Ok(watch)
    }

    /// Polls until the stop, then drains within a few seconds: it waits for the responses in flight, and saves the hot
    /// rows.
    ///
    /// # Errors
    /// When the store fails; nothing that was acknowledged is lost then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            let now = self.parts.clock.now();
            let is_changing_over = self.change_over(now);
            while !is_changing_over
                && self.has_room_for_writes()
                && let Some(write) = self.machine.overdue(now)
            {
                self.write([write]);
            }
            if !is_changing_over && self.has_room_for_writes() {
                let write = self.machine.first_responses(now);
                self.write(write);
            }
            self.send_due(now);
            self.publish_status();
            let wake = self.machine.wake(self.has_room_for_writes());
            tokio::select! {
                // Responses first: one of them may be an end.
                biased;
                Some(polled) = self.polls.join_next(), if !is_changing_over => self.polled_all(polled),
                Some(written) = self.writes.join_next() => self.written_all(written)?,
                () = self.parts.clock.sleep_until(wake.map_or(now.steady, |at| at.max(now.steady + TURN))), if wake.is_some() => {}
                read = next_read(&mut self.replacement) => self.add_read(read?),
                Ok(()) = self.parts.live.changed() => self.replace(),
                Some(command) = self.parts.commands.recv(), if !is_changing_over => self.carry_out(command),
                () = stop.cancelled() => {}
            }
        }
        self.drain().await
    }

    fn send_due(&mut self, now: Moment) {
        let clock = self.parts.clock;
        let generation = self.generation;
        while let Some(PollRequest { slot, route, id, params, new_connection, at }) =
            self.machine.next_poll(now)
        {
            let stamp = Stamp { nonce: clock.nonce(), at };
            self.polls.spawn(async move {
                let response = route.poll(&id, &params, stamp, new_connection).await;
                Polled { generation, slot, sent: now, now: clock.now(), response }
            });
        }
        self.machine.grant_slots();
    }

    /// Takes this response, and all others that are here.
    fn polled_all(&mut self, first: Result<Polled, JoinError>) {
        self.polled(first);
        for _ in 1..AT_ONCE {
            let Some(polled) = self.polls.try_join_next() else { break };
            self.polled(polled);
        }
    }

    /// Takes this stored write, and all others that are stored.
    fn written_all(&mut self, first: Result<Result<Durable, Error>, JoinError>) -> Result<(), Error> {
        self.written(first)?;
        for _ in 1..AT_ONCE {
            let Some(written) = self.writes.try_join_next() else { break };
            self.written(written)?;
        }
        self.count_open();
        self.parts.outbox.send_replace(());
        Ok(())
    }

    fn polled(&mut self, polled: Result<Polled, JoinError>) {
        let Polled { generation, slot, sent, now, mut response } =
            polled.unwrap_or_else(|error| resume_panic(error));
        let slot = if generation == self.generation {
            slot
        } else {
            let Some(Moved { row, is_same_account }) = self.moved.remove(&(generation, slot)) else { return };
            if let Err(fault) = &mut response.poll
                && !is_same_account
            {
                // The fault is that of other credentials than the present ones.
                fault.class = Class::Connection;
            }
            let Some(slot) = self.machine.board.find(row) else { return };
            slot
        };
        if let Err(Fault { class: Class::Account, .. }) = &response.poll
            && let Some(account) = self.machine.account_of(slot)
        {
            // The next probe signs with the present content of the files, changed or not.
            self.parts.files.request(account);
        }
        if let (Some(replacement), Some(task)) = (&mut self.replacement, self.machine.board.get(slot)) {
            replacement.touch(task.row);
        }
        let report = self.parts.reports.as_ref().and_then(|_| self.machine.report(slot, &response.poll));
        let writes = self.machine.settle(slot, response, sent, now, self.parts.clock.spread());
        if let (Some(sender), Some(report)) = (&self.parts.reports, report) {
            let changed = writes.iter().find_map(|write| write.due_of(slot));
            let next = changed.or_else(|| self.machine.board.get(slot).map(|task| task.due));
            // A view that is too slow misses a poll, and receives the next one of that task.
            let delay = self.machine.delay_of(&report.target, now.steady);
            let rate = self.machine.rate_of(&report.target, now.steady);
            let _ = sender.try_send(PollReport { next, delay, rate, ..report });
        }
        self.write(writes);
    }

    fn has_room_for_writes(&self) -> bool {
        self.backlog.is_empty() && self.writes.len() < WRITES
    }

    fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        let before = self.backlog.len();
        self.backlog.extend(writes);
        let ends = self.backlog.iter().skip(before).filter(|write| write.is_end()).count();
        if ends > 0 {
            self.ending += ends;
            self.count_open();
        }
        while self.writes.len() < WRITES
            && let Some(write) = self.backlog.pop_front()
        {
            let store = Arc::clone(&self.parts.store);
            self.writes.spawn(async move { write.carry_out(store.as_ref()).await });
        }
    }

    fn written(&mut self, written: Result<Result<Durable, Error>, JoinError>) -> Result<(), Error> {
        let now = self.parts.clock.now();
        let written = written.unwrap_or_else(|error| resume_panic(error))?;
        self.ending -= usize::from(matches!(written, Durable::End { .. }));
        match (&mut self.replacement, &written) {
            (Some(replacement), Durable::Change(_, task)) => replacement.touch(task.row),
            (Some(replacement), Durable::End { row, registered, .. }) => replacement.end(*row, *registered),
            (Some(_) | None, _) => {}
        }
        let writes = self.machine.written(written, now);
        self.write(writes);
        Ok(())
    }

    fn count_open(&self) {
        self.parts.open_tasks.set(self.machine.board.open().saturating_sub(self.ending));
    }

    fn publish_status(&self) {
        let status = self.machine.status();
        self.parts.status.send_if_modified(|before| {
            let is_new = *before != status;
            *before = status;
            is_new
        });
    }

    /// Takes a part of the next configuration over.
    fn add_read(&mut self, read: Read) {
        let now = self.parts.clock.now();
        if let Some(replacement) = &mut self.replacement {
            replacement.add(read, &self.machine, &self.parts.store, now);
        }
    }

    /// Changes over to the next configuration, once it is loaded and all writes are stored. Returns whether writes are
    /// awaited for that; meanwhile nothing else may change a task.
    fn change_over(&mut self, now: Moment) -> bool {
        if !self.replacement.as_ref().is_some_and(Replacement::is_loaded) {
            return false;
        }
        let first = self.machine.all_first_responses(now);
        self.write(first);
        if !(self.writes.is_empty() && self.backlog.is_empty()) {
            return true;
        }
        let Some(replacement) = self.replacement.take() else { return false };
        let (next, moved, writes, commands, responder) = replacement.change_over(&mut self.machine, now);
        // Polls of earlier generations keep their rows.
        self.moved.extend(moved.into_iter().map(|(slot, moved)| ((self.generation, slot), moved)));
        self.generation = self.generation.wrapping_add(1);
        self.machine = next;
        self.write(writes);
        self.count_open();
        // The sender may be gone.
        let _ = responder.send(Ok(()));
        commands.into_iter().for_each(|command| self.carry_out(command));
        false
    }

    fn replace(&mut self) {
        let current = Arc::clone(&self.parts.live.borrow_and_update());
        // The snapshot that the loop changed over to is published after that.
        if Arc::ptr_eq(&current, &self.machine.current) {
            return;
        }
        self.machine.replace(current, self.parts.clock.now().steady);
    }

    fn carry_out(&mut self, command: Command) {
        let now = self.parts.clock.now();
        let Command { action, result } = command;
        match action {
            Action::Retry(account) => {
                // The sender may be gone.
                let _ = result.send(self.machine.retry(&account, now.steady));
            }
            Action::Report(to) => {
                let report = self.machine.for_people(now.steady);
                let open = report.open.saturating_sub(self.ending);
                let _ = to.send(WatchReport { open, ..report });
                let _ = result.send(Ok(()));
            }
            Action::Replace(current) => {
                // A later configuration takes the place of one that is still being loaded.
                let waiting = match self.replacement.take() {
                    Some(earlier) => {
                        let _ = earlier.responder.send(Err(CommandRefused::Stopping));
                        earlier.waiting
                    }
                    None => Vec::new(),
                };
                let mut replacement = Replacement::begin(current, &self.parts.store, result);
                replacement.waiting = waiting;
                self.replacement = Some(replacement);
            }
            // A new task must be on the board that is used then.
            Action::Add(..) | Action::Pause(_) | Action::Resume(_) if self.replacement.is_some() => {
                if let Some(replacement) = &mut self.replacement {
                    replacement.waiting.push(Command { action, result });
                }
            }
            Action::Add(tasks, registered) => {
                let write = self.machine.addition(tasks, registered, result, now);
                self.write([write]);
            }
            Action::Slot(target) => self.machine.add_visitor(&target, result, now),
            Action::Task(row, action) => {
                let writes = self.machine.command(row, action, result, now);
                self.write(writes);
            }
            Action::ReportTasks(rows, to) => {
                let _ = to.send(self.machine.task_reports(&rows, now));
                let _ = result.send(Ok(()));
            }
            Action::ReportAccounts(to) => {
                let _ = to.send(self.machine.account_reports(now));
                let _ = result.send(Ok(()));
            }
            Action::ReportLane(_) | Action::Redeliver(_) | Action::Test(..) => {
                let _ = result.send(Err(CommandRefused::Unknown));
            }
            Action::Pause(account) => {
                let write = self.machine.pause(account, true, result);
                self.write(write);
            }
            Action::Resume(account) => {
                let write = self.machine.pause(account, false, result);
                self.write(write);
            }
        }
    }

    async fn drain(mut self) -> Result<(), Error> {
        let clock = self.parts.clock;
        let until = clock.now().steady + DRAIN;
        while !(self.polls.is_empty() && self.writes.is_empty() && self.backlog.is_empty()) {
            tokio::select! {
                Some(polled) = self.polls.join_next() => self.polled(polled),
                Some(written) = self.writes.join_next() => self.written_all(written)?,
                () = clock.sleep_until(until) => break,
            }
        }
        for rows in self.machine.unsaved(clock.now()).chunks(SAVED_AT_ONCE) {
            self.parts.store.save(rows.to_vec()).await?;
        }
        self.parts.status.send_replace(self.machine.status());
        Ok(())
    }
}

/// The next part of the store for a replacement; pending without one.
async fn next_read(replacement: &mut Option<Replacement>) -> Result<Read, Error> {
    match replacement {
        Some(replacement) => replacement.read().await,
        None => std::future::pending().await,
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
