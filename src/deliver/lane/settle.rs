//! What came of an attempt: for its deliveries and for the sink.

use super::{Lane, Notice, Waiting, Write};
use crate::clock::Moment;
use crate::model::delivery::{Refusal, RefusalClass};
use crate::model::event::{Dead, Event, HeldSink, dead, sink};
use crate::model::hold::Hold;
use crate::model::lasting::Lasting;
use crate::model::pace::LONGEST_RETRY_AFTER;
use crate::model::reading::Code;
use crate::model::records::{DeadLetter, Seq};
use crate::model::route::Routes;

/// A delivery that is refused so often more, while others are accepted in between, is what is refused, and
/// not the sink's login.
const STRIKES: u32 = 2;

/// What an attempt comes to, while it is found out.
struct Settling<'a> {
    routes: &'a Routes,
    now: Moment,
    /// For jitter, in `0.0..1.0`.
    spread: f64,
    is_probe: bool,
    writes: Vec<Write>,
    notices: Vec<Notice>,
}

impl Settling<'_> {
    /// The event, and the sinks that hear of it.
    fn routed(&self, event: Event) -> (Event, Vec<String>) {
        let sinks = self.routes.of_trouble(event.kind);
        (event, sinks)
    }

    fn tell(&mut self, event: Event) {
        let (event, sinks) = self.routed(event);
        self.writes.push(Write::Tell(event, sinks));
    }
}

impl Lane {
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
        let mut settling =
            Settling { routes, now, spread, is_probe, writes: Vec::new(), notices: Vec::new() };
        match result {
            Ok(()) => self.acknowledged(seqs, &mut settling),
            Err(Refusal { class: RefusalClass::Passing, .. }) if broken!(AcknowledgedUnheard) => {
                self.acknowledged(seqs, &mut settling)
            }
            Err(Refusal { class, what, retry_after }) => {
                if let Some(wait) = retry_after {
                    self.not_before = self.not_before.max(now.steady + wait.min(LONGEST_RETRY_AFTER));
                }
                match class {
                    RefusalClass::Passing => self.failed(&seqs, what, &mut settling),
                    RefusalClass::Sink if broken!(LoginIsContent) => {
                        seqs.iter().for_each(|seq| self.bury(*seq, &what, &mut settling))
                    }
                    RefusalClass::Sink => self.held(&seqs, what, false, &mut settling),
                    RefusalClass::Event => self.refused(&seqs, what, &mut settling),
                }
            }
        }
        (settling.writes, settling.notices)
    }

    fn acknowledged(&mut self, seqs: Vec<Seq>, settling: &mut Settling<'_>) {
        self.accepted += 1;
        self.evidence.answered_well();
        self.is_there(settling);
        let failing = self.failing.clone();
        seqs.iter().for_each(|seq| self.gone(*seq));
        let over = failing.filter(|_| self.failing.is_none() && std::mem::take(&mut self.failing_told));
        settling.notices.extend(over.map(|failing| Notice::Closed(failing.lasted(settling.now.steady))));
        settling.writes.push(Write::Acknowledge(seqs));
    }

    /// The sink answered for itself: it is held no more, and its breaker closes; but not by what was under
    /// way when the trouble was seen.
    fn is_there(&mut self, settling: &mut Settling<'_>) {
        if self.only_probes().is_some() && !settling.is_probe {
            return;
        }
        let now = settling.now;
        let released = self.hold.take();
        if let Some(hold) = &released {
            self.active_since = now.steady;
            settling.notices.push(Notice::Released(hold.probes.lasting.lasted(now.steady)));
            if std::mem::take(&mut self.told_of_hold) {
                let waiting = self.window.len() as u64;
                let held = HeldSink {
                    sink: &self.name,
                    error: &hold.cause,
                    since: hold.since(),
                    number: self.holds,
                    waiting,
                };
                settling.tell(sink(&held, true, now.wall));
            }
        }
        let closed = self.breaker.succeeded();
        let told = closed.as_ref().filter(|_| released.is_none());
        settling.notices.extend(told.map(|probes| Notice::Closed(probes.lasting.lasted(now.steady))));
        if closed.is_some() || released.is_some() {
            // The trouble was the sink's and not theirs, unless they failed before.
            for waiting in
                self.window.values_mut().filter(|waiting| waiting.attempts <= 1 && waiting.strikes == 0)
            {
                waiting.due = waiting.due.min(now.steady);
                waiting.alone = false;
            }
        }
    }

    /// It passes: the deliveries come again, or are given up.
    fn failed(&mut self, seqs: &[Seq], what: String, settling: &mut Settling<'_>) {
        let now = settling.now.steady;
        if let Some(hold) = &mut self.hold {
            if settling.is_probe && hold.probes.failed(now) {
                settling.notices.push(Notice::StillHeld(what));
            }
            return;
        }
        let active = self.active(now);
        let retry = self.sending.retry;
        let mut first = Vec::new();
        let mut is_news = false;
        for seq in seqs {
            let Some(waiting) = self.window.get_mut(seq) else { continue };
            // A delivery that fails again says little of the sink.
            is_news |= waiting.attempts == 0;
            self.failed += usize::from(waiting.attempts == 0);
            // In a batch that fails again one of them may be what the sink cannot stomach.
            waiting.alone |= waiting.attempts > 0;
            waiting.attempts = waiting.attempts.saturating_add(1);
            waiting.due = now + retry.wait(waiting.attempts, settling.spread);
            let tried = *waiting.tried.get_or_insert_with(|| {
                first.push(*seq);
                active
            });
            // Only what failed alone is given up.
            if seqs.len() == 1
                && retry.give_up_after.0.is_some_and(|longest| active.saturating_sub(tried) >= longest)
            {
                self.bury(*seq, &format!("given up: {what}"), settling);
            }
        }
        if !first.is_empty() {
            settling.writes.push(Write::Tried(first, active));
        }
        if is_news && self.breaker.failed(retry.waits(), settling.now) {
            if let (Some(failing), Some(probes)) = (self.failing.take(), self.breaker.open_mut()) {
                probes.lasting.since = failing.since;
            }
            self.failing_told = false;
            settling.notices.push(Notice::Open(what));
            return;
        }
        match self.breaker.open_mut() {
            Some(probes) if settling.is_probe => {
                let told = probes.failed(now).then_some(Notice::Open(what));
                settling.notices.extend(told);
            }
            Some(_) => {}
            None => {
                self.failing.get_or_insert_with(|| Lasting::new(settling.now));
                if Lasting::recurs(&mut self.failures, settling.now) {
                    self.failing_told = true;
                    settling.notices.push(Notice::Failed(what));
                }
            }
        }
    }

    /// A person must act: nothing is counted against the deliveries, unless it is one alone that is refused
    /// again and again while others are accepted.
    fn held(&mut self, seqs: &[Seq], what: String, refused_alike: bool, settling: &mut Settling<'_>) {
        let now = settling.now;
        for seq in seqs {
            let Some(waiting) = self.window.get_mut(seq) else { continue };
            let before = waiting.struck_at.replace(self.accepted);
            waiting.strikes += u32::from(before.is_some_and(|before| before < self.accepted));
            if waiting.strikes > 0 {
                waiting.alone = true;
                waiting.due = now.steady + self.sending.retry.wait(waiting.strikes + 1, settling.spread);
            }
            if seqs.len() == 1 && waiting.strikes >= STRIKES {
                self.is_there(settling);
                return self.bury(*seq, &what, settling);
            }
        }
        match &mut self.hold {
            Some(hold) if settling.is_probe => {
                hold.cause.clone_from(&what);
                if hold.probes.failed(now.steady) {
                    settling.notices.push(Notice::StillHeld(what));
                }
            }
            Some(_) => {}
            None => {
                self.active = self.active(now.steady);
                self.failing = None;
                self.failing_told = false;
                self.holds = self.holds.wrapping_add(1);
                // Trouble with a trouble event makes no further event (design.md §4).
                self.told_of_hold = seqs
                    .iter()
                    .filter_map(|seq| self.window.get(seq))
                    .any(|waiting| !waiting.event.kind.is_trouble());
                if self.told_of_hold {
                    let waiting = self.window.len() as u64;
                    let held = HeldSink {
                        sink: &self.name,
                        error: &what,
                        since: now.wall,
                        number: self.holds,
                        waiting,
                    };
                    settling.tell(sink(&held, false, now.wall));
                }
                self.hold = Some(Hold::new(what.clone(), refused_alike, self.sending.held, now));
                settling.notices.push(Notice::Held(what));
            }
        }
    }

    /// The receiver refuses what is said. A batch is sent again one by one; what is refused alone is given
    /// up, unless the sink accepted nothing yet and refuses everything alike: that tells of a setting.
    fn refused(&mut self, seqs: &[Seq], what: String, settling: &mut Settling<'_>) {
        let &[seq] = seqs else {
            for seq in seqs {
                if let Some(waiting) = self.window.get_mut(seq) {
                    waiting.alone = true;
                }
            }
            return;
        };
        // All kinds of refusals count as alike: the words differ from event to event.
        if self.evidence.refused(seq.0, &Code::Int(0))
            || self.hold.as_ref().is_some_and(|hold| hold.refused_alike)
        {
            return self.held(&[seq], what, true, settling);
        }
        self.is_there(settling);
        if let Some(waiting) = self.window.get_mut(&seq) {
            self.failed += usize::from(waiting.attempts == 0);
            waiting.attempts = waiting.attempts.saturating_add(1);
        }
        self.bury(seq, &what, settling);
    }

    fn bury(&mut self, seq: Seq, error: &str, settling: &mut Settling<'_>) {
        let Some(Waiting { event, attempts, under_way, .. }) = self.window.get_mut(&seq) else { return };
        // Until that is durable it comes again after a crash, and then no later event of its task may be
        // ahead of it.
        *under_way = true;
        self.buried += 1;
        settling.notices.push(Notice::Dead(error.to_owned()));
        let attempts = *attempts;
        let at = settling.now.wall;
        let told = (!event.kind.is_trouble())
            .then(|| settling.routed(dead(&Dead { sink: &self.name, event, attempts, error }, at)));
        settling.writes.push(Write::Bury(DeadLetter {
            sink: self.name.clone(),
            seq,
            at,
            attempts,
            error: error.to_owned(),
            event: told,
        }));
    }
}
