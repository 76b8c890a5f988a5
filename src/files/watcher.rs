//! The one watcher of files that are read again: secrets, certificates, templates.
//!
//! A plain thread checks every watched file about once a second and announces the owners of changed files. An
//! announcement has no content: its reader reads the files of that owner again, off its loop, and finds the
//! change. A list of owners is also announced at its first check, since a file may have changed between its
//! reading and its watch.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::{PATIENCE, spawn};

/// The time between two checks, and about the delay after a replaced secret.
const EVERY: Duration = Duration::from_secs(1);

/// The watcher. Its thread ends within a second after the last clone and the last [`Watched`] were dropped.
#[derive(Clone)]
pub struct Watcher(Arc<WatcherShared>);

/// The files of one reader, by owner (the name of an account or a sink). Dropping it ends their watch. The
/// default has no watcher, and announces on request only.
#[derive(Default)]
pub struct Watched {
    list: u64,
    announced: Arc<Notify>,
    shared: Arc<WatcherShared>,
}

#[derive(Default)]
struct WatcherShared {
    entries: Mutex<BTreeMap<OwnerKey, Entry>>,
    lists: AtomicU64,
}

/// An owner within a list.
type OwnerKey = (u64, String);

/// The reason for an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnnounceReason {
    /// On request of a reader, with or without a change.
    Requested,
    /// A file has changed, or was not checked before.
    Changed,
}

struct Entry {
    files: Arc<[PathBuf]>,
    /// The files at the last check; `None` before the first.
    seen: Option<Vec<FileState>>,
    /// The reason to announce the owner, if there is one.
    cause: Option<AnnounceReason>,
    announced: Arc<Notify>,
    /// The thread that hangs on one of these files, if it still exists.
    hangs: Weak<()>,
}

/// The properties that distinguish a file from its next version. A rename over it changes the inode, a link
/// to another target too.
type FileState = Result<FileIdentity, ErrorKind>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    /// `None` for a folder: its times and size change with every file in it.
    content: Option<ContentSeen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ContentSeen {
    modified: (i64, i64),
    changed: (i64, i64),
    size_bytes: u64,
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start() -> io::Result<Self> {
        Self::looking(EVERY, PATIENCE, look)
    }

    /// A list of files to watch, empty at first.
    pub fn list(&self) -> Watched {
        let list = self.0.lists.fetch_add(1, Ordering::Relaxed);
        Watched { list, announced: Arc::default(), shared: Arc::clone(&self.0) }
    }

    fn looking(
        every: Duration,
        patience: Duration,
        look: impl Fn(&PathBuf) -> FileState + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::<WatcherShared>::default();
        let watched = Arc::downgrade(&shared);
        spawn(move || {
            while let Some(shared) = watched.upgrade() {
                look_at_all(&shared, patience, &look);
                drop(shared);
                thread::sleep(every);
            }
        })?;
        Ok(Self(shared))
    }
}

impl Watched {
    /// Watches these files of an owner from now on, in place of its earlier ones; none ends its watch.
    pub fn set(&self, owner: &str, files: Vec<PathBuf>) {
        let key = (self.list, owner.to_owned());
        let mut entries = self.shared.entries();
        if files.is_empty() {
            entries.remove(&key);
            return;
        }
        let is_same = |entry: &Entry| *entry.files == *files;
        if !entries.get(&key).is_some_and(is_same) {
            let announced = Arc::clone(&self.announced);
            let files = files.into();
            entries.insert(key, Entry { files, seen: None, cause: None, announced, hangs: Weak::new() });
        }
    }

    /// Announces an owner in any case: after a refused probe its files are read again, changed or not. Files
    /// that hang are skipped.
    pub fn request(&self, owner: &str) {
        if let Some(entry) = self.shared.entries().get_mut(&(self.list, owner.to_owned()))
            && entry.hangs.strong_count() == 0
        {
            entry.announce(AnnounceReason::Requested);
        }
    }

    /// Waits for an announcement, and returns its owners. Cancel safe.
    pub async fn announced(&self) -> BTreeMap<String, AnnounceReason> {
        loop {
            // A permit between the check and the wait is kept.
            let owners = self.take();
            if !owners.is_empty() {
                return owners;
            }
            self.announced.notified().await;
        }
    }

    fn take(&self) -> BTreeMap<String, AnnounceReason> {
        let mut entries = self.shared.entries();
        let own = entries.range_mut((self.list, String::new())..(self.list + 1, String::new()));
        own.filter_map(|((_, owner), entry)| Some((owner.clone(), entry.cause.take()?))).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.entries().retain(|(list, _), _| *list != self.list);
    }
}

impl WatcherShared {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<OwnerKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the files of an owner with the last check, unless its list has changed.
    fn looked_at(&self, key: &OwnerKey, files: &Arc<[PathBuf]>, seen: Vec<FileState>) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.files, files)) else {
            return;
        };
        if entry.seen.as_ref() != Some(&seen) {
            entry.seen = Some(seen);
            entry.announce(AnnounceReason::Changed);
        }
    }
}

impl Entry {
    fn announce(&mut self, cause: AnnounceReason) {
        self.cause = self.cause.max(Some(cause));
        self.announced.notify_one();
    }
}

/// One check of every file. Files that hang delay it once, by `patience`; their owner is skipped until the
/// thread that checks them returns.
fn look_at_all(
    shared: &Arc<WatcherShared>,
    patience: Duration,
    look: &(impl Fn(&PathBuf) -> FileState + Clone + Send + 'static),
) {
    let mut to_look_at: VecDeque<(OwnerKey, Arc<[PathBuf]>)> = shared
        .entries()
        .iter()
        .filter(|(_, entry)| entry.hangs.strong_count() == 0)
        .map(|(key, entry)| (key.clone(), Arc::clone(&entry.files)))
        .collect();
    while !to_look_at.is_empty() {
        let (sender, seen) = sync_channel(0);
        let alive = Arc::new(());
        let hangs = Arc::downgrade(&alive);
        let look = look.clone();
        let files: Vec<_> = to_look_at.iter().map(|(_, files)| Arc::clone(files)).collect();
        let started = spawn(move || {
            for files in files {
                // The watcher stopped waiting for this thread when it hung.
                if sender.send(files.iter().map(&look).collect()).is_err() {
                    break;
                }
            }
            drop(alive);
        });
        if started.is_err() {
            // A later check may get a thread.
            return;
        }
        while let Some((key, files)) = to_look_at.pop_front() {
            match seen.recv_timeout(patience) {
                Ok(seen) => shared.looked_at(&key, &files, seen),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    shared.entries().entry(key).and_modify(|entry| entry.hangs = hangs);
                    break;
                }
            }
        }
    }
}

fn look(path: &PathBuf) -> FileState {
    let metadata = fs::metadata(path).map_err(|error| error.kind())?;
    let content = (!metadata.is_dir()).then(|| ContentSeen {
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        size_bytes: metadata.size(),
    });
    Ok(FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        content,
    })
}

#[cfg(test)]
mod tests;
