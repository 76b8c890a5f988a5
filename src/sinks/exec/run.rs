//! One run of a program in a process group of its own.
//!
//! Input, output and end are handled at the same time, so that a program that reads nothing or writes much
//! does not block. When a run is cancelled (time limit, or a stop of the daemon), the whole process group is
//! killed. Children that outlive a program that ended by itself are not killed and not awaited.

use std::future::pending;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::files::descriptors;
use crate::lines::line::{cut, escaped};
use crate::secret::hidden::Hidden;

/// The bytes of output that are kept, of which the last [`REPORTABLE_BYTES`] are reported: enough for the
/// message at the end of a stack trace. The rest is searched for secrets that were cut.
const KEPT_BYTES: usize = 2 * REPORTABLE_BYTES;
const REPORTABLE_BYTES: usize = 4096;
/// The last lines that are reported, and their bytes: a refusal stays one readable line.
const REPORTED_LINES: usize = 3;
const REPORTED_BYTES: usize = 1024;
/// Bytes of one read.
const BLOCK_BYTES: usize = 8192;
/// Bytes that are read after the end: the size of the largest pipe, since other processes may still write
/// into it.
const LEFT_BYTES: usize = 1 << 20;
/// The time for a killed program to end. A program that hangs in the kernel is collected later.
const DYING: Duration = Duration::from_secs(1);
/// The first descriptor that is closed for a program.
const FIRST_OTHER: i32 = 3;

/// The end of a run.
pub struct RunEnd {
    /// `None`: the program timed out, and was killed.
    pub status: Option<ExitStatus>,
    /// The last lines of its output, as one line without control characters and secrets.
    pub last_output: String,
}

/// Runs the command with this input, for at most `limit`.
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
    let Some(mut running) = running else { return Ok(RunEnd { status, last_output: String::new() }) };
    if status.is_none() {
        running.group.kill();
        _ = timeout(DYING, running.group.0.wait()).await;
    }
    running.read_what_is_left();
    Ok(RunEnd { status, last_output: running.tail.last_output(hidden) })
}

/// A program that was started, and the reading end of its output and errors.
struct RunningProgram {
    group: ProcessGroup,
    output: pipe::Receiver,
    tail: Tail,
}

impl RunningProgram {
    /// On a plain thread, since the program may be on a disk that hangs. If the caller is gone, the program
    /// is dropped there, and so killed.
    async fn start(mut command: Command) -> io::Result<Self> {
        let start = move || {
            // One pipe for both keeps their lines in order.
            let (reading, writing) = io::pipe()?;
            let output = pipe::Receiver::from_owned_fd(reading.into())?;
            command.stdin(Stdio::piped()).stdout(writing.try_clone()?).stderr(writing).process_group(0);
            // Inherited descriptors, and descriptors that a library opened without `O_CLOEXEC`, are closed
            // for the program. This is repeated for each run, since a library may open one at any time.
            close_fds::set_fds_cloexec_threadsafe(FIRST_OTHER, &[]);
            let group = ProcessGroup(command.spawn()?);
            if let Some(pid) = group.pid() {
                descriptors::restore(pid);
            }
            Ok(Self { group, output, tail: Tail::default() })
        };
        tokio::task::spawn_blocking(start).await.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }

    /// Until the program has ended, even if its input failed or other processes hold its output.
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

    /// Output from before the end is in the pipe by now. Later output is not awaited.
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

/// Writes the input and closes it. The program may ignore it.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        _ = stdin.write_all(input).await;
    }
}

/// A program with all processes of its group. Dropped before its end is known, all of them are killed.
struct ProcessGroup(Child);

impl ProcessGroup {
    fn pid(&self) -> Option<Pid> {
        self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()))
    }

    /// The number of the group is that of the program, and stays reserved until its end is collected: no
    /// other process is hit.
    fn kill(&self) {
        if let Some(pid) = self.pid() {
            // An error means that no process is left.
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

    /// The last lines that are not empty, as one line.
    fn last_output(&self, hidden: &Hidden) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let is_cut = self.0.len() >= KEPT_BYTES;
        let start = if is_cut { text.len().saturating_sub(REPORTABLE_BYTES) } else { 0 };
        let text = hidden.hide_part(&text, start..text.len());
        let mut lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(REPORTED_LINES).collect();
        lines.reverse();
        let words = lines.join(" | ");
        cut(&escaped(&words), REPORTED_BYTES).into_owned()
    }
}
