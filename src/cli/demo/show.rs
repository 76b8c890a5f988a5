//! The demonstration under way: has the cloud do what the acts say, waits for what comes of it, and says what
//! is to be seen.
//!
//! What is told is written by the `log` sink itself, but from here: with a lane of its own its lines could
//! overtake the words that announce them. Nothing is waited for but events and polls; the pauses are for who
//! reads along on a terminal, and nobody else.

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
use crate::sinks::channel::Received;
use crate::sinks::log::Log;
use crate::telemetry::Surroundings;
use crate::watch::PollReport;

/// The key that the cloud knows in the end. It opens nothing.
const NEW_KEY: &str = "simulator-secret-key-2";
/// How long a few lines take to be read.
const TO_READ: Duration = Duration::from_millis(1_400);
/// How long it stays to be seen what came of an act.
const TO_LOOK: Duration = Duration::from_millis(300);
/// So many failed polls open a breaker that has seen none but good ones, and this is a few more: some are
/// probes already.
const OUTAGE_POLLS: usize = 9;

/// What plays the acts.
pub struct Show<'a> {
    /// The cloud, which is told how to behave.
    pub sim: &'a Sim,
    /// Where opwatch has its key from.
    pub key_file: PathBuf,
    /// What the daemon tells.
    pub events: mpsc::Receiver<Received>,
    /// What each poll brought.
    pub polls: mpsc::Receiver<PollReport>,
    /// Writes what is told.
    pub log: Log,
    /// Time.
    pub clock: Clock,
    /// Every final word that was told.
    pub final_events: Vec<Event>,
}

/// What is heard next.
enum DemoUpdate {
    Event(Event),
    Polled(PollReport),
    /// It is time to go on.
    Time,
    /// The daemon is gone.
    Nothing,
}

impl Show<'_> {
    /// Plays all acts, until the daemon is gone.
    ///
    /// # Errors
    /// When standard output is closed, or the key cannot be written.
    pub async fn play(&mut self) -> Result<(), CommandFailure> {
        for act in ACTS {
            if !self.act(*act).await? {
                return Ok(());
            }
        }
        while !matches!(self.hear(None).await, DemoUpdate::Nothing) {}
        Ok(())
    }

    /// Whether the daemon goes on after it.
    async fn act(&mut self, act: Act) -> Result<bool, CommandFailure> {
        let goes_on = match act {
            Act::Say(text) => {
                self.pause(TO_LOOK).await;
                say(text)?;
                self.pause_to_read().await
            }
            Act::AllAreAsked => {
                let mut asked = HashSet::new();
                let mut note = |id: String| asked.insert(id) && asked.len() as u64 == TASKS;
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

    /// Listens until that is heard; false: the daemon is gone.
    async fn until(&mut self, mut wanted: impl FnMut(&DemoUpdate) -> bool) -> bool {
        loop {
            match self.hear(None).await {
                DemoUpdate::Nothing => return false,
                heard if wanted(&heard) => return true,
                DemoUpdate::Event(_) | DemoUpdate::Polled(_) | DemoUpdate::Time => {}
            }
        }
    }

    /// Lets a person read what was said; false: the daemon is gone.
    pub async fn pause_to_read(&mut self) -> bool {
        self.pause(TO_READ).await
    }

    /// Lets a person look, and listens meanwhile; false: the daemon is gone.
    async fn pause(&mut self, span: Duration) -> bool {
        if !std::io::stdout().is_terminal() {
            return true;
        }
        let end = self.clock.now().steady + span;
        loop {
            match self.hear(Some(end)).await {
                DemoUpdate::Nothing => return false,
                DemoUpdate::Time => return true,
                DemoUpdate::Event(_) | DemoUpdate::Polled(_) => {}
            }
        }
    }

    /// What is heard next, or that it is time; an event is written at once.
    async fn hear(&mut self, end: Option<Steady>) -> DemoUpdate {
        let received = tokio::select! {
            biased;
            received = self.events.recv() => received,
            Some(seen) = self.polls.recv() => return DemoUpdate::Polled(seen),
            () = self.clock.sleep_until(end.unwrap_or_default()), if end.is_some() => return DemoUpdate::Time,
        };
        let Some(received) = received else { return DemoUpdate::Nothing };
        let event = received.event.clone();
        // A standard error that takes nothing is nobody's trouble here.
        let _ = self.log.send(std::slice::from_ref(&event)).await;
        if event.kind.is_final() {
            self.final_events.push(event.clone());
        }
        DemoUpdate::Event(event)
    }
}

/// A line or a few of the demonstration itself, apart from those of the log: each begins with a `#`, and all
/// are bold where that can be seen.
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
