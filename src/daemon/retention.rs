//! Deletes old finished tasks, but none that is still listed: a listed task that was deleted would be polled
//! again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::per_sink;
use crate::clock::{Clock, Wall};
use crate::deliver::LaneStatus;
use crate::live::{self, Live};
use crate::model::records::FinishedTask;
use crate::store::{Error, Store};
use crate::units::Limit;

/// The time between two runs of the retention; a record may be kept that much longer.
const EVERY: Duration = Duration::from_secs(3600);
/// The number of tasks in one transaction.
const PAGE: usize = 1_000;

/// Deletes old finished work from time to time.
pub struct Retention {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Clock,
    /// The time for which finished work is kept.
    pub kept: Limit,
    /// The live configuration: the listed tasks, and the configured sinks.
    pub live: Live,
    /// The state of each sink: its count includes dead letters made here.
    pub status: watch::Sender<BTreeMap<String, LaneStatus>>,
    /// The time of the latest event at the start; `None`: there was none.
    pub newest: Option<Wall>,
}

impl Retention {
    /// Runs until the stop.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Some(kept) = self.kept.0 else { return Ok(()) };
        // A clock that is years ahead at a start must not make everything old: the time of retention
        // continues from the latest event by the monotonic clock. An empty store has nothing to protect.
        let started = self.clock.now();
        let newest = self.newest.unwrap_or(started.wall);
        loop {
            let now = self.clock.now();
            let before = now.wall.min(newest + (now.steady - started.steady)) - kept;
            tokio::select! {
                pruned = self.prune(before, now.wall) => pruned?,
                () = stop.cancelled() => return Ok(()),
            }
            tokio::select! {
                () = self.clock.sleep_until(now.steady + EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn prune(&self, before: Wall, now: Wall) -> Result<(), Error> {
        let current = live::current(&self.live);
        let paused =
            self.store.expire_unconfigured(current.sinks.iter().cloned().collect(), before, now).await?;
        if !paused.is_empty() {
            let dead_letters = paused.values().sum::<u64>();
            let sinks = per_sink(&paused);
            tracing::warn!(
                dead_letters,
                sinks,
                "undelivered events of removed sinks became dead letters after [store] retention"
            );
            self.status.send_modify(|status| {
                for (sink, dead_letters) in paused {
                    let stands =
                        status.entry(sink).or_insert(LaneStatus { is_idle: true, ..LaneStatus::default() });
                    stands.dead_letters += dead_letters;
                }
            });
        }
        while self.store.delete_events(before, PAGE).await? == PAGE as u64 {}
        let mut after = FinishedTask::default();
        loop {
            let over = self.store.finished_before(before, after, PAGE).await?;
            let Some(last) = over.last() else { return Ok(()) };
            after = *last;
            let forgotten: Vec<_> =
                over.into_iter().filter(|past| !current.listed.contains(past.row)).collect();
            if !forgotten.is_empty() {
                tracing::info!(
                    tasks = forgotten.len(),
                    "deleting tasks that finished longer than [store] retention ago"
                );
                self.store.delete_finished(before, forgotten).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::event::{Event, Kind};
    use crate::store;

    #[tokio::test]
    async fn dead_letters_of_removed_sinks_are_counted_also_after_a_start_with_an_empty_store() {
        for newest in [Some(Wall(120_000)), None] {
            let store = store::open(&store::Config::in_memory()).await.unwrap();
            let event = Event::stored(uuid::Uuid::nil(), Kind::AccountHeld, Wall(0), String::new());
            store.add_event(event, vec!["gone".to_owned(), "audit".to_owned()]).await.unwrap();
            let (standing, mut stands) = watch::channel(BTreeMap::new());
            let retention = Retention {
                store,
                clock: Clock::start(),
                kept: Limit(Some(Duration::from_secs(60))),
                live: live::of_sinks(&["audit"]),
                status: standing,
                newest,
            };
            let stop = CancellationToken::new();
            let running = retention.run(stop.clone());
            let counted = async {
                let stands = stands
                    .wait_for(|stands| !stands.is_empty())
                    .await
                    .expect("retention ended by itself")
                    .clone();
                stop.cancel();
                stands
            };
            let (ended, stands) = tokio::join!(running, counted);
            ended.unwrap();
            assert_eq!(
                stands,
                BTreeMap::from([(
                    "gone".to_owned(),
                    LaneStatus { is_idle: true, dead_letters: 1, ..LaneStatus::default() }
                )])
            );
        }
    }
}
