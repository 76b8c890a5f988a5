//! Threads, and runtimes on threads of their own. A shortage of the system is an error in words.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use rustix::io::Errno;
use tokio::runtime::{Builder, Handle, Runtime};

/// Starts a thread of that name.
///
/// # Errors
/// When the system has no thread left; the text says what to raise.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(in_words)
}

/// The error of a thread or a runtime that the system refuses, with the fix.
fn in_words(error: io::Error) -> io::Error {
    let fix = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => {
            "raise the limit of open files (LimitNOFILE= of the unit, `ulimit -n`)"
        }
        Some(_) | None => {
            "raise the limit of processes of this user or service (TasksMax= of the unit, `ulimit -u`)"
        }
    };
    io::Error::new(error.kind(), format!("cannot start a thread: {error}; {fix}"))
}

/// Starts a thread of that name with a runtime of its own, which ends with `work` and does not wait for what hangs. Returns
/// the thread, and the way to spawn onto its runtime.
///
/// # Errors
/// When the system has no thread or no descriptor left; the text says what to raise.
pub fn spawn_with_runtime(
    name: &str,
    work: impl FnOnce(&Runtime) + Send + 'static,
) -> io::Result<(JoinHandle<()>, Handle)> {
    let (ready, built) = sync_channel(1);
    // The runtime never leaves its thread: dropped within another runtime, it would panic.
    let thread = spawn(name, move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                // The caller waits for it.
                let _ = ready.send(Ok(runtime.handle().clone()));
                work(&runtime);
                runtime.shutdown_background();
            }
            Err(error) => {
                let _ = ready.send(Err(in_words(error)));
            }
        }
    })?;
    let handle = built.recv().map_err(io::Error::other)??;
    Ok((thread, handle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_begins_and_ends_while_another_one_runs() {
        let (thread, _) = spawn_with_runtime("test", |runtime| runtime.block_on(async {})).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn a_shortage_says_what_to_raise() {
        let text = |errno: Errno| in_words(errno.into()).to_string();
        assert!(text(Errno::AGAIN).contains("TasksMax") && text(Errno::MFILE).contains("LimitNOFILE"));
    }
}
