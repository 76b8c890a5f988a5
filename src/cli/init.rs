//! `opwatch init`: writes a first configuration from options and questions, and checks it.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{CommandFailure, check, print};
use crate::clock::Clock;
use crate::config::likely::{is_placeholder, likely_region};
use crate::problem::{Place, Problem};

/// For their owner alone: the configuration may name secrets.
const FILE_MODE: u32 = 0o600;
/// The name of a new file with the SecretKey, beside the configuration.
const KEY_FILE: &str = "secret_key";
/// The variables of credentials: both are used by a configuration without credentials.
const VARIABLES: [&str; 2] = ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"];

/// The options of the command. A missing value is asked for on a terminal.
#[derive(clap::Args)]
pub struct InitArguments {
    /// The configuration to write; an existing file is never changed
    #[arg(short, long, value_name = "FILE", default_value = "opwatch.toml")]
    config: PathBuf,
    /// The region of the tasks, such as bj
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The SecretId
    #[arg(long, value_name = "ID")]
    secret_id: Option<String>,
    /// A file that holds the SecretKey alone
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
    /// The API version of the operation `bm`: 2.0 or 3.0
    #[arg(long, value_name = "VERSION")]
    api: Option<String>,
    /// An address in place of that of the cloud
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A webhook that gets the events
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// The ids of the first tasks
    #[arg(value_name = "ID")]
    tasks: Vec<String>,
    /// Do not check the new configuration with one request and one connection to each sink
    #[arg(long)]
    offline: bool,
}

/// The values of a new configuration.
struct Answers {
    region: String,
    /// The SecretId and the key file. `None`: both are in the environment.
    credentials: Option<(String, PathBuf)>,
    /// A SecretKey that was typed, for a new key file.
    new_key: Option<String>,
    api: Option<String>,
    endpoint: Option<String>,
    webhook: Option<String>,
    tasks: Vec<String>,
}

/// Asks for what is missing, writes the file, and checks it. A configuration that is not valid is removed again, so that
/// the same command can be repeated with other values.
///
/// # Errors
/// When a value is missing without a terminal, when a file exists or cannot be written, or as of `check`.
pub async fn run(arguments: InitArguments, clock: Clock) -> Result<(), CommandFailure> {
    let InitArguments { config, offline, .. } = &arguments;
    let (config, offline) = (config.clone(), *offline);
    if config.symlink_metadata().is_ok() {
        return Err(at(&config, "exists already, and is not changed; name another file with -c FILE").into());
    }
    let answers = asked(arguments, &config)?;
    let key = answers.new_key.as_ref().map(|key| (config.with_file_name(KEY_FILE), key));
    if let Some((path, key)) = &key {
        write_new(path, format!("{key}\n").as_bytes())?;
    }
    let valid = match write_new(&config, text(&answers).as_bytes()) {
        Ok(()) => check::planned(&config, clock).await.map(drop).inspect_err(|_| removed(&config)),
        Err(failure) => Err(failure),
    };
    valid.inspect_err(|_| key.iter().for_each(|(path, _)| removed(path)))?;
    let shown = config.display();
    print::line(&format!("{shown} is written.\n"))?;
    let checked = check::run(&config, !offline, clock).await;
    let next = match &checked {
        Ok(()) if answers.tasks.is_empty() => {
            format!("add tasks to {shown}, then start the daemon: opwatch run -c {shown}")
        }
        Ok(()) => format!("start the daemon: opwatch run -c {shown}"),
        Err(_) => format!("correct {shown}, then check it again: opwatch check -c {shown} --live"),
    };
    print::line(&format!("\nNext: {next}"))?;
    checked
}

fn asked(arguments: InitArguments, config: &Path) -> Result<Answers, CommandFailure> {
    let InitArguments { region, secret_id, secret_key_file, api, endpoint, webhook, tasks, .. } = arguments;
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let answer = |given: Option<String>, option: &str, question: &str, default: &str| match given {
        Some(given) => Ok(valid(option, given)?),
        None if asks => Ok(typed(option, question, Some(default))?.unwrap_or_default()),
        None => Err(missing(option)),
    };
    let optional = |given: Option<String>, option: &str, question: &str| match given {
        Some(given) => Ok(Some(valid(option, given)?)),
        None if asks => typed(option, question, None),
        None => Ok::<_, CommandFailure>(None),
    };
    let region = answer(region, "--region", "Region of the tasks", "bj")?;
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_variables = VARIABLES.iter().all(|name| is_set(name));
    let mut new_key = None;
    let credentials = if secret_id.is_none() && secret_key_file.is_none() && has_variables {
        None
    } else {
        let id = answer(secret_id, "--secret-id", "SecretId", "")?;
        let key = match secret_key_file {
            Some(file) => file,
            None if asks => {
                new_key = typed_key(config)?;
                PathBuf::from(KEY_FILE)
            }
            None => return Err(missing("--secret-key-file")),
        };
        Some((id, key))
    };
    let api = optional(api, "--api", "API version, 2.0 or 3.0 (empty: 2.0)")?;
    let webhook = optional(webhook, "--webhook", "URL of a webhook (empty: none)")?;
    let tasks = if tasks.is_empty() {
        optional(None, "ID", "Task ids, separated by blanks (empty: none yet)")?
            .map(|ids| {
                ids.split([' ', ',', '，', '、']).filter(|id| !id.is_empty()).map(str::to_owned).collect()
            })
            .unwrap_or_default()
    } else {
        tasks
    };
    Ok(Answers { region, credentials, new_key, api, endpoint, webhook, tasks })
}

/// Asks for the SecretKey without showing it. A file of its own beside the configuration will hold it. `None`: there is
/// such a file, which is used.
fn typed_key(config: &Path) -> Result<Option<String>, CommandFailure> {
    let path = config.with_file_name(KEY_FILE);
    if path.symlink_metadata().is_ok() {
        print::error(&format!("the SecretKey is that of the file {}", path.display()));
        return Ok(None);
    }
    loop {
        let key = rpassword::prompt_password("SecretKey (not shown): ").map_err(unreadable)?;
        match key.trim() {
            "" => print::error("SecretKey: is empty; type or paste it"),
            key => return Ok(Some(key.to_owned())),
        }
    }
}

/// Asks until a valid value is typed. An empty line is the default; without one, the value may be left out.
fn typed(option: &str, question: &str, default: Option<&str>) -> Result<Option<String>, CommandFailure> {
    loop {
        let line = answer_to(question, default.unwrap_or_default())?;
        if line.is_empty() && default.is_none() {
            return Ok(None);
        }
        match valid(option, line) {
            Ok(value) => return Ok(Some(value)),
            Err(problem) => print::error(&problem.to_string()),
        }
    }
}

/// A value as the configuration accepts it, as far as that can be seen from it alone.
fn valid(option: &str, value: String) -> Result<String, Problem> {
    let wrong = |what: &str| {
        let place = Place { key: Some(option.to_owned()), ..Place::default() };
        Err(Problem::new(place, format!("{value:?} {what}")))
    };
    match option {
        _ if value.is_empty() => wrong("is empty; write it"),
        "--region" => match likely_region(&value) {
            Some(code) => wrong(&format!("is no region; write {code}")),
            None if value.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(value),
            None => wrong("is no region; write it as in the API, such as bj or ap-beijing"),
        },
        "--secret-id" if is_placeholder(&value) => {
            wrong("is a placeholder; write the SecretId that the console shows")
        }
        "--api" if !["2.0", "3.0"].contains(&value.as_str()) => wrong("is no API version; write 2.0 or 3.0"),
        "--webhook" if !(value.starts_with("http://") || value.starts_with("https://")) => {
            wrong("is no URL; write it with https://")
        }
        _ => Ok(value),
    }
}

/// Removes a file that was just written.
fn removed(path: &Path) {
    // The error of the check says more than one of the removal.
    let _ = std::fs::remove_file(path);
}

/// The line that is typed after a question; an empty one is the default.
fn answer_to(question: &str, default: &str) -> Result<String, CommandFailure> {
    let default_shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    let mut stderr = io::stderr().lock();
    // An error shows at the next read.
    let _ = write!(stderr, "{question}{default_shown}: ");
    let _ = stderr.flush();
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line).map_err(unreadable)? == 0 {
        return Err(CommandFailure::Closed);
    }
    let answer = line.trim();
    Ok(if answer.is_empty() { default } else { answer }.to_owned())
}

fn unreadable(error: io::Error) -> CommandFailure {
    at(Path::new("standard input"), format!("cannot be read: {error}; give the values as options")).into()
}

fn missing(option: &str) -> CommandFailure {
    let place = Place { key: Some(option.to_owned()), ..Place::default() };
    Problem::new(place, "is missing; write it, or start opwatch init on a terminal, which asks").into()
}

fn at(path: &Path, what: impl Into<String>) -> Problem {
    Problem::new(Place { file: Some(path.to_owned()), ..Place::default() }, what.into())
}

/// A new file for its owner alone. An existing one is an error.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CommandFailure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| at(path, format!("cannot be written: {error}; name another folder")).into())
}

/// The configuration: the values, and what a first user changes next.
fn text(answers: &Answers) -> String {
    let Answers { region, credentials, new_key: _, api, endpoint, webhook, tasks } = answers;
    // `${` would begin a variable.
    let quoted = |text: &str| Value::from(text.replace("${", "$${")).to_string();
    let ids = tasks.iter().map(|id| id.parse::<u64>().map_or_else(|_| quoted(id), |id| id.to_string()));
    let ids: Vec<_> = ids.collect();
    let mut lines = vec![
        "# Task ids. More of them, one on each line, belong into a file that `task_files` names.".to_owned(),
        format!("tasks = [{}]", ids.join(", ")),
        String::new(),
        "[accounts.default]".to_owned(),
        format!("region = {}", quoted(region)),
    ];
    match credentials {
        Some((id, key)) => {
            lines.push(format!("secret_id = {}", quoted(id)));
            lines.push(format!("secret_key_file = {}", quoted(&key.to_string_lossy())));
        }
        None => lines.push(format!("# The credentials are those of {}.", VARIABLES.join(" and "))),
    }
    lines.extend(api.iter().map(|api| format!("api = {}", quoted(api))));
    lines.extend(endpoint.iter().map(|url| format!("endpoint = {}", quoted(url))));
    lines.push("\n# Each event is a line of JSON in this file.\n[sinks.audit]\ntype = \"file\"\npath = \"events.jsonl\"".to_owned());
    if let Some(url) = webhook {
        lines.push(format!("\n[sinks.hook]\ntype = \"webhook\"\nurl = {}", quoted(url)));
    }
    lines.push("\n[store]\nurl = \"sqlite:opwatch.db\"".to_owned());
    lines.push("\n# Commands such as `opwatch status -c FILE` reach the daemon here.\n[http]\nsocket = \"opwatch.sock\"\n".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_a_value_of_the_file_however_it_is_written() {
        let answers = Answers {
            region: "b\"j".to_owned(),
            credentials: Some(("AKID\n".to_owned(), "a b".into())),
            api: Some("3.0".to_owned()),
            new_key: None,
            endpoint: None,
            webhook: Some("https://h/?a='\"${B}".to_owned()),
            tasks: vec!["1".to_owned(), "00042".to_owned(), "task-x".to_owned()],
        };
        let table: toml::Table = text(&answers).parse().unwrap();
        let account = &table["accounts"]["default"];
        assert_eq!(account["region"].as_str(), Some("b\"j"));
        assert_eq!(account["secret_id"].as_str(), Some("AKID\n"));
        assert_eq!(table["sinks"]["hook"]["url"].as_str(), Some("https://h/?a='\"$${B}"));
        assert_eq!(table["tasks"].to_string(), "[1, 42, \"task-x\"]");
    }
}
