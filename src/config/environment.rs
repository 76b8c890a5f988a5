//! The environment at the start: read once, so that a load is a function of its arguments.

use std::collections::{BTreeMap, BTreeSet};

/// Environment variables.
#[derive(Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    not_text: BTreeSet<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            // No variable in use has a name that is not text.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.values.insert(name, value)),
                Err(_) => drop(environment.not_text.insert(name)),
            }
        }
        environment
    }

    /// The value of a variable, empty ones included.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All variables with that prefix, by the rest of their name; `None`: the value is not text.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let texts = self.values.iter().map(|(name, value)| (name, Some(value.as_str())));
        let others = self.not_text.iter().map(|name| (name, None));
        texts.chain(others).filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value)))
    }

    /// The reason for a missing value, as the end of "NAME …".
    pub fn why_not(&self, name: &str) -> &'static str {
        if self.not_text.contains(name) { "is not UTF-8 text" } else { "is not set" }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let values = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, not_text: BTreeSet::new() }
    }
}

/// No values are shown: some are secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} environment variables", self.values.len() + self.not_text.len())
    }
}
