//! Detects that the files of the database were removed, moved or replaced while they are open.
//!
//! SQLite continues with the open files, and the next start opens others: everything written in between would
//! be lost. The comparison uses `stat`: opening and closing a file would drop SQLite's locks on it.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::location::beside;

/// The files of an open database, each with its device and inode. Its default has no files.
#[derive(Debug, Default)]
pub struct Files(Vec<(PathBuf, DeviceAndInode)>);

/// Device and inode.
type DeviceAndInode = (u64, u64);

impl Files {
    /// The present files of that database: itself, its write-ahead log, and the index of the log.
    pub fn of(database: &Path) -> io::Result<Self> {
        // SQLite has the log beside the target of a symbolic link.
        let resolved = database.canonicalize()?;
        let paths = [database.to_owned(), beside(&resolved, "-wal"), beside(&resolved, "-shm")];
        let with_identity = |path: PathBuf| identity(&path).map(|identity| (path, identity));
        paths.into_iter().map(with_identity).collect::<io::Result<_>>().map(Self)
    }

    /// The kind of change of one of the files, in words: replaced, removed or moved. `None`: no change is visible.
    pub fn change(&self) -> Option<&'static str> {
        self.0.iter().find_map(|(path, before)| match identity(path) {
            Ok(now) if now == *before => None,
            Ok(_) => Some("was replaced"),
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
                Some("was removed or moved")
            }
            // A file that cannot be checked may still be the same.
            Err(_) => None,
        })
    }
}

fn identity(path: &Path) -> io::Result<DeviceAndInode> {
    path.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}
