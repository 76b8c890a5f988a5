//! The names that a task may use (accounts, operations, sinks), and the validation of one task.
//!
//! A bare id is the common case of a long list, so its path is short: the default target is resolved once,
//! and nothing is allocated for a task beyond its own data.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{TaskEntry, WrittenId};
use crate::cloud::operations::Operations;
use crate::model::policy::Policy;
use crate::model::task::{IdType, NewTask, Origin, Settings, Target, TaskId};
use crate::problem::{Place, Problem};
use crate::section::{short, suggestion};
use crate::units::{Limit, Span};

/// The names that a task may use.
pub struct Catalogue {
    accounts: BTreeMap<String, Option<String>>,
    operations: Operations,
    sinks: BTreeSet<String>,
    /// The default policy, if it is known.
    poll: Option<Policy>,
    /// The target of a task without account, operation and region.
    bare: Result<(Arc<Target>, IdType), WrongTaskKey>,
    /// One target for a whole list.
    targets: Mutex<HashMap<Target, Arc<Target>>>,
}

/// The wrong key of a task, and the fix.
type WrongTaskKey = (&'static str, String);

const DEFAULT_OPERATION: &str = "bm";
const DEFAULT_ACCOUNT: &str = "default";
/// Names are shown in tables and messages; the longest names of the cloud have a quarter of this length.
const LONGEST_NAME_BYTES: usize = 256;
/// The limit of object stores and orchestrators; labels are copied into every event.
const MOST_LABELS: usize = 64;
const LONGEST_LABEL_KEY_BYTES: usize = 64;
const LONGEST_LABEL_BYTES: usize = 256;
const MOST_PARAMS: usize = 64;
/// A request's query stays well below the limit of servers (8 KiB).
const LONGEST_PARAM_BYTES: usize = 1024;
/// Written by the daemon itself into every request (docs/tencent-cloud-api.md §1).
const OWN_PARAMS: [&str; 8] =
    ["Action", "Region", "Timestamp", "Nonce", "SecretId", "SignatureMethod", "Token", "Signature"];

impl Catalogue {
    /// The accounts with their regions, the operations, and the names of the sinks.
    pub fn new(
        accounts: impl IntoIterator<Item = (String, Option<String>)>,
        operations: Operations,
        sinks: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut catalogue = Self {
            accounts: accounts.into_iter().collect(),
            operations,
            sinks: sinks.into_iter().collect(),
            poll: None,
            bare: Err(("account", String::new())),
            targets: Mutex::default(),
        };
        catalogue.bare = catalogue.target(&TaskEntry::default());
        catalogue
    }

    /// The same, with the policy of `[poll]`: each task is validated with it too.
    pub fn polled_by(self, poll: Option<Policy>) -> Self {
        Self { poll, ..self }
    }

    /// A task with nothing but its id.
    pub fn bare(&self, id: &str, place: &Place) -> Result<NewTask, Problem> {
        let (target, id_type) =
            self.bare.as_ref().map_err(|(key, what)| refused(place, key, what.clone()))?;
        let id = id_type.canonical(id).map_err(|form| refused(place, "id", not_an_id(id, form)))?;
        Ok(NewTask {
            target: Arc::clone(target),
            id,
            settings: Settings::default(),
            origin: Origin::File,
            again: false,
        })
    }

    /// A task as written, with all defaults filled in.
    pub fn resolve(&self, written: TaskEntry, place: &Place) -> Result<NewTask, Problem> {
        self.task(written).map_err(|(key, what)| refused(place, key, what))
    }

    fn task(&self, written: TaskEntry) -> Result<NewTask, WrongTaskKey> {
        let (target, id_type) = self.target(&written)?;
        let id = match written.id {
            None => return Err(("id", "is missing; write the task id".to_owned())),
            Some(id) => canonical(id, id_type)?,
        };
        check_texts("labels", &written.labels, MOST_LABELS, LONGEST_LABEL_KEY_BYTES, LONGEST_LABEL_BYTES)?;
        check_texts("params", &written.params, MOST_PARAMS, LONGEST_LABEL_KEY_BYTES, LONGEST_PARAM_BYTES)?;
        let is_own = |name: &str| {
            OWN_PARAMS.contains(&name)
                || self.operations.id_parameters(&target.operation).any(|own| own == name)
        };
        if let Some(own) = written.params.keys().find(|name| is_own(name)) {
            return Err(("params", format!("`{own}` is set by opwatch itself; leave it out")));
        }
        let is_no_name = |name: &String| name.len() > LONGEST_NAME_BYTES || name.contains(char::is_control);
        if written.name.as_ref().is_some_and(is_no_name) {
            return Err((
                "name",
                format!(
                    "is too long or has control characters; write at most {LONGEST_NAME_BYTES} bytes of text"
                ),
            ));
        }
        if written.group.as_ref().is_some_and(|group| group.is_empty() || is_no_name(group)) {
            return Err((
                "group",
                format!(
                    "is empty, too long or has control characters; write 1 to {LONGEST_NAME_BYTES} bytes of text"
                ),
            ));
        }
        self.check_first_poll(written.initial_delay, written.timeout)?;
        if written.timeout == Some(Limit(Some(Duration::ZERO))) {
            return Err((
                "timeout",
                "would end the task at once; write more than 0s, or \"never\"".to_owned(),
            ));
        }
        let settings = Settings {
            name: written.name,
            labels: written.labels,
            group: written.group,
            initial_delay: written.initial_delay,
            timeout: written.timeout,
            warn_after: written.warn_after,
            run: written.run,
            sinks: written.sinks.map(|sinks| self.known_sinks(sinks)).transpose()?,
            params: written.params,
        };
        Ok(NewTask { target, id, settings, origin: Origin::File, again: false })
    }

    /// A first poll at the deadline would be the only one.
    fn check_first_poll(
        &self,
        own_delay: Option<Span>,
        own_timeout: Option<Limit>,
    ) -> Result<(), WrongTaskKey> {
        let poll = self.poll.as_ref();
        let delay = own_delay.or(poll.map(|poll| poll.initial_delay));
        let timeout = own_timeout.or(poll.map(|poll| poll.timeout));
        let (Some(delay), Some(Limit(Some(timeout)))) = (delay, timeout) else { return Ok(()) };
        if timeout.is_zero() || delay.0 < timeout {
            return Ok(());
        }
        let so = "so no poll would precede the deadline";
        match (own_delay, own_timeout) {
            (Some(_), Some(_)) => {
                Err(("initial_delay", format!("is not shorter than `timeout`, {so}; write a shorter delay")))
            }
            (Some(_), None) => {
                let timeout = Span(timeout);
                let what = format!(
                    "is not shorter than `timeout` of [poll], which is {timeout}, {so}; write a shorter delay, or a longer `timeout` beside it"
                );
                Err(("initial_delay", what))
            }
            (None, Some(_)) => {
                let what = format!(
                    "is not longer than `initial_delay` of [poll], which is {delay}, {so}; write a longer timeout, or a shorter `initial_delay` beside it"
                );
                Err(("timeout", what))
            }
            // The error is reported once, for [poll].
            (None, None) => Ok(()),
        }
    }

    /// The target of a task, with the id type of its operation.
    fn target(&self, written: &TaskEntry) -> Result<(Arc<Target>, IdType), WrongTaskKey> {
        // The common case of a long list, without account, region and operation: no name is copied for each task.
        if let (None, None, None, Ok((target, id_type))) =
            (&written.operation, &written.account, &written.region, &self.bare)
        {
            return Ok((Arc::clone(target), *id_type));
        }
        let operation = written.operation.as_deref().unwrap_or(DEFAULT_OPERATION);
        let Some(row) = self.operations.get(operation) else {
            let names = self.operations.iter().map(|(name, _)| name);
            return Err(("operation", unknown("operation", operation, names)));
        };
        let (account, account_region) = self.account(written.account.as_deref())?;
        let Some(region) = written.region.as_ref().or(account_region.as_ref()) else {
            return Err((
                "region",
                format!(
                    "neither the task nor the account `{account}` has a region; write `region` in one of them"
                ),
            ));
        };
        // The region of the account was checked with the account.
        let is_own = written.region.is_some();
        if is_own
            && (region.is_empty()
                || region.len() > LONGEST_LABEL_KEY_BYTES
                || !region.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(("region", "write it as in the API, such as \"bj\" or \"ap-beijing\"".to_owned()));
        }
        let target =
            Target { account: account.clone(), region: region.clone(), operation: operation.to_owned() };
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = targets.entry(target).or_insert_with_key(|target| Arc::new(target.clone()));
        Ok((Arc::clone(shared), row.id.r#type))
    }

    fn account(&self, written: Option<&str>) -> Result<(&String, &Option<String>), WrongTaskKey> {
        let found = match written {
            Some(name) => self.accounts.get_key_value(name),
            None => self
                .accounts
                .get_key_value(DEFAULT_ACCOUNT)
                .or_else(|| self.accounts.first_key_value().filter(|_| self.accounts.len() == 1)),
        };
        let accounts = || self.accounts.keys().map(String::as_str);
        found.ok_or_else(|| {
            let what = match written {
                _ if self.accounts.is_empty() => {
                    "no account exists; write [accounts.default], or set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY".to_owned()
                }
                Some(name) => unknown("account", name, accounts()),
                None => {
                    format!("several accounts exist, and none is named `default`; {}", unknown("account", "", accounts()))
                }
            };
            ("account", what)
        })
    }

    /// In one order and without repeats, so that two spellings of the same list are equal.
    fn known_sinks(&self, mut sinks: Vec<String>) -> Result<Vec<String>, WrongTaskKey> {
        if let Some(name) = sinks.iter().find(|name| !self.sinks.contains(*name)) {
            return Err(("sinks", unknown("sink", name, self.sinks.iter().map(String::as_str))));
        }
        sinks.sort_unstable();
        sinks.dedup();
        Ok(sinks)
    }
}

fn canonical(written: WrittenId, id_type: IdType) -> Result<TaskId, WrongTaskKey> {
    let text = match (written, id_type) {
        (WrittenId::Int(number), IdType::Int) => return Ok(TaskId::Int(number)),
        (WrittenId::Int(number), IdType::Text) => number.to_string(),
        (WrittenId::Text(text), IdType::Int | IdType::Text) => text,
    };
    id_type.canonical(&text).map_err(|form| ("id", not_an_id(&text, form)))
}

fn not_an_id(written: &str, form: &str) -> String {
    let begins = |starts: [&str; 3]| starts.iter().any(|start| written.starts_with(start));
    let hint = if written.contains('#') || begins(["//", ";", "--"]) {
        "; a comment begins with # on a line of its own"
    } else if begins(["[[", "id ", "id="]) {
        "; [[tasks]] belongs into the configuration; a task here is a task id or a JSON object"
    } else if begins(["[", "\"", "'"]) || written.contains([',', ' ', '\t']) {
        "; write each id without quotes and brackets"
    } else {
        ""
    };
    format!("{:?} is not an id of this operation; write {form}{hint}", short(written))
}

fn unknown<'a>(kind: &str, written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = known.into_iter().collect();
    let suggestion = suggestion(written, &names);
    if written.is_empty() {
        suggestion
    } else {
        format!("there is no {kind} {:?}; {suggestion}", short(written))
    }
}

fn check_texts(
    key: &'static str,
    texts: &BTreeMap<String, String>,
    most: usize,
    longest_key: usize,
    longest: usize,
) -> Result<(), WrongTaskKey> {
    if texts.len() > most {
        return Err((key, format!("are {}; write at most {most}", texts.len())));
    }
    let wrong_key =
        |name: &str| name.is_empty() || name.len() > longest_key || name.contains(char::is_control);
    if let Some(name) = texts.keys().find(|name| wrong_key(name)) {
        return Err((
            key,
            format!(
                "has an entry named {:?}; a name has 1 to {longest_key} bytes, and no control characters",
                short(name)
            ),
        ));
    }
    match texts.iter().find(|(_, text)| text.len() > longest) {
        Some((name, _)) => {
            Err((key, format!("the value of `{}` is too long; write at most {longest} bytes", short(name))))
        }
        None => Ok(()),
    }
}

/// The problem of that key of a task at that place.
fn refused(place: &Place, key: &str, what: String) -> Problem {
    let key = match &place.key {
        Some(task) => format!("{task}.{key}"),
        None => key.to_owned(),
    };
    Problem::new(Place { key: Some(key), ..place.clone() }, what)
}
