//! The duration of one sweep: one poll of every task of a pace key, and its limit (docs/architecture.md §8).

use std::time::Duration;

use super::policy::Policy;
use crate::units::Rate;

/// One round over all tasks of a pace key at their longest interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The duration by the rate alone: tasks ÷ rate.
    pub at_the_rate: Duration,
    /// The limit of the duration.
    pub bottleneck: Bottleneck,
}

/// The limit of the polling interval of an old task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    /// The rate: more tasks than it can poll within `max_interval`.
    Rate,
    /// `max_interval`: the rate would carry more tasks.
    Interval,
}

impl Sweep {
    /// A sweep over that many tasks.
    pub fn over(tasks: u64, rate: Rate, policy: &Policy) -> Self {
        let at_the_rate = Duration::try_from_secs_f64(rate.interval().as_secs_f64() * tasks as f64)
            .unwrap_or(Duration::MAX);
        let bottleneck =
            if at_the_rate > policy.max_interval.0 { Bottleneck::Rate } else { Bottleneck::Interval };
        Self { at_the_rate, bottleneck }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::coarse;

    #[test]
    fn one_sweep_takes_what_the_design_says() {
        let rates = ["95/1m", "47.5"].map(|rate| rate.parse::<Rate>().unwrap());
        for (tasks, shown) in [
            (95, ["1m", "2s"]),
            (2_850, ["30m", "1m"]),
            (10_000, ["1h 45m", "3m 31s"]),
            (1_000_000, ["7d 7h", "5h 51m"]),
        ] {
            let sweeps = rates
                .map(|rate| coarse(Sweep::over(tasks, rate, &Policy::default()).at_the_rate).to_string());
            assert_eq!(sweeps, shown, "{tasks}");
        }
    }

    #[test]
    fn the_rate_is_the_bottleneck_once_a_sweep_takes_longer_than_the_longest_interval() {
        let bottleneck = |tasks| Sweep::over(tasks, "95/1m".parse().unwrap(), &Policy::default()).bottleneck;
        assert_eq!(
            [1, 95, 96].map(bottleneck),
            [Bottleneck::Interval, Bottleneck::Interval, Bottleneck::Rate]
        );
    }

    #[test]
    fn a_sweep_that_outlasts_all_time_is_one_too() {
        let rate = Rate::new(1e-9, Duration::from_secs(3600)).unwrap();
        assert_eq!(Sweep::over(u64::MAX, rate, &Policy::default()).bottleneck, Bottleneck::Rate);
    }
}
