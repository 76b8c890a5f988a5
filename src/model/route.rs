//! Routing: the sinks of an event. They are selected when the event is made, and committed with it: a sink
//! that is added later gets later events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::Kind;
use super::reading::Outcome;
use super::task::Settings;

/// The sink that always exists. A task that names sinks cannot leave it out, and its own filters may narrow it.
pub const LOG: &str = "log";

/// The names in `events` of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventGroup {
    /// A task finished with an outcome.
    Finished,
    /// A task was abandoned.
    Abandoned,
    /// A task's status, or an instance's, changed.
    Progressed,
    /// A task takes longer than `warn_after`.
    Overdue,
    /// All tasks of a group have finished.
    Group,
    /// Holds, releases and dead letters.
    Trouble,
}

/// The filters of one configured sink.
#[derive(Clone, Debug)]
pub struct SinkRoute {
    /// Its name.
    pub sink: String,
    /// The events that this sink gets.
    pub events: Vec<EventGroup>,
    /// The outcomes of finished tasks that this sink gets; `None`: all.
    pub outcomes: Option<Vec<Outcome>>,
    /// Only events of tasks with all of these labels, and of their groups. Events of the group `trouble` are
    /// not filtered.
    pub labels: BTreeMap<String, String>,
}

/// The configured sinks, `log` included.
#[derive(Clone, Debug, Default)]
pub struct Routes(pub Vec<SinkRoute>);

impl EventGroup {
    /// Every group: the default of `log`.
    pub const ALL: [Self; 6] =
        [Self::Finished, Self::Abandoned, Self::Progressed, Self::Overdue, Self::Group, Self::Trouble];
    /// The default of every other sink.
    pub const USUAL: [Self; 2] = [Self::Finished, Self::Abandoned];

    /// The group of a kind.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Finished => Self::Finished,
            Kind::Abandoned => Self::Abandoned,
            Kind::Progressed => Self::Progressed,
            Kind::Overdue => Self::Overdue,
            Kind::GroupFinished => Self::Group,
            Kind::AccountHeld
            | Kind::AccountReleased
            | Kind::SinkHeld
            | Kind::SinkReleased
            | Kind::DeliveryDead => Self::Trouble,
        }
    }
}

impl SinkRoute {
    /// Whether the sink gets events of a task: the task names it or no sink, and carries its labels.
    fn is_for(&self, settings: &Settings) -> bool {
        let is_chosen =
            self.sink == LOG || settings.sinks.as_ref().is_none_or(|chosen| chosen.contains(&self.sink));
        is_chosen && self.labels.iter().all(|(name, value)| settings.labels.get(name) == Some(value))
    }
}

impl Routes {
    /// The sinks of an event of this task: `log` and the named sinks, or all if it names none; of these, the
    /// sinks with a matching event, outcome and label filter.
    pub fn of_task(&self, kind: Kind, settings: &Settings, outcome: Option<Outcome>) -> Vec<String> {
        let wants = |route: &SinkRoute| {
            route.outcomes.as_ref().zip(outcome).is_none_or(|(wanted, outcome)| wanted.contains(&outcome))
        };
        self.of(kind, |route| wants(route) && route.is_for(settings))
    }

    /// The sinks of a group event: those that get events of any of its tasks.
    pub fn of_group(&self, kind: Kind, settings: &[Settings]) -> Vec<String> {
        self.of(kind, |route| settings.iter().any(|settings| route.is_for(settings)))
    }

    /// The sinks of an event that is about no task.
    pub fn of_trouble(&self, kind: Kind) -> Vec<String> {
        self.of(kind, |_| true)
    }

    fn of(&self, kind: Kind, chosen: impl Fn(&SinkRoute) -> bool) -> Vec<String> {
        let wants = |route: &&SinkRoute| chosen(route) && route.events.contains(&EventGroup::of(kind));
        self.0.iter().filter(wants).map(|route| route.sink.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let route = |sink: &str, events: &[EventGroup]| SinkRoute {
            sink: sink.into(),
            events: events.into(),
            outcomes: None,
            labels: BTreeMap::new(),
        };
        Routes(vec![
            route("audit", &EventGroup::USUAL),
            route(LOG, &EventGroup::ALL),
            route("ops", &[EventGroup::Overdue, EventGroup::Trouble]),
        ])
    }

    #[test]
    fn a_task_that_names_sinks_is_reported_to_those_and_to_the_log() {
        let naming = |sinks: &[&str]| Settings {
            sinks: Some(sinks.iter().map(|sink| sink.to_string()).collect()),
            ..Settings::default()
        };
        let success = Some(Outcome::Success);
        assert_eq!(routes().of_task(Kind::Finished, &Settings::default(), success), ["audit", "log"]);
        assert_eq!(routes().of_task(Kind::Overdue, &naming(&["audit", "ops"]), None), ["log", "ops"]);
        assert_eq!(routes().of_task(Kind::Finished, &naming(&[]), success), ["log"]);
    }

    #[test]
    fn outcomes_and_labels_filter_the_events_of_a_sink() {
        let mut routes = routes();
        routes.0[0].outcomes = Some(vec![Outcome::Failure, Outcome::Partial]);
        routes.0[0].labels = [("team".to_owned(), "dba".to_owned())].into();
        let of = |team: &str, outcome: Option<Outcome>| {
            let labels = [("team".to_owned(), team.to_owned()), ("rack".to_owned(), "7".to_owned())].into();
            let kind = if outcome.is_some() { Kind::Finished } else { Kind::Abandoned };
            routes.of_task(kind, &Settings { labels, ..Settings::default() }, outcome)
        };
        assert_eq!(of("dba", Some(Outcome::Failure)), ["audit", "log"]);
        assert_eq!(of("dba", Some(Outcome::Success)), ["log"]);
        assert_eq!(of("web", Some(Outcome::Failure)), ["log"]);
        assert_eq!(of("dba", None), ["audit", "log"], "an abandoned task has no outcome to be filtered by");
    }

    #[test]
    fn trouble_events_go_to_the_log_and_to_sinks_that_select_them() {
        assert_eq!(routes().of_trouble(Kind::AccountHeld), ["log", "ops"]);
    }
}
