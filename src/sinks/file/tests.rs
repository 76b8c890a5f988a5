use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use super::*;
use crate::model::delivery::RefusalClass;
use crate::sinks::samples::{self, once_its_reader_is_gone};

fn to(path: &Path) -> File {
    File::new(&Config { path: path.to_owned() })
}

fn lines(events: &[Event]) -> String {
    events.iter().map(|event| format!("{}\n", event.body)).collect()
}

fn folder_and_path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    (folder, path)
}

async fn refused(path: &Path) -> Refusal {
    to(path).send(&samples::successes(1)).await.unwrap_err()
}

#[tokio::test]
async fn each_event_is_one_line_as_it_was_stored_behind_what_is_there() {
    let (_folder, path) = folder_and_path();
    let sink = to(&path);
    sink.send(&samples::successes(2)).await.unwrap();
    sink.send(&samples::successes(1)).await.unwrap();
    to(&path).send(&samples::successes(1)).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(&samples::successes(4)));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o137, 0);
}

#[tokio::test]
async fn a_torn_last_line_is_removed_before_the_next_event() {
    for torn in ["", "{", "{\"specver", "{\"specversion\":\"1.0\",\"id\":\"4"] {
        for whole in ["", "{\"a\":1}\n", "not ours\n"] {
            let (_folder, path) = folder_and_path();
            fs::write(&path, format!("{whole}{torn}")).unwrap();
            to(&path).send(&samples::successes(1)).await.unwrap();
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                format!("{whole}{}", lines(&samples::successes(1)))
            );
        }
    }
}

#[tokio::test]
async fn a_line_that_another_process_is_just_writing_is_not_taken_for_a_torn_one() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, "{\"specversion\":").unwrap();
    let other = fs::File::options().append(true).open(&path).unwrap();
    other.lock().unwrap();
    let refusal = refused(&path).await;
    assert!(
        refusal.class == RefusalClass::Passing && refusal.what.contains("another program keeps it locked"),
        "{refusal}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"specversion\":");
    (&other).write_all(b"1}\n").unwrap();
    other.unlock().unwrap();
    let sink = to(&path);
    sink.send(&samples::successes(1)).await.unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{{\"specversion\":1}}\n{}", lines(&samples::successes(1)))
    );
    other.lock().unwrap();
    assert_eq!(sink.send(&samples::successes(1)).await.unwrap_err().class, RefusalClass::Passing);
    other.unlock().unwrap();
    sink.send(&samples::successes(1)).await.unwrap();
}

#[tokio::test]
async fn a_foreign_half_line_is_kept_and_holds_the_sink_until_it_is_complete() {
    for foreign in ["root:x:0:0", "first\nlast", "{\"a\":1}", "{\"specversions\":1}", "x"] {
        let (_folder, path) = folder_and_path();
        fs::write(&path, foreign).unwrap();
        let sink = to(&path);
        let refusal = sink.send(&samples::successes(1)).await.unwrap_err();
        assert!(
            refusal.class == RefusalClass::Sink
                && refusal.what.ends_with("complete that line, or name another path"),
            "{refusal}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
        fs::write(&path, format!("{foreign}\n")).unwrap();
        sink.send(&samples::successes(1)).await.unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{foreign}\n{}", lines(&samples::successes(1)))
        );
    }
}

#[tokio::test]
async fn a_torn_line_longer_than_a_block_is_found_and_one_longer_than_any_event_is_left_alone() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, format!("first\n{{\"specversion\"{}", "x".repeat(200_000))).unwrap();
    to(&path).send(&[]).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");

    fs::write(&path, "x".repeat(9 << 20)).unwrap();
    let refusal = refused(&path).await;
    assert_eq!(refusal.class, RefusalClass::Sink, "{refusal}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 9 << 20);
}

/// A change of the file by another program between two of our appends.
enum Between {
    /// Text behind our lines.
    Appended(&'static str),
    /// The file ends there.
    Cut(u64),
    /// Another file with that text has its place.
    Replaced(&'static str),
}

/// Makes the change, and returns the text that the file has then.
fn change(path: &Path, between: &Between) -> String {
    match between {
        Between::Appended(text) => {
            fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap()
        }
        Between::Cut(length) => fs::File::options().write(true).open(path).unwrap().set_len(*length).unwrap(),
        Between::Replaced(text) => {
            fs::write(path.with_extension("new"), text).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }
    }
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn whatever_another_program_does_between_two_appends_the_next_event_is_a_line_of_its_own() {
    for between in [
        Between::Appended("theirs\n"),
        Between::Appended("\n\n"),
        Between::Cut(0),
        Between::Replaced(""),
        Between::Replaced("theirs\n"),
    ] {
        let (_folder, path) = folder_and_path();
        let sink = to(&path);
        sink.send(&samples::successes(1)).await.unwrap();
        let changed = change(&path, &between);
        sink.send(&samples::successes(2)).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), changed + &lines(&samples::successes(2)));
    }
}

#[tokio::test]
async fn a_half_line_of_another_program_holds_the_sink_until_it_is_ended_and_swallows_no_event() {
    for between in [
        Between::Appended("half"),
        Between::Appended("theirs\nhalf"),
        Between::Appended(" "),
        Between::Appended("{\"time\":1"),
        // Too short for an event, and this process left no torn line.
        Between::Appended("{"),
        Between::Appended("{\"specversion"),
        Between::Replaced("half"),
    ] {
        let (_folder, path) = folder_and_path();
        let sink = to(&path);
        sink.send(&samples::successes(1)).await.unwrap();
        let changed = change(&path, &between);
        for _ in 0..2 {
            let refusal = sink.send(&samples::successes(1)).await.unwrap_err();
            assert_eq!(refusal.class, RefusalClass::Sink, "{refusal}");
            assert!(refusal.what.ends_with("complete that line, or name another path"), "{refusal}");
            assert_eq!(fs::read_to_string(&path).unwrap(), changed);
        }
        let ended = change(&path, &Between::Appended(" and its end\n"));
        sink.send(&samples::successes(1)).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), ended + &lines(&samples::successes(1)));
    }
}

#[tokio::test]
async fn a_torn_event_of_another_process_is_removed_before_each_append() {
    let mut event = samples::success("");
    event.body = r#"{"specversion":"1.0","id":"1"}"#.to_owned();
    let whole = lines(std::slice::from_ref(&event));
    for between in [
        Between::Appended("{\"specversion\""),
        Between::Appended("{\"specversion\":\"1.0\",\"id\":\"4"),
        Between::Cut(whole.len() as u64 * 2 - 1),
        Between::Cut(whole.len() as u64 + 20),
        Between::Cut(14),
        Between::Replaced("theirs\n{\"specversion\":"),
    ] {
        let (_folder, path) = folder_and_path();
        let sink = to(&path);
        sink.send(&[event.clone(), event.clone()]).await.unwrap();
        let changed = change(&path, &between);
        let kept = &changed[..changed.rfind('\n').map_or(0, |end| end + 1)];
        sink.send(std::slice::from_ref(&event)).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{kept}{whole}"));
    }
}

#[tokio::test]
async fn an_event_that_a_writer_without_its_turn_glued_to_its_own_line_is_not_acknowledged() {
    const EVENTS: usize = 200;
    let (_folder, path) = folder_and_path();
    let sink = to(&path);
    sink.send(&[]).await.unwrap();
    let is_done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let path = path.clone();
        let is_done = Arc::clone(&is_done);
        move || {
            let mut file = fs::File::options().append(true).open(path).unwrap();
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"half").unwrap();
                file.write_all(b"\n").unwrap();
            }
        }
    });
    for number in 0..EVENTS {
        let event = samples::success(&format!("task {number}"));
        while sink.send(std::slice::from_ref(&event)).await.is_err() {}
    }
    is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    let written = fs::read_to_string(&path).unwrap();
    let found: std::collections::HashSet<&str> = written.lines().collect();
    for number in 0..EVENTS {
        assert!(found.contains(samples::success(&format!("task {number}")).body.as_str()), "task {number}");
    }
}

#[tokio::test]
async fn what_would_command_a_terminal_or_hide_text_is_written_as_an_escape_of_the_same_value() {
    const HOSTILE: &str = "\u{7f}\u{9b}2J\u{202e}\u{2066}\u{61c}\u{ad}\u{e0041}\u{2028}机";
    let (_folder, path) = folder_and_path();
    let event = samples::success(HOSTILE);
    to(&path).send(std::slice::from_ref(&event)).await.unwrap();
    let written = fs::read_to_string(&path).unwrap();
    let is_printable =
        |character: char| character.is_ascii_graphic() || matches!(character, ' ' | '\n' | '机');
    assert!(written.chars().all(is_printable), "{written:?}");
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&written), value(&event.body));
}

#[tokio::test]
async fn a_file_that_rotation_moved_or_deleted_is_created_again() {
    let (folder, path) = folder_and_path();
    let sink = to(&path);
    sink.send(&samples::successes(1)).await.unwrap();
    let moved = folder.path().join("events.jsonl.1");
    fs::rename(&path, &moved).unwrap();
    sink.send(&samples::successes(2)).await.unwrap();
    fs::remove_file(&path).unwrap();
    sink.send(&samples::successes(3)).await.unwrap();
    assert_eq!(fs::read_to_string(&moved).unwrap(), lines(&samples::successes(1)));
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(&samples::successes(3)));
}

#[tokio::test]
async fn what_a_link_leads_to_is_written() {
    let (folder, path) = folder_and_path();
    symlink(folder.path().join("target"), &path).unwrap();
    to(&path).send(&samples::successes(1)).await.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("target")).unwrap(), lines(&samples::successes(1)));
}

#[test]
fn paths_that_lead_to_one_file_resolve_alike_also_before_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("logs")).unwrap();
    symlink("logs", at("linked")).unwrap();
    symlink("logs/events", at("link")).unwrap();
    let resolved = |name: &str| Config { path: at(name) }.resolved();
    for _ in ["before it is there", "and after"] {
        for same in ["logs/events", "linked/events", "link", "logs/../logs/events"] {
            assert_eq!(resolved(same), resolved("logs/events"), "{same}");
        }
        assert_ne!(resolved("events"), resolved("logs/events"));
        fs::write(at("link"), "").unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_passes_and_says_where() {
    let refusal = refused(Path::new("/dev/full")).await;
    assert_eq!(
        (refusal.class, refusal.what.as_str()),
        (RefusalClass::Passing, "cannot write /dev/full: no space is left; free some space there")
    );
}

#[tokio::test]
async fn a_missing_folder_holds_the_sink_until_it_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/events.jsonl");
    let sink = to(&path);
    let refusal = sink.send(&samples::successes(1)).await.unwrap_err();
    assert_eq!(refusal.class, RefusalClass::Sink);
    assert!(refusal.what.contains("events.jsonl: its folder does not exist; create it"), "{refusal}");
    fs::create_dir(path.parent().unwrap()).unwrap();
    sink.send(&samples::successes(1)).await.unwrap();
}

#[tokio::test]
async fn a_folder_in_place_of_a_file_holds_the_sink() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = refused(folder.path()).await;
    assert_eq!(refusal.class, RefusalClass::Sink);
    assert!(refusal.what.contains("it is a folder"), "{refusal}");
    let (_folder, path) = folder_and_path();
    fs::write(&path, "").unwrap();
    assert_eq!(refused(&path.join("below")).await.class, RefusalClass::Sink);
}

#[test]
fn a_denied_permission_holds_the_sink() {
    let trouble = Trouble { doing: Doing::Opening, error: ErrorKind::PermissionDenied.into() };
    let refusal = trouble.refusal(Path::new("/x"));
    assert_eq!(refusal.class, RefusalClass::Sink);
    assert!(refusal.what.starts_with("cannot open /x: permission denied; "), "{refusal}");
}

#[test]
fn after_a_failed_sync_the_lines_are_taken_back_and_the_file_is_opened_again() {
    let (_folder, path) = folder_and_path();
    let file = Regular::at(&path).unwrap();
    file.append(b"first\n", &path, fs::File::sync_data).unwrap();
    let (trouble, is_usable) =
        file.append(b"second\n", &path, |_| Err(io::Error::other("input/output error"))).unwrap_err();
    assert_eq!((is_usable, trouble.refusal(&path).class), (false, RefusalClass::Passing));
    assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
}

/// Under a limit of file sizes a write is short first and fails then, as on a full disk. The limit is set by
/// the shell, for a process of its own: this test again.
#[test]
fn a_short_write_is_taken_back_and_the_next_attempt_begins_a_line() {
    const CHILD: &str = "OPWATCH_TEST_SHORT_WRITE";
    if let Ok(path) = std::env::var(CHILD) {
        return short_write(Path::new(&path));
    }
    let (_folder, path) = folder_and_path();
    let name = "sinks::file::tests::a_short_write_is_taken_back_and_the_next_attempt_begins_a_line";
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 8; exec "$0" --exact "$1" --test-threads 1"#])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(CHILD, &path)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(fs::read_to_string(&path).unwrap(), lines(&samples::successes(2)));
}

#[tokio::main(flavor = "current_thread")]
async fn short_write(path: &Path) {
    let sink = to(path);
    sink.send(&samples::successes(1)).await.unwrap();
    let refusal = sink.send(&samples::successes(BATCH)).await.unwrap_err();
    assert!(
        refusal.class == RefusalClass::Passing && refusal.what.contains("the largest allowed size"),
        "{refusal}"
    );
    assert_eq!(fs::read_to_string(path).unwrap(), lines(&samples::successes(1)));
    sink.send(&samples::successes(1)).await.unwrap();
}

#[tokio::test]
async fn a_fifo_waits_for_a_reader_and_is_never_cut() {
    let (_folder, path) = folder_and_path();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let sink = to(&path);
    let refusal = sink.send(&samples::successes(1)).await.unwrap_err();
    assert!(
        refusal.class == RefusalClass::Passing
            && refusal.what.ends_with("no program reads it; start a reader"),
        "{refusal}"
    );

    let reader = std::thread::spawn({
        let path = path.clone();
        move || fs::read_to_string(path).unwrap()
    });
    // The reader is there once opening succeeds; until then each attempt is refused without writing.
    while sink.send(&samples::successes(BATCH)).await.is_err() {}
    drop(sink);
    assert_eq!(reader.join().unwrap(), lines(&samples::successes(BATCH)));
}

#[tokio::test]
async fn a_reader_that_leaves_a_fifo_passes() {
    let (_folder, path) = folder_and_path();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = std::thread::spawn({
        let path = path.clone();
        move || fs::File::open(path).unwrap()
    });
    let sink = to(&path);
    while sink.send(&[]).await.is_err() {}
    drop(reader.join().unwrap());
    let refusal = once_its_reader_is_gone(async || sink.send(&samples::successes(1)).await).await;
    assert!(
        refusal.class == RefusalClass::Passing && refusal.what.contains("its reader has ended"),
        "{refusal}"
    );
}

#[test]
fn a_closed_standard_output_holds_the_sink() {
    let trouble = Trouble { doing: Doing::Writing, error: ErrorKind::BrokenPipe.into() };
    let refusal = trouble.refusal(Path::new("-"));
    assert_eq!(refusal.class, RefusalClass::Sink);
    assert!(refusal.what.starts_with("cannot write standard output: it is closed"), "{refusal}");
}

#[tokio::test]
async fn the_mode_of_a_file_that_is_there_stays() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    to(&path).send(&samples::successes(1)).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
}

#[tokio::test]
async fn reach_reports_the_destination_without_creating_it() {
    let (folder, path) = folder_and_path();
    let link = folder.path().join("link");
    symlink("missing/events.jsonl", &link).unwrap();
    let reach = async |path: &Path| to(path).reach().await.map_err(|refusal| (refusal.class, refusal.what));
    assert_eq!(reach(&path).await, Ok(Some("the file can be created")));
    for (wrong, words) in [
        (folder.path().join("missing/events.jsonl"), "its folder does not exist"),
        (link, "its folder does not exist"),
        (folder.path().to_owned(), "it is a folder"),
    ] {
        let (class, what) = reach(&wrong).await.unwrap_err();
        assert!(class == RefusalClass::Sink && what.contains(words), "{what}");
    }
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    assert_eq!(reach(&path).await, Ok(Some("the file can be written")));
    let (class, what) = reach(&path.join("below")).await.unwrap_err();
    assert!(class == RefusalClass::Sink && what.contains("a part of the path is not a folder"), "{what}");
}
