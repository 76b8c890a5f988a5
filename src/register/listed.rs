//! All tasks of a configuration: its `[[tasks]]`, then its task files, each task once.
//!
//! A list is read twice: once to validate all of it before any change, and once to register it. Nothing is
//! kept in between, so a list uses memory only while it is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use super::TaskEntry;
use super::catalogue::Catalogue;
use super::lines::{Reported, read_task_file};
use crate::model::task::{NewTask, Settings};
use crate::problem::{Place, Problem};

/// An entry of `[[tasks]]`, with its place and the places of its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// As it was written.
    pub written: TaskEntry,
    /// Its own place; the key is `tasks`.
    pub place: Place,
    /// The lines of its keys.
    pub lines: Vec<(Box<str>, usize)>,
}

/// Passes each listed task on once, and returns their number, or all errors. A task that is listed again with
/// the same settings counts once.
pub fn listed(
    entries: &[Listed],
    files: &[PathBuf],
    catalogue: &Catalogue,
    mut each: impl FnMut(NewTask),
) -> Result<u64, Vec<Problem>> {
    let mut seen = SeenTasks::default();
    let mut count = 0;
    let mut reported = Reported::default();
    for entry in entries {
        match catalogue
            .resolve(entry.written.clone(), &entry.place)
            .and_then(|task| Ok(seen.is_new(&task, &entry.place)?.then_some(task)))
        {
            Ok(Some(task)) => {
                count += 1;
                each(task);
            }
            Ok(None) => {}
            Err(problem) => reported.add(entry.at_its_key(problem)),
        }
    }
    let mut problems = reported.into_problems(None);
    for file in files {
        problems.extend(read_task_file(file, catalogue, |task, place| {
            if seen.is_new(&task, place)? {
                count += 1;
                each(task);
            }
            Ok(())
        }));
    }
    if problems.is_empty() { Ok(count) } else { Err(problems) }
}

impl Listed {
    /// The same problem on the line of its key.
    fn at_its_key(&self, mut problem: Problem) -> Problem {
        let key = problem.place.key.as_deref().and_then(|key| key.rsplit('.').next()).unwrap_or_default();
        if let Some((_, line)) = self.lines.iter().find(|(name, _)| **name == *key) {
            problem.place.line = Some(*line);
        }
        problem
    }
}

/// The tasks so far, as hashes: 24 bytes each. Two of a million tasks share a hash of 64 bits once in some
/// ten million lists.
#[derive(Default)]
struct SeenTasks {
    tasks: HashMap<u64, First, BuildHasherDefault<AsIs>>,
    files: Vec<PathBuf>,
    hash: RandomState,
}

/// Where a task was listed first.
struct First {
    settings: u64,
    file: u32,
    line: u32,
}

impl SeenTasks {
    /// Whether this task was not listed before; other settings are a problem.
    fn is_new(&mut self, task: &NewTask, place: &Place) -> Result<bool, Problem> {
        let settings = self.settings_hash(&task.settings);
        let file = self.file_index(place);
        // The catalogue has one `Arc` for each target, so its address identifies the target and is hashed
        // faster than three names.
        let key = self.hash.hash_one((Arc::as_ptr(&task.target).addr(), &task.id));
        match self.tasks.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(First {
                    settings,
                    file,
                    line: place.line.and_then(|line| u32::try_from(line).ok()).unwrap_or(0),
                });
                Ok(true)
            }
            Entry::Occupied(occupied) if occupied.get().settings == settings => Ok(false),
            Entry::Occupied(occupied) => {
                let First { file, line, .. } = occupied.get();
                // A task without a line is an argument of a command.
                let first = match self.files.get(*file as usize) {
                    Some(file) if *line > 0 => format!("at {}:{line}", file.display()),
                    Some(_) | None => "elsewhere".to_owned(),
                };
                let what =
                    format!("task {} is listed {first} with other settings; keep one of the two", task.id);
                Err(Problem::new(place.clone(), what))
            }
        }
    }

    fn settings_hash(&self, settings: &Settings) -> u64 {
        /// The hash of a task without settings, the common case of a long list.
        const NONE: u64 = 0;
        if *settings == Settings::default() {
            return NONE;
        }
        self.hash.hash_one(settings)
    }

    /// Files are read one after another, so only the last one is compared.
    fn file_index(&mut self, place: &Place) -> u32 {
        if let Some(file) = &place.file
            && self.files.last().is_none_or(|last| last.as_os_str() != file.as_os_str())
        {
            self.files.push(file.clone());
        }
        u32::try_from(self.files.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

/// The keys of [`SeenTasks`] are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
