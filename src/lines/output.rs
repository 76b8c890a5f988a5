//! Whole lines to a descriptor that may be full, slow or closed: standard error, standard output, a FIFO.
//!
//! Nothing here blocks for longer than its caller allows. The descriptor may be in blocking mode, which is
//! shared with other processes and so cannot be changed: a pipe that poll(2) calls writable accepts
//! [`ATOMIC_BYTES`] at once. The rest of an incomplete line is written before anything else, so that no other
//! line is glued to it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// `PIPE_BUF`: a pipe accepts a write of this size as a whole or not at all, also from a process that is
/// killed meanwhile.
pub const ATOMIC_BYTES: usize = 4096;

/// A descriptor, and the rest of an incomplete line.
#[derive(Debug)]
pub struct LineOutput {
    out: Arc<File>,
    rest: Vec<u8>,
}

impl LineOutput {
    /// Lines to that descriptor, which is at the start of a line.
    pub fn new(out: File) -> Self {
        Self { out: Arc::new(out), rest: Vec::new() }
    }

    /// Whether the last line is incomplete, so that its rest is written first.
    pub fn is_within_a_line(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Writes as much of these whole lines as the descriptor accepts at once, and removes it from `lines`.
    /// After an error they start with a line without a written byte. After `WouldBlock`, wait until the
    /// descriptor is writable.
    pub fn write_ready(&mut self, lines: &mut &[u8]) -> io::Result<()> {
        loop {
            while !self.rest.is_empty() {
                let written = self.write_piece(&self.rest)?;
                self.rest.drain(..written);
            }
            if lines.is_empty() {
                return Ok(());
            }
            let written = self.write_piece(lines)?;
            let is_whole = lines[..written].ends_with(b"\n");
            let end = if is_whole { written } else { written + rest_of_line(&lines[written..]) };
            self.rest.extend_from_slice(&lines[written..end]);
            *lines = &lines[end..];
        }
    }

    /// One write of as many whole lines as a pipe accepts at once, or of the beginning of a longer line.
    fn write_piece(&self, bytes: &[u8]) -> io::Result<usize> {
        let most = &bytes[..bytes.len().min(ATOMIC_BYTES)];
        let piece = most.iter().rposition(|byte| *byte == b'\n').map_or(most, |last| &most[..=last]);
        if !is_writable(&self.out, Duration::ZERO)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match (&*self.out).write(piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// Writes these whole lines. Waits while the descriptor accepts nothing, for at most `patience` at a time;
/// then the error is `TimedOut`. Other writers may write between two lines.
pub fn write_waiting(shared: &Mutex<LineOutput>, mut lines: &[u8], patience: Duration) -> io::Result<()> {
    loop {
        let out = {
            let mut guard = lock(shared);
            match guard.write_ready(&mut lines) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Arc::clone(&guard.out),
                other => return other,
            }
        };
        if !is_writable(&out, patience)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Lines to standard error, shared by the whole process, so that no line is written into another.
pub fn standard_error() -> io::Result<Arc<Mutex<LineOutput>>> {
    static LINES: OnceLock<Arc<Mutex<LineOutput>>> = OnceLock::new();
    if let Some(lines) = LINES.get() {
        return Ok(Arc::clone(lines));
    }
    let own = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    Ok(Arc::clone(LINES.get_or_init(|| Arc::new(Mutex::new(LineOutput::new(own))))))
}

/// A panic in another writer leaves at worst an incomplete line; the lines stay usable.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a write would not block, after a wait of at most `patience`. True for a closed descriptor too: the
/// write returns the error.
fn is_writable(out: &File, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut descriptors = [PollFd::new(out, PollFlags::OUT)];
    let ready = retry_on_intr(|| poll(&mut descriptors, Some(&patience)))?;
    Ok(ready > 0)
}

/// The number of bytes up to the end of the first line, with its line end.
fn rest_of_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn pipe() -> (File, Mutex<LineOutput>) {
        let (read_end, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        (File::from(read_end), Mutex::new(LineOutput::new(File::from(write_end))))
    }

    fn lines_of(bytes: usize) -> Vec<u8> {
        let mut line = vec![b'x'; bytes - 1];
        line.push(b'\n');
        line
    }

    #[test]
    fn a_full_pipe_in_blocking_mode_is_an_error_after_the_patience_and_no_hang() {
        let (_read_end, lines) = pipe();
        let error = write_waiting(&lines, &lines_of(1000).repeat(200), SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_line_that_was_begun_is_finished_before_the_next_one() {
        let (mut read_end, lines) = pipe();
        assert!(write_waiting(&lines, &lines_of(100_000), SHORT).is_err());
        let mut seen = vec![0; 65_536];
        read_end.read_exact(&mut seen).unwrap();
        write_waiting(&lines, b"next\n", SHORT).unwrap();
        drop(lines);
        read_end.read_to_end(&mut seen).unwrap();
        assert!(seen == [&lines_of(100_000)[..], b"next\n"].concat(), "{} bytes", seen.len());
    }

    #[test]
    fn lines_after_a_slow_reader_come_once_each_and_whole() {
        let (mut read_end, lines) = pipe();
        let wanted: Vec<u8> =
            (0..50_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
        let reader = std::thread::spawn(move || {
            let mut seen = Vec::new();
            read_end.read_to_end(&mut seen).unwrap();
            seen
        });
        write_waiting(&lines, &wanted, Duration::from_secs(10)).unwrap();
        drop(lines);
        assert!(reader.join().unwrap() == wanted);
    }

    #[test]
    fn a_closed_pipe_is_reported_as_such() {
        let (read_end, lines) = pipe();
        drop(read_end);
        // A process that another test starts holds a copy of the read end between its fork and its exec.
        let error =
            std::iter::repeat_with(|| write_waiting(&lines, b"line\n", SHORT)).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
