//! The cost of a delivery: the daemon with a full outbox against a bare loop with the same client library and
//! the same events.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::process::{Process, opwatch};
use super::responder::{self, Counter};

/// Deliveries in each measurement.
const EVENTS: usize = 20_000;
/// As many attempts are under way at once as `max_in_flight` allows by default.
const IN_FLIGHT: usize = 8;
/// The lines that the file sink appends and syncs at once.
const BATCH: usize = 256;
/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures both sinks, each against its twin.
pub fn measure() {
    let receiver = responder::start();
    let folder = tempfile::tempdir().expect("a folder");
    fill_the_outbox(folder.path(), &receiver);
    let events = folder.path().join("all.jsonl");

    let before = receiver.count();
    let webhook =
        drained(folder.path(), &webhook(receiver.address), || receiver.count() - before >= EVENTS as u64);
    let before = receiver.count();
    let bare = bare(&["bare-webhook", &receiver.address.to_string(), text(&events)], || {
        receiver.count() - before >= EVENTS as u64
    });
    tell("webhook", "client", "≤ 2", webhook, bare);

    let out = folder.path().join("out");
    let lines =
        |path: &Path| fs::read(path).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    fs::create_dir(&out).expect("a folder");
    let file = drained(folder.path(), &file(), || lines(&out.join("late.jsonl")) >= EVENTS);
    let twin = folder.path().join("bare.jsonl");
    let bare = bare_process(&["bare-file", text(&twin), text(&events)], || lines(&twin) >= EVENTS);
    // A write is next to nothing: what the outbox costs an event is seen here.
    tell("file", "write", "", file, bare);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Seconds and CPU seconds.
type Cost = (f64, f64);

fn tell(sink: &str, twin: &str, bound: &str, (seconds, cpu): Cost, (bare_seconds, bare_cpu): Cost) {
    let a_second = |seconds: f64| EVENTS as f64 / seconds;
    println!(
        "{:<66}{:>8.2}   {bound}",
        format!("CPU an event to a {sink}, daemon ÷ bare {twin}"),
        cpu / bare_cpu
    );
    println!(
        "events a second to a {sink}: daemon {:.0}, bare {twin} {:.0}",
        a_second(seconds),
        a_second(bare_seconds)
    );
}

/// Ends so many tasks while two of the sinks accept nothing; a third one keeps the same events for the twins.
fn fill_the_outbox(folder: &Path, cloud: &Counter) {
    let ids: String = (1..=EVENTS).map(|id| format!("{id}\n")).collect();
    fs::write(folder.join("list.tasks"), ids).expect("a task file");
    // Port 9 of this machine is closed.
    let dead = webhook("127.0.0.1:9".parse().expect("an address"));
    let all = "[sinks.all]\ntype = \"file\"\npath = \"all.jsonl\"\n";
    fs::write(
        folder.join("opwatch.toml"),
        configuration(cloud.address, "task_files = [\"list.tasks\"]") + &dead + &file() + all,
    )
    .expect("a configuration");
    let daemon = start(folder);
    wait_until(|| {
        fs::read(folder.join("all.jsonl"))
            .is_ok_and(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count() >= EVENTS)
    });
    drop(daemon);
}

/// Starts the daemon on the full outbox with that sink alone, until it is empty.
fn drained(folder: &Path, sink: &str, is_empty: impl Fn() -> bool) -> Cost {
    fs::write(
        folder.join("opwatch.toml"),
        configuration("127.0.0.1:9".parse().expect("an address"), "") + sink,
    )
    .expect("a configuration");
    cost(start(folder), is_empty)
}

fn bare(arguments: &[&str], is_done: impl Fn() -> bool) -> Cost {
    bare_process(arguments, is_done)
}

fn bare_process(arguments: &[&str], is_done: impl Fn() -> bool) -> Cost {
    cost(Process::own(arguments), is_done)
}

fn cost(process: Process, is_done: impl Fn() -> bool) -> Cost {
    let start = Instant::now();
    wait_until(is_done);
    (start.elapsed().as_secs_f64(), process.cpu_seconds())
}

fn start(folder: &Path) -> Process {
    Process::start(opwatch().args(["run", "-c"]).arg(folder.join("opwatch.toml")))
}

fn wait_until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "a measurement does not come to its end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The list is read at each start, which is not what is measured here.
fn configuration(cloud: SocketAddr, list: &str) -> String {
    format!(
        r#"
{list}
[accounts.default]
region = "bj"
secret_id = "AKIDbench"
secret_key = "bench"
endpoint = "http://{cloud}/over"
rate_limit = 20000
max_in_flight = 64
[store]
url = "sqlite:opwatch.db"
[sinks.log]
events = ["trouble"]
"#
    )
}

fn webhook(receiver: SocketAddr) -> String {
    format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{receiver}/hook\"\n")
}

fn file() -> String {
    "[sinks.late]\ntype = \"file\"\npath = \"out/late.jsonl\"\n".to_owned()
}

/// The bare client: each event of that file in a request of its own, so many at once.
pub fn run_webhook(address: &str, events: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
        let url = format!("http://{address}/hook");
        let text = fs::read_to_string(events).expect("the events");
        let mut sending = tokio::task::JoinSet::new();
        for line in text.lines() {
            if sending.len() == IN_FLIGHT {
                sending.join_next().await;
            }
            let request = client
                .post(&url)
                .header("content-type", "application/cloudevents+json")
                .body(line.to_owned());
            sending.spawn(
                async move { request.send().await.expect("an answer").bytes().await.expect("a body") },
            );
        }
        sending.join_all().await;
    });
    std::thread::sleep(PATIENCE);
}

/// The bare writer: the same lines in the same batches, each batch synced.
pub fn run_file(path: &str, events: &str) {
    let text = fs::read_to_string(events).expect("the events");
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).expect("a file");
    for lines in text.lines().collect::<Vec<_>>().chunks(BATCH) {
        let batch: String = lines.iter().map(|line| format!("{line}\n")).collect();
        file.write_all(batch.as_bytes()).expect("a write");
        file.sync_data().expect("a sync");
    }
    std::thread::sleep(PATIENCE);
}
