//! The program's own log as lines on standard error.
//!
//! The formatter of tracing-subscriber is not used: it panics through `eprintln!` where standard error is
//! closed, passes line ends, and may block a thread of the daemon without a reader. Values belong to the
//! event itself; spans are not shown.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::Clock;
use crate::lines::line::{Fields, Level, LogLine, MAX_VALUE_BYTES, cut};
use crate::lines::output::{LineOutput, write_waiting};
use crate::problem::chain;

/// The longest wait of a line for its reader. Then the line is dropped, and so are the next ones without a
/// wait.
const PATIENCE: Duration = Duration::from_millis(200);

/// Lines on standard error.
#[derive(Debug)]
pub struct LineLayer {
    lines: Arc<Mutex<LineOutput>>,
    clock: Clock,
    form: LineFormat,
    is_stuck: AtomicBool,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// For people.
    Text {
        /// Whether the level is coloured.
        has_colours: bool,
    },
    /// For programs.
    Json,
}

impl LineLayer {
    /// The layer that writes these lines.
    pub fn new(lines: Arc<Mutex<LineOutput>>, form: LineFormat) -> Self {
        Self { lines, clock: Clock::start(), form, is_stuck: AtomicBool::new(false) }
    }
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut collected = Collected::default();
        event.record(&mut collected);
        let Collected { message, mut fields } = collected;
        if !is_ours(event.metadata()) {
            fields.push(("target", event.metadata().target().into()));
        }
        let line = LogLine {
            time: self.clock.now().wall,
            level: level(event.metadata()),
            is_event: false,
            message: &message,
            fields,
        };
        let mut written = match self.form {
            LineFormat::Text { has_colours } => line.text(has_colours),
            LineFormat::Json => line.json(),
        };
        written.push('\n');
        let patience = if self.is_stuck.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        // A failure of standard error cannot be reported anywhere.
        let failed = write_waiting(&self.lines, written.as_bytes(), patience).is_err();
        self.is_stuck.store(failed, Ordering::Relaxed);
    }
}

/// Whether this program wrote it, and not a library.
pub fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(env!("CARGO_PKG_NAME"))
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// The message and the values of one event.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Fields,
}

impl Collected {
    fn text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message = text.to_owned();
        } else {
            self.fields.push((field.name(), cut(text, MAX_VALUE_BYTES).into()));
        }
    }
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &chain(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), value.into()));
    }
}
