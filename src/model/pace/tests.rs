mod simulation;

use super::*;
use simulation::{PaceHistory, Windows};

const SECOND: i64 = 1_000_000;
const BOTH: [Windows; 2] = [Windows::Sliding, Windows::Fixed];
const LATENCIES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_millis(2_000)];

fn rate(requests: f64, seconds: u64) -> Rate {
    Rate::new(requests, Duration::from_secs(seconds)).unwrap()
}

fn at(seconds: f64) -> Steady {
    Steady((seconds * 1e6).round() as i64)
}

/// Part of the full rate that is allowed.
fn share(pace: &Pace, full: Rate, now: Steady) -> f64 {
    full.interval().as_secs_f64() / pace.spacing(now).as_secs_f64()
}

/// A pace of 100 requests a minute that sent one every `seconds` for 2 min, and its full rate.
fn used(seconds: f64) -> (Pace, Rate) {
    let full = rate(100.0, 60);
    let mut pace = Pace::new(full, Steady(0));
    let mut slot = seconds;
    while slot <= 120.0 {
        assert!(pace.take(at(slot)));
        slot += seconds;
    }
    (pace, full)
}

/// Checks a row of the table for both kinds of windows and each latency: the part of the quota in use is at
/// least 80 %, and the part of refused requests is at most `refused`.
fn check(
    rate: Rate,
    quota: fn(i64) -> usize,
    programs: usize,
    seconds: std::ops::Range<i64>,
    most_refused: f64,
) {
    for windows in BOTH {
        for latency in LATENCIES {
            let history = PaceHistory { rate, programs, windows, quota, latency };
            let (used, refused) = history.steady_state(seconds.clone());
            assert!(
                used >= 0.8 && refused <= most_refused,
                "used {used:.3}, refused {refused:.3}: {history:?}"
            );
        }
    }
}

const HOURS: std::ops::Range<i64> = 600..4 * 3_600;
const MINUTES: std::ops::Range<i64> = 300..900;

#[test]
fn a_quota_below_95_a_minute_is_used_with_few_refusals() {
    for quota in [|_| 85, |_| 75, |_| 63, |_| 47, |_| 31_usize] {
        check(rate(95.0, 60), quota, 1, HOURS, 0.05);
    }
}

/// Nine requests a minute are 18 in a recovery, and the least possible is one refusal in a recovery: 5.3 %.
/// At a latency of 2 s, 3 more are in flight at the full rate.
#[test]
fn a_tenth_of_95_a_minute_has_at_most_3_refusals_in_a_recovery() {
    check(rate(95.0, 60), |_| 9, 1, HOURS, 3.0 / (18.0 + 3.0));
}

#[test]
fn a_quota_below_47_5_a_second_is_used_with_few_refusals() {
    for quota in [|_| 42, |_| 31, |_| 23, |_| 15, |_| 4_usize] {
        check(rate(47.5, 1), quota, 1, MINUTES, 0.05);
    }
}

#[test]
fn a_quota_below_20_a_second_is_used_with_few_refusals() {
    for quota in [|_| 18, |_| 13, |_| 10, |_| 6, |_| 2_usize] {
        check(rate(20.0, 1), quota, 1, MINUTES, 0.05);
    }
}

#[test]
fn two_programs_share_a_quota() {
    check(rate(95.0, 60), |_| 100, 2, HOURS, 0.05);
    check(rate(95.0, 60), |_| 60, 2, HOURS, 0.05);
    check(rate(47.5, 1), |_| 50, 2, MINUTES, 0.05);
    check(rate(47.5, 1), |_| 15, 2, MINUTES, 0.05);
    check(rate(20.0, 1), |_| 20, 2, MINUTES, 0.05);
    check(rate(20.0, 1), |_| 6, 2, MINUTES, 0.05);
    check(rate(20.0, 1), |_| 2, 2, MINUTES, 0.05);
}

#[test]
fn a_quota_that_comes_back_is_used_again() {
    for windows in BOTH {
        for latency in LATENCIES {
            let quota = |second| if second < 1_800 { 31 } else { 100 };
            let history = PaceHistory { rate: rate(95.0, 60), programs: 1, windows, quota, latency };
            let counted = history.run(1_800 + 121..3_600);
            assert!(counted.refused == 0 && counted.accepted >= 2_655, "{counted:?}: {history:?}");
            let quota = |second| if second < 1_800 { 9 } else { 47 };
            let (used, refused) = PaceHistory { quota, ..history }.steady_state(2_100..7_200);
            assert!(used >= 0.8 && refused <= 0.05, "used {used:.3}, refused {refused:.3}: {history:?}");
        }
    }
}

/// Issue 13 C1: six refusals of 60 tasks at 20 a second left the rate at 1/64, and none finished in 90 s.
#[test]
fn a_burst_of_refusals_at_the_start_cuts_the_rate_once() {
    for latency in LATENCIES {
        let full = rate(20.0, 1);
        let mut pace = Pace::new(full, Steady(0));
        let mut sent = [Steady(0); 6];
        for sent in &mut sent {
            *sent = pace.next();
            assert!(pace.take(*sent));
        }
        sent.iter().for_each(|sent| pace.throttled(*sent, *sent + latency));
        let now = sent[5] + latency;
        assert!(share(&pace, full, now) >= 0.5, "{latency:?}");
        let mut last = now;
        for _ in 0..60 {
            last = pace.next();
            assert!(pace.take(last));
        }
        assert!(last <= now + Duration::from_secs(8), "{last:?} {latency:?}");
    }
}

#[test]
fn a_quota_of_nothing_for_a_while_leaves_a_rate_that_recovers() {
    for (full, least) in [(rate(95.0, 60), 92), (rate(47.5, 1), 2_780), (rate(20.0, 1), 1_190)] {
        for windows in BOTH {
            let quota = |second| if second < 3_600 { 0 } else { 1_000_000 };
            let history = PaceHistory { rate: full, programs: 1, windows, quota, latency: LATENCIES[1] };
            let outage = history.run(1_800..3_600);
            assert!((30..1_900).contains(&outage.refused), "{outage:?}");
            let after = history.run(3_600 + 121..3_600 + 181);
            assert!(after.refused == 0 && after.accepted >= least, "{after:?}");
        }
    }
}

#[test]
fn a_cut_sets_the_rate_just_under_the_measured_quota_but_at_least_to_half() {
    for (seconds, wanted) in [(0.6, 0.95), (0.8, 0.7125), (1.1, 0.518), (3.0, 0.5), (120.0, 0.5)] {
        let (mut pace, full) = used(seconds);
        assert!(!pace.is_throttled(at(120.5)));
        pace.throttled(at(120.0), at(120.5));
        let cut = share(&pace, full, at(120.5));
        assert!((wanted - 0.04..wanted + 0.001).contains(&cut), "{cut}, not {wanted}");
        assert!(pace.is_throttled(at(120.5)));
    }
}

#[test]
fn refusals_of_earlier_requests_change_nothing() {
    let (mut pace, full) = used(0.6);
    pace.throttled(at(119.0), at(120.5));
    let cut = share(&pace, full, at(121.0));
    let next = pace.next();
    for sent in [119.4, 119.8, 120.0, 120.499_999] {
        pace.throttled(at(sent), at(121.0));
    }
    assert_eq!((share(&pace, full, at(121.0)), pace.next()), (cut, next));
    pace.throttled(at(120.5), at(121.0));
    assert!(pace.next() > next, "a later request, which left as the refusal arrived");
    assert!(pace.is_throttled(at(240.999)) && !pace.is_throttled(at(241.0)));
}

#[test]
fn a_second_cut_needs_a_request_that_left_one_period_after_the_first() {
    let (mut pace, full) = used(3.0);
    pace.throttled(at(120.0), at(120.0));
    pace.throttled(at(179.999), at(179.999));
    assert!((share(&pace, full, at(179.999)) - 0.5).abs() < 1e-6, "the period is not over");
    pace.throttled(at(180.0), at(180.0));
    assert!((share(&pace, full, at(180.0)) - 0.25).abs() < 1e-6, "half again");
    pace.throttled(at(239.999), at(239.999));
    assert!((share(&pace, full, at(239.999)) - 0.25).abs() < 1e-6, "once in each period");
}

/// One interval at half of the rate is 1.2 s.
#[test]
fn each_further_refusal_doubles_a_pause_until_the_window_ends() {
    let (mut pace, _) = used(3.0);
    let mut now = at(120.0);
    let pauses: Vec<_> = (0..6)
        .map(|_| {
            pace.throttled(now, now);
            let pause = pace.next() - now;
            now = pace.next();
            pause.as_secs_f64()
        })
        .collect();
    // 2.4 + 4.8 + 9.6 + 19.2 = 36 s after the cut; the window ends 24 s later. Then the second cut, to a
    // quarter: twice 2.4 s.
    for (pause, wanted) in pauses.iter().zip([2.4, 4.8, 9.6, 19.2, 24.0, 4.8]) {
        assert!((pause - wanted).abs() < 0.01, "{pauses:?}");
    }
    let (mut pace, _) = used(3.0);
    pace.throttled(at(118.0), at(120.0));
    assert_eq!(pace.next(), at(124.4), "2 intervals and the 2 s of the refused request");
}

#[test]
fn a_pause_is_at_least_one_interval_and_at_most_the_time_of_the_recovery() {
    let mut pace = Pace::new(rate(1.0, 60), Steady(0));
    pace.throttled(at(0.0), at(1.0));
    assert_eq!(pace.next(), at(121.0), "two intervals of 2 min would be 4 min");
    let mut pace = Pace::new(rate(100.0, 3_600), Steady(0));
    (0..40).for_each(|refusal| pace.throttled(at(f64::from(refusal)), at(f64::from(refusal))));
    assert_eq!(pace.next(), at(39.0 + 120.0));
    let mut pace = Pace::new(Rate::new(1.0, Duration::from_millis(200)).unwrap(), Steady(0));
    pace.throttled(at(0.1), at(0.1));
    assert_eq!(pace.next(), at(0.5), "one interval at half of the rate, though the window has ended");
}

#[test]
fn the_rate_is_full_2_min_after_the_last_refusal_and_rises_mostly_at_the_end() {
    let (mut pace, full) = used(3.0);
    pace.throttled(at(120.0), at(120.0));
    let mut before = 0.0;
    for (after, least, most) in
        [(0.0, 0.4999, 0.5001), (60.0, 0.5, 0.51), (96.0, 0.5, 0.52), (116.4, 0.70, 0.78), (120.0, 1.0, 1.0)]
    {
        let now = share(&pace, full, at(120.0 + after));
        assert!((least..=most).contains(&now) && now > before, "{now} after {after} s");
        before = now;
    }
    assert_eq!(share(&pace, full, at(100_000.0)), 1.0);
}

#[test]
fn a_slot_far_ahead_does_not_delay_the_full_rate() {
    let full = rate(1.0, 10);
    let mut pace = Pace::new(full, Steady(0));
    for now in [10.0, 80.0, 150.0] {
        pace.throttled(at(now), at(now));
    }
    assert_eq!(pace.next(), at(230.0), "one interval at an eighth of the rate");
    assert!(pace.take(at(230.0)));
    assert_eq!(pace.next(), at(270.0), "the full rate after 2 min, not 80 s later");
    let mut pace = Pace::new(rate(1.0, 120), Steady(0));
    pace.resumed(at(120.0));
    assert!(pace.take(at(120.0)));
    assert_eq!(pace.next(), at(240.0), "the rate is full before the interval is over");
}

#[test]
fn a_refusal_after_a_whole_period_at_the_full_rate_forgets_the_base_before() {
    for (sent, wanted) in [(299.9, 0.25), (300.0, 0.5)] {
        let (mut pace, full) = used(3.0);
        pace.throttled(at(120.0), at(120.0));
        pace.throttled(at(sent), at(sent));
        let base = share(&pace, full, at(sent));
        assert!((base - wanted).abs() < 0.02, "{base}, not {wanted}");
    }
}

#[test]
fn the_rate_is_restored_gradually_after_an_outage() {
    let full = rate(20.0, 1);
    let mut pace = Pace::new(full, Steady(0));
    pace.resumed(at(600.0));
    let shares = [600.0, 620.0, 640.0, 660.0, 700.0].map(|now| share(&pace, full, at(now)));
    for (share, wanted) in shares.iter().zip([0.25, 0.5, 0.75, 1.0, 1.0]) {
        assert!((share - wanted).abs() < 1e-3, "{shares:?}");
    }
    assert!(!pace.is_throttled(at(600.0)), "no refusal");
    let mut sent = 0;
    while pace.next() < at(660.0) {
        sent += usize::from(pace.take(pace.next().max(at(600.0))));
    }
    assert!((740..=760).contains(&sent), "{sent} of 1,200 in the first minute");
    pace.throttled(at(660.0), at(660.0));
    pace.resumed(at(661.0));
    assert!((share(&pace, full, at(661.0)) - 0.25).abs() < 1e-3, "the lower share applies");
    assert!(pace.is_throttled(at(721.0)), "the refusal counts for 2 min");
}

#[test]
fn the_first_slot_is_a_whole_interval_after_the_start() {
    let mut pace = Pace::new(rate(20.0, 1), Steady(0));
    assert!(!pace.take(Steady(49_999)));
    assert!(pace.take(Steady(50_000)));
}

#[test]
fn slots_are_never_closer_than_the_interval_less_a_tick_and_idle_time_earns_no_burst() {
    let mut pace = Pace::new(rate(20.0, 1), Steady(0));
    let mut last = None;
    for now in (0..10 * SECOND).step_by(700).filter(|now| !(2 * SECOND..5 * SECOND).contains(now)) {
        if pace.take(Steady(now))
            && let Some(last) = last.replace(now)
        {
            assert!(now - last >= 45_000, "{} µs apart", now - last);
        }
    }
}

#[test]
fn a_late_timer_costs_no_rate() {
    let mut pace = Pace::new(rate(100.0, 1), Steady(0));
    let requests = (0..10 * SECOND).step_by(1_000).filter(|now| pace.take(Steady(now + 300))).count();
    assert_eq!(requests, 999);
}

#[test]
fn an_idle_time_is_part_of_the_recovery() {
    let (mut pace, full) = used(3.0);
    pace.throttled(at(120.0), at(120.0));
    assert!(pace.take(at(240.0)));
    assert_eq!(pace.next(), at(240.0 - 0.005) + full.interval());
}

#[test]
fn retry_after_blocks_for_at_most_an_hour_and_never_shortens_a_wait() {
    let wait = Duration::from_secs(90_000);
    for mut pace in [Pace::new(rate(10.0, 1), Steady(0)), Pace::unlimited()] {
        pace.retry_after(wait, Steady(0));
        assert_eq!(pace.next(), at(3_600.0));
        pace.retry_after(Duration::from_secs(1), Steady(0));
        assert_eq!(pace.next(), at(3_600.0));
        assert!(!pace.take(at(3_599.9)) && !pace.is_throttled(at(10.0)));
        assert!(pace.take(at(3_600.0)));
    }
}

#[test]
fn a_pace_without_a_rate_is_blocked_by_retry_after_alone() {
    let mut pace = Pace::unlimited();
    pace.throttled(Steady(0), Steady(0));
    pace.resumed(Steady(0));
    assert!((0..100).all(|_| pace.take(Steady(0))));
    assert_eq!((pace.spacing(Steady(0)), pace.is_throttled(Steady(0))), (Duration::ZERO, false));
    assert_eq!((pace.allowed_rate(Steady(0)), pace.used_rate(Steady(0))), (None, None));
    pace.lower(rate(10.0, 1));
    assert!(pace.take(Steady(0)) && !pace.take(Steady(0)), "a rate from now on");
}

#[test]
fn the_lower_of_two_rates_applies_with_its_period() {
    let mut pace = Pace::new(rate(20.0, 1), Steady(0));
    pace.lower(rate(100.0, 60));
    pace.lower(rate(20.0, 1));
    assert_eq!(pace.spacing(Steady(0)), Duration::from_millis(600));
    pace.throttled(at(0.0), at(0.0));
    pace.throttled(at(59.0), at(59.0));
    assert!(pace.spacing(at(59.0)) < Duration::from_millis(1_201), "one cut in a minute");
}

#[test]
fn the_allowed_and_the_used_rate_are_known() {
    let (mut pace, full) = used(3.0);
    let near = |rate: Option<f64>, wanted: f64| (rate.unwrap() - wanted).abs() < 0.04 * wanted;
    assert!(near(pace.allowed_rate(at(120.0)), full.interval().as_secs_f64().recip()));
    pace.lower(full);
    assert!(near(pace.used_rate(at(120.0)), 1.0 / 3.0), "an equal rate keeps the counts");
    assert!(near(pace.used_rate(at(150.0)), 1.0 / 6.0), "{:?}", pace.used_rate(at(150.0)));
    assert_eq!(pace.used_rate(at(185.0)), Some(0.0));
    pace.throttled(at(120.0), at(120.0));
    pace.throttled(at(60.0), at(120.0));
    assert!(near(pace.allowed_rate(at(120.0)), 0.5 / 0.6));
    assert!(near(pace.used_rate(at(120.0)), 19.0 / 60.0), "{:?}", pace.used_rate(at(120.0)));
}

/// A slice of one minute has 1.875 s, and 64 slices are kept: at 240 s, those from 121.875 s on.
#[test]
fn requests_are_counted_for_two_windows_and_older_refusals_change_no_count() {
    let mut pace = Pace::new(rate(100.0, 60), Steady(0));
    (1..=80).for_each(|request| assert!(pace.take(Steady(request * 3 * SECOND))));
    let counts = |pace: &Pace| {
        [150.0, 180.0, 240.0].map(|now| (pace.used_rate(at(now)).unwrap() * 60.0).round() as u32)
    };
    assert_eq!(counts(&pace), [10, 20, 20]);
    for sent in [3.0, 117.0, 120.0] {
        pace.throttled(at(sent), at(240.0));
    }
    assert_eq!(counts(&pace), [10, 20, 20]);
    for sent in [123.0, 150.0] {
        pace.throttled(at(sent), at(240.0));
    }
    assert_eq!(counts(&pace), [8, 18, 20]);
}
