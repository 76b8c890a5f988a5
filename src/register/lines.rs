//! Task files: a bare id or a JSON object with the keys of `[[tasks]]` per line, streamed.
//!
//! Blank lines and lines that begin with `#` are skipped. Line ends of Windows are accepted, and variables
//! are not replaced. A million bare ids take a fraction of a second, so a file can be read twice.

use std::io::{self, BufRead, ErrorKind, Read};
use std::path::Path;

use super::catalogue::Catalogue;
use super::{KEYS, TaskEntry, WrittenId, json, responses};
use crate::files::Stream;
use crate::model::task::NewTask;
use crate::problem::{Place, Problem, is_utf_16};
use crate::section::{self, dotted};

/// A longer line is no task: the file is of another kind.
const LONGEST_LINE_BYTES: usize = 64 * 1024;
/// More errors are only counted: the rest is reported at the next try.
pub(super) const MOST_REPORTED: usize = 20;
/// The largest task file: millions of tasks with all their keys. A file that grows as fast as it is read ends
/// here.
const LARGEST_BYTES: u64 = 4 << 30;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Errors, of which the first few are reported and the rest counted.
#[derive(Default)]
pub(super) struct Reported {
    problems: Vec<Problem>,
    more: usize,
}

impl Reported {
    pub(super) fn add(&mut self, problem: Problem) {
        if self.problems.len() < MOST_REPORTED {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// The reported errors; the counted ones are one more problem of that file.
    pub(super) fn into_problems(mut self, file: Option<&Path>) -> Vec<Problem> {
        if self.more > 0 {
            let place = Place { file: file.map(Path::to_owned), ..Place::default() };
            self.problems.push(Problem::new(place, format!("{} further errors of this kind", self.more)));
        }
        self.problems
    }
}

/// Reads a task file and passes each task on, with its place; a refusal of `each` is a problem of that line.
pub fn read_task_file(
    path: &Path,
    catalogue: &Catalogue,
    mut each: impl FnMut(NewTask, &Place) -> Result<(), Problem>,
) -> Vec<Problem> {
    let mut reported = Reported::default();
    let mut place = Place { file: Some(path.to_owned()), ..Place::default() };
    let reader = match Stream::open(path, LARGEST_BYTES) {
        Ok(reader) => reader,
        Err(error) => {
            let what = format!("cannot read this task file ({error}); {}", error.fix());
            return vec![Problem::new(place, what)];
        }
    };
    let mut lines = LineReader { reader, line: Vec::new(), number: 0 };
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => {
                place.line = None;
                reported.add(Problem::new(
                    place,
                    format!("cannot read this task file ({error}); name a UTF-8 text file in `task_files`"),
                ));
                break;
            }
        };
        place.line = Some(line.number);
        match parse(&line, catalogue, &place) {
            Ok(Some(task)) => {
                if let Err(problem) = each(task, &place) {
                    reported.add(problem);
                }
            }
            Ok(None) => {}
            Err(problems) => problems.into_iter().for_each(|problem| reported.add(problem)),
        }
    }
    reported.into_problems(Some(path))
}

/// One line without its end.
struct InputLine<'a> {
    number: usize,
    text: &'a [u8],
    too_long: bool,
}

struct LineReader<R> {
    reader: R,
    line: Vec<u8>,
    number: usize,
}

impl<R: BufRead> LineReader<R> {
    fn next(&mut self) -> io::Result<Option<InputLine<'_>>> {
        self.line.clear();
        let bound = LONGEST_LINE_BYTES as u64 + 1;
        if self.reader.by_ref().take(bound).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let too_long = self.line.len() > LONGEST_LINE_BYTES && self.line.last() != Some(&b'\n');
        if too_long {
            self.reader.skip_until(b'\n')?;
        }
        let text =
            if self.number == 1 { self.line.strip_prefix(BOM).unwrap_or(&self.line) } else { &self.line };
        if self.number == 1 && is_utf_16(text) {
            return Err(io::Error::new(ErrorKind::InvalidData, "the text is UTF-16, and must be UTF-8"));
        }
        Ok(Some(InputLine { number: self.number, text: text.trim_ascii(), too_long }))
    }
}

/// Reads a line: a task, nothing, or an error.
fn parse(
    line: &InputLine<'_>,
    catalogue: &Catalogue,
    place: &Place,
) -> Result<Option<NewTask>, Vec<Problem>> {
    let one = |what: String| vec![Problem::new(place.clone(), what)];
    if line.too_long {
        return Err(one(format!(
            "is longer than {} KiB; write one task per line",
            LONGEST_LINE_BYTES / 1024
        )));
    }
    match line.text.first() {
        None | Some(b'#') => return Ok(None),
        Some(_) => {}
    }
    let Ok(text) = std::str::from_utf8(line.text) else {
        return Err(one("is not UTF-8 text; write an id or a JSON object per line".to_owned()));
    };
    if text.starts_with('{') {
        let written = parse_object(text, place)?;
        catalogue.resolve(written, place).map(Some).map_err(|problem| vec![problem])
    } else {
        catalogue.bare(text, place).map(Some).map_err(|problem| vec![problem])
    }
}

pub(super) fn parse_object(text: &str, place: &Place) -> Result<TaskEntry, Vec<Problem>> {
    let mut clean = true;
    let mut reader = serde_json::Deserializer::from_str(text);
    let direct = serde_ignored::deserialize(&mut reader, |_| clean = false)
        .and_then(|written| reader.end().map(|()| written));
    let error = match direct {
        Ok(written) if clean => return Ok(written),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    // The line has an error, so there is time to find all its errors.
    let table =
        serde_json::from_str(text).map_err(|error| vec![Problem::new(place.clone(), not_json(&error))])?;
    if let Some(ids) = ids_of_response(text) {
        let what =
            format!("is a response of the cloud; write the task id alone, on a line of its own: {ids}");
        return Err(vec![Problem::new(place.clone(), what)]);
    }
    let (_, faults) = section::read::<TaskEntry>(table, &KEYS);
    let mut problems: Vec<Problem> = faults
        .into_iter()
        .map(|fault| Problem::new(Place { key: Some(dotted(&fault.path)), ..place.clone() }, fault.what))
        .collect();
    if problems.is_empty() {
        // Only errors that a tree cannot show, such as a repeated key.
        problems.extend(error.map(|error| Problem::new(place.clone(), not_json(&error))));
    }
    Err(problems)
}

/// The task ids of a line that is a response of the cloud, and no task.
fn ids_of_response(text: &str) -> Option<String> {
    let response: serde_json::Value = serde_json::from_str(text).ok()?;
    let has = |key: &str| response.get(key).is_some();
    let is_response = has("Response") || has("code") || has("data");
    let ids = responses::ids(&response).ok().filter(|_| is_response && !has("id"))?;
    let text = |id: &WrittenId| match id {
        WrittenId::Int(id) => id.to_string(),
        WrittenId::Text(id) => id.clone(),
    };
    Some(ids.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn not_json(error: &serde_json::Error) -> String {
    format!(
        "{}; write a task on one line, such as {{\"id\": 1000800001, \"name\": \"rack 7\"}}",
        json::in_words(error)
    )
}
