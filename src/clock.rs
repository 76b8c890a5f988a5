//! The only owner of time and randomness.
//!
//! All other code gets moments and random numbers as arguments, so that a test can replay any history. Two
//! times exist: [`Steady`], which never jumps and which all waits use, and [`Wall`], which people read and
//! which an operator or NTP may set. They are never compared with each other.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment on the steady clock: microseconds since the process started; negative for what happened before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Steady(pub i64);

/// A moment on a wall clock, the local one or the cloud's: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Wall(pub i64);

/// One moment on both local clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Moment {
    /// By which the program waits.
    pub steady: Steady,
    /// The local wall clock.
    pub wall: Wall,
}

/// Time and randomness of one process.
///
/// Steady time is tokio's: a test may pause it, and then the loops run in virtual time. Such a test has its
/// own wall clock and randomness (`Virtual`).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    #[cfg(test)]
    of_test: Option<&'static Virtual>,
}

/// The wall clock and the randomness of a test in virtual time.
#[cfg(test)]
#[derive(Debug)]
pub struct Virtual {
    epoch: Instant,
    wall_at_epoch: std::sync::atomic::AtomicI64,
    random: std::sync::Mutex<rand::rngs::StdRng>,
}

impl Clock {
    /// A clock whose steady time starts now.
    #[expect(clippy::disallowed_methods, reason = "the owner of time")]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
            #[cfg(test)]
            of_test: None,
        }
    }

    /// Now, on both clocks.
    #[expect(clippy::disallowed_methods, reason = "the owner of time")]
    pub fn now(&self) -> Moment {
        let steady = Steady(as_i64(self.origin.elapsed().as_micros()));
        #[cfg(test)]
        if let Some(of_test) = self.of_test {
            return Moment { steady, wall: of_test.wall() };
        }
        Moment { steady, wall: SystemTime::now().into() }
    }

    /// Sleeps until the steady moment has come.
    pub async fn sleep_until(&self, moment: Steady) {
        tokio::time::sleep_until(self.origin + (moment - Steady(0))).await;
    }

    /// A spread in `0.0..1.0`, for jitter.
    #[expect(clippy::disallowed_methods, reason = "the owner of randomness")]
    pub fn spread(&self) -> f64 {
        #[cfg(test)]
        if let Some(of_test) = self.of_test {
            return rand::RngExt::random(&mut *of_test.random.lock().unwrap());
        }
        rand::random::<f64>()
    }

    /// A nonce in `1..2^63`, the range of the old SDK (docs/tencent-cloud-api.md §1).
    #[expect(clippy::disallowed_methods, reason = "the owner of randomness")]
    pub fn nonce(&self) -> u64 {
        (rand::random::<u64>() >> 1).max(1)
    }
}

#[cfg(test)]
impl Virtual {
    /// A wall clock that shows `wall` now, and the randomness of `seed`. It is never freed: a [`Clock`] is
    /// copied everywhere.
    #[expect(clippy::disallowed_methods, reason = "the owner of time")]
    pub fn new(wall: Wall, seed: u64) -> &'static Self {
        let random = std::sync::Mutex::new(rand::SeedableRng::seed_from_u64(seed));
        Box::leak(Box::new(Self { epoch: Instant::now(), wall_at_epoch: wall.0.into(), random }))
    }

    /// The clock of a process that starts now.
    pub fn clock(&'static self) -> Clock {
        Clock { of_test: Some(self), ..Clock::start() }
    }

    /// The time since this clock was made.
    pub fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Sets the local wall clock forward or back by that many milliseconds.
    pub fn set_wall_back_or_ahead(&self, milliseconds: i64) {
        self.wall_at_epoch.fetch_add(milliseconds, std::sync::atomic::Ordering::Relaxed);
    }

    fn wall(&self) -> Wall {
        Wall(self.wall_at_epoch.load(std::sync::atomic::Ordering::Relaxed)) + self.elapsed()
    }
}

impl Moment {
    /// The steady moment of a stored wall time in the past: never later than now, so that a wall clock that
    /// was set back does not move the past into the future.
    pub fn past(&self, wall: Wall) -> Steady {
        Steady(self.steady.0 - as_i64((self.wall - wall).as_micros()))
    }

    /// The steady moment of a stored due time: at most `longest` ahead, so that a wall clock that was set
    /// back does not postpone it for years.
    pub fn due(&self, wall: Wall, longest: Duration) -> Steady {
        self.steady + (wall - self.wall).min(longest)
    }

    /// The wall time of a steady moment, by the present local wall clock.
    pub fn wall_of(&self, steady: Steady) -> Wall {
        Wall(self.wall.0.saturating_add(steady.0.saturating_sub(self.steady.0) / 1000))
    }
}

impl Wall {
    /// The end of the year 9999, the last one of RFC 3339.
    const LAST: i64 = 253_402_300_799_999;
}

impl fmt::Display for Wall {
    /// RFC 3339 in UTC with milliseconds: `2026-11-24T10:00:00.000Z`; times before 1970 are written as 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(self.0.clamp(0, Self::LAST).unsigned_abs());
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).fmt(f)
    }
}

impl From<SystemTime> for Wall {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(as_i64(since.as_millis())),
            Err(before) => Self(-as_i64(before.duration().as_millis())),
        }
    }
}

impl From<Wall> for SystemTime {
    /// Times before 1970 become 1970.
    fn from(wall: Wall) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(wall.0.max(0).unsigned_abs())
    }
}

impl Add<Duration> for Steady {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(as_i64(span.as_micros())))
    }
}

/// The time from the right one to the left one; zero where it would be negative.
impl Sub for Steady {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

impl Add<Duration> for Wall {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(as_i64(span.as_millis())))
    }
}

impl Sub<Duration> for Wall {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(as_i64(span.as_millis())))
    }
}

/// The time from the right one to the left one; zero where it would be negative.
impl Sub for Wall {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

fn as_i64(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_is_written_as_rfc_3339_with_milliseconds() {
        assert_eq!(Wall(1_764_000_000_123).to_string(), "2025-11-24T16:00:00.123Z");
        assert_eq!(Wall(-5).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Wall(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_wall_clock_set_back_neither_makes_the_past_late_nor_the_next_poll_far() {
        let now = Moment { steady: Steady(1_000_000), wall: Wall(5_000) };
        assert_eq!(now.past(Wall(9_000_000)), now.steady);
        assert_eq!(now.due(Wall(9_000_000), Duration::from_secs(60)), now.steady + Duration::from_secs(60));
    }
}
