//! Supervision of the running daemon: it starts the loops, waits for the first end, and drains.
//!
//! Deliveries run on a thread and a runtime of their own: no receiver can delay the polling loop.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::reload::{Control, LaneChanges, PersonRequest};
use super::systemd::{self, NotifyState};
use super::until_done::UntilDone;
use super::{Daemon, Ended, Error, per_sink, report, ways_of};
use crate::api::Interface;
use crate::api::server::HttpServer;
use crate::deliver::Deliver;
use crate::live::command::Action;
use crate::problem::{chain, lines};
use crate::store;
use crate::threads;

/// The longest drain: attempts in flight after it are repeated by the next start.
pub const DRAIN: Duration = Duration::from_secs(4);
/// The longest close of the store: drain and close together take at most 5 s.
const CLOSING: Duration = Duration::from_millis(700);
/// The time between two status lines.
const REPORTS_EVERY: Duration = Duration::from_secs(600);

impl Daemon {
    /// Runs until the stop, or until all work is done if that was requested; then drains for at most 5 s.
    ///
    /// # Errors
    /// When the store fails, or no thread can be started.
    pub async fn run(self) -> Result<Ended, Error> {
        let Self {
            options,
            store,
            watch,
            lanes,
            groups,
            retention,
            refresh,
            mut reloader,
            to_watch,
            to_lanes,
            mut reloads,
            pulse,
            http,
            status,
            sinks_status,
        } = self;
        let stop = options.stop;
        let clock = options.clock;
        let lanes_stop = CancellationToken::new();
        let done = UntilDone {
            store: Arc::clone(&store),
            live: reloader.live.subscribe(),
            status: status.clone(),
            sinks_status: sinks_status.clone(),
            outbox: groups.outbox.subscribe(),
            patience: options.until_done.unwrap_or_default(),
            clock,
        };
        let mut done = std::pin::pin!(done.wait());
        let mut delivery = Delivery::start(lanes, lanes_stop.clone()).map_err(Error::Thread)?;
        let mut watching = JoinSet::new();
        watching.spawn(watch.run(stop.child_token()));
        let mut others = JoinSet::new();
        others.spawn(groups.run(lanes_stop.clone()));
        others.spawn(retention.run(lanes_stop.clone()));
        let reloading = Arc::clone(&pulse.reloading);
        others.spawn(pulse.run(stop.clone()));
        let mut ways = refresh.sinks.clone();
        let mut refresh_stop = lanes_stop.child_token();
        let mut refreshing = JoinSet::new();
        refreshing.spawn(refresh.run(refresh_stop.clone()));
        let serving = match http {
            Some((server, interface)) => Some(Serving::start(server, interface, stop.clone())?),
            None => None,
        };
        let notify = |states: &[NotifyState<'_>]| {
            if options.notifies_systemd {
                systemd::notify(states);
            }
        };
        notify(&[NotifyState::Ready]);
        tracing::info!(open_tasks = status.borrow().open, "watching");
        let (mut requests, load) = match options.control {
            Some(Control { requests, load }) => (Some(requests), Some(load)),
            None => (None, None),
        };
        let mut report_at = clock.now().steady + REPORTS_EVERY;
        let ended = loop {
            // The first loop that ends has failed, unless a stop came first.
            let (request, requested) = tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(Vec::new()),
                Some(ended) = watching.join_next() => break flatten(ended).map(|()| Vec::new()),
                ended = first_failure(&mut others) => break ended.map(|()| Vec::new()),
                ended = delivery.ended() => break ended.map(|()| Vec::new()),
                left = &mut done, if options.until_done.is_some() => break left,
                error = store.failed() => break Err(error),
                Some(request) = received(&mut requests) => (request, None),
                Some(request) = reloads.recv() => (PersonRequest::Reload, Some(request)),
                () = clock.sleep_until(report_at), if load.is_some() => (PersonRequest::Report, None),
            };
            if let (PersonRequest::Reload, Some(load)) = (request, &load) {
                let now = NotifyState::monotonic_usec_now().ok();
                notify(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
                let allow_removals = requested.as_ref().is_some_and(|request| request.allow_removals);
                let prepared = tokio::select! {
                    prepared = reloader.prepare(Arc::clone(load), allow_removals) => prepared,
                    () = stop.cancelled() => break Ok(Vec::new()),
                };
                let registered = match prepared {
                    Ok(prepared) => match reloader.register(&prepared).await {
                        Ok(listed) => Ok((prepared, listed)),
                        Err(Error::Store(error)) => break Err(error),
                        Err(error) => Err(chain(&error)),
                    },
                    Err(problems) => Err(lines(&problems)),
                };
                match registered {
                    Ok((prepared, listed)) => {
                        reloading.store(true, Ordering::Relaxed);
                        refresh_stop.cancel();
                        if let Err(error) = all(&mut refreshing).await {
                            break Err(error);
                        }
                        let current = Arc::new(prepared.current(listed));
                        tokio::select! {
                            replaced = to_watch.send(Action::Replace(Arc::clone(&current))) => {
                                if replaced.is_err() {
                                    // The loop ended, which the next turn reports.
                                    continue;
                                }
                            }
                            Some(ended) = watching.join_next() => break flatten(ended).map(|()| Vec::new()),
                            error = store.failed() => break Err(error),
                            () = stop.cancelled() => break Ok(Vec::new()),
                        }
                        let (changes, refresh) = reloader.publish(prepared, current, ways);
                        ways = refresh.sinks.clone();
                        refresh_stop = lanes_stop.child_token();
                        refreshing.spawn(refresh.run(refresh_stop.clone()));
                        reloading.store(false, Ordering::Relaxed);
                        delivery.change(changes);
                        to_lanes.send_replace(ways_of(&ways));
                        if let Some(request) = requested {
                            // The client may be gone.
                            let _ = request.result.send(Ok(()));
                        }
                        tracing::info!(open_tasks = status.borrow().open, "configuration reloaded");
                        notify(&[NotifyState::Ready]);
                    }
                    Err(reason) => {
                        for problem in reason.lines() {
                            tracing::error!(
                                problem,
                                "reload refused; the previous configuration stays in use"
                            );
                        }
                        if let Some(request) = requested {
                            let _ = request.result.send(Err(reason.lines().map(str::to_owned).collect()));
                        }
                        let first = reason.lines().next().unwrap_or_default();
                        notify(&[
                            NotifyState::Ready,
                            NotifyState::Status(&format!("reload refused: {first}")),
                        ]);
                        continue;
                    }
                }
            }
            // A removed sink keeps its last state.
            let used = reloader.live.borrow().sinks.clone();
            let sinks = sinks_status.borrow().clone().into_iter().filter(|(name, _)| used.contains(name));
            let line = report::report(&to_watch, store.as_ref(), &sinks.collect(), clock.now()).await;
            notify(&line.iter().map(|line| NotifyState::Status(line)).collect::<Vec<_>>());
            report_at = clock.now().steady + REPORTS_EVERY;
        };
        notify(&[NotifyState::Stopping]);
        stop.cancel();
        // Commands that arrive later are refused.
        if let Some(serving) = serving {
            serving.join();
        }
        let drained = tokio::time::timeout(DRAIN, async {
            if ended.is_err() {
                // Without a store nothing may be delivered, and nothing can be kept.
                delivery.abort.cancel();
                return delivery.ended().await;
            }
            let watched = all(&mut watching).await;
            lanes_stop.cancel();
            let other = all(&mut others).await.and(all(&mut refreshing).await);
            let delivered = delivery.ended().await;
            watched.and(other).and(delivered)
        });
        let drained = drained.await.unwrap_or_else(|_| {
            tracing::warn!("the stop took too long; attempts in flight are repeated at the next start");
            Ok(())
        });
        watching.shutdown().await;
        others.shutdown().await;
        refreshing.shutdown().await;
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

/// The interface, on a thread of its own: no client can delay the loops.
struct Serving(JoinHandle<()>);

impl Serving {
    fn start(server: HttpServer, interface: Interface, stop: CancellationToken) -> Result<Self, Error> {
        if let Some(address) = server.address() {
            tracing::info!(%address, "listening");
        }
        let serve = move |runtime: &Runtime| {
            if let Err(error) = runtime.block_on(server.run(interface, stop)) {
                tracing::error!(%error, "the live control ended; restart opwatch to use it again");
            }
        };
        threads::spawn_with_runtime("http", serve).map(|(thread, _)| Self(thread)).map_err(Error::Thread)
    }

    fn join(self) {
        // A panic of a handler ends only its connection, and was logged.
        let _ = self.0.join();
    }
}

/// The delivery loops, on their thread.
struct Delivery {
    /// `None` once the result was taken.
    thread: Option<JoinHandle<()>>,
    result: oneshot::Receiver<Result<(), store::Error>>,
    abort: CancellationToken,
    changes: mpsc::UnboundedSender<LaneChanges>,
}

/// A delivery loop that runs.
pub(super) struct RunningLane {
    stop: CancellationToken,
    /// Cancelled at its end.
    ended: CancellationToken,
}

impl Delivery {
    fn start(lanes: Vec<Deliver>, stop: CancellationToken) -> io::Result<Self> {
        let abort = CancellationToken::new();
        let aborted = abort.clone();
        let (sender, result) = oneshot::channel();
        let (changes, mut changed) = mpsc::unbounded_channel();
        let first = LaneChanges { stop: Vec::new(), start: lanes };
        // A sink with a hanging file system does not delay a stop.
        let (thread, _) = threads::spawn_with_runtime("deliver", move |runtime| {
            let result = runtime.block_on(async {
                let mut tasks = JoinSet::new();
                let mut running = HashMap::new();
                change_lanes(first, &mut tasks, &mut running, &stop);
                loop {
                    tokio::select! {
                        Some(ended) = tasks.join_next() => {
                            flatten(ended)?;
                            if tasks.is_empty() && stop.is_cancelled() {
                                return Ok(());
                            }
                        }
                        Some(changes) = changed.recv() => {
                            change_lanes(changes, &mut tasks, &mut running, &stop);
                        }
                        () = aborted.cancelled() => return Ok(()),
                    }
                }
            });
            let _ = sender.send(result);
        })?;
        Ok(Self { thread: Some(thread), result, abort, changes })
    }

    /// Changes the lanes while the others run.
    fn change(&self, changes: LaneChanges) {
        // An error means that the thread has ended, which the supervisor notices.
        let _ = self.changes.send(changes);
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

/// Ends lanes, and begins new ones: a lane with the name of an ended one waits for its end, so that no event is
/// delivered by both.
pub(super) fn change_lanes(
    changes: LaneChanges,
    tasks: &mut JoinSet<Result<(), store::Error>>,
    running: &mut HashMap<String, RunningLane>,
    stop: &CancellationToken,
) {
    let LaneChanges { stop: ending, start } = changes;
    let mut before: HashMap<String, RunningLane> = HashMap::new();
    for name in ending {
        if let Some(lane) = running.remove(&name) {
            lane.stop.cancel();
            before.insert(name, lane);
        }
    }
    for lane in start {
        let own = RunningLane { stop: stop.child_token(), ended: CancellationToken::new() };
        let (stop, ended) = (own.stop.clone(), own.ended.clone());
        let before = before.remove(&lane.name);
        running.insert(lane.name.clone(), own);
        tasks.spawn(async move {
            let _end = ended.drop_guard();
            if let Some(before) = before {
                before.ended.cancelled().await;
            }
            lane.run(stop).await
        });
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

/// The next request of a person; never without a way for them.
async fn received(requests: &mut Option<mpsc::Receiver<PersonRequest>>) -> Option<PersonRequest> {
    match requests {
        Some(requests) => requests.recv().await,
        None => None,
    }
}

/// Waits for all of them. Returns the first failure.
pub async fn all<T: 'static>(tasks: &mut JoinSet<Result<T, store::Error>>) -> Result<(), store::Error> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(flatten(ended).map(drop));
    }
    result
}

/// A panic continues in its owner.
fn flatten<T>(ended: Result<Result<T, store::Error>, JoinError>) -> Result<T, store::Error> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(store::Error::Closed),
    }
}
