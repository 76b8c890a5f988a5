//! Paths in a configuration are relative to the file that names them, so they are made whole before layers
//! are merged.

use std::path::Path;

use super::environment::Environment;
use crate::store;

/// The value of that key with its path made whole; other values are left as they are. `None`: the folder's
/// own path is no text, and a configuration is.
pub fn rebase(key: &[String], value: String, folder: &Path, environment: &Environment) -> Option<String> {
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    match key[..] {
        ["task_files", _] => join(folder, &value),
        // A bare name is looked for in $PATH.
        ["sinks", _, "command", "0"] if value.contains('/') => join(folder, &value),
        ["sinks", _, "path"] if value != "-" => join(folder, &value),
        ["sinks", _, "template_file"] | ["sinks", _, "tls", "ca_file" | "cert_file"] => join(folder, &value),
        ["accounts", _, "ca_file"] => join(folder, &value),
        ["accounts", _, "secret_key_file"] | ["sinks", _, "url_file"] | ["sinks", _, "tls", "key_file"] => {
            match credential(&value, environment) {
                Some(found) => Some(found),
                None => join(folder, &value),
            }
        }
        // A URL with a flaw stays as it is, and is refused later.
        ["store", "url"] => store::rebased(value, |path| join(folder, path)),
        _ => Some(value),
    }
}

/// A bare name in systemd's folder of credentials, if it is there.
fn credential(name: &str, environment: &Environment) -> Option<String> {
    let folder =
        environment.filled("CREDENTIALS_DIRECTORY").filter(|_| !name.is_empty() && !name.contains('/'))?;
    let path = Path::new(folder).join(name);
    path.is_file().then(|| path.to_str().map(str::to_owned)).flatten()
}

fn join(folder: &Path, path: &str) -> Option<String> {
    if path.is_empty() {
        // Empty stays empty, so that it is told as such and not as a folder.
        return Some(String::new());
    }
    folder.join(path).to_str().map(str::to_owned)
}
