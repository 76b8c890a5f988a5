//! Many accounts: the start over https, and the cost of an outage.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use crate::process::{Process, opwatch};
use crate::row::row;

const ACCOUNTS: usize = 500;
const TASKS: u64 = 200_000;
/// The time until the intervals of the outage are long.
const SETTLED: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(10);

pub fn measure() {
    start_over_https();
    outage();
}

/// From the start of the process to its line `watching`.
fn start_over_https() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("opwatch.toml");
    // No address of this network exists: nothing is sent to anybody.
    let text = configuration("https://198.51.100.1/v2/index.php");
    fs::write(&path, format!("task_files = [\"list.tasks\"]\n{text}")).expect("a configuration");
    // A task of each account.
    let line = |id: usize| format!("{{\"id\":{id},\"account\":\"a{id}\"}}\n");
    fs::write(folder.path().join("list.tasks"), (0..ACCOUNTS).map(line).collect::<String>())
        .expect("a task file");
    let log = folder.path().join("log");
    let start = Instant::now();
    let process = Process::start_logged(opwatch().args(["run", "-c"]).arg(&path), &log);
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("watching")) {
        std::thread::sleep(Duration::from_millis(5));
        assert!(start.elapsed() < Duration::from_secs(60), "the daemon does not start");
    }
    row(
        &format!("seconds to start with {ACCOUNTS} accounts over https"),
        start.elapsed().as_secs_f64(),
        2,
        "≤ 1",
    );
    row(&format!("MB resident with {ACCOUNTS} accounts"), process.resident_bytes() as f64 / 1e6, 0, "≤ 40");
}

fn outage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("opwatch.toml");
    // Port 9 of this machine is closed.
    let text = format!("task_files = [\"list.tasks\"]\n{}", configuration("http://127.0.0.1:9/v2/index.php"));
    fs::write(&path, text).expect("a configuration");
    let line = |id: u64| format!("{{\"id\":{id},\"account\":\"a{}\"}}\n", id as usize % ACCOUNTS);
    fs::write(folder.path().join("list.tasks"), (1..=TASKS).map(line).collect::<String>())
        .expect("a task file");
    let process = Process::start(opwatch().args(["run", "-c"]).arg(&path));
    std::thread::sleep(SETTLED);
    assert!(process.resident_bytes() > TASKS * 100, "the tasks are not loaded");
    let before = process.cpu_seconds();
    std::thread::sleep(WINDOW);
    let share = (process.cpu_seconds() - before) / WINDOW.as_secs_f64();
    row(&format!("share of a core, {ACCOUNTS} accounts in outage, {TASKS} tasks"), share, 3, "≤ 0.05");
}

fn configuration(endpoint: &str) -> String {
    let mut text = String::from("[store]\nurl = \"sqlite:opwatch.db\"\n");
    for account in 0..ACCOUNTS {
        let _ = write!(
            text,
            "[accounts.a{account}]\nregion = \"bj\"\nsecret_id = \"AKIDbench1234567890123456789012{account:04}\"\nsecret_key = \"bench123456789012345678901234567\"\nendpoint = \"{endpoint}\"\n"
        );
    }
    text
}
