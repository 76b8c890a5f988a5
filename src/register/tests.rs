//! Task files and lists, as they come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::catalogue::Catalogue;
use super::lines::read_task_file;
use super::listed::{Listed, listed};
use super::{TaskEntry, WrittenId};
use crate::cloud::operations::Operations;
use crate::model::task::{NewTask, TaskId};
use crate::problem::Place;

fn catalogue() -> Catalogue {
    let accounts = [("default".to_owned(), Some("bj".to_owned())), ("other".to_owned(), None)];
    Catalogue::new(accounts, Operations::built_in(), ["log".to_owned(), "audit".to_owned(), "ops".to_owned()])
}

fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tasks");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn tasks(path: &Path) -> (Vec<NewTask>, Vec<String>) {
    let mut tasks = Vec::new();
    let problems = read_task_file(path, &catalogue(), |task, _| {
        tasks.push(task);
        Ok(())
    });
    (tasks, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_line_is_an_id_an_object_a_comment_or_blank_with_any_line_end_and_a_bom() {
    let (_folder, path) = file(
        "\u{feff}1\r\n\r\n# 2\r\n  # 3\n\t00004 \r\n{\"id\": 18446744073709551615, \"name\": \"${N}\"}\n{\"id\":\"6\",\"region\":\"gz\",\"account\":\"other\",\"sinks\":[\"ops\",\"audit\",\"ops\"]}",
    );
    let (tasks, problems) = tasks(&path);
    assert_eq!(problems, [""; 0]);
    assert_eq!(
        tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>(),
        [1, 4, u64::MAX, 6].map(TaskId::Int)
    );
    assert_eq!(tasks[2].settings.name.as_deref(), Some("${N}"));
    assert_eq!((tasks[3].target.region.as_str(), tasks[3].target.account.as_str()), ("gz", "other"));
    assert_eq!(tasks[3].settings.sinks.as_deref(), Some(&["audit".to_owned(), "ops".to_owned()][..]));
    assert!(std::sync::Arc::ptr_eq(&tasks[0].target, &tasks[2].target));
}

#[test]
fn a_line_without_end_is_one_problem_and_the_next_line_is_read() {
    let (_folder, path) = file(format!("1\n{}\n2\n\u{1}\n", "9".repeat(200_000)).into_bytes());
    let (tasks, problems) = tasks(&path);
    assert_eq!(tasks.len(), 2);
    assert!(problems[0].contains("a.tasks:2: is longer than 64 KiB"), "{problems:?}");
    assert!(problems[1].contains("a.tasks:4: id: "), "{problems:?}");
}

#[test]
fn a_file_of_another_kind_is_reported_in_twenty_lines_and_a_count() {
    let (_folder, path) = file(b"\xfe\xfd\n".repeat(1000));
    let (_, problems) = tasks(&path);
    assert_eq!(problems.len(), 21);
    assert!(
        problems[0].contains("not UTF-8") && problems[20].ends_with("980 further errors of this kind"),
        "{problems:?}"
    );
}

#[test]
fn a_list_of_utf_16_is_reported_in_one_line() {
    let (_folder, path) = file(b"\xff\xfe1\0\r\0\n\x002\0");
    let (tasks, problems) = tasks(&path);
    assert!(
        tasks.is_empty() && problems.len() == 1 && problems[0].contains("UTF-16, and must be UTF-8"),
        "{problems:?}"
    );
}

#[test]
fn the_same_task_with_the_same_settings_counts_once_wherever_it_is_listed() {
    let (_folder, path) = file(
        "1\n{\"id\":2,\"labels\":{\"b\":\"2\",\"a\":\"1\"}}\n{\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"id\":\"2\"}\n{\"id\":1,\"region\":\"gz\"}\n",
    );
    let written = TaskEntry { id: Some(WrittenId::Text("01".into())), ..TaskEntry::default() };
    let entry =
        Listed { written, place: Place { key: Some("tasks".into()), ..Place::default() }, lines: Vec::new() };
    let mut seen = 0;
    assert_eq!(listed(&[entry], &[path.clone(), path], &catalogue(), |_| seen += 1), Ok(3));
    assert_eq!(seen, 3);
}

#[test]
fn what_is_copied_into_events_and_requests_is_bounded() {
    let long = "x".repeat(2000);
    let many: BTreeMap<String, String> = (0..100).map(|number| (number.to_string(), String::new())).collect();
    let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let id = Some(WrittenId::Int(1));
    for (written, key) in [
        (TaskEntry { name: Some(long.clone()), ..TaskEntry::default() }, "name"),
        (TaskEntry { name: Some("a\nb".into()), ..TaskEntry::default() }, "name"),
        (TaskEntry { labels: one("a", &long), ..TaskEntry::default() }, "labels"),
        (TaskEntry { labels: one("", "a"), ..TaskEntry::default() }, "labels"),
        (TaskEntry { labels: many.clone(), ..TaskEntry::default() }, "labels"),
        (TaskEntry { params: one("a", &long), ..TaskEntry::default() }, "params"),
        (TaskEntry { params: one("taskId", "2"), ..TaskEntry::default() }, "params"),
        (TaskEntry { region: Some("b j".into()), ..TaskEntry::default() }, "region"),
        (TaskEntry { account: Some("other".into()), ..TaskEntry::default() }, "region"),
    ] {
        let problem =
            catalogue().resolve(TaskEntry { id: id.clone(), ..written }, &Place::default()).unwrap_err();
        assert_eq!(problem.place.key.as_deref(), Some(key), "{problem}");
    }
}
