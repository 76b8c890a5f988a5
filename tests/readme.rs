//! Every block of README.md, run or read as by a reader. A block of a new kind, or a command that this file
//! does not know, fails: untested documentation becomes wrong. README.zh-CN.md has the same blocks, so one
//! run tests both.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use opwatch::config::{Environment, load};
use opwatch::secret::Secret;
use opwatch::sim::{SECRET_KEY, Scenario, SimResponse};
use serde_json::Value;

use crate::support::receiver::Receiver;
use crate::support::{Home, cloud, eventually, holds_to_the_schema, output_of, signal};

/// The README in each language.
const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";

/// The fenced blocks of a README, in order: language and text.
fn blocks(file: &str) -> Vec<(String, String)> {
    let readme = fs::read_to_string(file).unwrap();
    let fenced = readme.split("```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.split_once('\n'))
        .map(|(language, text)| (language.to_owned(), text.to_owned()))
        .collect()
}

pub fn only(language: &str) -> Vec<String> {
    blocks(ENGLISH).into_iter().filter(|(found, _)| found == language).map(|(_, text)| text).collect()
}

#[test]
fn every_command_of_the_readme_is_one_that_exists() {
    for line in only("sh").iter().flat_map(|block| block.lines()).filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.trim_start_matches("sudo ").split(' ').collect();
        match words[..] {
            ["tests/run"] => assert!(Path::new("tests/run").is_file()),
            // Run below, and in surface/demo.rs.
            ["cargo", "run", "--release", "--", "demo"] | ["cargo", "build", "--release"] => {}
            // Run below.
            ["opwatch", "run", "-c", "opwatch.toml"]
            | ["opwatch", "run", "-c", "opwatch.toml", "--until-done"] => {}
            // Run below, on the first configuration.
            ["opwatch", "check", "-c", "opwatch.toml"]
            | ["opwatch", "check", "-c", "opwatch.toml", "--live"] => {}
            ["opwatch", "events", "test", "-c", "opwatch.toml"] => {}
            ["opwatch", "sim", "--scenario", "scenario.toml"] => {}
            // Run below.
            ["export", "TENCENTCLOUD_SECRET_ID=AKID...", "TENCENTCLOUD_SECRET_KEY=..."]
            | ["opwatch", "wait", ..] => {}
            // Run below, beside a daemon.
            ["sqlite3", "opwatch.db", ..] => {}
            ["install", .., "target/release/opwatch", "/usr/bin/opwatch"] => {
                assert!(unit().contains("ExecStart=/usr/bin/opwatch run"))
            }
            ["install", "-d", "-m", "750", "-g", "opwatch", "/etc/opwatch"] => {}
            ["install", "-m", "640", "-g", "opwatch", "opwatch.toml", "secret_key", "/etc/opwatch/"] => {}
            ["install", "-m", "644", shipped, _] => assert!(Path::new(shipped).is_file(), "{shipped}"),
            ["systemd-sysusers"] | ["journalctl", "--update-catalog"] | ["systemctl", "daemon-reload"] => {}
            ["systemctl", "enable", "--now", unit] => {
                assert!(Path::new(&format!("systemd/{unit}.service")).is_file())
            }
            _ => panic!("no test knows this command: {line}"),
        }
    }
}

fn unit() -> String {
    fs::read_to_string("systemd/opwatch.service").unwrap()
}

#[test]
fn every_block_of_the_readme_is_of_a_kind_that_is_tested() {
    for (language, text) in blocks(ENGLISH) {
        assert!(
            ["sh", "toml", "tasks", "scenario", "answers", "shell", "json", "text", "ini"]
                .contains(&language.as_str()),
            "{language}: {text}"
        );
    }
}

#[test]
fn the_chinese_readme_has_the_blocks_terms_headings_rows_and_links_of_the_english_one() {
    let without_drawing = |file| blocks(file).split_off(1);
    assert_eq!(without_drawing(CHINESE), without_drawing(ENGLISH));
    let prose = |file| fs::read_to_string(file).unwrap().split("```").step_by(2).collect::<String>();
    let english = prose(ENGLISH);
    let chinese = prose(CHINESE);
    let words = |prose: &str| {
        prose.replace('\n', " ").split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(words(&chinese), words(&english));
    for start in ["#", "|", "- ", "1. "] {
        let count = |prose: &str| prose.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count(&chinese), count(&english), "lines that begin with {start}");
    }
    let links = |prose: &str, other: &str| {
        links(prose).into_iter().filter(|target| target != other).collect::<BTreeSet<_>>()
    };
    assert_eq!(links(&chinese, ENGLISH), links(&english, CHINESE));
}

/// Where its links lead.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_watches_its_task_to_its_end_and_reports_it_as_shown() {
    let scenario = Scenario::parse(&only("scenario")[0], None).unwrap();
    let cloud = cloud(Scenario { secret_id: "AKID...".to_owned(), ..scenario }).await;
    let home = Home::new(&cloud, "");
    home.write("opwatch.toml", &only("toml")[0]);
    home.write("secret_key", SECRET_KEY);
    // Additions for the test: the cloud is simulated, and time is short.
    let run = |arguments: &[&str]| {
        let mut command = home.opwatch(arguments);
        command
            .env("OPWATCH__ACCOUNTS__DEFAULT__ENDPOINT", cloud.endpoint())
            .env("OPWATCH__ACCOUNTS__DEFAULT__RATE_LIMIT", "100");
        command.env("OPWATCH__POLL__INITIAL_INTERVAL", "20ms").env("OPWATCH__POLL__ERROR_INTERVAL", "20ms");
        command.spawn().unwrap()
    };
    let looked = output_of(run(&["check", "-c", "opwatch.toml"])).await;
    assert!(looked.code == Some(0) && looked.stdout.contains("1 task, 1 account, 2 sinks"), "{looked:?}");
    assert!(!home.path("opwatch.db").exists() && cloud.requests() == 0);
    let ended = output_of(run(&["run", "-c", "opwatch.toml", "--until-done"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let shown: Value = serde_json::from_str(&only("json")[0].replace('\n', "")).unwrap();
    holds_to_the_schema(&shown);
    assert_eq!(keys(&home.events()[0], ""), keys(&shown, ""));
    assert_eq!(home.events()[0]["data"]["outcome"], "partial");
    assert!(home.path("opwatch.db").is_file());
    let reached = output_of(run(&["check", "-c", "opwatch.toml", "--live"])).await;
    assert_eq!((reached.code, reached.stderr.as_str()), (Some(0), ""), "{}", reached.stdout);
    let tried = output_of(run(&["events", "test", "-c", "opwatch.toml"])).await;
    assert_eq!(
        (tried.code, tried.stdout.as_str()),
        (Some(0), "audit: delivered\nlog: delivered\n"),
        "{}",
        tried.stderr
    );
    assert_eq!(home.events()[1]["data"]["task"]["name"], "test event from opwatch events test");

    let going_on = run(&["run", "-c", "opwatch.toml"]);
    eventually("the daemon is up", || {
        fs::read_to_string(home.path("opwatch.db.lock")).is_ok_and(|pid| !pid.is_empty())
    })
    .await;
    signal(&going_on, "TERM");
    assert!(output_of(going_on).await.log_lines("task finished").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_the_readme_are_waited_for_by_their_ids_and_by_the_responses_of_the_cloud() {
    let unlisted = opwatch::sim::Unlisted::Follows(vec![SimResponse::status(1)]);
    let cloud = cloud(Scenario {
        secret_id: "AKID...".to_owned(),
        secret_key: Secret::new("..."),
        unlisted,
        ..Scenario::default()
    })
    .await;
    let home = Home::new(&cloud, "");
    home.write("answers.json", &only("answers")[0]);
    let block = only("sh").into_iter().find(|block| block.contains("opwatch wait")).unwrap();
    let program = env!("CARGO_BIN_EXE_opwatch");
    let by_ids = block.replace("opwatch wait", &format!("{program} wait"));
    let mut from_answers = by_ids.replace("1000800001 1000800002", "-").trim_end().to_owned();
    from_answers.push_str(" < answers.json");
    for script in [by_ids, from_answers] {
        let mut command = home.in_shell(&script);
        // Additions for the test: the cloud is simulated.
        command
            .env("OPWATCH__ACCOUNTS__DEFAULT__ENDPOINT", cloud.endpoint())
            .env("OPWATCH__ACCOUNTS__DEFAULT__RATE_LIMIT", "100");
        let ended = output_of(command.spawn().unwrap()).await;
        assert_eq!(
            (ended.code, ended.stderr.as_str(), ended.stdout.lines().count()),
            (Some(0), "", 2),
            "{}",
            ended.stdout
        );
    }
}

/// Every key of a record, as paths.
fn keys(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| keys(value, &format!("{path}/{key}"))).collect()
        }
        Value::Array(elements) => elements.first().map(|element| keys(element, path)).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![path.to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhooks_of_the_readme_get_what_it_says() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let ops = Receiver::start().await;
    let chat = Receiver::start().await;
    let block =
        only("toml").into_iter().find(|block| block.contains("\"webhook\"")).expect("a block of webhooks");
    let home = Home::new(&cloud, &block);
    home.write("ops_url", &format!("http://{}/hook\n", ops.addr));
    home.write("chat_url", &format!("http://{}/hook\n", chat.addr));
    home.write("list.tasks", "{\"id\": 1, \"name\": \"rack \\\"7\\\"\"}\n");
    assert_eq!(home.run_until_done().await.code, Some(0));
    let ([signed], [templated]) =
        (<[_; 1]>::try_from(ops.got()).unwrap(), <[_; 1]>::try_from(chat.got()).unwrap());
    let key = block.split("whsec_").nth(1).unwrap().split('"').next().unwrap().to_owned();
    standardwebhooks::Webhook::new(&key).unwrap().verify(signed.body.as_bytes(), &signed.headers).unwrap();
    assert!(
        signed.header("content-type").starts_with("application/cloudevents+json")
            && signed.header("x-env") == "prod"
    );
    let in_file = fs::read_to_string(home.path("events.jsonl")).unwrap();
    assert_eq!(
        (signed.header("webhook-id"), &signed.body),
        (home.events()[0]["id"].as_str().unwrap(), &in_file.trim_end().to_owned())
    );
    assert_eq!(templated.body, r#"{"text": "rack \"7\": success"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_file_of_the_readme_is_read_and_each_of_its_tasks_is_watched() {
    let cloud = cloud(Scenario {
        unlisted: opwatch::sim::Unlisted::Follows(vec![SimResponse::status(1)]),
        ..Scenario::default()
    })
    .await;
    let home = Home::new(&cloud, "");
    home.edit("task_files = [\"list.tasks\"]\n", &only("toml")[1]);
    home.write(
        "rack7.tasks",
        &only("tasks")[0].replace("\"initial_delay\": \"10m\"", "\"initial_delay\": \"10ms\""),
    );
    assert_eq!(home.run_until_done().await.code, Some(0));
    assert_eq!(home.events().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_of_the_readme_leaves_a_file_for_each_task_that_did_not_end_well() {
    let cloud = cloud(
        Scenario::default().with_task(1, [SimResponse::status(1)]).with_task(2, [SimResponse::status(2)]),
    )
    .await;
    let home = Home::new(
        &cloud,
        &only("toml").into_iter().find(|block| block.contains("type = \"exec\"")).expect("a program"),
    );
    home.list([1, 2]);
    home.write("on-done", &only("shell")[0]);
    fs::set_permissions(home.path("on-done"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir(home.path("tickets")).unwrap();
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let failed = home.events().into_iter().find(|event| event["data"]["outcome"] == "failure").unwrap();
    let left: Vec<_> =
        fs::read_dir(home.path("tickets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [home.path("tickets").join(format!("{}.json", failed["id"].as_str().unwrap()))]);
    assert_eq!(serde_json::from_str::<Value>(&fs::read_to_string(&left[0]).unwrap()).unwrap(), failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_what_the_readme_says() {
    let home = Home::new(&cloud(Scenario::default()).await, "");
    let ended = output_of(
        home.in_shell(&format!("exec {} demo 2>&1", env!("CARGO_BIN_EXE_opwatch"))).spawn().unwrap(),
    )
    .await;
    let (shown, _) = ended.stdout.split_once("\n\nWhat to do next").expect("an end");
    let recorded: String = shown.trim().lines().map(|line| without_what_varies(line) + "\n").collect();
    let block =
        only("text").into_iter().find(|block| block.starts_with("# A cloud is simulated")).expect("the demo");
    // As `tests/record-demo` calls it.
    if std::env::var_os("RECORD_DEMO").is_some() {
        for file in [ENGLISH, CHINESE] {
            fs::write(file, fs::read_to_string(file).unwrap().replace(&block, &recorded)).unwrap();
        }
        return;
    }
    assert_eq!(
        recorded, block,
        "the demo shows something else by now: look at it, and run tests/record-demo"
    );
}

/// A line of the demo with an ellipsis for what another run would show otherwise, and for its end if it is
/// long.
fn without_what_varies(line: &str) -> String {
    /// The width of a page without scrolling.
    const COLUMNS: usize = 100;
    const TIME: &str = "2026-11-24T10:00:00.000Z";
    let is_time = |text: &str| {
        text.len() == TIME.len()
            && text
                .bytes()
                .zip(TIME.bytes())
                .all(|(found, like)| found.is_ascii_digit() == like.is_ascii_digit())
    };
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    // The task of the first failed poll is random.
    let varies: &[&str] = if line.contains("a poll failed") {
        &["task="]
    } else {
        &["elapsed=", "polls=", "127.0.0.1:", "since=", "lasted="]
    };
    for word in &mut words {
        if is_time(word) {
            *word = "…".to_owned();
        } else if let Some(key) = varies.iter().find(|key| word.starts_with(**key)) {
            let end = if word.ends_with(',') { "," } else { "" };
            *word = format!("{key}…{end}");
        }
    }
    if words.get(2..4) == Some(&["signed".to_owned(), "requests".to_owned()]) {
        words[1] = "…".to_owned();
    }
    let text = words.join(" ");
    match text.char_indices().nth(COLUMNS - 1) {
        Some((end, _)) if text.chars().count() > COLUMNS => format!("{}…", &text[..end]),
        Some(_) | None => text,
    }
}

#[test]
fn the_second_scenario_of_the_readme_has_every_key_with_another_value_than_its_default() {
    let shown = Scenario::parse(&only("scenario")[1], None).unwrap();
    let usual = Scenario::default();
    // Without `..`: a new key is demanded here, and then in the README.
    let Scenario {
        secret_id,
        secret_key,
        token,
        signed_host,
        regions,
        unknown_region,
        // A file cannot name actions.
        actions: _,
        clock_offset,
        rate,
        unlisted,
        tasks,
    } = shown;
    assert!(
        secret_id != usual.secret_id
            && secret_key != usual.secret_key
            && token.is_some()
            && signed_host.is_some()
            && regions.is_some()
    );
    assert!(
        unknown_region != usual.unknown_region
            && clock_offset != usual.clock_offset
            && rate.is_some()
            && unlisted != usual.unlisted
    );
    assert_eq!(tasks["1000800001"].len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_simulator_prints_points_opwatch_at_it() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.write("scenario.toml", &only("scenario")[0]);
    let mut sim =
        home.opwatch(&["sim", "--scenario", "scenario.toml", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(sim.stdout.take().unwrap()));
    let mut printed = Vec::new();
    while !printed.last().is_some_and(|line: &String| line.starts_with("endpoint")) {
        printed.push(lines.next_line().await.unwrap().expect("a configuration"));
    }
    let start = printed.iter().position(|line| line.is_empty()).unwrap();
    home.write("sim.toml", &printed[start..].join("\n"));
    for api in ["2.0", "3.0"] {
        let mut command = home.opwatch(&["run", "-c", "sim.toml", "--until-done"]);
        command.env("XDG_STATE_HOME", home.path("state")).env("OPWATCH__POLL__ERROR_INTERVAL", "20ms");
        command
            .env("OPWATCH__ACCOUNTS__DEFAULT__RATE_LIMIT", "100")
            .env("OPWATCH__POLL__INITIAL_INTERVAL", "20ms");
        command
            .env("OPWATCH__ACCOUNTS__DEFAULT__API", api)
            .env("OPWATCH__STORE__URL", format!("sqlite:{api}.db"));
        let ended = output_of(command.spawn().unwrap()).await;
        assert_eq!((ended.code, ended.log_lines("task finished").len()), (Some(0), 1), "{}", ended.stderr);
    }
    signal(&sim, "TERM");
    assert_eq!(output_of(sim).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_as_the_readme_has_it_is_whole_while_the_daemon_runs() {
    let cloud = cloud(
        Scenario::default().with_task(1, [SimResponse::status(1)]).with_task(2, [SimResponse::status(4)]),
    )
    .await;
    let home = Home::new(&cloud, "");
    home.list([1, 2]);
    let daemon = home.start();
    eventually("task 1 is told", || home.events().len() == 1).await;
    let command = only("sh").into_iter().find(|block| block.starts_with("sqlite3 ")).expect("a command");
    let status =
        std::process::Command::new("sh").args(["-c", &command]).current_dir(home.path("")).status().unwrap();
    assert!(status.success());
    signal(&daemon, "KILL");
    output_of(daemon).await;

    for part in ["opwatch.db-wal", "opwatch.db-shm"] {
        _ = fs::remove_file(home.path(part));
    }
    fs::rename(home.path("backup.db"), home.path("opwatch.db")).unwrap();
    cloud.set_responses("2", [SimResponse::status(1)]);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let mut reported: Vec<_> =
        home.events().iter().map(|event| event["subject"].as_str().unwrap().to_owned()).collect();
    // The backup may be older than the acknowledgement of task 1: then that event comes once more.
    reported.dedup();
    assert_eq!(reported, ["bm/1", "bm/2"]);
    assert_eq!(cloud.received().iter().filter(|seen| seen.task == "1").count(), 1);
}

#[test]
fn every_section_and_key_that_the_readme_names_is_in_the_shipped_configuration() {
    let readme = fs::read_to_string(ENGLISH).unwrap();
    let prose: String = readme.split("```").step_by(2).collect();
    let named =
        prose.split('`').skip(1).step_by(2).filter(|text| text.starts_with('[') && text.contains(']'));
    // `[section]` is the README's word for any of them.
    let named: Vec<_> = named.filter(|text| *text != "[section]").collect();
    assert!(named.len() > 3, "{named:?}");
    let shipped = fs::read_to_string("config/opwatch.toml").unwrap();
    for text in named {
        // A name in the README is an example: `[accounts.NAME]`, `[sinks.audit]`.
        let (section, key) = text.trim_start_matches('[').split_once(']').unwrap();
        let family = section.split('.').next().unwrap();
        let key = key.trim_start_matches(']').trim();
        assert!(
            keys_of(&shipped, family)
                .is_some_and(|keys| key.is_empty() || keys.iter().any(|known| known == key)),
            "{text}"
        );
    }
}

/// The keys of a section and its subsections, as the shipped configuration shows them; `None`: it has no such
/// section.
fn keys_of(shipped: &str, family: &str) -> Option<Vec<String>> {
    let mut current = String::new();
    let mut keys = None;
    for line in shipped.lines().map(|line| line.trim_start_matches("# ").trim_start_matches('#')) {
        if line.starts_with('[') {
            current = line.trim_start_matches('[').split([']', '.']).next().unwrap().to_owned();
        }
        if current == family {
            let keys: &mut Vec<String> = keys.get_or_insert_default();
            keys.extend(line.split_once(" = ").map(|(key, _)| key.to_owned()));
        }
    }
    keys
}

#[test]
fn every_file_that_the_readme_links_is_there_and_the_shipped_configuration_loads() {
    let readmes = [ENGLISH, CHINESE].map(|file| fs::read_to_string(file).unwrap()).concat();
    for target in links(&readmes).iter().filter(|target| !target.starts_with("http")) {
        assert!(Path::new(target).exists(), "{target}");
    }
    let nothing = Environment::default();
    assert!(load(Path::new("config/opwatch.toml"), &nothing).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pager_of_the_readme_gets_the_events_that_match_all_its_filters() {
    let cloud = cloud(
        Scenario::default()
            .with_task(1, [SimResponse::status(1)])
            .with_task(2, [SimResponse::status(2)])
            .with_task(3, [SimResponse::status(2)]),
    )
    .await;
    let home = Home::new(
        &cloud,
        &only("toml").into_iter().find(|block| block.contains("[sinks.pager]")).expect("a pager"),
    );
    let line = |id: u64, team: &str| format!("{{\"id\":{id},\"labels\":{{\"team\":\"{team}\"}}}}\n");
    home.write("list.tasks", &[line(1, "dba"), line(2, "dba"), line(3, "web")].concat());
    assert_eq!(home.run_until_done().await.code, Some(0));
    let heard = fs::read_to_string(home.path("pager.jsonl")).unwrap();
    assert!(heard.lines().count() == 1 && heard.contains("bm/2"), "{heard}");
}
