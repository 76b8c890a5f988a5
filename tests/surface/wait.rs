//! `opwatch wait`: exit codes, what it reads and writes, and how it ends.

use std::process::Stdio;
use std::time::Duration;

use opwatch::clock::{Clock, Steady};
use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario, Sim, SimResponse, Unlisted};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{Home, ProgramOutput, cloud, eventually, holds_to_the_schema, output_of, signal};

/// The environment of a user, the address of the simulated cloud, and short times.
fn with_environment(command: &mut Command, cloud: &Sim) {
    command
        .env("TENCENTCLOUD_SECRET_ID", SECRET_ID)
        .env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY)
        .env("TENCENTCLOUD_REGION", "bj");
    command
        .env("OPWATCH__ACCOUNTS__DEFAULT__ENDPOINT", cloud.endpoint())
        .env("OPWATCH__ACCOUNTS__DEFAULT__RATE_LIMIT", "2000");
    for (key, span) in [("INITIAL", "20ms"), ("MAX", "100ms"), ("ERROR", "20ms"), ("ERROR_MAX", "100ms")] {
        command.env(format!("OPWATCH__POLL__{key}_INTERVAL"), span);
    }
    command.env("OPWATCH__POLL__REJECT_AFTER", "50ms").env("PATH", "/usr/bin:/bin");
}

/// The command in an empty folder, so without any configuration.
fn waiting(home: &Home, cloud: &Sim, arguments: &[&str]) -> Command {
    let mut command = home.opwatch(&[&["wait"], arguments].concat());
    with_environment(&mut command, cloud);
    command
}

/// Since that clock was started.
fn elapsed(clock: Clock) -> Duration {
    clock.now().steady - Steady(0)
}

async fn waited(scenario: Scenario, arguments: &[&str], input: &str) -> ProgramOutput {
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    let mut child = waiting(&home, &cloud, arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    output_of(child).await
}

fn ending(responses: &[(u64, i64)]) -> Scenario {
    let with = |scenario: Scenario, (id, status): &(u64, i64)| {
        scenario.with_task(id, [SimResponse::status(4), SimResponse::status(*status)])
    };
    responses.iter().fold(Scenario::default(), with)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_that_of_the_worst_end() {
    for (tasks, code, says) in [
        (vec![(1, 1), (2, 1)], 0, ""),
        (vec![(1, 1), (2, 3)], 3, "opwatch: of 2 tasks 1 succeeded in part\n"),
        (vec![(1, 2), (2, 3)], 1, "opwatch: of 2 tasks 1 failed, 1 succeeded in part\n"),
    ] {
        let ended = waited(ending(&tasks), &["1", "2"], "").await;
        assert_eq!((ended.code, ended.errors().as_str()), (Some(code), says), "{ended:?}");
        assert_eq!(
            ended.stdout.lines().filter(|line| line.contains(" task finished task=")).count(),
            2,
            "{}",
            ended.stdout
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_the_cloud_refuses_is_5_before_all_else() {
    let scenario = ending(&[(1, 2)]).with_task(2, [SimResponse::refusal(5000, "no such task")]);
    let ended = waited(scenario, &["1", "2"], "").await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(
        ended.stdout.contains("task abandoned task=2 operation=bm reason=rejected error=5000"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("opwatch: of 2 tasks 1 rejected by the cloud, 1 failed\n"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_s_own_deadline_is_4_and_has_an_event() {
    let scenario = Scenario::default().with_task(1, [SimResponse::status(4)]);
    let ended = waited(scenario, &["-"], "{\"id\": 1, \"timeout\": \"200ms\", \"sinks\": [\"ops\"]}\n").await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stdout.contains("task abandoned task=1 operation=bm reason=deadline"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_s_limit_is_4_without_an_event_response_or_not() {
    for response in [SimResponse::status(4), SimResponse::hang()] {
        let clock = Clock::start();
        let ended = waited(
            Scenario::default().with_task(1, [response]),
            &["1", "--timeout", "500ms", "--region", "gz"],
            "",
        )
        .await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(4), ""), "{ended:?}");
        let expected = "opwatch: timed out after 500ms: of 1 task 1 still open; to continue: opwatch wait 1 --region gz\n";
        assert_eq!(ended.errors(), expected);
        assert!(elapsed(clock) < Duration::from_secs(4), "{:?}", elapsed(clock));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_reported_within_seconds_and_ends_with_5_after_ten() {
    let cloud = cloud(ending(&[(1, 1), (2, 1)])).await;
    let home = Home::new(&cloud, "");
    let mut command = waiting(&home, &cloud, &["1", "2"]);
    let clock = Clock::start();
    let ended = output_of(command.env("TENCENTCLOUD_SECRET_KEY", "wrong-secret").spawn().unwrap()).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!((10..20).contains(&elapsed(clock).as_secs()), "{:?}", elapsed(clock));
    assert!(ended.stdout.contains(" account held account=default error=4100 "), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("opwatch: all remaining tasks are on hold: account default (4100: "),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.ends_with("to continue: opwatch wait 1 2\n"), "{}", ended.stderr);
    assert!(!format!("{ended:?}").contains("wrong-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_come_from_standard_input_as_lines_and_as_the_cloud_s_own_responses() {
    let input = concat!(
        "# the first two\n1\n{\"id\": 2, \"name\": \"rack 7\"}\n",
        "{\n  \"code\": 0,\n  \"data\": { \"taskId\": 3 }\n}\n",
        "{\"Response\":{\"TaskId\":4,\"RequestId\":\"5a-b\"}}{\"Response\":{\"TaskId\":5,\"RequestId\":\"6a-b\"}}\n",
    );
    let ended = waited(ending(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]), &["6", "-"], input).await;
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 6), "{ended:?}");
    assert!(ended.stdout.contains("name=\"rack 7\""), "{}", ended.stdout);
    let nothing =
        waited(Scenario::default(), &["-"], "{\"code\":4100,\"message\":\"signature failure\"}\n").await;
    assert_eq!(nothing.code, Some(2));
    assert_eq!(
        nothing.stderr,
        "opwatch: -:1: is an error of the cloud, without a task id: 4100 \"signature failure\"\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_final_events_alone_on_standard_output() {
    let ended = waited(ending(&[(1, 1), (2, 2)]), &["1", "2", "--json"], "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let records: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.iter().for_each(holds_to_the_schema);
    let mut ends: Vec<_> = records
        .iter()
        .map(|record| (record["subject"].to_string(), record["data"]["outcome"].to_string()))
        .collect();
    ends.sort();
    assert_eq!(ends, [("\"bm/1\"".into(), "\"success\"".into()), ("\"bm/2\"".into(), "\"failure\"".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_lends_its_accounts_and_neither_its_tasks_nor_its_sinks() {
    let cloud = cloud(ending(&[(1, 1), (2, 1)])).await;
    let home = Home::new(&cloud, "[sinks.none]\ntype = \"exec\"\ncommand = [\"./missing\"]");
    home.list([2]);
    let ended = output_of(home.opwatch(&["wait", "1", "-c", "opwatch.toml"]).spawn().unwrap()).await;
    assert_eq!(
        (ended.code, ended.stdout.lines().count(), ended.errors().as_str()),
        (Some(0), 1, ""),
        "{ended:?}"
    );
    assert!(!home.path("events.jsonl").exists() && !home.path("opwatch.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_wrong_is_2_and_reported_once() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let without = |variable: &str, arguments: &[&str]| {
        let mut command = waiting(&home, &cloud, arguments);
        command.env_remove(variable);
        command
    };
    let naked = |variable: &str| {
        let mut command = home.opwatch(&["wait", "1", "2", "--region", "bj"]);
        command.env(variable, "x");
        command
    };
    for (mut command, expected) in [
        (
            naked("LANG"),
            "opwatch: no account exists; set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, or name a configuration with -c\n",
        ),
        (
            naked("TENCENTCLOUD_SECRET_ID"),
            "opwatch: TENCENTCLOUD_SECRET_ID: is set and TENCENTCLOUD_SECRET_KEY is not set; set both\n",
        ),
        (
            without("TENCENTCLOUD_REGION", &["1", "2"]),
            "opwatch: --region: is missing; write it, such as --region bj, or set TENCENTCLOUD_REGION\n",
        ),
        (
            without("", &["x"]),
            "opwatch: id: \"x\" is not an id of this operation; write an integer from 0 to 18446744073709551615\n",
        ),
        (
            without("", &["1", "2", "--operation", "bmm"]),
            "opwatch: operation: there is no operation \"bmm\"; did you mean `bm`?",
        ),
        (without("", &["1", "-c", "missing.toml"]), "opwatch: missing.toml: there is no such file"),
    ] {
        let ended = output_of(command.spawn().unwrap()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.starts_with(expected) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
    assert_eq!(cloud.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_at_once_and_it_says_how_to_go_on() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let cloud = cloud(ending(&[(1, 1)]).with_task(2, [SimResponse::status(4)])).await;
        let home = Home::new(&cloud, "");
        let child = waiting(&home, &cloud, &["1", "2", "--param", "Env=a b"]).spawn().unwrap();
        eventually("the second task is asked", || cloud.requests() > 6).await;
        signal(&child, name);
        let ended = output_of(child).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(
            ended.errors(),
            "opwatch: stopped, with 1 of 2 tasks open; to continue: opwatch wait 2 --param 'Env=a b'\n"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_keeps_no_interrupt_waiting() {
    let scenario =
        Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() };
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    // Far more lines than a pipe holds.
    home.list(1..=2000);
    let mut child = waiting(&home, &cloud, &["-"])
        .stdin(std::fs::File::open(home.path("list.tasks")).unwrap())
        .spawn()
        .unwrap();
    let unread = child.stdout.take().unwrap();
    eventually("every task is asked", || cloud.requests() >= 2000).await;
    signal(&child, "INT");
    let ended = output_of(child).await;
    drop(unread);
    assert_eq!(ended.code, Some(130), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_standard_output_ends_it_silently() {
    let cloud = cloud(ending(&[(1, 2)]).with_task(2, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    let program = env!("CARGO_BIN_EXE_opwatch");
    let mut command = home.in_shell(&format!("({program} wait 1 2; echo code $? >&2) | true"));
    with_environment(&mut command, &cloud);
    let ended = output_of(command.spawn().unwrap()).await;
    assert_eq!(ended.errors(), "code 0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_ids_are_waited_for() {
    let scenario = Scenario {
        unlisted: Unlisted::Follows(vec![SimResponse::status(4), SimResponse::status(1)]),
        ..Scenario::default()
    };
    let ids: String = (1..=1000).map(|id| format!("{id}\n")).collect();
    let ended = waited(scenario, &["-"], &ids).await;
    assert_eq!((ended.code, ended.stdout.lines().count(), ended.errors().as_str()), (Some(0), 1000, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_view_is_redrawn_in_place_and_nothing_of_it_is_left() {
    for no_color in [false, true] {
        let running = SimResponse::status(4).lasting(Duration::from_secs(2));
        let scenario = Scenario::default()
            .with_task(1, [running, SimResponse::status(1)])
            .with_task(2, [SimResponse::status(3)]);
        let cloud = cloud(scenario).await;
        // `script` lends it a terminal, and hands on its exit code.
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} wait 1 2", env!("CARGO_BIN_EXE_opwatch")), "/dev/null"]);
        command
            .env_clear()
            .env("TERM", "xterm")
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        with_environment(&mut command, &cloud);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let ended = output_of(command.spawn().unwrap()).await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let screen = screen(&ended.stdout);
        // Each event goes over two lines of so narrow a terminal.
        let [second, _, first, _, head, failure, total, verdict] = &screen[..] else { panic!("{screen:#?}") };
        assert!(
            first.contains(" task finished task=1 ") && second.contains(" task finished task=2 "),
            "{screen:?}"
        );
        assert_eq!((head.as_str(), failure.as_str()), ("1 task did not succeed:", "2  part failed"));
        assert!(total.starts_with("2 of 2 finished (1 success, 1 partial); "), "{screen:?}");
        assert_eq!(verdict, "opwatch: of 2 tasks 1 succeeded in part");
        assert!(ended.stdout.contains("running (status 4)  0s"), "the view: {:?}", ended.stdout);
        assert!(ended.stdout.matches("\u{1b}[2K").count() > 4, "redrawn: {:?}", ended.stdout);
        assert_eq!(ended.stdout.contains("\u{1b}[3"), !no_color, "colours: {:?}", ended.stdout);
    }
}

/// The final screen of a terminal of 80 columns, for the sequences in use here.
fn screen(written: &str) -> Vec<String> {
    const COLUMNS: usize = 80;
    let mut lines = Vec::new();
    let mut row = 0_usize;
    let mut column = 0;
    let mut letters = written.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => row += 1,
            '\r' => column = 0,
            '\u{1b}' => {
                // `[`, a number, and what to do.
                letters.next();
                let count: String = std::iter::from_fn(|| letters.next_if(char::is_ascii_digit)).collect();
                let count = count.parse().unwrap_or(1);
                match letters.next() {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row += count,
                    Some('K') => lines[row] = [' '; COLUMNS],
                    Some(_) | None => {}
                }
            }
            letter => {
                (row, column) = if column == COLUMNS { (row + 1, 0) } else { (row, column) };
                lines.resize(lines.len().max(row + 1), [' '; COLUMNS]);
                lines[row][column] = letter;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), [' '; COLUMNS]);
    }
    let lines = lines.into_iter().map(|line| String::from_iter(line).trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_with_commas_and_a_response_of_the_cloud_are_taken_as_arguments() {
    let scenario =
        (1..4).fold(Scenario::default(), |scenario, id| scenario.with_task(id, [SimResponse::status(1)]));
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    let arguments = ["wait", "1,2", r#"{"code":0,"taskId":3}"#, "-c", "opwatch.toml"];
    let ended = output_of(home.opwatch(&arguments).spawn().unwrap()).await;
    assert_eq!((ended.code, ended.stdout.matches("task finished").count()), (Some(0), 3), "{ended:?}");
    assert!(ended.stderr.contains("of 3 finished"), "a pipe gets a first line: {}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn fail_fast_ends_at_the_first_task_that_does_not_succeed() {
    let scenario =
        Scenario::default().with_task(1, [SimResponse::status(2)]).with_task(2, [SimResponse::status(4)]);
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    let arguments = ["wait", "1", "2", "--fail-fast", "-c", "opwatch.toml"];
    let ended = output_of(home.opwatch(&arguments).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors().contains("ended at the first task that did not succeed"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_with_the_same_credentials_shares_its_slots_and_what_it_knows() {
    let cloud = cloud(
        Scenario {
            unlisted: opwatch::sim::Unlisted::Follows(vec![SimResponse::status(4)]),
            ..Scenario::default()
        }
        .with_task(1, [SimResponse::status(1)]),
    )
    .await;
    let home = Home::new(&cloud, "[http]\nsocket = \"o.sock\"\n");
    home.edit("rate_limit = 500", "rate_limit = 10");
    home.list(1..=6);
    let daemon = home.start();
    eventually("task 1 ends", || home.events().len() == 1).await;
    let wait = async |arguments: &[&str]| {
        let line = [&["wait", "-c", "opwatch.toml"][..], arguments].concat();
        output_of(home.opwatch(&line).spawn().unwrap()).await
    };
    // The cloud has forgotten the task, and the daemon has not.
    cloud.set_responses("1", [SimResponse::refusal(5000, "unknown")]);
    let known = wait(&["1"]).await;
    assert_eq!(known.code, Some(0), "{}", known.stderr);

    let before = cloud.received().len();
    let late = wait(&["20", "21", "22", "23", "24", "--timeout", "4s"]).await;
    assert_eq!(late.code, Some(4), "{}", late.stderr);
    let received = &cloud.received()[before..];
    let of_wait = |id: &str| id.parse::<u64>().is_ok_and(|id| id >= 20);
    let (own, all) = (received.iter().filter(|seen| of_wait(&seen.task)).count(), received.len());
    assert!((1..all).contains(&own), "both poll: {own} of {all}");
    for (from, first) in received.iter().enumerate() {
        for (to, last) in received.iter().enumerate().skip(from + 1) {
            // As in tests/promises/rate_limit_respected.rs, with one more interval for the way between the programs.
            let least = (to - from) as i64 * 100_000 - 250_000;
            assert!(last.arrived.0 - first.arrived.0 >= least, "requests {from} to {to} are too close");
        }
    }
    let listed =
        output_of(home.opwatch(&["list", "--all", "--json", "-c", "opwatch.toml"]).spawn().unwrap()).await;
    assert_eq!(listed.stdout.lines().count(), 6, "nothing is stored: {}", listed.stdout);

    // Without the daemon the command goes on at its own rate, also with the polls that waited for a slot.
    let ids: Vec<String> = (100..140).map(|id| id.to_string()).collect();
    let words: Vec<_> = ids.iter().map(String::as_str).chain(["--timeout", "6s"]).collect();
    let ((), late) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            signal(&daemon, "KILL");
        },
        wait(&words)
    );
    assert_eq!(late.code, Some(4), "{}", late.stderr);
    let alone: Vec<_> =
        cloud.received().iter().filter(|seen| of_wait(&seen.task)).map(|seen| seen.arrived.0).collect();
    for (from, first) in alone.iter().enumerate() {
        for (to, last) in alone.iter().enumerate().skip(from + 1) {
            let least = (to - from) as i64 * 100_000 - 250_000;
            assert!(last - first >= least, "requests {from} to {to} of wait are too close: {}", last - first);
        }
    }
    output_of(daemon).await;
    cloud.set_responses("30", [SimResponse::status(4), SimResponse::status(1)]);
    assert_eq!(wait(&["30"]).await.code, Some(0));
}
