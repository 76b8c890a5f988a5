//! One process between a start and its end: what is under way, and what is being made durable.

use std::sync::Arc;

use rand::RngExt;
use tokio::runtime::Runtime;

use super::SINKS;
use super::witness::Witness;
use super::world::{MINUTE, SECOND, World};
use crate::clock::Moment;
use crate::cloud::{Answer, Cloud};
use crate::model::due::Slot;
use crate::model::policy::Policy;
use crate::model::route::Routes;
use crate::model::task::TaskId;
use crate::store::{Rows, Seq, Store};
use crate::watch::Start;
use crate::watch::machine::{Ask, Machine};
use crate::watch::write::Write;

/// How many deliveries an attempt takes.
const BATCH: usize = 4;

pub struct Parts<'a> {
    pub cloud: &'a Cloud,
    pub routes: Arc<Routes>,
    pub policy: Policy,
    pub store: Arc<dyn Store>,
    pub listed: Arc<Rows>,
}

pub struct Life {
    /// When it began, in truth.
    started: i64,
    store: Arc<dyn Store>,
    machine: Machine,
    polls: Vec<Poll>,
    /// With the moment at which each has its turn, and the number that the witness gave it.
    writes: Vec<(i64, usize, Write)>,
    /// When each sink is tried next.
    attempts: [Option<i64>; SINKS.len()],
}

struct Poll {
    id: u64,
    slot: Slot,
    sent: (Moment, i64),
    answer: Answer,
    arrives: i64,
}

impl Life {
    pub fn start(world: &mut World, witness: &mut Witness, runtime: &Runtime, parts: Parts<'_>) -> Result<Self, String> {
        let Parts { cloud, routes, policy, store, listed } = parts;
        let started = world.now;
        let start = Start { policy, routes, listed, allow_removals: true };
        let loaded = runtime.block_on(Machine::load(start, cloud, store.as_ref(), || world.moment(started)));
        let (machine, removed) = loaded.map_err(|error| error.to_string())?;
        let mut life = Self { started, store, machine, polls: Vec::new(), writes: Vec::new(), attempts: [Some(world.now); SINKS.len()] };
        life.write(removed, None, world, witness)?;
        Ok(life)
    }

    pub fn is_writing(&self) -> bool {
        !self.writes.is_empty()
    }

    /// When it has something to do.
    pub fn next(&self) -> Option<i64> {
        let polls = self.polls.iter().map(|poll| poll.arrives);
        let writes = self.writes.iter().map(|(at, ..)| *at);
        let wake = self.machine.wake().map(|wake| wake.0.saturating_add(self.started));
        polls.chain(writes).chain(wake).chain(self.attempts.iter().flatten().copied()).min()
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
            let written = runtime.block_on(write.carry_out(self.store.as_ref())).map_err(|error| error.to_string())?;
            witness.committed(number);
            self.attempts.iter_mut().for_each(|attempt| _ = attempt.get_or_insert(world.now));
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
            let (answer, arrives) = world.answer(id);
            self.polls.push(Poll { id, slot, sent: (now, world.now), answer, arrives });
        }
        for sink in 0..SINKS.len() {
            if self.attempts[sink].is_some_and(|at| at <= world.now) && self.attempt(sink, world, witness, runtime, &mut dies)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One attempt of a sink, which may accept, refuse, or accept and not be heard.
    fn attempt(
        &mut self,
        sink: usize,
        world: &mut World,
        witness: &mut Witness,
        runtime: &Runtime,
        dies: &mut impl FnMut() -> bool,
    ) -> Result<bool, String> {
        let name = SINKS[sink];
        let owed = runtime.block_on(self.store.owed(name, Seq(0), BATCH)).map_err(|error| error.to_string())?;
        if owed.is_empty() {
            self.attempts[sink] = None;
            return Ok(false);
        }
        let (accepts, heard) = (world.rng.random_bool(0.8), world.rng.random_bool(0.9));
        if accepts {
            owed.iter().try_for_each(|owed| witness.received(sink, &owed.event))?;
        }
        if dies() {
            return Ok(true);
        }
        if accepts && heard {
            let seqs = owed.iter().map(|owed| owed.seq).collect();
            runtime.block_on(self.store.acknowledge(name, seqs)).map_err(|error| error.to_string())?;
            self.attempts[sink] = Some(world.now);
        } else {
            self.attempts[sink] = Some(world.now + SECOND + world.within(MINUTE));
        }
        Ok(dies())
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
            let takes = if world.rng.random_bool(0.1) { world.within(20 * SECOND) } else { world.within(50_000) };
            self.writes.push((world.now + takes, number, write));
        }
        Ok(())
    }

    /// A clean stop: what is under way is given up, as after the drain's patience, and the hot rows are stored.
    pub fn stop(self, world: &World, runtime: &Runtime) -> Result<(), String> {
        let hot = self.machine.unsaved(world.moment(self.started));
        runtime.block_on(self.store.keep(hot)).map_err(|error| error.to_string())
    }
}
