use std::collections::BTreeMap;

use super::*;
use crate::clock::Moment;
use crate::clock::Wall;
use crate::model::delivery::Refusal;
use crate::model::delivery::Retry;
use crate::model::event::{Kind, samples};
use crate::model::policy::Waits;
use crate::model::records::DeadLetter;
use crate::model::route::{EventGroup, Routes, SinkRoute};
use crate::units::{Limit, Rate, Span};
use uuid::Uuid;

const SECOND: i64 = 1_000_000;

fn moment(microseconds: i64) -> Moment {
    Moment { steady: Steady(microseconds), wall: Wall(1_764_000_000_000 + microseconds / 1000) }
}

fn sending() -> Sending {
    Sending {
        batch: 1,
        gather: None,
        max_in_flight: 8,
        rate: None,
        retry: Retry::default(),
        held: Waits { first: Duration::from_secs(10), longest: Duration::from_secs(300) },
    }
}

/// A delivery of the event of that number, about that task.
fn rest(seq: i64, task: i64) -> OutboxRow {
    let kind = if task == 0 { Kind::AccountHeld } else { Kind::Finished };
    let event = event(seq, kind, &format!("bm/{task}"));
    OutboxRow { seq: Seq(seq), task: (task != 0).then_some(Row(task)), attempts: 0, tried: None, event }
}

/// The event of that number and subject, as the store has it.
fn event(seq: i64, kind: Kind, subject: &str) -> Event {
    let body = samples::success("x").body.replacen("bm/1000800001", subject, 1);
    Event::stored(Uuid::from_u128(seq.unsigned_abs().into()), kind, Wall(seq), body)
}

fn routes() -> Routes {
    let route = SinkRoute {
        sink: "log".to_owned(),
        events: EventGroup::ALL.to_vec(),
        outcomes: None,
        labels: BTreeMap::new(),
    };
    Routes(vec![route])
}

/// A lane with an outbox and a sink: the deliveries with their times, and the logged changes.
struct Play {
    lane: Lane,
    outbox: BTreeMap<i64, OutboxRow>,
    delivered: Vec<(i64, i64)>,
    attempts: Vec<i64>,
    notices: Vec<LaneNotice>,
    writes: Vec<OutboxWrite>,
    under_way: Vec<(i64, Attempt)>,
    longest_window: usize,
}

impl Play {
    fn new(sending: Sending, outbox: impl IntoIterator<Item = OutboxRow>) -> Self {
        Self {
            lane: Lane::new("hook".to_owned(), sending, Duration::ZERO, Steady(0)),
            outbox: outbox.into_iter().map(|rest| (rest.seq.0, rest)).collect(),
            delivered: Vec::new(),
            attempts: Vec::new(),
            notices: Vec::new(),
            writes: Vec::new(),
            under_way: Vec::new(),
            longest_window: 0,
        }
    }

    /// Simulates these seconds; the sink responds to each attempt after 20 ms.
    fn play(
        &mut self,
        seconds: std::ops::Range<i64>,
        response: impl Fn(&[i64], i64) -> Result<(), Refusal>,
    ) -> &mut Self {
        for now in (seconds.start * SECOND..seconds.end * SECOND).step_by(10_000) {
            while let Some((after, limit)) = self.lane.wants() {
                let page: Vec<_> =
                    self.outbox.range(after.0 + 1..).take(limit).map(|(_, rest)| rest.clone()).collect();
                self.lane.load(page, limit, Steady(now));
            }
            self.longest_window = self.longest_window.max(self.lane.window.len());
            let (over, under_way) =
                std::mem::take(&mut self.under_way).into_iter().partition(|(until, _)| *until <= now);
            self.under_way = under_way;
            for (_, Attempt { number, events }) in over {
                let seqs: Vec<i64> = events.iter().map(|event| event.time.0).collect();
                let result = response(&seqs, now);
                if result.is_ok() {
                    self.delivered.extend(seqs.iter().map(|seq| (*seq, now)));
                }
                let (writes, notices) = self.lane.settle(number, result, &routes(), moment(now), 0.5);
                for write in &writes {
                    match write {
                        OutboxWrite::Acknowledge(seqs) => {
                            seqs.iter().for_each(|seq| _ = self.outbox.remove(&seq.0))
                        }
                        OutboxWrite::DeadLetter(letter) => {
                            self.outbox.remove(&letter.seq.0);
                            self.lane.became_dead_letter(letter.seq);
                        }
                        OutboxWrite::FirstFailure(..) | OutboxWrite::Event(..) => {}
                    }
                }
                self.writes.extend(writes);
                self.notices.extend(notices);
            }
            while let Some(attempt) = self.lane.attempt(Steady(now)) {
                self.attempts.push(now);
                self.under_way.push((now + 20_000, attempt));
            }
        }
        self
    }

    fn seqs(&self) -> Vec<i64> {
        self.delivered.iter().map(|(seq, _)| *seq).collect()
    }

    fn burials(&self) -> Vec<i64> {
        let seq = |write: &OutboxWrite| match write {
            OutboxWrite::DeadLetter(letter) => Some(letter.seq.0),
            OutboxWrite::Acknowledge(_) | OutboxWrite::FirstFailure(..) | OutboxWrite::Event(..) => None,
        };
        self.writes.iter().filter_map(seq).collect()
    }
}

fn ok(_: &[i64], _: i64) -> Result<(), Refusal> {
    Ok(())
}

fn passing(_: &[i64], _: i64) -> Result<(), Refusal> {
    Err(Refusal::passing("500"))
}

#[test]
fn deliveries_go_out_oldest_first_and_no_more_than_the_bound_at_once() {
    let mut play = Play::new(Sending { max_in_flight: 3, ..sending() }, (1..=9).map(|seq| rest(seq, seq)));
    play.play(0..1, ok);
    assert_eq!(play.seqs(), (1..=9).collect::<Vec<_>>());
    let at = |index: usize| play.attempts[index];
    assert!(at(0) == at(2) && at(2) < at(3) && at(3) == at(5), "{:?}", play.attempts);
}

#[test]
fn a_task_s_events_never_overtake_each_other_and_wait_for_no_other_task_s() {
    let mut play = Play::new(sending(), [rest(1, 1), rest(2, 2), rest(3, 1), rest(4, 3)]);
    play.play(0..60, |seqs, now| if seqs == [1] && now < 30 * SECOND { passing(seqs, now) } else { Ok(()) });
    assert_eq!(play.seqs(), [2, 4, 1, 3]);
    assert!(play.delivered[1].1 < SECOND);
}

#[test]
fn memory_stays_bounded_with_any_number_of_deliveries_waiting() {
    let mut play = Play::new(
        Sending { batch: 256, max_in_flight: 1, ..sending() },
        (1..=20_000).map(|seq| rest(seq, seq)),
    );
    play.play(0..5, ok);
    assert_eq!(play.seqs(), (1..=20_000).collect::<Vec<_>>());
    assert!(play.longest_window <= WINDOW);
}

#[test]
fn after_an_hour_of_failures_a_sink_gets_everything_in_order_within_its_rate() {
    let rate = Rate::new(50.0, Duration::from_secs(1));
    let mut play = Play::new(Sending { rate, ..sending() }, (1..=100_000).map(|seq| rest(seq, seq)));
    play.play(0..3600, passing);
    assert!(play.attempts.len() < 40, "{} attempts in an hour", play.attempts.len());
    assert!(
        play.notices.iter().any(|notice| matches!(
            notice,
            LaneNotice::Gate(GateChange::Opened(_) | GateChange::StillOpen(_))
        ))
    );
    play.play(3600..6400, ok);
    let seqs = play.seqs();
    assert_eq!(seqs.len(), 100_000);
    assert!(play.longest_window <= 2 * WINDOW);
    // The probes took some out of turn, and the one that found the sink well again was the first.
    assert!(seqs[1..].windows(2).all(|pair| pair[0] < pair[1]));
    let gaps = play.attempts.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.min().unwrap() >= 20_000 - 5_000);
}

#[test]
fn a_sink_that_fails_for_hours_is_reported_again_with_backoff_and_its_end_is_reported_once() {
    let retry = Retry { max: Span::seconds(60), ..Retry::default() };
    // One delivery is too little evidence to open the breaker, but the failure is logged.
    for waiting in [1, 100] {
        let mut play = Play::new(Sending { retry, ..sending() }, (1..=waiting).map(|seq| rest(seq, seq)));
        play.play(0..3 * 3600, passing);
        let reported = play.notices.iter().filter(|notice| {
            if waiting > 1 {
                matches!(notice, LaneNotice::Gate(GateChange::Opened(_) | GateChange::StillOpen(_)))
            } else {
                matches!(notice, LaneNotice::Failing(_))
            }
        });
        let reported = reported.count();
        assert!((6..=9).contains(&reported), "{reported} of {waiting}: {:?}", play.notices);
        assert!(
            play.notices.len() <= 10
                && play.lane.lasting().is_some_and(|lasting| lasting.since.steady < Steady(60 * SECOND))
        );
        play.notices.clear();
        play.play(3 * 3600..3 * 3600 + 200, ok);
        let lasted = match &play.notices[..] {
            [LaneNotice::Gate(GateChange::Closed(probes))] => {
                probes.lasting.lasted(Steady((3 * 3600 + 200) * SECOND))
            }
            [LaneNotice::Recovered(lasted)] => *lasted,
            other => panic!("{other:?}"),
        };
        assert!(lasted > Duration::from_secs(3 * 3600 - 60) && play.lane.lasting().is_none(), "{lasted:?}");
    }
}

#[test]
fn a_hold_of_a_sink_is_logged_again_and_its_cause_stays_though_its_probes_fail_otherwise() {
    let mut play = Play::new(sending(), (1..=9).map(|seq| rest(seq, seq)));
    play.play(0..3 * 3600, |_, now| {
        Err(if now < SECOND { Refusal::of_sink("401") } else { Refusal::passing("timeout") })
    });
    let again = play
        .notices
        .iter()
        .filter(|notice| **notice == LaneNotice::Gate(GateChange::StillHeld("timeout".to_owned())))
        .count();
    assert!((5..=8).contains(&again), "{:?}", play.notices);
    assert_eq!(play.lane.cause(), Some("401"));
    play.notices.clear();
    play.play(3 * 3600..3 * 3600 + 400, ok);
    assert!(
        matches!(play.notices[..], [LaneNotice::Gate(GateChange::Released(ref hold))] if hold.probes.lasting.since.steady < Steady(SECOND)),
        "{:?}",
        play.notices
    );
}

#[test]
fn a_refused_login_holds_the_sink_and_drops_nothing_and_a_probe_releases_it() {
    let mut play = Play::new(sending(), (1..=100).map(|seq| rest(seq, seq)));
    play.play(0..600, |_, _| Err(Refusal::of_sink("401: the login is refused")));
    assert!(play.attempts.len() < 25, "{} attempts", play.attempts.len());
    assert_eq!(
        play.notices.iter().filter(|notice| matches!(notice, LaneNotice::Gate(GateChange::Held(_)))).count(),
        1,
        "{:?}",
        play.notices
    );
    let reported: Vec<_> = play
        .writes
        .iter()
        .filter(|write| matches!(write, OutboxWrite::Event(event, _) if event.kind == Kind::SinkHeld))
        .collect();
    assert_eq!((reported.len(), play.outbox.len()), (1, 100));
    assert!(
        play.lane.is_on_hold() && play.lane.active(Steady(600 * SECOND)) < Duration::from_secs(1),
        "a hold does not count"
    );
    play.play(600..1000, ok);
    assert_eq!((play.outbox.len(), play.lane.is_on_hold()), (0, false));
    assert!(
        play.writes
            .iter()
            .any(|write| matches!(write, OutboxWrite::Event(event, _) if event.kind == Kind::SinkReleased))
    );
}

#[test]
fn a_changed_file_is_tried_at_once() {
    let mut play = Play::new(sending(), [rest(1, 1)]);
    play.play(0..300, |_, _| Err(Refusal::of_sink("401")));
    play.lane.probe_now(Steady(300 * SECOND));
    play.play(300..301, ok);
    assert_eq!(play.seqs(), [1]);
}

#[test]
fn an_event_that_is_refused_for_its_content_becomes_a_dead_letter_and_delays_no_other() {
    let mut play = Play::new(sending(), (1..=5).map(|seq| rest(seq, 1)));
    play.play(0..10, |seqs, _| if seqs == [3] { Err(Refusal::of_event("413: too large")) } else { Ok(()) });
    assert_eq!((play.seqs(), play.burials(), play.lane.dead_letters()), (vec![1, 2, 4, 5], vec![3], 1));
    let letter = play
        .writes
        .iter()
        .find_map(|write| if let OutboxWrite::DeadLetter(letter) = write { Some(letter) } else { None })
        .unwrap();
    let (event, sinks) = letter.event.as_ref().unwrap();
    assert_eq!(
        (letter.error.as_str(), event.kind, sinks.as_slice()),
        ("413: too large", Kind::DeliveryDead, &["log".to_owned()][..])
    );
    assert!(
        event.body.contains(r#""event":{"id":"00000000-0000-0000-0000-000000000003","type":"opwatch.task.finished","subject":"bm/1"}"#)
    );
}

#[test]
fn a_sink_that_accepted_nothing_yet_and_refuses_three_alike_is_held_instead() {
    let mut play = Play::new(Sending { max_in_flight: 1, ..sending() }, (1..=50).map(|seq| rest(seq, seq)));
    play.play(0..3600, |_, _| Err(Refusal::of_event("400: bad request")));
    assert_eq!((play.burials(), play.lane.is_on_hold()), (vec![1, 2], true));
    play.play(3600..4000, ok);
    assert_eq!(play.outbox.len(), 0);
}

#[test]
fn a_refused_batch_is_sent_again_one_by_one_and_only_what_is_refused_alone_is_dead() {
    let mut play =
        Play::new(Sending { batch: 10, max_in_flight: 1, ..sending() }, (1..=20).map(|seq| rest(seq, seq)));
    play.play(0..10, |seqs, _| if seqs.contains(&13) { Err(Refusal::of_event("422")) } else { Ok(()) });
    assert_eq!(play.burials(), [13]);
    assert_eq!(play.seqs(), (1..=20).filter(|seq| *seq != 13).collect::<Vec<_>>());
}

#[test]
fn events_are_gathered_for_as_long_as_is_asked_for_or_until_the_batch_is_full() {
    let gather = Some(Duration::from_secs(5));
    let mut play = Play::new(
        Sending { batch: 10, gather, max_in_flight: 1, ..sending() },
        (1..=3).map(|seq| rest(seq, seq)),
    );
    play.play(0..4, ok);
    assert_eq!(play.attempts, [0; 0]);
    play.play(4..6, ok);
    assert_eq!((play.attempts.as_slice(), play.seqs().len()), (&[5 * SECOND][..], 3));
    play.outbox.extend((4..=13).map(|seq| (seq, rest(seq, seq))));
    play.lane.refill();
    play.play(6..7, ok);
    assert_eq!((play.attempts.len(), play.attempts[1], play.seqs().len()), (2, 6 * SECOND, 13));
}

#[test]
fn a_full_batch_goes_out_in_its_slot_though_more_might_be_gathered() {
    let gather = Some(Duration::from_secs(3600));
    let rate = Rate::new(1.0, Duration::from_secs(10));
    let mut lane = Lane::new(
        "hook".to_owned(),
        Sending { batch: 10, gather, rate, ..sending() },
        Duration::ZERO,
        Steady(0),
    );
    lane.load((1..=25).map(|seq| rest(seq, seq)).collect(), WINDOW, Steady(0));
    let mut sent = Vec::new();
    let mut now = Steady(0);
    while let Some(wake) = lane.wake().filter(|wake| *wake < Steady(3600 * SECOND)) {
        now = now.max(wake);
        if let Some(attempt) = lane.attempt(now) {
            sent.push((now.0 / SECOND, attempt.events.len()));
            lane.settle(attempt.number, Ok(()), &routes(), moment(now.0), 0.5);
        }
    }
    assert_eq!(sent, [(10, 10), (20, 10)]);
}

#[test]
fn a_batch_that_failed_comes_again_when_it_is_due_and_is_not_gathered_once_more() {
    let gather = Some(Duration::from_secs(3600));
    let mut lane =
        Lane::new("hook".to_owned(), Sending { batch: 10, gather, ..sending() }, Duration::ZERO, Steady(0));
    lane.load((1..=10).map(|seq| rest(seq, seq)).collect(), WINDOW, Steady(0));
    let attempt = lane.attempt(Steady(0)).unwrap();
    lane.settle(attempt.number, passing(&[], 0), &routes(), moment(0), 0.5);
    let wake = lane.wake().unwrap();
    assert!(wake <= Steady(0) + Retry::default().initial.0, "{wake:?}");
    assert_eq!(lane.attempt(wake).unwrap().events.len(), 10);
}

#[test]
fn a_sink_that_fails_now_and_then_is_reported_with_backoff_and_not_each_time() {
    let rate = Rate::new(1.0, Duration::from_secs(1));
    let mut play =
        Play::new(Sending { max_in_flight: 1, rate, ..sending() }, (1..=3000).map(|seq| rest(seq, seq)));
    play.play(0..3600, |_, now| if now / SECOND % 5 == 0 { passing(&[], now) } else { Ok(()) });
    let failed = play.notices.iter().filter(|notice| matches!(notice, LaneNotice::Failing(_))).count();
    let closed = play
        .notices
        .iter()
        .filter(|notice| matches!(notice, LaneNotice::Gate(GateChange::Closed(_)) | LaneNotice::Recovered(_)))
        .count();
    assert!((5..=7).contains(&failed) && closed <= failed, "{:?}", play.notices);
}

#[test]
fn a_delivery_that_always_fails_becomes_a_dead_letter_after_give_up_after() {
    let retry = Retry {
        max: Span::seconds(30),
        give_up_after: Limit(Some(Duration::from_secs(120))),
        ..Retry::default()
    };
    let mut play = Play::new(Sending { retry, ..sending() }, [rest(1, 1), rest(2, 2)]);
    play.play(0..300, |seqs, now| if seqs == [1] { passing(seqs, now) } else { Ok(()) });
    assert_eq!((play.seqs(), play.burials()), (vec![2], vec![1]));
    assert!(play.writes.iter().any(
        |write| matches!(write, OutboxWrite::DeadLetter(letter) if letter.error == "retries ended: 500")
    ));
    let tried: Vec<_> =
        play.writes.iter().filter(|write| matches!(write, OutboxWrite::FirstFailure(..))).collect();
    assert_eq!(tried.len(), 1, "only the first failure is stored");
}

#[test]
fn retry_after_of_a_sink_is_obeyed() {
    let mut play = Play::new(sending(), (1..=3).map(|seq| rest(seq, seq)));
    let busy = |_: &[i64], now: i64| {
        let refusal = Refusal { retry_after: Some(Duration::from_secs(40)), ..Refusal::passing("429") };
        if now < 30 * SECOND { Err(refusal) } else { Ok(()) }
    };
    play.play(0..100, busy);
    let second = play.attempts.iter().find(|at| **at > SECOND).unwrap();
    assert!(*second >= 40 * SECOND && play.outbox.is_empty(), "{:?}", play.attempts);
}

#[test]
fn a_pause_that_the_receiver_requests_is_logged_and_a_person_ends_it() {
    let mut play = Play::new(sending(), (1..=3).map(|seq| rest(seq, seq)));
    let busy = || Refusal { retry_after: Some(Duration::from_secs(3_000)), ..Refusal::passing("503") };
    play.play(0..600, |_, _| Err(busy()));
    let is_logged = |notice: &&LaneNotice| matches!(notice, LaneNotice::PauseRequested(_));
    assert_eq!(play.notices.iter().filter(is_logged).count(), 1, "{:?}", play.notices);
    assert!(play.lane.requested_pause(Steady(600 * SECOND)).is_some());
    play.lane.retry(Steady(600 * SECOND));
    play.play(600..602, ok);
    assert_eq!(play.outbox.len(), 0);
}

#[test]
fn trouble_with_a_trouble_event_makes_no_further_event() {
    for refusal in [|| Refusal::of_sink("401"), || Refusal::of_event("400")] {
        let mut play = Play::new(sending(), [rest(1, 0)]);
        play.play(0..30, |_, _| Err(refusal()));
        let reported = play.writes.iter().filter(|write| {
            matches!(
                write,
                OutboxWrite::Event(..) | OutboxWrite::DeadLetter(DeadLetter { event: Some(_), .. })
            )
        });
        assert_eq!(reported.count(), 0, "{:?}", play.writes);
    }
}

#[test]
fn a_wake_up_finds_something_to_do_or_looks_at_a_later_moment() {
    let retry = Retry { initial: Span::seconds(1), max: Span::seconds(20), ..Retry::default() };
    let mut lane = Lane::new("hook".to_owned(), Sending { retry, ..sending() }, Duration::ZERO, Steady(0));
    lane.load((1..=40).map(|seq| rest(seq, seq % 7 + 1)).collect(), WINDOW, Steady(0));
    let mut now = Steady(0);
    let mut idle = 0;
    let mut turn = 0;
    while now < Steady(2_000 * SECOND) {
        match lane.attempt(now) {
            Some(attempt) => {
                idle = 0;
                turn += 1;
                let refusal = if turn % 5 == 0 { Refusal::of_sink("401") } else { Refusal::passing("500") };
                lane.settle(attempt.number, Err(refusal), &routes(), moment(now.0), 0.5);
            }
            None => idle += 1,
        }
        assert!(idle < 10, "it spins at {now:?}");
        now = now.max(lane.wake().unwrap());
    }
}

#[test]
fn events_that_a_sink_cannot_stomach_keep_no_other_waiting() {
    let mut play = Play::new(sending(), (1..=300).map(|seq| rest(seq, seq)));
    play.play(0..600, |seqs, now| if seqs[0] <= 20 { passing(seqs, now) } else { Ok(()) });
    assert_eq!(play.seqs().len(), 280);
    // And neither do many of them, over a long time.
    let mut play = Play::new(sending(), []);
    for minute in 0..300 {
        play.outbox.insert(minute + 1, rest(minute + 1, minute + 1));
        play.lane.refill();
        play.play(
            minute * 10..minute * 10 + 10,
            |seqs, now| if seqs[0] % 3 == 0 { passing(seqs, now) } else { Ok(()) },
        );
    }
    let late = 300 - play.seqs().len() - 100;
    assert!(late < 20, "{late} good ones wait");
}

#[test]
fn one_event_that_always_fails_takes_none_of_its_batch_with_it() {
    let retry = Retry {
        max: Span::seconds(20),
        give_up_after: Limit(Some(Duration::from_secs(120))),
        ..Retry::default()
    };
    let mut play = Play::new(
        Sending { batch: 10, max_in_flight: 1, retry, ..sending() },
        (1..=40).map(|seq| rest(seq, seq)),
    );
    play.play(0..600, |seqs, now| if seqs.contains(&13) { passing(seqs, now) } else { Ok(()) });
    assert_eq!((play.seqs().len(), play.burials()), (39, vec![13]));
}

#[test]
fn one_event_that_is_refused_like_a_login_while_others_are_accepted_is_a_dead_letter() {
    let mut play = Play::new(sending(), (1..=500).map(|seq| rest(seq, seq)));
    play.play(0..3600, |seqs, _| if seqs == [7] { Err(Refusal::of_sink("403")) } else { Ok(()) });
    let held =
        play.notices.iter().filter(|notice| matches!(notice, LaneNotice::Gate(GateChange::Held(_)))).count();
    assert_eq!((play.seqs().len(), play.burials()), (499, vec![7]));
    assert!(held <= 3, "held {held} times");
}

#[test]
fn what_was_under_way_when_a_sink_was_held_does_not_release_it() {
    let mut lane = Lane::new("hook".to_owned(), sending(), Duration::ZERO, Steady(0));
    lane.load((1..=3).map(|seq| rest(seq, seq)).collect(), WINDOW, Steady(0));
    let attempts: Vec<_> = std::iter::from_fn(|| lane.attempt(Steady(0))).collect();
    lane.settle(attempts[0].number, Err(Refusal::of_sink("401")), &routes(), moment(1), 0.5);
    lane.settle(attempts[1].number, Ok(()), &routes(), moment(2), 0.5);
    assert!(lane.is_on_hold());
}

#[test]
fn two_holds_of_one_millisecond_have_two_ids() {
    let mut ids = HashSet::new();
    let mut lane = Lane::new("hook".to_owned(), sending(), Duration::ZERO, Steady(0));
    lane.load((1..=50).map(|seq| rest(seq, seq)).collect(), WINDOW, Steady(0));
    let mut reported = 0;
    for turn in 0..20 {
        lane.probe_now(Steady(0));
        let attempt = lane.attempt(Steady(0)).unwrap();
        let result = if turn % 2 == 0 { Err(Refusal::of_sink("401")) } else { Ok(()) };
        for write in lane.settle(attempt.number, result, &routes(), moment(0), 0.5).0 {
            if let OutboxWrite::Event(event, _) = write {
                reported += 1;
                ids.insert(event.id);
            }
        }
    }
    assert!(reported > 10 && ids.len() == reported, "{reported} events, {} ids", ids.len());
}

#[test]
fn trouble_of_one_account_waits_for_no_other_s() {
    let about = |seq: i64, subject: &str| {
        let mut rest = rest(seq, 0);
        rest.event = event(seq, Kind::AccountHeld, subject);
        rest
    };
    let outbox = [about(1, "account/a"), about(2, "account/b"), about(3, "account/a"), about(4, "group/7")];
    let mut play = Play::new(sending(), outbox);
    play.play(0..10, |seqs, now| if seqs == [1] { passing(seqs, now) } else { Ok(()) });
    assert_eq!(play.seqs(), [2, 4]);
}

#[test]
fn no_loop_spins_while_the_only_dead_letter_is_being_stored() {
    let retry = Retry { give_up_after: Limit(Some(Duration::from_secs(1))), ..Retry::default() };
    let mut lane = Lane::new("hook".to_owned(), Sending { retry, ..sending() }, Duration::ZERO, Steady(0));
    lane.load((1..=6).map(|seq| rest(seq, seq)).collect(), WINDOW, Steady(0));
    let mut now = Steady(0);
    while let Some(wake) = lane.wake().filter(|_| now < Steady(900 * SECOND)) {
        now = now.max(wake);
        while let Some(attempt) = lane.attempt(now) {
            lane.settle(attempt.number, Err(Refusal::passing("500")), &routes(), moment(now.0), 0.5);
        }
        assert!(lane.wake().is_none_or(|wake| wake > now), "it spins at {now:?}");
    }
    assert_eq!((lane.dead_letters(), lane.wake()), (6, None));
}

#[test]
fn a_paused_sink_gets_nothing_and_its_own_clock_stops() {
    let mut lane = Lane::new("hook".to_owned(), sending(), Duration::ZERO, Steady(0));
    lane.load(vec![rest(1, 1)], 10, Steady(0));
    lane.set_paused(true, Steady(5 * SECOND));
    assert_eq!((lane.attempt(Steady(9 * SECOND)), lane.wake()), (None, None));
    assert_eq!(lane.active(Steady(9 * SECOND)), Duration::from_secs(5));
    lane.set_paused(false, Steady(20 * SECOND));
    assert!(lane.wake().is_some() && lane.attempt(Steady(20 * SECOND)).is_some());
    assert_eq!(lane.active(Steady(21 * SECOND)), Duration::from_secs(6));
}
