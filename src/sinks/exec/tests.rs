//! Runs of small scripts. Each is an argument of `sh`, not a file: a new file cannot be executed while a
//! process of another test holds a copy of its descriptor.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustix::io::{FdFlags, fcntl_setfd};

use super::*;
use crate::model::delivery::RefusalClass;
use crate::model::event::Kind;
use crate::model::reading::{Code, Outcome};
use crate::sinks::samples;

/// Longer than any machine takes for what is tried here.
const LONG: Duration = Duration::from_secs(600);

/// A sink with that command line and a few variables of a daemon.
fn sink(command: &[&str], timeout: Duration) -> Exec {
    let variable = |name: &str| match name {
        "PATH" => Some("/usr/bin:/bin".into()),
        "HOME" => Some("/home/opwatch".into()),
        "LANG" => Some("C.UTF-8".into()),
        "TZ" => None,
        other => Some(format!("not for {other}").into()),
    };
    let command = CommandLine(command.iter().map(|word| (*word).to_owned()).collect());
    Exec {
        command,
        timeout,
        hidden: Hidden::default(),
        open_tasks: OpenTasks::default(),
        inherited: Inherited::of(variable),
    }
}

/// A script, with a folder as `$1`.
fn script(text: &str, folder: &Path) -> Exec {
    sink(&["/bin/sh", "-c", text, "on-done", folder.to_str().unwrap()], LONG)
}

async fn run(text: &str) -> Result<(), Refusal> {
    script(text, Path::new("/")).send(&samples::successes(1)).await
}

/// The content of `$1/out` after a script that succeeded.
async fn out(text: &str, event: &Event) -> String {
    let folder = tempfile::tempdir().unwrap();
    script(text, folder.path()).send(std::slice::from_ref(event)).await.unwrap();
    String::from_utf8(fs::read(folder.path().join("out")).unwrap()).unwrap()
}

/// The environment that a program is started with, variable by variable. `env` would show what the shell
/// adds.
async fn environment(event: &Event) -> BTreeSet<String> {
    let out = out("cat /proc/$$/environ >$1/out", event).await;
    out.split_terminator('\0').map(str::to_owned).collect()
}

/// An event of that length.
fn long_event(bytes: usize) -> Event {
    samples::task(Kind::Finished, "x", |data| data.message = Some("x".repeat(bytes)))
}

#[tokio::test]
async fn the_record_and_a_line_end_are_its_standard_input() {
    let event = samples::success("reinstall rack 7");
    assert_eq!(out("cat >$1/out", &event).await, format!("{}\n", event.body));
}

#[tokio::test]
async fn the_environment_is_as_promised_and_nothing_else() {
    let wanted = [
        "PATH=/usr/bin:/bin",
        "HOME=/home/opwatch",
        "LANG=C.UTF-8",
        "OPWATCH_TASK=1000800001",
        "OPWATCH_OPERATION=bm",
        "OPWATCH_OUTCOME=success",
        "OPWATCH_STATUS=1",
        "OPWATCH_ELAPSED=723.4",
        "OPWATCH_POLLS=17",
        "OPWATCH_NAME=reinstall rack 7",
        "OPWATCH_EVENT_ID=00000000-0000-0000-0000-000000000001",
        "OPWATCH_TYPE=opwatch.task.finished",
        "OPWATCH_ACCOUNT=default",
        "OPWATCH_REGION=bj",
    ];
    assert_eq!(environment(&samples::success("reinstall rack 7")).await, wanted.map(str::to_owned).into());
}

#[tokio::test]
async fn an_event_that_is_no_task_s_names_its_account_too() {
    let found = environment(&samples::hold(false)).await;
    for wanted in
        ["OPWATCH_ACCOUNT=main", "OPWATCH_ERROR=4100", "OPWATCH_TASKS=3", "OPWATCH_TYPE=opwatch.account.held"]
    {
        assert!(found.contains(wanted), "{found:?}");
    }
}

#[tokio::test]
async fn the_type_is_that_of_the_event_itself_and_not_of_one_that_it_reports_of() {
    let dead = samples::dead_letter(&samples::success("x"));
    let found = environment(&dead).await;
    for wanted in ["OPWATCH_TYPE=opwatch.delivery.dead", "OPWATCH_EVENT=00000000-0000-0000-0000-000000000001"]
    {
        assert!(found.contains(wanted), "{found:?}");
    }
}

#[tokio::test]
async fn a_hostile_name_and_labels_stay_one_short_harmless_value() {
    let usual = environment(&samples::success("x")).await.len();
    let name = format!("a\0b\nLD_PRELOAD=/x\u{1b}[2J\u{9b}{}", "机".repeat(1000));
    let event = samples::task(Kind::Finished, &name, |data| {
        data.outcome = Some(Outcome::Success);
        data.status = Some(Code::Int(1));
        data.task.labels = ["LD_PRELOAD", "PATH"].map(|name| (name.to_owned(), "/x".to_owned())).into();
    });
    let found = environment(&event).await;
    let name = found.iter().find_map(|variable| variable.strip_prefix("OPWATCH_NAME=")).unwrap();
    assert!(name.starts_with("a b LD_PRELOAD=/x [2J 机") && name.ends_with("机…"), "{name}");
    assert!(name.len() <= 1024 && !name.contains(char::is_control), "{} bytes", name.len());
    assert!(found.len() == usual && found.contains("PATH=/usr/bin:/bin"), "{found:?}");
}

#[tokio::test]
async fn no_descriptor_but_the_first_three_is_handed_on() {
    let inherited = fs::File::open("/dev/null").unwrap();
    fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
    // The fourth is the folder that `ls` itself has opened.
    assert_eq!(out("exec ls /proc/self/fd >$1/out", &samples::success("x")).await, "0\n1\n2\n3\n");
}

#[tokio::test]
async fn sigpipe_ends_it_as_it_ends_any_program_and_no_signal_is_blocked_by_us() {
    let field = |status: &str, name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(value.trim(), 16).unwrap()
    };
    let status = out("exec cat /proc/self/status >$1/out", &samples::success("x")).await;
    assert_eq!(field(&status, "SigIgn:") & (1 << (13 - 1)), 0, "SIGPIPE is ignored");
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    assert_eq!(field(&status, "SigBlk:"), field(&own, "SigBlk:"));
}

#[tokio::test]
async fn the_exit_code_alone_decides() {
    assert_eq!(run("echo trouble >&2; exit 0").await.map_err(|refusal| refusal.what), Ok(()));
    for (text, class, reported) in [
        ("exit 65", RefusalClass::Event, "/bin/sh refused the event (exit code 65)"),
        ("exit 75", RefusalClass::Passing, "/bin/sh requests a retry (exit code 75)"),
        ("exit 1", RefusalClass::Passing, "/bin/sh failed (exit code 1); check the program"),
        ("exit 127", RefusalClass::Passing, "/bin/sh failed (exit code 127); check the program"),
        ("kill -9 $$", RefusalClass::Passing, "/bin/sh was ended by signal 9; check the program"),
    ] {
        let refusal = run(text).await.unwrap_err();
        assert_eq!((refusal.class, refusal.what.as_str()), (class, reported), "{text}");
    }
}

#[tokio::test]
async fn the_last_lines_of_its_output_are_reported() {
    let refusal = run("echo one; echo two >&2; echo; printf 'three\\033[31m\\t\\n'; echo four; exit 65")
        .await
        .unwrap_err();
    assert_eq!(
        refusal.what,
        r"/bin/sh refused the event (exit code 65); its last output: two | three\u001b[31m | four"
    );
}

#[tokio::test]
async fn ten_mebibytes_of_output_neither_stop_it_nor_are_kept() {
    let refusal =
        run("head -c 10485760 /dev/zero | tr '\\0' x; echo; echo the end; exit 65").await.unwrap_err();
    assert!(
        refusal.what.starts_with("/bin/sh refused") && refusal.what.len() < 1200,
        "{}",
        refusal.what.len()
    );
    let refusal = run("head -c 10485760 /dev/zero; exit 75").await.unwrap_err();
    assert!(refusal.what.len() < 1200, "{}", refusal.what.len());
}

#[tokio::test]
async fn what_it_does_not_read_is_no_failure() {
    let event = long_event(1 << 20);
    for text in ["exit 0", "exec <&-; exit 0", "head -c 1 >/dev/null", "head -c 1048576 /dev/zero; exit 0"] {
        let sent = script(text, Path::new("/")).send(std::slice::from_ref(&event)).await;
        assert_eq!(sent.map_err(|refusal| refusal.what), Ok(()), "{text}");
    }
}

#[tokio::test]
async fn what_it_left_running_is_neither_waited_for_nor_killed() {
    let folder = tempfile::tempdir().unwrap();
    let sink = script("sleep 1000 & echo $! >$1/pid; echo why; exit 65", folder.path());
    let refusal = sink.send(&samples::successes(1)).await.unwrap_err();
    assert!(refusal.what.ends_with("; its last output: why"), "{refusal}");
    let left = fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(is_alive(left.trim()));
    assert!(std::process::Command::new("kill").arg(left.trim()).status().unwrap().success());
}

/// Starts another program, then writes the ids of both.
const TWO: &str = "sleep 1000 & echo $$ $! >$1/new; mv $1/new $1/pids; wait";

#[tokio::test]
async fn a_run_that_takes_too_long_is_killed_with_all_that_it_started_and_leaves_no_zombie() {
    let folder = tempfile::tempdir().unwrap();
    let mut timeout = Duration::from_millis(50);
    // A slow machine takes longer until both are there.
    while !folder.path().join("pids").exists() {
        timeout *= 2;
        let slow = Exec { timeout, ..script(TWO, folder.path()) };
        let refusal = slow.send(&samples::successes(1)).await.unwrap_err();
        assert_eq!(
            (refusal.class, refusal.what.contains("/bin/sh took longer than ")),
            (RefusalClass::Passing, true),
            "{refusal}"
        );
    }
    both_are_gone(folder.path()).await;
}

#[tokio::test]
async fn a_run_that_is_given_up_is_killed_with_all_that_it_started_and_leaves_no_zombie() {
    let folder = tempfile::tempdir().unwrap();
    let sink = script(TWO, folder.path());
    let events = samples::successes(1);
    tokio::select! {
        ended = sink.send(&events) => panic!("it ended: {ended:?}"),
        () = eventually(|| folder.path().join("pids").exists()) => {}
    }
    both_are_gone(folder.path()).await;
}

async fn both_are_gone(folder: &Path) {
    let pids = fs::read_to_string(folder.join("pids")).unwrap();
    let (own, grandchild) = pids.trim().split_once(' ').unwrap();
    // The process that adopts the grandchild collects its end.
    eventually(|| !is_alive(grandchild) && !Path::new("/proc").join(own).exists()).await;
}

/// Whether it is there and no zombie.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

async fn eventually(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_as_it_is_holds_the_sink() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        at(name)
    };
    let no_interpreter = write("no-interpreter", "#!/no/such/interpreter\n", 0o755);
    let no_program = write("no-program", "\u{1}\u{2}\u{3}", 0o755);
    let not_executable = write("not-executable", "#!/bin/sh\n", 0o644);
    for (program, reported) in [
        (at("missing"), "does not exist"),
        ("no-such-program-in-the-path".to_owned(), "does not exist"),
        (no_interpreter, "or its interpreter does not exist"),
        (no_program, "this machine cannot execute it"),
        (not_executable, "permission denied"),
        (at("not-executable/x"), "not a folder"),
        (at(""), "permission denied"),
    ] {
        let sink = sink(&[&program, "hunter2"], LONG);
        let busy = "the file is open for writing";
        let mut refusal = sink.send(&samples::successes(1)).await.unwrap_err();
        while refusal.what.contains(busy) {
            refusal = sink.send(&samples::successes(1)).await.unwrap_err();
        }
        assert_eq!(refusal.class, RefusalClass::Sink, "{refusal}");
        assert!(
            refusal.what.starts_with(&format!("cannot run {program}: ")) && refusal.what.contains(reported),
            "{refusal}"
        );
        assert!(!refusal.what.contains("hunter2"), "{refusal}");
    }
}

#[test]
fn a_program_that_is_being_written_and_a_lack_of_processes_pass() {
    for kind in [ErrorKind::ExecutableFileBusy, ErrorKind::WouldBlock, ErrorKind::OutOfMemory] {
        assert_eq!(not_started("x", &kind.into()).class, RefusalClass::Passing, "{kind}");
    }
}

#[tokio::test]
async fn a_bare_name_is_looked_for_in_the_path() {
    assert!(sink(&["true"], LONG).send(&samples::successes(1)).await.is_ok());
}

#[test]
fn its_arguments_do_not_show_themselves_in_debug() {
    let config =
        Config { command: CommandLine(vec!["/bin/x".into(), "hunter2".into()]), ..Config::default() };
    let shown = format!("{config:?} {:?}", Exec::new(&config, Hidden::default(), OpenTasks::default()));
    assert!(shown.contains("/bin/x") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_program_is_looked_for_and_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("text"), "#!/bin/sh\n").unwrap();
    let reach = async |program: &str| {
        sink(&[program, "-c", "exit 1"], LONG).reach().await.map_err(|refusal| (refusal.class, refusal.what))
    };
    for program in ["/bin/sh", "sh"] {
        assert_eq!(reach(program).await, Ok(Some("the program exists")));
    }
    for (program, words) in [
        ("no-such-program", "does not exist"),
        (&path("missing"), "does not exist"),
        (&path("text"), "chmod +x"),
        (&path(""), "permission denied"),
        (&path("text/below"), "a part of the path is not a folder"),
    ] {
        let (class, what) = reach(program).await.unwrap_err();
        assert!(class == RefusalClass::Sink && what.contains(words), "{what}");
    }
}
