//! The gate of a called party: an account, a pace key or a sink.
//!
//! A gate decides when the next call may leave. The pace, a circuit breaker (failures of the other side) and a
//! hold (a person must act) close it. So do a probe in flight during the latter two, and a pause by a person.
//! Evidence
//! distinguishes a wrong setting from a wrong id. The caller classifies a result; the gate decides the
//! consequence.

mod breaker;
mod evidence;
mod probes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use super::lasting::Lasting;
use super::pace::Pace;
use super::policy::Waits;
use super::reading::Code;
use crate::clock::{Moment, Steady, Wall};
use breaker::Breaker;
pub use evidence::Evidence;
pub use probes::Probes;

/// The time without a refusal after which throttling has ended: a quota below the rate is met again within minutes.
const UNTHROTTLED: Duration = Duration::from_secs(600);
/// If more tasks than this were refused like a wrong setting, none of them is an exception.
const MOST_EXCEPTIONS: usize = 1_000;
/// A shorter pause that the other side requests is not logged.
const LOGGED_PAUSE: Duration = Duration::from_secs(60);

/// The gate of one account, pace key or sink; `Cause` is the reason of a hold.
#[derive(Debug)]
pub struct Gate<Cause> {
    /// The even spacing of calls, and the pause that the other side requested.
    pub pace: Pace,
    waits: GateWaits,
    hold: Option<Hold<Cause>>,
    breaker: Breaker,
    evidence: Evidence,
    /// Number of successful calls.
    good: u64,
    /// The tasks that were refused like a wrong setting, and `good` at the last such refusal.
    exceptions: HashMap<i64, u64>,
    /// The number of the probe in flight.
    probe: Option<u64>,
    /// The throttling that was logged last.
    throttling: Option<Lasting>,
    /// The requested pause that was logged last.
    requested_pause: Option<Lasting>,
    is_paused: bool,
}

/// Waits between the probes of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateWaits {
    /// While it is on hold.
    pub on_hold: Waits,
    /// While its circuit breaker is open.
    pub breaker_open: Waits,
}

/// The reason of a hold, and the times of its probes.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold<Cause> {
    /// The refusal that a person must act on.
    pub cause: Cause,
    /// Times of the probes.
    pub probes: Probes,
    /// Whether ids or events that were refused alike caused the hold: only a good response releases it then.
    pub refused_alike: bool,
}

/// A change of a gate that is logged, or a repetition of its log line that is due.
#[derive(Clone, Debug, PartialEq)]
pub enum GateChange<Cause> {
    /// On hold from now on.
    Held(Cause),
    /// Still on hold, and the log line is due again; the cause is that of the last probe.
    StillHeld(Cause),
    /// A probe of the hold succeeded.
    Released(Hold<Cause>),
    /// The circuit breaker opened.
    Opened(Cause),
    /// The circuit breaker is still open, and the log line is due again; the cause is that of the last probe.
    StillOpen(Cause),
    /// The circuit breaker closed. `Probes` has the duration of the failure.
    Closed(Probes),
}

impl<Cause> Hold<Cause> {
    /// The start of the hold, by the local wall clock.
    pub fn since(&self) -> Wall {
        self.probes.lasting.since.wall
    }
}

impl<Cause: Clone> Gate<Cause> {
    /// An open gate.
    pub fn new(pace: Pace, waits: GateWaits) -> Self {
        Self {
            pace,
            waits,
            hold: None,
            breaker: Breaker::default(),
            evidence: Evidence::default(),
            good: 0,
            exceptions: HashMap::new(),
            probe: None,
            throttling: None,
            requested_pause: None,
            is_paused: false,
        }
    }

    /// Whether a person paused it: no call leaves, not even a probe.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Begins or ends the pause by a person.
    pub fn set_paused(&mut self, paused: bool) {
        self.is_paused = paused;
    }

    /// Continues as `before`, with the rate and the waits of this gate. No call of `before` is in flight any more.
    pub fn continue_as(&mut self, before: Self) {
        let own = std::mem::replace(self, before);
        let before = std::mem::replace(&mut self.pace, Pace::unlimited());
        self.pace = own.pace.continued(before);
        self.waits = own.waits;
        self.is_paused = own.is_paused;
        self.probe = None;
    }

    /// The hold, if a person must act.
    pub fn hold(&self) -> Option<&Hold<Cause>> {
        self.hold.as_ref()
    }

    /// The probes, if only those may leave: of the hold, else of the open circuit breaker.
    pub fn probes(&self) -> Option<&Probes> {
        self.hold.as_ref().map(|hold| &hold.probes).or(self.breaker.probes())
    }

    /// The earliest moment of the next call; `None`: not before the probe in flight, or the pause, ends.
    pub fn next(&self) -> Option<Steady> {
        match self.probes() {
            _ if self.is_paused => None,
            None => Some(self.pace.next()),
            Some(_) if self.probe.is_some() => None,
            Some(probes) => Some(probes.next().max(self.pace.next())),
        }
    }

    /// A call of that number leaves now. Returns whether it is a probe.
    pub fn leave(&mut self, call: u64, now: Steady) -> bool {
        self.pace.take(now);
        let is_probe = self.probes().is_some();
        if is_probe {
            self.probe = Some(call);
        }
        is_probe
    }

    /// The call of that number ended. Returns whether it was the probe.
    pub fn end(&mut self, call: u64) -> bool {
        self.probe.take_if(|probe| *probe == call).is_some()
    }

    /// No call is available for a probe: the next one is due later.
    pub fn postpone_probe(&mut self, now: Steady) {
        if let Some(probes) = self.probes_mut() {
            probes.postpone(now);
        }
    }

    /// A change may have removed the cause of the hold: its next probe is due now.
    pub fn probe_now(&mut self, now: Steady) {
        if let Some(hold) = &mut self.hold {
            hold.probes.restart(now);
        }
    }

    /// A person requests a call: the next probe is due now, and a pause that the other side requested has ended. Returns
    /// whether there was a hold, an open circuit breaker or such a pause.
    pub fn retry(&mut self, now: Steady) -> bool {
        let was_requested = self.pace.end_requested_pause(now);
        let probes = self.probes_mut();
        let has_probes = probes.is_some();
        probes.into_iter().for_each(|probes| probes.restart(now));
        has_probes || was_requested
    }

    /// The other side requested a pause. Returns whether the log line is due.
    pub fn pause_requested(&mut self, wait: Duration, now: Moment) -> bool {
        self.pace.retry_after(wait, now.steady);
        wait >= LOGGED_PAUSE && Lasting::recurs(&mut self.requested_pause, now)
    }

    /// A call succeeded. A call that was in flight when the failure began changes nothing: only a probe
    /// releases a hold or closes the circuit breaker.
    pub fn succeeded(&mut self, is_probe: bool, now: Moment) -> Option<GateChange<Cause>> {
        self.evidence.add_success();
        self.good += 1;
        self.responded(is_probe, now)
    }

    /// The other side responded without success: the hold and the circuit breaker end, the evidence stays.
    pub fn responded(&mut self, is_probe: bool, now: Moment) -> Option<GateChange<Cause>> {
        if self.probes().is_some() && !is_probe {
            return None;
        }
        let closed = self.breaker.succeeded();
        let released = self.hold.take();
        if closed.is_some() || released.is_some() {
            self.pace.resumed(now.steady);
        }
        released.map(GateChange::Released).or(closed.map(GateChange::Closed))
    }

    /// The other side failed temporarily. `counts` is false where the failure may not be the other side's.
    pub fn failed(
        &mut self,
        cause: &Cause,
        counts: bool,
        is_probe: bool,
        now: Moment,
    ) -> Option<GateChange<Cause>> {
        if counts && self.hold.is_none() && self.breaker.failed(self.waits.breaker_open, now) {
            return Some(GateChange::Opened(cause.clone()));
        }
        self.probe_failed(cause, is_probe, now)
    }

    /// A call ended without success: if it was the probe, the next one is due later.
    pub fn probe_failed(&mut self, cause: &Cause, is_probe: bool, now: Moment) -> Option<GateChange<Cause>> {
        let is_held = self.hold.is_some();
        let probes = self.probes_mut().filter(|_| is_probe)?;
        let change = if is_held { GateChange::StillHeld } else { GateChange::StillOpen };
        probes.failed(now.steady).then(|| change(cause.clone()))
    }

    /// A person must act: puts the gate on hold, or counts a failed probe of the hold. A call that was in
    /// flight when the hold began changes nothing.
    pub fn put_on_hold(
        &mut self,
        cause: &Cause,
        refused_alike: bool,
        is_probe: bool,
        now: Moment,
    ) -> Option<GateChange<Cause>> {
        match &mut self.hold {
            None => {
                let probes = Probes::new(self.waits.on_hold, now);
                self.hold = Some(Hold { cause: cause.clone(), probes, refused_alike });
                Some(GateChange::Held(cause.clone()))
            }
            Some(hold) if is_probe => {
                hold.cause = cause.clone();
                self.probe_failed(cause, true, now)
            }
            Some(_) => None,
        }
    }

    /// A task or a delivery was refused for its content. Returns whether a setting is at fault: no call
    /// succeeded and several were refused alike, or the gate is on hold for that reason.
    pub fn is_refused_alike(&mut self, key: i64, code: &Code) -> bool {
        self.evidence.add_refusal(key, code) || self.hold.as_ref().is_some_and(|hold| hold.refused_alike)
    }

    /// Number of successful calls.
    pub fn successes(&self) -> u64 {
        self.good
    }

    /// The task of that key was refused like a wrong setting. Returns whether it alone is: it was refused so before, and
    /// other calls have succeeded since.
    pub fn is_exception(&mut self, key: i64) -> bool {
        self.exceptions.len() <= MOST_EXCEPTIONS
            && self.exceptions.insert(key, self.good).is_some_and(|before| before < self.good)
    }

    /// A call for the task of that key succeeded: a later refusal is no exception.
    pub fn clear_exception(&mut self, key: i64) {
        self.exceptions.remove(&key);
    }

    /// A call was throttled. Returns whether the log line is due.
    pub fn throttled(&mut self, now: Moment) -> bool {
        Lasting::recurs(&mut self.throttling, now)
    }

    /// The throttling that has ended: for [`UNTHROTTLED`], no call was refused, and one succeeded now.
    pub fn throttling_ended(&mut self, now: Moment) -> Option<Lasting> {
        Lasting::ended(&mut self.throttling, UNTHROTTLED, now.steady)
    }

    /// The failure began before the circuit breaker opened.
    pub fn backdate(&mut self, since: Moment) {
        if let Some(probes) = self.probes_mut() {
            probes.lasting.since = since;
        }
    }

    /// The evidence of earlier runs, or of this one.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Restores the evidence of earlier runs.
    pub fn restore(&mut self, evidence: Evidence) {
        self.evidence = evidence;
    }

    fn probes_mut(&mut self) -> Option<&mut Probes> {
        self.hold.as_mut().map(|hold| &mut hold.probes).or(self.breaker.probes_mut())
    }
}
