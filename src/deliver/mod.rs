//! The sending loop, watch's twin: one lane per sink reads what is owed, oldest first, and hands it over.
//!
//! A wake-up carries no data: the lane looks into the store. It registers for the next wake-up before it looks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::delivery::Retry;
use crate::model::event::Event;
use crate::sinks::{Class, Refusal, Sink};
use crate::store::{Error, Owed, Seq, Store};
use crate::units::rounded;

/// The queue of one sink.
pub struct Lane {
    /// The sink's name.
    pub name: String,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// How a failed attempt is tried again.
    pub retry: Retry,
    /// Where the outbox is.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub clock: Clock,
    /// Tells that something may be owed.
    pub owed: watch::Receiver<()>,
    /// The sinks that a person must mend. Told after each acknowledgement too.
    pub held_sinks: watch::Sender<BTreeSet<String>>,
}

impl Lane {
    /// Delivers until the stop; then what can be delivered without waiting is, and all else stays in the outbox.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut streak = 0;
        loop {
            self.owed.borrow_and_update();
            let owed = self.store.owed(&self.name, Seq(0), self.sink.batch()).await?;
            if owed.is_empty() {
                tokio::select! {
                    // What was committed before the stop is looked for before it ends.
                    biased;
                    Ok(()) = self.owed.changed() => continue,
                    () = stop.cancelled() => return Ok(()),
                }
            }
            let (seqs, events): (Vec<Seq>, Vec<Event>) = owed.into_iter().map(|Owed { seq, event }| (seq, event)).unzip();
            match self.sink.send(&events).await {
                Ok(()) => {
                    if streak > 0 {
                        tracing::info!(sink = self.name, "the sink accepts events again");
                    }
                    streak = 0;
                    self.store.acknowledge(&self.name, seqs).await?;
                    self.held_sinks.send_modify(|held| _ = held.remove(&self.name));
                }
                Err(refusal) => {
                    streak += 1;
                    self.held_sinks.send_if_modified(|held| match refusal.class {
                        Class::Sink | Class::Event => held.insert(self.name.clone()),
                        Class::Passing => held.remove(&self.name),
                    });
                    let wait = self.wait(&refusal, streak);
                    tokio::select! {
                        () = self.clock.sleep_until(self.clock.now().steady + wait) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Tells of a failed attempt, and how long to wait before the next.
    fn wait(&self, refusal: &Refusal, streak: u32) -> Duration {
        let wait = self.retry.wait(streak, self.clock.spread()).max(refusal.retry_after.unwrap_or_default());
        let (error, shown) = (refusal.to_string(), rounded(wait));
        match refusal.class {
            Class::Sink | Class::Event => {
                tracing::error!(sink = self.name, error, wait = %shown, "the sink cannot accept events; they are kept")
            }
            Class::Passing => tracing::warn!(sink = self.name, error, wait = %shown, "a delivery failed; it is tried again"),
        }
        wait
    }
}
