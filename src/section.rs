//! Reads one table of keys into one strict type, and reports all its errors at once.
//!
//! The configuration and the lines of a task file are read by the same code. So both name the key and the
//! nearest known name alike. The caller adds the place of the table in a file. Values of keys with secrets
//! are never repeated.

use std::fmt::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::problem::nearest;

/// A key's path within its table; elements of lists by their number.
pub type KeyPath = Vec<String>;

/// One error in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFault {
    /// The key.
    pub path: KeyPath,
    /// The error and the fix.
    pub what: String,
}

impl TableFault {
    /// An error of the key at that path.
    pub fn new(path: &[&str], what: impl Into<String>) -> Self {
        Self { path: path.iter().map(ToString::to_string).collect(), what: what.into() }
    }
}

/// A table as one type took it.
pub struct ReadTable<T> {
    /// The value; `None` if it could not be made.
    pub value: Option<T>,
    /// Errors of known keys; these keys were left out.
    pub faults: Vec<TableFault>,
    /// Keys that the type does not know.
    pub unknown: Vec<KeyPath>,
}

impl<T> ReadTable<T> {
    /// The same table as another type.
    pub fn map<U>(self, into: impl FnOnce(T) -> U) -> ReadTable<U> {
        ReadTable { value: self.value.map(into), faults: self.faults, unknown: self.unknown }
    }
}

/// The largest number of wrong keys that are reported. A table with more is another kind of table.
const MOST_FAULTS: usize = 32;
/// Ends of serde's message for a value that is no text where the name of a variant is expected.
const ONE_OF_SEVERAL_WORDS: [&str; 2] = [", expected string or map", ", expected map with a single key"];
/// The longest quoted value, so that a message stays one line.
const LONGEST_QUOTE_CHARS: usize = 60;

/// The keys of a section, with their defaults as values; `extra` are keys that are never printed, such as
/// secrets.
pub fn keys<T: Serialize + Default>(extra: &[&str]) -> Value {
    let mut keys = serde_json::to_value(T::default()).unwrap_or_default();
    if let Value::Object(table) = &mut keys {
        table.extend(extra.iter().map(|key| ((*key).to_owned(), Value::Null)));
    }
    keys
}

/// Reads a whole table; `known` is the result of [`keys`] for the type. Without a fault, the value is exactly
/// the text.
pub fn read<T: DeserializeOwned>(table: Value, known: &Value) -> (Option<T>, Vec<TableFault>) {
    let taken = take(table);
    let mut faults = taken.faults;
    faults.extend(taken.unknown.into_iter().map(|path| unknown_key(path, known)));
    (taken.value, faults)
}

/// Reads the keys that this type knows from a table. A wrong key is reported and left out, and the rest is
/// read again.
pub fn take<T: DeserializeOwned>(mut table: Value) -> ReadTable<T> {
    let mut faults: Vec<TableFault> = Vec::new();
    loop {
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(ignored_path(&path));
        let error =
            match serde_path_to_error::deserialize(serde_ignored::Deserializer::new(&table, &mut note)) {
                Ok(value) => return ReadTable { value: Some(value), faults, unknown },
                Err(error) => error,
            };
        let mut path: KeyPath = error.path().iter().filter_map(segment).collect();
        let text = error.into_inner().to_string();
        // For a number in place of a variant, serde does not list the variants; for a text it does.
        if ONE_OF_SEVERAL_WORDS.iter().any(|end| text.ends_with(end))
            && replace(&mut table, &path, Value::from(""))
        {
            continue;
        }
        if let Some(missing) = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            path.push(missing.to_owned());
            if !faults.iter().any(|fault| fault.path.starts_with(&path)) {
                faults.push(TableFault { path, what: "is missing; it has no default".to_owned() });
            }
            return ReadTable { value: None, faults, unknown };
        }
        let what = misfit(&text, path.iter().any(|key| bears_secret(key)));
        let left_out = leave_out(&mut table, &path);
        faults.push(TableFault { path, what });
        if !left_out || faults.len() == MOST_FAULTS {
            return ReadTable { value: None, faults, unknown };
        }
    }
}

/// The error of an unknown key.
pub fn unknown_key(path: KeyPath, known: &Value) -> TableFault {
    /// The keys outside of all sections, which are often written into one.
    const ABOVE_SECTIONS: [&str; 2] = ["tasks", "task_files"];
    let (written, parents) =
        path.split_last().map_or(("", &[][..]), |(last, parents)| (last.as_str(), parents));
    if ABOVE_SECTIONS.contains(&written) {
        return TableFault {
            path,
            what: "does not belong here; move it to the top of the file, above the first [section]"
                .to_owned(),
        };
    }
    let siblings = parents.iter().try_fold(known, |table, key| table.get(key));
    let names: Vec<&str> = siblings
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|table| table.keys().map(String::as_str))
        .collect();
    let what = format!("unknown key; {}", suggestion(written, &names));
    TableFault { path, what }
}

/// Names of keys in other programs, and the key of opwatch.
const ELSEWHERE: [(&str, &str); 30] = [
    ("taskid", "id"),
    ("task_id", "id"),
    ("flowid", "id"),
    ("asyncrequestid", "id"),
    ("title", "name"),
    ("tags", "labels"),
    ("deadline", "timeout"),
    ("delay", "initial_delay"),
    ("interval", "max_interval"),
    ("backoff", "multiplier"),
    ("key", "secret_key"),
    ("access_key", "secret_id"),
    ("qps", "rate_limit"),
    ("address", "url"),
    ("path", "url"),
    ("database", "url"),
    ("dsn", "url"),
    ("file", "path"),
    ("filename", "path"),
    ("program", "command"),
    ("exec", "command"),
    ("cmd", "command"),
    ("http", "webhook"),
    ("https", "webhook"),
    ("robot", "webhook"),
    ("script", "exec"),
    ("shell", "exec"),
    ("command", "exec"),
    ("jsonl", "file"),
    ("error", "failure"),
];

/// `did you mean …` for a misspelt name, or the list of names.
pub fn suggestion(written: &str, names: &[&str]) -> String {
    match meant(written, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "no name is available here".to_owned(),
        None => format!("write one of {}", listed(names)),
    }
}

/// The intended name: that of the same key in other programs, or the nearest.
fn meant<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    suggested_name(written, names.iter().copied()).or_else(|| nearest(written, names.iter().copied()))
}

/// Whether one of these keys has another name in other programs.
pub fn has_suggested_name(written: &str, keys: &Value) -> bool {
    suggested_name(written, keys.as_object().into_iter().flat_map(Map::keys).map(String::as_str)).is_some()
}

fn suggested_name<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let means = |name: &&str| {
        ELSEWHERE.iter().any(|(other, ours)| written.eq_ignore_ascii_case(other) && name == ours)
    };
    names.into_iter().find(means)
}

/// A key's path as text: `sinks.audit.path`.
pub fn dotted<'a>(path: impl IntoIterator<Item = &'a String>) -> String {
    let mut text = String::new();
    for key in path {
        let bare = !key.is_empty()
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let separator = if text.is_empty() { "" } else { "." };
        // Writing to a String cannot fail.
        let _ =
            if bare { write!(text, "{separator}{key}") } else { write!(text, "{separator}{:?}", short(key)) };
    }
    text
}

/// Text cut to the length of a quotation.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether the value of this key may be a secret, or may contain one.
pub fn bears_secret(key: &str) -> bool {
    const PARTS: [&str; 9] =
        ["secret", "token", "password", "url", "headers", "endpoint", "proxy", "credential", "command"];
    let key = key.to_ascii_lowercase();
    PARTS.iter().any(|part| key.contains(part))
}

/// The names, as many as a person reads.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 16;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("`{}`", short(name))).collect();
    let more = if names.len() > MOST { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        // The name of a variant is a value, and no part of the path.
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn ignored_path(path: &serde_ignored::Path<'_>) -> KeyPath {
    use serde_ignored::Path;
    let (parent, key) = match path {
        Path::Root => return Vec::new(),
        Path::Map { parent, key } => (parent, Some(key.clone())),
        Path::Seq { parent, index } => (parent, Some(index.to_string())),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            (parent, None)
        }
    };
    let mut keys = ignored_path(parent);
    keys.extend(key);
    keys
}

/// Replaces the value at an existing path.
fn replace(table: &mut Value, path: &[String], value: Value) -> bool {
    let place = path.iter().try_fold(table, |within, key| match within {
        Value::Object(keys) => keys.get_mut(key),
        Value::Array(values) => values.get_mut(key.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    });
    place.map(|place| *place = value).is_some()
}

/// Removes a key from the table. For an element of a list, the whole key is removed, since the numbers of the
/// others would change.
fn leave_out(table: &mut Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    let Value::Object(keys) = table else { return false };
    match keys.get_mut(first) {
        Some(inner @ Value::Object(_)) if !rest.is_empty() => leave_out(inner, rest),
        Some(_) => keys.remove(first).is_some(),
        None => false,
    }
}

/// The message of serde for a wrong value, turned into a fix; without the value where that may be a secret.
fn misfit(text: &str, secret: bool) -> String {
    let (found, expected) = text.split_once(", expected ").unwrap_or((text, ""));
    if let Some(variant) = found.strip_prefix("unknown variant `") {
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let written = variant.trim_end_matches('`');
        let meant = meant(written, &names)
            .map(|name| format!("did you mean {name:?}? There are "))
            .unwrap_or_default();
        let form = if meant.is_empty() { "write one of " } else { &meant };
        let what = match written {
            "" => "does not fit".to_owned(),
            _ if secret => "unknown value".to_owned(),
            written => format!("unknown value {:?}", short(written)),
        };
        let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        return format!("{what}; {form}{}", names.join(", "));
    }
    let found = found
        .strip_prefix("invalid type: ")
        .or_else(|| found.strip_prefix("invalid value: "))
        .unwrap_or(found);
    match (secret, expected.is_empty()) {
        (true, true) => "does not fit here".to_owned(),
        (true, false) => format!("does not fit; write {}", for_people(expected)),
        (false, true) => short(found),
        (false, false) if found == "sequence" => {
            format!("a list does not fit; write {}", for_people(expected))
        }
        (false, false) if found == "map" => format!("a table does not fit; write {}", for_people(expected)),
        (false, false) => format!("{} does not fit; write {}", short(found), for_people(expected)),
    }
}

/// Names of Rust types in the terms of a configuration.
fn for_people(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more, in range",
        "i8" | "i16" | "i32" | "i64" => "a whole number, in range",
        "a boolean" => "true or false",
        "a map" => "a table, in { }",
        "a sequence" => "a list, in [ ]",
        "path string" => "a path, in quotes",
        "a string" | "variant identifier" => "a text, in quotes",
        form if form.starts_with("struct ") => "a table, in { }",
        form => form,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Inner {
        speed: f64,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Outer {
        count: u32,
        inner: Inner,
        api_token: Option<String>,
        labels: BTreeMap<String, String>,
        names: Vec<String>,
    }

    fn reported(table: Value) -> Vec<String> {
        let (_, faults) = read::<Outer>(table, &keys::<Outer>(&[]));
        faults.into_iter().map(|TableFault { path, what }| format!("{}: {what}", dotted(&path))).collect()
    }

    #[test]
    fn every_wrong_key_of_a_table_is_reported_in_one_go() {
        let reported = reported(
            json!({ "count": "x", "inner": { "speed": true, "sped": 1 }, "labels": { "a.b": 1 }, "names": ["a", 2], "cuont": 1 }),
        );
        assert_eq!(reported.len(), 6, "{reported:#?}");
        assert!(
            reported.contains(
                &"count: string \"x\" does not fit; write a whole number of 0 or more, in range".to_owned()
            ),
            "{reported:#?}"
        );
        assert!(
            reported.contains(&"inner.sped: unknown key; did you mean `speed`?".to_owned()),
            "{reported:#?}"
        );
        assert!(
            reported
                .contains(&"labels.\"a.b\": integer `1` does not fit; write a text, in quotes".to_owned()),
            "{reported:#?}"
        );
    }

    #[test]
    fn what_a_secret_bearing_key_holds_is_not_repeated() {
        let reported = reported(json!({ "api_token": 4242 }));
        assert_eq!(reported, ["api_token: does not fit; write a text, in quotes"]);
    }

    #[test]
    fn a_table_that_is_none_is_reported_once() {
        assert_eq!(reported(json!("text")), [": string \"text\" does not fit; write a table, in { }"]);
    }
}
