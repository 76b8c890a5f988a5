//! Events of trouble with opwatch's own work: what is held or used again, and deliveries that were given up.

use serde::Serialize;

use super::group::SOURCE;
use super::{ErrorPart, Event, Kind, derived_id, record, segment};
use crate::clock::Wall;
use crate::model::reading::Fault;

/// An account, or one of its pace keys, is held, or released.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The account.
    pub account: &'a str,
    /// Region and operation, where only a pace key is held.
    pub pace_key: Option<(&'a str, &'a str)>,
    /// What caused it.
    pub cause: &'a Fault,
    /// When it began.
    pub since: Wall,
    /// Which of the program's holds and releases it is: two may fall into one millisecond.
    pub number: u32,
    /// How many open tasks wait for it.
    pub tasks: usize,
}

/// An account or a pace key is held (`released` is false) or used again.
pub fn account(held: &Held<'_>, released: bool, at: Wall) -> Event {
    let kind = if released { Kind::AccountReleased } else { Kind::AccountHeld };
    let source = match held.pace_key {
        Some((region, _)) => format!("opwatch/{}/{}", segment(held.account), segment(region)),
        None => format!("opwatch/{}", segment(held.account)),
    };
    let subject = match held.pace_key {
        Some((_, operation)) => format!("account/{}/{}", segment(held.account), segment(operation)),
        None => format!("account/{}", segment(held.account)),
    };
    let data = AccountData {
        account: held.account,
        region: held.pace_key.map(|(region, _)| region),
        operation: held.pace_key.map(|(_, operation)| operation),
        error: ErrorPart::of(held.cause),
        since: held.since.to_string(),
        tasks: held.tasks,
    };
    let id = derived_id(&source, &subject, held.since, kind, held.number, at);
    Event { id, kind, time: at, body: record(id, &source, kind, &subject, at, data) }
}

/// A sink that is held, or was.
#[derive(Clone, Copy, Debug)]
pub struct HeldSink<'a> {
    /// Its name.
    pub sink: &'a str,
    /// What it was refused with.
    pub error: &'a str,
    /// When it began.
    pub since: Wall,
    /// Which of its holds it is: two may begin in one millisecond.
    pub number: u32,
    /// How many deliveries wait for it, as far as that is known.
    pub waiting: u64,
}

/// A sink is held (`released` is false) or used again.
pub fn sink(held: &HeldSink<'_>, released: bool, at: Wall) -> Event {
    let kind = if released { Kind::SinkReleased } else { Kind::SinkHeld };
    let subject = format!("sink/{}", segment(held.sink));
    let error = Words { message: held.error };
    let data = SinkData { sink: held.sink, error, since: held.since.to_string(), waiting: held.waiting };
    let id = derived_id(SOURCE, &subject, held.since, kind, held.number, at);
    Event { id, kind, time: at, body: record(id, SOURCE, kind, &subject, at, data) }
}

/// A delivery that was given up.
#[derive(Clone, Copy, Debug)]
pub struct Dead<'a> {
    /// To whom it was owed.
    pub sink: &'a str,
    /// What was to be delivered.
    pub event: &'a Event,
    /// Attempts in all.
    pub attempts: u32,
    /// The receiver's words, or what happened.
    pub error: &'a str,
}

/// A delivery was given up.
pub fn dead(dead: &Dead<'_>, at: Wall) -> Event {
    let Dead { sink, event, attempts, error } = *dead;
    let subject = format!("sink/{}/{}", segment(sink), event.id.hyphenated());
    let event_part = EventPart {
        id: event.id.hyphenated().to_string(),
        r#type: event.kind.name(),
        subject: event.subject(),
    };
    let data = DeadData { sink, event: event_part, attempts, error: Words { message: error } };
    let id = derived_id(SOURCE, &subject, event.time, Kind::DeliveryDead, attempts, at);
    Event {
        id,
        kind: Kind::DeliveryDead,
        time: at,
        body: record(id, SOURCE, Kind::DeliveryDead, &subject, at, data),
    }
}

#[derive(Serialize)]
struct AccountData<'a> {
    account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    error: ErrorPart<'a>,
    since: String,
    tasks: usize,
}

#[derive(Serialize)]
struct SinkData<'a> {
    sink: &'a str,
    error: Words<'a>,
    since: String,
    waiting: u64,
}

#[derive(Serialize)]
struct DeadData<'a> {
    sink: &'a str,
    event: EventPart<'a>,
    attempts: u32,
    error: Words<'a>,
}

#[derive(Serialize)]
struct EventPart<'a> {
    id: String,
    r#type: &'static str,
    subject: &'a str,
}

/// An error that has no code.
#[derive(Serialize)]
struct Words<'a> {
    message: &'a str,
}
