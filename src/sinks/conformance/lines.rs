//! Where lines go: a file, a FIFO, standard error.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use super::{Counterpart, CounterpartBehaviour};
use crate::sinks::log::Log;
use crate::sinks::{Sink, file, samples};

/// A regular file in a folder that may be missing.
pub struct RegularFile(tempfile::TempDir);

impl RegularFile {
    fn path(&self) -> PathBuf {
        self.0.path().join("events/events.jsonl")
    }
}

impl Counterpart for RegularFile {
    const TYPE: &'static str = "file";

    async fn start() -> Self {
        let mut folder = Self(tempfile::tempdir().unwrap());
        folder.turn(CounterpartBehaviour::Taking).await;
        folder
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(file::File::new(&file::Config { path: self.path() }))
    }

    async fn turn(&mut self, mood: CounterpartBehaviour) -> bool {
        let folder = self.0.path().join("events");
        // A closed one is a file.
        let _ = fs::remove_file(&folder);
        match mood {
            CounterpartBehaviour::Taking => {
                fs::create_dir_all(folder).unwrap();
                true
            }
            CounterpartBehaviour::Down => {
                let _ = fs::remove_dir_all(folder);
                true
            }
            // Root ignores permissions, but a file in the place of the folder stops root too.
            CounterpartBehaviour::Closed => {
                let _ = fs::remove_dir_all(&folder);
                fs::write(folder, "").unwrap();
                true
            }
            CounterpartBehaviour::Dying
            | CounterpartBehaviour::Silent
            | CounterpartBehaviour::Slow
            | CounterpartBehaviour::Picky => false,
        }
    }

    async fn taken(&mut self) -> Vec<String> {
        fs::read_to_string(self.path()).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// Takes what is there of a pipe's lines, without waiting for more.
fn drain(read_end: &File, taken: &mut Vec<u8>) {
    rustix::io::ioctl_fionbio(read_end, true).unwrap();
    // Ends with `WouldBlock` while a writer is open.
    let _ = (&mut &*read_end).read_to_end(taken);
}

/// A FIFO with its reader.
pub struct Fifo {
    folder: tempfile::TempDir,
    reader: Option<File>,
    taken: Vec<u8>,
}

impl Fifo {
    fn path(&self) -> PathBuf {
        self.folder.path().join("events")
    }
}

impl Counterpart for Fifo {
    const TYPE: &'static str = "file";

    async fn start() -> Self {
        let mut fifo = Self { folder: tempfile::tempdir().unwrap(), reader: None, taken: Vec::new() };
        rustix::fs::mknodat(
            rustix::fs::CWD,
            fifo.path(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        fifo.turn(CounterpartBehaviour::Taking).await;
        fifo
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(file::File::new(&file::Config { path: self.path() }))
    }

    async fn turn(&mut self, mood: CounterpartBehaviour) -> bool {
        match mood {
            CounterpartBehaviour::Taking | CounterpartBehaviour::Silent => {
                use std::os::unix::fs::OpenOptionsExt;
                let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
                let open = || File::options().read(true).custom_flags(nonblocking).open(self.path()).unwrap();
                let reader = self.reader.is_none().then(open);
                self.reader = self.reader.take().or(reader);
                true
            }
            CounterpartBehaviour::Down | CounterpartBehaviour::Dying => {
                self.reader = None;
                true
            }
            CounterpartBehaviour::Slow | CounterpartBehaviour::Closed | CounterpartBehaviour::Picky => false,
        }
    }

    async fn taken(&mut self) -> Vec<String> {
        self.reader.iter().for_each(|reader| drain(reader, &mut self.taken));
        String::from_utf8(self.taken.clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

/// A pipe in place of standard error. Its lines have the form of the log, so tasks are recognised by their
/// names.
pub struct StandardError {
    reader: Option<File>,
    out: File,
    taken: Vec<u8>,
}

impl Counterpart for StandardError {
    const TYPE: &'static str = "log";

    async fn start() -> Self {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        Self { reader: Some(reader.into()), out: writer.into(), taken: Vec::new() }
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(Log::text(self.out.try_clone().unwrap()))
    }

    async fn turn(&mut self, mood: CounterpartBehaviour) -> bool {
        match mood {
            CounterpartBehaviour::Taking => self.reader.is_some(),
            CounterpartBehaviour::Silent => true,
            CounterpartBehaviour::Down => {
                self.reader = None;
                true
            }
            // A reader that is gone does not come back, and so it holds: a test of the log's own.
            CounterpartBehaviour::Dying
            | CounterpartBehaviour::Slow
            | CounterpartBehaviour::Closed
            | CounterpartBehaviour::Picky => false,
        }
    }

    async fn taken(&mut self) -> Vec<String> {
        self.reader.iter().for_each(|reader| drain(reader, &mut self.taken));
        let text = String::from_utf8(self.taken.clone()).unwrap();
        let name = |line: &str| {
            line.split("name=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_default()
                .to_owned()
        };
        let event = |line| samples::success(&name(line)).body;
        text.lines().map(event).collect()
    }
}
