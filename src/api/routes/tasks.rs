//! Tasks: lists, additions, and commands on one task.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::IntoParams;

use super::events::event_item;
use super::{BodyRefusals, CommonRefusals, Conflict};
use crate::api::Interface;
use crate::api::problem::{HttpError, JsonBody, Parameters};
use crate::api::wire::{
    Added, AddedTask, Addition, Extension, PollItem, SlotGrant, SlotRequest, TaskDetail, TaskItem, TaskPage,
    TaskState,
};
use crate::live::command::{Action, TaskAction, TaskReport};
use crate::model::reading::Code;
use crate::model::records::view::{EventFilter, TaskFilter, TaskView};
use crate::model::records::{RegisteredState, Seq};
use crate::model::task::{NewTask, Origin, Row, TaskId};
use crate::problem::Place;
use crate::register::TaskEntry;
use crate::units::Span;

/// Tasks of a page without `limit`.
const PAGE: usize = 100;
/// The largest page.
const LARGEST_PAGE: usize = 1_000;
/// Tasks that one request reads at most; the next page continues behind them.
const MOST_READ: usize = 20_000;
/// Tasks in one addition.
const LARGEST_ADDITION: usize = 5_000;
/// Events in the history of a task.
const HISTORY: usize = 100;
/// The parameters of a list.
const KNOWN: &str = "state, id, account, operation, region, label, group, text, after and limit";

/// The parameters of a list of tasks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the document alone uses it")]
pub struct TaskParameters {
    /// `open` (the default), `failing`, `on_hold`, `paused`, `finished`, `abandoned` or `all`.
    state: Option<String>,
    /// The task id.
    id: Option<String>,
    /// The account.
    account: Option<String>,
    /// The operation.
    operation: Option<String>,
    /// The region.
    region: Option<String>,
    /// `KEY=VALUE`; several are all required.
    label: Option<String>,
    /// The group.
    group: Option<String>,
    /// A part of the id, the name, the group or a label.
    text: Option<String>,
    /// The cursor of the page before.
    after: Option<i64>,
    /// Tasks of the page, 1 to 1,000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The selection that needs the settings of a task, or its state in memory.
struct TaskSelection {
    state: Option<TaskState>,
    labels: Vec<(String, String)>,
    group: Option<String>,
    text: Option<String>,
}

/// Tasks in the order of their keys. A page may have fewer tasks than `limit`, and still a next one.
#[utoipa::path(get, path = "/api/v1/tasks", operation_id = "list_tasks", params(TaskParameters), responses((status = 200, body = TaskPage), CommonRefusals))]
pub async fn list(
    State(interface): State<Interface>,
    mut parameters: Parameters,
) -> Result<Json<TaskPage>, HttpError> {
    let (ended, state) = states(parameters.one("state")?.as_deref())?;
    let ids = parameters.one("id")?.map(|id| ids(&id)).unwrap_or_default();
    let filter = TaskFilter {
        ended,
        ids,
        account: parameters.one("account")?,
        operation: parameters.one("operation")?,
        region: parameters.one("region")?,
    };
    let labels = parameters.all("label").into_iter().map(|label| {
        let pair = label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| HttpError::bad("`label`: write KEY=VALUE"))
    });
    let labels = labels.collect::<Result<_, _>>()?;
    let (group, text) = (parameters.one("group")?, parameters.one("text")?);
    let selection = TaskSelection { state, labels, group, text };
    let mut after = Row(parameters.read("after", "the cursor of a page")?.unwrap_or(0));
    let limit = limit(&mut parameters)?;
    parameters.end(KNOWN)?;
    let mut tasks = Vec::new();
    let mut read = 0;
    loop {
        let page = interface.store.tasks(filter.clone(), after, LARGEST_PAGE).await?;
        let is_last = page.len() < LARGEST_PAGE;
        let reports = reports(&interface, &page).await?;
        for view in page {
            after = view.hot.row;
            read += 1;
            let item = item(&view, reports.get(&view.hot.row));
            if selection.has(&item) {
                tasks.push(item);
            }
            if tasks.len() == limit {
                let next = Some(after.0.to_string());
                return Ok(Json(TaskPage { tasks, next }));
            }
        }
        if is_last || read >= MOST_READ {
            let next = (!is_last).then(|| after.0.to_string());
            return Ok(Json(TaskPage { tasks, next }));
        }
    }
}

/// The `limit` of a page.
pub(super) fn limit(parameters: &mut Parameters) -> Result<usize, HttpError> {
    let limit = parameters.read("limit", "a number from 1 to 1000")?.unwrap_or(PAGE);
    match limit {
        1..=LARGEST_PAGE => Ok(limit),
        _ => Err(HttpError::bad("`limit`: write a number from 1 to 1000")),
    }
}

fn states(written: Option<&str>) -> Result<(Option<bool>, Option<TaskState>), HttpError> {
    Ok(match written {
        None | Some("open") => (Some(false), None),
        Some("all") => (None, None),
        Some("failing") => (Some(false), Some(TaskState::Failing)),
        Some("on_hold") => (Some(false), Some(TaskState::OnHold)),
        Some("paused") => (Some(false), Some(TaskState::Paused)),
        Some("finished") => (Some(true), Some(TaskState::Finished)),
        Some("abandoned") => (Some(true), Some(TaskState::Abandoned)),
        Some(_) => {
            let states = "open, failing, on_hold, paused, finished, abandoned or all";
            return Err(HttpError::bad(format!("`state`: write {states}")));
        }
    })
}

/// An id in the forms of both types of ids.
fn ids(written: &str) -> Vec<TaskId> {
    let number = written.bytes().all(|byte| byte.is_ascii_digit()).then(|| written.parse().ok()).flatten();
    number.map(TaskId::Int).into_iter().chain([TaskId::Text(written.into())]).collect()
}

impl TaskSelection {
    fn has(&self, task: &TaskItem) -> bool {
        let contains = |text: &str| {
            let lower = text.to_lowercase();
            move |value: &String| value.to_lowercase().contains(&lower)
        };
        self.state.is_none_or(|state| state == task.state)
            && self.labels.iter().all(|(key, value)| task.labels.get(key) == Some(value))
            && self.group.as_ref().is_none_or(|group| task.group.as_ref() == Some(group))
            && self.text.as_ref().is_none_or(|text| {
                let mut values =
                    [Some(&task.id), task.name.as_ref(), task.group.as_ref()].into_iter().flatten();
                values.any(contains(text)) || task.labels.values().any(contains(text))
            })
    }
}

/// The state in memory of the open tasks among these.
async fn reports(interface: &Interface, page: &[TaskView]) -> Result<HashMap<Row, TaskReport>, HttpError> {
    let open: Vec<_> = page.iter().filter(|view| view.ended_at.is_none()).map(|view| view.hot.row).collect();
    if open.is_empty() {
        return Ok(HashMap::new());
    }
    interface.report(|to| Action::ReportTasks(open, to)).await
}

fn item(view: &TaskView, report: Option<&TaskReport>) -> TaskItem {
    let TaskView { target, id, origin, registered_at, settings, hot, ended_at, outcome, reason } = view;
    let state = match (outcome, reason, report) {
        (Some(_), ..) => TaskState::Finished,
        (None, Some(_), _) => TaskState::Abandoned,
        (None, None, Some(report)) if report.is_paused => TaskState::Paused,
        (None, None, Some(report)) if report.is_on_hold => TaskState::OnHold,
        (None, None, Some(report)) if report.is_failing => TaskState::Failing,
        (None, None, _) if hot.paused => TaskState::Paused,
        (None, None, _) => TaskState::Open,
    };
    let (polls, errors) = report.and_then(|report| report.polls).unwrap_or((hot.polls, hot.errors));
    let status = report.and_then(|report| report.status.as_ref()).or(hot.status.as_ref());
    let error = report.and_then(|report| report.recent.last()?.result.as_ref().err().cloned());
    let is_failing = matches!(state, TaskState::Failing | TaskState::OnHold);
    TaskItem {
        key: hot.row.0,
        id: id.to_string(),
        operation: target.operation.clone(),
        account: target.account.clone(),
        region: target.region.clone(),
        name: settings.name.clone(),
        labels: settings.labels.clone(),
        group: settings.group.clone(),
        state,
        outcome: outcome.map(|outcome| outcome.to_string()),
        reason: reason.map(|reason| reason.to_string()),
        status: status.map(code),
        error: error.filter(|_| is_failing),
        registered_at: registered_at.to_string(),
        last_poll: report.and_then(|report| report.last_poll).map(|at| at.to_string()),
        next_poll: report.and_then(|report| report.next_poll).map(|at| at.to_string()),
        deadline: report.and_then(|report| report.deadline).map(|at| at.to_string()),
        ended_at: ended_at.map(|at| at.to_string()),
        polls,
        errors,
        origin: match origin {
            Origin::File => "file".to_owned(),
            Origin::Command => "command".to_owned(),
        },
    }
}

fn code(code: &Code) -> Value {
    match code {
        Code::Int(number) => (*number).into(),
        Code::Text(text) => text.as_ref().into(),
    }
}

/// Adds tasks: all of them, or none if one is wrong. A task that is open takes the new settings.
#[utoipa::path(
    post, path = "/api/v1/tasks", operation_id = "add_tasks", request_body = Addition,
    responses((status = 200, body = Added), CommonRefusals, BodyRefusals)
)]
pub async fn add(
    State(interface): State<Interface>,
    JsonBody(addition): JsonBody<Addition>,
) -> Result<Json<Added>, HttpError> {
    let Addition { tasks, again } = addition;
    if tasks.is_empty() || tasks.len() > LARGEST_ADDITION {
        let detail = format!("{} tasks are in the request; send 1 to {LARGEST_ADDITION}", tasks.len());
        return Err(HttpError::refused(detail, Vec::new()));
    }
    let catalogue = std::sync::Arc::clone(&interface.live.borrow().catalogue);
    let mut resolved = Vec::with_capacity(tasks.len());
    let mut errors = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        let place = Place { key: Some(format!("tasks.{number}")), ..Place::default() };
        match entry(task, &place)
            .and_then(|entry| catalogue.resolve(entry, &place).map_err(|problem| problem.to_string()))
        {
            Ok(task) => resolved.push(NewTask { origin: Origin::Command, again, ..task }),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        errors.truncate(100);
        return Err(HttpError::refused("a task is wrong, and nothing was added", errors));
    }
    let names: Vec<_> = resolved.iter().map(|task| (task.id.to_string(), task.target.clone())).collect();
    let (to, registered) = oneshot::channel();
    interface.ask(Action::Add(resolved, to)).await?;
    let registered = registered.await.map_err(|_| HttpError::stopping())?;
    let added = |((id, target), registered): (
        (String, std::sync::Arc<crate::model::task::Target>),
        crate::model::records::Registered,
    )| AddedTask {
        key: registered.row.0,
        id,
        operation: target.operation.clone(),
        account: target.account.clone(),
        region: target.region.clone(),
        state: match registered.state {
            RegisteredState::New => "new".to_owned(),
            RegisteredState::Known => "known".to_owned(),
            RegisteredState::Finished => "finished".to_owned(),
        },
    };
    Ok(Json(Added { tasks: names.into_iter().zip(registered).map(added).collect() }))
}

fn entry(task: Value, place: &Place) -> Result<TaskEntry, String> {
    let key = place.key.clone().unwrap_or_default();
    let object =
        task.as_object().ok_or_else(|| format!("{key}: write an object with the keys of [[tasks]]"))?;
    let keys = crate::register::KEYS.as_object();
    if let Some(unknown) = object.keys().find(|name| keys.is_none_or(|keys| !keys.contains_key(*name))) {
        return Err(format!("{key}: there is no key `{unknown}`"));
    }
    serde_path_to_error::deserialize(task)
        .map_err(|error| format!("{key}.{}: {}", error.path(), error.inner()))
}

/// The task of that key, with its history.
#[utoipa::path(get, path = "/api/v1/tasks/{key}", operation_id = "show_task", params(("key" = i64, Path)), responses((status = 200, body = TaskDetail), CommonRefusals))]
pub async fn show(
    State(interface): State<Interface>,
    Path(key): Path<String>,
) -> Result<Json<TaskDetail>, HttpError> {
    let row = row(&key)?;
    let view = interface.store.task(row).await?.ok_or_else(unknown)?;
    detail(&interface, view).await.map(Json)
}

async fn detail(interface: &Interface, view: TaskView) -> Result<TaskDetail, HttpError> {
    let row = view.hot.row;
    let mut reports = interface.report(|to| Action::ReportTasks(vec![row], to)).await?;
    let report = reports.remove(&row);
    let filter = EventFilter { task: Some(row), ..EventFilter::default() };
    let events = interface.store.events(filter, Seq(0), HISTORY).await?;
    let polls = report.iter().flat_map(|report| &report.recent).map(|note| PollItem {
        at: note.at.to_string(),
        status: note.result.as_ref().ok().map(code),
        error: note.result.as_ref().err().cloned(),
    });
    Ok(TaskDetail {
        task: item(&view, report.as_ref().filter(|_| view.ended_at.is_none())),
        events: events.into_iter().map(event_item).collect(),
        recent_polls: polls.collect(),
        sinks: view.settings.sinks.clone(),
        params: view.settings.params.clone(),
    })
}

/// Waits for a slot of a pace key, which the client uses for a poll of its own. A task that the daemon polls, or that has
/// finished, is returned instead.
#[utoipa::path(
    post, path = "/api/v1/slots", operation_id = "slot", request_body = SlotRequest,
    responses((status = 200, body = SlotGrant), CommonRefusals, BodyRefusals, Conflict)
)]
pub async fn slot(
    State(interface): State<Interface>,
    JsonBody(request): JsonBody<SlotRequest>,
) -> Result<Json<SlotGrant>, HttpError> {
    let SlotRequest { secret_id, host, region, operation, id } = request;
    if id.is_empty() {
        return Err(HttpError::refused("id: is empty; write the task id", Vec::new()));
    }
    let target = interface.live.borrow().cloud.target_of(&secret_id, &host, &region, &operation);
    let target = target.ok_or_else(|| {
        HttpError::not_found("no account of this daemon polls with that SecretId at that host")
    })?;
    let filter = TaskFilter {
        ended: None,
        ids: ids(&id),
        account: Some(target.account.clone()),
        operation: Some(target.operation.clone()),
        region: Some(target.region.clone()),
    };
    let found = interface.store.tasks(filter, Row(0), 1).await?;
    // The outcome of an abandoned task is unknown.
    if let Some(view) = found.into_iter().find(|view| view.reason.is_none()) {
        let task = detail(&interface, view).await?;
        let is_polled = !matches!(task.task.state, TaskState::OnHold | TaskState::Paused);
        if is_polled && task.task.status.is_some() {
            return Ok(Json(SlotGrant { task: Some(task) }));
        }
    }
    interface.ask(Action::Slot(target)).await?;
    Ok(Json(SlotGrant { task: None }))
}

fn row(key: &str) -> Result<Row, HttpError> {
    key.parse().map(Row).map_err(|_| unknown())
}

fn unknown() -> HttpError {
    HttpError::not_found("there is no task of that key")
}

/// Carries out a command on the task of that key.
async fn command(interface: &Interface, key: &str, action: TaskAction) -> Result<StatusCode, HttpError> {
    let row = row(key)?;
    match interface.ask(Action::Task(row, action)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // Only the store knows whether there is such a task that has ended.
        Err(error) => match interface.store.task(row).await? {
            Some(_) => Err(error),
            None => Err(unknown()),
        },
    }
}

/// Polls a task in the next slot of its rate-limit scope.
#[utoipa::path(post, path = "/api/v1/tasks/{key}/poll", operation_id = "poll_task", params(("key" = i64, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn poll(
    State(interface): State<Interface>,
    Path(key): Path<String>,
) -> Result<StatusCode, HttpError> {
    command(&interface, &key, TaskAction::Poll).await
}

/// Abandons a task with the reason `cancelled`.
#[utoipa::path(post, path = "/api/v1/tasks/{key}/cancel", operation_id = "cancel_task", params(("key" = i64, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn cancel(
    State(interface): State<Interface>,
    Path(key): Path<String>,
) -> Result<StatusCode, HttpError> {
    command(&interface, &key, TaskAction::Cancel).await
}

/// Stops the polls of a task until it is resumed.
#[utoipa::path(post, path = "/api/v1/tasks/{key}/pause", operation_id = "pause_task", params(("key" = i64, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn pause(
    State(interface): State<Interface>,
    Path(key): Path<String>,
) -> Result<StatusCode, HttpError> {
    command(&interface, &key, TaskAction::Pause).await
}

/// Ends the pause of a task.
#[utoipa::path(post, path = "/api/v1/tasks/{key}/resume", operation_id = "resume_task", params(("key" = i64, Path)), responses((status = 204), CommonRefusals, Conflict))]
pub async fn resume(
    State(interface): State<Interface>,
    Path(key): Path<String>,
) -> Result<StatusCode, HttpError> {
    command(&interface, &key, TaskAction::Resume).await
}

/// Moves the deadline of a task to that time from now.
#[utoipa::path(
    post, path = "/api/v1/tasks/{key}/extend", operation_id = "extend_task", params(("key" = i64, Path)), request_body = Extension,
    responses((status = 204), CommonRefusals, BodyRefusals, Conflict)
)]
pub async fn extend(
    State(interface): State<Interface>,
    Path(key): Path<String>,
    JsonBody(Extension { duration }): JsonBody<Extension>,
) -> Result<StatusCode, HttpError> {
    let span: Result<Span, _> = duration.parse();
    let Span(left) = span.map_err(|error| HttpError::refused(format!("duration: {error}"), Vec::new()))?;
    if left.is_zero() {
        let detail =
            "duration: would end the task with its next poll; write more than 0s, or cancel the task";
        return Err(HttpError::refused(detail, Vec::new()));
    }
    command(&interface, &key, TaskAction::Extend(left)).await
}
