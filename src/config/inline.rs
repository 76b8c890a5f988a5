//! Secrets that stand in the configuration itself: a file with one must not be open to everyone.

use serde_json::Value;

use super::layer::Layer;
use super::sections::Sections;
use super::text::Text;
use crate::section::KeyPath;

/// Parts of the names of headers whose values are secrets.
const SECRET_HEADERS: [&str; 7] = ["auth", "cookie", "key", "pass", "secret", "sign", "token"];

/// Notes the first secret of each file that every user of this machine can read.
pub fn doubts(layers: &[Layer<'_>], sections: &mut Sections<'_>) {
    for layer in layers {
        let Text { path: file, text, is_open_to_all } = layer.text();
        // A value that comes from a variable does not stand in the file.
        let inline = || secrets(&layer.tree).into_iter().find(|(_, value)| text.contains(*value));
        if let Some((path, _)) = is_open_to_all.then(inline).flatten() {
            let what = format!(
                "is a secret, and everyone on this machine can read {}; chmod o-r it, or keep the secret in a file of its own",
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
                            .filter(|(name, _)| is_secret_header(name))
                            .filter_map(|(name, value)| Some((at(&[name]), value.as_str()?))),
                    ),
                    _ => {}
                }
            }
        }
    }
    found.retain(|(_, secret)| !secret.is_empty());
    found
}

/// Whether a URL says more than a host: the key of a chat robot, a login.
fn is_secret(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| {
        url.path() != "/" || url.query().is_some() || !url.username().is_empty() || url.password().is_some()
    })
}

fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_HEADERS.iter().any(|part| name.contains(part))
}
