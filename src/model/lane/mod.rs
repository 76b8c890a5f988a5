//! The lane: the queue of one sink, and the choice of its next delivery.
//!
//! Input: rows of the outbox, moments, results of attempts (settle.rs). Output: attempts and
//! [`OutboxWrite`]s. Deliveries are sent oldest first; those of one task stay in order, and never wait for
//! those of another task.

mod settle;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::clock::Steady;
use crate::model::delivery::Sending;
use crate::model::event::Event;
use crate::model::gate::{Gate, GateChange};
use crate::model::lasting::Lasting;
use crate::model::pace::Pace;
use crate::model::records::{DeadLetter, OutboxRow, Seq};
use crate::model::task::Row;

/// The largest number of deliveries without a failure in memory, of any number in the outbox. It exceeds
/// every batch and `max_in_flight`.
const WINDOW: usize = 1_024;
/// The largest number of failed deliveries beside them, so that failed ones do not block the others.
const FAILED: usize = 3 * WINDOW;

/// The queue of one sink.
#[derive(Debug)]
pub struct Lane {
    name: String,
    sending: Sending,
    window: BTreeMap<Seq, Pending>,
    /// The last one that was loaded.
    loaded: Seq,
    /// Whether the store may have more.
    more: bool,
    attempts: HashMap<u64, Vec<Seq>>,
    /// The number of failed deliveries in the window.
    failed: usize,
    /// The failure of some deliveries, without a hold or an open circuit breaker.
    failing: Option<Lasting>,
    /// The repetition of the log line of such failures: intermittent failures are logged as one.
    failures: Option<Lasting>,
    /// Whether the present failures were logged, so that their end is logged too.
    failing_is_logged: bool,
    /// The error of the last failed attempt, until deliveries succeed again.
    last_error: Option<String>,
    /// The number of failed attempts.
    failed_attempts: u32,
    /// The number of holds. Two holds in one millisecond would share an event id.
    holds: u32,
    next_attempt: u64,
    gate: Gate<String>,
    /// The last check for an attempt.
    looked: Steady,
    /// Whether the hold has an event.
    has_hold_event: bool,
    /// The time in use and not on hold before `active_since`.
    active: Duration,
    active_since: Steady,
    dead_letters: u64,
}

/// A delivery in memory.
#[derive(Debug)]
struct Pending {
    order: Order,
    event: Event,
    attempts: u32,
    tried: Option<Duration>,
    /// The moment of its load: events are gathered from then on.
    since: Steady,
    due: Steady,
    last: Option<Steady>,
    in_flight: bool,
    /// Whether its batch was refused, or failed again: it is sent alone.
    alone: bool,
    /// The number of refusals that call for a person while other attempts were accepted, and the number of
    /// accepted attempts at the last one.
    strikes: u32,
    struck_at: Option<u64>,
}

/// The order of deliveries: those of one task, or about one account, sink or group, wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Order {
    Task(Row),
    Subject(Box<str>),
}

impl Order {
    fn of(task: Option<Row>, event: &Event) -> Self {
        task.map_or_else(|| Self::Subject(event.subject().into()), Self::Task)
    }
}

/// An attempt that is to be made.
#[derive(Debug, PartialEq)]
pub struct Attempt {
    /// The number under which its result arrives.
    pub number: u64,
    /// In their order.
    pub events: Vec<Event>,
}

/// A durable change of the outbox.
#[derive(Debug, PartialEq)]
pub enum OutboxWrite {
    /// These deliveries were acknowledged.
    Acknowledge(Vec<Seq>),
    /// These deliveries failed for the first time, at that moment of the sink's own clock.
    FirstFailure(Vec<Seq>, Duration),
    /// This delivery becomes a dead letter.
    DeadLetter(DeadLetter),
    /// An event of the sink itself, with its sinks.
    Event(Event, Vec<String>),
}

/// A change of a lane that is logged.
#[derive(Debug, PartialEq)]
pub enum LaneNotice {
    /// The gate of the sink changed.
    Gate(GateChange<String>),
    /// The receiver requested a pause until then.
    PauseRequested(Steady),
    /// Attempts fail and are retried, or the log line is due again.
    Failing(String),
    /// Attempts succeed again. The duration is that of the failures.
    Recovered(Duration),
    /// A delivery of that event became a dead letter, with the error of its last attempt.
    DeadLetter(Event, String),
}

impl Lane {
    /// An empty lane; `active` is the state of its own clock.
    pub fn new(name: String, sending: Sending, active: Duration, now: Steady) -> Self {
        Self {
            name,
            sending,
            window: BTreeMap::new(),
            loaded: Seq(0),
            more: true,
            attempts: HashMap::new(),
            failed: 0,
            failing: None,
            failures: None,
            failing_is_logged: false,
            last_error: None,
            failed_attempts: 0,
            holds: 0,
            next_attempt: 0,
            gate: Gate::new(
                sending.rate.map_or_else(Pace::unlimited, |rate| Pace::new(rate, now)),
                sending.waits(),
            ),
            looked: now,
            has_hold_event: false,
            active,
            active_since: now,
            dead_letters: 0,
        }
    }

    /// The outbox may have new rows.
    pub fn refill(&mut self) {
        self.more = true;
    }

    /// Deliveries from that number on may be in the outbox again: they are read again, without those in memory.
    pub fn reload(&mut self, from: Seq) {
        self.loaded = self.loaded.min(Seq(from.0 - 1));
        self.more = true;
    }

    /// The next read from the store, if there is room: after that number, at most that many rows.
    pub fn wants(&self) -> Option<(Seq, usize)> {
        if !self.more {
            return None;
        }
        // Failed deliveries wait beside the window.
        let room = (WINDOW + self.failed.min(FAILED)).saturating_sub(self.window.len());
        // Half a window at a time: a page for each acknowledged delivery would be a query for each.
        (room >= WINDOW / 2).then_some((self.loaded, room))
    }

    /// The page that the store returned.
    pub fn load(&mut self, page: Vec<OutboxRow>, asked_for: usize, now: Steady) {
        self.more = page.len() == asked_for;
        for OutboxRow { seq, task, attempts, tried, event } in page {
            self.loaded = self.loaded.max(seq);
            if self.window.contains_key(&seq) {
                continue;
            }
            let waiting = Pending {
                order: Order::of(task, &event),
                event,
                attempts,
                tried,
                since: now,
                due: now,
                last: None,
                in_flight: false,
                alone: false,
                strikes: 0,
                struck_at: None,
            };
            self.failed += usize::from(attempts > 0);
            self.window.insert(seq, waiting);
        }
    }

    /// The next attempt, if one may leave now.
    pub fn attempt(&mut self, now: Steady) -> Option<Attempt> {
        self.looked = now;
        let is_full = self.attempts.len() >= self.sending.max_in_flight;
        if is_full || self.gate.is_paused() || self.gate.pace.next() > now {
            return None;
        }
        let seqs = match self.next_probe() {
            Some(next) if !self.attempts.is_empty() || next > now => return None,
            Some(_) => self.probe().into_iter().collect(),
            None => self.batch(now),
        };
        if seqs.is_empty() {
            return None;
        }
        let mut events = Vec::with_capacity(seqs.len());
        for seq in &seqs {
            let waiting = self.window.get_mut(seq)?;
            waiting.in_flight = true;
            waiting.last = Some(now);
            events.push(waiting.event.clone());
        }
        self.next_attempt += 1;
        self.gate.leave(self.next_attempt, now);
        self.attempts.insert(self.next_attempt, seqs);
        Some(Attempt { number: self.next_attempt, events })
    }

    /// The moment of the next attempt; `None`: not before an attempt ends or rows are loaded.
    pub fn wake(&self) -> Option<Steady> {
        if self.attempts.len() >= self.sending.max_in_flight || self.gate.is_paused() {
            return None;
        }
        let due = match self.next_probe() {
            Some(_) if !self.attempts.is_empty() || self.heads().next().is_none() => None,
            Some(next) => Some(next),
            // A batch that was full before its slot is not gathered any longer.
            None if self.looked < self.gate.pace.next() => self.heads().map(|(_, waiting)| waiting.due).min(),
            None => self.heads().map(|(_, waiting)| self.ripe(waiting)).min(),
        };
        due.map(|due| due.max(self.gate.pace.next()))
    }

    /// The delivery is a dead letter, durably.
    pub fn became_dead_letter(&mut self, seq: Seq) {
        let gone = self.window.remove(&seq);
        self.failed -= usize::from(gone.is_some_and(|gone| gone.attempts > 0));
        self.failing.take_if(|_| self.failed == 0);
        self.last_error.take_if(|_| self.failed == 0);
    }

    /// A person requests an attempt: the next probe is due now, and a pause that the receiver requested has ended.
    pub fn retry(&mut self, now: Steady) {
        self.gate.retry(now);
        self.window.values_mut().for_each(|pending| pending.due = pending.due.min(now));
    }

    /// The end of the pause that the receiver requested, if it lasts.
    pub fn requested_pause(&self, now: Steady) -> Option<Steady> {
        self.gate.pace.requested_pause(now)
    }

    /// Number of attempts that failed.
    pub fn failed_attempts(&self) -> u32 {
        self.failed_attempts
    }

    /// The error of the last failed attempt, while deliveries fail.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The next attempt of a delivery that failed; `None`: none has.
    pub fn next_retry(&self) -> Option<Steady> {
        let failed = self.window.values().filter(|pending| pending.attempts > 0);
        failed.map(|pending| pending.due).min()
    }

    /// A file changed that may remove the cause of the hold: the next probe is due now.
    pub fn probe_now(&mut self, now: Steady) {
        self.gate.probe_now(now);
    }

    /// Whether a person paused the sink.
    pub fn is_paused(&self) -> bool {
        self.gate.is_paused()
    }

    /// Begins or ends the pause by a person. The sink's own clock stops meanwhile.
    pub fn set_paused(&mut self, paused: bool, now: Steady) {
        self.active = self.active(now);
        self.active_since = now;
        self.gate.set_paused(paused);
    }

    /// Whether a person must act.
    pub fn is_on_hold(&self) -> bool {
        self.gate.hold().is_some()
    }

    /// Why it is held, if it is.
    pub fn cause(&self) -> Option<&str> {
        self.gate.hold().map(|hold| hold.cause.as_str())
    }

    /// The start of the hold or failure, if there is one.
    pub fn lasting(&self) -> Option<&Lasting> {
        self.gate.probes().map(|probes| &probes.lasting).or(self.failing.as_ref())
    }

    /// The next probe, if only probes may leave.
    pub fn next_probe(&self) -> Option<Steady> {
        self.gate.probes().map(|probes| probes.next().max(self.gate.pace.next()))
    }

    /// Its sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether no delivery is known to wait.
    pub fn is_idle(&self) -> bool {
        self.window.is_empty() && !self.more
    }

    /// The number of deliveries that became dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters
    }

    /// The sink's own clock: the time during which it was in use, not on hold and not paused.
    pub fn active(&self, now: Steady) -> Duration {
        let is_running = self.gate.hold().is_none() && !self.gate.is_paused();
        let running = if is_running { now - self.active_since } else { Duration::ZERO };
        self.active + running
    }

    /// The earliest moment of a delivery: its due time, and the end of the gathering. Retries are not
    /// gathered.
    fn ripe(&self, waiting: &Pending) -> Steady {
        match self.sending.gather {
            Some(gather) if waiting.attempts == 0 && !waiting.alone => {
                waiting.due.max(waiting.since + gather)
            }
            Some(_) | None => waiting.due,
        }
    }

    /// The oldest delivery of each task or other subject, unless it is in flight.
    fn heads(&self) -> impl Iterator<Item = (Seq, &Pending)> {
        let mut seen = HashSet::new();
        self.window
            .iter()
            .filter(move |(_, waiting)| seen.insert(&waiting.order) && !waiting.in_flight)
            .map(|(seq, waiting)| (*seq, waiting))
    }

    /// The delivery for a probe. The latest delivery without an attempt comes first: the oldest may be the
    /// one that the sink cannot process. Then the delivery with the oldest attempt.
    fn probe(&self) -> Option<Seq> {
        let never =
            self.heads().filter(|(_, waiting)| waiting.last.is_none() && waiting.attempts == 0).last();
        never.or_else(|| self.heads().min_by_key(|(_, waiting)| waiting.last)).map(|(seq, _)| seq)
    }

    /// The oldest deliveries that may leave now, in order; within one attempt the deliveries of a task are
    /// consecutive.
    fn batch(&self, now: Steady) -> Vec<Seq> {
        let mut blocked = HashSet::new();
        let mut batch = Vec::new();
        let mut is_ripe = false;
        for (seq, waiting) in &self.window {
            let waits = waiting.in_flight || waiting.due > now || (waiting.alone && !batch.is_empty());
            if waits || blocked.contains(&waiting.order) {
                blocked.insert(&waiting.order);
                continue;
            }
            batch.push(*seq);
            is_ripe |= self.ripe(waiting) <= now;
            if waiting.alone || batch.len() == self.sending.batch {
                is_ripe |= waiting.alone || self.sending.gather.is_some();
                break;
            }
        }
        if is_ripe { batch } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests;
