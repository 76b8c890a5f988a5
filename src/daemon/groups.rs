//! Makes the events of groups whose tasks have all finished.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Steady};
use crate::live::{self, Live};
use crate::model::event::{Finished, group};
use crate::model::records::GroupRound;
use crate::store::{Error, Store};

/// The time since the end of the last task: a script that lists one task after another makes one round
/// (docs/architecture.md §4).
const QUIET: Duration = Duration::from_secs(10);

/// Looks after the groups.
pub struct Groups {
    /// The store of the tasks.
    pub store: Arc<dyn Store>,
    /// The live configuration: its filters select the sinks.
    pub live: Live,
    /// Time.
    pub clock: Clock,
    /// Notifies, and is notified, that the outbox may have new rows: a task may have ended.
    pub outbox: watch::Sender<()>,
}

impl Groups {
    /// Runs until the stop.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let mut outbox = self.outbox.subscribe();
        // Tasks that ended before the start are checked first.
        let mut look_at: Option<Steady> = Some(self.clock.now().steady);
        loop {
            tokio::select! {
                () = self.clock.sleep_until(look_at.unwrap_or_default()), if look_at.is_some() => {
                    look_at = self.look().await?.then(|| self.clock.now().steady + QUIET / 5);
                }
                Ok(()) = outbox.changed() => {
                    look_at = look_at.or(Some(self.clock.now().steady + QUIET));
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Makes the events of rounds that finished long enough ago. Returns whether another round has finished.
    async fn look(&self) -> Result<bool, Error> {
        let mut waits = false;
        for round in self.store.finished_groups().await? {
            // An end in the future means that the clock was set back since.
            let now = self.clock.now().wall;
            if round.finished_at <= now && now - round.finished_at < QUIET {
                waits = true;
            } else {
                self.finish(round).await?;
            }
        }
        Ok(waits)
    }

    async fn finish(&self, round: GroupRound) -> Result<(), Error> {
        let GroupRound { row, name, round, started_at, finished_at, counts, settings } = round;
        let event =
            group(&Finished { group: &name, round, counts, started_at, finished_at }, self.clock.now().wall);
        let sinks = live::current(&self.live).routes.of_group(event.kind, &settings);
        if self.store.close_group(row, event, sinks).await? {
            self.outbox.send_replace(());
        }
        Ok(())
    }
}
