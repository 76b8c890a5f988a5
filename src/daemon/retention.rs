//! Forgets what is long over, but never what the file still lists: a listed task that was forgotten would be watched again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Wall};
use crate::store::{Error, Past, Rows, Store};
use crate::units::Limit;

/// How often what is over is looked through; a record may live that much longer than it must.
const EVERY: Duration = Duration::from_secs(3600);
/// How many tasks are looked at in one transaction.
const PAGE: usize = 1_000;

/// Looks through what is over, now and then.
pub struct Retention {
    /// Whose records.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Clock,
    /// How long what is over is kept.
    pub kept: Limit,
    /// What the file lists.
    pub listed: Arc<Rows>,
    /// The configured sinks.
    pub sinks: Vec<String>,
    /// The time of the latest event at the start; `None`: there is nothing to forget.
    pub newest: Option<Wall>,
}

impl Retention {
    /// Runs until the stop.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Some(kept) = self.kept.0 else { return Ok(()) };
        // A clock that is years ahead at a start must not make everything old: time goes on from the latest event, and not further.
        let Some(newest) = self.newest else { return Ok(()) };
        let started = self.clock.now().steady;
        loop {
            let now = self.clock.now();
            let before = now.wall.min(newest + (now.steady - started)) - kept;
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
        let paused = self.store.bury_paused(self.sinks.clone(), before, now).await?;
        if paused > 0 {
            tracing::warn!(deliveries = paused, "what was owed for longer than [store] retention to sinks that are not configured is dead");
        }
        while self.store.forget_told(before, PAGE).await? == PAGE as u64 {}
        let mut after = Past::default();
        loop {
            let over = self.store.past(before, after, PAGE).await?;
            let Some(last) = over.last() else { return Ok(()) };
            after = *last;
            let forgotten: Vec<_> = over.into_iter().filter(|past| !self.listed.contains(past.row)).collect();
            if !forgotten.is_empty() {
                tracing::info!(tasks = forgotten.len(), "forgetting tasks that are over for longer than [store] retention");
                self.store.forget(forgotten).await?;
            }
        }
    }
}
