//! The daemon itself: status, reload, health and the description of the interface.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::{BodyRefusals, CommonRefusals};
use crate::api::guard::Caller;
use crate::api::problem::{HttpError, JsonBody};
use crate::api::wire::{DelayItem, DelayState, ReloadOptions, Status};
use crate::api::{Interface, ReloadRequest};
use crate::clock::Wall;
use crate::live::command::{
    AccountReport, Action, GateReport, HoldReport, LaneReport, ProbesReport, ScopeReport, WatchReport,
};

/// The state of the daemon.
#[utoipa::path(get, path = "/api/v1/status", operation_id = "status", responses((status = 200, body = Status), CommonRefusals))]
pub async fn status(State(interface): State<Interface>) -> Result<Json<Status>, HttpError> {
    whole_status(&interface).await.map(Json)
}

async fn whole_status(interface: &Interface) -> Result<Status, HttpError> {
    let accounts = interface.report(Action::ReportAccounts).await?;
    status_of(interface, &accounts).await
}

/// The state, with the delays of these accounts: a report of all of them looks at each pace key.
async fn status_of(interface: &Interface, accounts: &[AccountReport]) -> Result<Status, HttpError> {
    let report: WatchReport = interface.report(Action::Report).await?;
    let lanes = lanes(interface).await?;
    let undelivered = interface.store.outbox().await?;
    let dead_letters = interface.store.dead_letters().await?;
    let named = |is: fn(&LaneReport) -> bool| {
        lanes.iter().filter(|(_, lane)| is(lane)).map(|(name, _)| name.clone()).collect()
    };
    let now = interface.clock.now();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: interface.started_at.to_string(),
        open: report.open as u64,
        finished: report.finished,
        on_hold: report.on_hold,
        paused_accounts: report.paused_accounts,
        paused_tasks: report.paused_tasks as u64,
        throttled: report.throttled as u64,
        rate_used: report.rate_used,
        rate_allowed: report.rate_allowed,
        next_poll: report.next_poll.map(|at| now.wall_of(at).to_string()),
        undelivered: undelivered.into_iter().filter(|(_, count)| *count > 0).collect(),
        dead_letters: dead_letters.into_iter().filter(|(_, count)| *count > 0).collect(),
        sinks_on_hold: named(|lane| lane.gate.hold.is_some()),
        paused_sinks: named(|lane| lane.is_paused),
        delays: delays(accounts, &lanes),
    })
}

/// The accounts, rate-limit scopes with tasks, and sinks that do not work at their usual pace.
fn delays(accounts: &[AccountReport], lanes: &BTreeMap<String, LaneReport>) -> Vec<DelayItem> {
    let mut delays = Vec::new();
    for AccountReport { name, hold, scopes, .. } in accounts {
        delays.extend(hold.as_ref().map(|hold| on_hold(&format!("account {name}"), hold)));
        for scope in scopes.iter().filter(|scope| scope.tasks > 0) {
            let ScopeReport { region, operation, gate, .. } = scope;
            delays.extend(of_gate(&format!("{operation} in {region} of account {name}"), gate, None));
        }
    }
    for (name, LaneReport { gate, retries, last_error, .. }) in lanes {
        let what = format!("sink {name}");
        let retrying =
            || retries.map(|retries| probed(&what, DelayState::Retrying, retries, last_error.clone()));
        delays.extend(of_gate(&what, gate, last_error.clone()).or_else(retrying));
    }
    delays
}

/// The delay of a gate; `error` is that of the last failed call, where it is known.
fn of_gate(what: &str, gate: &GateReport, error: Option<String>) -> Option<DelayItem> {
    match (&gate.hold, gate.breaker, gate.requested_pause) {
        (Some(hold), ..) => Some(on_hold(what, hold)),
        (None, Some(probes), _) => Some(probed(what, DelayState::CircuitBreakerOpen, probes, error)),
        (None, None, Some(until)) => Some(pause(what, until)),
        (None, None, None) => None,
    }
}

fn on_hold(what: &str, hold: &HoldReport) -> DelayItem {
    probed(what, DelayState::OnHold, hold.probes, Some(hold.error.clone()))
}

fn probed(what: &str, state: DelayState, probes: ProbesReport, error: Option<String>) -> DelayItem {
    let ProbesReport { since, next, failed } = probes;
    let what = what.to_owned();
    DelayItem { what, state, since: Some(since.to_string()), next: next.to_string(), failed, error }
}

fn pause(what: &str, until: Wall) -> DelayItem {
    let state = DelayState::PauseRequested;
    DelayItem { what: what.to_owned(), state, since: None, next: until.to_string(), failed: 0, error: None }
}

/// The state of each lane.
pub async fn lanes(interface: &Interface) -> Result<BTreeMap<String, LaneReport>, HttpError> {
    let names: Vec<_> = interface.to_lanes.borrow().keys().cloned().collect();
    let mut lanes = BTreeMap::new();
    for name in names {
        let (to, report) = oneshot::channel();
        interface.ask_lane(&name, Action::ReportLane(to)).await?;
        lanes.insert(name, report.await.map_err(|_| HttpError::stopping())?);
    }
    Ok(lanes)
}

/// Reads the configuration again.
#[utoipa::path(
    post, path = "/api/v1/reload", operation_id = "reload", request_body = ReloadOptions,
    responses((status = 200, body = Status), CommonRefusals, BodyRefusals)
)]
pub async fn reload(
    State(interface): State<Interface>,
    JsonBody(options): JsonBody<ReloadOptions>,
) -> Result<Json<Status>, HttpError> {
    let (result, reloaded) = oneshot::channel();
    let request = ReloadRequest { allow_removals: options.allow_removals, result };
    interface.reloads.send(request).await.map_err(|_| HttpError::stopping())?;
    match reloaded.await.map_err(|_| HttpError::stopping())? {
        Ok(()) => whole_status(&interface).await.map(Json),
        Err(errors) => {
            let detail = "the reload was refused, and the previous configuration stays in use";
            Err(HttpError::refused(detail, errors))
        }
    }
}

/// Whether the process responds.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", responses((status = 200, body = String, content_type = "text/plain"), CommonRefusals))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether all accounts and sinks are in use. Strangers see the status code alone.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz",
    responses((status = 200, body = String, content_type = "text/plain"), CommonRefusals)
)]
pub async fn readyz(State(interface): State<Interface>, Extension(caller): Extension<Caller>) -> Response {
    let is_stranger = caller == Caller::Stranger;
    let reasons = match status_of(&interface, &[]).await {
        Ok(status) => {
            let sinks = status.sinks_on_hold.into_iter().map(|sink| format!("sink {sink}"));
            status.on_hold.into_iter().chain(sinks).collect::<Vec<_>>()
        }
        Err(_) => vec!["the daemon does not respond".to_owned()],
    };
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let detail =
        if is_stranger { "not ready".to_owned() } else { format!("on hold: {}", reasons.join(", ")) };
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", responses((status = 200, content_type = "application/json"), CommonRefusals))]
pub async fn openapi() -> Response {
    let document = super::document().to_json().unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}
