//! The sending loop, watch's twin: one lane per sink. It waits, has the sink make the attempts that [`lane`]
//! says are due, and has the store keep what comes of them.
//!
//! A wake-up carries no data: the lane looks into the store. It registers for the next wake-up before it
//! looks.

pub mod lane;
mod tell;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Steady};
use crate::model::delivery::Refusal;
use crate::model::delivery::Sending;
use crate::model::records::Seq;
use crate::model::route::Routes;
use crate::sinks::Sink;
use crate::store::{Error, Store};
use crate::watch::resume_panic;
use lane::{Attempt, Lane, Write, Written};
use tell::tell;

/// How often the files that may mend a held sink are looked at: as fast as somebody who just wrote one waits.
const LOOK: Duration = Duration::from_secs(1);
/// How long a stop goes on making attempts: what is owed just now need not wait for the next start.
const DRAIN: Duration = Duration::from_secs(1);

/// What a lane works with.
pub struct Deliver {
    /// The sink's name.
    pub name: String,
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// How it is sent to.
    pub sending: Sending,
    /// Which sinks hear of its trouble.
    pub routes: Arc<Routes>,
    /// Where the outbox is.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub clock: Clock,
    /// Tells, and is told, that something may be owed.
    pub owed: watch::Sender<()>,
    /// Where each sink stands.
    pub standing: watch::Sender<BTreeMap<String, Standing>>,
}

/// Where a sink stands, for whoever waits for the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Nothing is known to be owed.
    pub is_idle: bool,
    /// A person must act.
    pub is_held: bool,
    /// Deliveries that were given up.
    pub buried: u64,
}

/// A lane while it runs.
struct Running {
    parts: Deliver,
    lane: Lane,
    /// When each of the files that may mend it was last seen to change, while it is held.
    files: Vec<(PathBuf, Option<SystemTime>)>,
    next_look: Steady,
    attempts: JoinSet<(u64, Result<(), Refusal>)>,
    writes: JoinSet<Result<Written, Error>>,
    /// What arrived while other acknowledgements are being made durable: all of it is one write, as soon as
    /// those are.
    arrived: Vec<Seq>,
    acknowledging: JoinSet<Result<Written, Error>>,
}

impl Deliver {
    /// Delivers until the stop; then what can be delivered within a second is, and all else stays in the
    /// outbox.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let active = self.store.active(&self.name).await?;
        let lane = Lane::new(self.name.clone(), self.sending, active, self.clock.now().steady);
        let attempts = JoinSet::new();
        let writes = JoinSet::new();
        let files = Vec::new();
        let next_look = Steady::default();
        Running {
            parts: self,
            lane,
            files,
            next_look,
            attempts,
            writes,
            arrived: Vec::new(),
            acknowledging: JoinSet::new(),
        }
        .run(stop)
        .await
    }
}

impl Running {
    async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut owed = self.parts.owed.subscribe();
        // What the store held before this subscription is looked for first.
        let mut give_up: Option<Steady> = None;
        loop {
            if owed.has_changed().unwrap_or(false) {
                owed.mark_unchanged();
                self.lane.look_again();
            }
            self.load().await?;
            let now = self.parts.clock.now().steady;
            self.look_at_files(now);
            let stopping = give_up.is_some_and(|until| now >= until || self.lane.is_held());
            if !stopping {
                self.attempt(now);
            }
            self.stands();
            // At a stop nothing is waited for but what is under way.
            let waits = give_up.is_none();
            if !waits && self.attempts.is_empty() && self.is_durable() {
                break;
            }
            let looks = (self.lane.is_held() && !self.files.is_empty()).then_some(self.next_look);
            let wake = self.lane.wake().into_iter().chain(looks).min().filter(|_| waits);
            tokio::select! {
                biased;
                Some(ended) = self.attempts.join_next() => self.ended(ended).await,
                Some(written) = self.writes.join_next() => self.written(written)?,
                Some(acknowledged) = self.acknowledging.join_next() => {
                    acknowledged.unwrap_or_else(|error| resume_panic(error))?;
                    self.acknowledge();
                }
                Ok(()) = owed.changed(), if waits => self.lane.look_again(),
                () = self.parts.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                () = stop.cancelled(), if waits => {
                    let now = self.parts.clock.now().steady;
                    give_up = Some(now + DRAIN);
                    // At once: an attempt under way may take longer than the stop does.
                    self.parts.store.save_active(&self.parts.name, self.lane.active(now)).await?;
                }
            }
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<(), Error> {
        while let Some((after, limit)) = self.lane.wants() {
            let page = self.parts.store.undelivered(&self.parts.name, after, limit).await?;
            self.lane.load(page, limit, self.parts.clock.now().steady);
        }
        Ok(())
    }

    /// What changed since the sink was held is tried at once: a right secret mends everything without a
    /// restart.
    fn look_at_files(&mut self, now: Steady) {
        if !self.lane.is_held() {
            self.files = Vec::new();
            return;
        }
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let before = std::mem::take(&mut self.files);
        self.files =
            self.parts.sink.mended_by().into_iter().map(|path| (path.clone(), modified(&path))).collect();
        if !before.is_empty() && before != self.files {
            tracing::info!(sink = self.parts.name, "a file of the held sink changed; it is tried at once");
            self.lane.try_now(now);
        }
    }

    fn attempt(&mut self, now: Steady) {
        while let Some(Attempt { number, events }) = self.lane.attempt(now) {
            let sink = Arc::clone(&self.parts.sink);
            self.attempts.spawn(async move { (number, sink.send(&events).await) });
        }
    }

    async fn ended(&mut self, ended: Result<(u64, Result<(), Refusal>), JoinError>) {
        let (number, result) = ended.unwrap_or_else(|error| resume_panic(error));
        let now = self.parts.clock.now();
        let spread = self.parts.clock.spread();
        let (writes, notices) = self.lane.ended(number, result, &self.parts.routes, now, spread);
        for write in writes {
            let write = match write {
                Write::Acknowledge(seqs) => {
                    self.arrived.extend(seqs);
                    continue;
                }
                other @ (Write::Tried(..) | Write::Bury(_) | Write::Tell(..)) => other,
            };
            let store = Arc::clone(&self.parts.store);
            let name = self.parts.name.clone();
            self.writes.spawn(async move { write.carry_out(store.as_ref(), &name).await });
        }
        if self.acknowledging.is_empty() {
            self.acknowledge();
        }
        // Before it is told: whoever reads of it may mend it at once.
        self.look_at_files(now.steady);
        for notice in notices {
            let waiting = if notice.is_of_lasting_trouble() { self.waiting().await } else { None };
            tell(&self.lane, notice, waiting, now);
        }
    }

    /// How much the sink is owed: more than is in memory. A line of the log is worth no failure: whoever
    /// writes next meets it, too.
    async fn waiting(&self) -> Option<u64> {
        let outbox = self.parts.store.outbox().await.ok()?;
        Some(outbox.get(&self.parts.name).copied().unwrap_or_default())
    }

    /// Makes all that arrived durable in one write.
    fn acknowledge(&mut self) {
        if self.arrived.is_empty() {
            return;
        }
        let write = Write::Acknowledge(std::mem::take(&mut self.arrived));
        let store = Arc::clone(&self.parts.store);
        let name = self.parts.name.clone();
        self.acknowledging.spawn(async move { write.carry_out(store.as_ref(), &name).await });
    }

    fn is_durable(&self) -> bool {
        self.writes.is_empty() && self.acknowledging.is_empty() && self.arrived.is_empty()
    }

    fn written(&mut self, written: Result<Result<Written, Error>, JoinError>) -> Result<(), Error> {
        match written.unwrap_or_else(|error| resume_panic(error))? {
            Written::Done => return Ok(()),
            Written::Owed => {}
            Written::Buried(seq) => self.lane.gone(seq),
        }
        self.parts.owed.send_replace(());
        Ok(())
    }

    fn stands(&self) {
        let is_idle = self.lane.is_idle() && self.is_durable();
        let stands = Standing { is_idle, is_held: self.lane.is_held(), buried: self.lane.buried() };
        // At every turn: the name is copied only where something changed.
        self.parts.standing.send_if_modified(|standing| {
            let changed = standing.get(&self.parts.name) != Some(&stands);
            if changed {
                standing.insert(self.parts.name.clone(), stands);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests;
