//! Files that are read: regular files alone, at start and while running. Nothing that a path leads to blocks.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario, Sim, SimResponse, Unlisted};
use rustix::fs::{CWD, FileType, mknodat};

use crate::support::receiver::Receiver;
use crate::support::{Home, cloud, eventually, network, output_of, signal};

type Make = fn(&Path);
type Kind = (&'static str, &'static str, fn(&Home));

/// Files that are not regular, each with the word for its kind.
const IRREGULAR: [(&str, Make); 6] = [
    ("FIFO", fifo),
    ("socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("folder", |path| fs::create_dir(path).unwrap()),
    ("device", |path| symlink("/dev/zero", path).unwrap()),
    ("FIFO", |path| {
        let target = path.with_extension("fifo");
        fifo(&target);
        symlink(target, path).unwrap();
    }),
    ("folder", |path| symlink("/", path).unwrap()),
];

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap();
}

/// Every kind of file that a configuration leads to: its place, its key, and the change of the configuration
/// that leads to it.
const KINDS: [Kind; 12] = [
    ("opwatch.toml", "", |_| {}),
    ("conf.d/more.toml", "", |_| {}),
    ("list.tasks", "", |_| {}),
    ("secret_key", "secret_key_file", |_| {}),
    ("file.pem", "ca_file", |home| home.account("ca_file = \"file.pem\"")),
    ("sdk", "accounts.default", |home| home.edit(&written(), "")),
    (".tccli/default.credential", "accounts.default", |home| {
        home.edit(&written(), "credentials = \"tccli\"\n");
    }),
    ("file", "template_file", |home| webhook(home, "url = \"https://h/\"\ntemplate_file = \"file\"")),
    ("file", "url_file", |home| webhook(home, "url_file = \"file\"")),
    ("file", "tls.ca_file", |home| webhook(home, "url = \"https://h/\"\ntls = { ca_file = \"file\" }")),
    ("file", "tls.cert_file", |home| {
        webhook(home, "url = \"https://h/\"\ntls = { cert_file = \"file\", key_file = \"secret_key\" }");
    }),
    ("file", "tls.key_file", |home| {
        let certificate = network::certificate(&home.path(""));
        let certificate = certificate.chain.display();
        webhook(
            home,
            &format!("url = \"https://h/\"\ntls = {{ cert_file = \"{certificate}\", key_file = \"file\" }}"),
        );
    }),
];

fn written() -> String {
    format!("secret_id = \"{SECRET_ID}\"\nsecret_key_file = \"secret_key\"\n")
}

fn webhook(home: &Home, keys: &str) {
    home.edit("[sinks.audit]", &format!("[sinks.ops]\ntype = \"webhook\"\n{keys}\n[sinks.audit]"));
}

async fn one_task() -> Sim {
    cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await
}

/// A configuration that leads to that kind of file, and the place of the file, where nothing is yet.
fn leading_to(cloud: &Sim, (file, _, lead): &Kind) -> (Home, PathBuf) {
    let home = Home::new(cloud, "");
    home.list([1]);
    lead(&home);
    let path = home.path(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.exists() {
        fs::remove_file(&path).unwrap();
    }
    (home, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_file_is_refused_in_words_whatever_it_is_read_for() {
    let cloud = one_task().await;
    for kind in &KINDS {
        for (position, (word, make)) in IRREGULAR.iter().enumerate() {
            let (home, path) = leading_to(&cloud, kind);
            make(&path);
            // `run` reads what `check` does, so one of each kind is enough.
            let command = if position == 0 { "run" } else { "check" };
            let mut command = home.opwatch(&[command, "-c", "opwatch.toml"]);
            command.env("HOME", home.path("")).env("TENCENTCLOUD_CREDENTIALS_FILE", home.path("sdk"));
            let refused = output_of(command.spawn().unwrap()).await;
            let words = format!("(it is a {word}, and only a regular file is read); name a regular file");
            let (file, key, _) = kind;
            let lines: Vec<_> = refused.stderr.lines().filter(|line| line.contains(&words)).collect();
            let named = lines.len() == 1 && lines[0].contains(file) && lines[0].contains(key);
            assert!(refused.code == Some(2) && named, "{file} {key}, a {word}: {}", refused.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_file_is_followed_whatever_it_is_read_for() {
    let cloud = one_task().await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    webhook(&home, "url_file = \"url\"\ntemplate_file = \"template\"");
    fs::create_dir(home.path("conf.d")).unwrap();
    home.write("conf.d/more.toml", "[poll]\njitter = 0.1\n");
    home.write("url", "https://h/");
    home.write("template", "{{ data.outcome }}");
    for name in ["opwatch.toml", "list.tasks", "secret_key", "conf.d/more.toml", "url", "template"] {
        let target = home.path(name).with_extension("target");
        fs::rename(home.path(name), &target).unwrap();
        symlink(target, home.path(name)).unwrap();
    }
    let checked = output_of(home.opwatch(&["check", "-c", "opwatch.toml"]).spawn().unwrap()).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_s_scenario_is_a_regular_file_too() {
    let cloud = one_task().await;
    for (word, make) in IRREGULAR {
        let home = Home::new(&cloud, "");
        make(&home.path("scenario.toml"));
        let refused = output_of(home.opwatch(&["sim", "--scenario", "scenario.toml"]).spawn().unwrap()).await;
        let named =
            refused.stderr.contains("scenario.toml") && refused.stderr.contains(&format!("it is a {word}"));
        assert!(refused.code == Some(2) && named, "{}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_turn_into_something_else_while_running_stop_neither_polls_nor_sigterm() {
    for (word, make) in IRREGULAR {
        let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
        let home = Home::new(&cloud, "");
        home.list([1]);
        fs::write(home.path("url"), "http://127.0.0.1:9/").unwrap();
        fs::write(home.path("template"), "x").unwrap();
        webhook(&home, "url_file = \"url\"\ntemplate_file = \"template\"");
        let child = home.start();
        eventually("the first polls", || cloud.requests() >= 3).await;
        for name in ["secret_key", "url", "template", "list.tasks", "opwatch.toml"] {
            fs::remove_file(home.path(name)).unwrap();
            make(&home.path(name));
        }
        // At most ten polls a second: the files are checked meanwhile.
        let before = cloud.requests();
        eventually("more polls", || cloud.requests() >= before + 25).await;
        signal(&child, "TERM");
        let ended = output_of(child).await;
        assert_eq!(ended.code, Some(0), "a {word}: {}", ended.stderr);
        assert!(!ended.stderr.contains(SECRET_KEY));
    }
}

fn with_same_mtime(path: &Path) {
    let times = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_same_size_and_mtime_releases_an_account_on_hold() {
    let cloud = one_task().await;
    let home = Home::new(&cloud, "");
    home.edit(
        "error_interval = \"20ms\"\nerror_max_interval = \"100ms\"",
        "error_interval = \"1h\"\nerror_max_interval = \"1h\"",
    );
    home.edit("path = \"events.jsonl\"", "path = \"events.jsonl\"\nevents = [\"finished\", \"trouble\"]");
    home.list([1]);
    home.write("secret_key", &"x".repeat(SECRET_KEY.len()));
    with_same_mtime(&home.path("secret_key"));
    let child = home.start();
    eventually("the hold is told", || !home.events().is_empty()).await;
    let before = cloud.requests();
    fs::write(home.path("new"), SECRET_KEY).unwrap();
    with_same_mtime(&home.path("new"));
    fs::rename(home.path("new"), home.path("secret_key")).unwrap();
    let is_over = || home.events().iter().any(|event| event["type"] == "opwatch.task.finished");
    eventually("the task is over", is_over).await;
    assert!(cloud.requests() > before);
    signal(&child, "TERM");
    assert_eq!(output_of(child).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_of_an_account_is_read_again_and_a_broken_one_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = network::certificate(folder.path());
    let cloud = one_task().await;
    let tls = network::tls(&certificate, cloud.addr()).await;
    let home = Home::new(&cloud, "");
    home.edit(&cloud.endpoint(), &format!("https://{}", tls.addr));
    home.account("ca_file = \"ca.pem\"");
    home.list([1]);
    fs::write(home.path("ca.pem"), include_str!("../support/ca.pem")).unwrap();
    let child = home.start();
    eventually("the first polls fail", || tls.connections() >= 3).await;
    home.write("ca.pem", "-----BEGIN CERTIFICATE-----");
    let before = tls.connections();
    eventually("polls go on with the one before", || tls.connections() >= before + 25).await;
    assert_eq!(cloud.requests(), 0);
    home.write("ca.pem", &fs::read_to_string(&certificate.ca).unwrap());
    eventually("the task is over", || home.events().len() == 1).await;
    signal(&child, "TERM");
    let ended = output_of(child).await;
    let reported = ended.stderr.matches("a changed file of the account cannot be used").count();
    assert!(reported == 1 && ended.stderr.contains("ca.pem is not complete PEM"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_file_is_read_again_while_events_are_sent() {
    const TASKS: u64 = 600;
    let scenario =
        Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() };
    let cloud = cloud(scenario).await;
    let receiver = Receiver::start().await;
    let home = Home::new(&cloud, "");
    let task = |id: u64| format!("{{\"id\": {id}, \"initial_delay\": \"{}ms\"}}\n", id * 100);
    home.write("list.tasks", &(1..=TASKS).map(task).collect::<String>());
    fs::write(home.path("template"), "one").unwrap();
    webhook(&home, &format!("url = \"http://{}/\"\ntemplate_file = \"template\"", receiver.addr));
    let child = home.start();
    let has_got = |body: &str| receiver.got().iter().any(|got| got.body == body);
    eventually("the first template", || has_got("one")).await;
    home.write("template", "two");
    eventually("the second template", || has_got("two")).await;
    signal(&child, "TERM");
    assert_eq!(output_of(child).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_the_system_s_certificates_is_a_regular_file_with_certificates() {
    let cloud = one_task().await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    webhook(&home, "url = \"https://h/\"");
    for (position, (word, make)) in IRREGULAR.iter().enumerate() {
        let bundle = home.path(&format!("bundle{position}.pem"));
        make(&bundle);
        let mut command = home.opwatch(&[if position == 0 { "run" } else { "check" }, "-c", "opwatch.toml"]);
        let refused = output_of(command.env("SSL_CERT_FILE", &bundle).spawn().unwrap()).await;
        let words = format!("{} (it is a {word}, and only a regular file is read)", bundle.display());
        assert!(refused.code == Some(2) && refused.stderr.contains(&words), "{word}: {}", refused.stderr);
    }
    home.write("empty.pem", "");
    let mut command = home.opwatch(&["check", "-c", "opwatch.toml"]);
    let refused = output_of(command.env("SSL_CERT_FILE", "empty.pem").spawn().unwrap()).await;
    assert!(
        refused.code == Some(2) && refused.stderr.contains("no certificate was found"),
        "{}",
        refused.stderr
    );
    let certificate = network::certificate(&home.path(""));
    let mut command = home.opwatch(&["check", "-c", "opwatch.toml"]);
    let right = output_of(command.env("SSL_CERT_FILE", &certificate.chain).spawn().unwrap()).await;
    assert_eq!(right.code, Some(0), "{}", right.stderr);
}
