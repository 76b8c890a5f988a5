//! One run of a program in a process group of its own.
//!
//! Its input is fed, its output drained and its end waited for at the same time, so that neither a program
//! that reads nothing nor one that writes much can stop the other. Whenever the run is given up (it takes too
//! long, or its future is dropped, which is how the daemon stops), the whole group is killed. What the
//! program left behind in peace when it ended lives on, and is not waited for.

use std::future::pending;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::lines::line::{cut, escaped};
use crate::secret::hidden::Hidden;

/// The last output that is kept, and what of it may be told: enough for the message at the end of a stack
/// trace. The part between is searched for secrets that were cut.
const KEPT_BYTES: usize = 2 * TELLABLE_BYTES;
const TELLABLE_BYTES: usize = 4096;
/// How many lines of it are told, and how many bytes: a refusal stays one readable line.
const TOLD_LINES: usize = 3;
const TOLD_BYTES: usize = 1024;
/// What is read at once.
const BLOCK_BYTES: usize = 8192;
/// How much is read after the end: as much as the largest pipe may hold, since others may still be writing
/// into it.
const LEFT_BYTES: usize = 1 << 20;
/// How long a killed program may take to be gone. One that hangs in the kernel is left to be collected later.
const DYING: Duration = Duration::from_secs(1);
/// The first descriptor that a program is not given.
const FIRST_OTHER: i32 = 3;

/// How a run ended.
pub struct RunEnd {
    /// `None`: it took too long, and was killed.
    pub status: Option<ExitStatus>,
    /// The last lines of what it wrote, as one line without control characters and secrets.
    pub last_words: String,
}

/// Runs the command with this input, for so long at most.
///
/// # Errors
/// When it cannot be started.
pub async fn run(command: Command, input: Vec<u8>, limit: Duration, hidden: &Hidden) -> io::Result<RunEnd> {
    let mut running = None;
    let whole = async { running.insert(RunningProgram::start(command).await?).until_its_end(&input).await };
    let status = match timeout(limit, whole).await {
        Ok(status) => Some(status?),
        Err(_) => None,
    };
    let Some(mut running) = running else { return Ok(RunEnd { status, last_words: String::new() }) };
    if status.is_none() {
        running.group.kill();
        _ = timeout(DYING, running.group.0.wait()).await;
    }
    running.read_what_is_left();
    Ok(RunEnd { status, last_words: running.tail.last_words(hidden) })
}

/// A program that was started, and the reading end of its output and errors.
struct RunningProgram {
    group: ProcessGroup,
    output: pipe::Receiver,
    tail: Tail,
}

impl RunningProgram {
    /// On a thread of its own, since the program may lie on a disk that does not answer. If nobody waits for
    /// it any more, it is dropped there, and so killed.
    async fn start(mut command: Command) -> io::Result<Self> {
        let start = move || {
            // One pipe for both keeps their lines in order.
            let (reading, writing) = io::pipe()?;
            let output = pipe::Receiver::from_owned_fd(reading.into())?;
            command.stdin(Stdio::piped()).stdout(writing.try_clone()?).stderr(writing).process_group(0);
            // What this process was born with, or a library opened carelessly, is none of the program's. Anew
            // each time, since nothing tells of such a library.
            close_fds::set_fds_cloexec_threadsafe(FIRST_OTHER, &[]);
            let group = ProcessGroup(command.spawn()?);
            Ok(Self { group, output, tail: Tail::default() })
        };
        tokio::task::spawn_blocking(start).await.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }

    /// Until the program has ended, whatever became of its input and of those that still hold its output.
    async fn until_its_end(&mut self, input: &[u8]) -> io::Result<ExitStatus> {
        let stdin = self.group.0.stdin.take();
        let Self { group, output, tail } = self;
        let talking = async {
            tokio::join!(feed(stdin, input), tail.drain(output));
            pending().await
        };
        tokio::select! {
            status = group.0.wait() => status,
            never = talking => never,
        }
    }

    /// What was written before the end is in the pipe by now; no more than that is waited for.
    fn read_what_is_left(&mut self) {
        let mut block = [0; BLOCK_BYTES];
        for _ in 0..LEFT_BYTES / BLOCK_BYTES {
            match rustix::io::read(&self.output, &mut block) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.tail.keep(&block[..count]),
            }
        }
    }
}

/// The input, then its end. Whether the program reads it is its own affair.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        _ = stdin.write_all(input).await;
    }
}

/// A program with all that it starts in its process group. Dropped before its end is known, all of it is
/// killed.
struct ProcessGroup(Child);

impl ProcessGroup {
    /// The number of the group is the program's, and stays taken until its end is collected: nobody else can
    /// be hit.
    fn kill(&self) {
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It fails only where nothing is left to kill.
            _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of what a program wrote.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    async fn drain(&mut self, output: &mut pipe::Receiver) {
        let mut block = [0; BLOCK_BYTES];
        while let Ok(count @ 1..) = output.read(&mut block).await {
            self.keep(&block[..count]);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(KEPT_BYTES);
        self.0.drain(..surplus);
    }

    /// The last lines that say something, in one.
    fn last_words(&self, hidden: &Hidden) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let is_cut = self.0.len() >= KEPT_BYTES;
        let start = if is_cut { text.len().saturating_sub(TELLABLE_BYTES) } else { 0 };
        let text = hidden.hide_part(&text, start..text.len());
        let mut lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(TOLD_LINES).collect();
        lines.reverse();
        let words = lines.join(" | ");
        cut(&escaped(&words), TOLD_BYTES).into_owned()
    }
}
