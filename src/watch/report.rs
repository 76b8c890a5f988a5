//! The state of tasks and accounts, for people.

use std::collections::{HashMap, VecDeque};

use super::machine::Machine;
use crate::clock::Moment;
use crate::live::command::{
    AccountReport, GateReport, HoldReport, PollNote, ProbesReport, ScopeReport, TaskReport,
};
use crate::model::board::Scope;
use crate::model::reading::{Fault, Reading};
use crate::model::task::Row;

/// Polls that are kept for each task.
const POLLS: usize = 10;
/// Tasks whose polls are kept.
const TASKS: usize = 10_000;

/// The last polls of the tasks that were polled first since the start, at most 10 of each of 10,000 tasks; a further task
/// takes the place of the oldest one.
#[derive(Default)]
pub(super) struct RecentPolls {
    polls: HashMap<Row, VecDeque<PollNote>>,
    order: VecDeque<Row>,
}

impl RecentPolls {
    /// Adds a poll.
    pub(super) fn add(&mut self, row: Row, poll: &Result<Reading, Fault>, now: Moment) {
        let note = PollNote {
            at: now.wall,
            result: poll.as_ref().map(|reading| reading.status.clone()).map_err(ToString::to_string),
        };
        if let Some(polls) = self.polls.get_mut(&row) {
            if polls.len() == POLLS {
                polls.pop_front();
            }
            return polls.push_back(note);
        }
        if self.order.len() == TASKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.polls.remove(&oldest);
        }
        self.order.push_back(row);
        self.polls.insert(row, [note].into());
    }

    fn of(&self, row: Row) -> Vec<PollNote> {
        self.polls.get(&row).into_iter().flatten().cloned().collect()
    }
}

impl Machine {
    /// The state of these tasks. Tasks that are not open have only their last polls.
    pub(super) fn task_reports(&self, rows: &[Row], now: Moment) -> HashMap<Row, TaskReport> {
        rows.iter().map(|row| (*row, self.task_report(*row, now))).collect()
    }

    fn task_report(&self, row: Row, now: Moment) -> TaskReport {
        let recent = self.recent.of(row);
        let Some(task) = self.board.find(row).and_then(|slot| self.board.get(slot)) else {
            return TaskReport { recent, ..TaskReport::default() };
        };
        let is_on_hold = self.board.is_on_hold(task.target);
        let is_paused = task.paused || self.board.is_account_paused(task.target);
        let is_polled = !(is_on_hold || is_paused || task.in_flight);
        let slot = self.board.next_of(task.target).filter(|_| is_polled);
        let deadline = task
            .timeout
            .get()
            .map(|timeout| now.wall + task.started.remaining(timeout, self.board.times(task.target, now)));
        TaskReport {
            polls: Some((task.polls, task.errors)),
            status: task.status.clone(),
            last_poll: task.polled.get().map(|at| now.wall_of(at)),
            next_poll: slot.map(|slot| now.wall_of(task.due.max(slot).max(now.steady))),
            deadline,
            is_failing: task.streak > 0,
            is_on_hold,
            is_paused,
            recent,
        }
    }

    /// The state of all configured accounts, and of their pace keys with tasks.
    pub(super) fn account_reports(&self, now: Moment) -> Vec<AccountReport> {
        let report = |name: &str| {
            let index = self.accounts.get(name).map(|account| Scope::Account(*account));
            AccountReport {
                name: name.to_owned(),
                is_paused: self.paused_accounts.contains(name),
                hold: index.and_then(|scope| self.hold_report(scope, now)),
                tasks: index.map_or(0, |scope| self.board.tasks_of(scope)),
                scopes: Vec::new(),
            }
        };
        let mut reports: Vec<_> = self.current.cloud.accounts().map(report).collect();
        for (scope, target) in &self.target_of_key {
            let Some(known) = self.targets.get(target.0 as usize).filter(|known| known.route.is_some())
            else {
                continue;
            };
            let Some(account) = reports.iter_mut().find(|report| report.name == known.target.account) else {
                continue;
            };
            let scope = Scope::Key(*scope);
            let gate = self.board.gate(scope);
            let hold = self.hold_report(scope, now);
            account.scopes.push(ScopeReport {
                region: known.target.region.clone(),
                operation: known.target.operation.clone(),
                tasks: self.board.tasks_of(scope),
                rate_used: gate.pace.used_rate(now.steady),
                rate_allowed: gate.pace.allowed_rate(now.steady),
                is_throttled: gate.pace.is_throttled(now.steady),
                gate: GateReport {
                    breaker: self.probes_report(scope, now).filter(|_| hold.is_none()),
                    requested_pause: gate.pace.requested_pause(now.steady).map(|until| now.wall_of(until)),
                    hold,
                },
            });
        }
        for report in &mut reports {
            report
                .scopes
                .sort_by(|one, other| (&one.region, &one.operation).cmp(&(&other.region, &other.operation)));
        }
        reports
    }

    fn hold_report(&self, scope: Scope, now: Moment) -> Option<HoldReport> {
        let hold = self.board.gate(scope).hold()?;
        Some(HoldReport { error: hold.cause.to_string(), probes: self.probes_report(scope, now)? })
    }

    fn probes_report(&self, scope: Scope, now: Moment) -> Option<ProbesReport> {
        let probes = self.board.gate(scope).probes()?;
        Some(ProbesReport {
            since: probes.lasting.since.wall,
            next: now.wall_of(self.board.next_probe(scope)?),
            failed: probes.failed_probes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Steady, Wall};
    use crate::model::reading::{Class, Code};

    #[test]
    fn the_last_polls_of_a_bounded_number_of_tasks_are_kept() {
        let mut recent = RecentPolls::default();
        let fault = |code| Fault {
            class: Class::Service,
            code: Code::Int(code),
            message: String::new(),
            retry_after: None,
        };
        let now = Moment { steady: Steady(0), wall: Wall(0) };
        (0..12).for_each(|code| recent.add(Row(1), &Err(fault(code)), now));
        let kept = recent.of(Row(1));
        assert_eq!((kept.len(), kept[0].result.clone()), (10, Err(fault(2).to_string())));
        (2..=TASKS as i64 + 1).for_each(|row| recent.add(Row(row), &Err(fault(1)), now));
        assert_eq!((recent.of(Row(1)).len(), recent.of(Row(2)).len(), recent.polls.len()), (0, 1, TASKS));
    }
}
