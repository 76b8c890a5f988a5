//! Waits between two polls: after a response, and after a fault.

use std::time::Duration;

use super::policy::Policy;

/// The wait after a response without a change, by the age of the task: the exponential series `initial ×
/// multiplierⁿ` as a function of age. No counter is stored, and a restart continues the series
/// (docs/architecture.md §4).
///
/// `spread` is drawn from `0.0..1.0` and moves the wait by up to ±`jitter` of itself, after the cap.
pub fn interval(policy: &Policy, age: Duration, spread: f64) -> Duration {
    let grown = policy.initial_interval.0.as_secs_f64() + (policy.multiplier - 1.0) * age.as_secs_f64();
    let capped = grown.min(policy.max_interval.0.as_secs_f64());
    Duration::from_secs_f64(capped * (1.0 + policy.jitter * (2.0 * spread - 1.0)))
}

/// The wait after the `streak`th failure in a row (from 1), with full jitter: evenly from zero to a bound
/// that doubles from `first` to `longest`.
pub fn after_failure(first: Duration, longest: Duration, streak: u32, spread: f64) -> Duration {
    /// Even an interval of 1 µs exceeds every longest interval after this number of doublings.
    const DOUBLINGS: u32 = 52;
    let doubled = first.as_secs_f64() * 2f64.powi(streak.saturating_sub(1).min(DOUBLINGS).cast_signed());
    Duration::from_secs_f64(doubled.min(longest.as_secs_f64()) * spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_exponential_series_as_a_function_of_age() {
        let policy = Policy::default();
        let mut age = 0.0;
        for wait in [2.0, 3.2, 5.12, 8.192, 13.1072, 20.97152, 33.554432, 53.6870912, 60.0, 60.0] {
            let next = interval(&policy, Duration::from_secs_f64(age), 0.5).as_secs_f64();
            assert!((next - wait).abs() < 1e-6, "{next} instead of {wait} at age {age}");
            age += next;
        }
    }

    #[test]
    fn the_spread_is_taken_after_the_cap() {
        let policy = Policy::default();
        assert_eq!(interval(&policy, Duration::from_secs(3600), 0.0), Duration::from_secs(48));
        assert_eq!(interval(&policy, Duration::from_secs(3600), 1.0), Duration::from_secs(72));
    }

    #[test]
    fn failures_wait_up_to_a_bound_that_doubles_to_the_longest() {
        let wait = |streak, spread| {
            after_failure(Duration::from_secs(10), Duration::from_secs(300), streak, spread).as_secs()
        };
        assert_eq!(
            [wait(1, 1.0), wait(2, 1.0), wait(5, 1.0), wait(6, 1.0), wait(u32::MAX, 1.0)],
            [10, 20, 160, 300, 300]
        );
        assert_eq!(wait(6, 0.5), 150);
    }
}
