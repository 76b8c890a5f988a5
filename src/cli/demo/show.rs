//! Runs the demonstration: changes the simulated cloud, waits for the condition of each step, and prints.
//!
//! The `log` sink writes the events from here: in a lane of its own its lines could overtake the texts that
//! introduce them. Every wait is for an event or a poll; pauses are for a reader on a terminal.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use super::acts::{ACTS, Act, FIRST_TASK, TASKS};
use crate::cli::{CommandFailure, print};
use crate::clock::{Clock, Steady};
use crate::model::event::{Event, Kind};
use crate::secret::Secret;
use crate::sim::{Sim, SimResponse};
use crate::sinks::Sink;
use crate::sinks::channel::Handed;
use crate::sinks::log::Log;
use crate::telemetry::Surroundings;
use crate::watch::PollReport;

/// The final key of the cloud. It is not a real key.
const NEW_KEY: &str = "simulator-secret-key-2";
/// The time to read a few lines.
const TO_READ: Duration = Duration::from_millis(1_400);
/// The time to read the events of a step.
const TIME_TO_LOOK: Duration = Duration::from_millis(300);
/// Failed polls that open a circuit breaker after successful ones, and a few more, since some are probes.
const OUTAGE_POLLS: usize = 9;

/// The state of the demonstration.
pub struct Show<'a> {
    /// The simulated cloud.
    pub sim: &'a Sim,
    /// Where opwatch has its key from.
    pub key_file: PathBuf,
    /// The events of the daemon.
    pub events: mpsc::Receiver<Handed>,
    /// The result of each poll.
    pub polls: mpsc::Receiver<PollReport>,
    /// Writes the events.
    pub log: Log,
    /// Time.
    pub clock: Clock,
    /// All final events so far.
    pub final_events: Vec<Event>,
}

/// The next update.
enum DemoUpdate {
    Event(Event),
    Polled(PollReport),
    /// The pause is over.
    Time,
    /// The daemon is gone.
    Nothing,
}

impl Show<'_> {
    /// Runs all steps, until the daemon has ended.
    ///
    /// # Errors
    /// When standard output is closed, or the key cannot be written.
    pub async fn play(&mut self) -> Result<(), CommandFailure> {
        for act in ACTS {
            if !self.act(*act).await? {
                return Ok(());
            }
        }
        while !matches!(self.next_update(None).await, DemoUpdate::Nothing) {}
        Ok(())
    }

    /// Runs a step. Returns whether the daemon still runs.
    async fn act(&mut self, act: Act) -> Result<bool, CommandFailure> {
        let goes_on = match act {
            Act::Say(text) => {
                self.pause(TIME_TO_LOOK).await;
                say(text)?;
                self.pause_to_read().await
            }
            Act::AllArePolled => {
                let mut polled = HashSet::new();
                let mut note = |id: String| polled.insert(id) && polled.len() as u64 == TASKS;
                self.until(|heard| matches!(heard, DemoUpdate::Polled(seen) if note(seen.id.to_string())))
                    .await
            }
            Act::Becomes(server, status) => {
                let id = (FIRST_TASK + server - 1).to_string();
                self.sim.set_responses(&id, [SimResponse::status(status)]);
                let subject = format!("bm/{id}");
                self.until(|heard| matches!(heard, DemoUpdate::Event(event) if event.subject() == subject))
                    .await
            }
            Act::GatewayFails => {
                self.sim.outage(Some(SimResponse::page(502, "Bad Gateway")));
                let mut failed = 0;
                self.until(|heard| {
                    failed +=
                        usize::from(matches!(heard, DemoUpdate::Polled(PollReport { poll: Err(_), .. })));
                    failed == OUTAGE_POLLS
                })
                .await
            }
            Act::GatewayRecovers => {
                self.sim.outage(None);
                self.until(|heard| matches!(heard, DemoUpdate::Polled(PollReport { poll: Ok(_), .. }))).await
            }
            Act::KeyIsReplaced => {
                self.sim.set_secret_key(Secret::new(NEW_KEY));
                self.until(
                    |heard| matches!(heard, DemoUpdate::Event(event) if event.kind == Kind::AccountHeld),
                )
                .await
            }
            Act::KeyIsWritten => {
                std::fs::write(&self.key_file, NEW_KEY).map_err(|error| super::no_key_file(&error))?;
                self.until(
                    |heard| matches!(heard, DemoUpdate::Event(event) if event.kind == Kind::AccountReleased),
                )
                .await
            }
        };
        Ok(goes_on)
    }

    /// Waits for that update; false: the daemon has ended.
    async fn until(&mut self, mut wanted: impl FnMut(&DemoUpdate) -> bool) -> bool {
        loop {
            match self.next_update(None).await {
                DemoUpdate::Nothing => return false,
                heard if wanted(&heard) => return true,
                DemoUpdate::Event(_) | DemoUpdate::Polled(_) | DemoUpdate::Time => {}
            }
        }
    }

    /// A pause to read text; false: the daemon has ended.
    pub async fn pause_to_read(&mut self) -> bool {
        self.pause(TO_READ).await
    }

    /// A pause on a terminal, while events are still written; false: the daemon has ended.
    async fn pause(&mut self, span: Duration) -> bool {
        if !std::io::stdout().is_terminal() {
            return true;
        }
        let end = self.clock.now().steady + span;
        loop {
            match self.next_update(Some(end)).await {
                DemoUpdate::Nothing => return false,
                DemoUpdate::Time => return true,
                DemoUpdate::Event(_) | DemoUpdate::Polled(_) => {}
            }
        }
    }

    /// The next update, or the end of the pause; an event is written at once.
    async fn next_update(&mut self, end: Option<Steady>) -> DemoUpdate {
        let received = tokio::select! {
            biased;
            received = self.events.recv() => received,
            Some(seen) = self.polls.recv() => return DemoUpdate::Polled(seen),
            () = self.clock.sleep_until(end.unwrap_or_default()), if end.is_some() => return DemoUpdate::Time,
        };
        let Some(received) = received else { return DemoUpdate::Nothing };
        let event = received.event.clone();
        // A failing standard error is no error of the demonstration.
        let _ = self.log.send(std::slice::from_ref(&event)).await;
        if event.kind.is_final() {
            self.final_events.push(event.clone());
        }
        DemoUpdate::Event(event)
    }
}

/// Text of the demonstration itself, apart from log lines: each line begins with a `#`, and is bold on a
/// terminal with colours.
///
/// # Errors
/// When standard output is closed.
pub fn say(text: &str) -> Result<(), CommandFailure> {
    const BOLD: &str = "\u{1b}[1m";
    const PLAIN: &str = "\u{1b}[0m";
    let is_bold = std::io::stdout().is_terminal() && !Surroundings::of_process().no_color;
    let (bold, plain) = if is_bold { (BOLD, PLAIN) } else { ("", "") };
    print::line("")?;
    print::wrapped(text, "# ", "# ").lines().try_for_each(|line| print::line(&format!("{bold}{line}{plain}")))
}
