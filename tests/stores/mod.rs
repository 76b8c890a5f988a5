//! Stores of earlier versions (README.md): the present program opens each, loses nothing, and continues.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use opwatch::model::records::Seq;
use opwatch::model::task::{Row, TaskId};
use opwatch::sim::{Scenario, SimResponse, Unlisted};
use opwatch::store;
use serde_json::Value;
use tokio::process::Child;

use crate::support::{Home, cloud, eventually, output_of, signal};

const FOLDER: &str = "tests/stores";

/// Every kept store, and the lines of its content when it was made.
pub fn kept() -> Vec<(PathBuf, BTreeSet<String>)> {
    let entries = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let stores: Vec<_> = entries.filter(|path| path.extension() == Some(OsStr::new("db"))).collect();
    assert!(!stores.is_empty());
    let lines = |path: &PathBuf| fs::read_to_string(path.with_extension("txt")).unwrap();
    let lines = |path: &PathBuf| lines(path).lines().map(str::to_owned).collect();
    stores.into_iter().map(|path| (path.clone(), lines(&path))).collect()
}

/// The lines of the present content of a store.
pub fn contents(store: &Path) -> BTreeSet<String> {
    let connection = rusqlite::Connection::open(store).unwrap();
    let mut select = connection.prepare(include_str!("contents.sql")).unwrap();
    select.query_map([], |record| record.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The rest of each line of that kind.
fn of_kind(lines: &BTreeSet<String>, kind: &str) -> BTreeSet<String> {
    lines.iter().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).map(str::to_owned).collect()
}

/// The number of lines of that kind for each last word, which is the sink.
fn per_sink(lines: &BTreeSet<String>, kind: &str) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for line in of_kind(lines, kind) {
        *counts.entry(line.rsplit(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn is_open(task: &str) -> bool {
    task.ends_with(" open") || task.ends_with(" never-polled")
}

/// Account, region, operation and id of a task's line.
fn key(task: &str) -> String {
    task.split(' ').take(4).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_store_of_an_earlier_version_opens_with_all_that_was_in_it() {
    for (kept, lines) in kept() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("opwatch.db");
        fs::copy(&kept, &copy).unwrap();
        let url = Some(format!("sqlite:{}", copy.display()));
        let store = store::open(&store::Config { url, ..store::Config::default() }).await.unwrap();
        let targets = store.targets().await.unwrap();
        let open = store.open_tasks(None, Row(0), 1000).await.unwrap().into_iter().map(|task| {
            let target = &targets[&task.target];
            let id = match task.id {
                TaskId::Int(id) => id.to_string(),
                TaskId::Text(id) => id.to_string(),
            };
            format!("{} {} {} {id}", target.account, target.region, target.operation)
        });
        let expected = of_kind(&lines, "task").into_iter().filter(|task| is_open(task));
        assert_eq!(open.collect::<BTreeSet<_>>(), expected.map(|task| key(&task)).collect());
        assert_eq!(store.outbox().await.unwrap(), per_sink(&lines, "delivery"));
        assert_eq!(store.dead_letters().await.unwrap(), per_sink(&lines, "dead-letter"));
        for sink in per_sink(&lines, "delivery").keys() {
            let undelivered = store.undelivered(sink, Seq(0), 1000).await.unwrap().into_iter();
            let ids: BTreeSet<_> = undelivered.map(|row| row.event.id.simple().to_string()).collect();
            let expected = of_kind(&lines, "delivery").into_iter();
            let expected =
                expected.filter_map(|line| Some(line.strip_suffix(&format!(" {sink}"))?.to_owned()));
            assert_eq!(ids, expected.collect(), "{sink}");
        }
        store.close().await;
        assert_eq!(contents(&copy), lines, "{}", kept.display());
    }
}

/// A home with that store and its configuration, and the present program started in it.
fn started(kept: &Path, home: &Home, endpoint: &str) -> Child {
    fs::copy(kept, home.path("opwatch.db")).unwrap();
    for name in ["opwatch.toml", "list.tasks"] {
        home.write(name, &fs::read_to_string(Path::new(FOLDER).join(name)).unwrap());
    }
    // The task was not polled so far: the next start plans it again.
    let list = fs::read_to_string(home.path("list.tasks")).unwrap();
    assert!(list.contains("\"1000d\""));
    home.write("list.tasks", &list.replace("\"1000d\"", "\"0s\""));
    fs::create_dir_all(home.path("later")).unwrap();
    let mut run = home.opwatch(&["run", "-c", "opwatch.toml"]);
    for account in ["DEFAULT", "OTHER"] {
        run.env(format!("OPWATCH__ACCOUNTS__{account}__ENDPOINT"), endpoint);
    }
    run.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_goes_on_with_a_store_of_an_earlier_version() {
    let cloud =
        cloud(Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() })
            .await;
    for (kept, before) in kept() {
        let home = Home::new(&cloud, "");
        let running = started(&kept, &home, &cloud.endpoint());
        // Deliveries to a sink that is not configured any more are kept, and no others are left at the end.
        let is_unconfigured = |line: &String| line.ends_with(" gone");
        let kept_deliveries = of_kind(&before, "delivery").into_iter().filter(is_unconfigured).collect();
        eventually("every task is finished, every group closed, every delivery acknowledged", || {
            let now = contents(&home.path("opwatch.db"));
            !of_kind(&now, "task").iter().any(|task| is_open(task))
                && of_kind(&now, "group").iter().all(|group| group.ends_with(" finished"))
                && of_kind(&now, "delivery") == kept_deliveries
        })
        .await;
        signal(&running, "TERM");
        let ended = output_of(running).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let after = contents(&home.path("opwatch.db"));

        let (old, new) = (of_kind(&before, "event"), of_kind(&after, "event"));
        assert!(old.is_subset(&new), "{:?}", old.difference(&new));
        assert_eq!(of_kind(&after, "dead-letter"), of_kind(&before, "dead-letter"));

        // Each open task has its one final event, and no other task has a second one.
        let task = |event: &Value| {
            let source = event["source"].as_str()?.strip_prefix("opwatch/")?;
            Some(format!("{source}/{}", event["subject"].as_str()?).replace('/', " "))
        };
        let is_final = |event: &Value| {
            ["opwatch.task.finished", "opwatch.task.abandoned"].contains(&event["type"].as_str().unwrap())
        };
        let mut finished: BTreeMap<String, u32> = BTreeMap::new();
        let events = events_of(&home, "later/events.jsonl");
        for event in events.iter().filter(|event| is_final(event)) {
            *finished.entry(task(event).unwrap()).or_default() += 1;
        }
        let tasks = of_kind(&before, "task");
        let expected = tasks.iter().filter(|task| is_open(task)).map(|task| (key(task), 1)).collect();
        let told_before: BTreeSet<_> =
            tasks.iter().filter(|task| !is_open(task)).map(|task| key(task)).collect();
        finished.retain(|task, count| !(told_before.contains(task) && *count == 1));
        assert_eq!(finished, expected);

        // Deliveries of before went out under their old ids.
        let delivered: BTreeSet<_> =
            events.iter().map(|event| event["id"].as_str().unwrap().replace('-', "")).collect();
        for line in of_kind(&before, "delivery").iter().filter(|line| line.ends_with(" later")) {
            assert!(delivered.contains(line.split(' ').next().unwrap()), "{line}");
        }
    }
}

fn events_of(home: &Home, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_version_is_refused_in_words_and_left_alone() {
    let cloud = cloud(Scenario::default()).await;
    for (kept, lines) in kept() {
        let home = Home::new(&cloud, "");
        let newer = home.path("newer.db");
        fs::copy(&kept, &newer).unwrap();
        rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let refused = output_of(started(&newer, &home, &cloud.endpoint())).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let what = refused.stderr.lines().find(|line| line.starts_with("opwatch: ")).unwrap();
        for part in [
            "opwatch.db was written by a later version of opwatch (schema 99; ",
            "; install that version again",
        ] {
            assert!(what.contains(part), "{what}");
        }
        assert_eq!(contents(&home.path("opwatch.db")), lines);
    }
}
