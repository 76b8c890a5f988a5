//! From the merged tree to the strict types, section by section, and from a key back to its place.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::checks::{self, Check};
use super::known::{self, sink_keys, unknown_key};
use super::layer::Layer;
use super::overrides::Override;
use crate::files;
use crate::model::policy::Policy;
use crate::model::route::LOG;
use crate::problem::{Place, Problem, nearest};
use crate::section::{self, KeyPath, ReadTable, TableFault, dotted, short, suggestion};
use crate::sinks::{self, Common, SinkType, TypeConfig, TypedConfig};
use crate::units::Limit;
use crate::{api, heartbeat, store, telemetry};

/// The sections, with their errors and warnings so far.
pub struct Sections<'a> {
    layers: &'a [Layer<'a>],
    overrides: &'a [Override],
    problems: Vec<Problem>,
    doubts: Vec<Problem>,
}

/// The path of a Unix socket on Linux.
const LONGEST_SOCKET_BYTES: usize = 107;
/// Names are parts of file names, log lines and metric labels.
const LONGEST_NAME_BYTES: usize = 64;

impl<'a> Sections<'a> {
    /// The layers, and their problems.
    pub fn new(layers: &'a [Layer<'a>], overrides: &'a [Override], problems: Vec<Problem>) -> Self {
        Self { layers, overrides, problems, doubts: Vec::new() }
    }

    /// All errors, and all warnings.
    pub fn into_reported(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems, self.doubts)
    }

    /// `[poll]`.
    pub fn poll(&mut self, merged: &Value) -> Option<Policy> {
        let poll = self.top("poll", merged, &known::poll_keys(), checks::poll)?;
        if let (Limit(Some(warn_after)), Limit(Some(timeout))) = (poll.warn_after, poll.timeout)
            && warn_after >= timeout
        {
            self.doubt(
                &["poll".to_owned()],
                "warn_after",
                "has no effect, since `timeout` ends the task before; write a shorter time",
            );
        }
        Some(poll)
    }

    /// `[store]`.
    pub fn store(&mut self, merged: &Value) -> Option<store::Config> {
        let store = self.top("store", merged, &known::store_keys(), checks::store)?;
        if let Some(doubt) = store::doubt(&store) {
            self.doubt(&["store".to_owned()], "url", doubt);
        }
        Some(store::Config { url_place: self.place(&key_path(&["store".to_owned()], "url")), ..store })
    }

    /// `[http]`.
    pub fn http(&mut self, merged: &Value) -> Option<api::Config> {
        let http: api::Config = self.top("http", merged, &known::http_keys(), checks::http)?;
        if let Some(socket) = &http.socket {
            let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                // systemd makes the folder of a service at its start.
                self.doubt(
                    &["http".to_owned()],
                    "socket",
                    "is in a folder that does not exist; create it, unless the service does",
                );
            } else if socket.as_os_str().len() > LONGEST_SOCKET_BYTES {
                self.report(&["http".to_owned()], "socket", format!("is longer than {LONGEST_SOCKET_BYTES} bytes, the most for a socket; write a shorter path"));
            }
        }
        if http.token_file.is_some() && http.listen.is_none() {
            self.doubt(
                &["http".to_owned()],
                "token_file",
                "has no effect without `listen`, since the socket needs no token; remove it, or add `listen`",
            );
        }
        Some(http)
    }

    /// `[heartbeat]`.
    pub fn heartbeat(&mut self, merged: &Value) -> Option<heartbeat::Config> {
        self.top("heartbeat", merged, &known::heartbeat_keys(), checks::heartbeat)
    }

    /// `[log]`.
    pub fn log(&mut self, merged: &Value) -> Option<telemetry::Config> {
        self.top("log", merged, &known::log_keys(), |_| Vec::new())
    }

    /// The task files of all files together, unless the environment has a list of its own. A missing file is
    /// reported at its name.
    pub fn task_files(&mut self, from_files: Vec<(PathBuf, Place)>) -> Vec<PathBuf> {
        let set = self.overrides.iter().find(|set| set.path == ["task_files"]);
        let set = set.and_then(|set| {
            Some(set.texts()?.into_iter().map(|path| (PathBuf::from(path), set.place())).collect())
        });
        let (missing, there): (Vec<_>, Vec<_>) = set
            .unwrap_or(from_files)
            .into_iter()
            .partition(|(path, _)| files::metadata(path).is_err_and(|error| error.is_missing()));
        for (path, place) in missing {
            self.report_problem(Problem::new(
                place,
                format!("there is no {}; write the file, or name another one", path.display()),
            ));
        }
        there.into_iter().map(|(path, _)| path).collect()
    }

    /// `[sinks.*]`, with `log`.
    pub fn sinks(&mut self, merged: &Value) -> BTreeMap<String, sinks::Config> {
        let log = sinks::Config::new(Common::default(), TypedConfig::Log(Box::default()));
        let mut sinks = BTreeMap::from([(LOG.to_owned(), log)]);
        for (name, table) in self.named("sinks", merged) {
            let at: KeyPath = vec!["sinks".to_owned(), name.clone()];
            let config = self.sink(&at, &name, table);
            sinks.extend(config.map(|config| (name, config)));
        }
        self.report_shared_files(&sinks);
        sinks
    }

    /// Two writers of one file would take the lines of the other for incomplete lines of their own.
    fn report_shared_files(&mut self, sinks: &BTreeMap<String, sinks::Config>) {
        let mut writers: HashMap<PathBuf, &str> = HashMap::new();
        for (name, config) in sinks {
            let Some((key, path)) = config.kind.config().appends_to() else { continue };
            match writers.entry(path) {
                Entry::Vacant(vacant) => _ = vacant.insert(name),
                Entry::Occupied(other) => {
                    let what = format!(
                        "is the same file as that of [sinks.{}]; name another path, or leave out one of the two",
                        other.get()
                    );
                    self.report(&["sinks".to_owned(), name.clone()], key, what);
                }
            }
        }
    }

    fn sink(&mut self, at: &KeyPath, name: &str, mut table: Value) -> Option<sinks::Config> {
        let written = table.as_object_mut().and_then(|table| table.remove("type"));
        let r#type = self.sink_type(at, name, written.as_ref());
        let known = sink_keys(r#type);
        let common = section::take::<Common>(table.clone());
        let kind = match r#type {
            Some(r#type) => (r#type.read)(table),
            None => ReadTable { value: None, faults: Vec::new(), unknown: Vec::new() },
        };
        let faults = common.faults.iter().chain(&kind.faults).cloned();
        let unknown =
            unknown_to_both(&common.unknown, &kind.unknown).into_iter().map(|path| unknown_key(path, &known));
        let faults = faults.chain(unknown).collect();
        let common = self.checked(at, common.value, faults, checks::sink);
        let config = kind.value.as_ref().map(TypedConfig::config);
        config.into_iter().for_each(|config| self.check(at, config));
        if config.is_some_and(TypeConfig::sends_singly)
            && common.as_ref().is_some_and(|common| common.batch.is_some())
        {
            let what = "has no effect here: each event is sent alone; leave it out, or limit `rate`";
            self.report(at, "batch", what);
        }
        Some(sinks::Config::new(common?, kind.value?))
    }

    /// The type of the sink of that name; `type` has that value.
    fn sink_type(&mut self, at: &KeyPath, name: &str, written: Option<&Value>) -> Option<&'static SinkType> {
        let written = written.map(Value::as_str);
        let choices: Vec<&str> =
            sinks::TYPES.iter().map(|r#type| r#type.name).filter(|r#type| *r#type != LOG).collect();
        let what = match (name, written) {
            (LOG, None | Some(Some(LOG))) => return SinkType::named(LOG),
            (LOG, Some(_)) => {
                "does not belong here: the sink `log` is built in; leave it out, or rename this sink"
                    .to_owned()
            }
            (_, Some(Some(LOG))) => {
                "always exists under the name `log`; leave this section out, or write [sinks.log]".to_owned()
            }
            (_, Some(Some(written))) => match SinkType::named(written) {
                Some(r#type) => return Some(r#type),
                None => {
                    format!("there is no sink type {:?}; {}", short(written), suggestion(written, &choices))
                }
            },
            (_, None | Some(None)) if self.reported_keys(at).iter().any(|key| key == "type") => return None,
            (_, None | Some(None)) => {
                format!("is missing; write type = and one of \"{}\"", choices.join("\", \""))
            }
        };
        self.report(at, "type", what);
        None
    }

    /// Checks the keys of a sink's type, and the files that they name.
    fn check(&mut self, at: &KeyPath, config: &dyn TypeConfig) {
        let reported = self.reported_keys(at);
        let mut doubts = Vec::new();
        for TableFault { path, what } in config.check(&mut |key, what| doubts.push((key, what))) {
            let key = dotted(&path);
            // A key that was left out as wrong, or is misspelt, would be reported again, as missing. A secret
            // may be in the configuration or in a file.
            let spellings = [key.clone(), format!("{key}_file")];
            let is_told = reported.iter().any(|reported| {
                let is_part =
                    reported.strip_prefix(&key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
                let is_misspelt =
                    path.len() == 1 && nearest(reported, spellings.iter().map(String::as_str)).is_some();
                is_part || is_misspelt
            });
            if !is_told {
                self.report_problem(Problem::new(
                    self.place(&at.iter().cloned().chain(path).collect()),
                    what,
                ));
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
                self.report(
                    &at,
                    "",
                    format!("is not a table; write [{section}.NAME] with any name, and its keys below"),
                );
            } else if !usable {
                self.report(
                    &at,
                    "",
                    format!("is not a valid name; write 1 to {LONGEST_NAME_BYTES} bytes without control characters and outer blanks"),
                );
            } else {
                named.push((name.clone(), table.clone()));
            }
        }
        // A second name in other letters is a typing error that would make a second account or sink.
        let mut known: HashMap<String, String> = HashMap::new();
        for (name, _) in &named {
            if let Some(other) = known.insert(name.to_lowercase(), name.clone()) {
                let what = format!(
                    "differs from [{section}.{other}] in case only; use the same name, or one that differs in more than case"
                );
                self.report(&[section.to_owned(), name.clone()], "", what);
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
        let ReadTable { value, mut faults, unknown } = section::take::<T>(table);
        faults.extend(unknown.into_iter().map(|path| unknown_key(path, known)));
        self.checked(at, value, faults, checks)
    }

    /// Reports an error of a key of the table at that path; `""` is the table itself.
    pub fn report(&mut self, at: &[String], key: &str, what: impl Into<String>) {
        self.report_problem(Problem::new(self.place(&key_path(at, key)), what));
    }

    /// Adds a warning about a key of the table at that path.
    pub fn doubt(&mut self, at: &[String], key: &str, what: impl Into<String>) {
        self.doubt_problem(Problem::new(self.place(&key_path(at, key)), what));
    }

    /// Notes what is right but doubtful elsewhere.
    pub fn doubt_problem(&mut self, doubt: Problem) {
        self.doubts.push(doubt);
    }

    /// The keys of the table at that path with a reported error.
    pub fn reported_keys(&self, at: &[String]) -> Vec<String> {
        let start = format!("{}.", dotted(at));
        let within = |problem: &Problem| problem.place.key.as_ref()?.strip_prefix(&start).map(str::to_owned);
        self.problems.iter().filter_map(within).collect()
    }

    /// Whether an error of such a key was reported.
    pub fn has_error(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.problems.iter().any(|problem| problem.place.key.as_deref().is_some_and(&is_meant))
    }

    /// Adds an error that has its own place, such as one of another file.
    pub fn report_problem(&mut self, problem: Problem) {
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
        faults: Vec<TableFault>,
        checks: impl Fn(&T) -> Vec<Check>,
    ) -> Option<T> {
        let before = self.reported_keys(at);
        // A key that was left out before, such as one with an unset variable, would be reported again as
        // missing.
        for fault in faults.into_iter().filter(|fault| !before.contains(&dotted(&fault.path))) {
            let path: KeyPath = at.iter().chain(&fault.path).cloned().collect();
            self.report_problem(Problem::new(self.place(&path), fault.what));
        }
        let reported = self.reported_keys(at);
        for check in value.as_ref().map(checks).into_iter().flatten().filter(|check| !check.holds) {
            // Two keys are compared only if both are valid. A list with a dropped element is not.
            let is_told = |key: &String| {
                key.strip_prefix(check.keys[0]).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let sure = reported.is_empty() || check.keys.len() == 1 && !reported.iter().any(is_told);
            if sure {
                self.report(at, check.keys[0], check.what);
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

fn key_path(at: &[String], key: &str) -> KeyPath {
    at.iter().cloned().chain(key.split('.').filter(|key| !key.is_empty()).map(str::to_owned)).collect()
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
