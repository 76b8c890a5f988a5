//! `OPWATCH__SECTION__KEY=value`: the environment as the last layer.
//!
//! A name is matched in any case, with `-` and `_` alike, since names of variables are limited. It must match
//! an existing key in an existing section, account or sink; a value becomes a number or a list only where the
//! key has that type.

use std::path::Path;

use serde_json::{Map, Value};

use super::environment::Environment;
use super::layer::TOP;
use super::{known, paths};
use crate::problem::{Place, Problem};
use crate::section::{KeyPath, dotted, suggestion};

/// One variable that sets one key.
pub struct Override {
    /// The key.
    pub path: KeyPath,
    /// The variable.
    pub variable: String,
    value: Value,
}

const PREFIX: &str = "OPWATCH__";
const SEPARATOR: &str = "__";

impl Override {
    /// As a layer that holds just this key.
    pub fn as_tree(&self) -> Value {
        let nest = |inner, key: &String| Value::Object(Map::from_iter([(key.clone(), inner)]));
        self.path.iter().rev().fold(self.value.clone(), nest)
    }

    /// The list that it sets, where it is one of texts.
    pub fn texts(&self) -> Option<Vec<&str>> {
        self.value.as_array()?.iter().map(Value::as_str).collect()
    }

    /// Its place.
    pub fn place(&self) -> Place {
        place(&self.variable)
    }
}

/// All overrides. `tree` is the content of the files, which defines the accounts and sinks.
pub fn read(
    environment: &Environment,
    tree: &Value,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<Override> {
    let known = known::known(tree);
    let mut overrides: Vec<Override> = Vec::new();
    for (name, value) in environment.with_prefix(PREFIX) {
        let variable = format!("{PREFIX}{name}");
        match one(name, value, &known, folder, environment) {
            Ok((path, _)) if let Some(other) = overrides.iter().find(|other| other.path == path) => {
                let what = format!("sets the same key as {}; unset one of the two", other.variable);
                problems.push(Problem::new(place(&variable), what));
            }
            Ok((path, value)) => overrides.push(Override { path, variable, value }),
            Err(what) => problems.push(Problem::new(place(&variable), what)),
        }
    }
    overrides
}

/// Variables that are almost overrides but lack a `_`, and would be ignored silently.
pub fn doubts(environment: &Environment) -> Vec<Problem> {
    const ALMOST: &str = "OPWATCH_";
    let sections = || TOP.iter().filter(|(_, is_table)| *is_table).map(|(section, _)| *section);
    let almost = environment
        .with_prefix(ALMOST)
        .filter(|(name, _)| sections().any(|section| joined(name, section).is_some()));
    let what = "has no effect: two `_` precede each part, as in OPWATCH__POLL__JITTER; correct or unset it";
    almost.map(|(name, _)| Problem::new(place(&format!("{ALMOST}{name}")), what)).collect()
}

fn place(variable: &str) -> Place {
    Place { key: Some(variable.to_owned()), ..Place::default() }
}

fn one(
    name: &str,
    value: Option<&str>,
    known: &Value,
    folder: &Path,
    environment: &Environment,
) -> Result<(KeyPath, Value), String> {
    let Some(value) = value else { return Err("is not UTF-8 text".to_owned()) };
    if same(name, "tasks") || name.to_ascii_lowercase().starts_with("tasks__") {
        return Err("[[tasks]] cannot be set from the environment; write them into a file".to_owned());
    }
    let parts: Vec<&str> = name.split(SEPARATOR).collect();
    let (path, default) = meet(&parts, known)?;
    let rebase = |path: &KeyPath, text: String| {
        paths::rebase(path, text, folder, environment)
            .ok_or("is relative to a folder whose name is not UTF-8 text; write the whole path")
    };
    let value = match default {
        Value::Object(keys) => {
            let names: Vec<&str> = keys.keys().map(String::as_str).collect();
            if names.is_empty() {
                return Err(
                    "has free names, which cannot be set from the environment; write them into a file"
                        .to_owned(),
                );
            }
            return Err(format!("sets a whole section; add `__` and {}", suggestion("", &names)));
        }
        Value::Array(_) => {
            let texts = texts(value).ok_or("is not a list; write it as in a file, such as [\"a\", \"b\"]")?;
            let element = |(index, text)| {
                let path = path.iter().cloned().chain([usize::to_string(&index)]).collect();
                rebase(&path, text).map(Value::String)
            };
            Value::Array(texts.into_iter().enumerate().map(element).collect::<Result<_, _>>()?)
        }
        // A value that is no number stays a text, so that the section reports the expected type.
        Value::Number(_) => {
            serde_json::from_str(value.trim()).ok().filter(Value::is_number).unwrap_or_else(|| value.into())
        }
        Value::Bool(_) => value.parse().map(Value::Bool).unwrap_or_else(|_| value.into()),
        Value::Null | Value::String(_) => Value::String(rebase(&path, value.to_owned())?),
    };
    Ok((path, value))
}

/// The key of a name, and its default.
fn meet<'a>(parts: &[&str], known: &'a Value) -> Result<(KeyPath, &'a Value), String> {
    let mut path = KeyPath::new();
    let mut here = known;
    let mut rest = parts;
    while !rest.is_empty() {
        let keys: Vec<&str> =
            here.as_object().into_iter().flat_map(|table| table.keys().map(String::as_str)).collect();
        // The longest name first: an account may be named `a__b`.
        let found = (1..=rest.len()).rev().find_map(|count| {
            let written = rest[..count].join(SEPARATOR);
            let exact = keys.iter().find(|key| **key == written);
            let alike: Vec<&&str> = keys.iter().filter(|key| same(key, &written)).collect();
            match (exact, &alike[..]) {
                (Some(key), _) => Some(Ok((count, *key))),
                (None, []) => None,
                (None, [key]) => Some(Ok((count, **key))),
                (None, [_, _, ..]) => Some(Err(format!(
                    "`{written}` matches several names; write it in the case of one of them"
                ))),
            }
        });
        let Some((count, key)) = found.transpose()? else {
            if !path.is_empty() && keys.is_empty() {
                return Err(format!(
                    "[{}] has free names, which cannot be set from the environment; write them into a file",
                    dotted(&path)
                ));
            }
            if let Some((section, key)) =
                keys.iter().filter(|key| here[**key].is_object()).find_map(|key| joined(rest[0], key))
            {
                return Err(format!(
                    "matches no key; two `_` separate a section and its key: write {section}__{key}"
                ));
            }
            let within = if path.is_empty() { String::new() } else { format!(" in [{}]", dotted(&path)) };
            return Err(format!(
                "matches no key: there is no `{}`{within}; {}",
                rest[0],
                suggestion(rest[0], &keys)
            ));
        };
        path.push(key.to_owned());
        here = &here[key];
        rest = &rest[count..];
    }
    Ok((path, here))
}

/// A section and a key in it with only one `_` between them.
fn joined<'a>(written: &'a str, section: &str) -> Option<(&'a str, &'a str)> {
    let (start, key) = written.split_at_checked(section.len())?;
    Some((start, key.strip_prefix('_')?)).filter(|_| same(start, section))
}

fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    plain(one) == plain(other)
}

/// A list as in a file, or a single text.
fn texts(value: &str) -> Option<Vec<String>> {
    if !value.trim_start().starts_with('[') {
        return Some(if value.is_empty() { Vec::new() } else { vec![value.to_owned()] });
    }
    #[derive(serde::Deserialize)]
    struct ListValue {
        list: Vec<String>,
    }
    toml::from_str::<ListValue>(&format!("list = {value}")).ok().map(|ListValue { list }| list)
}
