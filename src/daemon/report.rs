//! The status line: in the log, and in `STATUS=` of systemd.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::oneshot;

use super::per_sink;
use crate::clock::Moment;
use crate::deliver::LaneStatus;
use crate::live::command::{Action, Commands, WatchReport};
use crate::store::Store;

/// Logs the status line. Returns it in the form of `STATUS=`; `None` if a loop has ended.
pub async fn report(
    to_watch: &Commands,
    store: &dyn Store,
    sinks: &BTreeMap<String, LaneStatus>,
    now: Moment,
) -> Option<String> {
    let (to, report) = oneshot::channel();
    to_watch.send(Action::Report(to)).await.ok()?;
    let WatchReport {
        open,
        finished,
        mut on_hold,
        paused_accounts,
        paused_tasks,
        throttled,
        rate_used,
        rate_allowed,
        next_poll,
    } = report.await.ok()?;
    let sinks_that = |is: fn(&LaneStatus) -> bool| {
        sinks.iter().filter(move |(_, status)| is(status)).map(|(name, _)| format!("sink {name}"))
    };
    on_hold.extend(sinks_that(|status| status.is_on_hold));
    let paused = paused_accounts.into_iter().map(|account| format!("account {account}"));
    let paused = paused.chain(sinks_that(|status| status.is_paused));
    let tasks = (paused_tasks > 0).then(|| format!("{paused_tasks} tasks"));
    let paused = paused.chain(tasks).collect::<Vec<_>>().join(", ");
    let counts =
        |counts: HashMap<_, _>| per_sink(&counts.into_iter().filter(|(_, count)| *count > 0).collect());
    let undelivered = counts(store.outbox().await.ok()?);
    let dead_letters = counts(store.dead_letters().await.ok()?);
    let next_poll = next_poll.map(|at| now.wall_of(at).to_string());
    let rate = |rate: f64| (rate * 100.0).round() / 100.0;
    let (rate_used, rate_allowed) = (rate(rate_used), rate(rate_allowed));
    tracing::info!(
        open_tasks = open,
        finished,
        on_hold = on_hold.join(", "),
        paused,
        throttled,
        undelivered,
        dead_letters,
        rate_used,
        rate_allowed,
        next_poll,
        "status"
    );
    let mut parts = vec![format!("{open} open, {finished} ended since the start")];
    if !on_hold.is_empty() {
        parts.push(format!("on hold: {}", on_hold.join(", ")));
    }
    if !paused.is_empty() {
        parts.push(format!("paused: {paused}"));
    }
    if throttled > 0 {
        parts.push(format!("{throttled} throttled"));
    }
    if !undelivered.is_empty() {
        parts.push(format!("undelivered: {undelivered}"));
    }
    if !dead_letters.is_empty() {
        parts.push(format!("dead letters: {dead_letters}"));
    }
    parts.push(format!("{rate_used} of {rate_allowed} polls/s"));
    parts.extend(next_poll.map(|at| format!("next poll {at}")));
    Some(parts.join("; "))
}
