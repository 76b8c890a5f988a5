//! The live view as text: a line for each open task, and one for all; no line is wider than the terminal.
//!
//! Finished tasks are printed above it, as lines that stay. With more open tasks than rows, tasks with a fault
//! come first, since a person can act on those; then the tasks whose next poll is the soonest.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::brief;
use super::tasks::{Tally, TaskRow, Tasks};
use crate::cli::print::cut;
use crate::clock::Steady;
use crate::lines::line::escaped;
use crate::model::board::{Delay, DelayCause};
use crate::model::reading::Code;
use crate::model::task::Target;
use crate::units::{Limit, Span};
use crate::watch::InstanceTally;

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The number of rows.
    pub lines: usize,
    /// The number of columns.
    pub columns: usize,
}

/// The line of the cursor at the end of the program.
const CURSOR_LINES: usize = 1;
/// Delayed targets with a line of their own; more would leave no room for tasks.
const MOST_DELAYS: usize = 3;
/// A terminal narrower than this has no room for names.
const COLUMNS_FOR_NAMES: usize = 60;
/// The longest ids of the cloud are UUIDs.
const WIDEST_ID: usize = 36;

/// The present view.
pub fn frame(tasks: &Tasks, now: Steady, size: Size, timeout: Limit) -> Vec<String> {
    let height = size.lines.saturating_sub(CURSOR_LINES).max(1);
    let open: Vec<&TaskRow> = tasks.rows.iter().filter(|row| !row.is_over).collect();
    let all = total(tasks, now, timeout) + &rate(tasks);
    let mut last = last_lines(tasks, now, &all, size.columns);
    if open.len() + last.len() > height {
        // Some line is not shown, so the last line says how many.
        let states = states(tasks, &open);
        last = last_lines(tasks, now, &format!("{all}; {states}"), size.columns);
    }
    last.truncate(height);
    let room = height - last.len();
    let mut shown = open.clone();
    if shown.len() > room {
        // A task without a poll so far has no moment, and follows the others.
        shown.sort_by_key(|row| {
            let next = row.next.map_or(i64::MAX, |Steady(next)| next);
            (!is_in_trouble(tasks, row), next)
        });
        shown.truncate(room);
    }
    let labels = Labels::of(shown.iter().copied(), size.columns);
    let line = |row: &&TaskRow| {
        let mut parts = labels.parts(row);
        parts.push(match (&row.status, &row.fault) {
            (Some(status), _) => in_words(status, row.instances),
            (None, Some(_)) => "no response yet".to_owned(),
            (None, None) => "not polled yet".to_owned(),
        });
        parts.push(brief(whole_seconds(now - tasks.started)));
        parts.push(what_next(tasks, row, now));
        cut(parts.join("  ").trim_end(), size.columns)
    };
    shown.iter().map(line).chain(last).collect()
}

/// The table that stays when the view is closed: the tasks that did not succeed. With one task it is empty,
/// since the line of its event is just above.
pub fn failures(tasks: &Tasks, size: Size) -> Vec<String> {
    let failed: Vec<_> = tasks.rows.iter().filter_map(|row| Some((row, row.failure.as_ref()?))).collect();
    if failed.is_empty() || tasks.rows.len() == 1 {
        return Vec::new();
    }
    let room = size.lines.saturating_sub(CURSOR_LINES + 2).max(1);
    let head = match failed.len() {
        count if count > room => format!("{count} tasks did not succeed; the first {room}:"),
        1 => "1 task did not succeed:".to_owned(),
        count => format!("{count} tasks did not succeed:"),
    };
    let shown = &failed[..failed.len().min(room)];
    let labels = Labels::of(shown.iter().map(|(row, _)| *row), size.columns);
    let results = shown.iter().map(|(_, failure)| failure.result.width()).max().unwrap_or_default();
    let lines = shown.iter().map(|(row, failure)| {
        let mut parts = labels.parts(row);
        parts.push(padded(failure.result, results));
        parts.push(escaped(&failure.cause).into_owned());
        cut(parts.join("  ").trim_end(), size.columns)
    });
    std::iter::once(cut(&head, size.columns)).chain(lines).collect()
}

/// The widths of the first columns of a table of tasks: the id, and the name where there is room for it.
struct Labels {
    ids: usize,
    /// 0: the column is left out.
    names: usize,
}

impl Labels {
    fn of<'a>(rows: impl Iterator<Item = &'a TaskRow>, columns: usize) -> Self {
        let (mut ids, mut names) = (0, 0);
        for row in rows {
            ids = ids.max(escaped(&row.id).width());
            names = names.max(row.name.as_deref().map(|name| escaped(name).width()).unwrap_or_default());
        }
        let names = if columns < COLUMNS_FOR_NAMES { 0 } else { names.min(columns / 4) };
        Self { ids: ids.min(WIDEST_ID), names }
    }

    fn parts(&self, row: &TaskRow) -> Vec<String> {
        let mut parts = vec![padded(&row.id, self.ids)];
        if self.names > 0 {
            parts.push(padded(row.name.as_deref().unwrap_or_default(), self.names));
        }
        parts
    }
}

/// The lines below the tasks: the delayed targets, and the total over as many lines as it needs.
fn last_lines(tasks: &Tasks, now: Steady, total: &str, columns: usize) -> Vec<String> {
    let delays = tasks.delays(now);
    let is_one = delays.len() == 1;
    let delays = delays.into_iter().take(MOST_DELAYS).map(|(target, delay)| {
        let Target { account, region, operation } = target;
        // The account is known, unless there are several.
        let of = if is_one { String::new() } else { format!(" of account {account}") };
        let what = in_full(delay, now);
        cut(&escaped(&format!("{operation} in {region}{of}: {what}")), columns)
    });
    delays.chain(wrapped(total, columns)).collect()
}

/// The delay of a target, with its end.
fn in_full(delay: Delay, now: Steady) -> String {
    let next = delay.until.map(|until| whole_seconds(until - now)).filter(|wait| !wait.is_zero());
    match (delay.cause, next) {
        (DelayCause::CircuitBreaker, Some(wait)) => {
            format!("circuit breaker open, next probe in {}", brief(wait))
        }
        (DelayCause::CircuitBreaker, None) => "circuit breaker open, probe in flight".to_owned(),
        (DelayCause::RequestedPause, next) => {
            let next = next.map(|wait| format!(", next poll in {}", brief(wait))).unwrap_or_default();
            format!("the cloud requested a pause{next}")
        }
        (DelayCause::Throttled { rate, full_from }, next) => {
            let rate = format!("throttled, {} polls/s", per_second(rate));
            let next = next.map(|wait| format!(", next poll in {}", brief(wait))).unwrap_or_default();
            let full = whole_seconds(full_from - now);
            let full = if full.is_zero() { String::new() } else { format!(", full rate in {}", brief(full)) };
            format!("{rate}{next}{full}")
        }
    }
}

/// The rate of all polls, and whether it is bounded by the rate limit.
fn rate(tasks: &Tasks) -> String {
    let Some((used, allowed)) = tasks.rate() else { return String::new() };
    let used_and_allowed = format!("{} of {} polls/s", per_second(used), per_second(allowed));
    // Even spacing and timers leave a few percent unused.
    if used >= 0.9 * allowed {
        format!("; {used_and_allowed}: at the rate limit")
    } else {
        format!("; {used_and_allowed}")
    }
}

fn per_second(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.2}") } else { format!("{rate:.0}") }
}

/// The number of open tasks by state.
fn states(tasks: &Tasks, open: &[&TaskRow]) -> String {
    let is_new = |row: &TaskRow| row.status.is_none() && !is_in_trouble(tasks, row);
    let trouble = open.iter().filter(|row| is_in_trouble(tasks, row)).count();
    let new = open.iter().filter(|row| is_new(row)).count();
    let counts = [(open.len() - trouble - new, "running"), (new, "not polled yet")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    if counts.is_empty() { "not all shown".to_owned() } else { counts.join(", ") }
}

/// The status of an unfinished task.
fn in_words(status: &Code, instances: InstanceTally) -> String {
    let status = match status {
        Code::Int(number) => format!("running (status {number})"),
        Code::Text(text) => format!("status {}", escaped(text)),
    };
    let InstanceTally { all, done, failed } = instances;
    match (all, failed) {
        (0 | 1, _) => status,
        (_, 0) => format!("{status}, {done} of {all} instances done"),
        (_, _) => format!("{status}, {done} of {all} instances done, {failed} failed"),
    }
}

/// A text over as many lines as it needs, broken at blanks.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line, columns)).collect()
}

/// The summary of all tasks.
pub fn total(tasks: &Tasks, now: Steady, timeout: Limit) -> String {
    let Tally { success, failure, partial, deadline, rejected, open } = tasks.tally;
    let all = tasks.rows.len();
    let ends = [
        (success, "success"),
        (failure, "failure"),
        (partial, "partial"),
        (deadline, "late"),
        (rejected, "rejected"),
    ];
    let ends: Vec<String> = ends
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let mut text = format!("{} of {all} finished", all - open);
    if !ends.is_empty() {
        text = format!("{text} ({})", ends.join(", "));
    }
    let trouble = tasks.rows.iter().filter(|row| !row.is_over && is_in_trouble(tasks, row)).count();
    if trouble > 0 {
        text = format!("{text}, {trouble} with errors");
    }
    let age = brief(whole_seconds(now - tasks.started));
    match timeout {
        Limit(Some(limit)) => format!("{text}; {age} of {}", Span(limit)),
        Limit(None) => format!("{text}; {age}"),
    }
}

fn is_in_trouble(tasks: &Tasks, row: &TaskRow) -> bool {
    row.fault.is_some() || tasks.hold_of(row).is_some()
}

fn what_next(tasks: &Tasks, row: &TaskRow, now: Steady) -> String {
    if let Some(why) = tasks.hold_of(row) {
        return format!("held: {}", escaped(why));
    }
    // Before its first poll a task has no state.
    let Some(next) = row.next else { return String::new() };
    let delay = tasks.delay_of(row, now);
    let next = delay.and_then(|delay| delay.until).map_or(next, |until| next.max(until));
    let next = match whole_seconds(next - now) {
        Duration::ZERO => "now".to_owned(),
        span => format!("in {}", brief(span)),
    };
    match &row.fault {
        Some(fault) => format!("again {next}: {}", escaped(fault)),
        None => match delay.map(|delay| delay.cause) {
            None => format!("next poll {next}"),
            Some(DelayCause::Throttled { .. }) => format!("next poll {next} (throttled)"),
            Some(DelayCause::RequestedPause) => format!("next poll {next} (requested pause)"),
            Some(DelayCause::CircuitBreaker) => "waits for the circuit breaker".to_owned(),
        },
    }
}

/// A clock with parts of a second would make the view restless.
fn whole_seconds(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}

/// Cut or filled to that width.
fn padded(text: &str, width: usize) -> String {
    let text = cut(&escaped(text), width);
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::wait::tasks::Failure;
    use crate::model::reading::{Class, Fault};
    use crate::model::task::{NewTask, Origin, Settings, TaskId};
    use crate::watch::PollReport;

    const SECOND: i64 = 1_000_000;

    fn target() -> Arc<Target> {
        Arc::new(Target { account: "default".into(), region: "bj".into(), operation: "bm".into() })
    }

    fn tasks(count: u64, name: &str) -> Tasks {
        let settings = Settings { name: Some(name.to_owned()), ..Settings::default() };
        let task = |id| NewTask {
            target: target(),
            id: TaskId::Int(1_000_800_000 + id),
            settings: settings.clone(),
            origin: Origin::File,
            again: false,
        };
        Tasks::new(&(0..count).map(task).collect::<Vec<_>>(), Steady(0))
    }

    fn poll(tasks: &mut Tasks, id: u64, poll: Result<i64, &str>) {
        let fault = |message: &str| Fault {
            class: Class::Service,
            code: Code::Int(6000),
            message: message.to_owned(),
            retry_after: None,
        };
        let poll = poll.map(Code::Int).map_err(fault);
        tasks.seen(PollReport {
            target: target(),
            id: TaskId::Int(1_000_800_000 + id),
            poll,
            next: Some(Steady((40 + id as i64) * SECOND)),
            instances: InstanceTally::default(),
            delay: None,
            rate: None,
        });
    }

    fn shown(tasks: &Tasks, lines: usize, columns: usize) -> Vec<String> {
        frame(tasks, Steady(9 * SECOND), Size { lines, columns }, Limit(Some(Duration::from_secs(3600))))
    }

    #[test]
    fn a_line_says_what_a_task_is_how_it_stands_and_what_comes_next() {
        let mut tasks = tasks(2, "rack 7");
        poll(&mut tasks, 0, Ok(4));
        poll(&mut tasks, 1, Err("cannot resolve the host"));
        let expected = [
            "1000800000  rack 7  running (status 4)  9s  next poll in 31s",
            "1000800001  rack 7  no response yet  9s  again in 32s: 6000: cannot resolve the host",
            "0 of 2 finished, 1 with errors; 9s of 1h",
        ];
        assert_eq!(shown(&tasks, 24, 200), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_however_wide_its_characters() {
        let mut tasks = tasks(3, "重装七号机架的服务器，一共有很多台\u{1b}[31m 👩‍💻 e\u{301}");
        poll(&mut tasks, 0, Ok(4));
        poll(&mut tasks, 1, Err("机器不见了\n机器不见了机器不见了机器不见了机器不见了机器不见了机器不见了"));
        for columns in [1, 20, 80, 200] {
            let lines = shown(&tasks, 24, columns);
            assert!(
                lines.iter().all(|line| line.width() <= columns && !line.contains(char::is_control)),
                "{columns}: {lines:#?}"
            );
            assert!(columns < 20 || lines[0].starts_with("1000800000"), "{lines:#?}");
        }
        // Names are aligned by their visible width, not by characters.
        let at = |line: &String, text: &str| line.split(text).next().unwrap().width();
        let lines = shown(&tasks, 24, 200);
        assert_eq!(at(&lines[0], "running (status 4)"), at(&lines[1], "no response yet"));
    }

    #[test]
    fn of_more_tasks_than_lines_those_in_trouble_come_first_and_then_the_soonest() {
        let mut tasks = tasks(1000, "rack 7");
        for id in [300, 20] {
            poll(&mut tasks, id, Ok(4));
        }
        for id in [5, 900] {
            poll(&mut tasks, id, Err("internal error"));
        }
        let lines = shown(&tasks, 24, 120);
        assert_eq!(lines.len(), 23, "{lines:#?}");
        for (line, id) in lines.iter().zip([5, 900, 20, 300, 0]) {
            assert!(line.starts_with(&format!("{}", 1_000_800_000 + id)), "{lines:#?}");
        }
        let total = "0 of 1000 finished, 2 with errors; 9s of 1h; 2 running, 996 not polled yet";
        assert_eq!(lines[22], total);
        (0..1000).for_each(|id| poll(&mut tasks, id, Err("internal error")));
        assert_eq!(shown(&tasks, 24, 120).len(), 23, "never more than the terminal has");
    }

    #[test]
    fn tasks_that_did_not_succeed_are_listed_when_the_view_is_closed() {
        let failed = |tasks: &mut Tasks, place: usize, result, cause: &str| {
            tasks.rows[place].failure = Some(Failure { result, cause: cause.to_owned() });
        };
        let mut few = tasks(3, "rack 7");
        failed(&mut few, 0, "failed", "no such image\u{1b}[31m");
        failed(&mut few, 2, "rejected by the cloud", "5000: no such task");
        let size = |lines, columns| Size { lines, columns };
        let expected = [
            "2 tasks did not succeed:",
            "1000800000  rack 7  failed                 no such image\\u001b[31m",
            "1000800002  rack 7  rejected by the cloud  5000: no such task",
        ];
        assert_eq!(failures(&few, size(24, 200)), expected);
        let narrow = failures(&few, size(24, 40));
        assert_eq!(narrow[2], "1000800002  rejected by the cloud  5000…");
        let mut many = tasks(100, "rack 7");
        (0..100).for_each(|place| failed(&mut many, place, "failed", ""));
        let lines = failures(&many, size(24, 80));
        assert_eq!((lines.len(), lines[0].as_str()), (22, "100 tasks did not succeed; the first 21:"));
        let mut one = tasks(1, "rack 7");
        failed(&mut one, 0, "failed", "");
        assert_eq!((failures(&one, size(24, 80)), failures(&tasks(3, "a"), size(24, 80))), (vec![], vec![]));
    }

    #[test]
    fn the_total_is_wrapped_and_not_cut() {
        let mut tasks = tasks(2, "rack 7");
        poll(&mut tasks, 0, Err("internal error"));
        let lines = shown(&tasks, 24, 30);
        assert_eq!(lines[2..], ["0 of 2 finished, 1 with", "errors; 9s of 1h"], "{lines:#?}");
    }

    #[test]
    fn throttling_and_an_open_circuit_breaker_are_shown_with_their_end() {
        let seen = |cause, until: i64, instances| {
            let mut tasks = tasks(1, "rack 7");
            tasks.seen(PollReport {
                target: target(),
                id: TaskId::Int(1_000_800_000),
                poll: Ok(Code::Int(4)),
                next: Some(Steady(10 * SECOND)),
                instances,
                delay: Some(Delay { until: Some(Steady(until * SECOND)), cause }),
                rate: Some((0.5, 19.0)),
            });
            shown(&tasks, 24, 200)
        };
        let throttled = DelayCause::Throttled { rate: 0.79, full_from: Steady(100 * SECOND) };
        let instances = InstanceTally { all: 8, done: 5, failed: 1 };
        let expected = [
            "1000800000  rack 7  running (status 4), 5 of 8 instances done, 1 failed  9s  next poll in 20s (throttled)",
            "bm in bj: throttled, 0.79 polls/s, next poll in 20s, full rate in 1m 31s",
            "0 of 1 finished; 9s of 1h; 0.50 of 19 polls/s",
        ];
        assert_eq!(seen(throttled, 29, instances), expected);
        let lines = seen(DelayCause::CircuitBreaker, 29, InstanceTally::default());
        assert_eq!(lines[0], "1000800000  rack 7  running (status 4)  9s  waits for the circuit breaker");
        assert_eq!(lines[1], "bm in bj: circuit breaker open, next probe in 20s");
        let over = DelayCause::Throttled { rate: 0.79, full_from: Steady(8 * SECOND) };
        assert_eq!(seen(over, 7, InstanceTally::default()).len(), 2, "the full rate is restored");
    }
}
