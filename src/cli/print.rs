//! The one way to standard output and standard error. `println!` panics on a closed pipe; this ends the
//! command silently.

use std::io::{ErrorKind, Write};

use textwrap::{Options, WordSplitter};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::CommandFailure;
use crate::lines::line::escaped;

/// The default width of a terminal. Reports are never wider: narrow columns are easier to read.
pub const COLUMNS: usize = 80;

/// Text in lines of at most 80 columns, without control characters; the first begins with `first`, the others
/// with `rest`.
pub fn wrapped(text: &str, first: &str, rest: &str) -> String {
    // A path that is broken at a hyphen cannot be copied.
    let form = Options::new(COLUMNS).initial_indent(first).subsequent_indent(rest).break_words(false);
    textwrap::fill(&escaped(text), form.word_splitter(WordSplitter::NoHyphenation))
}

/// The first `columns` columns of a text; an ellipsis marks a cut.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut width = 0;
    let fits = |letter: &char| {
        width += letter.width().unwrap_or_default();
        width < columns
    };
    let kept: String = text.chars().take_while(fits).collect();
    if columns == 0 { kept } else { format!("{kept}…") }
}

/// A line on standard output.
///
/// # Errors
/// As of [`document`].
pub fn line(text: &str) -> Result<(), CommandFailure> {
    document(format!("{text}\n").as_bytes())
}

/// A whole document on standard output, unchanged.
///
/// # Errors
/// If the reader is gone: the command ends silently. If the write fails for another reason, such as a full disk: the
/// command reports it.
pub fn document(bytes: &[u8]) -> Result<(), CommandFailure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| {
        match error.kind() == ErrorKind::BrokenPipe {
            true => CommandFailure::Closed,
            false => CommandFailure::Output(error),
        }
    })
}

/// An error on standard error, each line as `opwatch: error, place, fix`. A closed standard error is ignored.
pub fn error(text: &str) {
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(stderr, "opwatch: {line}");
    }
}
