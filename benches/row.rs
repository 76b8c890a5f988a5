//! The rows that a measurement prints, and its effort.

use std::time::Duration;

/// The effort of a measurement.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Rounds in turns; their median counts.
    pub rounds: usize,
    /// The time for which CPU is counted in each round.
    pub window: Duration,
    /// The time for which a paused process runs before.
    pub warm: Duration,
}

impl Effort {
    /// The effort behind the figures in docs/performance.md.
    pub const FULL: Self = Self { rounds: 5, window: Duration::from_secs(3), warm: Duration::from_secs(1) };
    const TINY: Self =
        Self { rounds: 1, window: Duration::from_millis(300), warm: Duration::from_millis(200) };
}

/// One short round: it shows that the measurement runs, and its figure says nothing.
pub fn tiny(measurement: fn(Effort)) {
    measurement(Effort::TINY);
}

/// The middle one.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Prints a figure with its bound.
pub fn row(what: &str, measured: f64, digits: usize, bound: &str) {
    println!("{what:<66}{measured:>8.digits$}   {}", of_release(bound));
}

/// Prints the median of ratios with its bound, and their spread.
pub fn ratios(what: &str, ratios: Vec<f64>, bound: &str) {
    let spread: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    println!("{what:<66}{:>8.2}   {:<8} ({})", median(ratios), of_release(bound), spread.join(" "));
}

/// The bound, if it applies: bounds are those of a release build.
fn of_release(bound: &str) -> &str {
    if cfg!(debug_assertions) { "" } else { bound }
}
