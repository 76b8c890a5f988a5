//! Tasks from standard input: lines of a task file and responses of the cloud, in any mixture.
//!
//! A line is a bare id, or a JSON object with the keys of `[[tasks]]`; blank lines and lines that begin with
//! `#` are skipped. A JSON document without `id` is a response of the cloud ([`responses`]); it may have
//! several lines. The options of the command are the defaults of every task.

use std::path::Path;

use serde_json::Value;

use super::lines::{Reported, parse_object};
use super::listed::Listed;
use super::{TaskEntry, WrittenId, json, responses};
use crate::problem::{Place, Problem};

/// The largest input of `wait`, in bytes: it bounds the memory of the command. Longer lists need a daemon.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;
/// A task that is not stored yet takes half a kilobyte.
pub const MOST_TASKS: usize = 100_000;

/// All tasks of the input, or all its errors; `defaults` are the options of the command.
pub fn read(input: &[u8], name: &Path, defaults: &TaskEntry) -> Result<Vec<Listed>, Vec<Problem>> {
    let place = |line| Place { file: Some(name.to_owned()), line, key: None };
    let one = |line, what: String| Err(vec![Problem::new(place(line), what)]);
    if input.len() > MOST_BYTES {
        return one(
            None,
            format!("is longer than {} MiB; write the tasks into task files of a daemon", MOST_BYTES >> 20),
        );
    }
    let text = match std::str::from_utf8(input) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = 1 + input[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            return one(
                Some(line),
                "is not UTF-8 text; write ids, a line each, or responses of the cloud".to_owned(),
            );
        }
    };
    let mut reported = Reported::default();
    let mut tasks = Vec::new();
    let mut reader = Reader { rest: text, line: 1 };
    while let Some((line, part)) = reader.next() {
        let place = place(Some(line));
        match part {
            Err(BrokenJson { line, what }) => {
                reported.add(Problem::new(Place { line: Some(line), ..place }, what))
            }
            Ok(part) => match written(&part, &place) {
                Ok(found) => tasks.extend(found.into_iter().map(|written| Listed {
                    written: written.or(defaults),
                    place: place.clone(),
                    lines: Vec::new(),
                })),
                Err(problems) => problems.into_iter().for_each(|problem| reported.add(problem)),
            },
        }
        if tasks.len() > MOST_TASKS {
            return one(
                None,
                format!("holds more than {MOST_TASKS} tasks; write them into task files of a daemon"),
            );
        }
    }
    let problems = reported.into_problems(Some(name));
    if !problems.is_empty() {
        return Err(problems);
    }
    if tasks.is_empty() {
        return one(
            None,
            "holds no task; write ids, a line each, or pipe in a response of the cloud".to_owned(),
        );
    }
    Ok(tasks)
}

/// The parts of the input, in order.
enum InputPart<'a> {
    Id(&'a str),
    Json(&'a str, Value),
}

/// Invalid JSON; the text after it is unreadable too.
struct BrokenJson {
    line: usize,
    what: String,
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// The next part, with its first line.
    fn next(&mut self) -> Option<(usize, Result<InputPart<'a>, BrokenJson>)> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if self.rest.is_empty() {
                return None;
            }
            let line = self.line;
            if !self.rest.starts_with(['#', '{', '[', '"']) {
                return Some((line, Ok(InputPart::Id(self.take_line()))));
            }
            if self.rest.starts_with('#') {
                self.take_line();
                continue;
            }
            let mut documents = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
            let document = documents.next()?;
            let end = documents.byte_offset();
            return Some((
                line,
                match document {
                    Ok(value) => Ok(InputPart::Json(self.take(end), value)),
                    Err(error) => {
                        self.rest = "";
                        Err(BrokenJson {
                            line: line + error.line().saturating_sub(1),
                            what: not_json(&error),
                        })
                    }
                },
            ));
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn take_line(&mut self) -> &'a str {
        self.take(self.rest.find('\n').unwrap_or(self.rest.len())).trim()
    }
}

fn written(part: &InputPart<'_>, place: &Place) -> Result<Vec<TaskEntry>, Vec<Problem>> {
    let of = |id| TaskEntry { id: Some(id), ..TaskEntry::default() };
    match part {
        InputPart::Id(text) => Ok(vec![of(WrittenId::Text((*text).to_owned()))]),
        // The form in which `jq` writes a text id.
        InputPart::Json(_, Value::String(text)) => Ok(vec![of(WrittenId::Text(text.clone()))]),
        InputPart::Json(text, value) if value.get("id").is_some() => {
            parse_object(text, place).map(|written| vec![written])
        }
        InputPart::Json(_, value) => match responses::ids(value) {
            Ok(ids) => Ok(ids.into_iter().map(of).collect()),
            Err(what) => Err(vec![Problem::new(place.clone(), what)]),
        },
    }
}

fn not_json(error: &serde_json::Error) -> String {
    format!("{}; write ids, a line each, or the unchanged response of the cloud", json::in_words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(input: &str, defaults: &TaskEntry) -> Result<Vec<TaskEntry>, String> {
        let listed = read(input.as_bytes(), Path::new("-"), defaults);
        listed
            .map(|listed| listed.into_iter().map(|listed| listed.written).collect())
            .map_err(|problems| crate::problem::lines(&problems))
    }

    fn ids(input: &str) -> Result<Vec<String>, String> {
        let text = |written: TaskEntry| match written.id {
            Some(WrittenId::Int(number)) => number.to_string(),
            Some(WrittenId::Text(text)) => text,
            None => "none".to_owned(),
        };
        Ok(read_with(input, &TaskEntry::default())?.into_iter().map(text).collect())
    }

    #[test]
    fn lines_of_a_task_file_and_responses_of_the_cloud_are_reported_apart() {
        for (input, expected) in [
            ("1\r\n# comment\n\n  2  \n3", vec!["1", "2", "3"]),
            ("\u{feff}1\n", vec!["1"]),
            ("{\"id\": 1, \"name\": \"a\"}\n2\n{\"id\": \"x\"}", vec!["1", "2", "x"]),
            ("{\n  \"code\": 0,\n  \"data\": {\n    \"taskId\": 5\n  }\n}\n", vec!["5"]),
            (
                "{\"data\":{\"taskId\":5}}{\"Response\":{\"TaskId\":6}}\n\n{\"FlowId\":\n7}\n8\n",
                vec!["5", "6", "7", "8"],
            ),
            ("[{\"taskId\":1},{\"taskId\":2}]", vec!["1", "2"]),
            ("\"abc-1\"\n\"abc-2\"\n", vec!["abc-1", "abc-2"]),
        ] {
            assert_eq!(ids(input), Ok(expected.into_iter().map(str::to_owned).collect()), "{input:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_reported_with_its_line() {
        for (input, expected) in [
            ("", "-: holds no task"),
            ("\n# nothing\n", "-: holds no task"),
            ("1\n{\"data\": {}}\n", "-:2: holds no task id"),
            ("1\n\n{\n\"data\": {\n", "-:5: at column 1, the object is not closed"),
            ("{\"id\": 1, \"nmae\": \"a\"}\n", "-:1: nmae: unknown key"),
            (
                "1\n{\"code\": 4100, \"message\": \"no\"}",
                "-:2: is an error of the cloud, without a task id: 4100",
            ),
        ] {
            let reported = ids(input).unwrap_err();
            assert!(reported.contains(expected), "{input:?}: {reported}");
        }
        let reported = read(b"1\n\xff", Path::new("-"), &TaskEntry::default()).unwrap_err();
        assert!(reported[0].to_string().starts_with("-:2: is not UTF-8"), "{reported:?}");
    }

    #[test]
    fn what_a_line_leaves_open_the_options_say() {
        let params = |value: &str| [("EnvId".to_owned(), value.to_owned())].into();
        let defaults = TaskEntry {
            region: Some("bj".into()),
            account: Some("ops".into()),
            params: params("1"),
            ..TaskEntry::default()
        };
        let read = read_with("1\n{\"id\": 2, \"region\": \"gz\", \"params\": {\"EnvId\": \"2\"}}", &defaults)
            .unwrap();
        let reported = |written: &TaskEntry| {
            (written.region.clone().unwrap(), written.account.clone().unwrap(), written.params.clone())
        };
        assert_eq!(reported(&read[0]), ("bj".to_owned(), "ops".to_owned(), params("1")));
        assert_eq!(reported(&read[1]), ("gz".to_owned(), "ops".to_owned(), params("2")));
    }

    #[test]
    fn more_than_a_command_s_list_is_refused() {
        let reported = ids(&"1\n".repeat(MOST_TASKS + 1)).unwrap_err();
        assert!(reported.contains("more than 100000 tasks"), "{reported}");
        assert!(ids(&" ".repeat(MOST_BYTES + 1)).unwrap_err().contains("longer than 16 MiB"));
    }
}
