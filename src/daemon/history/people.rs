//! The commands of people in a history: on tasks, accounts and sinks, and new tasks.

use std::time::Duration;

use rand::RngExt;
use tokio::sync::oneshot;

use super::world::{HOUR, MINUTE};
use super::{ACCOUNTS, History, SINKS, written};
use crate::live::command::{Action, CommandRefused, Commands, TaskAction};
use crate::model::task::{NewTask, Origin, Row};
use crate::problem::Place;

/// The longest wait for the result of a command: longer means that the process crashed.
const PATIENCE: Duration = Duration::from_secs(120);

impl History<'_> {
    /// One command at random.
    pub async fn command(&mut self) -> Result<(), String> {
        let open = self.outside.state().witness.rows();
        if open.is_empty() {
            return self.add().await;
        }
        let (row, id) = *self.outside.state().world.pick(&open);
        let (kind, account, sink) = {
            let rng = &mut self.outside.state().world.rng;
            (rng.random_range(0..11), rng.random_range(0..ACCOUNTS.len()), rng.random_range(0..SINKS.len()))
        };
        match kind {
            0 => self.on_task(row, TaskAction::Poll).await.map(drop),
            1 => {
                let left = self.outside.state().world.within(3 * HOUR) + MINUTE;
                let asked_at = self.outside.now();
                self.outside.state().witness.extends(id, None, asked_at);
                let span = Duration::from_micros(left.unsigned_abs());
                let result = self.on_task(row, TaskAction::Extend(span)).await?;
                if result == Some(Ok(())) {
                    self.outside.state().witness.extends(id, Some(left), asked_at);
                }
                Ok(())
            }
            2 => {
                self.outside.state().witness.cancels(id);
                match self.on_task(row, TaskAction::Cancel).await? {
                    Some(Ok(())) if !self.outside.state().witness.has_ended(id) => {
                        Err(format!("promise 1: task {id} is open after an acknowledged cancel"))
                    }
                    Some(_) | None => Ok(()),
                }
            }
            3 | 4 => {
                if self.on_task(row, TaskAction::Pause).await? == Some(Ok(())) {
                    self.outside.state().witness.pauses_task(id, true);
                }
                Ok(())
            }
            5 => self.resume_task(row, id).await,
            6 => {
                let name = ACCOUNTS[account];
                if self.ask(&self.to_watch(), Action::Pause(name.to_owned())).await == Some(Ok(())) {
                    let now = self.outside.now();
                    self.outside.state().witness.pauses_account(name, Some(now));
                }
                Ok(())
            }
            7 => self.resume_account(ACCOUNTS[account]).await,
            8 => {
                if self.ask(&self.to_lane(sink), Action::Pause(SINKS[sink].to_owned())).await == Some(Ok(()))
                {
                    let now = self.outside.now();
                    self.outside.state().witness.pauses_sink(sink, Some(now));
                }
                Ok(())
            }
            9 => self.resume_sink(sink).await,
            _ => self.add().await,
        }
    }

    /// Ends every pause.
    pub async fn resume_all(&mut self) -> Result<(), String> {
        for name in ACCOUNTS {
            self.resume_account(name).await?;
        }
        for sink in 0..SINKS.len() {
            self.resume_sink(sink).await?;
        }
        let all = self.outside.state().witness.rows();
        for (row, id) in all {
            self.resume_task(row, id).await?;
        }
        Ok(())
    }

    async fn resume_task(&self, row: Row, id: u64) -> Result<(), String> {
        self.outside.state().witness.pauses_task(id, false);
        self.on_task(row, TaskAction::Resume).await.map(drop)
    }

    async fn resume_account(&self, name: &str) -> Result<(), String> {
        self.outside.state().witness.pauses_account(name, None);
        self.ask(&self.to_watch(), Action::Resume(name.to_owned())).await;
        Ok(())
    }

    async fn resume_sink(&self, sink: usize) -> Result<(), String> {
        self.outside.state().witness.pauses_sink(sink, None);
        self.ask(&self.to_lane(sink), Action::Resume(SINKS[sink].to_owned())).await;
        Ok(())
    }

    /// A new task by command, or one that is known.
    async fn add(&mut self) -> Result<(), String> {
        let now = self.outside.now();
        let id = {
            let world = &mut self.outside.state().world;
            let known: Vec<u64> = world.tasks.keys().copied().collect();
            if world.rng.random_bool(0.5) { world.add_task(now) } else { *world.pick(&known) }
        };
        if !self.parts.has_task(id) {
            // Its account is not configured: the interface refuses it.
            return Ok(());
        }
        let task = self.stage.catalogue.resolve(written(id), &Place::default());
        let task = task.map_err(|problem| problem.to_string())?;
        let (sender, registered) = oneshot::channel();
        let tasks = vec![NewTask { origin: Origin::Command, ..task }];
        let result = self.ask(&self.to_watch(), Action::Add(tasks, sender)).await;
        match (result, registered.await) {
            (Some(Ok(())), Err(_)) => Err(format!("task {id} was added without a result")),
            (Some(_) | None, _) => Ok(()),
        }
    }

    async fn on_task(
        &self,
        row: Row,
        action: TaskAction,
    ) -> Result<Option<Result<(), CommandRefused>>, String> {
        let result = self.ask(&self.to_watch(), Action::Task(row, action)).await;
        match result {
            Some(Err(CommandRefused::Unknown)) => Err(format!("{action:?} is refused as unknown")),
            other => Ok(other),
        }
    }

    /// The result of a command; `None`: the process crashed before it responded.
    async fn ask(&self, way: &Commands, action: Action) -> Option<Result<(), CommandRefused>> {
        let result = tokio::time::timeout(PATIENCE, way.send(action)).await.ok()?;
        // A stopped loop acknowledges nothing.
        (result != Err(CommandRefused::Stopping)).then_some(result)
    }

    fn to_watch(&self) -> Commands {
        self.life
            .as_ref()
            .map(|life| life.to_watch.clone())
            .unwrap_or_else(|| crate::live::command::channel().0)
    }

    fn to_lane(&self, sink: usize) -> Commands {
        let lanes = self.life.as_ref().map(|life| life.to_lanes[sink].clone());
        lanes.unwrap_or_else(|| crate::live::command::channel().0)
    }
}
