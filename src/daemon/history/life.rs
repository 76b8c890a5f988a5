//! One process between a start and its end: what is under way, and what is being made durable.

use std::sync::Arc;

use rand::RngExt;
use tokio::runtime::Runtime;

use super::SINKS;
use super::witness::Witness;
use super::world::{SECOND, World};
use crate::clock::Moment;
use crate::cloud::Cloud;
use crate::deliver::lane::{self, Attempt, Lane};
use crate::model::delivery::Refusal;
use crate::model::due::Slot;
use crate::model::event::Event;
use crate::model::policy::Policy;
use crate::model::reading::Response;
use crate::model::records::RowSet;
use crate::model::route::Routes;
use crate::model::task::TaskId;
use crate::store::{Error, Store};
use crate::watch::Start;
use crate::watch::machine::{Ask, Machine};
use crate::watch::write::Write;

pub struct Parts<'a> {
    pub cloud: &'a Cloud,
    pub routes: Arc<Routes>,
    pub policy: Policy,
    pub store: Arc<dyn Store>,
    pub listed: Arc<RowSet>,
}

pub struct Life {
    /// When it began, in truth.
    started: i64,
    store: Arc<dyn Store>,
    machine: Machine,
    polls: Vec<Poll>,
    /// With the moment at which each has its turn, and the number that the witness gave it.
    writes: Vec<(i64, usize, Write)>,
    routes: Arc<Routes>,
    sending: Vec<Sending>,
    /// Whether something may be owed that the lanes did not see.
    owed: bool,
}

/// The lane of a sink, and what is under way there.
struct Sending {
    lane: Lane,
    attempts: Vec<Sent>,
    /// With the moment at which each has its turn, and the event that it is about, if that is one.
    writes: Vec<(i64, Option<Event>, lane::Write)>,
}

struct Sent {
    number: u64,
    events: Vec<Event>,
    result: Result<(), Refusal>,
    ends: i64,
}

struct Poll {
    id: u64,
    slot: Slot,
    sent: (Moment, i64),
    answer: Response,
    arrives: i64,
}

impl Life {
    pub fn start(
        world: &mut World,
        witness: &mut Witness,
        runtime: &Runtime,
        parts: Parts<'_>,
    ) -> Result<Self, String> {
        let Parts { cloud, routes, policy, store, listed } = parts;
        let started = world.now;
        let start = Start { policy, routes: Arc::clone(&routes), listed, allow_removals: true };
        let loaded = runtime.block_on(Machine::load(start, cloud, store.as_ref(), || world.moment(started)));
        let (machine, removed) = loaded.map_err(|error| error.to_string())?;
        let mut sending = Vec::new();
        for (name, how) in SINKS.iter().zip(world.sendings()) {
            let active = runtime.block_on(store.active(name)).map_err(|error| error.to_string())?;
            let lane = Lane::new((*name).to_owned(), how, active, world.moment(started).steady);
            sending.push(Sending { lane, attempts: Vec::new(), writes: Vec::new() });
        }
        let polls = Vec::new();
        let writes = Vec::new();
        let mut life = Self { started, store, machine, polls, writes, routes, sending, owed: true };
        life.write(removed, None, world, witness)?;
        Ok(life)
    }

    pub fn is_writing(&self) -> bool {
        !self.writes.is_empty() || self.sending.iter().any(|sending| !sending.writes.is_empty())
    }

    /// When it has something to do.
    pub fn next(&self) -> Option<i64> {
        let polls = self.polls.iter().map(|poll| poll.arrives);
        let writes = self.writes.iter().map(|(at, ..)| *at);
        let wake = self.machine.wake(true).map(|wake| wake.0.saturating_add(self.started));
        let wake = wake.into_iter().chain(
            self.sending
                .iter()
                .filter_map(|sending| sending.lane.wake())
                .map(|wake| wake.0.saturating_add(self.started)),
        );
        let ends =
            self.sending.iter().flat_map(|sending| sending.attempts.iter().map(|attempt| attempt.ends));
        let stored = self.sending.iter().flat_map(|sending| sending.writes.iter().map(|(at, ..)| *at));
        // What became owed is looked for at once.
        polls
            .chain(writes)
            .chain(wake)
            .chain(ends)
            .chain(stored)
            .chain(self.owed.then_some(self.started))
            .min()
    }

    /// Does what is due now. Whether it died over it.
    pub fn step(
        &mut self,
        world: &mut World,
        witness: &mut Witness,
        runtime: &Runtime,
        crash_in: &mut Option<u32>,
    ) -> Result<bool, String> {
        let mut dies = || match crash_in {
            Some(0) => {
                *crash_in = None;
                true
            }
            Some(steps) => {
                *steps -= 1;
                false
            }
            None => false,
        };
        let now = world.moment(self.started);
        while let Some(index) = self.polls.iter().position(|poll| poll.arrives <= world.now) {
            let Poll { id, slot, sent: (sent, sent_at), answer, .. } = self.polls.swap_remove(index);
            witness.answered(id, &answer, world.now);
            let writes = self.machine.answered(slot, answer, sent, now, world.rng.random());
            self.write(writes, Some(sent_at), world, witness)?;
            if dies() {
                return Ok(true);
            }
        }
        while let Some(index) = self.writes.iter().position(|(at, ..)| *at <= world.now) {
            let (_, number, write) = self.writes.swap_remove(index);
            let written =
                runtime.block_on(write.carry_out(self.store.as_ref())).map_err(|error| error.to_string())?;
            witness.committed(number);
            self.owed = true;
            if dies() {
                return Ok(true);
            }
            self.machine.written(written);
        }
        while let Some(write) = self.machine.overdue(now) {
            self.write([write], None, world, witness)?;
        }
        while let Some(Ask { slot, id, route, .. }) = self.machine.ask(now) {
            let TaskId::Int(id) = id else { return Err("an id became text".to_owned()) };
            witness.asked(id, &route, world)?;
            let (answer, arrives) = world.answer(id, &route);
            self.polls.push(Poll { id, slot, sent: (now, world.now), answer, arrives });
        }
        if std::mem::take(&mut self.owed) {
            self.sending.iter_mut().for_each(|sending| sending.lane.look_again());
        }
        for sink in 0..SINKS.len() {
            if self.deliver(sink, world, witness, runtime, &mut dies)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the lane of a sink does now. Whether the process died over it.
    fn deliver(
        &mut self,
        sink: usize,
        world: &mut World,
        witness: &mut Witness,
        runtime: &Runtime,
        dies: &mut impl FnMut() -> bool,
    ) -> Result<bool, String> {
        let name = SINKS[sink];
        let now = world.moment(self.started);
        let Sending { lane, attempts, writes } = &mut self.sending[sink];
        while let Some(index) = attempts.iter().position(|attempt| attempt.ends <= world.now) {
            let Sent { number, events, result, .. } = attempts.swap_remove(index);
            let (more, _) = lane.ended(number, result, &self.routes, now, world.rng.random());
            if let Some(lane::Write::Bury(burial)) =
                more.iter().find(|write| matches!(write, lane::Write::Bury(_)))
            {
                witness.may_bury(name, &burial.error)?;
            }
            let event = events.into_iter().next();
            writes.extend(
                more.into_iter().map(|write| (world.now + world.within(50_000), event.clone(), write)),
            );
            if dies() {
                return Ok(true);
            }
        }
        while let Some(index) = writes.iter().position(|(at, ..)| *at <= world.now) {
            let (_, event, write) = writes.swap_remove(index);
            let written = runtime
                .block_on(write.carry_out(self.store.as_ref(), name))
                .map_err(|error| error.to_string())?;
            if let (lane::Written::Buried(_), Some(event)) = (written, &event) {
                witness.received(sink, event)?;
            }
            if dies() {
                return Ok(true);
            }
            if let lane::Written::Buried(seq) = written {
                lane.gone(seq);
            }
            self.owed |= written != lane::Written::Done;
        }
        while let Some((after, limit)) = lane.wants() {
            let page = runtime
                .block_on(self.store.undelivered(name, after, limit))
                .map_err(|error| error.to_string())?;
            lane.load(page, limit, now.steady);
        }
        while let Some(Attempt { number, events }) = lane.attempt(now.steady) {
            let (result, takes) = world.deliver(sink, &events, |event| witness.received(sink, event))?;
            attempts.push(Sent { number, events, result, ends: world.now + takes });
            if dies() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write(
        &mut self,
        writes: impl IntoIterator<Item = Write>,
        sent_at: Option<i64>,
        world: &mut World,
        witness: &mut Witness,
    ) -> Result<(), String> {
        for write in writes {
            let number = witness.decided(&write, sent_at, world)?;
            let takes =
                if world.rng.random_bool(0.1) { world.within(20 * SECOND) } else { world.within(50_000) };
            self.writes.push((world.now + takes, number, write));
        }
        Ok(())
    }

    /// A clean stop: what is under way is given up, as after the drain's patience, and the hot rows are
    /// stored.
    pub fn stop(self, world: &World, runtime: &Runtime) -> Result<(), String> {
        let hot = self.machine.unsaved(world.moment(self.started));
        let now = world.moment(self.started).steady;
        let kept = async {
            self.store.save(hot).await?;
            for (name, sending) in SINKS.iter().zip(&self.sending) {
                self.store.save_active(name, sending.lane.active(now)).await?;
            }
            Ok::<_, Error>(())
        };
        runtime.block_on(kept).map_err(|error| error.to_string())
    }
}
