//! The live view as text: a line for each open task, and one for all; no line is wider than the terminal.
//!
//! Finished tasks are printed above it, as lines that stay. With more open tasks than rows, only tasks with a
//! failure have a row: a person can act on those.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::brief;
use super::tasks::{Tally, TaskRow, Tasks};
use crate::clock::Steady;
use crate::lines::line::escaped;
use crate::units::{Limit, Span};

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The number of rows.
    pub lines: usize,
    /// The number of columns.
    pub columns: usize,
}

/// Lines of no task: the total, and the line of the cursor at the end of the program.
const OTHER_LINES: usize = 2;
/// A terminal narrower than this has no room for names.
const COLUMNS_FOR_NAMES: usize = 60;
/// The longest ids of the cloud are UUIDs.
const WIDEST_ID: usize = 36;

/// The present view.
pub fn frame(tasks: &Tasks, now: Steady, size: Size, timeout: Limit) -> Vec<String> {
    let room = size.lines.saturating_sub(OTHER_LINES);
    let open: Vec<&TaskRow> = tasks.rows.iter().filter(|row| !row.is_over).collect();
    let shown: Vec<&TaskRow> = if open.len() <= room {
        open.clone()
    } else {
        open.iter().copied().filter(|row| is_in_trouble(tasks, row)).take(room).collect()
    };
    let widest = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(|text| escaped(text).width()).max().unwrap_or_default()
    };
    let ids = widest(&mut shown.iter().map(|row| row.id.as_str())).min(WIDEST_ID);
    let names = widest(&mut shown.iter().filter_map(|row| row.name.as_deref())).min(size.columns / 4);
    let names = if size.columns < COLUMNS_FOR_NAMES { 0 } else { names };
    let line = |row: &&TaskRow| {
        let mut parts = vec![padded(&row.id, ids)];
        if names > 0 {
            parts.push(padded(row.name.as_deref().unwrap_or_default(), names));
        }
        parts.push(match (&row.status, &row.fault) {
            (Some(status), _) => format!("status {}", escaped(&status.to_string())),
            (None, Some(_)) => "no response yet".to_owned(),
            (None, None) => "not polled yet".to_owned(),
        });
        parts.push(brief(whole_seconds(now - tasks.started)));
        parts.push(what_next(tasks, row, now));
        cut(parts.join("  ").trim_end(), size.columns)
    };
    let mut lines: Vec<String> = shown.iter().map(line).collect();
    let mut last = total(tasks, now, timeout);
    if open.len() > shown.len() {
        last = format!("{last}; {} not shown", open.len() - shown.len());
    }
    lines.push(cut(&last, size.columns));
    lines
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
    let next = match whole_seconds(next - now) {
        Duration::ZERO => "now".to_owned(),
        span => format!("in {}", brief(span)),
    };
    match &row.fault {
        Some(fault) => format!("again {next}: {}", escaped(fault)),
        None => format!("next poll {next}"),
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

/// The first `columns` columns of a text; an ellipsis marks a cut.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut width = 0;
    let fits = |letter: &char| {
        width += letter.width().unwrap_or_default();
        width < columns
    };
    let kept: String = text.chars().take_while(fits).collect();
    if columns == 0 { kept } else { format!("{kept}…") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::reading::{Class, Code, Fault};
    use crate::model::task::{NewTask, Origin, Settings, Target, TaskId};
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
            next: Some(Steady(40 * SECOND)),
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
            "1000800000  rack 7  status 4  9s  next poll in 31s",
            "1000800001  rack 7  no response yet  9s  again in 31s: 6000: cannot resolve the host",
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
        assert_eq!(at(&lines[0], "status 4"), at(&lines[1], "no response yet"));
    }

    #[test]
    fn of_more_tasks_than_lines_only_those_in_trouble_have_one() {
        let mut tasks = tasks(1000, "rack 7");
        for id in [5, 900] {
            poll(&mut tasks, id, Err("internal error"));
        }
        let lines = shown(&tasks, 24, 120);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines[1].starts_with("1000800900"), "{lines:#?}");
        assert_eq!(lines[2], "0 of 1000 finished, 2 with errors; 9s of 1h; 998 not shown");
        (0..1000).for_each(|id| poll(&mut tasks, id, Err("internal error")));
        assert_eq!(shown(&tasks, 24, 120).len(), 23, "never more than the terminal has");
    }
}
