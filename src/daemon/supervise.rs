//! Supervision of the running daemon: it starts the loops, waits for the first end, and drains.
//!
//! Deliveries run on a thread and a runtime of their own: no receiver can delay the polling loop.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::systemd::{self, NotifyState};
use super::until_done::UntilDone;
use super::{Daemon, Ended, Error, per_sink};
use crate::deliver::Deliver;
use crate::store;

/// The longest drain: attempts in flight after it are repeated by the next start.
pub const DRAIN: Duration = Duration::from_secs(4);
/// The longest close of the store: drain and close together take at most 5 s.
const CLOSING: Duration = Duration::from_millis(700);

impl Daemon {
    /// Runs until the stop, or until all work is done if that was requested; then drains for at most 5 s.
    ///
    /// # Errors
    /// When the store fails, or no thread can be started.
    pub async fn run(self) -> Result<Ended, Error> {
        let Self { options, store, watch, lanes, groups, retention, refresh, status, sinks_status } = self;
        let stop = options.stop;
        let lanes_stop = CancellationToken::new();
        let done = UntilDone {
            store: Arc::clone(&store),
            sinks: lanes.iter().map(|lane| lane.name.clone()).collect(),
            status: status.clone(),
            sinks_status: sinks_status.clone(),
            outbox: groups.outbox.subscribe(),
            patience: options.until_done.unwrap_or_default(),
            clock: options.clock,
        };
        let mut delivery = Delivery::start(lanes, lanes_stop.clone()).map_err(Error::Thread)?;
        let mut watching = JoinSet::new();
        watching.spawn(watch.run(stop.clone()));
        let mut others = JoinSet::new();
        others.spawn(groups.run(lanes_stop.clone()));
        others.spawn(retention.run(lanes_stop.clone()));
        others.spawn(refresh.run(lanes_stop.clone()));
        let notify = |state| options.notifies_systemd.then(|| systemd::notify(state));
        notify(NotifyState::Ready);
        tracing::info!(open_tasks = status.borrow().open, "watching");
        // The first loop that ends has failed, unless a stop came first.
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(Vec::new()),
            Some(ended) = watching.join_next() => flatten(ended).map(|()| Vec::new()),
            ended = first_failure(&mut others) => ended.map(|()| Vec::new()),
            ended = delivery.ended() => ended.map(|()| Vec::new()),
            left = done.wait(), if options.until_done.is_some() => left,
            error = store.failed() => Err(error),
        };
        notify(NotifyState::Stopping);
        stop.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            if ended.is_err() {
                // Without a store nothing may be delivered, and nothing can be kept.
                delivery.abort.cancel();
                return delivery.ended().await;
            }
            let watched = all(&mut watching).await;
            lanes_stop.cancel();
            let other = all(&mut others).await;
            let delivered = delivery.ended().await;
            watched.and(other).and(delivered)
        });
        let drained = drained.await.unwrap_or_else(|_| {
            tracing::warn!("the stop took too long; attempts in flight are repeated at the next start");
            Ok(())
        });
        watching.shutdown().await;
        others.shutdown().await;
        delivery.abort.cancel();
        let closed = async {
            let outbox = store.outbox().await.ok();
            store.close().await;
            outbox
        };
        let outbox = tokio::time::timeout(CLOSING, closed).await.unwrap_or_else(|_| {
            tracing::warn!("the store could not be closed in time; committed data is safe");
            None
        });
        let owed_deliveries: Option<u64> = outbox.as_ref().map(|outbox| outbox.values().sum());
        let sinks = outbox.filter(|outbox| !outbox.is_empty()).map(|outbox| per_sink(&outbox));
        tracing::info!(open_tasks = status.borrow().open, owed_deliveries, sinks, "stopped");
        let dead_letters = sinks_status.borrow().values().map(|status| status.dead_letters).sum();
        Ok(drained.and(ended).map(|on_hold| Ended { on_hold, dead_letters })?)
    }
}

/// The delivery loops, on their thread.
struct Delivery {
    /// `None` once the result was taken.
    thread: Option<JoinHandle<()>>,
    result: oneshot::Receiver<Result<(), store::Error>>,
    abort: CancellationToken,
}

impl Delivery {
    fn start(lanes: Vec<Deliver>, stop: CancellationToken) -> io::Result<Self> {
        let abort = CancellationToken::new();
        let aborted = abort.clone();
        let (sender, result) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("deliver".to_owned()).spawn(move || {
            let result = runtime.block_on(async {
                let mut running = JoinSet::new();
                lanes.into_iter().for_each(|lane| _ = running.spawn(lane.run(stop.clone())));
                tokio::select! {
                    result = until_failure(&mut running) => result,
                    () = aborted.cancelled() => Ok(()),
                }
            });
            // A sink with a hanging file system does not delay a stop.
            runtime.shutdown_background();
            let _ = sender.send(result);
        })?;
        Ok(Self { thread: Some(thread), result, abort })
    }

    /// Waits for the end of all lanes, or for the first failure; a panic continues here.
    async fn ended(&mut self) -> Result<(), store::Error> {
        if self.thread.is_none() {
            return Ok(());
        }
        let result = (&mut self.result).await;
        let thread = self.thread.take();
        match (result, thread.map(JoinHandle::join)) {
            (_, Some(Err(panic))) => std::panic::resume_unwind(panic),
            (Ok(result), _) => result,
            (Err(_), _) => Err(store::Error::Closed),
        }
    }
}

/// Waits until one of them fails; an end without failure changes nothing.
async fn first_failure(tasks: &mut JoinSet<Result<(), store::Error>>) -> Result<(), store::Error> {
    until_failure(tasks).await?;
    std::future::pending().await
}

/// Waits until one of them fails, or all have ended.
async fn until_failure(tasks: &mut JoinSet<Result<(), store::Error>>) -> Result<(), store::Error> {
    while let Some(ended) = tasks.join_next().await {
        flatten(ended)?;
    }
    Ok(())
}

/// Waits for all of them. Returns the first failure.
pub async fn all(tasks: &mut JoinSet<Result<(), store::Error>>) -> Result<(), store::Error> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(flatten(ended));
    }
    result
}

/// A panic continues in its owner.
fn flatten(ended: Result<Result<(), store::Error>, JoinError>) -> Result<(), store::Error> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(store::Error::Closed),
    }
}
