//! Tables that fit the terminal, relative times, and words with colours.

use std::io::IsTerminal;
use std::time::{Duration, UNIX_EPOCH};

use unicode_width::UnicodeWidthStr;

use crate::cli::print::cut;
use crate::clock::Wall;
use crate::lines::line::escaped;
use crate::units::coarse;

/// Between two columns.
const GAP: usize = 2;
/// A narrower last column is not cut further.
const LEAST: usize = 12;

/// A cell, with the colour of its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    text: String,
    colour: Option<&'static str>,
}

impl Cell {
    /// A text that needs attention.
    pub fn red(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: Some("\u{1b}[31m") }
    }

    /// A text to look at.
    pub fn yellow(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: Some("\u{1b}[33m") }
    }

    /// A good result.
    pub fn green(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: Some("\u{1b}[32m") }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), colour: None }
    }
}

/// The lines of a table. On a terminal the last column is cut to its width; on a narrow one, each cell has a line of its
/// own.
pub fn table(head: &[&str], rows: Vec<Vec<Cell>>) -> String {
    let is_terminal = std::io::stdout().is_terminal();
    let columns = rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| is_terminal && *columns > 0);
    let has_colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    drawn(head, rows, columns, has_colours)
}

fn drawn(head: &[&str], rows: Vec<Vec<Cell>>, columns: Option<usize>, has_colours: bool) -> String {
    let head: Vec<Cell> = head.iter().map(|name| Cell::from(name.to_uppercase())).collect();
    let rows: Vec<Vec<Cell>> = std::iter::once(head)
        .chain(rows)
        .map(|row| {
            row.into_iter().map(|cell| Cell { text: escaped(&cell.text).into_owned(), ..cell }).collect()
        })
        .collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width()).max().unwrap_or(0)
        })
        .collect();
    let before: usize = widths.iter().take(count.saturating_sub(1)).map(|width| width + GAP).sum();
    if let Some(columns) = columns.filter(|columns| before + LEAST > *columns) {
        return stacked(rows, columns, has_colours);
    }
    let last = columns.map(|columns| columns.saturating_sub(before).max(LEAST));
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, Cell { text, colour }) in row.into_iter().enumerate() {
            let is_last = column + 1 == count;
            let text = match last {
                Some(last) if is_last => cut(&text, last),
                Some(_) | None => text,
            };
            let blanks = if is_last { 0 } else { widths[column] + GAP - text.width() };
            line += &coloured(&text, colour.filter(|_| has_colours));
            line += &" ".repeat(blanks);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The cells of each row below each other, wrapped, behind the names of their columns; rows are apart.
fn stacked(rows: Vec<Vec<Cell>>, columns: usize, has_colours: bool) -> String {
    let mut rows = rows.into_iter();
    let head = rows.next().unwrap_or_default();
    let names = head.iter().map(|name| name.text.width()).max().unwrap_or_default();
    let row = |row: Vec<Cell>| {
        let cells = head.iter().zip(row).filter(|(_, cell)| !cell.text.is_empty());
        let line = |(name, Cell { text, colour }): (&Cell, Cell)| {
            let blanks = " ".repeat(names + GAP - name.text.width());
            let room = columns.saturating_sub(names + GAP).max(LEAST);
            // A text such as an error is wanted whole.
            let lines = textwrap::wrap(&text, textwrap::Options::new(room));
            let lines = lines.iter().map(|line| coloured(line, colour.filter(|_| has_colours)));
            let indented = lines.collect::<Vec<_>>().join(&format!("\n{}", " ".repeat(names + GAP)));
            format!("{}{blanks}{indented}\n", name.text)
        };
        cells.map(line).collect::<String>()
    };
    rows.map(row).collect::<Vec<_>>().join("\n")
}

fn coloured(text: &str, colour: Option<&str>) -> String {
    colour.map_or_else(|| text.to_owned(), |colour| format!("{colour}{text}\u{1b}[0m"))
}

/// A moment relative to now: `in 30s`, `2m ago`, `now`.
pub fn relative(moment: &str, now: Wall) -> String {
    let Ok(at) = humantime::parse_rfc3339(moment) else { return moment.to_owned() };
    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Duration::from_millis(now.0.max(0).unsigned_abs());
    let (earlier, later) = (now.saturating_sub(at), at.saturating_sub(now));
    if later >= Duration::from_secs(1) {
        format!("in {}", coarse(later.max(Duration::from_secs(1))))
    } else if earlier >= Duration::from_secs(1) {
        format!("{} ago", coarse(earlier))
    } else {
        "now".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_and_its_last_one_is_cut_to_the_terminal() {
        let rows = || {
            vec![
                vec!["1".into(), Cell::red("on hold"), "a text that is long".into()],
                vec!["重装".into(), "open".into(), "x".into()],
            ]
        };
        let text = drawn(&["id", "state", "name"], rows(), None, false);
        assert_eq!(text, "ID    STATE    NAME\n1     on hold  a text that is long\n重装  open     x\n");
        let text = drawn(&["id", "state", "name"], rows(), Some(30), true);
        assert!(text.contains("\u{1b}[31mon hold\u{1b}[0m  a text that is…\n"), "{text}");
        let text = drawn(&["id", "state", "name"], rows(), Some(24), false);
        let stacked = "ID     1\nSTATE  on hold\nNAME   a text that is\n       long\n\nID     重装\nSTATE  open\nNAME   x\n";
        assert_eq!(text, stacked);
    }

    #[test]
    fn times_are_relative() {
        let now = Wall(1_764_000_000_000);
        let at = |seconds: i64| relative(&Wall(now.0 + seconds * 1000).to_string(), now);
        assert_eq!([at(30), at(-125), at(0), at(-90_000)], ["in 30s", "2m 5s ago", "now", "25h ago"]);
    }
}
