//! Events to whoever started the daemon within this process: the command `wait`. No configuration names it.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::sink::Sink;
use crate::model::delivery::Refusal;
use crate::model::event::Event;

/// As many as are handed over in one attempt.
const BATCH: usize = 256;

/// The sink of a command that listens. An event is acknowledged once the command has received it: the log lines
/// that follow an acknowledgement follow the event on a terminal too.
pub struct Channel(mpsc::Sender<Event>);

impl Channel {
    /// To that listener.
    pub fn new(listener: mpsc::Sender<Event>) -> Self {
        Self(listener)
    }
}

#[async_trait]
impl Sink for Channel {
    fn batch(&self) -> usize {
        BATCH
    }

    fn max_in_flight(&self) -> usize {
        1
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        for event in events {
            // Whoever listens ends before the daemon only where the whole command ends.
            self.0.send(event.clone()).await.map_err(|_| Refusal::passing("nobody listens any more"))?;
        }
        // All places are free again once the listener has received all events.
        let _all = self.0.reserve_many(self.0.max_capacity()).await;
        Ok(())
    }
}
