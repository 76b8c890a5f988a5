//! Layering, by the `config` crate: later layers win, tables add up, lists are replaced.

use std::collections::HashMap;

use config::ValueKind;
use serde_json::Value;

use super::overrides::Override;

/// A tree as a source. `config` would split a dotted name of the top level into a path, but unknown names of
/// the top level were refused before.
#[derive(Clone, Debug)]
struct TreeSource(HashMap<String, config::Value>);

impl config::Source for TreeSource {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, config::Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// The layers as one tree.
pub fn merge<'a>(layers: impl Iterator<Item = &'a Value>, overrides: &[Override]) -> Value {
    let overrides: Vec<Value> = overrides.iter().map(Override::as_tree).collect();
    let builder = layers.collect::<Vec<_>>().into_iter().chain(&overrides).fold(
        config::Config::builder(),
        |builder, layer| match into_config(layer).kind {
            ValueKind::Table(table) => builder.add_source(TreeSource(table)),
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::String(_)
            | ValueKind::Array(_) => builder,
        },
    );
    // No source of ours fails.
    builder.build().map(|merged| from_config(merged.cache)).unwrap_or_default()
}

fn into_config(value: &Value) -> config::Value {
    let kind = match value {
        Value::Null => ValueKind::Nil,
        Value::Bool(value) => ValueKind::Boolean(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => ValueKind::U64(number),
            (None, Some(number)) => ValueKind::I64(number),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => ValueKind::String(text.clone()),
        Value::Array(values) => ValueKind::Array(values.iter().map(into_config).collect()),
        Value::Object(table) => {
            ValueKind::Table(table.iter().map(|(key, value)| (key.clone(), into_config(value))).collect())
        }
    };
    config::Value::new(None, kind)
}

fn from_config(value: config::Value) -> Value {
    match value.kind {
        ValueKind::Nil => Value::Null,
        ValueKind::Boolean(value) => Value::Bool(value),
        ValueKind::I64(number) => Value::from(number),
        ValueKind::U64(number) => Value::from(number),
        // Never made by `into_config`.
        ValueKind::I128(number) => Value::String(number.to_string()),
        ValueKind::U128(number) => Value::String(number.to_string()),
        ValueKind::Float(number) => Value::from(number),
        ValueKind::String(text) => Value::String(text),
        ValueKind::Array(values) => Value::Array(values.into_iter().map(from_config).collect()),
        ValueKind::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, from_config(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn later_layers_win_tables_add_up_and_names_keep_their_case() {
        let first = json!({ "accounts": { "A.b": { "region": "bj" } }, "poll": { "jitter": 0.1, "multiplier": 2 }, "task_files": ["a", "b"] });
        let second = json!({ "accounts": { "B": {} }, "poll": { "jitter": 0.3 }, "task_files": ["c"] });
        let merged = merge([&first, &second].into_iter(), &[]);
        let wanted = json!({ "accounts": { "A.b": { "region": "bj" }, "B": {} }, "poll": { "jitter": 0.3, "multiplier": 2 }, "task_files": ["c"] });
        assert_eq!(merged, wanted);
    }
}
