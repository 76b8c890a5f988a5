//! The slots of one pace key, account or sink: requests leave evenly spaced, at least `1/rate` apart, the
//! first one after a start included. [`throttle`] decides the share of the rate that is used now.
//!
//! - A used slot puts the next one `1/(rate × share)` later. Idle time earns no burst.
//! - A timer may fire one tick late without a loss of rate: two requests are at least `1/rate` less one tick
//!   apart, and slots on average at least `1/rate` (docs/architecture.md §3, promise 5).
//! - The distance to the next slot is fixed when a slot is taken. A small share puts that slot many seconds
//!   ahead, so it is limited to the moment at which the full rate is restored.
//! - `Retry-After` only postpones the next slot. A person may end that pause; a restart forgets it.

mod throttle;

use std::time::Duration;

use self::throttle::Throttle;
use crate::clock::Steady;
use crate::units::Rate;

/// Lateness of a timer that costs no rate: two requests are never closer than the interval less this tick
/// (docs/architecture.md §3, promise 5).
const TICK_MICROSECONDS: i64 = 5_000;
/// Longest `Retry-After` that is respected (docs/architecture.md §4).
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The next slot, and the rate at which slots follow.
#[derive(Clone, Debug)]
pub struct Pace {
    /// `None`: only `Retry-After` blocks.
    throttle: Option<Throttle>,
    next: Steady,
    /// The end of the pause that the server requested.
    requested: Steady,
}

impl Pace {
    /// A pace whose first slot is one interval after the start: a program that restarts in a loop must not
    /// send faster than one that runs.
    pub fn new(rate: Rate, started: Steady) -> Self {
        let next = started + rate.interval();
        Self { throttle: Some(Throttle::new(rate)), next, requested: Steady(i64::MIN) }
    }

    /// A pace without a rate: only `Retry-After` blocks it.
    pub fn unlimited() -> Self {
        Self { throttle: None, next: Steady(i64::MIN), requested: Steady(i64::MIN) }
    }

    /// Another user of the same pace has this rate: the lower one applies, with its period.
    pub fn lower(&mut self, rate: Rate) {
        match &mut self.throttle {
            Some(throttle) => throttle.lower(rate),
            None => self.throttle = Some(Throttle::new(rate)),
        }
    }

    /// The same pace after a reload, with the rate of this one: no slot comes earlier, and a throttled rate of the same
    /// limit stays throttled.
    pub fn continued(self, before: Self) -> Self {
        let full = |pace: &Self| pace.throttle.as_ref().map(Throttle::interval);
        if full(&self) == full(&before) {
            return before;
        }
        Self { next: self.next.max(before.next), requested: before.requested, ..self }
    }

    /// Moment of the next slot.
    pub fn next(&self) -> Steady {
        self.next.max(self.requested)
    }

    /// The end of the pause that the server requested, if it lasts.
    pub fn requested_pause(&self, now: Steady) -> Option<Steady> {
        Some(self.requested).filter(|until| *until > now)
    }

    /// A person ends the pause that the server requested. Returns whether there was one.
    pub fn end_requested_pause(&mut self, now: Steady) -> bool {
        let before = std::mem::replace(&mut self.requested, Steady(i64::MIN));
        before > now
    }

    /// Distance between slots now; zero without a rate.
    pub fn spacing(&self, now: Steady) -> Duration {
        self.throttle.as_ref().map_or(Duration::ZERO, |throttle| throttle.spacing(now))
    }

    /// Allowed requests per second now; `None` without a rate.
    pub fn allowed_rate(&self, now: Steady) -> Option<f64> {
        self.throttle.as_ref().map(|throttle| throttle.spacing(now).as_secs_f64().recip())
    }

    /// Sent requests per second that were not refused, over the last period of the rate (at least 5 s);
    /// `None` without a rate.
    pub fn used_rate(&self, now: Steady) -> Option<f64> {
        self.throttle.as_ref().map(|throttle| throttle.used_rate(now))
    }

    /// The moment from which the full rate is certain; without a rate, the distant past.
    pub fn full_from(&self) -> Steady {
        self.throttle.as_ref().map_or(Steady(i64::MIN), Throttle::full_from)
    }

    /// Whether refusals keep the rate below the full one now.
    pub fn is_throttled(&self, now: Steady) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| throttle.is_throttled(now))
    }

    /// Uses the slot, if it is due. Returns whether it was.
    pub fn take(&mut self, now: Steady) -> bool {
        let next = self.next();
        if now < next {
            return false;
        }
        if let Some(throttle) = &mut self.throttle {
            let slot = next.max(Steady(now.0 - TICK_MICROSECONDS));
            let restored = throttle.full_from().max(slot + throttle.interval());
            self.next = restored.min(slot + throttle.spacing(now));
            throttle.sent(now);
        }
        true
    }

    /// A request sent at `sent` was refused because of the rate; the response arrived at `now`.
    pub fn throttled(&mut self, sent: Steady, now: Steady) {
        if let Some(throttle) = &mut self.throttle {
            let pause = throttle.refused(sent, now);
            self.next = self.next.max(now + pause);
        }
    }

    /// An outage or a hold has ended: the rate is restored gradually.
    pub fn resumed(&mut self, now: Steady) {
        if let Some(throttle) = &mut self.throttle {
            throttle.resumed(now);
        }
    }

    /// The server requested a pause of `wait`.
    pub fn retry_after(&mut self, wait: Duration, now: Steady) {
        self.requested = self.requested.max(now + wait.min(LONGEST_RETRY_AFTER));
    }
}

#[cfg(test)]
mod tests;
