//! `cargo bench`: the cost of a poll and of a waiting task, as ratios in one run, since absolute times depend
//! on the machine.
//!
//! The daemon is measured from outside, as the process that users run, against a local responder in a process
//! of its own. Its twin is a bare loop that does what a poll cannot do without: sign, GET, read, parse.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on is to fail, and measures time itself"
)]

mod responder;
mod bare;
mod loading;
mod process;
mod sinks;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use process::{Process, opwatch};
use responder::Counter;

/// Polls a second in each measurement: far above what the cloud allows, far below what a core can do.
const RATE: u32 = 1_000;
/// The time for which CPU is counted in each round.
const WINDOW: Duration = Duration::from_secs(4);
/// The time for which a paused process runs before its measurement.
const WARM: Duration = Duration::from_secs(1);
/// The number of rounds; the median counts.
const ROUNDS: usize = 5;
/// A rate that no core reaches.
const SATURATED: u32 = 1_000_000;
/// Tasks that are polled again and again.
const ACTIVE: u64 = 200;
/// Tasks that are compared with one pace key and with a pace key each.
const KEYS: u64 = 10_000;
/// Tasks in the large measurements.
const MANY: u64 = 200_000;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("answer") => responder::run(),
        Some("bare") => bare::run(&arguments[1], RATE),
        Some("bare-saturated") => bare::run(&arguments[1], 0),
        Some("bare-webhook") => sinks::run_webhook(&arguments[1], &arguments[2]),
        Some("bare-file") => sinks::run_file(&arguments[1], &arguments[2]),
        Some("bare-toml") => loading::run_toml(&arguments[1]),
        Some("bare-lines") => loading::run_lines(&arguments[1]),
        Some("sinks") => sinks::measure(),
        Some("loading") => loading::measure(),
        Some("keys") => measure_pace_keys(),
        Some("saturation") => measure_saturation(),
        Some(_) | None => {
            measure();
            measure_saturation();
            measure_pace_keys();
            sinks::measure();
            loading::measure();
        }
    }
}

fn measure() {
    let responder = responder::start();
    let few = Daemon::start(&responder, ACTIVE);
    few.process.pause();
    let many = Daemon::start(&responder, MANY);
    many.process.pause();
    let bare = Process::own(&["bare", &responder.address.to_string()]);
    responder.wait_for_more();
    bare.pause();
    // In turn, so that a machine whose speed drifts is the same for all three.
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| [&bare, &few.process, &many.process].map(|process| cpu_a_poll(process, &responder)))
        .collect();
    let ratio = |over: usize, under: usize| median(rounds.iter().map(|cpu| cpu[over] / cpu[under]).collect());
    let microseconds = |which: usize| median(rounds.iter().map(|cpu| cpu[which] * 1e6).collect());
    let spread = |which: usize| {
        rounds.iter().map(|cpu| format!("{:.0}", cpu[which] * 1e6)).collect::<Vec<_>>().join(" ")
    };
    let bytes = many.process.resident_bytes().saturating_sub(few.process.resident_bytes()) as f64
        / (MANY - ACTIVE) as f64;
    let row = |what: &str, measured: f64, digits: usize, bound: &str| {
        println!("{what:<66}{measured:>8.digits$}   {bound}")
    };
    row(&format!("CPU a poll, daemon ÷ bare loop, both at {RATE} polls a second"), ratio(1, 0), 2, "≤ 1.25");
    row(&format!("CPU a poll, {MANY} tasks waiting ÷ {ACTIVE}"), ratio(2, 1), 2, "≤ 1.10");
    row(&format!("bytes resident a waiting task, at {MANY}"), bytes, 0, "≤ 300");
    row(
        &format!("seconds from start to first poll, {MANY} lines, new store"),
        many.seconds_to_first_poll,
        2,
        "≤ 2",
    );
    println!("microseconds of CPU a poll: bare loop {:.0} ({})", microseconds(0), spread(0));
    println!(
        "                            daemon {:.0} ({}), with {MANY} tasks {:.0} ({})",
        microseconds(1),
        spread(1),
        microseconds(2),
        spread(2)
    );
}

/// Compares the daemon with the bare loop where nothing but the CPU limits them; in turns, each with a responder of its own.
fn measure_saturation() {
    let (of_bare, of_daemon) = (responder::start(), responder::start());
    let bare = Process::own(&["bare-saturated", &of_bare.address.to_string()]);
    of_bare.wait_for_more();
    bare.pause();
    let daemon = Daemon::start_at_rate(opwatch(), &of_daemon, task_file(ACTIVE), "1ms", SATURATED);
    daemon.process.pause();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| (saturated_cpu(&bare, &of_bare), saturated_cpu(&daemon.process, &of_daemon)))
        .collect();
    let ratios: Vec<f64> = rounds.iter().map(|(bare, daemon)| daemon / bare).collect();
    let spread = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ");
    let what = "CPU a poll, daemon ÷ bare loop, saturation";
    println!("{what:<66}{:>8.2}   ≤ 1.05   ({spread})", median(ratios));
}

/// CPU seconds for each request, over the window.
fn saturated_cpu(process: &Process, responder: &Counter) -> f64 {
    process.go_on();
    std::thread::sleep(WARM);
    let before = (process.cpu_seconds(), responder.count());
    std::thread::sleep(WINDOW);
    let after = (process.cpu_seconds(), responder.count());
    process.pause();
    (after.0 - before.0) / (after.1 - before.1) as f64
}

/// Compares the same tasks with one pace key and with a pace key each. Where the environment variable `BASELINE` names
/// another build of `opwatch`, that build polls them too.
fn measure_pace_keys() {
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
            let daemon = Daemon::start_with(program, &responder, lines, "10s");
            (responder, daemon)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(KEYS * 1_000 / u64::from(RATE)));
    // Side by side: after a pause all tasks would be due at once.
    let rounds: Vec<Vec<f64>> = (0..ROUNDS)
        .map(|_| {
            let so_far = |(responder, daemon): &(Counter, Daemon)| {
                (daemon.process.cpu_seconds(), responder.count() as f64)
            };
            let before: Vec<_> = daemons.iter().map(so_far).collect();
            std::thread::sleep(WINDOW);
            let after = daemons.iter().map(so_far);
            after.zip(before).map(|(after, before)| (after.0 - before.0) / (after.1 - before.1)).collect()
        })
        .collect();
    let ratio = |over: usize, under: usize| median(rounds.iter().map(|cpu| cpu[over] / cpu[under]).collect());
    let row = |what: String, measured: f64, bound: &str| println!("{what:<66}{measured:>8.2}   {bound}");
    row(format!("CPU a poll, {KEYS} tasks, a pace key each ÷ one pace key"), ratio(1, 0), "≤ 1.10");
    if baseline.is_some() {
        row("CPU a poll, this build ÷ the build in BASELINE".to_owned(), ratio(0, 2), "≤ 1.00");
    }
}

/// CPU seconds that the process spends for each request the responder saw, over the window, once it is warm
/// again.
fn cpu_a_poll(process: &Process, responder: &Counter) -> f64 {
    process.go_on();
    std::thread::sleep(WARM);
    let before = (process.cpu_seconds(), responder.count());
    std::thread::sleep(WINDOW);
    let after = (process.cpu_seconds(), responder.count());
    process.pause();
    let polls = after.1 - before.1;
    assert!(
        polls > u64::from(RATE) * WINDOW.as_secs() * 8 / 10,
        "process {} cannot hold the rate: {polls} polls",
        process.0.id()
    );
    (after.0 - before.0) / polls as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

struct Daemon {
    process: Process,
    seconds_to_first_poll: f64,
    _folder: tempfile::TempDir,
}

impl Daemon {
    /// A daemon on a new store, with so many tasks in a task file, of which some are polled all the time.
    fn start(responder: &Counter, tasks: u64) -> Self {
        Self::start_with(opwatch(), responder, task_file(tasks), "50ms")
    }

    /// The program on a new store, with those lines as its task file and that polling interval.
    fn start_with(program: Command, responder: &Counter, lines: String, interval: &str) -> Self {
        Self::start_at_rate(program, responder, lines, interval, RATE)
    }

    /// The same, with that rate limit.
    fn start_at_rate(
        mut program: Command,
        responder: &Counter,
        lines: String,
        interval: &str,
        rate: u32,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = configuration(responder.address, interval)
            .replace(&format!("rate_limit = {RATE}"), &format!("rate_limit = {rate}"));
        fs::write(folder.path().join("opwatch.toml"), configuration).expect("a configuration");
        fs::write(folder.path().join("list.tasks"), lines).expect("a task file");
        let start = Instant::now();
        let process = Process::start(program.args(["run", "-c"]).arg(folder.path().join("opwatch.toml")));
        responder.wait_for_more();
        let seconds_to_first_poll = start.elapsed().as_secs_f64();
        Self { process, seconds_to_first_poll, _folder: folder }
    }
}

/// A process that is paused holds its requests open for as long.
fn configuration(responder: SocketAddr, interval: &str) -> String {
    format!(
        r#"
task_files = ["list.tasks"]
[accounts.default]
region = "bj"
secret_id = "AKIDbench"
secret_key = "bench"
endpoint = "http://{responder}/v2/index.php"
rate_limit = {RATE}
[poll]
initial_interval = "{interval}"
max_interval = "{interval}"
request_timeout = "5m"
[store]
url = "sqlite:opwatch.db"
"#
    )
}

/// Bare ids; beyond the active ones each waits for an hour.
fn task_file(tasks: u64) -> String {
    let line = |id: u64| {
        if id <= ACTIVE { format!("{id}\n") } else { format!("{{\"id\":{id},\"initial_delay\":\"1h\"}}\n") }
    };
    (1..=tasks).map(line).collect()
}
