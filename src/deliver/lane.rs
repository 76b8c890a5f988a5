//! The queue of one sink, without its waiting: plain and synchronous, as watch's board is.
//!
//! In come what the store says is owed, moments, and what came of attempts; out come attempts to be made and [`Write`]s to be
//! made durable. Deliveries go out oldest first; those of one task never overtake each other, and never wait for another's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::clock::{Moment, Steady};
use crate::model::breaker::Breaker;
use crate::model::delivery::Sending;
use crate::model::event::{Dead, Event, HeldSink, dead, sink};
use crate::model::hold::{Evidence, Hold};
use crate::model::pace::Pace;
use crate::model::reading::Code;
use crate::model::route::Routes;
use crate::model::task::Row;
use crate::sinks::{Class, Refusal};
use crate::store::{Burial, Error, Owed, Seq, Store};

/// So many deliveries are in memory at most, however many are owed; more than any batch and bound in flight take at once.
const WINDOW: usize = 1_024;
/// Among so many of the oldest a probe takes the one tried longest ago: one event that a sink cannot stomach does not keep it shut.
const PROBED: usize = 16;
/// A sink that asks for more than this is not believed, as for polls (design.md §4).
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

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
    next_attempt: u64,
    /// The attempt that is a probe.
    probe: Option<u64>,
    pace: Option<Pace>,
    not_before: Steady,
    breaker: Breaker,
    hold: Option<Hold<String>>,
    evidence: Evidence,
    /// For how long it was used and not held before `active_since`.
    active: Duration,
    active_since: Steady,
    buried: u64,
}

/// A delivery in memory.
#[derive(Debug)]
struct Waiting {
    task: Option<Row>,
    event: Event,
    attempts: u32,
    tried: Option<Duration>,
    /// When it was loaded, from when events are gathered.
    since: Steady,
    due: Steady,
    last: Option<Steady>,
    under_way: bool,
    /// Whether a batch that it was in was refused: it is sent on its own.
    alone: bool,
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
    Bury(Burial),
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
            Self::Tried(seqs, active) => store.tried(sink, seqs, active).await.map(|()| Written::Done),
            Self::Bury(burial) => {
                let seq = burial.seq;
                store.bury(burial).await.map(|()| Written::Buried(seq))
            }
            Self::Tell(event, sinks) => store.tell(event, sinks).await.map(|()| Written::Owed),
        }
    }
}

/// What is to be told in the log.
#[derive(Debug, PartialEq)]
pub enum Notice {
    /// It is held: a person must act.
    Held(String),
    /// It is still held, and the loud line is due again.
    StillHeld(String),
    /// A probe was accepted.
    Released,
    /// Most attempts fail: only probes go out.
    Opened(String),
    /// It accepts again.
    Closed,
    /// An attempt failed, and comes again.
    Failed(String),
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
            next_attempt: 0,
            probe: None,
            pace: sending.rate.map(|rate| Pace::new(rate, now)),
            not_before: now,
            breaker: Breaker::default(),
            hold: None,
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
        let room = WINDOW.saturating_sub(self.window.len());
        // Half a window at a time: a page for each acknowledged delivery would be a query for each.
        (self.more && room >= WINDOW / 2).then_some((self.loaded, room))
    }

    /// What the store answered to that.
    pub fn load(&mut self, page: Vec<Owed>, asked_for: usize, now: Steady) {
        self.more = page.len() == asked_for;
        for Owed { seq, task, attempts, tried, event } in page {
            let waiting = Waiting { task, event, attempts, tried, since: now, due: now, last: None, under_way: false, alone: false };
            self.loaded = self.loaded.max(seq);
            self.window.insert(seq, waiting);
        }
    }

    /// The next attempt, if one may be made now.
    pub fn attempt(&mut self, now: Steady) -> Option<Attempt> {
        if self.attempts.len() >= self.sending.max_in_flight || self.next_slot() > now {
            return None;
        }
        let probes = self.probes();
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
            (waiting.under_way, waiting.last) = (true, Some(now));
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
        let due = match self.probes() {
            Some(_) if !self.attempts.is_empty() || self.window.is_empty() => None,
            Some(next) => Some(next),
            None => self.heads().map(|(_, waiting)| self.ripe(waiting)).min(),
        };
        due.map(|due| due.max(self.next_slot()))
    }

    /// What came of an attempt: what is to be made durable, and what is to be told.
    pub fn ended(
        &mut self,
        number: u64,
        result: Result<(), Refusal>,
        routes: &Routes,
        now: Moment,
        spread: f64,
    ) -> (Vec<Write>, Vec<Notice>) {
        let seqs = self.attempts.remove(&number).unwrap_or_default();
        // What was under way when the trouble was seen says nothing new of it.
        let is_probe = self.probe.take_if(|probe| *probe == number).is_some();
        for seq in &seqs {
            if let Some(waiting) = self.window.get_mut(seq) {
                waiting.under_way = false;
            }
        }
        let (mut writes, mut notices) = (Vec::new(), Vec::new());
        let result = if broken!(AcknowledgedUnheard) {
            result.or_else(|refusal| if refusal.class == Class::Passing { Ok(()) } else { Err(refusal) })
        } else {
            result
        };
        match result {
            Ok(()) => {
                self.accepted(routes, now, &mut writes, &mut notices);
                seqs.iter().for_each(|seq| _ = self.window.remove(seq));
                writes.push(Write::Acknowledge(seqs));
            }
            Err(refusal) => {
                if let Some(wait) = refusal.retry_after {
                    self.not_before = self.not_before.max(now.steady + wait.min(LONGEST_RETRY_AFTER));
                }
                match refusal.class {
                    Class::Passing => self.failed(&seqs, refusal.what, is_probe, routes, now, spread, &mut writes, &mut notices),
                    Class::Sink if broken!(LoginIsContent) => {
                        writes.extend(seqs.iter().filter_map(|seq| self.bury(*seq, &refusal.what, routes, now, &mut notices)));
                    }
                    Class::Sink => self.held(&seqs, refusal.what, false, is_probe, routes, now, &mut writes, &mut notices),
                    Class::Event => self.refused(&seqs, refusal.what, is_probe, routes, now, &mut writes, &mut notices),
                }
            }
        }
        (writes, notices)
    }

    /// The delivery is a dead letter, durably.
    pub fn gone(&mut self, seq: Seq) {
        self.window.remove(&seq);
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

    fn accepted(&mut self, routes: &Routes, now: Moment, writes: &mut Vec<Write>, notices: &mut Vec<Notice>) {
        self.evidence.answered_well();
        self.release(routes, now, writes, notices);
        if self.breaker.succeeded() {
            notices.push(Notice::Closed);
            self.all_due(now.steady);
        }
    }

    /// It passes: the deliveries come again, or are given up.
    #[expect(clippy::too_many_arguments, reason = "one caller, and each is another thing")]
    fn failed(
        &mut self,
        seqs: &[Seq],
        what: String,
        is_probe: bool,
        routes: &Routes,
        now: Moment,
        spread: f64,
        writes: &mut Vec<Write>,
        notices: &mut Vec<Notice>,
    ) {
        if let Some(hold) = &mut self.hold {
            if is_probe {
                hold.probes.failed(now.steady);
            }
            return;
        }
        let (active, retry) = (self.active(now.steady), self.sending.retry);
        let mut first = Vec::new();
        for seq in seqs {
            let Some(waiting) = self.window.get_mut(seq) else { continue };
            waiting.attempts = waiting.attempts.saturating_add(1);
            waiting.due = now.steady + retry.wait(waiting.attempts, spread);
            let tried = *waiting.tried.get_or_insert_with(|| {
                first.push(*seq);
                active
            });
            if retry.give_up_after.0.is_some_and(|longest| active.saturating_sub(tried) >= longest) {
                writes.extend(self.bury(*seq, &format!("given up: {what}"), routes, now, notices));
            }
        }
        if !first.is_empty() {
            writes.push(Write::Tried(first, active));
        }
        if self.breaker.failed(retry.waits(), now.steady) {
            notices.push(Notice::Opened(what));
            return;
        }
        match self.breaker.open_mut() {
            Some(probes) if is_probe => probes.failed(now.steady),
            Some(_) => {}
            None => notices.push(Notice::Failed(what)),
        }
    }

    /// A person must act: nothing is counted against the deliveries.
    #[expect(clippy::too_many_arguments, reason = "two callers, and each is another thing")]
    fn held(
        &mut self,
        seqs: &[Seq],
        what: String,
        refused_alike: bool,
        is_probe: bool,
        routes: &Routes,
        now: Moment,
        writes: &mut Vec<Write>,
        notices: &mut Vec<Notice>,
    ) {
        match &mut self.hold {
            Some(hold) if is_probe => {
                hold.cause.clone_from(&what);
                if hold.probe_failed(now.steady) {
                    notices.push(Notice::StillHeld(what));
                }
            }
            Some(_) => {}
            None => {
                self.active = self.active(now.steady);
                self.hold = Some(Hold::new(what.clone(), refused_alike, self.sending.held, now));
                // Trouble with a trouble event makes no further event (design.md §4).
                let of_tasks = seqs.iter().filter_map(|seq| self.window.get(seq)).any(|waiting| !waiting.event.kind.is_trouble());
                writes.extend(of_tasks.then(|| self.tell_held(&what, now, false, routes)));
                notices.push(Notice::Held(what));
            }
        }
    }

    fn release(&mut self, routes: &Routes, now: Moment, writes: &mut Vec<Write>, notices: &mut Vec<Notice>) {
        let Some(hold) = self.hold.take() else { return };
        self.active_since = now.steady;
        let held = HeldSink { sink: &self.name, error: &hold.cause, since: hold.since, waiting: self.waiting() };
        let event = sink(&held, true, now.wall);
        let sinks = routes.of_trouble(event.kind);
        writes.push(Write::Tell(event, sinks));
        notices.push(Notice::Released);
        self.all_due(now.steady);
    }

    fn tell_held(&self, what: &str, now: Moment, released: bool, routes: &Routes) -> Write {
        let since = self.hold.as_ref().map_or(now.wall, |hold| hold.since);
        let event = sink(&HeldSink { sink: &self.name, error: what, since, waiting: self.waiting() }, released, now.wall);
        let sinks = routes.of_trouble(event.kind);
        Write::Tell(event, sinks)
    }

    /// The receiver refuses what is said. A batch is sent again one by one; what is refused alone is given up, unless the sink
    /// accepted nothing yet and refuses everything alike: that tells of a setting.
    #[expect(clippy::too_many_arguments, reason = "one caller, and each is another thing")]
    fn refused(
        &mut self,
        seqs: &[Seq],
        what: String,
        is_probe: bool,
        routes: &Routes,
        now: Moment,
        writes: &mut Vec<Write>,
        notices: &mut Vec<Notice>,
    ) {
        let &[seq] = seqs else {
            for seq in seqs {
                if let Some(waiting) = self.window.get_mut(seq) {
                    waiting.alone = true;
                }
            }
            return;
        };
        // All kinds of refusals count as alike: the words differ from event to event.
        if self.evidence.refused(seq.0, &Code::Int(0)) || self.hold.as_ref().is_some_and(|hold| hold.refused_alike) {
            return self.held(&[seq], what, true, is_probe, routes, now, writes, notices);
        }
        // The address and the login were accepted, and the breaker's other side is there.
        self.release(routes, now, writes, notices);
        if self.breaker.succeeded() {
            notices.push(Notice::Closed);
            self.all_due(now.steady);
        }
        if let Some(waiting) = self.window.get_mut(&seq) {
            waiting.attempts = waiting.attempts.saturating_add(1);
        }
        writes.extend(self.bury(seq, &what, routes, now, notices));
    }

    fn bury(&mut self, seq: Seq, error: &str, routes: &Routes, now: Moment, notices: &mut Vec<Notice>) -> Option<Write> {
        let Waiting { event, attempts, under_way, .. } = self.window.get_mut(&seq)?;
        // Until that is durable it comes again after a crash, and then no later event of its task may be ahead of it.
        *under_way = true;
        let (event, attempts) = (&*event, *attempts);
        self.buried += 1;
        notices.push(Notice::Dead(error.to_owned()));
        let told = (!event.kind.is_trouble()).then(|| {
            let told = dead(&Dead { sink: &self.name, event, attempts, error }, now.wall);
            let sinks = routes.of_trouble(told.kind);
            (told, sinks)
        });
        Some(Write::Bury(Burial { sink: self.name.clone(), seq, at: now.wall, attempts, error: error.to_owned(), event: told }))
    }

    fn waiting(&self) -> u64 {
        self.window.len() as u64
    }

    /// The trouble was the sink's and not theirs.
    fn all_due(&mut self, now: Steady) {
        self.window.values_mut().for_each(|waiting| waiting.due = waiting.due.min(now));
    }

    /// When the next attempt may leave at all.
    fn next_slot(&self) -> Steady {
        self.not_before.max(self.pace.as_ref().map_or(self.not_before, Pace::next))
    }

    /// When the next probe may leave, where only probes do.
    fn probes(&self) -> Option<Steady> {
        let probes = self.hold.as_ref().map(|hold| &hold.probes).or(self.breaker.open());
        probes.map(|probes| probes.next())
    }

    /// When a delivery may go: once it is due, and events were gathered for as long as is asked for.
    fn ripe(&self, waiting: &Waiting) -> Steady {
        waiting.due.max(self.sending.gather.map_or(waiting.due, |gather| waiting.since + gather))
    }

    /// The oldest delivery of each task, unless that is under way; without a task they are one queue.
    fn heads(&self) -> impl Iterator<Item = (Seq, &Waiting)> {
        let mut seen = HashSet::new();
        self.window.iter().filter(move |(_, waiting)| seen.insert(waiting.task) && !waiting.under_way).map(|(seq, waiting)| (*seq, waiting))
    }

    /// The delivery for a probe.
    fn probed(&self) -> Option<Seq> {
        self.heads().take(PROBED).min_by_key(|(_, waiting)| waiting.last).map(|(seq, _)| seq)
    }

    /// The oldest that may go now, in order; within one attempt a task's deliveries follow each other.
    fn batch(&self, now: Steady) -> Vec<Seq> {
        let mut blocked = HashSet::new();
        let (mut batch, mut is_ripe) = (Vec::new(), false);
        for (seq, waiting) in &self.window {
            let waits = waiting.under_way || waiting.due > now || (waiting.alone && !batch.is_empty());
            if waits || (blocked.contains(&waiting.task) && !broken!(Overtaking)) {
                blocked.insert(waiting.task);
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
