//! The share of the configured rate in use: 1, and less after a refusal or an outage. It recovers by time
//! alone, so a slow pace recovers as soon as a fast one (docs/architecture.md §4, "Rate").
//!
//! **Cut.** The first refusal sets the share to its base: 95 % of the measured quota, at least half of the
//! share before. The measured quota is the number of requests in the last window that were not refused. A
//! server with a sliding window refuses exactly at that number. The window is the period of the rate, and at
//! least 5 s: 1 s has too few requests. The next cut needs a refusal of a request that left one period after
//! the last cut. Earlier requests share a window with requests from before the cut, so their refusals do not
//! show that the base is too high.
//!
//! **Pause.** A server with a fixed window refuses everything until its window ends. After each refusal, no
//! request leaves for 2 intervals and the time of the refused request. The refusals that cause no cut double
//! this pause, until one period after the cut.
//!
//! **Recovery.** `x` is the time since the last refusal, as a part of 2 min. The base grows by 5 % in 10
//! periods, and the share is `base + (1 − base) × x²⁴`. Up to `x = 0.8` the last term is below 0.5 %. For `x`
//! of 0.97 it is about half, and the share is 1 from `x = 1` on. A lower exponent meets the quota earlier, so
//! refusals are more frequent. A higher one meets it at a higher rate, so more requests are in flight when
//! the refusal arrives.
//!
//! **Larger quota.** Each recovery measures again, so a base can rise. A fixed window makes the measurement
//! too high, by up to a factor of 2, since the last period covers two windows. The next cut corrects it.
//!
//! **Arithmetic.** 95 a minute with a real quota of 31 a minute: 62 requests are accepted in 2 min, and 2
//! refusals are 3 %. At a latency of 2 s, 3 further requests are in flight at the full rate. One refusal in 2
//! min is the least possible, so a quota of 9 a minute has at least 5 %. 47.5 a second with a real quota of
//! 15 a second: the base grows from 95 % to 100 % of the quota in 10 s. 146 requests are accepted meanwhile,
//! and 1 refusal is below 1 %.

use std::time::Duration;

use crate::clock::Steady;
use crate::units::Rate;

/// Smallest share of the rate: a pace that is refused for hours is still used.
const SMALLEST_SHARE: f64 = 1.0 / 64.0;
/// Time from the last refusal to the full rate (docs/architecture.md §4).
const RECOVERY: Duration = Duration::from_secs(120);
/// Exponent of the recovery.
const STEEPNESS: i32 = 24;
/// Base as a part of the measured quota.
const MARGIN: f64 = 0.95;
/// Periods in which the base grows by the margin.
const GROWTH_PERIODS: f64 = 10.0;
/// Share of the rate right after an outage, and time from there to the full rate.
const SHARE_AFTER_OUTAGE: f64 = 0.25;
const RESTORATION: Duration = Duration::from_secs(60);
/// Shortest window in which requests are counted.
const SHORTEST_WINDOW: Duration = Duration::from_secs(5);
/// Parts of a window in which requests are counted. Counts are kept for two windows: a refusal may arrive one
/// window late.
const SLICES: i64 = 32;
const SLICES_KEPT: usize = 64;

/// The state of one rate.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    rate: Rate,
    counts: RequestCounts,
    cut: Option<RateCut>,
    /// End of the last outage or hold.
    resumed: Option<Steady>,
}

/// A cut of the rate, and the refusals since.
#[derive(Clone, Debug)]
struct RateCut {
    at: Steady,
    /// Share right after the last refusal.
    base: f64,
    last_refusal: Steady,
    /// Refusals since the cut, the one that caused it included.
    refusals: u32,
}

impl Throttle {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, counts: RequestCounts::new(rate), cut: None, resumed: None }
    }

    pub(super) fn lower(&mut self, rate: Rate) {
        if rate.interval() > self.rate.interval() {
            self.rate = rate;
            self.counts = RequestCounts::new(rate);
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.rate.interval()
    }

    pub(super) fn spacing(&self, now: Steady) -> Duration {
        self.interval().div_f64(self.share(now))
    }

    pub(super) fn used_rate(&self, now: Steady) -> f64 {
        self.measured_share(now) / self.interval().as_secs_f64()
    }

    pub(super) fn is_throttled(&self, now: Steady) -> bool {
        self.cut.as_ref().is_some_and(|cut| now < cut.last_refusal + RECOVERY)
    }

    /// Earliest moment at which the full rate is certain.
    pub(super) fn full_from(&self) -> Steady {
        let recovered = self.cut.as_ref().map(|cut| cut.last_refusal + RECOVERY);
        let restored = self.resumed.map(|at| at + RESTORATION);
        recovered.max(restored).unwrap_or(Steady(i64::MIN))
    }

    pub(super) fn resumed(&mut self, now: Steady) {
        self.resumed = Some(now);
    }

    pub(super) fn sent(&mut self, now: Steady) {
        self.counts.add(now);
    }

    /// A request was refused. Returns the time until the next one.
    pub(super) fn refused(&mut self, sent: Steady, now: Steady) -> Duration {
        self.counts.remove(sent);
        let period = self.rate.period();
        // A whole period at the full rate shows that the quota is back: the old base has no meaning.
        let cut = self.cut.as_ref().filter(|cut| sent < cut.last_refusal + RECOVERY + period);
        let cut = match cut {
            Some(cut) if sent < cut.last_refusal => return Duration::ZERO,
            Some(cut) if sent < cut.at + period => {
                RateCut { last_refusal: now, refusals: cut.refusals.saturating_add(1), ..*cut }
            }
            Some(_) | None => self.next_cut(cut, sent, now),
        };
        let window_ends = cut.at + period;
        let refusals = cut.refusals;
        self.cut = Some(cut);
        let spacing = self.spacing(now);
        let first_pause = spacing.saturating_mul(2) + (now - sent);
        let pause = first_pause.saturating_mul(1_u32.checked_shl(refusals - 1).unwrap_or(u32::MAX));
        pause.min(window_ends - now).max(spacing).min(RECOVERY)
    }

    fn next_cut(&self, before: Option<&RateCut>, sent: Steady, now: Steady) -> RateCut {
        let share_before = before.map_or_else(|| self.share(sent), |cut| cut.base);
        let measured = self.measured_share(sent) * MARGIN;
        let base = measured.max(share_before / 2.0).clamp(SMALLEST_SHARE, MARGIN);
        RateCut { at: now, base, last_refusal: now, refusals: 1 }
    }

    /// Part of the full rate that is used at that moment.
    fn share(&self, now: Steady) -> f64 {
        let recovered = self.cut.as_ref().map_or(1.0, |cut| {
            let base = self.grown_base(cut, now);
            base + (1.0 - base) * part(now - cut.last_refusal, RECOVERY).powi(STEEPNESS)
        });
        let restored = self
            .resumed
            .map_or(1.0, |at| SHARE_AFTER_OUTAGE + (1.0 - SHARE_AFTER_OUTAGE) * part(now - at, RESTORATION));
        recovered.min(restored)
    }

    fn grown_base(&self, cut: &RateCut, now: Steady) -> f64 {
        let periods = (now - cut.last_refusal).as_secs_f64() / self.rate.period().as_secs_f64();
        (cut.base * (1.0 + (1.0 - MARGIN) * periods / GROWTH_PERIODS)).min(1.0)
    }

    /// Share of the full rate that was not refused in the window that ends at that moment.
    fn measured_share(&self, until: Steady) -> f64 {
        self.counts.until(until) / self.counts.at_full_rate
    }
}

fn part(elapsed: Duration, whole: Duration) -> f64 {
    (elapsed.as_secs_f64() / whole.as_secs_f64()).min(1.0)
}

/// Numbers of requests that were sent and not refused, in slices of a window.
#[derive(Clone, Debug)]
struct RequestCounts {
    /// Requests of one window at the full rate.
    at_full_rate: f64,
    slice_microseconds: i64,
    newest: i64,
    kept: [u32; SLICES_KEPT],
}

impl RequestCounts {
    fn new(rate: Rate) -> Self {
        let window = rate.period().max(SHORTEST_WINDOW);
        let microseconds = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        Self {
            at_full_rate: window.as_secs_f64() / rate.interval().as_secs_f64(),
            slice_microseconds: microseconds / SLICES,
            newest: 0,
            kept: [0; SLICES_KEPT],
        }
    }

    fn add(&mut self, sent: Steady) {
        let slice = self.slice(sent);
        for entered in (self.newest + 1..=slice).rev().take(SLICES_KEPT) {
            self.kept[Self::index(entered)] = 0;
        }
        self.newest = self.newest.max(slice);
        self.kept[Self::index(slice)] += 1;
    }

    fn remove(&mut self, sent: Steady) {
        let slice = self.slice(sent);
        if self.oldest() <= slice && slice <= self.newest {
            let count = &mut self.kept[Self::index(slice)];
            *count = count.saturating_sub(1);
        }
    }

    fn until(&self, moment: Steady) -> f64 {
        let last = self.slice(moment);
        let slices = self.oldest().max(last - SLICES + 1)..=self.newest.min(last);
        slices.map(|slice| f64::from(self.kept[Self::index(slice)])).sum()
    }

    fn oldest(&self) -> i64 {
        self.newest - SLICES_KEPT as i64 + 1
    }

    fn slice(&self, moment: Steady) -> i64 {
        moment.0.div_euclid(self.slice_microseconds)
    }

    fn index(slice: i64) -> usize {
        slice.rem_euclid(SLICES_KEPT as i64) as usize
    }
}
