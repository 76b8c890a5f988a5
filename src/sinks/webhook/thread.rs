//! A thread and a runtime for the connections of one webhook.
//!
//! The HTTP library reads interim responses (1xx) as long as they arrive, many megabytes at once, and without
//! a bound. A receiver that floods them occupies this thread until the attempt times out. No other sink and
//! no poll waits for it.

use std::convert::Infallible;
use std::io;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use crate::threads;

/// The thread. It ends when this value is dropped.
pub struct WebhookThread {
    handle: Handle,
    _until: oneshot::Sender<Infallible>,
}

impl WebhookThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread or no descriptor left.
    pub fn start() -> io::Result<Self> {
        let (_until, dropped) = oneshot::channel();
        let (_, handle) = threads::spawn_with_runtime("webhook", move |runtime| {
            _ = runtime.block_on(dropped);
        })?;
        Ok(Self { handle, _until })
    }

    /// Runs the future on the thread; it is aborted when the returned future is dropped.
    ///
    /// # Errors
    /// When it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let mut only = JoinSet::new();
        only.spawn_on(work, &self.handle);
        match only.join_next().await {
            Some(ended) => ended,
            // One was spawned, and none was removed.
            None => std::future::pending().await,
        }
    }
}
