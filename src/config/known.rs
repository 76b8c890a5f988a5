//! All keys with their defaults: for suggestions, and for the environment.

use serde_json::{Map, Value};

use crate::model::policy::Policy;
use crate::model::route::LOG;
use crate::section::{self, KeyPath, TableFault};
use crate::sinks::{Common, SinkType, TYPES};
use crate::{api, cloud, heartbeat, register, store, telemetry};

/// All keys with their defaults, for these accounts and sinks.
pub fn known(tree: &Value) -> Value {
    let tables = |section: &str| tree.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut accounts: Map<String, Value> =
        tables("accounts").into_iter().map(|(name, _)| (name, account_keys())).collect();
    if accounts.is_empty() {
        accounts.insert("default".to_owned(), account_keys());
    }
    let mut sinks: Map<String, Value> =
        tables("sinks").into_iter().map(|(name, table)| (name, sink_keys(sink_type(&table)))).collect();
    sinks.entry(LOG).or_insert_with(|| section::keys::<Common>(&[]));
    serde_json::json!({
        "task_files": [],
        "accounts": accounts,
        "poll": poll_keys(),
        "sinks": sinks,
        "store": store_keys(),
        "http": http_keys(),
        "heartbeat": heartbeat_keys(),
        "log": log_keys(),
    })
}

/// The error of an unknown key: the section that knows it, or the nearest known name.
pub fn unknown_key(path: KeyPath, known: &Value) -> TableFault {
    let what = match &path[..] {
        [key] => of_another_type(key, known)
            .or_else(|| if section::has_suggested_name(key, known) { None } else { of_another_section(key) }),
        _ => None,
    };
    match what {
        Some(what) => TableFault { path, what },
        None => section::unknown_key(path, known),
    }
}

/// The error of a key of another type of sink, if it is one.
fn of_another_type(key: &str, known: &Value) -> Option<String> {
    let is_sink = known.get("max_in_flight").is_some() && known.get("events").is_some();
    let types: Vec<String> = types_with(key).map(|name| format!("{name:?}")).collect();
    (is_sink && !types.is_empty()).then(|| {
        format!("is a key of type {}; leave it out, or write it in a sink of that type", types.join(" and "))
    })
}

/// The error of a key outside of all sections, or in a section that does not know it, if another section
/// does.
pub fn of_another_section(key: &str) -> Option<String> {
    let sections: [(&str, Value); 7] = [
        ("[accounts.NAME]", account_keys()),
        ("[poll]", poll_keys()),
        ("[[tasks]]", register::KEYS.clone()),
        ("[store]", store_keys()),
        ("[http]", http_keys()),
        ("[heartbeat]", heartbeat_keys()),
        ("[log]", log_keys()),
    ];
    let mut homes: Vec<&str> =
        sections.iter().filter(|(_, keys)| keys.get(key).is_some()).map(|(section, _)| *section).collect();
    homes.extend(types_with(key).next().map(|_| "[sinks.NAME]"));
    (!homes.is_empty()).then(|| format!("does not belong here; write it below {}", homes.join(" or ")))
}

/// The types of sinks that have this key.
fn types_with(key: &str) -> impl Iterator<Item = &'static str> {
    TYPES.iter().filter(move |r#type| sink_keys(Some(r#type)).get(key).is_some()).map(|r#type| r#type.name)
}

/// The keys of `[poll]`.
pub fn poll_keys() -> Value {
    section::keys::<Policy>(&[])
}

/// The keys of `[store]`.
pub fn store_keys() -> Value {
    section::keys::<store::Config>(&[])
}

/// The keys of `[http]`.
pub fn http_keys() -> Value {
    section::keys::<api::Config>(&[])
}

/// The keys of `[heartbeat]`.
pub fn heartbeat_keys() -> Value {
    section::keys::<heartbeat::Config>(&["url"])
}

/// The keys of `[log]`.
pub fn log_keys() -> Value {
    section::keys::<telemetry::Config>(&[])
}

/// The keys of `[accounts.*]`.
pub fn account_keys() -> Value {
    section::keys::<cloud::account::Config>(&["secret_key", "proxy"])
}

/// The type of sink that a table names.
fn sink_type(table: &Value) -> Option<&'static SinkType> {
    SinkType::named(table.get("type")?.as_str()?)
}

/// The keys of `[sinks.*]` of that type.
pub fn sink_keys(r#type: Option<&SinkType>) -> Value {
    let mut keys = section::keys::<Common>(&["type"]);
    let own = r#type.map(|r#type| (r#type.keys)()).unwrap_or_default();
    if let (Value::Object(keys), Value::Object(own)) = (&mut keys, own) {
        keys.extend(own);
    }
    keys
}
