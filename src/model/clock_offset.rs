//! The offset of the cloud's clock from the local clock, from the `Date` headers of responses.
//!
//! Requests are signed with it only after the server has reported an expired request. Deadlines and elapsed
//! time use it as soon as it is known (docs/architecture.md §4).

use super::waiting::Times;
use crate::clock::{Moment, Steady, Wall};

/// A smaller offset may come from a `Date` of whole seconds and a slow network between clocks that agree.
const AGREE_MILLISECONDS: i64 = 5_000;

/// The offset to one account's cloud.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockOffset {
    /// The cloud's time minus the steady time, in milliseconds: a jump of the local wall clock does not
    /// change it.
    cloud: Option<i64>,
    /// The last logged offset to the local wall clock, in milliseconds.
    reported: i64,
    signs: bool,
}

impl ClockOffset {
    /// Measures the offset by a response that arrived now. Its date lies between the request and now. Returns
    /// the new offset to the local wall clock in milliseconds, if it should be logged.
    pub fn measured(&mut self, date: Wall, sent: Steady, now: Moment) -> Option<i64> {
        let first = now.wall_of(sent).0;
        let last = now.wall.0;
        let measured = date.0.saturating_sub(date.0.clamp(first.min(last), last));
        let offset = if measured.saturating_abs() < AGREE_MILLISECONDS { 0 } else { measured };
        let cloud = now.wall.0.saturating_add(offset).saturating_sub(now.steady.0 / 1000);
        // Each `Date` is inexact by a part of a second: one estimate is kept, so that durations are exact.
        if self.cloud.is_none_or(|before| before.abs_diff(cloud) >= AGREE_MILLISECONDS.unsigned_abs()) {
            self.cloud = Some(cloud);
        }
        let is_new = offset.saturating_sub(self.reported).saturating_abs() >= AGREE_MILLISECONDS;
        self.reported = if is_new { offset } else { self.reported };
        is_new.then_some(offset)
    }

    /// The server reported an expired or repeated request: from now on requests are signed with its clock.
    pub fn refused(&mut self) {
        self.signs = true;
    }

    /// The timestamp of a request that leaves now.
    pub fn stamp(&self, now: Moment) -> Wall {
        self.times(now).cloud.filter(|_| self.signs).unwrap_or(now.wall)
    }

    /// This moment, on the local clocks and on the cloud's.
    pub fn times(&self, local: Moment) -> Times {
        Times { local, cloud: self.cloud.map(|cloud| Wall(cloud.saturating_add(local.steady.0 / 1000))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64) -> Moment {
        Moment { steady: Steady(0), wall: Wall(wall) }
    }

    #[test]
    fn the_offset_signs_only_once_a_request_was_refused_for_its_time() {
        let mut skew = ClockOffset::default();
        assert_eq!(skew.measured(Wall(3_600_000), Steady(0), at(0)), Some(3_600_000));
        let later = Moment { steady: Steady(1_000_000), wall: Wall(1_000) };
        assert_eq!(skew.stamp(later), Wall(1_000));
        skew.refused();
        assert_eq!(skew.stamp(later), Wall(3_601_000));
    }

    #[test]
    fn clocks_that_agree_within_five_seconds_have_no_offset_and_a_change_is_reported_once() {
        let mut skew = ClockOffset::default();
        assert_eq!(skew.measured(Wall(4_999), Steady(0), at(0)), None);
        assert_eq!(skew.times(at(0)).cloud, Some(Wall(0)));
        assert_eq!(skew.measured(Wall(-9_000), Steady(0), at(0)), Some(-9_000));
        assert_eq!(skew.measured(Wall(-9_400), Steady(0), at(0)), None);
        assert_eq!(skew.measured(Wall(100), Steady(0), at(0)), Some(0));
    }

    #[test]
    fn a_slow_response_is_no_offset() {
        let mut skew = ClockOffset::default();
        let now = Moment { steady: Steady(9_000_000), wall: Wall(9_000) };
        assert_eq!(skew.measured(Wall(1_000), Steady(0), now), None);
        assert_eq!(skew.measured(Wall(-6_000), Steady(0), now), Some(-6_000));
    }

    #[test]
    fn a_local_clock_that_jumps_moves_no_time_of_the_cloud() {
        let mut skew = ClockOffset::default();
        skew.measured(Wall(10_000), Steady(0), at(10_000));
        let jumped = Moment { steady: Steady(60_000_000), wall: Wall(999_999_999) };
        assert_eq!(skew.times(jumped).cloud, Some(Wall(70_000)));
    }
}
