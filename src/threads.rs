//! Threads, and runtimes on threads of their own. A shortage of the system is an error in words.

use std::future::Future;
use std::io;
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
pub fn in_words(error: io::Error) -> io::Error {
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

/// A runtime for one thread. Dropped anywhere, it ends without waiting for work that hangs.
pub struct ThreadRuntime(Option<Runtime>);

impl ThreadRuntime {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no descriptor left; the text says what to raise.
    pub fn new() -> io::Result<Self> {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(in_words)
    }

    /// The way to spawn onto it; `None` is never returned before its end.
    pub fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Runs the future on this thread. `None` is never returned before its end.
    pub fn block_on<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.as_ref().map(|runtime| runtime.block_on(future))
    }
}

impl Drop for ThreadRuntime {
    fn drop(&mut self) {
        // A runtime may not be dropped where another one runs, such as after a refused thread.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_is_dropped_within_another_one() {
        let runtime = ThreadRuntime::new().unwrap();
        drop(move || runtime.block_on(async {}));
    }

    #[test]
    fn a_shortage_says_what_to_raise() {
        let text = |errno: Errno| in_words(errno.into()).to_string();
        assert!(text(Errno::AGAIN).contains("TasksMax") && text(Errno::MFILE).contains("LimitNOFILE"));
    }
}
