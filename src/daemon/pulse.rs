//! The progress of the loops, for systemd's watchdog and for the heartbeat: each loop must take its turn.
//!
//! A loop that waits for a full disk, a lock of another process or a hold still takes its turns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::systemd::{self, NotifyState};
use crate::clock::{Clock, Steady};
use crate::heartbeat::{Monitor, Ping};
use crate::live::command::{Action, Commands};
use crate::store::Error;

/// The longest turn of a loop: loading a page, or settling many responses, takes moments.
const TURN: Duration = Duration::from_secs(10);

/// The watch over the loops.
pub struct Pulse {
    /// Commands into the polling loop.
    pub to_watch: Commands,
    /// Commands into the lanes.
    pub to_lanes: watch::Receiver<BTreeMap<String, Commands>>,
    /// Whether the loops are changing over to a new configuration. Polls go on meanwhile, but commands may
    /// wait for a while, so no loop is checked.
    pub reloading: Arc<AtomicBool>,
    /// The interval that systemd requires; `None`: it has no watchdog for this process.
    pub watchdog: Option<Duration>,
    /// The monitor, and the time between two requests.
    pub heartbeat: Option<(Monitor, Duration)>,
    /// Time.
    pub clock: Clock,
}

impl Pulse {
    /// Runs until the stop.
    ///
    /// # Errors
    /// None: the type is that of every loop of the daemon.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let watchdog = async {
            let Some(every) = self.watchdog else { return std::future::pending().await };
            loop {
                if self.is_alive().await {
                    systemd::notify(&[NotifyState::Watchdog]);
                }
                self.sleep(every / 2).await;
            }
        };
        let heartbeat = async {
            let Some((monitor, every)) = &self.heartbeat else { return std::future::pending().await };
            self.beat(monitor, *every).await;
        };
        tokio::select! {
            () = watchdog => {}
            () = heartbeat => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    async fn beat(&self, monitor: &Monitor, every: Duration) {
        let mut ping = Ping::Start;
        let mut failure = None;
        loop {
            let result = monitor.ping(ping).await;
            match (&result, &failure) {
                (Err(error), before) if before.as_ref() != Some(error) => {
                    tracing::warn!(error, "the heartbeat was not accepted; it is repeated at its interval");
                }
                (Ok(()), Some(_)) => tracing::info!("the heartbeat is accepted again"),
                (Ok(()), None) | (Err(_), _) => {}
            }
            failure = result.err();
            self.sleep(every).await;
            ping = if self.is_alive().await { Ping::Progress } else { Ping::Fail };
        }
    }

    async fn sleep(&self, time: Duration) {
        let until: Steady = self.clock.now().steady + time;
        self.clock.sleep_until(until).await;
    }

    /// Whether every loop takes its turn.
    async fn is_alive(&self) -> bool {
        if self.reloading.load(Ordering::Relaxed) {
            return true;
        }
        let lanes: Vec<_> = self.to_lanes.borrow().values().cloned().collect();
        let turns = async {
            let (to, report) = oneshot::channel();
            // A loop that ended is the affair of the supervisor.
            let _ = self.to_watch.send(Action::Report(to)).await;
            drop(report);
            for lane in lanes {
                let (to, report) = oneshot::channel();
                let _ = lane.send(Action::ReportLane(to)).await;
                drop(report);
            }
        };
        let is_alive = tokio::time::timeout(TURN, turns).await.is_ok();
        if !is_alive && !self.reloading.load(Ordering::Relaxed) {
            tracing::error!("a loop takes no turn; systemd's watchdog restarts the daemon if that lasts");
        }
        is_alive
    }
}
