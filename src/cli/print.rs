//! The one way to standard output and standard error. `println!` panics on a closed pipe; this ends the command silently.

use std::io::Write;

use super::Failure;

/// A line on standard output.
///
/// # Errors
/// When the reader is gone: the command is to end silently.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|_| Failure::Closed)
}

/// A whole document on standard output, as it is.
///
/// # Errors
/// When the reader is gone: the command is to end silently.
pub fn document(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|_| Failure::Closed)
}

/// An error on standard error, each of its lines as `opwatch: what, where, what to do`. A closed one is nobody's trouble.
pub fn error(text: &str) {
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(stderr, "opwatch: {line}");
    }
}
