//! The queue of one sink, without its waiting: plain and synchronous, as watch's board is.
//!
//! In come what the store says is owed, moments, and what came of attempts (settle.rs); out come attempts to
//! be made and [`Write`]s to be made durable. Deliveries go out oldest first; those of one task never
//! overtake each other, and never wait for another's.

mod settle;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::clock::Steady;
use crate::model::breaker::{Breaker, Probes};
use crate::model::delivery::Sending;
use crate::model::event::Event;
use crate::model::hold::{Evidence, Hold};
use crate::model::lasting::Lasting;
use crate::model::pace::Pace;
use crate::model::records::{DeadLetter, OutboxRow, Seq};
use crate::model::task::Row;
use crate::store::{Error, Store};

/// So many deliveries that did not fail are in memory at most, however many are owed; more than any batch and
/// bound in flight take at once.
const WINDOW: usize = 1_024;
/// So many that failed are held beside them, so that they keep nobody from being loaded.
const FAILED: usize = 3 * WINDOW;

/// The queue of one sink.
#[derive(Debug)]
pub struct Lane {
    name: String,
    sending: Sending,
    window: BTreeMap<Seq, Waiting>,
    /// The last one that was loaded.
    loaded: Seq,
    /// Whether the store may have more.
    more: bool,
    attempts: HashMap<u64, Vec<Seq>>,
    /// How many of the window failed before.
    failed: usize,
    /// Since when some have failed, where that neither opened the breaker nor holds the sink.
    failing: Option<Lasting>,
    /// When such failures are told: those that come and go are one trouble.
    failures: Option<Lasting>,
    /// Whether the present ones were told, so that their end is to be.
    failing_told: bool,
    /// How many attempts were accepted.
    accepted: u64,
    /// How often it was held: no two holds of one millisecond share an id.
    holds: u32,
    next_attempt: u64,
    /// The attempt that is a probe.
    probe: Option<u64>,
    pace: Option<Pace>,
    not_before: Steady,
    /// When it last was looked at for an attempt.
    looked: Steady,
    breaker: Breaker,
    hold: Option<Hold<String>>,
    /// Whether an event told of the hold.
    told_of_hold: bool,
    evidence: Evidence,
    /// For how long it was used and not held before `active_since`.
    active: Duration,
    active_since: Steady,
    buried: u64,
}

/// A delivery in memory.
#[derive(Debug)]
struct Waiting {
    order: Order,
    event: Event,
    attempts: u32,
    tried: Option<Duration>,
    /// When it was loaded, from when events are gathered.
    since: Steady,
    due: Steady,
    last: Option<Steady>,
    under_way: bool,
    /// Whether a batch that it was in was refused, or failed again: it is sent on its own.
    alone: bool,
    /// How often the sink refused it as if a person must act, while others were accepted; and how many were
    /// when it did last.
    strikes: u32,
    struck_at: Option<u64>,
}

/// What deliveries wait for each other by: those of one task, or about one account, sink or group.
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
    /// By which its result is told.
    pub number: u64,
    /// In their order.
    pub events: Vec<Event>,
}

/// What is to be made durable.
#[derive(Debug, PartialEq)]
pub enum Write {
    /// These arrived.
    Acknowledge(Vec<Seq>),
    /// These failed for the first time, when the sink's own clock stood there.
    Tried(Vec<Seq>, Duration),
    /// This one is given up.
    Bury(DeadLetter),
    /// An event beside the deliveries, and the sinks that hear of it.
    Tell(Event, Vec<String>),
}

/// What was made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing that anybody waits for.
    Done,
    /// Something is owed that was not before.
    Owed,
    /// This one is a dead letter, and what tells of it is owed.
    Buried(Seq),
}

impl Write {
    /// Makes it durable, for the sink of that name.
    ///
    /// # Errors
    /// When the store fails; then nothing of it happened.
    pub async fn carry_out(self, store: &dyn Store, sink: &str) -> Result<Written, Error> {
        match self {
            Self::Acknowledge(seqs) => store.acknowledge(sink, seqs).await.map(|()| Written::Done),
            Self::Tried(seqs, active) => store.mark_tried(sink, seqs, active).await.map(|()| Written::Done),
            Self::Bury(burial) => {
                let seq = burial.seq;
                store.dead_letter(burial).await.map(|()| Written::Buried(seq))
            }
            Self::Tell(event, sinks) => store.add_event(event, sinks).await.map(|()| Written::Owed),
        }
    }
}

/// What is to be told in the log.
#[derive(Debug, PartialEq)]
pub enum Notice {
    /// It is held: a person must act.
    Held(String),
    /// It is still held, and the loud line is due again; that is what the last probe met.
    StillHeld(String),
    /// A probe was accepted, after so long.
    Released(Duration),
    /// Most attempts fail, or still do and the line is due again: only probes go out.
    Open(String),
    /// Attempts fail and come again, or still do and the line is due again.
    Failed(String),
    /// It accepts again, after so long.
    Closed(Duration),
    /// A delivery was given up.
    Dead(String),
}

impl Lane {
    /// An empty lane; `active` is how its own clock stood.
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
            failing_told: false,
            accepted: 0,
            holds: 0,
            next_attempt: 0,
            probe: None,
            pace: sending.rate.map(|rate| Pace::new(rate, now)),
            not_before: now,
            looked: now,
            breaker: Breaker::default(),
            hold: None,
            told_of_hold: false,
            evidence: Evidence::default(),
            active,
            active_since: now,
            buried: 0,
        }
    }

    /// Something may be owed that was not before.
    pub fn look_again(&mut self) {
        self.more = true;
    }

    /// What to read from the store, if there is room for it: after that number, at most so many.
    pub fn wants(&self) -> Option<(Seq, usize)> {
        if !self.more {
            return None;
        }
        // What failed waits beside the window, not in it.
        let room = (WINDOW + self.failed.min(FAILED)).saturating_sub(self.window.len());
        // Half a window at a time: a page for each acknowledged delivery would be a query for each.
        (room >= WINDOW / 2).then_some((self.loaded, room))
    }

    /// What the store answered to that.
    pub fn load(&mut self, page: Vec<OutboxRow>, asked_for: usize, now: Steady) {
        self.more = page.len() == asked_for;
        for OutboxRow { seq, task, attempts, tried, event } in page {
            let waiting = Waiting {
                order: Order::of(task, &event),
                event,
                attempts,
                tried,
                since: now,
                due: now,
                last: None,
                under_way: false,
                alone: false,
                strikes: 0,
                struck_at: None,
            };
            self.failed += usize::from(attempts > 0);
            self.loaded = self.loaded.max(seq);
            self.window.insert(seq, waiting);
        }
    }

    /// The next attempt, if one may be made now.
    pub fn attempt(&mut self, now: Steady) -> Option<Attempt> {
        self.looked = now;
        if self.attempts.len() >= self.sending.max_in_flight || self.next_slot() > now {
            return None;
        }
        let probes = self.next_probe();
        let seqs = match probes {
            Some(next) if !self.attempts.is_empty() || next > now => return None,
            Some(_) => self.probed().into_iter().collect(),
            None => self.batch(now),
        };
        if seqs.is_empty() {
            return None;
        }
        if let Some(pace) = &mut self.pace {
            pace.take(now);
        }
        let mut events = Vec::with_capacity(seqs.len());
        for seq in &seqs {
            let waiting = self.window.get_mut(seq)?;
            waiting.under_way = true;
            waiting.last = Some(now);
            events.push(waiting.event.clone());
        }
        self.next_attempt += 1;
        self.probe = probes.map(|_| self.next_attempt);
        self.attempts.insert(self.next_attempt, seqs);
        Some(Attempt { number: self.next_attempt, events })
    }

    /// When [`Lane::attempt`] has something next; `None`: not before an attempt ends or something is loaded.
    pub fn wake(&self) -> Option<Steady> {
        if self.attempts.len() >= self.sending.max_in_flight {
            return None;
        }
        let due = match self.next_probe() {
            Some(_) if !self.attempts.is_empty() || self.heads().next().is_none() => None,
            Some(next) => Some(next),
            // A batch that was full before its slot came is no longer gathered for.
            None if self.looked < self.next_slot() => self.heads().map(|(_, waiting)| waiting.due).min(),
            None => self.heads().map(|(_, waiting)| self.ripe(waiting)).min(),
        };
        due.map(|due| due.max(self.next_slot()))
    }

    /// The delivery is a dead letter, durably.
    pub fn gone(&mut self, seq: Seq) {
        let gone = self.window.remove(&seq);
        self.failed -= usize::from(gone.is_some_and(|gone| gone.attempts > 0));
        self.failing.take_if(|_| self.failed == 0);
    }

    /// A file changed that may mend the sink: its next probe goes out at once.
    pub fn try_now(&mut self, now: Steady) {
        if let Some(hold) = &mut self.hold {
            hold.probes.at_once(now);
        }
    }

    /// Whether a person must act.
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Why it is held, if it is.
    pub fn cause(&self) -> Option<&str> {
        self.hold.as_ref().map(|hold| hold.cause.as_str())
    }

    /// Since when it is in trouble, if it is.
    pub fn lasting(&self) -> Option<&Lasting> {
        self.only_probes().map(|probes| &probes.lasting).or(self.failing.as_ref())
    }

    /// When the next probe may leave, where only probes do.
    pub fn next_probe(&self) -> Option<Steady> {
        self.only_probes().map(Probes::next)
    }

    /// Its sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether nothing is known to be owed.
    pub fn is_idle(&self) -> bool {
        self.window.is_empty() && !self.more
    }

    /// How many deliveries it gave up.
    pub fn buried(&self) -> u64 {
        self.buried
    }

    /// How the sink's own clock stands: for how long it was used and not held.
    pub fn active(&self, now: Steady) -> Duration {
        let running = if self.hold.is_none() { now - self.active_since } else { Duration::ZERO };
        self.active + running
    }

    /// When the next attempt may leave at all.
    fn next_slot(&self) -> Steady {
        self.not_before.max(self.pace.as_ref().map_or(self.not_before, Pace::next))
    }

    fn only_probes(&self) -> Option<&Probes> {
        self.hold.as_ref().map(|hold| &hold.probes).or(self.breaker.open())
    }

    /// When a delivery may go: once it is due, and events were gathered for as long as is asked for; what was
    /// tried is not gathered again.
    fn ripe(&self, waiting: &Waiting) -> Steady {
        match self.sending.gather {
            Some(gather) if waiting.attempts == 0 && !waiting.alone => {
                waiting.due.max(waiting.since + gather)
            }
            Some(_) | None => waiting.due,
        }
    }

    /// The oldest delivery of each task, or of what else it is about, unless that is under way.
    fn heads(&self) -> impl Iterator<Item = (Seq, &Waiting)> {
        let mut seen = HashSet::new();
        self.window
            .iter()
            .filter(move |(_, waiting)| seen.insert(&waiting.order) && !waiting.under_way)
            .map(|(seq, waiting)| (*seq, waiting))
    }

    /// The delivery for a probe: one that was never tried, the latest first, so that the oldest, should the
    /// sink not stomach them, do not keep it shut; then the one tried longest ago.
    fn probed(&self) -> Option<Seq> {
        let never =
            self.heads().filter(|(_, waiting)| waiting.last.is_none() && waiting.attempts == 0).last();
        never.or_else(|| self.heads().min_by_key(|(_, waiting)| waiting.last)).map(|(seq, _)| seq)
    }

    /// The oldest that may go now, in order; within one attempt a task's deliveries follow each other.
    fn batch(&self, now: Steady) -> Vec<Seq> {
        let mut blocked = HashSet::new();
        let mut batch = Vec::new();
        let mut is_ripe = false;
        for (seq, waiting) in &self.window {
            let waits = waiting.under_way || waiting.due > now || (waiting.alone && !batch.is_empty());
            if waits || (blocked.contains(&waiting.order) && !broken!(Overtaking)) {
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
