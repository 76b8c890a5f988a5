//! The cost of loading a long list: `opwatch check`, which passes over it twice as `run` does, against a bare
//! twin that only parses the same bytes. Both are processes of their own, and run in turn.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{opwatch, peak_bytes};

const CONFIGURED: u64 = 20_000;
const LISTED: u64 = 1_000_000;
const ROUNDS: usize = 3;

/// The bare twin of a configuration: the `toml` crate's own values.
pub fn run_toml(file: &str) {
    let text = fs::read_to_string(file).expect("a configuration");
    let table: toml::Table = text.parse().expect("TOML");
    assert!(table.contains_key("tasks"));
}

/// The bare twin of a task file: each line a number, or a value of JSON.
pub fn run_lines(file: &str) {
    let lines = BufReader::new(fs::File::open(file).expect("a task file")).lines();
    let parsed =
        lines.map(|line| serde_json::from_str::<serde_json::Value>(&line.expect("a line")).expect("JSON"));
    assert!(parsed.filter(|value| value.is_number() || value.is_object()).count() > 0);
}

pub fn measure() {
    println!();
    let table = |id: u64| {
        format!(
            "[[tasks]]\nid = {id}\nname = \"rack {id}\"\nlabels = {{ team = \"dba\" }}\ntimeout = \"6h\"\n"
        )
    };
    let object = |id: u64| {
        format!(
            "{{\"id\": {id}, \"name\": \"rack {id}\", \"labels\": {{\"team\": \"dba\"}}, \"timeout\": \"6h\"}}\n"
        )
    };
    let listed = |line: &dyn Fn(u64) -> String, count| (1..=count).map(line).collect::<String>();
    let configured =
        List { file: "opwatch.toml", twin: "bare-toml", text: listed(&table, CONFIGURED), count: CONFIGURED };
    configured.measure("[[tasks]]", 1.0);
    List {
        file: "list.tasks",
        twin: "bare-lines",
        text: listed(&|id| format!("{id}\n"), LISTED),
        count: LISTED,
    }
    .measure("bare ids", 5.0);
    List { file: "list.tasks", twin: "bare-lines", text: listed(&object, LISTED), count: LISTED }
        .measure("JSON objects", 5.0);
}

struct List {
    file: &'static str,
    twin: &'static str,
    text: String,
    count: u64,
}

impl List {
    fn measure(&self, what: &str, most_seconds: f64) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("opwatch.toml");
        let account =
            "[accounts.default]\nregion = \"bj\"\nsecret_id = \"AKIDbench\"\nsecret_key = \"bench\"\n";
        let head = if self.file == "list.tasks" { "task_files = [\"list.tasks\"]\n" } else { "" };
        let rest = if head.is_empty() { self.text.as_str() } else { "" };
        fs::write(folder.path().join(self.file), &self.text).expect("a list");
        fs::write(&path, format!("{head}{account}{rest}")).expect("a configuration");
        let rounds: Vec<_> =
            (0..ROUNDS).map(|_| (check(&path), bare(self.twin, &folder.path().join(self.file)))).collect();
        let median = |numbers: Vec<f64>| crate::row::median(numbers);
        let row = |of: &str, measured: f64, digits: usize, bound: String| {
            println!("{:<66}{measured:>8.digits$}   {bound}", format!("{of}, {} {what}", self.count));
        };
        row(
            "seconds to check",
            median(rounds.iter().map(|(own, _)| own.seconds).collect()),
            2,
            format!("≤ {most_seconds}"),
        );
        row(
            "check ÷ bare parse",
            median(rounds.iter().map(|(own, bare)| own.seconds / bare.seconds).collect()),
            2,
            String::new(),
        );
        row(
            "peak bytes a task",
            median(rounds.iter().map(|(own, _)| own.peak_bytes / self.count as f64).collect()),
            0,
            String::new(),
        );
    }
}

struct Cost {
    seconds: f64,
    peak_bytes: f64,
}

fn check(configuration: &Path) -> Cost {
    cost(opwatch().args(["check", "-c"]).arg(configuration))
}

fn bare(twin: &str, file: &Path) -> Cost {
    cost(Command::new(std::env::current_exe().expect("its own path")).arg(twin).arg(file))
}

/// Runs it to its end. Its peak is read while it runs.
fn cost(command: &mut Command) -> Cost {
    const LOOK: Duration = Duration::from_millis(1);
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the measured process");
    let mut peak = 0;
    let status = loop {
        match child.try_wait().expect("its status") {
            Some(status) => break status,
            None => peak = peak.max(peak_bytes(child.id()).unwrap_or_default()),
        }
        std::thread::sleep(LOOK);
    };
    assert!(status.success(), "{command:?}: {status}");
    Cost { seconds: start.elapsed().as_secs_f64(), peak_bytes: peak as f64 }
}
