//! The end of `run --until-done`: all tasks have finished and all events are delivered, or only work on hold
//! has been left for long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::per_sink;
use crate::clock::{Clock, Steady};
use crate::deliver;
use crate::live::{self, Live};
use crate::model::lasting::Lasting;
use crate::store::{Error, Store};
use crate::watch::WatchStatus;

/// The time until remaining work is logged: most deliveries take moments.
const UNLOGGED: Duration = Duration::from_secs(5);

/// The inputs of the decision.
pub struct UntilDone {
    /// The store with the outbox.
    pub store: Arc<dyn Store>,
    /// The live configuration: its sinks count.
    pub live: Live,
    /// The state of the polling loop.
    pub status: watch::Receiver<WatchStatus>,
    /// The state of each sink.
    pub sinks_status: watch::Receiver<BTreeMap<String, deliver::LaneStatus>>,
    /// Notified when the outbox may have new rows, or a group has finished.
    pub outbox: watch::Receiver<()>,
    /// The time for which only work on hold may be left.
    pub patience: Duration,
    /// Time.
    pub clock: Clock,
}

/// The remaining work.
enum Left {
    Nothing,
    /// A task in progress.
    Work,
    /// No task in progress, but deliveries.
    Deliveries,
    /// Only work on hold, with names.
    Held(Vec<String>),
}

impl UntilDone {
    /// Waits for the end; returns the names of held accounts and sinks, if only work on hold is left.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn wait(mut self) -> Result<Vec<String>, Error> {
        let mut held_since: Option<Steady> = None;
        // The time since the last open task finished or went on hold; `None` while one is polled.
        let mut left_since: Option<Lasting> = None;
        loop {
            // Registered before the check, so that no change between the two is missed.
            let standing = self.status.borrow_and_update().clone();
            let sinks_status = self.sinks_status.borrow_and_update().clone();
            self.outbox.borrow_and_update();
            let now = self.clock.now();
            let open_tasks = standing.open;
            let left = self.left(standing, &sinks_status).await?;
            match &left {
                Left::Nothing => return Ok(Vec::new()),
                Left::Work => left_since = None,
                Left::Deliveries | Left::Held(_) => {
                    if left_since
                        .get_or_insert_with(|| Lasting::unlogged(UNLOGGED, now))
                        .is_due_again(now.steady)
                    {
                        self.tell(&left, open_tasks).await?;
                    }
                }
            }
            match left {
                Left::Held(names) if held_since.is_some_and(|since| now.steady - since >= self.patience) => {
                    return Ok(names);
                }
                Left::Held(_) => _ = held_since.get_or_insert(now.steady),
                Left::Nothing | Left::Work | Left::Deliveries => held_since = None,
            }
            let give_up = held_since.map(|since| since + self.patience);
            let wake = give_up.into_iter().chain(left_since.as_ref().map(Lasting::log_again)).min();
            tokio::select! {
                // An error means that the loop has ended; then the daemon ends too.
                Ok(()) = self.status.changed() => {}
                Ok(()) = self.sinks_status.changed() => {}
                Ok(()) = self.outbox.changed() => {}
                () = self.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                else => std::future::pending().await,
            }
        }
    }

    /// Logs the remaining work.
    async fn tell(&self, left: &Left, open_tasks: usize) -> Result<(), Error> {
        match left {
            Left::Nothing | Left::Work => {}
            Left::Deliveries => {
                let outbox = self.store.outbox().await?;
                let owed_deliveries = outbox.values().sum::<u64>();
                tracing::info!(
                    open_tasks,
                    owed_deliveries,
                    sinks = per_sink(&outbox),
                    "all tasks have finished; waiting for deliveries"
                );
            }
            Left::Held(names) => {
                tracing::info!(
                    open_tasks,
                    left = names.join(", "),
                    "all that is left is on hold, paused or not configured; the run ends 1m after that began, unless it changes"
                );
            }
        }
        Ok(())
    }

    async fn left(
        &self,
        standing: WatchStatus,
        sinks_status: &BTreeMap<String, deliver::LaneStatus>,
    ) -> Result<Left, Error> {
        let WatchStatus { open, on_hold: mut held } = standing;
        // The cost of counting grows with the outbox, so it is done only without a task in progress.
        let stands = |sink: &String| sinks_status.get(sink).copied().unwrap_or_default();
        let goes_on =
            |sink: &String| !stands(sink).is_idle && !stands(sink).is_on_hold && !stands(sink).is_paused;
        if open > 0 && held.is_empty() {
            return Ok(Left::Work);
        }
        let current = live::current(&self.live);
        let sinks = &current.sinks;
        if sinks.iter().any(goes_on) {
            return Ok(Left::Deliveries);
        }
        let outbox = self.store.outbox().await?;
        // A lane that has not read the outbox yet may have new rows.
        let is_usable = |sink: &String| !stands(sink).is_on_hold && !stands(sink).is_paused;
        if sinks.iter().any(|sink| outbox.get(sink).is_some_and(|rest| *rest > 0) && is_usable(sink)) {
            return Ok(Left::Deliveries);
        }
        // A group finishes some seconds after its last task.
        if !self.store.finished_groups().await?.is_empty() {
            return Ok(Left::Work);
        }
        let mut stuck: Vec<_> = outbox.iter().filter(|(_, rest)| **rest > 0).collect();
        stuck.sort_unstable();
        held.extend(stuck.into_iter().map(|(sink, rest)| {
            let why = match sinks.contains(sink) {
                true if stands(sink).is_paused => "is paused",
                true => "is on hold",
                false => "is not configured",
            };
            format!("deliveries to the sink {sink} ({rest}), which {why}")
        }));
        Ok(if held.is_empty() { Left::Nothing } else { Left::Held(held) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::model::event::{Event, Kind};
    use crate::store;

    const IDLE: deliver::LaneStatus =
        deliver::LaneStatus { is_idle: true, is_on_hold: false, is_paused: false, dead_letters: 0 };

    fn log(standing: deliver::LaneStatus) -> BTreeMap<String, deliver::LaneStatus> {
        BTreeMap::from([("log".to_owned(), standing)])
    }

    const PATIENCE: Duration = Duration::from_millis(100);

    async fn with_outbox(
        sinks: &[&str],
        standing: watch::Receiver<WatchStatus>,
    ) -> (UntilDone, watch::Sender<BTreeMap<String, deliver::LaneStatus>>) {
        let store = store::open(&store::Config::in_memory()).await.unwrap();
        let event = Event::stored(uuid::Uuid::nil(), Kind::AccountHeld, Wall(0), String::new());
        store.add_event(event, sinks.iter().map(ToString::to_string).collect()).await.unwrap();
        let (telling, sinks_status) = watch::channel(log(IDLE));
        let live = live::of_sinks(&["log"]);
        let clock = Clock::start();
        (
            UntilDone {
                store,
                live,
                status: standing,
                sinks_status,
                outbox: watch::channel(()).1,
                patience: PATIENCE,
                clock,
            },
            telling,
        )
    }

    fn stands(open: usize, held: &[&str]) -> WatchStatus {
        WatchStatus { open, on_hold: held.iter().map(ToString::to_string).collect() }
    }

    #[tokio::test]
    async fn undelivered_events_of_a_removed_sink_are_named_after_the_patience() {
        let (_sender, standing) = watch::channel(stands(0, &[]));
        let (done, _telling) = with_outbox(&["audit"], standing).await;
        assert_eq!(done.wait().await.unwrap(), ["deliveries to the sink audit (1), which is not configured"]);
    }

    #[tokio::test]
    async fn undelivered_events_of_a_sink_on_hold_are_named_after_the_patience() {
        let (_sender, standing) = watch::channel(stands(0, &[]));
        let (done, telling) = with_outbox(&["log"], standing).await;
        let mut waiting = std::pin::pin!(done.wait());
        assert!(tokio::time::timeout(PATIENCE * 2, &mut waiting).await.is_err(), "it may only be late");
        telling.send_replace(log(deliver::LaneStatus { is_on_hold: true, ..IDLE }));
        assert_eq!(waiting.await.unwrap(), ["deliveries to the sink log (1), which is on hold"]);
    }

    #[tokio::test]
    async fn a_hold_that_ends_in_time_is_no_end_of_the_watch() {
        let (standing, receiver) = watch::channel(stands(1, &["account default"]));
        let (done, _telling) = with_outbox(&[], receiver).await;
        let mut waiting = std::pin::pin!(done.wait());
        assert!(tokio::time::timeout(PATIENCE / 2, &mut waiting).await.is_err());
        standing.send_replace(stands(1, &[]));
        assert!(
            tokio::time::timeout(PATIENCE * 2, &mut waiting).await.is_err(),
            "a task is open and nothing is held"
        );
        standing.send_replace(stands(1, &["account default"]));
        assert_eq!(waiting.await.unwrap(), ["account default"]);
    }

    #[tokio::test]
    async fn an_undelivered_event_of_a_configured_sink_is_awaited() {
        let (standing, receiver) = watch::channel(stands(1, &["account default"]));
        let (done, telling) = with_outbox(&["log"], receiver).await;
        let store = Arc::clone(&done.store);
        let mut waiting = std::pin::pin!(done.wait());
        assert!(tokio::time::timeout(PATIENCE * 2, &mut waiting).await.is_err());
        standing.send_replace(stands(0, &[]));
        let seq = store.undelivered("log", crate::model::records::Seq(0), 1).await.unwrap()[0].seq;
        store.acknowledge("log", vec![seq]).await.unwrap();
        telling.send_replace(log(IDLE));
        assert_eq!(waiting.await.unwrap(), [""; 0]);
    }
}
