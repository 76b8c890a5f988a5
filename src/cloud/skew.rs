//! How far the cloud's clock is from the local one: from the `Date` of its answers.
//!
//! Signing uses it only once the server says that a request expired; deadlines and elapsed time use it as soon as it is known
//! (design.md §4).

use crate::clock::{Moment, Wall};
use crate::model::waiting::Times;

/// An offset under this is what a `Date` of whole seconds and a slow network make of two clocks that agree.
const AGREE_MILLISECONDS: i64 = 5_000;

/// The offset to one account's cloud.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skew {
    /// Cloud minus local, in milliseconds; under five seconds it is 0.
    offset: Option<i64>,
    signs: bool,
}

impl Skew {
    /// Learns from an answer that came now. The new offset in milliseconds, where it is worth telling.
    pub fn measured(&mut self, date: Wall, now: Wall) -> Option<i64> {
        let measured = date.0.saturating_sub(now.0);
        let offset = if measured.saturating_abs() < AGREE_MILLISECONDS { 0 } else { measured };
        let before = self.offset.replace(offset).unwrap_or_default();
        (offset.saturating_sub(before).saturating_abs() >= AGREE_MILLISECONDS).then_some(offset)
    }

    /// The server says that a request expired, or was seen before: from now on its clock signs.
    pub fn refused(&mut self) {
        self.signs = true;
    }

    /// What a request that leaves now is stamped with.
    pub fn stamp(&self, now: Wall) -> Wall {
        let offset = self.offset.filter(|_| self.signs).unwrap_or_default();
        Wall(now.0.saturating_add(offset))
    }

    /// This moment, on the local clocks and on the cloud's.
    pub fn times(&self, local: Moment) -> Times {
        Times { local, cloud: self.offset.map(|offset| Wall(local.wall.0.saturating_add(offset))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_signs_only_once_a_request_was_refused_for_its_time() {
        let mut skew = Skew::default();
        assert_eq!(skew.measured(Wall(3_600_000), Wall(0)), Some(3_600_000));
        assert_eq!(skew.stamp(Wall(1_000)), Wall(1_000));
        skew.refused();
        assert_eq!(skew.stamp(Wall(1_000)), Wall(3_601_000));
    }

    #[test]
    fn clocks_that_agree_within_five_seconds_have_no_offset_and_a_change_is_told_once() {
        let mut skew = Skew::default();
        assert_eq!(skew.measured(Wall(4_999), Wall(0)), None);
        assert_eq!(skew.times(Moment::default()).cloud, Some(Wall(0)));
        assert_eq!(skew.measured(Wall(-9_000), Wall(0)), Some(-9_000));
        assert_eq!(skew.measured(Wall(-9_400), Wall(0)), None);
        assert_eq!(skew.measured(Wall(100), Wall(0)), Some(0));
    }
}
