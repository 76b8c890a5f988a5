//! One file of a configuration: parsed once, with the line of every key, into a tree that can be merged.
//!
//! `[[tasks]]` are not in the tree: they become [`Listed`] entries here, with integers up to 2^64-1 and the
//! line of each key.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::environment::Environment;
use super::text::Text;
use super::{expand, known, paths, syntax};
use crate::problem::{Place, Problem};
use crate::register::{self, TaskEntry, WrittenId, listed::Listed};
use crate::section::{self, KeyPath, ReadTable, dotted, suggestion};

/// A configuration file, understood.
pub struct Layer<'a> {
    text: &'a Text,
    line_ends: Vec<usize>,
    table: DeTable<'a>,
    /// All keys but `tasks` and `task_files`, with variables replaced and absolute paths.
    pub tree: Value,
    /// `[[tasks]]`.
    pub tasks: Vec<Listed>,
    /// `task_files`, each with its place; those of all files are joined, as `[[tasks]]` are.
    pub task_files: Vec<(PathBuf, Place)>,
    /// Whether it is no TOML.
    pub broken: bool,
}

/// The keys of the top level, and whether they are tables.
pub const TOP: [(&str, bool); 9] = [
    ("task_files", false),
    ("accounts", true),
    ("poll", true),
    ("tasks", false),
    ("sinks", true),
    ("store", true),
    ("http", true),
    ("heartbeat", true),
    ("log", true),
];
/// Sections with named tables.
pub const NAMED: [&str; 2] = ["accounts", "sinks"];
/// The first errors of syntax are reported; the rest usually follows from them.
const MOST_SYNTAX_ERRORS: usize = 4;

impl<'a> Layer<'a> {
    /// Parses a file, with all its errors.
    pub fn parse(text: &'a Text, environment: &Environment, problems: &mut Vec<Problem>) -> Self {
        let (table, errors) = DeTable::parse_recoverable(&text.text);
        let line_ends = text.text.match_indices('\n').map(|(position, _)| position).collect();
        let mut layer = Self {
            text,
            line_ends,
            table: table.into_inner(),
            tree: Value::Null,
            tasks: Vec::new(),
            task_files: Vec::new(),
            broken: !errors.is_empty(),
        };
        let mut seen: HashMap<usize, &str> = HashMap::new();
        let mut reported = 0;
        for error in &errors {
            let line = layer.line(&error.span().unwrap_or_default());
            // A line has one error, and adjacent lines with the same error have the same cause.
            let is_alike = seen.get(&(line - 1)) == Some(&error.message());
            let is_new = seen.insert(line, error.message()).is_none() && !is_alike;
            if is_new && reported < MOST_SYNTAX_ERRORS {
                reported += 1;
                problems.push(Problem::new(text.place(Some(line)), syntax::explain(error.message())));
            }
        }
        if errors.is_empty() {
            layer.convert(environment, problems);
        }
        layer
    }

    /// The line of a key, if this file has it.
    pub fn find(&self, path: &[String]) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let (key, value) = self.table.get_key_value(first.as_str())?;
        find(key.span(), value, rest).map(|span| self.line(&span))
    }

    /// The file.
    pub fn text(&self) -> &Text {
        self.text
    }

    /// A problem with a key of this file.
    pub fn problem(&self, key: &[String], what: String) -> Problem {
        Problem::new(self.place(self.find(key), key), what)
    }

    /// A place in this file.
    pub fn place(&self, line: Option<usize>, key: &[String]) -> Place {
        Place { key: (!key.is_empty()).then(|| dotted(key)), ..self.text.place(line) }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.line_ends.partition_point(|end| *end < span.start)
    }

    fn convert(&mut self, environment: &Environment, problems: &mut Vec<Problem>) {
        let folder = self.text.path.parent().unwrap_or(Path::new(""));
        let mut tree = Map::new();
        let mut task_files = Vec::new();
        // Removed from the table, so that each entry is freed once read, and a long list is not in memory
        // twice.
        let entries = self.table.remove_entry("tasks");
        let mut converter = Converter { layer: self, environment, folder, problems, path: Vec::new() };
        let tasks =
            entries.map(|(key, value)| converter.tasks(key.span(), value.into_inner())).unwrap_or_default();
        for (key, value) in &self.table {
            let name = key.get_ref().as_ref();
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            match TOP.iter().find(|(top, _)| *top == name) {
                None => {
                    converter.report_at(name, key.span(), unknown(name, is_table));
                }
                Some(("task_files", _)) => {
                    task_files =
                        converter.at(name.to_owned(), |converter| converter.task_files(key.span(), value))
                }
                Some((_, true)) if !is_table => {
                    let section =
                        if NAMED.contains(&name) { format!("{name}.NAME") } else { name.to_owned() };
                    converter.report_at(
                        name,
                        key.span(),
                        format!("is a section; write [{section}] with its keys below"),
                    )
                }
                Some(_) => {
                    let converted = converter.at(name.to_owned(), |converter| converter.value(value));
                    tree.extend(converted.map(|value| (name.to_owned(), value)));
                }
            }
        }
        self.tree = Value::Object(tree);
        self.tasks = tasks;
        self.task_files = task_files;
    }
}

/// The error of an unknown key or section of the top level.
fn unknown(name: &str, is_table: bool) -> String {
    let tops: Vec<&str> = TOP.iter().map(|(top, _)| *top).collect();
    if is_table {
        return match suggestion(name, &tops) {
            near if near.starts_with("did you mean") => format!("there is no such section; {near}"),
            _ => "there is no such section; write [accounts.NAME], [poll], [[tasks]], [sinks.NAME], [store], [http], [heartbeat] or [log]".to_owned(),
        };
    }
    known::of_another_section(name).unwrap_or_else(|| format!("unknown key; {}", suggestion(name, &tops)))
}

/// The place of the deepest key of the path.
fn find(key: Range<usize>, value: &Spanned<DeValue<'_>>, path: &[String]) -> Option<Range<usize>> {
    let Some((first, rest)) = path.split_first() else { return Some(key) };
    match value.get_ref() {
        DeValue::Table(table) => {
            let (key, value) = table.get_key_value(first.as_str())?;
            find(key.span(), value, rest)
        }
        DeValue::Array(array) => {
            let value = array.get(first.parse::<usize>().ok()?)?;
            find(value.span(), value, rest)
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

/// Converts TOML to a tree, and collects the problems.
struct Converter<'a> {
    layer: &'a Layer<'a>,
    environment: &'a Environment,
    folder: &'a Path,
    problems: &'a mut Vec<Problem>,
    path: KeyPath,
}

impl Converter<'_> {
    fn at<T>(&mut self, key: String, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key);
        let result = inner(self);
        self.path.pop();
        result
    }

    fn tell(&mut self, span: Range<usize>, what: impl Into<String>) {
        let place = self.layer.place(Some(self.layer.line(&span)), &self.path);
        self.problems.push(Problem::new(place, what));
    }

    fn report_at(&mut self, key: &str, span: Range<usize>, what: String) {
        self.at(key.to_owned(), |converter| converter.tell(span, what));
    }

    /// The value, or nothing after a reported problem.
    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let span = value.span();
        match value.get_ref() {
            DeValue::String(text) => self.text(text, span),
            DeValue::Integer(number) => {
                let number = i128::from_str_radix(number.as_str(), number.radix()).ok();
                let converted = number.and_then(|number| {
                    u64::try_from(number)
                        .map(Value::from)
                        .or_else(|_| i64::try_from(number).map(Value::from))
                        .ok()
                });
                if converted.is_none() {
                    self.tell(span, "is too large a number; the largest is 18446744073709551615");
                }
                converted
            }
            DeValue::Float(number) => {
                let converted =
                    number.as_str().parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
                if converted.is_none() {
                    self.tell(span, "is not a finite number; write one such as 1.6");
                }
                converted
            }
            DeValue::Boolean(value) => Some(Value::Bool(*value)),
            DeValue::Datetime(_) => {
                self.tell(span, "is a date without quotes; write text in quotes");
                None
            }
            DeValue::Array(array) => {
                let values = array.iter().enumerate().filter_map(|(index, value)| {
                    self.at(index.to_string(), |converter| converter.value(value))
                });
                Some(Value::Array(values.collect()))
            }
            DeValue::Table(table) => Some(Value::Object(self.table(table))),
        }
    }

    fn table(&mut self, table: &DeTable<'_>) -> Map<String, Value> {
        let mut converted = Map::new();
        for (key, value) in table {
            let key = key.get_ref().as_ref().to_owned();
            let value = self.at(key.clone(), |converter| converter.value(value));
            converted.extend(value.map(|value| (key, value)));
        }
        converted
    }

    fn text(&mut self, text: &str, span: Range<usize>) -> Option<Value> {
        match expand::expand(text, self.environment) {
            Ok(text) => match paths::rebase(&self.path, text, self.folder, self.environment) {
                Some(text) => Some(Value::String(text)),
                None => {
                    self.tell(
                        span,
                        "is relative to a folder whose name is not UTF-8 text; write the whole path",
                    );
                    None
                }
            },
            Err(what) => {
                self.tell(span, what);
                None
            }
        }
    }

    fn task_files(&mut self, key: Range<usize>, value: &Spanned<DeValue<'_>>) -> Vec<(PathBuf, Place)> {
        let before = self.problems.len();
        let converted = self.value(value);
        let paths: Option<Vec<PathBuf>> = match converted {
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from))
                .collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_))
            | None => None,
        };
        if paths.is_none() && self.problems.len() == before {
            self.tell(key, "does not fit; write a list of paths, such as [\"rack7.tasks\"]");
        }
        let elements = value.get_ref().as_array().into_iter().flatten();
        let places =
            elements.map(|element| self.layer.place(Some(self.layer.line(&element.span())), &self.path));
        paths.unwrap_or_default().into_iter().zip(places).collect()
    }

    fn tasks(&mut self, key: Range<usize>, value: DeValue<'_>) -> Vec<Listed> {
        let form = "is a list of tables; write [[tasks]] with the keys of a task below";
        let DeValue::Array(array) = value else {
            self.report_at("tasks", key, form.to_owned());
            return Vec::new();
        };
        self.at("tasks".to_owned(), |converter| converter.entries(array, form))
    }

    fn entries(&mut self, array: DeArray<'_>, form: &str) -> Vec<Listed> {
        let mut entries = Vec::with_capacity(array.len());
        for value in array {
            let bare = match value.get_ref() {
                DeValue::Integer(number) => number.as_str().parse().ok().map(WrittenId::Int),
                DeValue::String(text) => Some(WrittenId::Text(text.as_ref().to_owned())),
                DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => None,
            };
            if let Some(id) = bare {
                // As a line of a task file.
                let written = TaskEntry { id: Some(id), ..TaskEntry::default() };
                let place = self.layer.place(Some(self.layer.line(&value.span())), &self.path);
                entries.push(Listed { written, place, lines: Vec::new() });
                continue;
            }
            let DeValue::Table(table) = value.get_ref() else {
                self.tell(value.span(), form);
                continue;
            };
            let before = self.problems.len();
            let converted = Value::Object(self.table(table));
            let ReadTable { value: written, mut faults, unknown } = section::take::<TaskEntry>(converted);
            faults.extend(unknown.into_iter().map(|path| known::unknown_key(path, &register::KEYS)));
            for fault in faults {
                let span = fault.path.split_first().and_then(|(first, rest)| {
                    let (key, value) = table.get_key_value(first.as_str())?;
                    find(key.span(), value, rest)
                });
                let path: KeyPath = self.path.iter().chain(&fault.path).cloned().collect();
                let place = self.layer.place(Some(self.layer.line(&span.unwrap_or(value.span()))), &path);
                self.problems.push(Problem::new(place, fault.what));
            }
            let lines = table
                .keys()
                .map(|key| (key.get_ref().as_ref().into(), self.layer.line(&key.span())))
                .collect();
            let place = self.layer.place(Some(self.layer.line(&value.span())), &self.path);
            entries.extend(written.filter(|_| self.problems.len() == before).map(|written| Listed {
                written,
                place,
                lines,
            }));
        }
        entries
    }
}
