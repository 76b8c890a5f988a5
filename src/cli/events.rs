//! `opwatch events test`: one test event to each sink, without a daemon and without a store.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use super::run::{load, stop_on_signals};
use super::{CommandFailure, print};
use crate::clock::Clock;
use crate::files;
use crate::model::delivery::{Refusal, RefusalClass};
use crate::model::event::Event;
use crate::model::reading::Outcome;
use crate::model::route::EventGroup;
use crate::model::test_event::test_event;
use crate::problem::{Place, Problem};
use crate::section::suggestion;
use crate::sinks::LineStyle;
use crate::sinks::{self, Sink};
use crate::telemetry::{self, Surroundings};

/// Sends a test event to these sinks, or to all, and prints the results; or prints the event.
///
/// # Errors
/// When the configuration is wrong, a sink is not in it, or one did not accept the event.
pub async fn test(
    path: &Path,
    names: &[String],
    only_print: bool,
    kind: TestType,
    outcome: TestOutcome,
    clock: Clock,
) -> Result<(), CommandFailure> {
    let event = test_event(kind.into(), outcome.into(), clock.now().wall);
    if only_print {
        return print::line(&event.body);
    }
    let stop = stop_on_signals(true)?;
    let loaded = load(path.to_owned()).await?;
    let chosen = chosen(&loaded.sinks, names)?;
    let surroundings = Surroundings::of_process();
    telemetry::init(&loaded.log, surroundings)?;
    let style = LineStyle::without_number(loaded.log.format.resolve(surroundings));
    let built =
        files::off_loop(move || build(chosen, &style, clock)).await.map_err(CommandFailure::Runtime)??;
    let mut not_accepted = NotAccepted::default();
    for (name, sink) in built {
        let result = attempt(sink.as_ref(), &event, &stop).await;
        print::line(&report(&name, &result))?;
        if let Err(refusal) = result {
            not_accepted.note(&name, refusal.class);
        }
    }
    if not_accepted.sinks.is_empty() { Ok(()) } else { Err(CommandFailure::NotAccepted(not_accepted)) }
}

/// The sinks that did not accept a test event.
#[derive(Debug, Default)]
pub struct NotAccepted {
    /// Their names.
    pub sinks: Vec<String>,
    /// Whether one of them will never accept it: it refused the event, or a person must act.
    pub for_good: bool,
}

impl NotAccepted {
    fn note(&mut self, name: &str, class: RefusalClass) {
        self.sinks.push(name.to_owned());
        self.for_good |= match class {
            RefusalClass::Sink | RefusalClass::Event => true,
            RefusalClass::Passing => false,
        };
    }
}

/// The type of a test event, by the words of `events` in a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TestType {
    /// `task.finished`
    #[default]
    Finished,
    /// `task.abandoned`, with the reason `deadline`
    Abandoned,
    /// `task.progressed`
    Progressed,
    /// `task.overdue`
    Overdue,
    /// `group.finished`
    Group,
    /// `account.held`
    Trouble,
}

/// The outcome of a test event of type finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TestOutcome {
    /// Success
    #[default]
    Success,
    /// Failure
    Failure,
    /// Success of some instances, failure of others
    Partial,
}

impl From<TestType> for EventGroup {
    fn from(written: TestType) -> Self {
        match written {
            TestType::Finished => Self::Finished,
            TestType::Abandoned => Self::Abandoned,
            TestType::Progressed => Self::Progressed,
            TestType::Overdue => Self::Overdue,
            TestType::Group => Self::Group,
            TestType::Trouble => Self::Trouble,
        }
    }
}

impl From<TestOutcome> for Outcome {
    fn from(written: TestOutcome) -> Self {
        match written {
            TestOutcome::Success => Self::Success,
            TestOutcome::Failure => Self::Failure,
            TestOutcome::Partial => Self::Partial,
        }
    }
}

/// Items of sinks, each with the sink's name.
type NamedItems<T> = Vec<(String, T)>;

/// The named sinks, each once, or all of them.
fn chosen(
    configured: &BTreeMap<String, sinks::Config>,
    names: &[String],
) -> Result<NamedItems<sinks::Config>, CommandFailure> {
    let known: Vec<&str> = configured.keys().map(String::as_str).collect();
    let unknown = names.iter().filter(|name| !configured.contains_key(*name)).map(|name| {
        let place = Place { key: Some("SINK".to_owned()), ..Place::default() };
        Problem::new(place, format!("there is no sink {name:?}; {}", suggestion(name, &known)))
    });
    let unknown: Vec<Problem> = unknown.collect();
    if !unknown.is_empty() {
        return Err(CommandFailure::Configuration(unknown));
    }
    let is_meant = |name: &str| names.is_empty() || names.iter().any(|meant| meant == name);
    Ok(configured
        .iter()
        .filter(|(name, _)| is_meant(name))
        .map(|(name, config)| (name.clone(), config.clone()))
        .collect())
}

/// Builds the chosen sinks, before any test event is sent. The error lists the problems of all of them.
fn build(
    chosen: NamedItems<sinks::Config>,
    style: &LineStyle,
    clock: Clock,
) -> Result<NamedItems<Box<dyn Sink>>, CommandFailure> {
    let mut problems = Vec::new();
    let mut built = Vec::new();
    for (name, config) in chosen {
        match sinks::build(&config, &name, style, clock) {
            Ok(sink) => built.push((name, sink)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(built) } else { Err(CommandFailure::Configuration(problems)) }
}

async fn attempt(sink: &dyn Sink, event: &Event, stop: &CancellationToken) -> Result<(), Refusal> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Refusal::passing("interrupted")),
        result = sink.send(std::slice::from_ref(event)) => result,
    }
}

/// One result: a word in a line with the sink's name, and the reason below, wrapped and without control
/// characters.
fn report(name: &str, result: &Result<(), Refusal>) -> String {
    let Err(refusal) = result else { return format!("{name}: delivered") };
    let word = match refusal.class {
        RefusalClass::Passing => "again later",
        RefusalClass::Event => "refused",
        RefusalClass::Sink => "held",
    };
    format!("{name}: {word}\n{}", print::wrapped(&refusal.to_string(), "  ", "  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::cloud::operations::Operations;

    #[test]
    fn no_real_task_has_the_operation_of_a_test() {
        let event = test_event(EventGroup::Finished, Outcome::Success, Wall(0));
        let operation = event.subject().split('/').next().unwrap();
        assert!(Operations::built_in().get(operation).is_none(), "{operation}");
    }

    #[test]
    fn a_long_reason_is_read_at_80_columns() {
        let path = format!("/srv/{}", "on-done-".repeat(4));
        let reported = report(
            "page",
            &Err(Refusal::of_sink(format!("cannot run {path}: {}\u{1b}", "it is not there, ".repeat(9)))),
        );
        assert!(reported.starts_with(&format!("page: held\n  cannot run {path}: it is not")), "{reported}");
        assert!(
            reported.lines().all(|line| line.len() <= print::COLUMNS) && reported.ends_with("\\u001b"),
            "{reported}"
        );
        assert_eq!(report("log", &Ok(())), "log: delivered");
    }
}
