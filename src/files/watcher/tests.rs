use std::fs::{File, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use super::*;

const SOON: Duration = Duration::from_millis(1);
const OWNER: &str = "default";

fn watcher() -> Watcher {
    Watcher::looking(SOON, PATIENCE, look).unwrap()
}

/// Waits for the next announcement; one that never comes fails the test.
async fn announced(watched: &Watched) -> BTreeMap<String, AnnounceReason> {
    tokio::time::timeout(Duration::from_secs(30), watched.announced()).await.expect("an announcement")
}

fn changed(owner: &str) -> BTreeMap<String, AnnounceReason> {
    [(owner.to_owned(), AnnounceReason::Changed)].into()
}

async fn nothing_is_announced(watched: &Watched) {
    let some_looks = tokio::time::timeout(SOON * 50, watched.announced());
    assert_eq!(some_looks.await.ok(), None);
}

fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

fn same_mtime(path: &Path) {
    let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

#[tokio::test]
async fn every_kind_of_change_is_announced_once_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (file, other, link) = (path("file"), path("other"), path("link"));
    write(&file, "one");
    write(&other, "two");
    same_mtime(&file);
    symlink(&file, &link).unwrap();
    let watcher = watcher();
    let watched = watcher.list();
    watched.set(OWNER, vec![link.clone()]);
    assert_eq!(announced(&watched).await, changed(OWNER), "the first look");
    nothing_is_announced(&watched).await;

    type Change<'a> = (&'static str, Box<dyn Fn() + 'a>);
    let changes: Vec<Change<'_>> = vec![
        (
            "a rename over it, of the same size and mtime",
            Box::new(|| {
                fs::write(path("new"), "uno").unwrap();
                same_mtime(&path("new"));
                fs::rename(path("new"), &file).unwrap();
            }),
        ),
        (
            "written in place, of the same size, and its mtime put back",
            Box::new(|| {
                fs::write(&file, "due").unwrap();
                same_mtime(&file);
            }),
        ),
        ("another mode", Box::new(|| fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap())),
        (
            "another target of the link",
            Box::new(|| {
                symlink(&other, path("new")).unwrap();
                fs::rename(path("new"), &link).unwrap();
            }),
        ),
        ("gone", Box::new(|| fs::remove_file(&other).unwrap())),
        ("back", Box::new(|| write(&other, "two"))),
    ];
    for (what, change) in changes {
        change();
        assert_eq!(announced(&watched).await, changed(OWNER), "{what}");
        // A change of several steps may be announced more than once.
        while tokio::time::timeout(SOON * 50, watched.announced()).await.is_ok() {}
    }
}

#[tokio::test]
async fn an_owner_is_announced_to_its_own_reader_alone_and_its_files_are_replaced_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let watcher = watcher();
    let (accounts, sinks) = (watcher.list(), watcher.list());
    accounts.set("a", vec![path("a")]);
    accounts.set("b", vec![path("b"), path("c")]);
    sinks.set("a", vec![path("s")]);
    assert_eq!(announced(&sinks).await, changed("a"));
    let mut first = BTreeMap::new();
    while first.len() < 2 {
        first.extend(announced(&accounts).await);
    }

    write(&path("c"), "x");
    assert_eq!(announced(&accounts).await, changed("b"));
    accounts.set("b", vec![path("d")]);
    assert_eq!(announced(&accounts).await, changed("b"), "its first look");
    write(&path("c"), "y");
    nothing_is_announced(&accounts).await;
    accounts.set("b", Vec::new());
    write(&path("d"), "y");
    nothing_is_announced(&accounts).await;
    nothing_is_announced(&sinks).await;
}

#[tokio::test]
async fn a_folder_changes_when_it_comes_or_becomes_usable_and_not_with_each_file_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    let watcher = watcher();
    let watched = watcher.list();
    watched.set(OWNER, vec![inner.clone()]);
    announced(&watched).await;
    fs::create_dir(&inner).unwrap();
    announced(&watched).await;
    fs::write(inner.join("file"), "x").unwrap();
    nothing_is_announced(&watched).await;
    fs::set_permissions(&inner, PermissionsExt::from_mode(0o700)).unwrap();
    announced(&watched).await;
}

#[tokio::test]
async fn an_owner_is_announced_on_request_if_it_has_files() {
    let watcher = watcher();
    let watched = watcher.list();
    watched.set(OWNER, vec![PathBuf::from("/no/such/file")]);
    announced(&watched).await;
    watched.request("another");
    nothing_is_announced(&watched).await;
    watched.request(OWNER);
    assert_eq!(announced(&watched).await, [(OWNER.to_owned(), AnnounceReason::Requested)].into());
}

#[tokio::test]
async fn a_file_that_hangs_keeps_no_other_from_being_watched_and_is_watched_again_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (dead, alive) = (folder.path().join("dead"), folder.path().join("live"));
    let is_dead = Arc::new(AtomicBool::new(true));
    let mount = Arc::clone(&is_dead);
    let looks = move |path: &PathBuf| {
        while path.ends_with("dead") && mount.load(Ordering::Relaxed) {
            thread::sleep(SOON);
        }
        look(path)
    };
    let watcher = Watcher::looking(SOON, SOON * 20, looks).unwrap();
    let watched = watcher.list();
    watched.set("dead", vec![dead.clone()]);
    watched.set("live", vec![alive.clone()]);
    assert_eq!(announced(&watched).await, changed("live"));
    write(&alive, "x");
    assert_eq!(announced(&watched).await, changed("live"));
    is_dead.store(false, Ordering::Relaxed);
    assert_eq!(announced(&watched).await, changed("dead"));
}
