//! The hot row of a waiting task: small and flat, since there may be a million of them.
//!
//! Names, labels and history live in the store and are read when an event is made (docs/architecture.md §4).

use std::time::Duration;

use super::compact::Compact;
use super::reading::Code;
use super::task::{Row, TaskId};
use crate::clock::{Moment, Steady, Wall};

/// The position of a target in the target table of the running configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetIndex(pub u32);

/// The state of one task that polling needs. Steady times are those of this process; the store has them as
/// wall times.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Its key in the store.
    pub row: Row,
    /// The task id.
    pub id: TaskId,
    /// Account, region and operation.
    pub target: TargetIndex,
    /// Further request parameters, where the operation needs them.
    pub params: Option<Box<[(String, String)]>>,
    /// When the next poll falls due.
    pub due: Steady,
    /// The due moment of the first poll, or the last change: the interval grows from here.
    pub since: Steady,
    /// When it was registered.
    pub started: Started,
    /// From registration to the deadline; `None`: never.
    pub timeout: Compact<Duration>,
    /// From registration to the one `overdue` event; `None`: never.
    pub warn_after: Compact<Duration>,
    /// The moment of the last poll.
    pub polled: Compact<Steady>,
    /// The moment of the last successful poll, by the clock of [`Times::agreed`]: its age is right after a
    /// jump of the local clock. After a crash, the last stored one.
    pub seen: Compact<Wall>,
    /// The digest of the last reading; zero before the first.
    pub digest: u64,
    /// The status of the last reading.
    pub status: Option<Code>,
    /// Equal refusals since the last successful poll.
    pub refusals: Option<Box<Refusals>>,
    /// Polls so far; after a crash a lower bound.
    pub polls: u32,
    /// The number of failed polls so far; after a crash, a lower bound.
    pub errors: u32,
    /// Faults in a row, for the backoff. A successful poll resets it, and so does a fault that puts the account or the pace
    /// key on hold.
    pub streak: u16,
    /// Whether its `overdue` event exists.
    pub warned: bool,
    /// Whether a poll of the task is in flight.
    pub in_flight: bool,
    /// Whether its last connection ended before a response: the next poll uses a new connection.
    pub lost_connection: bool,
    /// Whether the last write to the store lacks a poll of it.
    pub unsaved: bool,
    /// Whether a person paused it: it is not polled.
    pub paused: bool,
    /// Whether a person set `timeout`, in place of the settings.
    pub extended: bool,
}

/// The registration of a task, on every clock in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Started {
    /// By the steady clock of this process, as the local wall clock showed it at the load.
    pub steady: Steady,
    /// By the local wall clock.
    pub local: Wall,
    /// By the cloud's clock, once the offset to it is known.
    pub cloud: Compact<Wall>,
}

/// Refusals of one id in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusals {
    /// Their code.
    pub code: Code,
    /// The number of refusals.
    pub count: u32,
    /// When the first one came.
    pub since: Steady,
}

/// One moment on the local clocks and on the cloud's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Times {
    /// Here.
    pub local: Moment,
    /// There, once the offset is known.
    pub cloud: Option<Wall>,
}

impl Waiting {
    /// A task without a poll, registered and due at that moment.
    pub fn new(row: Row, id: TaskId, target: TargetIndex, now: Moment) -> Self {
        Self {
            row,
            id,
            target,
            params: None,
            due: now.steady,
            since: now.steady,
            started: Started { steady: now.steady, local: now.wall, cloud: Compact::default() },
            timeout: Compact::default(),
            warn_after: Compact::default(),
            polled: Compact::default(),
            seen: Compact::default(),
            digest: 0,
            status: None,
            refusals: None,
            polls: 0,
            errors: 0,
            streak: 0,
            warned: false,
            in_flight: false,
            lost_connection: false,
            unsaved: false,
            paused: false,
            extended: false,
        }
    }

    /// Continues as the same task before a change of the configuration: the state of its polls stays, and its settings are
    /// those of this one.
    pub fn continue_as(&mut self, before: &Self) {
        if self.started.local != before.started.local {
            return;
        }
        let never_polled = before.polls == 0 && before.streak == 0;
        let own = self.clone();
        *self = Self {
            row: own.row,
            id: own.id,
            target: own.target,
            params: own.params,
            timeout: if before.extended { before.timeout } else { own.timeout },
            warn_after: own.warn_after,
            due: if never_polled { own.due } else { before.due },
            since: if never_polled { own.since } else { before.since },
            in_flight: false,
            ..before.clone()
        };
    }

    /// A person moves the deadline to `left` from now, by the slowest clock. The last poll is planned for it.
    pub fn extend(&mut self, left: Duration, now: Times) {
        self.timeout = Some(self.started.elapsed(now) + left).into();
        self.extended = true;
        self.due = self.due.min(now.local.steady + left);
    }
}

impl Started {
    /// The time left of a span that began at the start; zero once it has passed. It has passed when the local
    /// clock, the cloud's clock and the monotonic clock all show it. A local clock before the start is
    /// ignored, and so is an unknown clock of the cloud; without both, it has not passed. The monotonic clock
    /// counts from the load of the task: a step of the local clock within one process ends nothing
    /// (docs/architecture.md §4). A step between two processes shows only in the cloud's clock. Where that
    /// was known before, the first response of this process is awaited.
    pub fn remaining(&self, span: Duration, at: Times) -> Duration {
        if self.waits_for_cloud(at) {
            return span.max(Duration::from_secs(1));
        }
        let local = (at.local.wall >= self.local).then(|| (self.local + span) - at.local.wall);
        let cloud = self.cloud.get().zip(at.cloud).map(|(started, now)| (started + span) - now);
        let monotonic = (self.steady + span) - at.local.steady;
        local.max(cloud).map_or(span.max(Duration::from_secs(1)), |left| left.max(monotonic))
    }

    /// Whether the cloud's clock was known at the start, and is not known in this process yet.
    pub fn waits_for_cloud(&self, at: Times) -> bool {
        self.cloud.get().is_some() && at.cloud.is_none()
    }

    /// The time since the start, by the cloud's clock once it is known.
    pub fn elapsed(&self, at: Times) -> Duration {
        self.cloud
            .get()
            .zip(at.cloud)
            .map_or_else(|| at.local.steady - self.steady, |(started, now)| now - started)
    }

    /// Sets the start on the cloud's clock, once that clock is known; later calls change nothing. It is the later of two
    /// values, so that a jump of the local clock makes no deadline early: the cloud's time now less the age of the task, and
    /// the local time at the start (at most the cloud's time now).
    pub fn learn(&mut self, at: Times) {
        let ago = at.local.steady - self.steady;
        let learned = |now: Wall| (now - ago).max(self.local.min(now));
        self.cloud = self.cloud.get().or(at.cloud.map(learned)).into();
    }
}

impl Times {
    /// The cloud's time if its offset is known, else the local time.
    pub fn agreed(self) -> Wall {
        self.cloud.unwrap_or(self.local.wall)
    }

    /// The same cloud clock at another local moment.
    pub fn at(self, moment: Moment) -> Self {
        let shift = (moment.steady.0 - self.local.steady.0) / 1000;
        Self { local: moment, cloud: self.cloud.map(|cloud| Wall(cloud.0.saturating_add(shift))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEARS: i64 = 5 * 365 * 24 * 3_600_000;

    fn times(seconds: i64, local_error: i64, cloud: Option<i64>) -> Times {
        let steady = Steady(seconds * 1_000_000);
        let wall = Wall(YEARS * 10 + seconds * 1000 + local_error);
        Times {
            local: Moment { steady, wall },
            cloud: cloud.map(|error| Wall(YEARS * 10 + seconds * 1000 + error)),
        }
    }

    fn started(local_error: i64) -> Started {
        let at = times(0, local_error, None).local;
        Started { steady: at.steady, local: at.wall, cloud: Compact::default() }
    }

    #[test]
    fn the_hot_row_and_its_places_in_queue_and_table_stay_far_below_250_bytes() {
        let queue_and_table = 16 + 16;
        assert!(size_of::<Option<Waiting>>() + queue_and_table <= 208, "{}", size_of::<Option<Waiting>>());
    }

    #[test]
    fn a_deadline_has_passed_only_when_all_clocks_say_so() {
        let mut start = started(0);
        start.learn(times(0, 0, Some(0)));
        assert_eq!(start.remaining(HOUR, times(1800, 0, Some(0))), HOUR / 2);
        assert_eq!(start.remaining(HOUR, times(3600, 0, Some(0))), Duration::ZERO);
        assert_eq!(
            start.remaining(HOUR, times(1800, YEARS, Some(0))),
            HOUR / 2,
            "the local clock jumped ahead"
        );
        assert_eq!(
            start.remaining(HOUR, times(3600, -1_800_000, Some(0))),
            HOUR / 2,
            "the local clock was set back"
        );
    }

    #[test]
    fn a_step_of_the_local_clock_within_a_process_ends_nothing_without_the_cloud_s_clock() {
        let start = started(0);
        assert_eq!(start.remaining(HOUR, times(4, YEARS, None)), HOUR - Duration::from_secs(4));
        assert_eq!(start.remaining(HOUR, times(3600, YEARS, None)), Duration::ZERO);
        // Registered half an hour before the load: the time left is that much shorter.
        let loaded = Started {
            steady: Steady(-1_800_000_000),
            local: Wall(start.local.0 - 1_800_000),
            cloud: Compact::default(),
        };
        assert_eq!(loaded.remaining(HOUR, times(1700, YEARS, None)), Duration::from_secs(100));
    }

    #[test]
    fn a_step_while_no_process_runs_ends_nothing_before_the_cloud_s_clock_is_known_again() {
        let loaded = Started { cloud: Some(Wall(YEARS * 10)).into(), ..started(0) };
        assert!(loaded.remaining(HOUR, times(7200, YEARS, None)) > Duration::ZERO);
        assert_eq!(loaded.remaining(HOUR, times(1800, YEARS, Some(0))), HOUR / 2);
        assert_eq!(loaded.remaining(HOUR, times(7200, YEARS, Some(0))), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_stands_before_the_registration_has_no_vote() {
        let mut start = started(0);
        assert!(start.remaining(HOUR, times(9_000, -YEARS, None)) > Duration::ZERO);
        start.learn(times(0, 0, Some(0)));
        assert_eq!(start.remaining(HOUR, times(3600, -YEARS, Some(0))), Duration::ZERO);
    }

    #[test]
    fn a_machine_that_booted_in_1970_counts_from_the_cloud_s_time_once_it_knows_it() {
        let mut start = started(-10 * YEARS);
        start.learn(times(60, -10 * YEARS, Some(0)));
        assert_eq!(start.elapsed(times(600, -10 * YEARS, Some(0))), Duration::from_secs(600));
        assert_eq!(
            start.remaining(HOUR, times(600, 0, Some(0))),
            HOUR - Duration::from_secs(600),
            "the clock was set right since"
        );
    }

    #[test]
    fn a_clock_that_jumped_before_the_first_response_ends_no_task_early() {
        // Registered by a right clock, which is five years ahead at the next start.
        let mut start = Started { steady: Steady(-5 * 365 * 24 * 3_600_000_000), ..started(0) };
        start.learn(times(60, YEARS, Some(0)));
        assert_eq!(start.remaining(HOUR, times(60, YEARS, Some(0))), HOUR - Duration::from_secs(60));
    }

    #[test]
    fn elapsed_time_is_never_negative() {
        let start = Started { cloud: Some(Wall(YEARS * 20)).into(), ..started(0) };
        assert_eq!(start.elapsed(times(1, 0, Some(0))), Duration::ZERO);
    }
}
