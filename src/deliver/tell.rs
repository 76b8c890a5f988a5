//! What a lane tells in the program's own log.

use std::time::Duration;

use super::lane::Notice;
use crate::clock::Steady;

/// A failure is told again only after so long without one: the rest is in the line about the breaker, or about the hold.
const QUIET: Duration = Duration::from_secs(300);

/// What was told last.
#[derive(Debug, Default)]
pub struct Told {
    failure: Option<(String, Steady)>,
}

impl Told {
    /// Tells it.
    pub fn tell(&mut self, sink: &str, notice: Notice, now: Steady) {
        match notice {
            Notice::Held(error) | Notice::StillHeld(error) => {
                tracing::error!(sink, error, "the sink is held: a person must act; its deliveries are kept, and it is tried again rarely");
            }
            Notice::Released => tracing::info!(sink, "a probe was accepted; the sink is used again"),
            Notice::Opened(error) => tracing::warn!(sink, error, "most deliveries fail; only probes go out until one is accepted"),
            Notice::Closed => tracing::info!(sink, "the sink accepts events again"),
            Notice::Failed(error) => {
                let before = self.failure.replace((error.clone(), now));
                if before.is_none_or(|(told, last)| told != error || now - last > QUIET) {
                    tracing::warn!(sink, error, "a delivery failed; it is tried again with backoff");
                }
            }
            Notice::Dead(error) => tracing::error!(sink, error, "a delivery was given up; it is kept as a dead letter"),
        }
    }
}
