//! Durations, limits and rates as text, parsed once into strict types.
//!
//! Durations are humantime (`"90s"`, `"1h 30m"`). A bare number has no unit and is refused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time: `"90s"`, `"1h 30m"`, `"500ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A span, or no limit at all: `"24h"`, `"never"`, `"forever"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit(pub Option<Duration>);

/// Calls in a period: `20` and `0.5` (a second), `"100/1m"`. More than 0, at most a million a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    calls: f64,
    per: Duration,
}

/// A number of bytes: `"256KiB"`, `"1MiB"`, `512`. At most 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub usize);

const SPAN_FORM: &str = "a duration with its unit, such as \"90s\" or \"1h 30m\"";
const LIMIT_FORM: &str = "a duration with its unit, such as \"24h\", or \"never\"";
const RATE_FORM: &str =
    "a rate: requests a second above 0, such as 20, or requests in a time, such as \"100/1m\"";
const BYTE_SIZE_FORM: &str = "a size from 1 byte to 1GiB, such as \"256KiB\"";
/// 100 years. Sums of durations stay far from overflow, and no wait is longer.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// No account allows more, and the pace is kept in microseconds.
const FASTEST: f64 = 1e6;

impl Span {
    /// A span of whole seconds, for defaults.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

/// A duration for a log line: to the millisecond below a second, else to the second.
pub fn rounded(time: Duration) -> Span {
    let to_the_millisecond = time.saturating_add(Duration::from_micros(500));
    if to_the_millisecond < Duration::from_secs(1) {
        return Span(Duration::from_millis(u64::from(to_the_millisecond.subsec_millis())));
    }
    Span::seconds(time.saturating_add(Duration::from_millis(500)).as_secs())
}

/// A long duration for people: its two largest units.
pub fn coarse(time: Duration) -> Span {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let Span(time) = rounded(time.min(LONGEST));
    let unit = match time.as_secs() {
        ..HOUR => return Span(time),
        HOUR..DAY => MINUTE,
        DAY.. => HOUR,
    };
    Span::seconds((time.as_secs() + unit / 2) / unit * unit)
}

/// A number as a person reads it: `10,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

impl Rate {
    /// The rate of a configuration without a polled operation.
    pub const ONE_A_SECOND: Self = Self { calls: 1.0, per: Duration::from_secs(1) };

    /// `calls` in each `per`; `None` unless both are above zero and the rate is at most a million a second.
    pub fn new(calls: f64, per: Duration) -> Option<Self> {
        let sane = calls.is_finite() && calls > 0.0 && !per.is_zero() && per <= LONGEST;
        (sane && calls / per.as_secs_f64() <= FASTEST).then_some(Self { calls, per })
    }

    /// The time between two calls at an even pace.
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64((self.per.as_secs_f64() / self.calls).min(LONGEST.as_secs_f64()))
    }

    /// The period for which calls are counted.
    pub fn period(&self) -> Duration {
        self.per
    }

    /// The same rate, multiplied by `factor`.
    pub fn times(&self, factor: f64) -> Self {
        Self { calls: self.calls * factor, per: self.per }
    }
}

impl FromStr for Span {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match humantime::parse_duration(text) {
            Ok(span) if span <= LONGEST => Ok(Self(span)),
            Ok(_) => Err("a duration of at most 100 years"),
            Err(_) => Err(SPAN_FORM),
        }
    }
}

impl FromStr for Limit {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" | "forever" => Ok(Self(None)),
            span => span.parse().map(|Span(span)| Self(Some(span))).map_err(|_| LIMIT_FORM),
        }
    }
}

impl FromStr for Rate {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (calls, per) = text.split_once('/').unwrap_or((text, "1s"));
        let calls = calls.trim().parse().map_err(|_| RATE_FORM)?;
        let Span(per) = per.trim().parse().map_err(|_| RATE_FORM)?;
        Self::new(calls, per).ok_or(RATE_FORM)
    }
}

impl FromStr for ByteSize {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const LARGEST: usize = 1 << 30;
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1)];
        let in_unit = |(unit, bytes): (&str, usize)| {
            let number: usize = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(bytes).filter(|bytes| (1..=LARGEST).contains(bytes))
        };
        units.into_iter().find_map(in_unit).map(Self).ok_or(BYTE_SIZE_FORM)
    }
}

impl fmt::Display for Span {
    /// `500ms`, `1h 30m`, `24h`, `30d`: days from 48h on, and no longer unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 3600;
        let seconds = self.0.as_secs();
        let days = if seconds < 2 * DAY { 0 } else { seconds / DAY };
        let rest =
            Duration::from_secs(seconds - days * DAY) + Duration::from_nanos(self.0.subsec_nanos().into());
        let hours = rest.as_secs() / 3600;
        let below =
            Duration::from_secs(rest.as_secs() % 3600) + Duration::from_nanos(rest.subsec_nanos().into());
        let mut parts = Vec::new();
        parts.extend((days > 0).then(|| format!("{days}d")));
        parts.extend((hours > 0).then(|| format!("{hours}h")));
        if !below.is_zero() || parts.is_empty() {
            parts.push(humantime::format_duration(below).to_string());
        }
        f.write_str(&parts.join(" "))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => Span(span).fmt(f),
            None => f.write_str("never"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = match self.0 {
            bytes if bytes % (1 << 20) == 0 => ("MiB", bytes >> 20),
            bytes if bytes % (1 << 10) == 0 => ("KiB", bytes >> 10),
            bytes => ("B", bytes),
        };
        write!(f, "{bytes}{unit}")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.calls, Span(self.per))
    }
}

/// Reads one of the types above from a string, or from a number where the type has a meaning for it.
struct UnitVisitor<T>(&'static str, fn(f64) -> Option<T>);

impl<T: FromStr<Err = &'static str>> de::Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|expected| E::invalid_value(de::Unexpected::Str(text), &expected))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        (self.1)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.1)(number as f64).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        (self.1)(number as f64).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
}

/// Serde by the text form. Each type defines the meaning of a bare number in one line.
macro_rules! as_written {
    ($type:ty, $form:expr, $number:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(UnitVisitor($form, $number))
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
as_written!(Span, SPAN_FORM, |_| None);
as_written!(Limit, LIMIT_FORM, |_| None);
as_written!(ByteSize, BYTE_SIZE_FORM, |bytes| bytes.to_string().parse().ok());
as_written!(Rate, RATE_FORM, |calls| Rate::new(calls, Duration::from_secs(1)));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_shows_a_time_to_the_millisecond_below_a_second_else_to_the_second() {
        let shown = [0, 441_286, 999_400, 999_600, 1_499_999, 90_700_000]
            .map(|micros| rounded(Duration::from_micros(micros)).to_string());
        assert_eq!(shown, ["0s", "441ms", "999ms", "1s", "1s", "1m 31s"]);
    }

    #[test]
    fn a_long_time_is_said_in_its_two_largest_units() {
        let shown =
            [0, 211, 6_316, 86_399, 631_579].map(|seconds| coarse(Duration::from_secs(seconds)).to_string());
        assert_eq!(shown, ["0s", "3m 31s", "1h 45m", "24h", "7d 7h"]);
        assert_eq!(coarse(Duration::MAX), coarse(LONGEST));
    }

    #[test]
    fn a_large_number_is_read_in_groups_of_three() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 1_000_000].map(grouped),
            ["0", "999", "1,000", "12,345", "1,000,000"]
        );
    }

    #[test]
    fn spans_limits_and_rates_are_read_as_written_and_written_as_read() {
        assert_eq!("1h 30m".parse::<Span>().unwrap(), Span::seconds(5400));
        assert_eq!("never".parse::<Limit>().unwrap(), Limit(None));
        assert_eq!("100/1m".parse::<Rate>().unwrap().interval(), Duration::from_millis(600));
        assert_eq!(serde_json::from_str::<Rate>("20").unwrap().interval(), Duration::from_millis(50));
        assert_eq!(serde_json::to_string(&Span::seconds(90)).unwrap(), "\"1m 30s\"");
        for (written, bytes, shown) in
            [("\"256KiB\"", 262_144, "256KiB"), ("\"1 MiB\"", 1 << 20, "1MiB"), ("1000", 1000, "1000B")]
        {
            let size: ByteSize = serde_json::from_str(written).unwrap();
            assert_eq!((size, size.to_string().as_str()), (ByteSize(bytes), shown));
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_the_right_form() {
        for wrong in ["90", "\"90\"", "\"\"", "\"-1s\"", "\"200years\"", "true"] {
            assert!(serde_json::from_str::<Span>(wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["0", "-1", "1.5", "\"\"", "\"256kb\"", "\"KiB\"", "\"-1KiB\"", "\"2GiB\"", "\"99999999999GiB\""]
        {
            assert!(serde_json::from_str::<ByteSize>(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "-1", "\"0/1s\"", "\"1/0s\"", "\"1/x\"", "\"NaN\"", "1e9", "\"inf\""] {
            let error = serde_json::from_str::<Rate>(wrong).expect_err(wrong).to_string();
            assert!(error.contains("100/1m"), "{error}");
        }
    }
}
