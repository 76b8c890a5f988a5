//! The cost of a poll and of a waiting task.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Process, opwatch};
use crate::responder::{self, Counter};
use crate::row::{Effort, median, ratios, row};

/// Polls a second in most measurements: far above what the cloud allows, far below what a core can do.
const RATE: u32 = 1_000;
/// Polls a second where first responses are compared with later ones.
const FAST: u32 = 4_000;
/// A rate that no core reaches.
const SATURATED: u32 = 1_000_000;
/// Tasks that are polled again and again.
const ACTIVE: u64 = 200;
/// Tasks that are compared with one pace key and with a pace key each.
const KEYS: u64 = 10_000;
/// Tasks in the large measurements.
const MANY: u64 = 200_000;

/// At a steady rate: the daemon with few and with many tasks, and the bare loop.
pub fn measure() {
    let responder = responder::start();
    let few = Daemon::start(&responder, task_file(ACTIVE), "50ms", RATE);
    few.process.pause();
    let many = Daemon::start(&responder, task_file(MANY), "50ms", RATE);
    many.process.pause();
    let bare = Process::own(&["bare", &responder.url(), &RATE.to_string()]);
    responder.wait_for_more();
    bare.pause();
    let measured = [&bare, &few.process, &many.process].map(|process| (process, &responder));
    let rounds = rounds(Effort::FULL, &measured);
    let ratio = |over: usize, under: usize| rounds.iter().map(|cpu| cpu[over] / cpu[under]).collect();
    ratios(&format!("CPU a poll, daemon ÷ bare loop, {RATE} a second"), ratio(1, 0), "≤ 0.9");
    ratios(&format!("CPU a poll, {MANY} tasks waiting ÷ {ACTIVE}"), ratio(2, 1), "≤ 1.05");
    let bytes = many.process.resident_bytes().saturating_sub(few.process.resident_bytes()) as f64
        / (MANY - ACTIVE) as f64;
    row(&format!("bytes resident a waiting task, at {MANY}"), bytes, 0, "≤ 250");
    let start = many.seconds_to_first_poll;
    row(&format!("seconds from start to first poll, {MANY} lines, new store"), start, 2, "≤ 2");
    let microseconds = median(rounds.iter().map(|cpu| cpu[1] * 1e6).collect());
    row("microseconds of CPU a poll of the daemon", microseconds, 0, "");
}

/// Where nothing but the CPU limits the polls; each with a responder of its own.
pub fn saturation(effort: Effort) {
    for (name, start) in [("plain", responder::start as fn() -> Counter), ("TLS", responder::start_https)] {
        let (of_bare, of_daemon) = (start(), start());
        let ca = of_bare.ca();
        let ca = ca.as_ref().and_then(|path| path.to_str());
        let url = of_bare.url();
        let bare = Process::own(&[&["bare", url.as_str(), "0"], ca.as_slice()].concat());
        of_bare.wait_for_more();
        bare.pause();
        let daemon = Daemon::start(&of_daemon, task_file(ACTIVE), "1ms", SATURATED);
        daemon.process.pause();
        let rounds = rounds(effort, &[(&bare, &of_bare), (&daemon.process, &of_daemon)]);
        let bound = if name == "TLS" { "≤ 1.0" } else { "≤ 1.05" };
        let quotients = rounds.iter().map(|cpu| cpu[1] / cpu[0]).collect();
        ratios(&format!("CPU a poll, daemon ÷ bare loop, saturation, {name}"), quotients, bound);
    }
}

/// The sweep over a new list, and later polls at the same rate.
pub fn first_responses() {
    let Effort { rounds: times, window, warm } = Effort::FULL;
    // The store of each list is new, so each sweep has its own daemon.
    let seconds = (window + warm).as_secs() * times as u64 * 3 / 2;
    let lines = (1..=u64::from(FAST) * seconds).map(|id| format!("{id}\n")).collect();
    let (of_first, of_later) = (responder::start(), responder::start());
    let later = Daemon::start(&of_later, task_file(ACTIVE), "1ms", FAST);
    later.process.pause();
    let first = Daemon::start(&of_first, lines, "1h", FAST);
    first.process.pause();
    let rounds = rounds(Effort::FULL, &[(&later.process, &of_later), (&first.process, &of_first)]);
    let quotients = rounds.iter().map(|cpu| cpu[1] / cpu[0]).collect();
    ratios(&format!("CPU, a first response ÷ a later one, {FAST} a second"), quotients, "≤ 2");
}

/// The same tasks with one pace key and with a pace key each. Where the environment variable `BASELINE` names another
/// build of `opwatch`, that build polls them too.
pub fn pace_keys() {
    // Due one after the other, as after hours of polling.
    let line = |id: u64, more: &str| {
        format!("{{\"id\":{id},\"initial_delay\":\"{}ms\"{more}}}\n", id * 1_000 / u64::from(RATE))
    };
    let of_one_key = || (1..=KEYS).map(|id| line(id, "")).collect::<String>();
    let a_key_each = (1..=KEYS).map(|id| line(id, &format!(",\"region\":\"r{id}\""))).collect();
    let mut programs = vec![(opwatch(), of_one_key()), (opwatch(), a_key_each)];
    let baseline = std::env::var_os("BASELINE");
    programs.extend(baseline.iter().map(|program| (Command::new(program), of_one_key())));
    let daemons: Vec<(Counter, Daemon)> = programs
        .into_iter()
        .map(|(program, lines)| {
            let responder = responder::start();
            let daemon = Daemon::start_program(program, &responder, lines, "10s", RATE);
            (responder, daemon)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(KEYS * 1_000 / u64::from(RATE)));
    // Side by side: after a pause all tasks would be due at once.
    let Effort { rounds, window, .. } = Effort::FULL;
    let rounds: Vec<Vec<f64>> = (0..rounds)
        .map(|_| {
            let so_far = |(responder, daemon): &(Counter, Daemon)| {
                (daemon.process.cpu_seconds(), responder.count() as f64)
            };
            let before: Vec<_> = daemons.iter().map(so_far).collect();
            std::thread::sleep(window);
            let after = daemons.iter().map(so_far);
            after.zip(before).map(|(after, before)| (after.0 - before.0) / (after.1 - before.1)).collect()
        })
        .collect();
    let ratio = |over: usize, under: usize| rounds.iter().map(|cpu| cpu[over] / cpu[under]).collect();
    ratios(&format!("CPU a poll, {KEYS} tasks, a pace key each ÷ one pace key"), ratio(1, 0), "≤ 1.10");
    if baseline.is_some() {
        ratios("CPU a poll, this build ÷ the build in BASELINE", ratio(0, 2), "≤ 1.00");
    }
}

/// CPU seconds for each request of each process, in turns, so that a machine whose speed drifts is the same for all.
fn rounds(effort: Effort, processes: &[(&Process, &Counter)]) -> Vec<Vec<f64>> {
    let cpu_a_poll = |(process, responder): &(&Process, &Counter)| {
        process.go_on();
        std::thread::sleep(effort.warm);
        let before = (process.cpu_seconds(), responder.count());
        std::thread::sleep(effort.window);
        let after = (process.cpu_seconds(), responder.count());
        process.pause();
        (after.0 - before.0) / (after.1 - before.1) as f64
    };
    (0..effort.rounds).map(|_| processes.iter().map(cpu_a_poll).collect()).collect()
}

/// A daemon that polls.
pub struct Daemon {
    process: Process,
    seconds_to_first_poll: f64,
    _folder: tempfile::TempDir,
}

impl Daemon {
    /// A daemon on a new store, with those lines as its task file, that polling interval and that rate limit.
    fn start(responder: &Counter, lines: String, interval: &str, rate: u32) -> Self {
        Self::start_program(opwatch(), responder, lines, interval, rate)
    }

    /// The same with another build.
    fn start_program(
        mut program: Command,
        responder: &Counter,
        lines: String,
        interval: &str,
        rate: u32,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Self::write(folder.path(), responder, lines, interval, rate);
        let start = Instant::now();
        let process = Process::start(program.args(["run", "-c"]).arg(path));
        responder.wait_for_more();
        let seconds_to_first_poll = start.elapsed().as_secs_f64();
        Self { process, seconds_to_first_poll, _folder: folder }
    }

    /// Writes its configuration and task file. A process that is paused holds its requests open for as long.
    pub fn write(folder: &Path, responder: &Counter, lines: String, interval: &str, rate: u32) -> PathBuf {
        let path = folder.join("opwatch.toml");
        let url = responder.url();
        let ca = responder.ca().map(|ca| format!("ca_file = {ca:?}")).unwrap_or_default();
        let text = format!(
            r#"
task_files = ["list.tasks"]
[accounts.default]
region = "bj"
secret_id = "AKIDbench12345678901234567890123456"
secret_key = "bench123456789012345678901234567"
endpoint = "{url}"
rate_limit = {rate}
{ca}
[poll]
initial_interval = "{interval}"
max_interval = "{interval}"
request_timeout = "5m"
[store]
url = "sqlite:opwatch.db"
"#
        );
        fs::write(&path, text).expect("a configuration");
        fs::write(folder.join("list.tasks"), lines).expect("a task file");
        path
    }
}

/// Bare ids; beyond the active ones each waits for an hour.
pub fn task_file(tasks: u64) -> String {
    let line = |id: u64| {
        if id <= ACTIVE { format!("{id}\n") } else { format!("{{\"id\":{id},\"initial_delay\":\"1h\"}}\n") }
    };
    (1..=tasks).map(line).collect()
}
