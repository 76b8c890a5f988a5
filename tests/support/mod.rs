//! Common parts of the tests: a simulated cloud, a folder with a configuration, and the built program in it.

pub mod machine;
pub mod network;
pub mod nginx;
pub mod receiver;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use opwatch::clock::Clock;
use opwatch::sim::{Scenario, Sim};
use serde_json::Value;
use tokio::process::{Child, Command};

/// Longer than anything here takes on a slow machine; a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A simulated cloud on a port of its own.
pub async fn cloud(scenario: Scenario) -> Sim {
    Sim::start(scenario, "127.0.0.1:0".parse().unwrap(), Clock::start()).await.unwrap()
}

/// A folder with a configuration, gone when dropped.
pub struct Home(tempfile::TempDir);

impl Home {
    /// A folder with an `opwatch.toml` for that cloud, with fast polls and events in `events.jsonl`; then the
    /// text of `more`.
    pub fn new(cloud: &Sim, more: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write(
            "opwatch.toml",
            &format!(
                r#"
task_files = ["list.tasks"]
[accounts.default]
region = "bj"
secret_id = "{}"
secret_key_file = "secret_key"
endpoint = "{}"
rate_limit = 500
[poll]
initial_interval = "20ms"
max_interval = "100ms"
error_interval = "20ms"
error_max_interval = "100ms"
[store]
url = "sqlite:opwatch.db"
[sinks.audit]
type = "file"
path = "events.jsonl"
{more}
"#,
                opwatch::sim::SECRET_ID,
                cloud.endpoint()
            ),
        );
        home.write("secret_key", opwatch::sim::SECRET_KEY);
        home.write("list.tasks", "");
        home
    }

    /// Lists these ids in its task file.
    pub fn list(&self, ids: impl IntoIterator<Item = u64>) {
        self.write("list.tasks", &ids.into_iter().map(|id| format!("{id}\n")).collect::<String>());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Renamed into its place: a running daemon never reads half of it.
    pub fn write(&self, name: &str, text: &str) {
        let whole = tempfile::NamedTempFile::new_in(self.0.path()).unwrap();
        fs::write(whole.path(), text).unwrap();
        whole.persist(self.path(name)).unwrap();
    }

    /// Replaces a text of the configuration, which must be there.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("opwatch.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        self.write("opwatch.toml", &text.replace(from, to));
    }

    /// Adds keys to its account.
    pub fn account(&self, keys: &str) {
        self.edit("[poll]\n", &format!("{keys}\n[poll]\n"));
    }

    /// The program, in this folder and with nothing of the environment but what it needs.
    pub fn opwatch(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opwatch"));
        command.args(arguments).current_dir(self.0.path()).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A line of shell, in this folder and with nothing of the environment.
    pub fn in_shell(&self, line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(self.0.path()).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `opwatch run`, going on.
    pub fn start(&self) -> Child {
        self.opwatch(&["run", "-c", "opwatch.toml"]).spawn().unwrap()
    }

    /// `opwatch run --until-done`, to its end.
    pub async fn run_until_done(&self) -> ProgramOutput {
        output_of(self.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]).spawn().unwrap()).await
    }

    /// The lines of `events.jsonl`, each a whole record that is valid by the schema.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("events.jsonl")).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "a torn tail: {text:?}");
        let record = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        text.lines().map(record).inspect(holds_to_the_schema).collect()
    }
}

/// Fails where a record violates the shipped schema.
pub fn holds_to_the_schema(record: &Value) {
    static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let schema = serde_json::from_str(include_str!("../../config/event.schema.json")).unwrap();
        jsonschema::draft202012::new(&schema).unwrap()
    });
    let wrong: Vec<_> =
        SCHEMA.iter_errors(record).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{record}");
}

/// The output of a finished program.
#[derive(Debug)]
pub struct ProgramOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl ProgramOutput {
    /// Standard error without the lines of `wait` on how the tasks stand.
    pub fn errors(&self) -> String {
        let is_progress = |line: &&str| {
            let count = line.strip_prefix("opwatch: ").unwrap_or_default();
            count.starts_with(|letter: char| letter.is_ascii_digit()) && count.contains(" finished")
        };
        self.stderr.lines().filter(|line| !is_progress(line)).map(|line| format!("{line}\n")).collect()
    }

    /// The lines of the log sink in JSON form with that message.
    pub fn log_lines(&self, message: &str) -> Vec<Value> {
        let records = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["message"] == message).collect()
    }
}

/// Waits for the end of a program.
pub async fn output_of(child: Child) -> ProgramOutput {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("the program does not end")
        .unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    ProgramOutput { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Sends a signal to a running program.
pub fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("a running program").to_string();
    assert!(std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}

/// Waits for something that comes about outside of this process.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Subject → the distinct (id, outcome or reason) pairs of its final words.
pub fn final_words(events: &[Value]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut words: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for event in events {
        let data = &event["data"];
        let word = data["outcome"].as_str().or(data["reason"].as_str()).expect("a final word").to_owned();
        let pair = (event["id"].as_str().unwrap().to_owned(), word);
        let pairs = words.entry(event["subject"].as_str().unwrap().to_owned()).or_default();
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    words
}
