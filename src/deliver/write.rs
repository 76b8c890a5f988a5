//! The writes of a lane, made durable.

use crate::live::command::Responder;
use crate::model::lane::OutboxWrite;
use crate::model::records::Seq;
use crate::store::{Error, Store};

/// A stored write of a lane.
#[derive(Debug)]
pub enum OutboxWritten {
    /// No delivery waits for it.
    Done,
    /// The outbox has new rows.
    NewEvent,
    /// The delivery is a dead letter, and the outbox may have new rows.
    DeadLetter(Seq),
    /// The pause of the sink begins or ends.
    Pause(bool, Responder),
}

/// Stores a write of the sink of that name.
///
/// # Errors
/// When the store fails; then nothing of the write happened.
pub async fn carry_out(write: OutboxWrite, store: &dyn Store, sink: &str) -> Result<OutboxWritten, Error> {
    match write {
        OutboxWrite::Acknowledge(seqs) => store.acknowledge(sink, seqs).await.map(|()| OutboxWritten::Done),
        OutboxWrite::FirstFailure(seqs, active) => {
            store.mark_tried(sink, seqs, active).await.map(|()| OutboxWritten::Done)
        }
        OutboxWrite::DeadLetter(letter) => {
            let seq = letter.seq;
            store.dead_letter(letter).await.map(|()| OutboxWritten::DeadLetter(seq))
        }
        OutboxWrite::Event(event, sinks) => {
            store.add_event(event, sinks).await.map(|()| OutboxWritten::NewEvent)
        }
    }
}
