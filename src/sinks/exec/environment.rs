//! The environment of a program: a few variables of the daemon, and the facts of its event.
//!
//! The program does not inherit variables of systemd and of the SDKs (`NOTIFY_SOCKET`,
//! `CREDENTIALS_DIRECTORY`, `TENCENTCLOUD_SECRET_KEY`). Names and labels come from outside, so no variable is
//! named after them, and control characters are removed from their text.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde_json::Value;

use crate::lines::event::OpenTasks;
use crate::lines::line::cut;
use crate::model::event::{Data, Event};

/// Search path, home folder, language and time zone.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// The longest value: more than any name has, and far below the limit of the system for all values.
const VALUE_BYTES: usize = 1024;

/// Variables of the daemon that its programs get.
#[derive(Clone, Debug)]
pub struct Inherited(Vec<(&'static str, OsString)>);

impl Inherited {
    /// Variables of this process that are set.
    pub fn of_process() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    /// Those that this finds.
    pub fn of(find: impl Fn(&str) -> Option<OsString>) -> Self {
        Self(INHERITED.into_iter().filter_map(|name| Some((name, find(name)?))).collect())
    }

    /// The folders of the search path.
    pub fn search_path(&self) -> Vec<PathBuf> {
        /// The default of the C library.
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

/// The facts of an event: `OPWATCH_` and the log line's keys in upper case, and a few more. A missing value
/// is not set.
pub fn of(event: &Event, open_tasks: &OpenTasks) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = open_tasks
        .line(event)
        .fields
        .iter()
        .map(|(key, value)| (format!("OPWATCH_{}", key.to_ascii_uppercase()), harmless(value)))
        .collect();
    let (account, region) = account_and_region(event);
    let beside = [
        ("OPWATCH_EVENT_ID", Some(event.id.hyphenated().to_string())),
        // In place of the log line's key: the line of a dead letter has the type of the undelivered event.
        ("OPWATCH_TYPE", Some(event.kind.name().to_owned())),
        ("OPWATCH_ACCOUNT", account.map(|account| harmless(&account.into()))),
        ("OPWATCH_REGION", region.map(|region| harmless(&region.into()))),
    ];
    variables.extend(beside.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    variables
}

fn account_and_region(event: &Event) -> (Option<&str>, Option<&str>) {
    match event.data() {
        Some(Data::Task(data)) => (Some(&data.task.account), Some(&data.task.region)),
        Some(Data::Account(data)) => (Some(&data.account), data.region.as_deref()),
        Some(Data::Group(_) | Data::Sink(_) | Data::Delivery(_)) | None => (None, None),
    }
}

/// A value as one line of bounded text: a NUL would end it, and a terminal would obey other control
/// characters.
fn harmless(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    cut(&text, VALUE_BYTES)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}
