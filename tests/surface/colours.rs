//! Colours and control sequences are for terminals that support them, and can be switched off.

use std::process::Stdio;

use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario, Sim, SimResponse};
use tokio::process::Command;

use crate::support::{Home, ProgramOutput, cloud, output_of};

/// Everything that may be on a screen; `script` lends it one, and hands on its exit code.
const SCREENS: &[&str] = &[
    "--help",
    "wait --help",
    "chekc",
    "check -c opwatch.toml",
    "check -c missing.toml",
    "check -c opwatch.toml --live",
    "events test -c opwatch.toml",
    "operations",
    "demo",
    "run -c opwatch.toml --until-done",
    "wait 1 2 --region bj",
];

async fn screen(home: &Home, cloud: &Sim, typed: &str, variable: (&str, &str)) -> ProgramOutput {
    let mut command = Command::new("script");
    command
        .args(["-qec", &format!("{} {typed}", env!("CARGO_BIN_EXE_opwatch")), "/dev/null"])
        .current_dir(home.path(""));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm").env(variable.0, variable.1);
    command.env("TENCENTCLOUD_SECRET_ID", SECRET_ID).env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY);
    if typed.starts_with("wait") {
        command
            .env("OPWATCH__ACCOUNTS__DEFAULT__ENDPOINT", cloud.endpoint())
            .env("OPWATCH__POLL__INITIAL_INTERVAL", "20ms");
    }
    output_of(command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()).await
}

async fn screens(variable: (&str, &str), is_right: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let failing = [SimResponse::status(4), SimResponse::status(2)];
    let cloud = cloud(Scenario::default().with_task(1, failing.clone()).with_task(2, failing)).await;
    let mut wrong = Vec::new();
    for typed in SCREENS {
        let home = Home::new(&cloud, "");
        home.list([1, 2]);
        let shown = screen(&home, &cloud, typed, variable).await.stdout;
        assert!(!shown.is_empty(), "{typed} shows nothing");
        if !is_right(&shown) {
            wrong.push(*typed);
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn no_color_takes_the_colours_from_every_screen() {
    // A sequence that ends with `m` sets colours and styles; others move the cursor, as a live view does.
    let has_style = |shown: &str| {
        shown
            .split("\u{1b}[")
            .skip(1)
            .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    };
    let none: &[&str] = &[];
    assert_eq!(screens(("NO_COLOR", "1"), |shown| !has_style(shown)).await, none);
    // As the convention has it, a variable that is empty means nothing.
    let plain = screens(("NO_COLOR", ""), has_style).await;
    for coloured in ["--help", "run -c opwatch.toml --until-done", "wait 1 2 --region bj"] {
        assert!(!plain.contains(&coloured), "{plain:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dumb_terminal_gets_lines_alone() {
    let none: &[&str] = &[];
    assert_eq!(screens(("TERM", "dumb"), |shown| !shown.contains('\u{1b}')).await, none);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_on_a_terminal_shows_the_end_of_a_task_in_the_colour_of_its_result() {
    let task = |status| [SimResponse::status(status)];
    let cloud =
        cloud(Scenario::default().with_task(1, task(1)).with_task(2, task(2)).with_task(3, task(3))).await;
    let home = Home::new(&cloud, "");
    home.list([1, 2, 3]);
    let shown = screen(&home, &cloud, "run -c opwatch.toml --until-done", ("LANG", "C")).await.stdout;
    for (task, colour) in [(1, "\u{1b}[32m"), (2, "\u{1b}[31m"), (3, "\u{1b}[33m")] {
        let line = shown.lines().find(|line| line.contains(&format!("task finished task={task} "))).unwrap();
        assert!(line.starts_with(colour) && line.contains("\u{1b}[0m"), "{line:?}");
    }
}
