//! The delivery loops: one lane for each sink. A loop waits, has the sink make the planned attempts, and has
//! the store keep the results.
//!
//! A wake-up carries no data: the loop reads the outbox. It registers for the next wake-up before it reads.

mod log;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Steady};
use crate::files::Watched;
use crate::live::command::{
    Action, Command, CommandRefused, GateReport, HoldReport, LaneReport, ProbesReport, Responder,
};
use crate::live::{self, Live};
use crate::model::delivery::{Refusal, RefusalClass, Sending};
use crate::model::lane::{Attempt, Lane, OutboxWrite};
use crate::model::records::{PauseScope, Seq};
use crate::sinks::Sink;
use crate::store::{Error, Store};
use crate::watch::resume_panic;
use log::{log, needs_waiting};
use write::{OutboxWritten, carry_out};

/// Attempts during a stop: a delivery that is due now need not wait for the next start.
const DRAIN: Duration = Duration::from_secs(1);

/// The parts that a delivery loop is built from.
pub struct Deliver {
    /// The name of the sink.
    pub name: String,
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// The delivery settings of the sink.
    pub sending: Sending,
    /// The live configuration: its filters choose the sinks of an event of this sink.
    pub live: Live,
    /// The store, with the outbox.
    pub store: Arc<dyn Store>,
    /// Time and randomness.
    pub clock: Clock,
    /// Notifies, and is notified, that the outbox may have new rows.
    pub outbox: watch::Sender<()>,
    /// The state of each sink, for others.
    pub status: watch::Sender<BTreeMap<String, LaneStatus>>,
    /// Commands into the loop.
    pub commands: mpsc::Receiver<Command>,
    /// The files of all sinks, which are read again on request.
    pub files: Arc<Watched>,
}

/// The state of a sink. `run --until-done` decides from it whether deliveries are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Whether the outbox has no delivery for it, as far as the loop knows.
    pub is_idle: bool,
    /// Whether the sink is on hold.
    pub is_on_hold: bool,
    /// Whether a person paused the sink.
    pub is_paused: bool,
    /// Number of deliveries that became dead letters in this run.
    pub dead_letters: u64,
}

/// A delivery loop while it runs.
struct RunningLoop {
    parts: Deliver,
    lane: Lane,
    attempts: JoinSet<(u64, Result<(), Refusal>)>,
    writes: JoinSet<Result<OutboxWritten, Error>>,
    /// Test events in flight.
    tests: JoinSet<()>,
    /// Acknowledgements that arrived while others are being stored: one write follows.
    arrived: Vec<Seq>,
    acknowledging: JoinSet<Result<OutboxWritten, Error>>,
}

impl Deliver {
    /// Delivers until the stop. After it, attempts in flight are awaited; while there are any, due deliveries are still tried
    /// for one second. All others stay in the outbox.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let active = self.store.active(&self.name).await?;
        let now = self.clock.now().steady;
        let mut lane = Lane::new(self.name.clone(), self.sending, active, now);
        if self.store.paused().await?.contains(&PauseScope::Sink(self.name.clone())) {
            lane.set_paused(true, now);
        }
        let running = RunningLoop {
            parts: self,
            lane,
            attempts: JoinSet::new(),
            writes: JoinSet::new(),
            tests: JoinSet::new(),
            arrived: Vec::new(),
            acknowledging: JoinSet::new(),
        };
        running.run(stop).await
    }
}

impl RunningLoop {
    async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut outbox = self.parts.outbox.subscribe();
        // Rows from before this subscription are read first.
        let mut give_up: Option<Steady> = None;
        loop {
            if outbox.has_changed().unwrap_or(false) {
                outbox.mark_unchanged();
                self.lane.refill();
            }
            self.load().await?;
            let now = self.parts.clock.now().steady;
            let stopping = give_up.is_some_and(|until| now >= until || self.lane.is_on_hold());
            if !stopping {
                self.attempt(now);
            }
            self.publish_status();
            // At a stop only attempts in flight are awaited.
            let waits = give_up.is_none();
            if !waits && self.attempts.is_empty() && self.is_durable() {
                break;
            }
            let wake = self.lane.wake().filter(|_| waits);
            tokio::select! {
                biased;
                Some(ended) = self.attempts.join_next() => self.ended(ended).await,
                Some(written) = self.writes.join_next() => self.written(written)?,
                Some(_) = self.tests.join_next() => {}
                Some(acknowledged) = self.acknowledging.join_next() => {
                    acknowledged.unwrap_or_else(|error| resume_panic(error))?;
                    self.acknowledge();
                }
                Ok(()) = outbox.changed(), if waits => self.lane.refill(),
                () = self.parts.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                Some(command) = self.parts.commands.recv(), if waits => self.carry_out(command),
                () = stop.cancelled(), if waits => {
                    let now = self.parts.clock.now().steady;
                    give_up = Some(now + DRAIN);
                    // At once: an attempt in flight may take longer than the stop.
                    self.parts.store.save_active(&self.parts.name, self.lane.active(now)).await?;
                }
            }
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<(), Error> {
        while let Some((after, limit)) = self.lane.wants() {
            let (store, name) = (Arc::clone(&self.parts.store), self.parts.name.clone());
            let mut reading = std::pin::pin!(async move { store.undelivered(&name, after, limit).await });
            // A read may wait for a lock of another process; commands do not.
            let page = loop {
                tokio::select! {
                    biased;
                    page = &mut reading => break page?,
                    Some(command) = self.parts.commands.recv() => self.carry_out(command),
                }
            };
            self.lane.load(page, limit, self.parts.clock.now().steady);
        }
        Ok(())
    }

    fn attempt(&mut self, now: Steady) {
        while let Some(Attempt { number, events }) = self.lane.attempt(now) {
            let sink = Arc::clone(&self.parts.sink);
            self.attempts.spawn(async move { (number, sink.send(&events).await) });
        }
    }

    async fn ended(&mut self, ended: Result<(u64, Result<(), Refusal>), JoinError>) {
        let (number, result) = ended.unwrap_or_else(|error| resume_panic(error));
        if let Err(Refusal { class: RefusalClass::Sink, .. }) = &result {
            // The next probe uses the present content of the files, changed or not.
            self.parts.files.request(&self.parts.name);
        }
        let now = self.parts.clock.now();
        let spread = self.parts.clock.spread();
        let current = live::current(&self.parts.live);
        let (writes, notices) = self.lane.settle(number, result, &current.routes, now, spread);
        for write in writes {
            let write = match write {
                OutboxWrite::Acknowledge(seqs) => {
                    self.arrived.extend(seqs);
                    continue;
                }
                other @ (OutboxWrite::FirstFailure(..)
                | OutboxWrite::DeadLetter(_)
                | OutboxWrite::Event(..)) => other,
            };
            let store = Arc::clone(&self.parts.store);
            let name = self.parts.name.clone();
            self.writes.spawn(async move { carry_out(write, store.as_ref(), &name).await });
        }
        if self.acknowledging.is_empty() {
            self.acknowledge();
        }
        for notice in notices {
            let waiting = if needs_waiting(&notice) { self.waiting().await } else { None };
            log(&self.lane, notice, waiting, now);
        }
    }

    /// The number of undelivered events of the sink, in memory or not. An error is left to the next writer: a
    /// log line must not stop the lane.
    async fn waiting(&self) -> Option<u64> {
        let outbox = self.parts.store.outbox().await.ok()?;
        Some(outbox.get(&self.parts.name).copied().unwrap_or_default())
    }

    /// Stores all arrived acknowledgements in one write.
    fn acknowledge(&mut self) {
        if self.arrived.is_empty() {
            return;
        }
        let write = OutboxWrite::Acknowledge(std::mem::take(&mut self.arrived));
        let store = Arc::clone(&self.parts.store);
        let name = self.parts.name.clone();
        self.acknowledging.spawn(async move { carry_out(write, store.as_ref(), &name).await });
    }

    fn is_durable(&self) -> bool {
        self.writes.is_empty() && self.acknowledging.is_empty() && self.arrived.is_empty()
    }

    fn written(&mut self, written: Result<Result<OutboxWritten, Error>, JoinError>) -> Result<(), Error> {
        match written.unwrap_or_else(|error| resume_panic(error))? {
            OutboxWritten::Done => return Ok(()),
            OutboxWritten::NewEvent => {}
            OutboxWritten::DeadLetter(seq) => self.lane.became_dead_letter(seq),
            OutboxWritten::Pause(paused, responder) => {
                self.lane.set_paused(paused, self.parts.clock.now().steady);
                // The sender may be gone.
                let _ = responder.send(Ok(()));
                return Ok(());
            }
        }
        self.parts.outbox.send_replace(());
        Ok(())
    }

    fn carry_out(&mut self, command: Command) {
        let now = self.parts.clock.now().steady;
        let Command { action, result } = command;
        let refused = match action {
            Action::Retry(sink) if sink == self.parts.name && self.lane.is_paused() => {
                Err(CommandRefused::Paused)
            }
            Action::Retry(sink) if sink == self.parts.name => {
                if self.lane.is_on_hold() {
                    tracing::info!(sink, "the sink on hold is probed at once");
                }
                self.lane.retry(now);
                Ok(())
            }
            Action::Pause(sink) if sink == self.parts.name => return self.pause(true, result),
            Action::Resume(sink) if sink == self.parts.name => return self.pause(false, result),
            Action::ReportLane(to) => {
                let _ = to.send(self.report());
                Ok(())
            }
            Action::Test(event, to) => {
                let sink = Arc::clone(&self.parts.sink);
                self.tests.spawn(async move {
                    // The sender may be gone.
                    let _ = to.send(sink.send(&[*event]).await);
                });
                Ok(())
            }
            Action::Redeliver(from) => {
                self.lane.reload(from);
                Ok(())
            }
            Action::Retry(_)
            | Action::Slot(_)
            | Action::Replace(_)
            | Action::ReportTasks(..)
            | Action::ReportAccounts(_)
            | Action::Pause(_)
            | Action::Resume(_)
            | Action::Add(..)
            | Action::Task(..)
            | Action::Report(_) => Err(CommandRefused::Unknown),
        };
        // The sender may be gone.
        let _ = result.send(refused);
    }

    fn report(&self) -> LaneReport {
        let now = self.parts.clock.now();
        let attempts = |next: Option<Steady>| {
            let lasting = self.lane.lasting()?;
            let next = now.wall_of(next?);
            Some(ProbesReport { since: lasting.since.wall, next, failed: self.lane.failed_attempts() })
        };
        let probes = attempts(self.lane.next_probe());
        let hold = self
            .lane
            .cause()
            .zip(probes)
            .map(|(error, probes)| HoldReport { error: error.to_owned(), probes });
        let requested_pause = self.lane.requested_pause(now.steady).map(|until| now.wall_of(until));
        let breaker = probes.filter(|_| hold.is_none());
        let next_retry = self.lane.next_retry().map(|next| next.max(now.steady));
        let retries = attempts(next_retry).filter(|_| probes.is_none());
        let last_error = self.lane.last_error().map(str::to_owned);
        let gate = GateReport { hold, breaker, requested_pause };
        LaneReport { is_paused: self.lane.is_paused(), gate, retries, last_error }
    }

    /// Stores that the pause begins or ends; it counts from then on.
    fn pause(&mut self, paused: bool, responder: Responder) {
        let store = Arc::clone(&self.parts.store);
        let scope = PauseScope::Sink(self.parts.name.clone());
        self.writes.spawn(async move {
            store.set_paused(scope, paused).await.map(|()| OutboxWritten::Pause(paused, responder))
        });
    }

    fn publish_status(&self) {
        let status = LaneStatus {
            is_idle: self.lane.is_idle() && self.is_durable(),
            is_on_hold: self.lane.is_on_hold(),
            is_paused: self.lane.is_paused(),
            dead_letters: self.lane.dead_letters(),
        };
        // In each turn: the name is copied only after a change.
        self.parts.status.send_if_modified(|statuses| {
            let is_new = statuses.get(&self.parts.name) != Some(&status);
            if is_new {
                statuses.insert(self.parts.name.clone(), status);
            }
            is_new
        });
    }
}
