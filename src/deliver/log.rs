//! The log lines of a lane, in the program's own log.

use crate::clock::Moment;
use crate::model::gate::GateChange;
use crate::model::lane::{Lane, LaneNotice};
use crate::units::rounded;

/// Whether the line has the number of waiting deliveries: lines of lasting failures have it.
pub fn needs_waiting(notice: &LaneNotice) -> bool {
    match notice {
        LaneNotice::Gate(change) => match change {
            GateChange::Held(_)
            | GateChange::StillHeld(_)
            | GateChange::Opened(_)
            | GateChange::StillOpen(_) => true,
            GateChange::Released(_) | GateChange::Closed(_) => false,
        },
        LaneNotice::Failing(_) => true,
        LaneNotice::PauseRequested(_) | LaneNotice::Recovered(_) | LaneNotice::DeadLetter(..) => false,
    }
}

/// Logs a change; `waiting` is the number of deliveries in the outbox of the sink, where it is known.
pub fn log(lane: &Lane, notice: LaneNotice, waiting: Option<u64>, now: Moment) {
    let sink = lane.name();
    let since = lane.lasting().map(|lasting| tracing::field::display(lasting.since.wall));
    let next_probe = lane.next_probe().map(|next| tracing::field::display(now.wall_of(next)));
    match notice {
        LaneNotice::Gate(GateChange::Held(last) | GateChange::StillHeld(last)) => {
            // A probe may have had another error than the cause.
            let error = lane.cause().unwrap_or(&last);
            let last_error = Some(&last).filter(|last| *last != error);
            tracing::error!(
                sink,
                error_message = error,
                last_error,
                since,
                waiting,
                next_probe,
                "sink on hold: a person must act; its deliveries are kept, and it is probed at long intervals"
            );
        }
        LaneNotice::Gate(GateChange::Opened(error) | GateChange::StillOpen(error)) => {
            tracing::warn!(
                sink,
                error_message = error,
                since,
                waiting,
                next_probe,
                "circuit breaker open: most deliveries fail; only probes are sent until one is accepted"
            );
        }
        LaneNotice::Failing(error) => {
            tracing::warn!(
                sink,
                error_message = error,
                since,
                waiting,
                "a delivery failed; it is retried with backoff"
            )
        }
        LaneNotice::Gate(GateChange::Released(hold)) => {
            let lasted = rounded(hold.probes.lasting.lasted(now.steady));
            tracing::info!(sink, %lasted, "hold released: the probe was accepted");
        }
        LaneNotice::Gate(GateChange::Closed(probes)) => {
            let lasted = rounded(probes.lasting.lasted(now.steady));
            tracing::info!(sink, %lasted, "sink recovered; deliveries succeed again");
        }
        LaneNotice::PauseRequested(until) => {
            let next_attempt = now.wall_of(until);
            tracing::warn!(sink, %next_attempt, "the receiver requested a pause by Retry-After; opwatch retry sink NAME ends it");
        }
        LaneNotice::Recovered(lasted) => {
            tracing::info!(sink, lasted = %rounded(lasted), "sink recovered; deliveries succeed again");
        }
        LaneNotice::DeadLetter(event, error) => {
            let (subject, kind) = (event.subject(), event.kind.name());
            tracing::error!(sink, event = %event.id, r#type = kind, subject, error_message = error, "a delivery became a dead letter")
        }
    }
}
