//! Every block of the pages, run or read as by a reader. A block of a new kind, or a command that this file
//! does not know, fails: untested documentation becomes wrong. Chinese pages have the same blocks, so one
//! run tests both.

use std::fs;
use std::path::Path;

use opwatch::secret::Secret;
use opwatch::sim::{SECRET_KEY, Scenario, SimResponse};
use serde_json::Value;

use super::{block, blocks, pages, prose, read};
use crate::support::receiver::Receiver;
use crate::support::{Home, cloud, eventually, holds_to_the_schema, output_of, signal};

#[test]
fn every_command_of_the_pages_is_one_that_exists() {
    let blocks = pages().into_iter().flat_map(blocks).filter(|(language, _)| language == "sh");
    let lines: Vec<String> =
        blocks.flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.trim_start_matches("sudo ").split(' ').collect();
        match words[..] {
            // Run by hand: its figures depend on the machine.
            ["cargo", "bench", "--bench", "main"] => {}
            ["tests/run"] => assert!(Path::new("tests/run").is_file()),
            // Run in surface/demo.rs.
            ["cargo", "run", "--release", "--", "demo"] | ["cargo", "build", "--release"] => {}
            // Run below, on the first configuration.
            ["opwatch", "run", "-c", "opwatch.toml"]
            | ["opwatch", "check", "-c", "opwatch.toml"]
            | ["opwatch", "check", "-c", "opwatch.toml", "--live"]
            | ["opwatch", "events", "test", "-c", "opwatch.toml"]
            | ["opwatch", "events", "test", "ops", "-c", "opwatch.toml"] => {}
            // Run below, in the tutorial.
            ["opwatch", "sim", "--scenario", "scenario.toml"]
            | ["opwatch", "sim", "--scenario", "scenario.toml", "--write", "sim.toml"]
            | ["opwatch", "wait", "1000800001", "-c", "sim.toml"]
            | ["opwatch", "run", "-c", "sim.toml", "--until-done"] => {}
            // Run below, in the page on live control.
            ["opwatch", "status" | "list" | "show" | "add" | "poll" | "extend" | "cancel", ..]
            | ["opwatch", "pause" | "resume" | "retry", _, _]
            | ["opwatch", "events", "list" | "redeliver", ..]
            | ["opwatch", "reload"] => {}
            // Run below.
            ["export", "TENCENTCLOUD_SECRET_ID=AKID...", "TENCENTCLOUD_SECRET_KEY=..."]
            | ["opwatch", "wait", ..] => {}
            // Run below, beside a daemon.
            ["sqlite3", "opwatch.db", ..] => {}
            // Run by surface/systemd.rs, in a container.
            ["install", .., "target/release/opwatch", "/usr/bin/opwatch"] => {
                assert!(unit().contains("ExecStart=/usr/bin/opwatch run"))
            }
            // Run by surface/packages.rs, the package in a container with systemd.
            ["packaging/deb"]
            | ["packaging/image"]
            | ["cargo", "install", "--locked", "--path", "."]
            | ["podman", "secret" | "run" | "logs", ..] => {}
            ["apt", "install", package] => {
                let version = concat!("opwatch_", env!("CARGO_PKG_VERSION"), "-1_amd64.deb");
                assert!(package.ends_with(version), "{package}")
            }
            ["rm", "/etc/systemd/system/opwatch.service"] => {}
            ["install", "-m", "640", "-g", "opwatch", "secret_key", "/etc/opwatch/"] => {}
            ["install", "-d", "-m", "750", "-g", "opwatch", "/etc/opwatch"] => {}
            ["install", "-m", "640", "-g", "opwatch", "opwatch.toml", "secret_key", "/etc/opwatch/"] => {}
            ["install", "-m", "644", shipped, _] | ["install", "-D", "-m", "644", shipped, _] => {
                assert!(Path::new(shipped).is_file(), "{shipped}")
            }
            ["systemd-sysusers"] | ["journalctl", ..] | ["systemctl", "daemon-reload"] => {}
            ["opwatch", "check"] | ["opwatch", "check", "--live"] => {}
            ["systemctl", "reload" | "restart" | "start" | "stop", unit]
            | ["systemctl", "enable", "--now", unit] => {
                assert!(Path::new(&format!("systemd/{unit}.service")).is_file())
            }
            _ => panic!("no test knows this command: {line}"),
        }
    }
}

fn unit() -> String {
    read("systemd/opwatch.service")
}

#[test]
fn every_block_of_the_pages_is_of_a_kind_that_is_tested() {
    const KINDS: [&str; 9] = ["sh", "toml", "tasks", "scenario", "answers", "shell", "json", "text", "ini"];
    for page in pages() {
        for (language, text) in blocks(&page) {
            // Drawings have no language.
            let is_drawing = language.is_empty() && text.contains('─');
            assert!(
                is_drawing || KINDS.contains(&language.as_str()),
                "{}: {language}: {text}",
                page.display()
            );
        }
    }
}

/// The first account, where a block has none.
const ACCOUNT: &str = "[accounts.default]\nregion = \"bj\"\nsecret_id = \"AKID\"\nsecret_key = \"x\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_configuration_of_the_pages_is_valid() {
    let cloud = cloud(Scenario::default()).await;
    for page in pages() {
        for (_, text) in blocks(&page).into_iter().filter(|(language, _)| language == "toml") {
            let home = Home::new(&cloud, "");
            for name in ["ops_url", "wecom_url", "dingtalk_url", "feishu_url", "slack_url"] {
                home.write(name, "https://ops.example.com/hook\n");
            }
            for (name, content) in [("secret_key", "x"), ("rack7.tasks", "1\n"), ("on-done", "")] {
                home.write(name, content);
            }
            let line = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ops -keyout me.key -out me.pem \
                        && cp me.pem ca.pem && cp me.pem corp-ca.pem";
            assert_eq!(output_of(home.in_shell(line).spawn().unwrap()).await.code, Some(0));
            fs::create_dir(home.path(".tencentcloud")).unwrap();
            home.write(".tencentcloud/credentials", "[default]\nsecret_id = AKID\nsecret_key = x\n");
            let account = if text.contains("[accounts.default]") { "" } else { ACCOUNT };
            // Keys above the first section stay there.
            let mut text = format!("{text}{account}");
            if text.contains("[accounts.default]") && !text.contains("secret_") {
                text = text.replace(
                    "region = \"bj\"\n",
                    "region = \"bj\"\nsecret_id = \"AKID\"\nsecret_key = \"x\"\n",
                );
            }
            home.write("opwatch.toml", &text);
            let mut command = home.opwatch(&["check", "-c", "opwatch.toml"]);
            let checked = output_of(command.env("HOME", home.path("")).spawn().unwrap()).await;
            assert_eq!(checked.code, Some(0), "{}: {text}\n{}", page.display(), checked.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_template_of_the_pages_makes_json() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let all = blocks("docs/webhooks.md").into_iter().map(|(_, text)| text);
    let templated: Vec<String> = all.filter(|text| text.contains("template = ")).collect();
    assert_eq!(templated.len(), 4);
    for text in templated {
        let receiver = Receiver::start().await;
        let home = Home::new(&cloud, &text);
        let file = text.split("url_file = \"").nth(1).unwrap().split('"').next().unwrap();
        home.write(file, &format!("http://{}/hook\n", receiver.addr));
        home.write("list.tasks", "{\"id\": 1, \"name\": \"rack \\\"7\\\"\"}\n");
        assert_eq!(home.run_until_done().await.code, Some(0));
        let body: Value = serde_json::from_str(&receiver.got()[0].body).unwrap();
        assert!(body.to_string().contains("rack \\\"7\\\": success"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_leads_to_the_result_that_it_names() {
    const PAGE: &str = "docs/first-task.md";
    let home = Home::new(&cloud(Scenario::default()).await, "");
    home.write("scenario.toml", &block(PAGE, "scenario", "1000800001"));
    let line = block(PAGE, "sh", "opwatch sim");
    let start = async || {
        let _ = fs::remove_file(home.path("sim.toml"));
        let words: Vec<_> = line.split_whitespace().skip(1).chain(["--listen", "127.0.0.1:0"]).collect();
        let sim = home.opwatch(&words).spawn().unwrap();
        let written = || fs::read_to_string(home.path("sim.toml")).unwrap_or_default();
        eventually("the configuration", || written().contains("endpoint")).await;
        sim
    };
    let sim = start().await;
    // Additions for the test: time is short.
    let run = |arguments: &[&str]| {
        let mut command = home.opwatch(arguments);
        command
            .env("OPWATCH__POLL__ERROR_INTERVAL", "20ms")
            .env("OPWATCH__POLL__INITIAL_INTERVAL", "20ms")
            .env("OPWATCH__STORE__URL", "sqlite:tutorial.db");
        command.spawn().unwrap()
    };
    let line = block(PAGE, "sh", "opwatch wait");
    let arguments: Vec<_> = line.split_whitespace().skip(1).collect();
    let waited = output_of(run(&arguments)).await;
    assert_eq!(waited.code, Some(3), "{}", waited.stderr);
    signal(&sim, "INT");
    output_of(sim).await;

    let sim = start().await;
    let written = fs::read_to_string(home.path("sim.toml")).unwrap() + "\n";
    home.write("sim.toml", &(written + &block(PAGE, "toml", "[sinks.audit]")));
    let line = block(PAGE, "sh", "opwatch run");
    let arguments: Vec<_> = line.split_whitespace().skip(1).collect();
    let ran = output_of(run(&arguments)).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        (ran.log_lines("task finished").len(), &home.events()[0]["data"]["outcome"]),
        (1, &"partial".into())
    );
    let again = output_of(run(&arguments)).await;
    assert!(again.code == Some(0) && again.log_lines("task finished").is_empty());
    signal(&sim, "INT");
    output_of(sim).await;
}

/// The configuration that a simulator prints.
async fn printed(sim: &mut tokio::process::Child) -> String {
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(sim.stdout.take().unwrap()));
    let mut printed = Vec::new();
    while !printed.last().is_some_and(|line: &String| line.starts_with("endpoint")) {
        printed.push(lines.next_line().await.unwrap().expect("a configuration"));
    }
    let start = printed.iter().position(|line| line.is_empty()).unwrap();
    printed[start..].join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_watches_its_task_to_its_end_and_reports_it_as_shown() {
    let scenario = Scenario::parse(&block("docs/first-task.md", "scenario", "1000800001"), None).unwrap();
    let cloud = cloud(Scenario { secret_id: "AKID...".to_owned(), ..scenario }).await;
    let home = Home::new(&cloud, "");
    home.write("opwatch.toml", &block("README.md", "toml", "[accounts.default]"));
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
    let shown: Value =
        serde_json::from_str(&block("docs/events.md", "json", "specversion").replace('\n', "")).unwrap();
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
    home.write("answers.json", &block("README.md", "answers", "taskId"));
    let block = block("README.md", "sh", "opwatch wait");
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
            (ended.code, ended.errors().as_str(), ended.stdout.lines().count()),
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
    let block = block("docs/webhooks.md", "toml", "[sinks.ops]");
    let home = Home::new(&cloud, &block);
    home.write("ops_url", &format!("http://{}/hook\n", ops.addr));
    home.write("list.tasks", "{\"id\": 1, \"name\": \"rack \\\"7\\\"\"}\n");
    assert_eq!(home.run_until_done().await.code, Some(0));
    let [signed] = <[_; 1]>::try_from(ops.got()).unwrap();
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
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_file_of_the_readme_is_read_and_each_of_its_tasks_is_watched() {
    let cloud = cloud(Scenario {
        unlisted: opwatch::sim::Unlisted::Follows(vec![SimResponse::status(1)]),
        ..Scenario::default()
    })
    .await;
    let home = Home::new(&cloud, "");
    home.edit("task_files = [\"list.tasks\"]\n", &block("docs/routing.md", "toml", "task_files"));
    home.write(
        "rack7.tasks",
        &block("docs/routing.md", "tasks", "1000800101")
            .replace("\"initial_delay\": \"10m\"", "\"initial_delay\": \"10ms\""),
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
    let home = Home::new(&cloud, &block("docs/exec.md", "toml", "on-done"));
    home.list([1, 2]);
    home.write("on-done", &block("docs/exec.md", "shell", "on-done"));
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

#[test]
fn the_second_scenario_of_the_readme_has_every_key_with_another_value_than_its_default() {
    let shown = Scenario::parse(&block("docs/simulator.md", "scenario", "clock_offset"), None).unwrap();
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
    home.write("scenario.toml", &block("docs/first-task.md", "scenario", "1000800001"));
    let mut sim =
        home.opwatch(&["sim", "--scenario", "scenario.toml", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    home.write("sim.toml", &printed(&mut sim).await);
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
    let command = block("docs/backup-and-upgrade.md", "sh", "sqlite3 ");
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
fn every_section_and_key_that_a_page_names_is_in_the_shipped_configuration() {
    let prose: String = pages().iter().map(prose).collect();
    let named = prose.split('`').skip(1).step_by(2).filter(|text| {
        text.starts_with('[')
            && text[1..].starts_with(|letter: char| letter == '[' || letter.is_ascii_lowercase())
            && text.contains(']')
    });
    // `[default]` is a section of the SDK's file and of a scenario.
    let named: Vec<_> = named.filter(|text| *text != "[default]").collect();
    assert!(named.len() > 3, "{named:?}");
    let shipped = read("config/opwatch.toml");
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

#[tokio::test(flavor = "multi_thread")]
async fn the_pager_of_the_readme_gets_the_events_that_match_all_its_filters() {
    let cloud = cloud(
        Scenario::default()
            .with_task(1, [SimResponse::status(1)])
            .with_task(2, [SimResponse::status(2)])
            .with_task(3, [SimResponse::status(2)]),
    )
    .await;
    let home = Home::new(&cloud, &block("docs/routing.md", "toml", "[sinks.pager]"));
    let line = |id: u64, team: &str| format!("{{\"id\":{id},\"labels\":{{\"team\":\"{team}\"}}}}\n");
    home.write("list.tasks", &[line(1, "dba"), line(2, "dba"), line(3, "web")].concat());
    assert_eq!(home.run_until_done().await.code, Some(0));
    let heard = fs::read_to_string(home.path("pager.jsonl")).unwrap();
    assert!(heard.lines().count() == 1 && heard.contains("bm/2"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_on_live_control_work_in_their_order() {
    let mut scenario = Scenario::default();
    for id in [1_000_800_001, 1_000_800_002, 1_000_800_003] {
        scenario = scenario.with_task(id, [SimResponse::status(4)]);
    }
    let cloud = cloud(scenario).await;
    let more = "[http]\nsocket = \"opwatch.sock\"\n[sinks.ops]\ntype = \"file\"\npath = \"ops.jsonl\"\n";
    let home = Home::new(&cloud, more);
    home.list([1_000_800_001]);
    let daemon = home.start();
    eventually("it polls", || cloud.requests() > 0 && home.path("opwatch.sock").exists()).await;
    let program = env!("CARGO_BIN_EXE_opwatch");
    let page = Path::new("docs/live-control.md");
    for (_, block) in blocks(page).into_iter().filter(|(language, _)| language == "sh") {
        for line in block.lines() {
            let line = line.replacen("opwatch", program, 1);
            let ended =
                output_of(home.in_shell(&format!("OPWATCH_CONFIG=opwatch.toml {line}")).spawn().unwrap());
            let ended = ended.await;
            assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        }
    }
    signal(&daemon, "TERM");
    let ended = output_of(daemon).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
