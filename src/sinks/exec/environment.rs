//! What a program finds in its environment: a few variables of the daemon's, and the facts of its event;
//! nothing else.
//!
//! What systemd and the cloud's SDK set for the daemon (`NOTIFY_SOCKET`, `CREDENTIALS_DIRECTORY`,
//! `TENCENTCLOUD_SECRET_KEY`) is not the program's. Names and labels come from outside, so they choose no
//! variable's name, and their text is made harmless.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde_json::Value;

use crate::model::event::Event;
use crate::sinks::fields;
use crate::telemetry::line::cut;

/// What a program needs to find others, its user's files, and its language and time zone.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// What is kept of one value: more than any name needs, and all of them together stay far below what the
/// system passes on.
const VALUE_BYTES: usize = 1024;

/// What is of use to a script beside the log line's fields, in place of one of the same name (a dead
/// delivery's line has the type of what was not delivered): `OPWATCH_TYPE` is always that of the event
/// itself. With a JSON pointer for the records of tasks and one for others.
const BESIDE: [(&str, [&str; 2]); 3] = [
    ("OPWATCH_TYPE", ["/type", "/type"]),
    ("OPWATCH_ACCOUNT", ["/data/task/account", "/data/account"]),
    ("OPWATCH_REGION", ["/data/task/region", "/data/region"]),
];

/// The daemon's variables that its programs see too.
#[derive(Clone, Debug)]
pub struct Inherited(Vec<(&'static str, OsString)>);

impl Inherited {
    /// Those of this process, as far as they are set.
    pub fn of_process() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    /// Those that this finds.
    pub fn of(find: impl Fn(&str) -> Option<OsString>) -> Self {
        Self(INHERITED.into_iter().filter_map(|name| Some((name, find(name)?))).collect())
    }

    /// The folders in which a program without a slash is looked for.
    pub fn search_path(&self) -> Vec<PathBuf> {
        /// As the C library has it where no variable says so.
        const USUAL: &str = "/bin:/usr/bin";
        let path = self
            .0
            .iter()
            .find(|(name, _)| *name == "PATH")
            .map_or(OsStr::new(USUAL), |(_, value)| value.as_os_str());
        std::env::split_paths(path).collect()
    }

    /// Names and values.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &OsString)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

/// The facts of an event: `OPWATCH_` and the log line's keys in upper case, and a few more. What it lacks is
/// not set.
pub fn of(event: &Event) -> BTreeMap<String, String> {
    let (_, fields) = fields::of(event);
    let mut variables: BTreeMap<String, String> = fields
        .iter()
        .map(|(key, value)| (format!("OPWATCH_{}", key.to_ascii_uppercase()), harmless(value)))
        .collect();
    variables.insert("OPWATCH_EVENT_ID".to_owned(), event.id.hyphenated().to_string());
    // The record was written by this program. Should it not parse after all, the id still says which event it
    // is.
    let record: Value = serde_json::from_str(&event.body).unwrap_or_default();
    for (name, pointers) in BESIDE {
        if let Some(value) = pointers.iter().find_map(|pointer| record.pointer(pointer)) {
            variables.insert(name.to_owned(), harmless(value));
        }
    }
    variables
}

/// A value as one line of bounded text: a NUL would end it, and other control characters would command the
/// terminal that a script prints it on.
fn harmless(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    cut(&text, VALUE_BYTES)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}
