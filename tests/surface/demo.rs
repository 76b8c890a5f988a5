//! `opwatch demo`: what a newcomer sees in the first minute.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use opwatch::secret::Secret;
use opwatch::sim::{SECRET_KEY, Scenario, SimResponse, Unlisted};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::process::Command;

use crate::support::{Home, cloud, output_of, signal};

/// An empty folder with one for temporary files in it.
async fn home() -> Home {
    let home = Home::new(&cloud(Scenario::default()).await, "");
    std::fs::create_dir(home.path("tmp")).unwrap();
    home
}

fn demo(home: &Home) -> Command {
    let mut command = home.opwatch(&["demo"]);
    command.env("TMPDIR", home.path("tmp"));
    command
}

fn left_behind(home: &Home) -> usize {
    std::fs::read_dir(home.path("tmp")).unwrap().count()
}

/// Reads up to a line that contains this.
async fn read_until(lines: &mut Lines<impl AsyncRead + Unpin + AsyncBufReadExt>, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("no {text:?} in {read}"));
        read += &line;
        read.push('\n');
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_narrates_ends_a_fault_a_hold_and_its_release_and_leaves_nothing_behind() {
    let home = home().await;
    let systemd = UnixDatagram::bind(home.path("notify")).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let line = format!("exec {} demo 2>&1", env!("CARGO_BIN_EXE_opwatch"));
    let mut command = home.in_shell(&line);
    let ended = output_of(
        command.env("TMPDIR", home.path("tmp")).env("NOTIFY_SOCKET", home.path("notify")).spawn().unwrap(),
    )
    .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    let mut rest = ended.stdout.as_str();
    for next in [
        "# A cloud is simulated on this machine, at 127.0.0.1:",
        "INFO  watching open_tasks=8\n",
        "# Every task was polled",
        " task finished task=7001 operation=bm outcome=success ",
        " task progressed task=7002 ",
        " task finished task=7002 ",
        "# A fault: the gateway of the cloud fails",
        "WARN  circuit breaker open: most polls fail",
        "# No task is lost",
        "INFO  service recovered",
        " task finished task=7003 ",
        "# A wrong setting: the SecretKey was replaced",
        " account held account=default error=4100 ",
        "# This is an error, since a person must act.",
        " account released account=default ",
        "# Polling continues.",
        " task finished task=7004 operation=bm outcome=failure ",
        " task finished task=7005 operation=bm outcome=partial ",
        " task finished task=7008 ",
        "# 8 tasks have finished, with 8 final events: 6 success, 1 failure, 1 partial.",
        "What to do next",
    ] {
        rest =
            rest.split_once(next).unwrap_or_else(|| panic!("no {next:?} in its place: {}", ended.stdout)).1;
    }
    assert_eq!(ended.stdout.matches(" task finished ").count(), 8);
    assert!(!ended.stdout.contains('\u{1b}') && !ended.stdout.contains(SECRET_KEY), "{}", ended.stdout);
    assert_eq!(left_behind(&home), 0);
    assert_eq!(
        systemd.recv(&mut [0; 16]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "only `run` speaks to systemd"
    );
    let commands: String =
        rest.lines().filter(|line| line.starts_with("  ")).map(|line| format!("{line}\n")).collect();
    its_commands_work(&home, &commands).await;
}

async fn its_commands_work(home: &Home, commands: &str) {
    let unlisted = Unlisted::Follows(vec![SimResponse::status(1)]);
    let cloud = cloud(Scenario {
        secret_id: "AKID...".to_owned(),
        secret_key: Secret::new("..."),
        unlisted,
        ..Scenario::default()
    })
    .await;
    // Additions for the test: the cloud is simulated, and the daemon ends.
    let script = format!("set -e\n{}", commands.replace(" run -c my.toml", " run -c my.toml --until-done"));
    let mut command = home.in_shell(&script);
    command
        .env("OPWATCH__ACCOUNTS__DEFAULT__ENDPOINT", cloud.endpoint())
        .env("XDG_STATE_HOME", home.path("state"));
    let ended = output_of(command.spawn().unwrap()).await;
    assert_eq!((ended.code, ended.log_lines("task finished").len()), (Some(0), 1), "{script}{ended:?}");
    assert!(
        ended.stdout.contains(" task finished task=1000800001 ")
            && ended.stdout.contains("my.toml is valid: 1 task,"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_demo_at_once_wherever_it_is_and_leaves_nothing_behind() {
    for (moment, name, code) in
        [("# A cloud", "INT", 130), ("# A fault", "TERM", 143), ("# This is an error", "INT", 130)]
    {
        let home = home().await;
        let mut child = demo(&home).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        read_until(&mut lines, moment).await;
        signal(&child, name);
        let ended = output_of(child).await;
        assert_eq!(ended.code, Some(code), "{moment}: {}", ended.stderr);
        let last = "opwatch: stopped; nothing remains: the cloud was simulated, and the store in memory\n";
        assert!(ended.stderr.ends_with(last) && left_behind(&home) == 0, "{moment}: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_its_words_are_bold_unless_no_colours_are_wanted_and_ctrl_c_ends_it() {
    for no_color in ["", "1"] {
        let home = home().await;
        // `script` lends it a terminal, and hands on keys and its exit code.
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} demo", env!("CARGO_BIN_EXE_opwatch")), "/dev/null"]);
        command
            .env_clear()
            .env("TERM", "xterm")
            .env("TMPDIR", home.path("tmp"))
            .env("NO_COLOR", no_color)
            .kill_on_drop(true);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut keys = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let read = read_until(&mut lines, "watching open_tasks=8").await;
        assert_eq!(read.contains("\u{1b}[1m# A cloud is simulated"), no_color.is_empty(), "{read:?}");
        assert_eq!(read.contains('\u{1b}'), no_color.is_empty(), "{read:?}");
        keys.write_all(b"\x03").await.unwrap();
        read_until(&mut lines, "opwatch: stopped; nothing remains").await;
        assert_eq!(output_of(child).await.code, Some(130));
        assert_eq!(left_behind(&home), 0);
    }
}
