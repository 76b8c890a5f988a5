//! Accounts and sinks: state, pause, resume and retry.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::daemon::lanes;
use super::{CommonRefusals, Conflict};
use crate::api::Interface;
use crate::api::problem::HttpError;
use crate::api::wire::{AccountItem, HoldItem, ScopeItem, SinkItem};
use crate::live::command::{AccountReport, Action, HoldReport, ProbesReport, ScopeReport};

/// All accounts, with their rate-limit scopes.
#[utoipa::path(get, path = "/api/v1/accounts", operation_id = "accounts", responses((status = 200, body = Vec<AccountItem>), CommonRefusals))]
pub async fn accounts(State(interface): State<Interface>) -> Result<Json<Vec<AccountItem>>, HttpError> {
    let reports = interface.report(Action::ReportAccounts).await?;
    Ok(Json(reports.into_iter().map(account).collect()))
}

fn account(report: AccountReport) -> AccountItem {
    let AccountReport { name, is_paused, hold: on_hold, tasks, scopes } = report;
    let scopes = scopes.into_iter().map(scope).collect();
    AccountItem { name, is_paused, hold: on_hold.map(hold), tasks: tasks as u64, scopes }
}

fn scope(report: ScopeReport) -> ScopeItem {
    ScopeItem {
        region: report.region,
        operation: report.operation,
        tasks: report.tasks as u64,
        rate_used: report.rate_used,
        rate_allowed: report.rate_allowed,
        is_throttled: report.is_throttled,
        is_circuit_breaker_open: report.gate.breaker.is_some(),
        requested_pause_until: report.gate.requested_pause.map(|until| until.to_string()),
        hold: report.gate.hold.map(hold),
    }
}

fn hold(report: HoldReport) -> HoldItem {
    let HoldReport { error, probes: ProbesReport { since, next, failed } } = report;
    HoldItem { error, since: since.to_string(), next_probe: Some(next.to_string()), failed_probes: failed }
}

/// Stops the polls of an account until it is resumed.
#[utoipa::path(post, path = "/api/v1/accounts/{name}/pause", operation_id = "pause_account", params(("name" = String, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn pause_account(
    State(interface): State<Interface>,
    Path(name): Path<String>,
) -> Result<StatusCode, HttpError> {
    interface.ask(Action::Pause(name)).await.map(|()| StatusCode::NO_CONTENT)
}

/// Ends the pause of an account.
#[utoipa::path(post, path = "/api/v1/accounts/{name}/resume", operation_id = "resume_account", params(("name" = String, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn resume_account(
    State(interface): State<Interface>,
    Path(name): Path<String>,
) -> Result<StatusCode, HttpError> {
    interface.ask(Action::Resume(name)).await.map(|()| StatusCode::NO_CONTENT)
}

/// Probes the holds of an account and of its rate-limit scopes now.
#[utoipa::path(post, path = "/api/v1/accounts/{name}/retry", operation_id = "retry_account", params(("name" = String, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn retry_account(
    State(interface): State<Interface>,
    Path(name): Path<String>,
) -> Result<StatusCode, HttpError> {
    interface.ask(Action::Retry(name)).await.map(|()| StatusCode::NO_CONTENT)
}

/// All sinks.
#[utoipa::path(get, path = "/api/v1/sinks", operation_id = "sinks", responses((status = 200, body = Vec<SinkItem>), CommonRefusals))]
pub async fn sinks(State(interface): State<Interface>) -> Result<Json<Vec<SinkItem>>, HttpError> {
    let undelivered = interface.store.outbox().await?;
    let dead_letters = interface.store.dead_letters().await?;
    let item = |(name, lane): (String, crate::live::command::LaneReport)| SinkItem {
        undelivered: undelivered.get(&name).copied().unwrap_or_default(),
        dead_letters: dead_letters.get(&name).copied().unwrap_or_default(),
        name,
        is_paused: lane.is_paused,
        hold: lane.gate.hold.map(hold),
        is_circuit_breaker_open: lane.gate.breaker.is_some(),
        requested_pause_until: lane.gate.requested_pause.map(|until| until.to_string()),
    };
    Ok(Json(lanes(&interface).await?.into_iter().map(item).collect()))
}

/// Stops deliveries to a sink until it is resumed. They are kept.
#[utoipa::path(post, path = "/api/v1/sinks/{name}/pause", operation_id = "pause_sink", params(("name" = String, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn pause_sink(
    State(interface): State<Interface>,
    Path(name): Path<String>,
) -> Result<StatusCode, HttpError> {
    interface.ask_lane(&name, Action::Pause(name.clone())).await.map(|()| StatusCode::NO_CONTENT)
}

/// Ends the pause of a sink.
#[utoipa::path(post, path = "/api/v1/sinks/{name}/resume", operation_id = "resume_sink", params(("name" = String, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn resume_sink(
    State(interface): State<Interface>,
    Path(name): Path<String>,
) -> Result<StatusCode, HttpError> {
    interface.ask_lane(&name, Action::Resume(name.clone())).await.map(|()| StatusCode::NO_CONTENT)
}

/// Probes the hold of a sink now.
#[utoipa::path(post, path = "/api/v1/sinks/{name}/retry", operation_id = "retry_sink", params(("name" = String, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn retry_sink(
    State(interface): State<Interface>,
    Path(name): Path<String>,
) -> Result<StatusCode, HttpError> {
    interface.ask_lane(&name, Action::Retry(name.clone())).await.map(|()| StatusCode::NO_CONTENT)
}
