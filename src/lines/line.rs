//! The form of one line on standard error, for events and for the program's own log.
//!
//! A line stays one line and sends no command to a terminal, whatever its values: line ends, control
//! characters and characters that reorder or hide text are written as JSON escapes. Quoted values read back
//! with any JSON parser.

use std::borrow::Cow;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Wall;

/// The longest value. Messages and names of the cloud are far shorter; a line stays readable and below the
/// limits of pipes and log collectors.
pub const MAX_VALUE_BYTES: usize = 2048;

/// Keys and values in their order.
pub type Fields = Vec<(&'static str, Value)>;

/// The content of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine<'a> {
    /// When it happened.
    pub time: Wall,
    /// Severity.
    pub level: Level,
    /// Whether the line is of an event, whose text has no level.
    pub is_event: bool,
    /// A constant text.
    pub message: &'a str,
    /// The values.
    pub fields: Fields,
}

/// The log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A person must act.
    Error,
    /// Something may need a person soon.
    Warn,
    /// Events of normal operation.
    #[default]
    Info,
    /// Each poll and attempt.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The name in the configuration, in `$RUST_LOG` and in a line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl LogLine<'_> {
    /// `TIME message key=value …`, with the level after the time unless it is an event; without a line end.
    pub fn text(&self, has_colours: bool) -> String {
        let name = self.level.name().to_uppercase();
        let level = match (self.is_event, has_colours) {
            (true, _) => String::new(),
            (false, true) => format!("{}{name:<5}\u{1b}[0m ", colour(self.level)),
            (false, false) => format!("{name:<5} "),
        };
        format!("{} {level}{}", self.time, self.message_and_fields())
    }

    /// `message key=value …`: the text without its time and level.
    pub fn message_and_fields(&self) -> String {
        let mut words = escaped(&cut(self.message, MAX_VALUE_BYTES)).into_owned();
        for (key, value) in &self.fields {
            // Writing to a string cannot fail.
            _ = write!(words, " {key}={}", written(value));
        }
        words
    }

    /// One flat JSON object with `time`, `level`, `message` and the fields; without a line end.
    pub fn json(&self) -> String {
        let message = Value::from(cut(self.message, MAX_VALUE_BYTES));
        let level = self.level.name();
        let mut object = format!("{{\"time\":\"{}\",\"level\":\"{level}\",\"message\":{message}", self.time);
        for (key, value) in &self.fields {
            _ = write!(object, ",{}:{value}", Value::from(*key));
        }
        object.push('}');
        escaped(&object).into_owned()
    }
}

/// The first `max_bytes` bytes of a text, cut at a character; an ellipsis marks a cut.
pub fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    const ELLIPSIS: char = '…';
    if text.len() <= max_bytes {
        return text.into();
    }
    let end = text.floor_char_boundary(max_bytes.saturating_sub(ELLIPSIS.len_utf8()));
    format!("{}{ELLIPSIS}", &text[..end]).into()
}

/// A value after its key in text: bare where it is unambiguous, else as a JSON string.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(_) => escaped(&value.to_string()).into_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            escaped(&Value::from(value.to_string()).to_string()).into_owned()
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Escapes control characters (C1 too: U+009B alone starts a terminal sequence), and those that reorder, hide
/// or break text, as `\uXXXX` (two of them beyond U+FFFF). In JSON these characters occur only inside
/// strings, where the escape means the same text.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return text.into();
    }
    let mut printable = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unprintable(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                _ = write!(printable, "\\u{unit:04x}");
            }
        } else {
            printable.push(character);
        }
    }
    printable.into()
}

/// Control characters, line separators, and the characters that Unicode calls default-ignorable, except the
/// variation selectors of emoji: they are invisible, or change the direction of the text around them.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
                | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::Error => "\u{1b}[31m",
        Level::Warn => "\u{1b}[33m",
        Level::Info => "\u{1b}[32m",
        Level::Debug => "\u{1b}[34m",
        Level::Trace => "\u{1b}[35m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_name(name: &str) -> Fields {
        vec![
            ("task", Value::from("1000800001")),
            ("elapsed", Value::from(723.4)),
            ("name", Value::from(name)),
        ]
    }

    fn line(fields: Fields) -> LogLine<'static> {
        LogLine {
            time: Wall(1_764_000_000_000),
            level: Level::Info,
            is_event: true,
            message: "task finished",
            fields,
        }
    }

    const HOSTILE: &str = "a\nb\r\t\u{1b}[31m\u{9b}2J\u{7f}\0\u{2028}\u{202e}\u{61c}\u{180e}\u{ad}\u{34f}\u{115f}\u{3164}\u{ffa0}\u{206a}\u{e0000}\u{e0041}\u{e007f}\u{e0100}\"\\ 机";

    #[test]
    fn only_values_that_could_be_misread_are_quoted() {
        let text = line(with_name("rack-7_a.b")).text(false);
        assert_eq!(
            text,
            "2025-11-24T16:00:00.000Z task finished task=1000800001 elapsed=723.4 name=rack-7_a.b"
        );
        assert!(line(with_name("")).text(false).ends_with(r#"name="""#));
        assert!(line(with_name("a=b")).text(false).ends_with(r#"name="a=b""#));
    }

    #[test]
    fn a_hostile_value_neither_breaks_the_line_nor_reaches_the_terminal() {
        let line = line(with_name(HOSTILE));
        let is_printable = |character: char| character.is_ascii_graphic() || matches!(character, ' ' | '机');
        for written in [line.text(false), line.json()] {
            assert!(written.chars().all(is_printable), "{written:?}");
        }
    }

    #[test]
    fn a_hostile_value_reads_back_from_text_and_from_json() {
        let line = line(with_name(HOSTILE));
        let text = line.text(false);
        let quoted = text.split_once("name=").unwrap().1;
        assert_eq!(serde_json::from_str::<String>(quoted).unwrap(), HOSTILE);
        let object: Value = serde_json::from_str(&line.json()).unwrap();
        assert_eq!(object["name"], HOSTILE);
        assert_eq!(object["time"], "2025-11-24T16:00:00.000Z");
        assert_eq!(object["message"], "task finished");
        assert_eq!(object["elapsed"], 723.4);
    }

    #[test]
    fn a_long_text_is_cut_on_a_character() {
        assert_eq!(cut("机机机", 9), "机机机");
        assert_eq!(cut("机机机", 8), "机…");
        assert_eq!(cut("abc", 2), "…");
    }

    #[test]
    fn a_level_stands_after_the_time() {
        let line = LogLine { level: Level::Warn, is_event: false, ..line(Fields::new()) };
        assert_eq!(line.text(false), "2025-11-24T16:00:00.000Z WARN  task finished");
        assert!(line.text(true).contains("\u{1b}[33mWARN "));
        assert!(line.json().contains(r#""level":"warn","message":"#));
    }
}
