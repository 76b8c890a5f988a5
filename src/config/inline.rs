//! Secrets in the configuration itself: a file with one must not be readable for everyone.

use serde_json::Value;

use super::layer::Layer;
use super::sections::Sections;
use super::text::Text;
use crate::section::KeyPath;

/// Parts of the names of headers with secret values.
const SECRET_HEADERS: [&str; 10] =
    ["auth", "cookie", "credential", "jwt", "key", "pass", "secret", "session", "sign", "token"];
/// Schemes of authentication (RFC 9110 §11.1): a secret follows, whatever the name of the header.
const SCHEMES: [&str; 3] = ["basic ", "bearer ", "digest "];
/// The shortest word beside a variable that counts as a part of a secret.
const SHORTEST_WORD_BYTES: usize = 8;

/// Adds a warning for the first secret of each file that every user of this machine can read.
pub fn doubts(layers: &[Layer<'_>], sections: &mut Sections<'_>) {
    for layer in layers {
        let Text { path: file, text, is_open_to_all } = layer.text();
        if !is_open_to_all {
            continue;
        }
        // The file without its variables replaced: their values are elsewhere.
        let tree = toml::from_str::<Value>(text).unwrap_or_default();
        if let Some((path, _)) = secrets(&tree).into_iter().find(|(_, value)| is_inline(value)) {
            let what = format!(
                "is a secret, and everyone on this machine can read {}; chmod o-r it, or keep the secret in a file of its own or in a variable (${{NAME}})",
                file.display()
            );
            sections.doubt_problem(layer.problem(&path, what));
        }
    }
}

/// The secrets of one file, each with its key.
fn secrets(tree: &Value) -> Vec<(KeyPath, &str)> {
    let mut found = Vec::new();
    for section in ["accounts", "sinks"] {
        for (name, table) in tree.get(section).and_then(Value::as_object).into_iter().flatten() {
            for (key, value) in table.as_object().into_iter().flatten() {
                let at = |rest: &[&str]| {
                    [section, name, key]
                        .iter()
                        .chain(rest)
                        .map(|part| (*part).to_owned())
                        .collect::<KeyPath>()
                };
                match (key.as_str(), value) {
                    ("secret_key", Value::String(secret)) => found.push((at(&[]), secret.as_str())),
                    ("url" | "proxy", Value::String(url)) if is_secret(url) => {
                        found.push((at(&[]), url.as_str()))
                    }
                    ("secrets", Value::Array(secrets)) => {
                        found
                            .extend(secrets.iter().filter_map(Value::as_str).map(|secret| (at(&[]), secret)));
                    }
                    ("headers", Value::Object(headers)) => found.extend(
                        headers
                            .iter()
                            .filter_map(|(name, value)| Some((name, value.as_str()?)))
                            .filter(|(name, value)| is_secret_header(name, value))
                            .map(|(name, value)| (at(&[name]), value)),
                    ),
                    _ => {}
                }
            }
        }
    }
    found.retain(|(_, secret)| !secret.is_empty());
    found
}

/// Whether a URL holds more than a host: the key of a chat robot, a login.
fn is_secret(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| {
        url.path() != "/" || url.query().is_some() || !url.username().is_empty() || url.password().is_some()
    })
}

fn is_secret_header(name: &str, value: &str) -> bool {
    let (name, value) = (name.to_ascii_lowercase(), value.to_ascii_lowercase());
    SECRET_HEADERS.iter().any(|part| name.contains(part))
        || SCHEMES.iter().any(|scheme| value.trim_start().starts_with(scheme))
}

/// Whether the file itself holds the secret, or a part or a default of it, and not only names of variables.
fn is_inline(value: &str) -> bool {
    // `$${` is a literal `${`.
    let literal = value.replace("$${", "$");
    let Some((before, rest)) = literal.split_once("${") else { return true };
    let beside = rest.split("${").map(|part| {
        let (name, after) = part.split_once('}').unwrap_or((part, ""));
        let default = name.split_once(":-").map_or("", |(_, default)| default);
        (default, after)
    });
    let is_word = |text: &str| {
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '+' | '-' | '_')).any(
            |word| word.len() >= SHORTEST_WORD_BYTES && word.contains(|letter: char| letter.is_ascii_digit()),
        )
    };
    is_word(before) || beside.into_iter().any(|(default, after)| !default.is_empty() || is_word(after))
}
