//! A running daemon gets a new configuration (SIGHUP), reports its state (SIGUSR1), and ignores what means nothing to it.

use std::fs;

use opwatch::sim::{SECRET_KEY, Scenario, Sim, SimResponse};
use tokio::process::Child;

use crate::support::{Home, ProgramOutput, cloud, eventually, output_of, signal};

const REFUSED: &str = "reload refused; the previous configuration stays in use";
const DONE: &str = "configuration reloaded";

async fn with_running_tasks(ids: impl Iterator<Item = u64> + Clone) -> (Sim, Home) {
    let mut scenario = Scenario::default();
    for id in ids.clone() {
        scenario = scenario.with_task(id, [SimResponse::status(4)]);
    }
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    home.list(ids);
    (cloud, home)
}

/// Starts the daemon with its standard error in a file, and waits until it polls.
async fn started(home: &Home, cloud: &Sim) -> Child {
    let line = format!("exec {} run -c opwatch.toml 2>>log", env!("CARGO_BIN_EXE_opwatch"));
    let daemon = home.in_shell(&line).spawn().unwrap();
    eventually("it polls", || cloud.requests() > 0).await;
    daemon
}

fn logged(home: &Home, message: &str) -> usize {
    fs::read_to_string(home.path("log")).unwrap_or_default().matches(message).count()
}

async fn reloaded(daemon: &Child, home: &Home, message: &str) {
    let before = logged(home, message);
    signal(daemon, "HUP");
    eventually(message, || logged(home, message) > before).await;
}

async fn stopped(daemon: Child, home: &Home) -> ProgramOutput {
    signal(&daemon, "TERM");
    let ended = output_of(daemon).await;
    assert_eq!(ended.code, Some(0), "{}", fs::read_to_string(home.path("log")).unwrap());
    ended
}

fn ends(home: &Home, file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(home.path(file)).unwrap_or_default();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records
        .map(|record| {
            let data = &record["data"];
            let end = data["outcome"].as_str().or(data["reason"].as_str()).unwrap_or_default();
            (record["subject"].as_str().unwrap().to_owned(), end.to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_sinks_come_and_go_with_a_reload() {
    let (cloud, home) = with_running_tasks(1..4).await;
    home.list([1, 2]);
    let daemon = started(&home, &cloud).await;
    home.list([2, 3]);
    home.edit("[sinks.audit]", "[sinks.more]\ntype = \"file\"\npath = \"more.jsonl\"\n[sinks.audit]");
    reloaded(&daemon, &home, DONE).await;
    let end = |subject: &str, end: &str| (subject.to_owned(), end.to_owned());
    eventually("1 is removed", || ends(&home, "more.jsonl") == [end("bm/1", "removed")]).await;
    for id in ["2", "3"] {
        cloud.set_responses(id, [SimResponse::status(1)]);
    }
    let wanted = [end("bm/1", "removed"), end("bm/2", "success"), end("bm/3", "success")];
    eventually("both end", || {
        ["events.jsonl", "more.jsonl"].iter().all(|file| {
            let mut ends = ends(&home, file);
            ends.sort();
            ends == wanted
        })
    })
    .await;

    // Without the sink `audit` its file stays as it is; the task that is listed again is registered again.
    cloud.set_responses("1", [SimResponse::status(2)]);
    home.list([1, 2, 3]);
    home.edit("[sinks.audit]", "[sinks.other]");
    home.edit("path = \"events.jsonl\"", "path = \"other.jsonl\"");
    reloaded(&daemon, &home, DONE).await;
    eventually("1 ends again", || {
        ends(&home, "other.jsonl") == [end("bm/1", "failure")] && ends(&home, "more.jsonl").len() == 4
    })
    .await;
    assert_eq!(ends(&home, "events.jsonl").len(), 3);
    stopped(daemon, &home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_with_an_error_changes_nothing_and_names_file_line_and_key() {
    let (cloud, home) = with_running_tasks(1..3).await;
    home.list([1]);
    let daemon = started(&home, &cloud).await;
    let good = fs::read_to_string(home.path("opwatch.toml")).unwrap();
    for (from, to, named) in [
        ("[poll]", "[poll]\njiter = 1", "opwatch.toml:10: poll.jiter"),
        ("sqlite:opwatch.db", "sqlite:other.db", "store.url"),
        ("[poll]", "[log]\nformat = \"text\"\n[poll]", "log.format"),
        ("path = \"events.jsonl\"", "path = \"events.jsonl\"\nlabels = 1", "sinks.audit.labels"),
        ("secret_key_file = \"secret_key\"", "secret_key_file = \"missing\"", "missing"),
    ] {
        home.list([1, 2]);
        home.write("opwatch.toml", &good.replace(from, to));
        reloaded(&daemon, &home, REFUSED).await;
        let log = fs::read_to_string(home.path("log")).unwrap();
        let last = log.lines().rfind(|line| line.contains(REFUSED)).unwrap();
        assert!(last.contains(named), "{last}");
    }
    home.write("opwatch.toml", &good);
    home.list([1]);
    assert!(!home.path("other.db").exists());
    cloud.set_responses("1", [SimResponse::status(1)]);
    eventually("1 ends", || home.events().len() == 1).await;
    assert!(cloud.received().iter().all(|seen| seen.task == "1"));
    stopped(daemon, &home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_would_remove_most_tasks_is_refused() {
    let (cloud, home) = with_running_tasks(1..31).await;
    let daemon = started(&home, &cloud).await;
    home.list([1]);
    reloaded(&daemon, &home, REFUSED).await;
    assert_eq!(logged(&home, "29 of 30 open tasks are no longer listed"), 1);
    home.list(1..16);
    reloaded(&daemon, &home, DONE).await;
    eventually("15 are removed", || home.events().len() == 15).await;
    stopped(daemon, &home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_key_in_a_reload_releases_the_hold() {
    let (cloud, home) = with_running_tasks(1..3).await;
    home.edit("secret_key_file = \"secret_key\"", "secret_key = \"wrong\"");
    let daemon = started(&home, &cloud).await;
    eventually("the account is on hold", || logged(&home, "account on hold") > 0).await;
    home.edit("secret_key = \"wrong\"", &format!("secret_key = \"{SECRET_KEY}\""));
    reloaded(&daemon, &home, DONE).await;
    for id in ["1", "2"] {
        cloud.set_responses(id, [SimResponse::status(1)]);
    }
    eventually("both end", || home.events().len() == 2).await;
    assert_eq!((logged(&home, "account held"), logged(&home, "account released")), (1, 1));
    stopped(daemon, &home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rate_applies_at_once_and_is_never_exceeded() {
    let (cloud, home) = with_running_tasks(1..40).await;
    let daemon = started(&home, &cloud).await;
    home.edit("rate_limit = 500", "rate_limit = 20");
    reloaded(&daemon, &home, DONE).await;
    let before = cloud.requests();
    let clock = opwatch::clock::Clock::start();
    let start = clock.now().steady;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let most = (clock.now().steady - start).as_secs_f64() * 20.0 + 2.0;
    let polls = (cloud.requests() - before) as f64;
    assert!(polls <= most && polls > most / 4.0, "{polls} of {most}");
    stopped(daemon, &home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reloads_at_random_moments_lose_and_repeat_no_event() {
    const TASKS: u64 = 100;
    let (cloud, home) = with_running_tasks(1..TASKS + 1).await;
    let mut daemon = started(&home, &cloud).await;
    for id in 1..=TASKS {
        cloud.set_responses(&id.to_string(), [SimResponse::status(4), SimResponse::status(1)]);
        if id % 4 == 0 {
            // A sink comes and goes.
            let more = "[sinks.more]\ntype = \"file\"\npath = \"more.jsonl\"\n";
            let (from, to) = ("[sinks.audit]", format!("{more}[sinks.audit]"));
            if id % 8 == 0 { home.edit(&to, from) } else { home.edit(from, &to) }
        }
        if id % 6 == 0 {
            // An account comes and goes.
            let other = "[accounts.other]\nregion = \"gz\"\nsecret_id = \"AKIDother\"\nsecret_key_file = \"secret_key\"\n";
            let (from, to) = ("[poll]", format!("{other}[poll]"));
            if id % 12 == 0 { home.edit(&to, from) } else { home.edit(from, &to) }
        }
        if id % 2 == 0 {
            home.edit("max_interval = \"1", "max_interval = \"11");
            signal(&daemon, "HUP");
            home.edit("max_interval = \"11", "max_interval = \"1");
        }
        if id % 10 == 0 {
            signal(&daemon, "KILL");
            output_of(daemon).await;
            daemon = home
                .in_shell(&format!("exec {} run -c opwatch.toml 2>>log", env!("CARGO_BIN_EXE_opwatch")))
                .spawn()
                .unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(id % 7 * 13)).await;
    }
    eventually("all end", || {
        let subjects: std::collections::BTreeSet<_> =
            home.events().iter().map(|event| event["subject"].to_string()).collect();
        subjects.len() as u64 == TASKS
    })
    .await;
    stopped(daemon, &home).await;
    let ids: std::collections::BTreeSet<_> =
        home.events().iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len() as u64, TASKS, "one final event for each task, perhaps delivered twice");
    assert!(logged(&home, DONE) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn usr1_logs_the_status_and_usr2_and_an_ignored_hangup_change_nothing() {
    let (cloud, home) = with_running_tasks(1..4).await;
    let line = format!("trap '' HUP; exec {} run -c opwatch.toml 2>>log", env!("CARGO_BIN_EXE_opwatch"));
    let daemon = home.in_shell(&line).spawn().unwrap();
    eventually("it polls", || cloud.requests() > 0).await;
    for name in ["USR2", "XFSZ", "HUP"] {
        signal(&daemon, name);
    }
    signal(&daemon, "USR1");
    eventually("the status line", || logged(&home, "\"message\":\"status\"") == 1).await;
    let log = fs::read_to_string(home.path("log")).unwrap();
    let status = log.lines().find(|line| line.contains("\"message\":\"status\"")).unwrap();
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    assert_eq!((&status["open_tasks"], &status["finished"]), (&3.into(), &0.into()), "{status}");
    assert!(status["rate_allowed"].as_f64().unwrap() > 100.0 && status["next_poll"].is_string(), "{status}");
    assert_eq!(logged(&home, DONE), 0);
    stopped(daemon, &home).await;
}
