//! A local clock that is wrong, or jumps, under the built program: `faketime` is between it and the system.

use std::process::Command;

use opwatch::sim::{Scenario, SimResponse};
use serde_json::Value;

use crate::support::{Home, ProgramOutput, cloud, output_of, signal};

/// The library that fakes time, wherever this system has it.
fn library() -> String {
    let output = Command::new("faketime")
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .expect("the Debian package faketime");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs one task to its end, with a clock that starts at that time and jumps to the second one after some
/// polls.
async fn run(first: &str, second: &str) -> (ProgramOutput, Vec<Value>) {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "[[tasks]]\nid = 1\ntimeout = \"1h\"\nwarn_after = \"30m\"");
    home.write("time", first);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", home.path("time"));
    command
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    let child = command.spawn().unwrap();
    cloud.wait_until(|seen| seen.len() >= 5).await;
    home.write("time", second);
    let before = cloud.requests() as usize;
    cloud.wait_until(|seen| seen.len() >= before + 5).await;
    cloud.set_responses("1", [SimResponse::status(1)]);
    (output_of(child).await, home.events())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_boots_in_1970_or_jumps_five_years_abandons_nothing_and_reports_it() {
    for (first, second) in [
        ("@1970-01-01 00:00:10", "@1970-01-01 00:01:10"),
        ("@1970-01-01 00:00:10", "+0"),
        ("+0", "+5y"),
        ("+0", "-5y"),
    ] {
        let (ended, events) = run(first, second).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let [event] = &events[..] else { panic!("{first} {second}: {events:?}") };
        let data = &event["data"];
        assert_eq!(data["outcome"], "success", "{first} {second}: {event}");
        for span in ["elapsed_seconds", "detected_within_seconds"] {
            assert!((0.0..100.0).contains(&data[span].as_f64().unwrap()), "{first} {second}: {event}");
        }
        assert_eq!(ended.log_lines("task overdue").len(), 0, "{}", ended.stderr);
        let reported = ended.stderr.lines().filter(|line| line.contains("time synchronisation")).count();
        assert!((1..=2).contains(&reported), "{first} {second}: told {reported} times: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_a_jump_of_five_years_abandons_nothing_either() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "[[tasks]]\nid = 1\ntimeout = \"1h\"");
    for time in ["+0", "+5y", "-5y", "+0"] {
        home.write("time", time);
        let mut command = home.opwatch(&["run", "-c", "opwatch.toml"]);
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", home.path("time"));
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        let child = command.spawn().unwrap();
        let before = cloud.requests() as usize;
        cloud.wait_until(|seen| seen.len() >= before + 4).await;
        signal(&child, "TERM");
        output_of(child).await;
        assert_eq!(home.events().len(), 0, "{time}");
    }
}
