//! What a lane tells in the program's own log.

use super::lane::{Lane, Notice};
use crate::clock::Moment;
use crate::units::rounded;

impl Notice {
    /// Whether it tells of trouble that lasts: how much waits for its end is told with it.
    pub fn is_of_lasting_trouble(&self) -> bool {
        match self {
            Self::Held(_) | Self::StillHeld(_) | Self::Open(_) | Self::Failed(_) => true,
            Self::Released(_) | Self::Closed(_) | Self::Dead(_) => false,
        }
    }
}

/// Tells it; `waiting` is how many deliveries the sink is owed, where that is known.
pub fn tell(lane: &Lane, notice: Notice, waiting: Option<u64>, now: Moment) {
    let sink = lane.name();
    let since = lane.lasting().map(|lasting| tracing::field::display(lasting.since.wall));
    let next_probe = lane.next_probe().map(|next| tracing::field::display(now.wall_of(next)));
    match notice {
        Notice::Held(last) | Notice::StillHeld(last) => {
            // A probe may have met something else than that for which a person must act.
            let error = lane.cause().unwrap_or(&last);
            let last_error = Some(&last).filter(|last| *last != error);
            tracing::error!(
                sink,
                error,
                last_error,
                since,
                waiting,
                next_probe,
                "the sink is held: a person must act; its deliveries are kept, and it is tried again rarely"
            );
        }
        Notice::Open(error) => {
            tracing::warn!(
                sink,
                error,
                since,
                waiting,
                next_probe,
                "most deliveries fail; only probes go out until one is accepted"
            );
        }
        Notice::Failed(error) => {
            tracing::warn!(sink, error, since, waiting, "a delivery failed; it is tried again with backoff")
        }
        Notice::Released(lasted) => {
            tracing::info!(sink, lasted = %rounded(lasted), "a probe was accepted; the sink is used again");
        }
        Notice::Closed(lasted) => {
            tracing::info!(sink, lasted = %rounded(lasted), "the sink accepts events again")
        }
        Notice::Dead(error) => {
            tracing::error!(sink, error, "a delivery was given up; it is kept as a dead letter")
        }
    }
}
