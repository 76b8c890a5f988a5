//! The output of `wait`: a live view on a terminal, lines elsewhere, and with `--json` events on standard
//! output.
//!
//! The live view is on standard error. It is shown if that is a terminal, and standard output is a terminal
//! too or has JSON: lines in a pipe and a view of the same tasks would mix on one screen.

use std::cell::Cell;
use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::LocalModes;

use super::frame::Size;

use crate::cli::{CommandFailure, print};
use crate::lines::event::{in_colour, line};
use crate::lines::line::Level;
use crate::model::event::{Event, Kind};
use crate::telemetry::{self, Format, Surroundings};

/// The highest frame rate of a terminal.
const FRAMES_A_SECOND: u8 = 10;
/// The size of a terminal without a size.
const USUAL: Size = Size { lines: 24, columns: 80 };

/// Where it goes.
pub struct Output {
    json: bool,
    live: Option<ProgressBar>,
    /// The number of rows of the last view, and the width of the terminal then.
    drawn: Cell<(usize, usize)>,
    has_colours: bool,
}

impl Output {
    /// As the standard descriptors are.
    ///
    /// # Errors
    /// When `$RUST_LOG` is wrong.
    pub fn new(json: bool) -> Result<Self, CommandFailure> {
        let surroundings = Surroundings::of_process();
        let is_screen = std::io::stdout().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        // Its lines would tear the view.
        let wants_log = std::env::var_os("RUST_LOG").is_some_and(|levels| !levels.is_empty());
        let is_live = surroundings.is_terminal && !is_dumb && !wants_log && (is_screen || json);
        if !is_live {
            // Without a view, faults are logged instead.
            let log = telemetry::Config { level: Level::Warn, format: Format::Text };
            telemetry::init(&log, surroundings)?;
        }
        let live = is_live.then(|| {
            let bar =
                ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(FRAMES_A_SECOND));
            bar.set_style(
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar
        });
        Ok(Self { json, live, drawn: Cell::default(), has_colours: surroundings.has_colours() })
    }

    /// Whether it is to be drawn.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Draws the view again.
    pub fn draw(&self, frame: impl FnOnce(Size) -> Vec<String>) {
        let Some(bar) = &self.live else { return };
        let size = size();
        let lines = frame(size);
        let (count, columns) = self.drawn.replace((lines.len(), size.columns));
        if columns != size.columns {
            let rows = (count * columns).div_ceil(size.columns);
            follow_reflow(bar, count, rows);
        }
        bar.set_message(lines.join("\n"));
    }

    /// Writes an event. The write may block as long as the reader does, and must not delay anything else.
    ///
    /// # Errors
    /// When standard output is closed.
    pub async fn write_event(&self, event: Event) -> Result<(), CommandFailure> {
        let is_json_on_the_screen = self.json && std::io::stdout().is_terminal();
        let is_shown = matches!(
            event.kind,
            Kind::Finished | Kind::Abandoned | Kind::Overdue | Kind::AccountHeld | Kind::AccountReleased
        );
        if let Some(bar) =
            self.live.as_ref().filter(|_| is_shown && !(is_json_on_the_screen && event.kind.is_final()))
        {
            bar.println(in_colour(&event, line(&event).text(false), self.has_colours));
        }
        let text = match (&self.live, self.json) {
            (_, true) if event.kind.is_final() => event.body,
            (None, false) => line(&event).text(false),
            (Some(_), false) | (_, true) => return Ok(()),
        };
        let bar = self.live.clone();
        let written = tokio::task::spawn_blocking(move || match bar {
            Some(bar) => bar.suspend(|| print::line(&text)),
            None => print::line(&text),
        });
        written.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Ctrl-C was pressed: most terminals print it after the view, whose last row is full, and so one row
    /// below.
    pub fn interrupted(&self) {
        let shows_it = |modes: LocalModes| modes.contains(LocalModes::ECHO | LocalModes::ECHOCTL);
        if self.live.is_some()
            && rustix::termios::tcgetattr(std::io::stdin())
                .is_ok_and(|terminal| shows_it(terminal.local_modes))
        {
            // A closed terminal is ignored.
            let _ = std::io::stderr().write_all(b"\r\x1b[2K\x1b[1A");
        }
    }

    /// A line on standard error on how the tasks stand.
    pub fn progress(&self, total: &str) {
        // A closed standard error is ignored.
        let _ = writeln!(std::io::stderr(), "opwatch: {total}");
    }

    /// Removes the view, except the tasks that did not succeed and the final summary.
    pub fn close(&self, failures: impl FnOnce(Size) -> Vec<String>, total: &str) {
        if let Some(bar) = &self.live {
            for line in failures(size()) {
                bar.println(line);
            }
            bar.println(total);
            bar.finish_and_clear();
        }
    }
}

/// Moves the cursor to where the drawing library expects it, after a change of the width: its rows fill the
/// terminal, so that nearly all terminals wrap them again, from `count` rows to `rows`. On a terminal that
/// does not, a row above may be lost.
fn follow_reflow(bar: &ProgressBar, count: usize, rows: usize) {
    const UP_AND_CLEAR: &str = "\u{1b}[1A\u{1b}[2K";
    let mut terminal = std::io::stderr();
    // A closed terminal is ignored.
    let _ = terminal.write_all("\n".repeat(count.saturating_sub(rows)).as_bytes());
    bar.suspend(|| {
        let _ = terminal.write_all(UP_AND_CLEAR.repeat(rows.saturating_sub(count)).as_bytes());
    });
}

fn size() -> Size {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { lines: size.ws_row.into(), columns: size.ws_col.into() }
        }
        Ok(_) | Err(_) => USUAL,
    }
}
