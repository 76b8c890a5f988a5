//! Paths in a configuration are relative to the file that names them, so they are made absolute before layers
//! are merged.

use std::path::Path;

use super::environment::Environment;
use crate::sinks::{self, PathForm, SinkType};
use crate::{files, store};

/// The value of that key with an absolute path; other values are unchanged. `None`: the path of the folder is
/// not text.
pub fn rebase(key: &[String], value: String, folder: &Path, environment: &Environment) -> Option<String> {
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    match key[..] {
        ["task_files", _] => join(folder, &value),
        ["accounts", _, "ca_file"] => join(folder, &value),
        ["accounts", _, "secret_key_file"] => join_credential(folder, value, environment),
        // The type of the sink may be written in another layer.
        ["sinks", _, ref key @ ..] => match sinks::TYPES.iter().find_map(|r#type| form(r#type, key)) {
            None => Some(value),
            // Under systemd `/dev/stdout` is a socket, which cannot be opened by a path.
            Some(PathForm::Output) if value == "-" || value == "/dev/stdout" => Some("-".to_owned()),
            Some(PathForm::Program) if !value.contains('/') => Some(value),
            Some(PathForm::Plain | PathForm::Output | PathForm::Program) => join(folder, &value),
            Some(PathForm::Credential) => join_credential(folder, value, environment),
        },
        ["http", "socket"] => join(folder, &value),
        ["http", "token_file"] => join_credential(folder, value, environment),
        // A URL with a flaw stays as it is, and is refused later.
        ["store", "url"] => store::rebased(value, |path| join(folder, path)),
        _ => Some(value),
    }
}

/// The form of a key of a sink that is a path.
fn form(r#type: &SinkType, key: &[&str]) -> Option<PathForm> {
    (r#type.paths)().iter().find(|path| path.key.split('.').eq(key.iter().copied())).map(|path| path.form)
}

/// A bare name in systemd's folder of credentials, if it is there, else beside the file.
fn join_credential(folder: &Path, value: String, environment: &Environment) -> Option<String> {
    credential(&value, environment).or_else(|| join(folder, &value))
}

/// A bare name in systemd's folder of credentials, if it is there.
fn credential(name: &str, environment: &Environment) -> Option<String> {
    let folder =
        environment.filled("CREDENTIALS_DIRECTORY").filter(|_| !name.is_empty() && !name.contains('/'))?;
    let path = Path::new(folder).join(name);
    let is_there = files::metadata(&path).is_ok_and(|metadata| metadata.is_file());
    is_there.then(|| path.to_str().map(str::to_owned)).flatten()
}

fn join(folder: &Path, path: &str) -> Option<String> {
    if path.is_empty() {
        // An empty path stays empty, so that it is reported as empty and not as a folder.
        return Some(String::new());
    }
    folder.join(path).to_str().map(str::to_owned)
}
