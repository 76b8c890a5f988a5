//! The parts of the configuration that come and go: a sink, and an account.

use std::sync::Arc;

use rand::RngExt;

use super::boundary::ScriptedSink;
use super::world::{OTHER, World, share};
use super::{History, LaneChanges, SINKS, change_lanes};
use crate::deliver::Deliver;
use crate::live::command;

/// The parts of the configuration that come and go: a sink, and an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Whether the first sink is configured.
    pub sink: bool,
    /// Whether the second account is configured.
    pub account: bool,
}

impl Parts {
    pub const ALL: Self = Self { sink: true, account: true };

    pub fn has_sink(self, place: usize) -> bool {
        self.sink || place != 0
    }

    pub fn has_task(self, id: u64) -> bool {
        self.account || share(id) != OTHER
    }
}

impl History<'_> {
    /// A sink or an account leaves the configuration, or comes back.
    pub async fn change_the_parts(&mut self) -> Result<(), String> {
        if self.outside.state().world.rng.random_bool(0.5) {
            self.parts.sink = !self.parts.sink;
        } else {
            self.parts.account = !self.parts.account;
            let parts = self.parts;
            self.file.retain(|id, _| parts.has_task(*id));
        }
        self.restart().await
    }

    /// The configured sinks, with their places.
    pub fn sinks(&self) -> impl Iterator<Item = (usize, &'static str)> {
        let parts = self.parts;
        SINKS.into_iter().enumerate().filter(move |(place, _)| parts.has_sink(*place))
    }

    /// Starts the loops of new sinks, and stops those of removed ones.
    pub fn change_the_lanes(&mut self) {
        let (now, parts) = (self.outside.now(), self.parts);
        self.outside.state().witness.uses(parts, now);
        let used: Vec<_> = self.sinks().collect();
        let Some(life) = &mut self.life else { return };
        let is_used = |name: &str| used.iter().any(|(_, used)| *used == name);
        let stop: Vec<_> = life.running.keys().filter(|name| !is_used(name)).cloned().collect();
        let mut start = Vec::new();
        for (place, name) in used {
            if life.running.contains_key(name) {
                continue;
            }
            let (way, commands) = command::channel();
            life.to_lanes[place] = way;
            let sending = World::sendings()[place];
            let sink = ScriptedSink { outside: Arc::clone(&self.outside), place, batch: sending.batch };
            start.push(Deliver {
                name: name.to_owned(),
                sink: Arc::new(sink),
                sending,
                live: life.live.subscribe(),
                store: Arc::clone(&self.store),
                clock: self.outside.clock.clock(),
                outbox: life.outbox.clone(),
                status: life.sinks_status.clone(),
                commands,
                files: Arc::clone(&self.stage.files),
            });
        }
        let changes = LaneChanges { stop, start };
        change_lanes(changes, &mut life.lanes, &mut life.running, &life.lanes_stop);
    }
}
