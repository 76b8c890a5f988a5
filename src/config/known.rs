//! The keys that there are, with their defaults: for suggestions, and for what the environment may set.

use serde_json::{Map, Value};

use crate::model::policy::Policy;
use crate::model::route::LOG;
use crate::section;
use crate::sinks::{self, Common};
use crate::{cloud, store, telemetry};

/// All keys that there are, with their defaults, for these accounts and sinks.
pub fn known(tree: &Value) -> Value {
    let tables = |section: &str| tree.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut accounts: Map<String, Value> = tables("accounts").into_iter().map(|(name, _)| (name, account_keys())).collect();
    if accounts.is_empty() {
        accounts.insert("default".to_owned(), account_keys());
    }
    let mut sinks: Map<String, Value> = tables("sinks").into_iter().map(|(name, table)| (name, sink_keys(table.get("type")))).collect();
    sinks.entry(LOG).or_insert_with(|| section::keys::<Common>(&[]));
    serde_json::json!({
        "task_files": [],
        "accounts": accounts,
        "poll": section::keys::<Policy>(&[]),
        "sinks": sinks,
        "store": section::keys::<store::Config>(&[]),
        "log": section::keys::<telemetry::Config>(&[]),
    })
}

/// The keys of `[accounts.*]`.
pub fn account_keys() -> Value {
    section::keys::<cloud::credentials::Config>(&["secret_key", "proxy"])
}

/// The keys of `[sinks.*]` of that type.
pub fn sink_keys(r#type: Option<&Value>) -> Value {
    let mut keys = section::keys::<Common>(&["type"]);
    let own = match r#type.and_then(Value::as_str) {
        Some("exec") => section::keys::<sinks::exec::Config>(&[]),
        Some("file") => section::keys::<sinks::file::Config>(&[]),
        Some("webhook") => section::keys::<sinks::webhook::Config>(&["url", "proxy", "template"]),
        Some(_) | None => Value::Null,
    };
    if let (Value::Object(keys), Value::Object(own)) = (&mut keys, own) {
        keys.extend(own);
    }
    keys
}
