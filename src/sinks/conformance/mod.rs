//! The promises of every kind of sink: a function for each promise, and a line for each counterpart.
//!
//! A counterpart is the receiver of a sink, with misbehaviour on demand as far as its transport has it. A new
//! sink adds an `impl Counterpart` and a line in the list below.

mod lines;
mod program;
mod web;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::{Sink, samples};
use crate::model::delivery::{Refusal, RefusalClass};
use crate::model::event::Event;

/// The other end of a sink.
trait Counterpart: Sized {
    /// The type of sink that it tests.
    const TYPE: &'static str;

    /// One that is up and takes everything.
    async fn start() -> Self;

    /// A new sink that leads to it.
    fn sink(&self) -> Box<dyn Sink>;

    /// Changes its behaviour; `false`: its transport has no such behaviour.
    async fn turn(&mut self, mood: CounterpartBehaviour) -> bool;

    /// The records that it has taken, in order, repetitions included.
    async fn taken(&mut self) -> Vec<String>;

    /// Secrets of the counterpart.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The behaviour of a counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CounterpartBehaviour {
    /// Accepts everything.
    Taking,
    /// Does not exist.
    Down,
    /// Ends in the middle of an attempt.
    Dying,
    /// Accepts a connection and never responds.
    Silent,
    /// Responds late, but in time.
    Slow,
    /// Denies access to this sink.
    Closed,
    /// Refuses the content.
    Picky,
}

/// Far longer than any sink here waits for its counterpart.
const PATIENCE: Duration = Duration::from_secs(10);

/// The promises, once for all kinds; each name is the sentence that it proves.
macro_rules! held_to_the_promises {
    ($($name:ident: $counterpart:ty;)*) => {
        #[test]
        fn every_type_of_sink_is_held_to_the_promises() {
            let held = [$(<$counterpart as Counterpart>::TYPE),*];
            let missing = super::TYPES.iter().find(|r#type| !held.contains(&r#type.name));
            assert!(missing.is_none(), "{missing:?}");
        }

        $(mod $name {
            held_to_the_promises! { $counterpart =>
                what_is_acknowledged_has_arrived_once_in_order_and_as_it_was_stored
                an_attempt_takes_at_least_one_event
                one_that_is_down_at_the_start_refuses_nothing_for_good
                one_that_dies_in_the_middle_passes_and_comes_back
                one_that_never_responses_passes_in_time
                a_slow_one_is_waited_for
                a_receiver_that_denies_access_holds_the_sink
                a_refused_event_is_reported_apart_from_a_trouble_of_the_sink
                no_secret_is_shown_whatever_happens
            }
        })*
    };
    ($counterpart:ty => $($promise:ident)*) => {
        use super::*;
        $(#[tokio::test]
        async fn $promise() {
            super::$promise(<$counterpart>::start().await).await;
        })*
    };
}

held_to_the_promises! {
    a_file: lines::RegularFile;
    a_fifo: lines::Fifo;
    a_program: program::Program;
    the_log: lines::StandardError;
    a_webhook: web::Server;
    a_webhook_in_batches: web::BatchedServer;
}

/// Different events, in order; together they fill any pipe.
fn events(count: usize) -> Vec<Event> {
    let number = |(number, mut event): (usize, Event)| {
        event.id = uuid::Uuid::from_u128(number as u128 + 1);
        event
    };
    (0..count).map(|number| samples::success(&format!("task {number}"))).enumerate().map(number).collect()
}

/// Sends all of them, as a lane does: as many at a time as an attempt takes.
async fn deliver(sink: &dyn Sink, events: &[Event]) -> Result<(), Refusal> {
    for events in events.chunks(sink.batch()) {
        tokio::time::timeout(PATIENCE, sink.send(events)).await.expect("an attempt ends")?;
    }
    Ok(())
}

/// Sends them until they are acknowledged.
async fn deliver_at_last(sink: &dyn Sink, events: &[Event]) {
    let again = async {
        while deliver(sink, events).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it comes back");
}

/// Sends them until they are refused: what is gone may be noticed late.
async fn refused(sink: &dyn Sink, events: &[Event]) -> Refusal {
    loop {
        if let Err(refusal) = deliver(sink, events).await {
            return refusal;
        }
    }
}

fn bodies(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.body.clone()).collect()
}

async fn what_is_acknowledged_has_arrived_once_in_order_and_as_it_was_stored(mut other: impl Counterpart) {
    let sink = other.sink();
    let events = events(20);
    deliver(&*sink, &events[..7]).await.unwrap();
    deliver(&*sink, &events[7..]).await.unwrap();
    assert_eq!(other.taken().await, bodies(&events));
}

async fn an_attempt_takes_at_least_one_event(other: impl Counterpart) {
    assert!(other.sink().batch() >= 1);
}

async fn one_that_is_down_at_the_start_refuses_nothing_for_good(mut other: impl Counterpart) {
    if !other.turn(CounterpartBehaviour::Down).await {
        return;
    }
    let sink = other.sink();
    let events = events(3);
    let refusal = refused(&*sink, &events).await;
    assert!(refusal.class != RefusalClass::Event && !refusal.what.is_empty(), "{refusal}");
    if other.turn(CounterpartBehaviour::Taking).await {
        deliver_at_last(&*sink, &events).await;
        assert!(other.taken().await.ends_with(&bodies(&events)));
    }
}

async fn one_that_dies_in_the_middle_passes_and_comes_back(mut other: impl Counterpart) {
    let sink = other.sink();
    let events = events(6);
    deliver(&*sink, &events[..3]).await.unwrap();
    if !other.turn(CounterpartBehaviour::Dying).await {
        return;
    }
    let refusal = refused(&*sink, &events[3..]).await;
    assert_eq!(refusal.class, RefusalClass::Passing, "{refusal}");
    assert!(other.turn(CounterpartBehaviour::Taking).await);
    deliver_at_last(&*sink, &events[3..]).await;
    let taken = other.taken().await;
    assert!(taken.ends_with(&bodies(&events[3..])), "{taken:?}");
}

async fn one_that_never_responses_passes_in_time(mut other: impl Counterpart) {
    let sink = other.sink();
    if other.turn(CounterpartBehaviour::Silent).await {
        let refusal = refused(&*sink, &events(1000)).await;
        assert_eq!(refusal.class, RefusalClass::Passing, "{refusal}");
    }
}

async fn a_slow_one_is_waited_for(mut other: impl Counterpart) {
    let sink = other.sink();
    let events = events(3);
    if other.turn(CounterpartBehaviour::Slow).await {
        deliver(&*sink, &events).await.unwrap();
        assert_eq!(other.taken().await, bodies(&events));
    }
}

async fn a_receiver_that_denies_access_holds_the_sink(mut other: impl Counterpart) {
    let sink = other.sink();
    let events = events(3);
    if other.turn(CounterpartBehaviour::Closed).await {
        let refusal = refused(&*sink, &events).await;
        assert_eq!(refusal.class, RefusalClass::Sink, "{refusal}");
        assert!(refusal.what.contains(';'), "it says what to do: {refusal}");
        assert!(other.turn(CounterpartBehaviour::Taking).await);
        deliver(&*sink, &events).await.unwrap();
        assert_eq!(other.taken().await, bodies(&events));
    }
}

async fn a_refused_event_is_reported_apart_from_a_trouble_of_the_sink(mut other: impl Counterpart) {
    let sink = other.sink();
    if other.turn(CounterpartBehaviour::Picky).await {
        let refusal = refused(&*sink, &events(1)).await;
        assert_eq!(refusal.class, RefusalClass::Event, "{refusal}");
    }
}

async fn no_secret_is_shown_whatever_happens(mut other: impl Counterpart) {
    let log = Captured::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _until_the_end = tracing::subscriber::set_default(subscriber);
    let sink = other.sink();
    let events = events(2);
    let mut shown = String::new();
    for mood in [
        CounterpartBehaviour::Taking,
        CounterpartBehaviour::Slow,
        CounterpartBehaviour::Picky,
        CounterpartBehaviour::Closed,
        CounterpartBehaviour::Silent,
        CounterpartBehaviour::Dying,
        CounterpartBehaviour::Down,
    ] {
        if other.turn(mood).await {
            let result = deliver(&*sink, &events).await;
            shown += &format!(
                "{mood:?}: {result:?} {}\n",
                result.as_ref().err().map(ToString::to_string).unwrap_or_default()
            );
        }
    }
    shown += &log.text();
    for secret in other.secrets() {
        assert!(!shown.contains(&secret), "{secret} in {shown}");
    }
}

/// The output of a log.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
