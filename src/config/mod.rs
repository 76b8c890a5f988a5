//! The sum of the sections: loading, layering, cross-checks, and errors with a place.
//!
//! The type of each section is defined by its user. Layers, by precedence: environment
//! (`OPWATCH__POLL__JITTER`), `conf.d/*.toml` beside the file in name order, the file, built-in defaults. The
//! `config` crate merges them. `[[tasks]]` are read separately, file by file, since `config` replaces arrays
//! and has no integers above 2^63.
//!
//! All errors are reported at once, without the value of a secret.

mod accounts;
mod ad_hoc;
mod checks;
mod credentials;
mod environment;
mod expand;
mod inline;
mod known;
mod layer;
pub mod likely;
mod merge;
mod overrides;
mod paths;
mod sections;
mod syntax;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use ad_hoc::{has_own_credentials, load_accounts};
pub use environment::Environment;

use serde_json::Value;

use crate::cloud::account::Account;
use crate::cloud::operations::Operations;
use crate::files;
use crate::model::policy::Policy;
use crate::model::route::LOG;
use crate::model::task::Target;
use crate::problem::{Place, Problem, nearest};
use crate::register::catalogue::Catalogue;
use crate::register::listed::{Listed, listed};
use crate::secret::hidden::Hidden;
use crate::{api, heartbeat, sinks, store, telemetry};
use layer::Layer;
use sections::Sections;
use text::Text;

/// A valid configuration, with its tasks, and the task files at the time of its load.
#[derive(Debug)]
pub struct Loaded {
    /// The accounts, with their credentials.
    pub accounts: BTreeMap<String, Account>,
    /// The operations.
    pub operations: Operations,
    /// `[poll]`.
    pub poll: Policy,
    /// The sinks; `log` is always among them.
    pub sinks: BTreeMap<String, sinks::Config>,
    /// `[store]`.
    pub store: store::Config,
    /// `[http]`.
    pub http: api::Config,
    /// `[heartbeat]`.
    pub heartbeat: heartbeat::Config,
    /// `[log]`.
    pub log: telemetry::Config,
    /// `[[tasks]]` of all files, in their order.
    pub tasks: Vec<Listed>,
    /// The task files. They are read again at registration: a list is never in memory as a whole.
    pub task_files: Vec<PathBuf>,
    /// Warnings, for the log (which starts later) and for `check`.
    pub doubts: Vec<Problem>,
}

/// Loads a configuration with all its layers, or returns all its errors.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let texts = read_texts(path, &mut problems);
    let mut layers: Vec<Layer<'_>> =
        texts.iter().map(|text| Layer::parse(text, environment, &mut problems)).collect();
    // A file that was read in part would cause errors about its other part.
    if texts.is_empty() || layers.iter().any(|layer| layer.broken) {
        return Err(capped(problems, &texts));
    }
    let tasks: Vec<Listed> = layers.iter_mut().flat_map(|layer| std::mem::take(&mut layer.tasks)).collect();
    let task_files = layers.iter_mut().flat_map(|layer| std::mem::take(&mut layer.task_files)).collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let from_files = merge::merge(layers.iter().map(|layer| &layer.tree), &[]);
    let overrides = overrides::read(environment, &from_files, folder, &mut problems);
    let merged = merge::merge(layers.iter().map(|layer| &layer.tree), &overrides);

    let mut sections = Sections::new(&layers, &overrides, problems);
    overrides::doubts(environment).into_iter().for_each(|doubt| sections.doubt_problem(doubt));
    inline::doubts(&layers, &mut sections);
    let poll = sections.poll(&merged);
    let store = sections.store(&merged);
    let http = sections.http(&merged);
    let heartbeat = sections.heartbeat(&merged);
    let log = sections.log(&merged);
    let mut sinks = sections.sinks(&merged);
    let task_files = sections.task_files(task_files);
    let accounts = accounts::resolve(&mut sections, &merged, environment);
    hide_from_sinks(&accounts, &mut sinks);
    // Errors of tasks against [poll] would only follow from errors in [poll].
    let sure_poll = poll.filter(|_| sections.reported_keys(&["poll".to_owned()]).is_empty());
    let operations = Operations::built_in();
    let catalogue = catalogue(&accounts, &operations, &merged, &sections).polled_by(sure_poll);
    let mut targets = HashSet::new();
    match listed(&tasks, &task_files, &catalogue, |task| _ = targets.insert(task.target)) {
        Ok(0) => sections.doubt(
            &[],
            "tasks",
            "no task is listed; write [[tasks]], or name a task file in `task_files`",
        ),
        Ok(_) => {}
        Err(problems) => problems.into_iter().for_each(|problem| sections.report_problem(problem)),
    }
    refused_proxies(&accounts, &operations, targets).into_iter().for_each(|(account, what)| {
        sections.report(&["accounts".to_owned(), account], "", what);
    });
    match (sections.into_reported(), poll, store, http.zip(heartbeat), log) {
        ((problems, doubts), Some(poll), Some(store), Some((http, heartbeat)), Some(log))
            if problems.is_empty() =>
        {
            Ok(Loaded {
                accounts,
                operations,
                poll,
                sinks,
                store,
                http,
                heartbeat,
                log,
                tasks,
                task_files,
                doubts,
            })
        }
        ((problems, _), ..) => Err(capped(problems, &texts)),
    }
}

/// The socket of `[http]` in a configuration; `None`: it names none. Nothing else is read.
///
/// # Errors
/// When the file cannot be read, or is not TOML.
pub fn socket(path: &Path) -> Result<Option<PathBuf>, Vec<Problem>> {
    let mut problems = Vec::new();
    let Some(text) = Text::read(path, &mut problems) else { return Err(problems) };
    let table: toml::Table = text.text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| 1 + text.text[..span.start].matches('\n').count());
        vec![Problem::new(text.place(line), syntax::explain(error.message()))]
    })?;
    let socket = table.get("http").and_then(|http| http.get("socket")).and_then(toml::Value::as_str);
    Ok(socket.map(|socket| path.parent().unwrap_or(Path::new("")).join(socket)))
}

/// The accounts whose requests the environment sends to an unusable proxy, each with the fix.
pub fn refused_proxies(
    accounts: &BTreeMap<String, Account>,
    operations: &Operations,
    targets: impl IntoIterator<Item = Arc<Target>>,
) -> BTreeSet<(String, String)> {
    let refused = |target: Arc<Target>| {
        let account = accounts.get(&target.account)?;
        let refused = account.check_proxy(operations.resolve(&target.operation, account.api)?).err()?;
        Some((target.account.clone(), refused.to_string()))
    };
    targets.into_iter().filter_map(refused).collect()
}

/// Gives all sinks the secrets of the whole configuration: a program that can read the configuration may
/// print it.
fn hide_from_sinks(accounts: &BTreeMap<String, Account>, sinks: &mut BTreeMap<String, sinks::Config>) {
    let of_sinks = sinks.values().flat_map(|sink| sink.kind.config().secrets());
    let hidden = Hidden::new(accounts.values().flat_map(Account::secrets).chain(of_sinks));
    sinks.values_mut().for_each(|sink| sink.hidden = hidden.clone());
}

/// The names for tasks. An account or a sink with an error is included: its error is reported once, and not
/// for each of its tasks.
fn catalogue(
    accounts: &BTreeMap<String, Account>,
    operations: &Operations,
    merged: &Value,
    sections: &Sections<'_>,
) -> Catalogue {
    /// The region of an account whose region had an error.
    const ANY: &str = "any";
    let entries = |section: &str| merged.get(section).and_then(Value::as_object).into_iter().flatten();
    let mut regions: BTreeMap<_, _> =
        accounts.iter().map(|(name, account)| (name.clone(), account.region.clone())).collect();
    for (name, _) in entries("accounts").filter(|(_, table)| table.is_object()) {
        let is_wrong = !accounts.contains_key(name)
            || !sections.reported_keys(&["accounts".to_owned(), name.clone()]).is_empty();
        let region = regions.entry(name.clone()).or_default();
        if is_wrong && region.is_none() {
            *region = Some(ANY.to_owned());
        }
    }
    // A misspelt section of accounts is reported once, and not again by each task.
    let is_of_accounts = |key: &str| {
        let section = key.split('.').next().unwrap_or_default();
        section == "accounts" || nearest(section, ["accounts"]).is_some()
    };
    if regions.is_empty() && sections.has_error(is_of_accounts) {
        regions.insert("default".to_owned(), Some(ANY.to_owned()));
    }
    Catalogue::new(
        regions,
        operations.clone(),
        entries("sinks").map(|(name, _)| name.clone()).chain([LOG.to_owned()]),
    )
}

/// The main file and those of `conf.d`, as far as they can be read.
fn read_texts(path: &Path, problems: &mut Vec<Problem>) -> Vec<Text> {
    let Some(main) = Text::read(path, problems) else { return Vec::new() };
    if main.text.trim().is_empty() {
        // An empty file is the usual result of an interrupted write; used as it is, it would abandon every
        // task that it listed before.
        problems.push(Problem::new(
            main.place(None),
            "is empty; write a configuration, or a comment to use only defaults",
        ));
    }
    let mut texts = vec![main];
    for file in conf_d(path, problems) {
        texts.extend(Text::read(&file, problems));
    }
    texts
}

/// `conf.d/*.toml` beside the file, in name order. Hidden files belong to editors and package managers.
fn conf_d(path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let folder = path.with_file_name("conf.d");
    let mut files = match files::list(&folder) {
        Ok(files) => files,
        // Another kind of file in its place is an error.
        Err(files::Error::System(error)) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let place = Place { file: Some(folder), ..Place::default() };
            problems.push(Problem::new(
                place,
                format!("cannot list this folder ({error}); make it readable, or remove it"),
            ));
            Vec::new()
        }
    };
    let hidden =
        |file: &PathBuf| file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml") && !hidden(file));
    files.sort();
    files
}

/// The problems in the order of the files, without repeats, and at most as many as a person reads.
fn capped(mut problems: Vec<Problem>, texts: &[Text]) -> Vec<Problem> {
    const MOST_REPORTED: usize = 100;
    // Task files and the environment follow.
    let mut files: Vec<Option<PathBuf>> = texts.iter().map(|text| Some(text.path.clone())).collect();
    for problem in &problems {
        if !files.contains(&problem.place.file) {
            files.push(problem.place.file.clone());
        }
    }
    problems.sort_by_key(|problem| {
        (files.iter().position(|file| *file == problem.place.file), problem.place.line)
    });
    problems.dedup();
    let more = problems.len().saturating_sub(MOST_REPORTED);
    if more > 0 {
        problems.truncate(MOST_REPORTED);
        problems.push(Problem::new(Place::default(), format!("{more} further errors")));
    }
    problems
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrong;
