//! Events about opwatch's own work: holds, releases, and dead letters.

use serde::{Deserialize, Serialize};

use super::group::SOURCE;
use super::{Data, ErrorData, Event, IdParts, Kind, segment};
use crate::clock::Wall;
use crate::model::reading::Fault;

/// An account, or one of its pace keys, on hold or released.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The account.
    pub account: &'a str,
    /// Region and operation, if only a pace key is on hold.
    pub pace_key: Option<(&'a str, &'a str)>,
    /// The cause of the hold.
    pub cause: &'a Fault,
    /// When it began.
    pub since: Wall,
    /// The number of the hold or release: two may occur in one millisecond.
    pub number: u32,
    /// The number of open tasks that wait.
    pub tasks: usize,
}

/// An account or a pace key goes on hold (`released` is false) or is released.
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
        account: held.account.to_owned(),
        region: held.pace_key.map(|(region, _)| region.to_owned()),
        operation: held.pace_key.map(|(_, operation)| operation.to_owned()),
        error: ErrorData::of(held.cause),
        since: held.since.to_string(),
        tasks: held.tasks,
    };
    let origin = IdParts { source, subject, start: held.since, sequence: held.number };
    Event::new(kind, at, origin, Data::Account(data))
}

/// A sink that is held, or was.
#[derive(Clone, Copy, Debug)]
pub struct HeldSink<'a> {
    /// Its name.
    pub sink: &'a str,
    /// The error of the attempt.
    pub error: &'a str,
    /// When it began.
    pub since: Wall,
    /// The number of the hold: two may begin in one millisecond.
    pub number: u32,
    /// The number of waiting deliveries, as far as it is known.
    pub waiting: u64,
}

/// A sink goes on hold (`released` is false) or is released.
pub fn sink(held: &HeldSink<'_>, released: bool, at: Wall) -> Event {
    let kind = if released { Kind::SinkReleased } else { Kind::SinkHeld };
    let origin = IdParts {
        source: SOURCE.to_owned(),
        subject: format!("sink/{}", segment(held.sink)),
        start: held.since,
        sequence: held.number,
    };
    let data = SinkData {
        sink: held.sink.to_owned(),
        error: ErrorData::without_code(held.error),
        since: held.since.to_string(),
        waiting: held.waiting,
    };
    Event::new(kind, at, origin, Data::Sink(data))
}

/// A dead letter.
#[derive(Clone, Copy, Debug)]
pub struct Dead<'a> {
    /// The sink of the delivery.
    pub sink: &'a str,
    /// The event of the delivery.
    pub event: &'a Event,
    /// Attempts in all.
    pub attempts: u32,
    /// The error of the last attempt.
    pub error: &'a str,
}

/// The event of a dead letter.
pub fn dead(dead: &Dead<'_>, at: Wall) -> Event {
    let Dead { sink, event, attempts, error } = *dead;
    let id = event.id.hyphenated().to_string();
    let origin = IdParts {
        source: SOURCE.to_owned(),
        subject: format!("sink/{}/{id}", segment(sink)),
        start: event.time,
        sequence: attempts,
    };
    let event = EventPart { id, r#type: event.kind.name().to_owned(), subject: event.subject().to_owned() };
    let data = DeliveryData { sink: sink.to_owned(), event, attempts, error: ErrorData::without_code(error) };
    Event::new(Kind::DeliveryDead, at, origin, Data::Delivery(data))
}

/// The data of the events of an account or a pace key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record, as docs/architecture.md §7 names them")]
pub struct AccountData {
    pub account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    pub error: ErrorData,
    pub since: String,
    pub tasks: usize,
}

/// The data of the events of a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record, as docs/architecture.md §7 names them")]
pub struct SinkData {
    pub sink: String,
    pub error: ErrorData,
    pub since: String,
    pub waiting: u64,
}

/// The data of a dead letter's event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record, as docs/architecture.md §7 names them")]
pub struct DeliveryData {
    pub sink: String,
    pub event: EventPart,
    pub attempts: u32,
    pub error: ErrorData,
}

/// The event of a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventPart {
    pub id: String,
    pub r#type: String,
    pub subject: String,
}
