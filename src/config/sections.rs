//! From the merged tree to the strict types, section by section, and from a key back to the place that set
//! it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::checks::{self, Check};
use super::known::{self, sink_keys, unknown_key};
use super::layer::Layer;
use super::overrides::Override;
use crate::model::policy::Policy;
use crate::model::route::LOG;
use crate::problem::{Place, Problem, nearest};
use crate::section::{self, Fault, KeyPath, Taken, dotted, short, suggestion};
use crate::sinks::{self, Common, Kind};
use crate::{store, telemetry};

/// What is being read, and what was wrong or doubtful with it so far.
pub struct Sections<'a> {
    layers: &'a [Layer<'a>],
    overrides: &'a [Override],
    problems: Vec<Problem>,
    doubts: Vec<Problem>,
}

/// Names stand in file names, log lines and metric labels.
const LONGEST_NAME_BYTES: usize = 64;

impl<'a> Sections<'a> {
    /// The layers, and what was wrong with them.
    pub fn new(layers: &'a [Layer<'a>], overrides: &'a [Override], problems: Vec<Problem>) -> Self {
        Self { layers, overrides, problems, doubts: Vec::new() }
    }

    /// All that was wrong, and all that was doubtful.
    pub fn into_told(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems, self.doubts)
    }

    /// `[poll]`.
    pub fn poll(&mut self, merged: &Value) -> Option<Policy> {
        self.top("poll", merged, &known::poll_keys(), checks::poll)
    }

    /// `[store]`.
    pub fn store(&mut self, merged: &Value) -> Option<store::Config> {
        let store = self.top("store", merged, &known::store_keys(), checks::store)?;
        Some(store::Config { url_place: self.place(&key_path(&["store".to_owned()], "url")), ..store })
    }

    /// `[log]`.
    pub fn log(&mut self, merged: &Value) -> Option<telemetry::Config> {
        self.top("log", merged, &known::log_keys(), |_| Vec::new())
    }

    /// The task files: those of all files together, unless the environment has a list of its own. One that is
    /// not there is told where it is named.
    pub fn task_files(&mut self, from_files: Vec<(PathBuf, Place)>) -> Vec<PathBuf> {
        let set = self.overrides.iter().find(|set| set.path == ["task_files"]);
        let set = set.and_then(|set| {
            Some(set.texts()?.into_iter().map(|path| (PathBuf::from(path), set.place())).collect())
        });
        let (missing, there): (Vec<_>, Vec<_>) =
            set.unwrap_or(from_files).into_iter().partition(|(path, _)| is_missing(path));
        for (path, place) in missing {
            self.tell_problem(Problem::new(
                place,
                format!("there is no {}; write the file, or name another one", path.display()),
            ));
        }
        there.into_iter().map(|(path, _)| path).collect()
    }

    /// `[sinks.*]`, with `log`.
    pub fn sinks(&mut self, merged: &Value) -> BTreeMap<String, sinks::Config> {
        let mut sinks =
            BTreeMap::from([(LOG.to_owned(), sinks::Config { common: Common::default(), kind: Kind::Log })]);
        for (name, table) in self.named("sinks", merged) {
            let at: KeyPath = vec!["sinks".to_owned(), name.clone()];
            let config = self.sink(&at, &name, table);
            sinks.extend(config.map(|config| (name, config)));
        }
        self.tell_shared_files(&sinks);
        sinks
    }

    /// Two writers of one file would take each other's lines for their own torn ones.
    fn tell_shared_files(&mut self, sinks: &BTreeMap<String, sinks::Config>) {
        let mut writers: HashMap<PathBuf, &str> = HashMap::new();
        for (name, config) in sinks {
            let path = match &config.kind {
                Kind::File(file) if !file.path.as_os_str().is_empty() => file.resolved(),
                Kind::Exec(_) | Kind::File(_) | Kind::Webhook(_) | Kind::Log => continue,
            };
            match writers.entry(path) {
                Entry::Vacant(vacant) => _ = vacant.insert(name),
                Entry::Occupied(other) => {
                    let what = format!(
                        "leads where that of [sinks.{}] does; name another path, or leave out one of the two",
                        other.get()
                    );
                    self.tell(&["sinks".to_owned(), name.clone()], "path", what);
                }
            }
        }
    }

    fn sink(&mut self, at: &KeyPath, name: &str, mut table: Value) -> Option<sinks::Config> {
        let r#type = table.as_object_mut().and_then(|table| table.remove("type"));
        let known = sink_keys(r#type.as_ref());
        let common = section::take::<Common>(table.clone());
        let kind = match (name, r#type.as_ref().map(Value::as_str)) {
            (LOG, None) => {
                Some(Taken { value: Some(Kind::Log), faults: Vec::new(), unknown: all_keys(&table) })
            }
            (LOG, Some(_)) => {
                self.tell(at, "type", "has no place here: the sink `log` is built in; leave it out, or give this sink another name");
                None
            }
            (_, Some(Some(LOG))) => {
                self.tell(at, "type", "is always there under the name `log`; leave this section out, or write [sinks.log] without a type");
                None
            }
            (_, Some(Some("exec"))) => Some(section::take(table).map(Kind::Exec)),
            (_, Some(Some("file"))) => Some(section::take(table).map(Kind::File)),
            (_, Some(Some("webhook"))) => {
                Some(section::take(table).map(|webhook| Kind::Webhook(Box::new(webhook))))
            }
            (_, Some(Some(other))) => {
                self.tell(
                    at,
                    "type",
                    format!("there is no sink type {:?}; {}", short(other), suggestion(other, &sinks::TYPES)),
                );
                None
            }
            (_, None | Some(None)) if self.told(at).iter().any(|key| key == "type") => None,
            (_, None | Some(None)) => {
                self.tell(
                    at,
                    "type",
                    format!(
                        "says what kind of sink this is; write type = and one of \"{}\"",
                        sinks::TYPES.join("\", \"")
                    ),
                );
                None
            }
        };
        let kind = kind.unwrap_or(Taken { value: None, faults: Vec::new(), unknown: Vec::new() });
        let faults = common.faults.iter().chain(&kind.faults).cloned();
        let unknown =
            unknown_to_both(&common.unknown, &kind.unknown).into_iter().map(|path| unknown_key(path, &known));
        let faults = faults.chain(unknown).collect();
        let common = self.checked(at, common.value, faults, checks::sink);
        match &kind.value {
            Some(Kind::Exec(exec)) => _ = self.checked(at, Some(exec), Vec::new(), |exec| checks::exec(exec)),
            Some(Kind::File(file)) if file.path.as_os_str().is_empty() => {
                self.tell(at, "path", "is empty; write the file's path, or \"-\" for standard output");
            }
            Some(Kind::Webhook(webhook)) => self.settle(at, webhook),
            Some(Kind::File(_) | Kind::Log) | None => {}
        }
        let takes_one = match &kind.value {
            Some(Kind::Exec(_)) => true,
            Some(Kind::Webhook(webhook)) => webhook.template.is_some() || webhook.template_file.is_some(),
            Some(Kind::File(_) | Kind::Log) | None => false,
        };
        if takes_one && common.as_ref().is_some_and(|common| common.batch.is_some()) {
            self.tell(
                at,
                "batch",
                "gathers nothing here, since each event goes out alone; leave it out, or limit `rate`",
            );
        }
        Some(sinks::Config { common: common?, kind: kind.value? })
    }

    /// Reads what a webhook's keys name, and tells what is wrong or doubtful with them.
    fn settle(&mut self, at: &KeyPath, webhook: &sinks::webhook::Config) {
        const ADDRESS_KEYS: [&str; 2] = ["url", "url_file"];
        let told = self.told(at);
        let mut doubts = Vec::new();
        let faults = webhook.settle(|key, what| doubts.push((key, what))).err().unwrap_or_default();
        for Fault { path, what } in faults {
            let key = dotted(&path);
            // A key that was left out as wrong, or is misspelt, would be told once more, as missing.
            let is_told = told.iter().any(|told| {
                *told == key || ADDRESS_KEYS.contains(&key.as_str()) && nearest(told, ADDRESS_KEYS).is_some()
            });
            if !is_told {
                self.tell_problem(Problem::new(self.place(&at.iter().cloned().chain(path).collect()), what));
            }
        }
        doubts.into_iter().for_each(|(key, what)| self.doubt(at, key, what));
    }

    /// The tables of `[accounts.*]` or `[sinks.*]`, as far as they are tables with a usable name.
    pub fn named(&mut self, section: &str, merged: &Value) -> Vec<(String, Value)> {
        let mut named = Vec::new();
        for (name, table) in merged.get(section).and_then(Value::as_object).into_iter().flatten() {
            let at: KeyPath = vec![section.to_owned(), name.clone()];
            let usable = !name.is_empty()
                && name.len() <= LONGEST_NAME_BYTES
                && !name.contains(char::is_control)
                && name.trim() == name;
            if !table.is_object() {
                // The value is not repeated: a key that belongs one level deeper may be a secret.
                self.tell(
                    &at,
                    "",
                    format!("is no table; write [{section}.NAME], with a name of your choice, and below it what belongs to it"),
                );
            } else if !usable {
                self.tell(
                    &at,
                    "",
                    format!("is no name; write 1 to {LONGEST_NAME_BYTES} bytes without control characters and outer blanks"),
                );
            } else {
                named.push((name.clone(), table.clone()));
            }
        }
        named
    }

    /// One table, with its checks.
    pub fn section<T: DeserializeOwned>(
        &mut self,
        at: &KeyPath,
        table: Value,
        known: &Value,
        checks: impl Fn(&T) -> Vec<Check>,
    ) -> Option<T> {
        let Taken { value, mut faults, unknown } = section::take::<T>(table);
        faults.extend(unknown.into_iter().map(|path| unknown_key(path, known)));
        self.checked(at, value, faults, checks)
    }

    /// Tells what is wrong with a key of the table at that path; `""` is the table itself.
    pub fn tell(&mut self, at: &[String], key: &str, what: impl Into<String>) {
        self.tell_problem(Problem::new(self.place(&key_path(at, key)), what));
    }

    /// Notes what is right but doubtful about a key of the table at that path.
    pub fn doubt(&mut self, at: &[String], key: &str, what: impl Into<String>) {
        self.doubt_problem(Problem::new(self.place(&key_path(at, key)), what));
    }

    /// Notes what is right but doubtful elsewhere.
    pub fn doubt_problem(&mut self, doubt: Problem) {
        self.doubts.push(doubt);
    }

    /// The keys of the table at that path of which something was told already.
    pub fn told(&self, at: &[String]) -> Vec<String> {
        let start = format!("{}.", dotted(at));
        let within = |problem: &Problem| problem.place.key.as_ref()?.strip_prefix(&start).map(str::to_owned);
        self.problems.iter().filter_map(within).collect()
    }

    /// Tells what is wrong elsewhere.
    pub fn tell_problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn top<T: DeserializeOwned>(
        &mut self,
        name: &str,
        merged: &Value,
        known: &Value,
        checks: impl Fn(&T) -> Vec<Check>,
    ) -> Option<T> {
        let table = merged.get(name).cloned().unwrap_or_else(|| Value::Object(Map::new()));
        self.section(&vec![name.to_owned()], table, known, checks)
    }

    fn checked<T>(
        &mut self,
        at: &KeyPath,
        value: Option<T>,
        faults: Vec<Fault>,
        checks: impl Fn(&T) -> Vec<Check>,
    ) -> Option<T> {
        let before = self.told(at);
        // A key that was dropped on the way here, as one with an unset variable is, would be told again as
        // missing.
        for fault in faults.into_iter().filter(|fault| !before.contains(&dotted(&fault.path))) {
            let path: KeyPath = at.iter().chain(&fault.path).cloned().collect();
            self.tell_problem(Problem::new(self.place(&path), fault.what));
        }
        let told = self.told(at);
        for check in value.as_ref().map(checks).into_iter().flatten().filter(|check| !check.holds) {
            // Two keys are compared only where both are surely what was meant.
            // A list from which an element was dropped is not what was meant either.
            let is_told = |key: &String| {
                key.strip_prefix(check.keys[0]).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let sure = told.is_empty() || check.keys.len() == 1 && !told.iter().any(is_told);
            if sure {
                self.tell(at, check.keys[0], check.what);
            }
        }
        value
    }

    /// The last layer that sets this key, or the nearest table above it.
    fn place(&self, path: &KeyPath) -> Place {
        for length in (1..=path.len()).rev() {
            let start = &path[..length];
            if let Some(set) = self.overrides.iter().find(|set| set.path == start) {
                return set.place();
            }
            if let Some((layer, line)) =
                self.layers.iter().rev().find_map(|layer| Some((layer, layer.find(start)?)))
            {
                return layer.place(Some(line), path);
            }
        }
        self.layers.first().map(|layer| layer.place(None, path)).unwrap_or_default()
    }
}

impl<T> Taken<T> {
    fn map<U>(self, into: impl FnOnce(T) -> U) -> Taken<U> {
        Taken { value: self.value.map(into), faults: self.faults, unknown: self.unknown }
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn key_path(at: &[String], key: &str) -> KeyPath {
    at.iter().cloned().chain(key.split('.').filter(|key| !key.is_empty()).map(str::to_owned)).collect()
}

fn all_keys(table: &Value) -> Vec<KeyPath> {
    table.as_object().into_iter().flat_map(|table| table.keys().map(|key| vec![key.clone()])).collect()
}

/// Two types read the same table: a key is unknown if each of them skipped it or the table that it is in.
fn unknown_to_both(one: &[KeyPath], other: &[KeyPath]) -> Vec<KeyPath> {
    let skipped = |path: &KeyPath, by: &[KeyPath]| by.iter().any(|skipped| path.starts_with(skipped));
    let mut unknown: Vec<KeyPath> = one.iter().filter(|path| skipped(path, other)).cloned().collect();
    unknown.extend(other.iter().filter(|path| skipped(path, one)).cloned());
    unknown.sort();
    unknown.dedup();
    unknown
}
