//! A disk that is full, read-only or broken, and a process out of descriptors: a clear message each, and
//! every event afterwards.

use std::path::Path;
use std::process::Stdio;

use opwatch::sim::{Scenario, Sim, SimResponse, Unlisted};
use tokio::process::{Child, Command};

use crate::support::{Home, cloud, eventually, output_of};

/// A small file system of its own; gone when dropped.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(home: &Home, name: &str, size: &str) -> Self {
        let path = home.path(name);
        std::fs::create_dir(&path).unwrap();
        run(&["mount", "-t", "tmpfs", "-o", &format!("size={size}"), "opwatch-test", path.to_str().unwrap()]);
        Self(path)
    }

    fn remount(&self, options: &str) {
        run(&["mount", "-o", &format!("remount,{options}"), self.0.to_str().unwrap()]);
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    /// Takes all the room but that of some pages.
    fn fill_but(&self, free_pages: u64) {
        self.fill();
        let filler = std::fs::OpenOptions::new().write(true).open(self.0.join("filler")).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - free_pages * 4096).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &[&str]) {
    let status = std::process::Command::new(command[0]).args(&command[1..]).status().unwrap();
    assert!(status.success(), "{command:?}");
}

async fn cloud_of(tasks: u64, home: impl Fn(&Sim) -> Home) -> (Sim, Home) {
    let cloud = cloud(Scenario {
        unlisted: Unlisted::Follows(vec![SimResponse::status(4), SimResponse::status(1)]),
        ..Scenario::default()
    })
    .await;
    let home = home(&cloud);
    home.list(1..=tasks);
    (cloud, home)
}

/// Starts it with its log in a file, for checks while it runs.
fn start(home: &Home, before: &[&str]) -> Child {
    let log = std::fs::File::create(home.path("log")).unwrap();
    let opwatch = env!("CARGO_BIN_EXE_opwatch");
    let words: Vec<_> =
        before.iter().copied().chain([opwatch, "run", "-c", "opwatch.toml", "--until-done"]).collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .current_dir(home.path(""))
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap()
}

fn log_has(home: &Home, what: &str) -> bool {
    std::fs::read_to_string(home.path("log")).is_ok_and(|log| log.contains(what))
}

fn all_ended_once(home: &Home, tasks: usize) {
    let ids: std::collections::BTreeSet<_> =
        home.events().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((ids.len(), home.events().len()), (tasks, tasks));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "mounts a small file system, which takes root"]
async fn a_full_disk_under_the_store_is_waited_for_loudly_and_every_end_is_reported() {
    let (_cloud, home) = cloud_of(300, |cloud| Home::new(cloud, "")).await;
    let disk = Disk::new(&home, "disk", "3m");
    home.edit("sqlite:opwatch.db", "sqlite:disk/opwatch.db");
    home.edit("[poll]", "[poll]\ninitial_delay = \"300ms\"");
    let child = start(&home, &[]);
    eventually("the tasks are registered", || log_has(&home, "\"watching\"")).await;
    disk.fill();
    eventually("it is told", || log_has(&home, "free some space")).await;
    disk.make_room();
    assert_eq!(output_of(child).await.code, Some(0));
    assert!(log_has(&home, "the store is usable again"));
    all_ended_once(&home, 300);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "mounts a small file system, which takes root"]
async fn a_full_disk_under_the_file_sink_keeps_every_event_until_there_is_room() {
    let (_cloud, home) = cloud_of(300, |cloud| Home::new(cloud, "")).await;
    let disk = Disk::new(&home, "disk", "64k");
    home.edit("path = \"events.jsonl\"", "path = \"disk/events.jsonl\"\nretry = { max = \"1s\" }");
    disk.fill();
    let child = start(&home, &[]);
    eventually("it is told", || log_has(&home, "no space is left; free some space there")).await;
    disk.make_room();
    disk.remount("size=4m");
    assert_eq!(output_of(child).await.code, Some(0));
    std::fs::copy(home.path("disk/events.jsonl"), home.path("events.jsonl")).unwrap();
    all_ended_once(&home, 300);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "mounts a small file system, which takes root"]
async fn a_store_whose_file_system_becomes_read_only_is_waited_for_or_left_and_loses_nothing() {
    let (_cloud, home) = cloud_of(50, |cloud| Home::new(cloud, "")).await;
    let disk = Disk::new(&home, "disk", "4m");
    home.edit("sqlite:opwatch.db", "sqlite:disk/opwatch.db");
    home.edit("[poll]", "[poll]\ninitial_delay = \"500ms\"");
    disk.remount("ro");
    let refused = output_of(start(&home, &[])).await;
    assert!(
        refused.code != Some(0) && log_has(&home, "disk/opwatch.db") && log_has(&home, "read-only"),
        "{refused:?}"
    );
    disk.remount("rw");
    assert_eq!(output_of(start(&home, &[])).await.code, Some(0));
    all_ended_once(&home, 50);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs fiu-utils, which tests/run --all installs"]
async fn after_a_failed_fsync_of_the_store_the_process_ends_and_a_fresh_start_reports_every_end() {
    let (_cloud, home) = cloud_of(50, |cloud| Home::new(cloud, "")).await;
    // Not the first ones, so that it comes up.
    let fault = "enable_random name=posix/io/sync/fdatasync,probability=0.2,failinfo=5";
    let other = "enable_random name=posix/io/sync/fsync,probability=0.2,failinfo=5";
    let mut failures = 0;
    for _ in 0..200 {
        let ended = output_of(start(&home, &["fiu-run", "-x", "-c", fault, "-c", other])).await;
        match ended.code {
            Some(0) => break,
            Some(1) => failures += 1,
            other => panic!("{other:?}: {}", std::fs::read_to_string(home.path("log")).unwrap()),
        }
        assert!(
            log_has(&home, "opwatch: ") && !log_has(&home, "panicked"),
            "{}",
            std::fs::read_to_string(home.path("log")).unwrap()
        );
    }
    assert!(failures > 0, "no fault was met");
    assert_eq!(output_of(start(&home, &[])).await.code, Some(0));
    let ids: std::collections::BTreeSet<_> =
        home.events().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_out_of_descriptors_says_so_and_goes_on_once_it_has_some() {
    let (_cloud, home) = cloud_of(30, |cloud| Home::new(cloud, "")).await;
    home.edit("[poll]", "[poll]\ninitial_delay = \"200ms\"");
    // The descriptors that it holds open, without connections.
    let open = |child: &Child| {
        Path::new(&format!("/proc/{}/fd", child.id().unwrap())).read_dir().map(|fds| fds.count()).unwrap_or(0)
    };
    let child = start(&home, &[]);
    eventually("it watches", || log_has(&home, "\"watching\"")).await;
    let limit = |count: usize| {
        let pid = child.id().unwrap().to_string();
        run(&["prlimit", "--pid", &pid, &format!("--nofile={count}:4096")]);
    };
    limit(3.max(open(&child).min(8)));
    eventually("it is told", || log_has(&home, "Too many open files")).await;
    limit(1024);
    assert_eq!(output_of(child).await.code, Some(0));
    all_ended_once(&home, 30);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "mounts a small file system, which takes root"]
async fn a_full_disk_at_the_start_is_waited_for_and_every_end_is_reported() {
    let (_cloud, home) = cloud_of(30, |cloud| Home::new(cloud, "")).await;
    let disk = Disk::new(&home, "disk", "1m");
    home.edit("sqlite:opwatch.db", "sqlite:disk/opwatch.db");
    // From no room at all to almost enough: a different call of SQLite fails each time.
    for free_pages in [0, 1, 2, 4, 8, 12] {
        disk.fill_but(free_pages);
        let child = start(&home, &[]);
        eventually("it is told", || log_has(&home, "free some space")).await;
        disk.make_room();
        let ended = output_of(child).await;
        assert_eq!(
            ended.code,
            Some(0),
            "{free_pages}: {}",
            std::fs::read_to_string(home.path("log")).unwrap()
        );
        all_ended_once(&home, 30);
        for name in ["disk/opwatch.db", "disk/opwatch.db.lock", "events.jsonl"] {
            std::fs::remove_file(home.path(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_moved_or_replaced_ends_the_daemon_with_code_2_and_no_further_event() {
    let changes: [(&str, &str); 4] = [
        ("mv opwatch.db old.db", "opwatch.db was removed or moved while opwatch was running"),
        (
            "rm opwatch.db opwatch.db-wal opwatch.db-shm",
            "opwatch.db was removed or moved while opwatch was running",
        ),
        (
            "cp opwatch.db copy.db && mv copy.db opwatch.db",
            "opwatch.db was replaced while opwatch was running",
        ),
        ("rm opwatch.db-wal", "opwatch.db was removed or moved while opwatch was running"),
    ];
    for (change, words) in changes {
        let cloud = cloud(Scenario {
            unlisted: Unlisted::Follows(vec![SimResponse::status(4)]),
            ..Scenario::default()
        })
        .await;
        let home = Home::new(&cloud, "");
        home.list(1..=5);
        let child = home.start();
        cloud.wait_until(|seen| seen.len() >= 10).await;
        assert!(home.in_shell(change).env("PATH", "/usr/bin:/bin").status().await.unwrap().success());
        (1..=5).for_each(|id| cloud.set_responses(&id.to_string(), [SimResponse::status(1)]));
        let ended = output_of(child).await;
        assert_eq!(ended.code, Some(2), "{change}: {}", ended.stderr);
        let reported = ended.stderr.lines().find(|line| line.starts_with("opwatch: ")).unwrap();
        assert!(
            reported.contains(words) && reported.contains("writing and delivery have stopped"),
            "{reported}"
        );
        assert_eq!(home.events(), [] as [serde_json::Value; 0], "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_no_file_is_meant_by_is_refused_by_check_and_run_alike_and_none_is_created() {
    let cloud = cloud(Scenario::default()).await;
    for url in
        ["sqlite::memory:", "sqlite:opwatch.db?mode=ro", "sqlite:file:opwatch.db", "sqlite:opwatch.db/"]
    {
        let home = Home::new(&cloud, "");
        home.edit("sqlite:opwatch.db", url);
        let files = || home.path("").read_dir().unwrap().count();
        let before = files();
        let refused =
            [home.opwatch(&["check", "-c", "opwatch.toml"]), home.opwatch(&["run", "-c", "opwatch.toml"])];
        let mut texts = Vec::new();
        for mut command in refused {
            let refused = output_of(command.spawn().unwrap()).await;
            assert_eq!(refused.code, Some(2), "{url}: {}", refused.stderr);
            assert!(refused.stderr.contains("store.url: "), "{}", refused.stderr);
            texts.push(refused.stderr);
        }
        assert_eq!(texts[0], texts[1]);
        assert_eq!(files(), before, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts the program as two users, which takes root"]
async fn a_lock_file_of_root_is_named_as_such() {
    let (_cloud, home) = cloud_of(1, |cloud| Home::new(cloud, "")).await;
    assert_eq!(output_of(start(&home, &[])).await.code, Some(0));
    run(&["chmod", "755", home.path("").to_str().unwrap()]);
    run(&["chown", "-R", "nobody", home.path("").to_str().unwrap()]);
    run(&["chown", "root", home.path("opwatch.db.lock").to_str().unwrap()]);
    let refused = output_of(start(&home, &["setpriv", "--reuid=nobody", "--clear-groups"])).await;
    assert_eq!(refused.code, Some(2));
    assert!(log_has(&home, "opwatch.db.lock belongs to root; remove it while no opwatch runs"));
    run(&["rm", home.path("opwatch.db.lock").to_str().unwrap()]);
    assert_eq!(output_of(start(&home, &["setpriv", "--reuid=nobody", "--clear-groups"])).await.code, Some(0));
}

/// A file at its size limit (`LimitFSIZE=`) is a full disk by another name, and the limit may be raised while the daemon runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_the_size_limit_of_files_waits_until_the_limit_is_raised() {
    let mut scenario = Scenario::default();
    for id in 0..4_000 {
        scenario = scenario.with_task(id, [SimResponse::status(4)]);
    }
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    home.list(0..4_000);
    let line = format!(
        "exec prlimit --fsize=200000:unlimited {} run -c opwatch.toml",
        env!("CARGO_BIN_EXE_opwatch")
    );
    let mut daemon = home.in_shell(&format!("{line} 2>log")).spawn().unwrap();
    let log = || std::fs::read_to_string(home.path("log")).unwrap_or_default();
    eventually("the store waits", || log().contains("not usable for now")).await;
    assert!(log().contains("LimitFSIZE"), "{}", log());
    let raise = ["--pid", &daemon.id().unwrap().to_string(), "--fsize=unlimited:unlimited"];
    let raised = tokio::process::Command::new("prlimit").args(raise).status().await.unwrap();
    assert!(raised.success());
    eventually("it polls", || cloud.requests() > 0).await;
    daemon.kill().await.unwrap();
}

/// As in a container of any user: no terminal, no environment, no entry in passwd, and a read-only root.
#[tokio::test(flavor = "multi_thread")]
async fn it_runs_as_any_user_without_environment_and_with_a_read_only_root() {
    let cloud =
        cloud(Scenario::default().with_task(1, [SimResponse::status(4), SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let script = format!(
        "chmod 777 . && chmod 644 *; here=$PWD; exec unshare --mount --propagation private sh -euc '
         mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro /; cd \"$1\"
         exec setpriv --reuid=54321 --regid=54321 --clear-groups env -i {} run -c opwatch.toml --until-done </dev/null' - \"$here\"",
        env!("CARGO_BIN_EXE_opwatch")
    );
    let ended = output_of(home.in_shell(&script).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(home.events().len(), 1);
    // Without a folder that it may write, it names the folder.
    let script = script
        .replace("mount --bind \"$1\" \"$1\"; ", "")
        .replace("chmod 777 .", "chmod 755 .; rm -f opwatch.db*");
    let refused = output_of(home.in_shell(&script).spawn().unwrap()).await;
    assert!(
        refused.code == Some(2) && refused.stderr.contains("opwatch.db"),
        "{:?} {}",
        refused.code,
        refused.stderr
    );
}
