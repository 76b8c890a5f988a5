//! Where each task stands, as far as the daemon told it: what is shown, and what the exit code is made of.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::clock::Steady;
use crate::model::event::{Event, Kind};
use crate::model::reading::Code;
use crate::model::task::{NewTask, Target};
use crate::watch::PollReport;

/// All tasks of the command.
pub struct Tasks {
    /// In the order in which they were given.
    pub rows: Vec<Row>,
    /// When the watch began.
    pub started: Steady,
    /// How many came to which end.
    pub tally: Tally,
    places: HashMap<(Target, String), usize>,
    holds: Vec<Hold>,
}

/// One task.
pub struct Row {
    target: Arc<Target>,
    /// Its id.
    pub id: String,
    /// Its name, where it was given one.
    pub name: Option<String>,
    /// Its last status.
    pub status: Option<Code>,
    /// Why the last poll brought none.
    pub fault: Option<String>,
    /// When it is asked next.
    pub next: Option<Steady>,
    /// Whether it is over.
    pub is_over: bool,
}

/// How many tasks came to which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of it succeeded.
    pub success: usize,
    /// All of it failed.
    pub failure: usize,
    /// Part succeeded, part failed.
    pub partial: usize,
    /// It was unfinished at its own deadline.
    pub deadline: usize,
    /// The cloud does not know such a task.
    pub rejected: usize,
    /// Not over yet.
    pub open: usize,
}

/// What is held, and why.
struct Hold {
    account: String,
    /// Of one pace key alone.
    region_and_operation: Option<(String, String)>,
    words: String,
}

impl Tasks {
    /// None of them was asked for yet.
    pub fn new(tasks: &[NewTask], now: Steady) -> Self {
        let row = |task: &NewTask| Row {
            target: Arc::clone(&task.target),
            id: task.id.to_string(),
            name: task.settings.name.clone(),
            status: None,
            fault: None,
            next: None,
            is_over: false,
        };
        let rows: Vec<Row> = tasks.iter().map(row).collect();
        let places = rows
            .iter()
            .enumerate()
            .map(|(place, row)| (((*row.target).clone(), row.id.clone()), place))
            .collect();
        let tally = Tally { open: rows.len(), ..Tally::default() };
        Self { rows, started: now, tally, places, holds: Vec::new() }
    }

    /// A poll was answered, or failed.
    pub fn seen(&mut self, seen: PollReport) {
        let Some(row) = self.row((*seen.target).clone(), seen.id.to_string()) else { return };
        row.next = seen.next;
        match seen.poll {
            Ok(status) => (row.status, row.fault) = (Some(status), None),
            Err(fault) => row.fault = Some(fault.to_string()),
        }
    }

    /// Something happened.
    pub fn told(&mut self, event: &Event) {
        // It was made within this process.
        let record: Value = serde_json::from_str(&event.body).unwrap_or_default();
        let data = &record["data"];
        match event.kind {
            Kind::Finished | Kind::Abandoned => self.over(data),
            Kind::AccountHeld => {
                let hold = hold(data);
                self.release(&hold);
                self.holds.push(hold);
            }
            Kind::AccountReleased => self.release(&hold(data)),
            Kind::Progressed
            | Kind::Overdue
            | Kind::GroupFinished
            | Kind::SinkHeld
            | Kind::SinkReleased
            | Kind::DeliveryDead => {}
        }
    }

    /// Why a task is not asked for, where that is so.
    pub fn hold_of(&self, row: &Row) -> Option<&str> {
        let is_of = |hold: &&Hold| {
            let Target { account, region, operation } = &*row.target;
            hold.account == *account
                && hold
                    .region_and_operation
                    .as_ref()
                    .is_none_or(|pair| (&pair.0, &pair.1) == (region, operation))
        };
        self.holds.iter().find(is_of).map(|hold| hold.words.as_str())
    }

    /// Why anything is held.
    pub fn causes(&self) -> Vec<&str> {
        self.holds.iter().map(|hold| hold.words.as_str()).collect()
    }

    /// The ids of those that are not over.
    pub fn open_ids(&self) -> Vec<String> {
        self.rows.iter().filter(|row| !row.is_over).map(|row| row.id.clone()).collect()
    }

    fn over(&mut self, data: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let task = &data["task"];
        let target = Target {
            account: text(&task["account"]),
            region: text(&task["region"]),
            operation: text(&task["operation"]),
        };
        let Some(row) = self.row(target, text(&task["id"])) else { return };
        if std::mem::replace(&mut row.is_over, true) {
            return;
        }
        self.tally.open -= 1;
        let end = match (data["outcome"].as_str(), data["reason"].as_str()) {
            (Some("success"), _) => &mut self.tally.success,
            (Some("partial"), _) => &mut self.tally.partial,
            (None, Some("deadline")) => &mut self.tally.deadline,
            (None, Some("rejected")) => &mut self.tally.rejected,
            // Nothing else is made here, and what is not known to be well is not.
            (Some(_) | None, _) => &mut self.tally.failure,
        };
        *end += 1;
    }

    fn row(&mut self, target: Target, id: String) -> Option<&mut Row> {
        self.places.get(&(target, id)).map(|place| &mut self.rows[*place])
    }

    fn release(&mut self, over: &Hold) {
        self.holds.retain(|hold| {
            (&hold.account, &hold.region_and_operation) != (&over.account, &over.region_and_operation)
        });
    }
}

fn hold(data: &Value) -> Hold {
    let text = |key: &str| data[key].as_str().map(str::to_owned);
    let code = &data["error"]["code"];
    let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
    let message = data["error"]["message"].as_str().unwrap_or_default();
    Hold {
        account: text("account").unwrap_or_default(),
        region_and_operation: text("region").zip(text("operation")),
        words: format!("{code}: {message}"),
    }
}
