//! Sinks of type `exec` on the built program.

use std::collections::BTreeSet;
use std::fs;

use opwatch::sim::{Scenario, Sim, SimResponse, Unlisted};
use serde_json::Value;

use crate::support::{Home, cloud, eventually, final_words, output_of, signal};

/// Every id succeeds with its first response.
async fn succeeds() -> Sim {
    cloud(Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() }).await
}

/// A home with a sink that runs that script of `sh`, with the home's folder as `$1`.
fn home(cloud: &Sim, script: &str) -> Home {
    let home = Home::new(cloud, "");
    let command = serde_json::json!(["/bin/sh", "-c", script, "on-done", home.path("")]);
    home.edit(
        "[store]",
        &format!("[sinks.page]\ntype = \"exec\"\ncommand = {command}\nretry = {{ initial = \"10ms\", max = \"20ms\" }}\n[store]"),
    );
    home
}

/// Sorted by id: several runs are in progress at a time, and only those of one task wait for each other.
fn sorted(mut records: Vec<Value>) -> Vec<Value> {
    records.sort_by_key(|record| record["id"].to_string());
    records
}

/// The records that a script wrote into this file, as far as their lines are whole by now.
fn whole_records(home: &Home, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.path(name)).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_handed_what_a_file_holds() {
    let cloud = succeeds().await;
    let home = home(&cloud, "cat >>\"$1/paged.jsonl\"");
    home.list(1..=5);
    assert_eq!(home.run_until_done().await.code, Some(0));
    assert_eq!(
        (sorted(whole_records(&home, "paged.jsonl")), home.events().len()),
        (sorted(home.events()), 5)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_in_the_middle_loses_nothing() {
    let cloud = succeeds().await;
    let home = home(&cloud, "cat >>\"$1/paged.jsonl\"");
    home.list(1..=60);
    for count in [1, 15, 30, 45] {
        let mut child = home.start();
        eventually("some are handed over", || whole_records(&home, "paged.jsonl").len() >= count).await;
        child.kill().await.unwrap();
    }
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let words = final_words(&whole_records(&home, "paged.jsonl"));
    assert_eq!((words.len(), words.values().all(|pairs| pairs.len() == 1)), (60, true), "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_missing_holds_its_sink_and_is_used_once_it_is_there() {
    let cloud = succeeds().await;
    let home = Home::new(
        &cloud,
        "[sinks.page]\ntype = \"exec\"\ncommand = [\"bin/on-done\", \"hunter2\"]\nretry = { initial = \"10ms\", max = \"20ms\" }",
    );
    home.list([1]);
    let child = home
        .in_shell(&format!("exec {} run -c opwatch.toml 2>log", env!("CARGO_BIN_EXE_opwatch")))
        .spawn()
        .unwrap();
    let log = || fs::read_to_string(home.path("log")).unwrap_or_default();
    eventually("the hold is told", || log().contains("does not exist")).await;
    assert!(log().contains("sink on hold: a person must act"), "{}", log());
    fs::create_dir(home.path("bin")).unwrap();
    home.write("bin/new", "#!/bin/sh\n/bin/cat >paged.jsonl.new && /bin/mv paged.jsonl.new paged.jsonl\n");
    let made = std::process::Command::new("chmod").arg("755").arg(home.path("bin/new")).status().unwrap();
    assert!(made.success());
    fs::rename(home.path("bin/new"), home.path("bin/on-done")).unwrap();
    eventually("it is used", || whole_records(&home, "paged.jsonl") == home.events()).await;
    signal(&child, "TERM");
    assert_eq!(output_of(child).await.code, Some(0));
    assert!(!log().contains("hunter2"), "{}", log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_systemd_and_the_cloud_s_sdk_set_for_the_daemon_is_not_handed_on() {
    let cloud = succeeds().await;
    let home = home(&cloud, "cat /proc/$$/environ >\"$1/environ\"");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    let kept = [("PATH", "/usr/bin:/bin"), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("TZ", "Asia/Shanghai")];
    let others = [
        "JOURNAL_STREAM",
        "LISTEN_FDS",
        "LISTEN_PID",
        "TENCENTCLOUD_SECRET_ID",
        "TENCENTCLOUD_SECRET_KEY",
        "INVOCATION_ID",
        "LD_X",
    ];
    command.envs(kept).envs(others.map(|name| (name, "hunter2"))).env("CREDENTIALS_DIRECTORY", home.path(""));
    let socket = std::os::unix::net::UnixDatagram::bind(home.path("notify")).unwrap();
    command.env("NOTIFY_SOCKET", home.path("notify")).env("OPWATCH__POLL__JITTER", "0.1");
    let ended = output_of(command.spawn().unwrap()).await;
    drop(socket);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let environ = fs::read_to_string(home.path("environ")).unwrap();
    let names: BTreeSet<&str> =
        environ.split_terminator('\0').filter_map(|variable| variable.split('=').next()).collect();
    let of_event = [
        "TASK",
        "OPERATION",
        "OUTCOME",
        "STATUS",
        "ELAPSED",
        "POLLS",
        "OPEN",
        "EVENT_ID",
        "TYPE",
        "ACCOUNT",
        "REGION",
    ];
    let of_event: Vec<String> = of_event.iter().map(|name| format!("OPWATCH_{name}")).collect();
    assert_eq!(
        names,
        kept.iter().map(|(name, _)| *name).chain(of_event.iter().map(String::as_str)).collect()
    );
    assert!(!environ.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_kills_what_is_being_run_and_its_event_comes_with_the_next_start() {
    let cloud = succeeds().await;
    let home = home(
        &cloud,
        "if [ -e \"$1/second\" ]; then cat >\"$1/paged.jsonl\"; else sleep 1000 & echo $! >\"$1/new\"; mv \"$1/new\" \"$1/pid\"; wait; fi",
    );
    home.edit("command = [\"/bin/sh\"", "timeout = \"1000s\"\ncommand = [\"/bin/sh\"");
    home.list([1]);
    let child = home.start();
    eventually("it is run", || home.path("pid").exists()).await;
    signal(&child, "TERM");
    assert_eq!(output_of(child).await.code, Some(0));
    let pid = fs::read_to_string(home.path("pid")).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    eventually("it is gone", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))).await;
    home.write("second", "");
    assert_eq!(home.run_until_done().await.code, Some(0));
    assert_eq!(whole_records(&home, "paged.jsonl"), home.events());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_raises_its_limit_of_descriptors_and_its_programs_keep_theirs() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let exec = "[sinks.program]\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"sleep 0.2; ulimit -Sn >limit; grep 'open files' /proc/$PPID/limits >daemon\"]\n";
    let home = Home::new(&cloud, exec);
    home.list([1]);
    let line =
        format!("ulimit -Sn 256; exec {} run -c opwatch.toml --until-done", env!("CARGO_BIN_EXE_opwatch"));
    let ended = output_of(home.in_shell(&line).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(home.path("limit")).unwrap().trim(), "256");
    let daemon = fs::read_to_string(home.path("daemon")).unwrap();
    let limits: Vec<_> = daemon.split_whitespace().rev().skip(1).take(2).collect();
    assert_eq!(limits[0], limits[1], "{daemon}");
}
