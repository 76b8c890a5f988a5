//! The consequences of an attempt: for its deliveries, and for the gate of the sink.

use super::{Lane, LaneNotice, OutboxWrite, Pending};
use crate::clock::Moment;
use crate::model::delivery::{Refusal, RefusalClass};
use crate::model::event::{Dead, Event, HeldSink, dead, sink};
use crate::model::gate::{GateChange, Hold};
use crate::model::lasting::Lasting;
use crate::model::reading::Code;
use crate::model::records::{DeadLetter, Seq};
use crate::model::route::Routes;

/// A delivery with this number of further refusals, while others are acknowledged in between, is itself at
/// fault, and not the login of the sink.
const STRIKES: u32 = 2;
/// All refusals of content count as alike: their texts differ from event to event.
const ALIKE: Code = Code::Int(0);

/// An attempt while its consequences are found.
struct AttemptSettling<'a> {
    routes: &'a Routes,
    now: Moment,
    /// For jitter, in `0.0..1.0`.
    spread: f64,
    is_probe: bool,
    writes: Vec<OutboxWrite>,
    notices: Vec<LaneNotice>,
}

impl AttemptSettling<'_> {
    /// The event, with its sinks.
    fn routed(&self, event: Event) -> (Event, Vec<String>) {
        let sinks = self.routes.of_trouble(event.kind);
        (event, sinks)
    }

    fn add_event(&mut self, event: Event) {
        let (event, sinks) = self.routed(event);
        self.writes.push(OutboxWrite::Event(event, sinks));
    }
}

impl Lane {
    /// The consequences of an attempt: the writes, and the changes to be logged. `spread` is drawn from `0.0..1.0`.
    pub fn settle(
        &mut self,
        number: u64,
        result: Result<(), Refusal>,
        routes: &Routes,
        now: Moment,
        spread: f64,
    ) -> (Vec<OutboxWrite>, Vec<LaneNotice>) {
        let seqs = self.attempts.remove(&number).unwrap_or_default();
        // An attempt that was in flight when the failure began changes nothing.
        let is_probe = self.gate.end(number);
        for seq in &seqs {
            if let Some(pending) = self.window.get_mut(seq) {
                pending.in_flight = false;
            }
        }
        let mut settling =
            AttemptSettling { routes, now, spread, is_probe, writes: Vec::new(), notices: Vec::new() };
        match result {
            Ok(()) => self.acknowledged(seqs, &mut settling),
            Err(Refusal { class, what, retry_after }) => {
                self.failed_attempts = self.failed_attempts.wrapping_add(1);
                self.last_error = (class != RefusalClass::Event).then(|| what.clone());
                let wait = retry_after.filter(|_| class != RefusalClass::Event);
                if wait.is_some_and(|wait| self.gate.pause_requested(wait, now)) {
                    settling.notices.push(LaneNotice::PauseRequested(self.gate.pace.next()));
                }
                match class {
                    RefusalClass::Passing => self.failed(&seqs, what, &mut settling),
                    RefusalClass::Sink => self.put_on_hold(&seqs, what, false, &mut settling),
                    RefusalClass::Event => self.refused(&seqs, what, &mut settling),
                }
            }
        }
        (settling.writes, settling.notices)
    }

    fn acknowledged(&mut self, seqs: Vec<Seq>, settling: &mut AttemptSettling<'_>) {
        let change = self.gate.succeeded(settling.is_probe, settling.now);
        self.recovered(change, settling);
        let failing = self.failing.clone();
        seqs.iter().for_each(|seq| self.became_dead_letter(*seq));
        let is_over = self.failing.is_none();
        let ended = failing.filter(|_| is_over && std::mem::take(&mut self.failing_is_logged));
        let recovered = ended.map(|failing| LaneNotice::Recovered(failing.lasted(settling.now.steady)));
        settling.notices.extend(recovered);
        settling.writes.push(OutboxWrite::Acknowledge(seqs));
    }

    /// The gate opened, unless there is no change.
    fn recovered(&mut self, change: Option<GateChange<String>>, settling: &mut AttemptSettling<'_>) {
        let Some(change) = change else { return };
        let now = settling.now;
        if let GateChange::Released(hold) = &change {
            self.active_since = now.steady;
            if std::mem::take(&mut self.has_hold_event) {
                let event = self.hold_event(hold, true, now);
                settling.add_event(event);
            }
        }
        settling.notices.push(LaneNotice::Gate(change));
        // The failure is the sink's and not that of the deliveries, unless they failed before.
        let of_sink = |pending: &&mut Pending| pending.attempts <= 1 && pending.strikes == 0;
        for pending in self.window.values_mut().filter(of_sink) {
            pending.due = pending.due.min(now.steady);
            pending.alone = false;
        }
    }

    /// A temporary failure: the deliveries are retried, or become dead letters.
    fn failed(&mut self, seqs: &[Seq], what: String, settling: &mut AttemptSettling<'_>) {
        if self.gate.hold().is_some() {
            let change = self.gate.probe_failed(&what, settling.is_probe, settling.now);
            return settling.notices.extend(change.map(LaneNotice::Gate));
        }
        let is_news = self.plan_retries(seqs, &what, settling);
        let change = self.gate.failed(&what, is_news, settling.is_probe, settling.now);
        if let Some(GateChange::Opened(_)) = change {
            if let Some(failing) = self.failing.take() {
                self.gate.backdate(failing.since);
            }
            self.failing_is_logged = false;
        }
        settling.notices.extend(change.map(LaneNotice::Gate));
        if self.gate.probes().is_none() {
            self.failing.get_or_insert_with(|| Lasting::new(settling.now));
            if Lasting::recurs(&mut self.failures, settling.now) {
                self.failing_is_logged = true;
                settling.notices.push(LaneNotice::Failing(what));
            }
        }
    }

    /// Plans the next attempt of each delivery, or makes it a dead letter. Returns whether a delivery failed
    /// for the first time: a repeated failure says little about the sink.
    fn plan_retries(&mut self, seqs: &[Seq], what: &str, settling: &mut AttemptSettling<'_>) -> bool {
        let now = settling.now.steady;
        let active = self.active(now);
        let retry = self.sending.retry;
        let mut first = Vec::new();
        let mut is_news = false;
        for seq in seqs {
            let Some(pending) = self.window.get_mut(seq) else { continue };
            is_news |= pending.attempts == 0;
            self.failed += usize::from(pending.attempts == 0);
            // In a batch that fails again one delivery may be the cause.
            pending.alone |= pending.attempts > 0;
            pending.attempts = pending.attempts.saturating_add(1);
            pending.due = now + retry.wait(pending.attempts, settling.spread);
            let tried = *pending.tried.get_or_insert_with(|| {
                first.push(*seq);
                active
            });
            let is_given_up =
                retry.give_up_after.0.is_some_and(|longest| active.saturating_sub(tried) >= longest);
            // Only a delivery that failed alone becomes a dead letter.
            if seqs.len() == 1 && is_given_up {
                self.make_dead_letter(*seq, &format!("retries ended: {what}"), settling);
            }
        }
        if !first.is_empty() {
            settling.writes.push(OutboxWrite::FirstFailure(first, active));
        }
        is_news
    }

    /// A person must act: nothing counts against the deliveries, unless one alone is refused several times
    /// while others are acknowledged.
    fn put_on_hold(
        &mut self,
        seqs: &[Seq],
        what: String,
        refused_alike: bool,
        settling: &mut AttemptSettling<'_>,
    ) {
        let now = settling.now;
        let accepted = self.gate.successes();
        for seq in seqs {
            let Some(pending) = self.window.get_mut(seq) else { continue };
            let before = pending.struck_at.replace(accepted);
            pending.strikes += u32::from(before.is_some_and(|before| before < accepted));
            if pending.strikes > 0 {
                pending.alone = true;
                pending.due = now.steady + self.sending.retry.wait(pending.strikes + 1, settling.spread);
            }
            if seqs.len() == 1 && pending.strikes >= STRIKES {
                let change = self.gate.responded(settling.is_probe, now);
                self.recovered(change, settling);
                return self.make_dead_letter(*seq, &what, settling);
            }
        }
        let active = self.active(now.steady);
        let change = self.gate.put_on_hold(&what, refused_alike, settling.is_probe, now);
        if let (Some(GateChange::Held(_)), Some(hold)) = (&change, self.gate.hold()) {
            self.active = active;
            self.failing = None;
            self.failing_is_logged = false;
            self.holds = self.holds.wrapping_add(1);
            // A failed delivery of a `trouble` event makes no further event.
            let is_trouble = |seq| self.window.get(seq).is_none_or(|pending| pending.event.kind.is_trouble());
            self.has_hold_event = !seqs.iter().all(is_trouble);
            if self.has_hold_event {
                let event = self.hold_event(hold, false, now);
                settling.add_event(event);
            }
        }
        settling.notices.extend(change.map(LaneNotice::Gate));
    }

    fn hold_event(&self, hold: &Hold<String>, is_over: bool, now: Moment) -> Event {
        let held = HeldSink {
            sink: &self.name,
            error: &hold.cause,
            since: hold.since(),
            number: self.holds,
            waiting: self.window.len() as u64,
        };
        sink(&held, is_over, now.wall)
    }

    /// The receiver refuses the content. A batch is sent again one by one, and a delivery that is refused
    /// alone becomes a dead letter. Exception: a sink that never acknowledged anything and refuses all alike
    /// has a wrong setting.
    fn refused(&mut self, seqs: &[Seq], what: String, settling: &mut AttemptSettling<'_>) {
        let &[seq] = seqs else {
            for seq in seqs {
                if let Some(pending) = self.window.get_mut(seq) {
                    pending.alone = true;
                }
            }
            return;
        };
        if self.gate.is_refused_alike(seq.0, &ALIKE) {
            return self.put_on_hold(&[seq], what, true, settling);
        }
        let change = self.gate.responded(settling.is_probe, settling.now);
        self.recovered(change, settling);
        if let Some(pending) = self.window.get_mut(&seq) {
            self.failed += usize::from(pending.attempts == 0);
            pending.attempts = pending.attempts.saturating_add(1);
        }
        self.make_dead_letter(seq, &what, settling);
    }

    fn make_dead_letter(&mut self, seq: Seq, error: &str, settling: &mut AttemptSettling<'_>) {
        let Some(Pending { event, attempts, in_flight, .. }) = self.window.get_mut(&seq) else { return };
        // After a crash before the commit the delivery comes back, so no later event of its task may overtake
        // it.
        *in_flight = true;
        self.dead_letters += 1;
        settling.notices.push(LaneNotice::DeadLetter(event.clone(), error.to_owned()));
        let attempts = *attempts;
        let at = settling.now.wall;
        let has_event = !event.kind.is_trouble();
        let event =
            has_event.then(|| settling.routed(dead(&Dead { sink: &self.name, event, attempts, error }, at)));
        let letter =
            DeadLetter { sink: self.name.clone(), seq, at, attempts, error: error.to_owned(), event };
        settling.writes.push(OutboxWrite::DeadLetter(letter));
    }
}
