//! The output of the commands: help, completions, the manual page, and its destinations.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use opwatch::sim::{Scenario, SimResponse};

use crate::support::{Home, ProgramOutput, cloud, eventually, output_of};

/// Every command there is.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["run"],
    &["wait"],
    &["check"],
    &["init"],
    &["events"],
    &["events", "test"],
    &["demo"],
    &["sim"],
    &["operations"],
    &["completions"],
    &["man"],
    &["status"],
    &["list"],
    &["show"],
    &["add"],
    &["poll"],
    &["extend"],
    &["cancel"],
    &["pause"],
    &["resume"],
    &["retry"],
    &["reload"],
    &["events", "list"],
    &["events", "show"],
    &["events", "follow"],
    &["events", "redeliver"],
    &["events", "discard"],
];

async fn home() -> Home {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    Home::new(&cloud, "")
}

async fn run(home: &Home, arguments: &[&str]) -> ProgramOutput {
    output_of(home.opwatch(arguments).env("COLUMNS", "80").spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_of_every_command_fits_80_columns_and_is_plain_where_it_is_no_terminal() {
    let home = home().await;
    let top = run(&home, &["--help"]).await.stdout;
    for command in COMMANDS {
        let ended = run(&home, &[command, &["--help"][..]].concat()).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{command:?}");
        assert!(
            ended.stdout.lines().all(|line| line.chars().count() <= 80 && !line.contains('\u{1b}')),
            "{}",
            ended.stdout
        );
        assert!(
            command.first().is_none_or(|name| top.contains(&format!("\n  {name}"))),
            "{command:?} is not in\n{top}"
        );
    }
    let listed = top.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next()).unwrap();
    let names = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    for name in names {
        assert!(COMMANDS.iter().any(|command| command.first() == Some(&name)), "{name} is in no test");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_gone_ends_every_command_silently() {
    let home = home().await;
    let whole: &[&[&str]] = &[
        &["--help"],
        &["wait", "--help"],
        &["check", "-h"],
        &["--version"],
        &["check", "-c", "opwatch.toml"],
        &["check", "-c", "opwatch.toml", "--live"],
        &["events", "test", "-c", "opwatch.toml"],
        &["events", "test", "--print"],
        &["demo"],
        &["sim", "--listen", "127.0.0.1:0"],
        &["operations"],
        &["operations", "--show", "bm"],
        &["completions", "bash"],
        &["man"],
    ];
    for arguments in whole {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.opwatch(arguments);
        let ended = output_of(command.stdout(Stdio::from(writer)).spawn().unwrap()).await;
        let panicked = ended.stderr.contains("panicked");
        let complaints: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("opwatch: ")).collect();
        assert!(ended.code == Some(0) && !panicked && complaints.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_cannot_be_written_is_reported() {
    let home = home().await;
    for arguments in ["check -c opwatch.toml", "operations", "completions bash", "man"] {
        let line = format!("{} {arguments} >/dev/full", env!("CARGO_BIN_EXE_opwatch"));
        let ended = output_of(home.in_shell(&line).spawn().unwrap()).await;
        assert_eq!(ended.code, Some(1), "{arguments}");
        assert!(ended.stderr.starts_with("opwatch: cannot write to standard output"), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_reads_its_completions_and_every_shell_has_some() {
    let home = home().await;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&home, &["completions", shell]).await;
        assert!(ended.code == Some(0) && ended.stdout.contains("COMPLETE"), "{shell}: {}", ended.stderr);
        home.write(shell, &ended.stdout);
    }
    let read = output_of(home.in_shell("PATH=/usr/bin:/bin bash -n bash").spawn().unwrap()).await;
    assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""));
    let wrong = run(&home, &["completions", "bsh"]).await;
    assert!(wrong.code == Some(2) && wrong.stderr.contains("bash"), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manual_page_has_every_command_and_man_shows_it_without_a_complaint() {
    let home = home().await;
    let page = run(&home, &["man"]).await.stdout;
    assert!(page.lines().any(|line| line.starts_with(".TH opwatch 1")), "{page}");
    for command in COMMANDS.iter().filter(|command| !matches!(command, [] | ["events"])) {
        assert!(page.contains(&format!("\n.SS \"opwatch {}\"\n", command.join(" "))), "{command:?}");
    }
    assert!(page.contains("Exit codes") && page.contains("opwatch wait 1000800001"), "{page}");
    home.write("opwatch.1", &page);
    let shown =
        "PATH=/usr/bin:/bin; command -v man >/dev/null || exit 0; MANWIDTH=80 man --warnings -l opwatch.1";
    let shown = output_of(home.in_shell(shown).spawn().unwrap()).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_is_shown_as_toml_and_an_unknown_one_is_refused_with_a_suggestion() {
    let home = home().await;
    let shown = run(&home, &["operations", "--show", "bm3"]).await;
    let row = shown.stdout.parse::<toml::Table>().unwrap();
    assert_eq!(row["operations"]["bm3"]["action"].as_str(), Some("DescribeOperationResult"));
    let table = run(&home, &["operations"]).await.stdout;
    assert!(table.contains("\nbm3 ") && table.lines().all(|line| line.len() <= 80), "{table}");
    let wrong = run(&home, &["operations", "--show", "bmm3"]).await;
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""));
    assert!(wrong.stderr.contains("there is no operation \"bmm3\"; did you mean `bm3`?"), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_line_in_the_file_behind_standard_output_holds_the_sink_and_swallows_no_event() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "");
    home.edit("path = \"events.jsonl\"", "path = \"-\"");
    home.list([1]);
    home.write("out", "half");
    let line = format!("exec {} run -c opwatch.toml >>out 2>log", env!("CARGO_BIN_EXE_opwatch"));
    let daemon = home.in_shell(&line).spawn().unwrap();
    let read = |name: &str| fs::read_to_string(home.path(name)).unwrap_or_default();
    eventually("the hold", || read("log").contains("complete that line, or name another path")).await;
    assert_eq!(read("out"), "half");
    let mut out = fs::File::options().append(true).open(home.path("out")).unwrap();
    out.write_all(b"\n").unwrap();
    eventually("the event", || read("out").starts_with("half\n{\"specversion\"")).await;
    drop(daemon);
}
