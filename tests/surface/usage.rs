//! Messages for wrong command lines, and for newcomers.

use opwatch::sim::Scenario;

use crate::support::{Home, cloud, output_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_reported_on_one_line_with_what_to_write_and_exits_with_2() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    for (typed, expected) in [
        ("chekc", "chekc: there is no such command; did you mean `check`?"),
        ("statsu", "statsu: there is no such command; did you mean `status`?"),
        ("version", "version: is not a command; write opwatch --version"),
        ("events lst", "lst: there is no such command; did you mean `test` or `list`?"),
        ("events retry", "retry: there is no such command; see opwatch events --help"),
        ("--hlep", "--hlep: there is no such option; did you mean `--help`?"),
        (
            "--log-level",
            "--log-level: there is no such option; write -v or -q, set [log] level, or RUST_LOG=debug",
        ),
        ("check --conifg x", "--conifg: there is no such option; did you mean `--config`?"),
        ("run --untildone", "--untildone: there is no such option; did you mean `--until-done`?"),
        ("check opwatch.toml", "opwatch.toml: does not belong here; did you mean -c opwatch.toml?"),
        ("operations bm", "bm: does not belong here; see opwatch operations --help"),
        ("check -c", "--config <FILE>: its value is missing or empty; write it, or leave the option out"),
        (
            "check -c a -c b",
            "the argument '--config <FILE>' cannot be used multiple times; see opwatch check --help",
        ),
        ("events test ops --print", "[SINK]...: cannot be combined with --print; leave one of them out"),
        ("wait", "<ID>...: is missing; see opwatch wait --help"),
        (
            "wait 1 --timeout soon",
            "--timeout <TIME>: \"soon\" does not fit; write a duration with its unit, such as \"24h\", or \"never\"",
        ),
        (
            "wait opwatch.toml --region bj",
            "ID: \"opwatch.toml\" is a file, and no task id; write `opwatch wait - <opwatch.toml`",
        ),
        ("wait 1 --param x", "--param <NAME=VALUE>: \"x\" does not fit; write NAME=VALUE"),
        (
            "sim --listen 9465",
            "--listen <ADDR>: \"9465\" does not fit; write an address and a port, such as 127.0.0.1:9465, or port 0 for a free one",
        ),
        (
            "sim --listen 0.0.0.0:9465",
            "--listen <ADDR>: \"0.0.0.0:9465\" does not fit; write an address of this machine alone, such as 127.0.0.1:9465: opwatch sends plain http to no other",
        ),
        ("completions sh", "<SHELL>: \"sh\" does not fit; write one of bash, elvish, fish, powershell, zsh"),
    ] {
        let ended = output_of(home.opwatch(&typed.split(' ').collect::<Vec<_>>()).spawn().unwrap()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{typed}");
        assert_eq!(ended.stderr, format!("opwatch: {expected}\n"), "{typed}");
    }
    let ended = output_of(home.opwatch(&["check"]).env("OPWATCH_CONFIG", "").spawn().unwrap()).await;
    assert!(
        ended.code == Some(2) && ended.stderr.ends_with("; OPWATCH_CONFIG is empty\n"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_configuration_a_newcomer_is_reported_how_to_begin() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let nearby = output_of(home.opwatch(&["run"]).spawn().unwrap()).await;
    assert!(
        nearby.stderr.ends_with("but this folder has an opwatch.toml; use it with -c opwatch.toml\n"),
        "{}",
        nearby.stderr
    );
    std::fs::remove_file(home.path("opwatch.toml")).unwrap();
    for command in [&["check"][..], &["run"], &["events", "test"]] {
        let ended = output_of(home.opwatch(command).spawn().unwrap()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{command:?}");
        for part in [
            "opwatch: /etc/opwatch/opwatch.toml: there is no such file; ",
            "-c FILE",
            "`opwatch init`",
            "`opwatch demo`",
        ] {
            assert!(
                ended.stderr.contains(part) && ended.stderr.lines().count() == 1,
                "{command:?}: {}",
                ended.stderr
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_that_help_shows_is_right() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let long = output_of(home.opwatch(&["check", "--help"]).spawn().unwrap()).await.stdout;
    let short = output_of(home.opwatch(&["check", "-h"]).spawn().unwrap()).await.stdout;
    assert!(
        short.len() < long.len() && short.contains("Exit codes:") && !short.contains("[accounts"),
        "{short}"
    );
    let shown = long.split("alone:\n").nth(1).and_then(|rest| rest.split("Examples:").next()).unwrap();
    home.write("opwatch.toml", &shown.lines().map(|line| format!("{}\n", line.trim())).collect::<String>());
    let ended = output_of(home.opwatch(&["check", "-c", "opwatch.toml"]).spawn().unwrap()).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.contains("1 task, 1 account, 2 sinks"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_other_tools_get_the_words_that_help_and_no_harmful_option_is_suggested() {
    let home = Home::new(&cloud(Scenario::default()).await, "[sinks.log]\ntype = \"log\"\n");
    for (typed, wanted) in [
        ("start", "opwatch run"),
        ("logs", "journalctl -u opwatch"),
        ("validate", "opwatch check -c FILE"),
        ("run --log-level debug", "[log] level"),
        ("run --debug", "write -v"),
        ("run --allow-removal", "opwatch run --help"),
    ] {
        let arguments: Vec<_> = typed.split(' ').collect();
        let ended = output_of(home.opwatch(&arguments).spawn().unwrap()).await;
        assert_eq!(ended.code, Some(2), "{typed}");
        assert!(ended.stderr.contains(wanted) && !ended.stderr.contains("mean `--allow"), "{}", ended.stderr);
    }
    home.list([1]);
    for typed in ["-c opwatch.toml check", "-v -c opwatch.toml check", "--config=opwatch.toml check -q"] {
        let checked = output_of(home.opwatch(&typed.split(' ').collect::<Vec<_>>()).spawn().unwrap()).await;
        assert_eq!(checked.code, Some(0), "{typed}: {}", checked.stderr);
    }
    for (typed, direct) in
        [("help wait", "wait --help"), ("help events list", "events list --help"), ("help", "--help")]
    {
        let shown = async |typed: &str| {
            output_of(home.opwatch(&typed.split(' ').collect::<Vec<_>>()).spawn().unwrap()).await.stdout
        };
        assert_eq!(shown(typed).await, shown(direct).await);
    }
    let checked = output_of(home.opwatch(&["check", "-c", "opwatch.toml"]).spawn().unwrap()).await;
    assert_eq!(checked.code, Some(0), "the type of the log may be written: {}", checked.stderr);
}
