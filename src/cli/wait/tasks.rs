//! The state of each task, from the events and polls of the daemon: the source of the view and of the exit
//! code.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Steady;
use crate::model::board::{Delay, DelayCause};
use crate::model::event::{AccountData, Data, ErrorData, Event, Kind, TaskData, TaskPart};
use crate::model::reading::{Code, Outcome};
use crate::model::step::Reason;
use crate::model::task::{NewTask, Target};
use crate::watch::{InstanceTally, PollReport};

/// All tasks of the command.
pub struct Tasks {
    /// In the order of the arguments.
    pub rows: Vec<TaskRow>,
    /// When the watch began.
    pub started: Steady,
    /// The number of tasks by outcome.
    pub tally: Tally,
    places: HashMap<(Target, String), usize>,
    holds: Vec<HeldScope>,
    /// The targets whose polls are slowed: why and until when, as their last poll reported.
    delays: HashMap<Arc<Target>, Delay>,
    /// The polls a second of targets, used and allowed, as of their last polls.
    rates: HashMap<Arc<Target>, (f64, f64)>,
}

/// One task.
pub struct TaskRow {
    target: Arc<Target>,
    /// Its id.
    pub id: String,
    /// Its name, where it was given one.
    pub name: Option<String>,
    /// Its last status.
    pub status: Option<Code>,
    /// The instances in the last response.
    pub instances: InstanceTally,
    /// The fault of the last poll.
    pub fault: Option<String>,
    /// The moment of the next poll.
    pub next: Option<Steady>,
    /// Whether it has finished.
    pub is_over: bool,
    /// The result and its cause, unless all of it succeeded.
    pub failure: Option<Failure>,
}

/// The end of a task that did not succeed.
pub struct Failure {
    /// The result.
    pub result: &'static str,
    /// The cause, as far as the cloud names it.
    pub cause: String,
}

/// The number of tasks by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of it succeeded.
    pub success: usize,
    /// All of it failed.
    pub failure: usize,
    /// Part succeeded, part failed.
    pub partial: usize,
    /// Unfinished at its own deadline.
    pub deadline: usize,
    /// Unknown to the cloud.
    pub rejected: usize,
    /// Not over yet.
    pub open: usize,
}

/// An account or pace key on hold, and the reason.
struct HeldScope {
    account: String,
    /// Of one pace key alone.
    region_and_operation: Option<(String, String)>,
    words: String,
}

impl Tasks {
    /// Whether a task did not succeed.
    pub fn has_failed(&self) -> bool {
        let Tally { failure, partial, deadline, rejected, .. } = self.tally;
        failure + partial + deadline + rejected > 0
    }

    /// Without any poll yet.
    pub fn new(tasks: &[NewTask], now: Steady) -> Self {
        let row = |task: &NewTask| TaskRow {
            target: Arc::clone(&task.target),
            id: task.id.to_string(),
            name: task.settings.name.clone(),
            status: None,
            instances: InstanceTally::default(),
            fault: None,
            next: None,
            is_over: false,
            failure: None,
        };
        let rows: Vec<TaskRow> = tasks.iter().map(row).collect();
        let places = rows
            .iter()
            .enumerate()
            .map(|(place, row)| (((*row.target).clone(), row.id.clone()), place))
            .collect();
        let tally = Tally { open: rows.len(), ..Tally::default() };
        Self {
            rows,
            started: now,
            tally,
            places,
            holds: Vec::new(),
            delays: HashMap::new(),
            rates: HashMap::new(),
        }
    }

    /// A poll succeeded or failed.
    pub fn seen(&mut self, seen: PollReport) {
        match seen.delay {
            Some(delay) => self.delays.insert(Arc::clone(&seen.target), delay),
            None => self.delays.remove(&seen.target),
        };
        if let Some(rate) = seen.rate {
            self.rates.insert(Arc::clone(&seen.target), rate);
        }
        let Some(row) = self.row((*seen.target).clone(), seen.id.to_string()) else { return };
        row.next = seen.next;
        match seen.poll {
            Ok(status) => (row.status, row.fault, row.instances) = (Some(status), None, seen.instances),
            Err(fault) => row.fault = Some(fault.to_string()),
        }
    }

    /// Something happened.
    pub fn event_received(&mut self, event: &Event) {
        match event.data() {
            Some(Data::Task(data)) if event.kind.is_final() => self.over(data),
            Some(Data::Account(data)) => {
                let hold = hold(data);
                self.release(&hold);
                self.holds.extend((event.kind == Kind::AccountHeld).then_some(hold));
            }
            Some(Data::Task(_) | Data::Group(_) | Data::Sink(_) | Data::Delivery(_)) | None => {}
        }
    }

    /// The reason for which a task is not polled, if there is one.
    pub fn hold_of(&self, row: &TaskRow) -> Option<&str> {
        let is_of = |hold: &&HeldScope| {
            let Target { account, region, operation } = &*row.target;
            hold.account == *account
                && hold
                    .region_and_operation
                    .as_ref()
                    .is_none_or(|pair| (&pair.0, &pair.1) == (region, operation))
        };
        self.holds.iter().find(is_of).map(|hold| hold.words.as_str())
    }

    /// The delay of a task's polls, while it lasts.
    pub fn delay_of(&self, row: &TaskRow, now: Steady) -> Option<Delay> {
        self.delays.get(&row.target).copied().filter(|delay| lasts(delay, now))
    }

    /// The targets with open tasks whose polls are delayed, with the delay, by account, region and operation.
    pub fn delays(&self, now: Steady) -> Vec<(&Target, Delay)> {
        let mut delays: Vec<_> = self
            .delays
            .iter()
            .filter(|(target, delay)| lasts(delay, now) && self.has_open(target))
            .map(|(target, delay)| (&**target, *delay))
            .collect();
        delays.sort_by_key(|(target, _)| (&target.account, &target.region, &target.operation));
        delays
    }

    /// The polls a second of all targets with open tasks: used, and allowed.
    pub fn rate(&self) -> Option<(f64, f64)> {
        let open = self.rates.iter().filter(|(target, _)| self.has_open(target)).map(|(_, rate)| *rate);
        open.reduce(|(used, allowed), (more, most)| (used + more, allowed + most))
    }

    fn has_open(&self, target: &Target) -> bool {
        self.rows.iter().any(|row| !row.is_over && *row.target == *target)
    }

    /// Why anything is held.
    pub fn causes(&self) -> Vec<&str> {
        self.holds.iter().map(|hold| hold.words.as_str()).collect()
    }

    /// The ids of open tasks.
    pub fn open_ids(&self) -> Vec<String> {
        self.rows.iter().filter(|row| !row.is_over).map(|row| row.id.clone()).collect()
    }

    fn over(&mut self, data: &TaskData) {
        let TaskPart { id, operation, account, region, .. } = data.task.clone();
        let Some(place) = self.places.get(&(Target { account, region, operation }, id)) else { return };
        let (row, tally) = (&mut self.rows[*place], &mut self.tally);
        if std::mem::replace(&mut row.is_over, true) {
            return;
        }
        // Only success is known to be good; anything else counts as a failure.
        let (count, result) = match (data.outcome, data.reason) {
            (Some(Outcome::Success), _) => (&mut tally.success, None),
            (Some(Outcome::Partial), _) => (&mut tally.partial, Some("part failed")),
            (None, Some(Reason::Deadline)) => (&mut tally.deadline, Some("unfinished at its deadline")),
            (None, Some(Reason::Rejected)) => (&mut tally.rejected, Some("rejected by the cloud")),
            (None, Some(Reason::Removed)) => (&mut tally.failure, Some("removed")),
            (None, Some(Reason::Cancelled)) => (&mut tally.failure, Some("cancelled")),
            (Some(Outcome::Failure), _) | (None, None) => (&mut tally.failure, Some("failed")),
        };
        *count += 1;
        tally.open -= 1;
        row.failure = result.map(|result| Failure { result, cause: cause(data) });
    }

    fn row(&mut self, target: Target, id: String) -> Option<&mut TaskRow> {
        self.places.get(&(target, id)).map(|place| &mut self.rows[*place])
    }

    fn release(&mut self, over: &HeldScope) {
        self.holds.retain(|hold| {
            (&hold.account, &hold.region_and_operation) != (&over.account, &over.region_and_operation)
        });
    }
}

/// A throttled rate is restored by time alone; a circuit breaker is closed by a response.
fn lasts(delay: &Delay, now: Steady) -> bool {
    match delay.cause {
        DelayCause::CircuitBreaker => true,
        DelayCause::RequestedPause => delay.until.is_some_and(|until| now < until),
        DelayCause::Throttled { full_from, .. } => {
            now < full_from || delay.until.is_some_and(|until| now < until)
        }
    }
}

/// The error, or else the message of the last response.
fn cause(data: &TaskData) -> String {
    data.error.as_ref().map(in_words).or_else(|| data.message.clone()).unwrap_or_default()
}

/// The message of an error behind its code, where it has one.
fn in_words(error: &ErrorData) -> String {
    let code = error.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
    format!("{code}{}", error.message)
}

fn hold(data: &AccountData) -> HeldScope {
    let AccountData { account, region, operation, error, .. } = data;
    HeldScope {
        account: account.clone(),
        region_and_operation: region.clone().zip(operation.clone()),
        words: in_words(error),
    }
}
