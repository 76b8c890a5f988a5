//! Events: lists, a stream, and deliveries that are sent again or discarded.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::IntoParams;
use uuid::Uuid;

use super::tasks::limit;
use super::{BodyRefusals, CommonRefusals};
use crate::api::Interface;
use crate::api::problem::{HttpError, JsonBody, Parameters};
use crate::api::stream::EventStream;
use crate::api::wire::{
    Count, DeliveryItem, EventItem, EventPage, Redelivery, TestRequest, TestResult, TestResults,
};
use crate::clock::Wall;
use crate::live::command::Action;
use crate::model::delivery::RefusalClass;
use crate::model::reading::Outcome;
use crate::model::records::Seq;
use crate::model::records::view::{DeliveryFilter, EventFilter, EventName, EventView};
use crate::model::route::EventGroup;
use crate::model::task::Row;
use crate::model::test_event::test_event;

/// Events that are named in one request.
const MOST_NAMED: usize = 1_000;
/// The longest wait for the result of a test event.
const TEST: Duration = Duration::from_secs(60);
/// The parameters of a list.
const KNOWN: &str = "type, sink, failed, since, task, after and limit";

/// The parameters of a list of events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the document alone uses it")]
pub struct EventParameters {
    /// The type, such as `opwatch.task.finished`.
    r#type: Option<String>,
    /// Events that the sink has not acknowledged.
    sink: Option<String>,
    /// Whether only events with a dead letter are listed.
    failed: Option<bool>,
    /// Events since that moment: RFC 3339.
    since: Option<String>,
    /// Events of the task of that key.
    task: Option<i64>,
    /// The cursor of the page before.
    after: Option<i64>,
    /// Events of the page, 1 to 1,000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Events, oldest first.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "list_events", params(EventParameters), responses((status = 200, body = EventPage), CommonRefusals))]
pub async fn list(
    State(interface): State<Interface>,
    mut parameters: Parameters,
) -> Result<Json<EventPage>, HttpError> {
    let sink = parameters.one("sink")?;
    if let Some(sink) = &sink
        && !is_known(&interface, sink).await?
    {
        return Err(HttpError::not_found(format!("there is no sink {sink}")));
    }
    let filter = EventFilter {
        kind: parameters.one("type")?,
        sink,
        failed: parameters.read("failed", "true or false")?.unwrap_or(false),
        since: parameters.one("since")?.map(|since| moment("since", &since)).transpose()?,
        task: parameters.read("task", "the key of a task")?.map(Row),
    };
    let after = Seq(parameters.read("after", "the cursor of a page")?.unwrap_or(0));
    let limit = limit(&mut parameters)?;
    parameters.end(KNOWN)?;
    let found = interface.store.events(filter, after, limit).await?;
    let next = (found.len() == limit).then(|| found.last().map(|view| view.seq.0.to_string())).flatten();
    Ok(Json(EventPage { events: found.into_iter().map(event_item).collect(), next }))
}

/// Whether there is such a sink, or deliveries of one that was removed.
async fn is_known(interface: &Interface, sink: &str) -> Result<bool, HttpError> {
    let is_configured = interface.to_lanes.borrow().contains_key(sink);
    Ok(is_configured
        || interface.store.outbox().await?.contains_key(sink)
        || interface.store.dead_letters().await?.contains_key(sink))
}

fn moment(name: &str, written: &str) -> Result<Wall, HttpError> {
    let parsed = humantime::parse_rfc3339(written);
    let time = parsed.map_err(|_| {
        HttpError::bad(format!("`{name}`: write a time in UTC, such as 2026-11-24T10:00:00Z"))
    })?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// An event, as it is shown.
pub(super) fn event_item(view: EventView) -> EventItem {
    let EventView { seq, event, deliveries } = view;
    let delivery = |delivery: crate::model::records::view::DeliveryView| DeliveryItem {
        sink: delivery.sink,
        is_dead: delivery.dead.is_some(),
        attempts: delivery.attempts,
        error: delivery.dead,
    };
    EventItem {
        seq: seq.0,
        event: serde_json::from_str(&event.body).unwrap_or_default(),
        deliveries: deliveries.into_iter().map(delivery).collect(),
    }
}

/// The event of that id, or of that number.
#[utoipa::path(get, path = "/api/v1/events/{id}", operation_id = "show_event", params(("id" = String, Path)), responses((status = 200, body = EventItem), CommonRefusals))]
pub async fn show(
    State(interface): State<Interface>,
    Path(id): Path<String>,
) -> Result<Json<EventItem>, HttpError> {
    let unknown = || HttpError::not_found("there is no event of that id");
    let name = name(&id).ok_or_else(unknown)?;
    let view = interface.store.event(name).await?.ok_or_else(unknown)?;
    Ok(Json(event_item(view)))
}

fn name(written: &str) -> Option<EventName> {
    match written.parse() {
        Ok(number) => Some(EventName::Seq(Seq(number))),
        Err(_) => Uuid::parse_str(written).ok().map(EventName::Id),
    }
}

/// A server-sent stream of events: `id` is the number, `event` the type, `data` the event. With `Last-Event-ID` it
/// continues behind that number, else with the next new event, after a first `id` alone.
#[utoipa::path(
    get, path = "/api/v1/events/stream", operation_id = "stream_events",
    params(("Last-Event-ID" = Option<i64>, Header, description = "The number of the last event that was received")),
    responses((status = 200, content_type = "text/event-stream"), CommonRefusals)
)]
pub async fn stream(State(interface): State<Interface>, headers: HeaderMap) -> Result<Response, HttpError> {
    let last = headers.get("last-event-id").map(|value| {
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| HttpError::bad("`Last-Event-ID`: write the number of an event"))
    });
    EventStream::start(interface, last.transpose()?.map(Seq)).await
}

/// Sends a test event to sinks, outside of their queues, and waits for the results. Nothing is stored.
#[utoipa::path(
    post, path = "/api/v1/events/test", operation_id = "test_event", request_body = TestRequest,
    responses((status = 200, body = TestResults), CommonRefusals, BodyRefusals)
)]
pub async fn test(
    State(interface): State<Interface>,
    JsonBody(request): JsonBody<TestRequest>,
) -> Result<Json<TestResults>, HttpError> {
    let TestRequest { sinks, r#type, outcome } = request;
    let kind = word(r#type, "type", "finished, abandoned, progressed, overdue, group or trouble")?;
    let outcome = word(outcome, "outcome", "success, failure or partial")?;
    let event = test_event(
        kind.unwrap_or(EventGroup::Finished),
        outcome.unwrap_or(Outcome::Success),
        interface.clock.now().wall,
    );
    let all = interface.to_lanes.borrow().keys().cloned().collect();
    let mut waiting = Vec::new();
    for sink in sinks.unwrap_or(all) {
        let (to, result) = oneshot::channel();
        interface.ask_lane(&sink, Action::Test(Box::new(event.clone()), to)).await?;
        waiting.push((sink, result));
    }
    let mut results = Vec::new();
    for (sink, result) in waiting {
        let result = tokio::time::timeout(TEST, result).await;
        let (word, error) = match result {
            Ok(Ok(Ok(()))) => ("delivered", None),
            Ok(Ok(Err(refusal))) => (word_of(refusal.class), Some(refusal.to_string())),
            Ok(Err(_)) => return Err(HttpError::stopping()),
            Err(_) => ("again_later", Some("the sink gave no result within 60s".to_owned())),
        };
        results.push(TestResult { sink, result: word.to_owned(), error });
    }
    Ok(Json(TestResults { results }))
}

fn word<T: DeserializeOwned>(
    written: Option<String>,
    name: &str,
    words: &str,
) -> Result<Option<T>, HttpError> {
    let read = |written| serde_json::from_value(Value::String(written));
    written
        .map(read)
        .transpose()
        .map_err(|_| HttpError::refused(format!("{name}: write {words}"), Vec::new()))
}

fn word_of(class: RefusalClass) -> &'static str {
    match class {
        RefusalClass::Passing => "again_later",
        RefusalClass::Event => "refused",
        RefusalClass::Sink => "held",
    }
}

/// Delivers dead letters again. With events and a sink, the events are delivered to that sink, acknowledged or not.
#[utoipa::path(
    post, path = "/api/v1/redeliveries", operation_id = "redeliver", request_body = Redelivery,
    responses((status = 200, body = Count), CommonRefusals, BodyRefusals)
)]
pub async fn redeliver(
    State(interface): State<Interface>,
    JsonBody(redelivery): JsonBody<Redelivery>,
) -> Result<Json<Count>, HttpError> {
    let selected = interface.store.redeliver(selection(&interface, redelivery).await?).await?;
    let mut first: BTreeMap<String, Seq> = BTreeMap::new();
    for (sink, seq) in &selected {
        let oldest = first.entry(sink.clone()).or_insert(*seq);
        *oldest = (*oldest).min(*seq);
    }
    for (sink, seq) in first {
        // A sink that is not configured keeps its deliveries until it is configured again.
        let _ = interface.ask_lane(&sink, Action::Redeliver(seq)).await;
    }
    interface.outbox.send_replace(());
    Ok(Json(Count { count: selected.len() as u64 }))
}

/// Deletes dead letters.
#[utoipa::path(
    post, path = "/api/v1/discards", operation_id = "discard", request_body = Redelivery,
    responses((status = 200, body = Count), CommonRefusals, BodyRefusals)
)]
pub async fn discard(
    State(interface): State<Interface>,
    JsonBody(redelivery): JsonBody<Redelivery>,
) -> Result<Json<Count>, HttpError> {
    let count = interface.store.discard(selection(&interface, redelivery).await?).await?;
    Ok(Json(Count { count }))
}

async fn selection(interface: &Interface, redelivery: Redelivery) -> Result<DeliveryFilter, HttpError> {
    let Redelivery { events, sink, since } = redelivery;
    let wrong = |detail: String| HttpError::refused(detail, Vec::new());
    if events.is_none() && sink.is_none() && since.is_none() {
        return Err(wrong("select deliveries by `events`, `sink` or `since`".to_owned()));
    }
    let named = |events: Vec<String>| {
        if events.len() > MOST_NAMED {
            return Err(wrong(format!("`events` has {} entries; send at most {MOST_NAMED}", events.len())));
        }
        let read = |id: String| {
            let name =
                name(&id).ok_or_else(|| wrong(format!("events: {id:?} is no number or id of an event")));
            name.map(|name| (id, name))
        };
        events.into_iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    let named = events.map(named).transpose()?;
    for (id, name) in named.iter().flatten() {
        if interface.store.event(*name).await?.is_none() {
            return Err(HttpError::not_found(format!("there is no event {id}")));
        }
    }
    let events = named.map(|named| named.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    if let Some(sink) = &sink {
        let is_known = match &events {
            Some(_) => interface.to_lanes.borrow().contains_key(sink),
            None => is_known(interface, sink).await?,
        };
        if !is_known {
            return Err(HttpError::not_found(format!("there is no sink {sink}")));
        }
    }
    let since = since.map(|since| moment("since", &since)).transpose()?;
    Ok(DeliveryFilter { events, sink, since })
}
