//! Events to the command that started the daemon within this process, such as `wait`. It is not configurable.

use std::convert::Infallible;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::sink::Sink;
use crate::model::delivery::Refusal;
use crate::model::event::Event;

/// The largest number of events in one attempt.
const BATCH: usize = 256;

/// The sink of a command that listens. An event is acknowledged once the command has dropped it: the log lines that
/// follow an acknowledgement follow the event on a terminal too.
pub struct Channel(mpsc::Sender<Handed>);

/// An event, and the sender's wait for its end.
pub struct Handed {
    /// The event.
    pub event: Event,
    _acknowledges: oneshot::Sender<Infallible>,
}

impl Channel {
    /// To that listener.
    pub fn new(listener: mpsc::Sender<Handed>) -> Self {
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
        let mut dropped = Vec::with_capacity(events.len());
        for event in events {
            let (acknowledges, acknowledged) = oneshot::channel();
            let received = Handed { event: event.clone(), _acknowledges: acknowledges };
            // The listener ends before the daemon only where the whole command ends.
            self.0.send(received).await.map_err(|_| Refusal::passing("the command has ended"))?;
            dropped.push(acknowledged);
        }
        for acknowledged in dropped {
            // Nothing is ever sent: the wait ends when the other end is dropped.
            let _ended = acknowledged.await;
        }
        Ok(())
    }
}
