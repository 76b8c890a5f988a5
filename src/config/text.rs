//! The text of one configuration file, or the error.

use std::path::{Path, PathBuf};

use crate::files::{self, FileContent};
use crate::problem::{Place, Problem, is_utf_16};
use crate::secret::file::is_open_to_all;

/// A configuration file's text.
pub struct Text {
    /// The file.
    pub path: PathBuf,
    /// Its text, without a BOM.
    pub text: String,
    /// Whether everyone on the machine can read it.
    pub is_open_to_all: bool,
}

/// Twenty thousand tasks take two megabytes; a larger file is no configuration.
const LARGEST_BYTES: u64 = 64 << 20;

impl Text {
    /// Reads a file, or reports the reason for a failure.
    pub fn read(path: &Path, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut reported = |line, what: String| {
            problems.push(Problem::new(Place { file: Some(path.to_owned()), line, key: None }, what))
        };
        let (bytes, mode) = match files::read(path, LARGEST_BYTES) {
            Ok(FileContent { bytes, mode }) => (bytes, mode),
            Err(error) => {
                let what = match &error {
                    files::Error::TooLarge(_) => {
                        format!(
                            "is larger than {} MiB; put long lists into `task_files`",
                            LARGEST_BYTES >> 20
                        )
                    }
                    files::Error::System(_) if error.is_missing() => {
                        "there is no such file; write it, or name another one with -c".to_owned()
                    }
                    files::Error::NotRegular(_) | files::Error::TimedOut | files::Error::System(_) => {
                        format!("cannot be read ({error}); {}", error.fix())
                    }
                };
                reported(None, what);
                return None;
            }
        };
        let wrong_byte = match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.iter().position(|byte| *byte == 0),
            Err(error) => Some(error.valid_up_to()),
        };
        if let Some(position) = wrong_byte {
            let line = 1 + bytes[..position].iter().filter(|byte| **byte == b'\n').count();
            let what = if is_utf_16(&bytes) {
                "is UTF-16 text; save it as UTF-8"
            } else {
                "is not UTF-8 text; save it as UTF-8, or name a TOML file"
            };
            reported(Some(line), what.to_owned());
            return None;
        }
        let text = String::from_utf8(bytes).unwrap_or_default();
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Some(Self { path: path.to_owned(), text, is_open_to_all: is_open_to_all(mode) })
    }

    /// A place in this file.
    pub fn place(&self, line: Option<usize>) -> Place {
        Place { file: Some(self.path.clone()), line, key: None }
    }
}
