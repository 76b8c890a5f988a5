//! The log line of an event (docs/architecture.md §7).
//!
//! The keys are guaranteed to log watchers, and are the same in text, in JSON and, in upper case, in the
//! journal. Keys are only ever added.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use uuid::Uuid;

use super::line::{Level, LogLine, MAX_VALUE_BYTES, cut};
use crate::model::event::{
    AccountData, Data, DeliveryData, ErrorData, Event, GroupData, Kind, SinkData, TaskData,
};
use crate::model::reading::{Code, Outcome};

/// The line of an event. Absent values are left out, and long texts are cut.
pub fn line(event: &Event) -> LogLine<'static> {
    let (message, _) = heading(event.kind);
    // An event whose body cannot be read still has a line.
    let values = event.data().map(|data| values(event.kind, data)).unwrap_or_default();
    let fields = values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    LogLine { time: event.time, level: level(event.kind, event.outcome()), is_event: true, message, fields }
}

/// The number of open tasks, for the lines of final events. The default knows no number.
#[derive(Clone, Debug, Default)]
pub struct OpenTasks(Option<Arc<AtomicUsize>>);

impl OpenTasks {
    /// A number that a running daemon keeps.
    pub fn counted() -> Self {
        Self(Some(Arc::default()))
    }

    /// Sets the number.
    pub fn set(&self, open: usize) {
        if let Some(number) = &self.0 {
            number.store(open, Ordering::Relaxed);
        }
    }

    /// The line of an event; that of a final event ends with the number.
    pub fn line(&self, event: &Event) -> LogLine<'static> {
        let mut line = line(event);
        if let (Some(open), Kind::Finished | Kind::Abandoned) = (&self.0, event.kind) {
            line.fields.push(("open", open.load(Ordering::Relaxed).into()));
        }
        line
    }
}

/// The text of the line of an event, in the colour of its result where the reader wants colours.
pub fn in_colour(event: &Event, text: String, has_colours: bool) -> String {
    const GREEN: &str = "\u{1b}[32m";
    const YELLOW: &str = "\u{1b}[33m";
    const RED: &str = "\u{1b}[31m";
    let colour = match event.kind {
        Kind::Finished if event.outcome() == Some(Outcome::Success) => GREEN,
        Kind::Finished if event.outcome() == Some(Outcome::Partial) => YELLOW,
        Kind::Finished | Kind::Abandoned | Kind::AccountHeld | Kind::SinkHeld | Kind::DeliveryDead => RED,
        Kind::Overdue => YELLOW,
        Kind::Progressed | Kind::GroupFinished | Kind::AccountReleased | Kind::SinkReleased => "",
    };
    if has_colours && !colour.is_empty() { format!("{colour}{text}\u{1b}[0m") } else { text }
}

/// The severity of an event.
pub fn level(kind: Kind, outcome: Option<Outcome>) -> Level {
    match kind {
        Kind::Finished if outcome == Some(Outcome::Success) => Level::Info,
        Kind::Finished if outcome == Some(Outcome::Failure) => Level::Error,
        Kind::AccountHeld | Kind::SinkHeld | Kind::DeliveryDead => Level::Error,
        Kind::Finished | Kind::Abandoned | Kind::Overdue => Level::Warn,
        Kind::Progressed | Kind::GroupFinished | Kind::AccountReleased | Kind::SinkReleased => Level::Info,
    }
}

/// The `MESSAGE_ID` of events of that type in the journal.
pub fn message_id(kind: Kind) -> Uuid {
    let (_, message_id) = heading(kind);
    Uuid::from_u128(message_id)
}

/// The message, and the journal's `MESSAGE_ID`: explained in `systemd/opwatch.catalog`, and never changed.
fn heading(kind: Kind) -> (&'static str, u128) {
    match kind {
        Kind::Finished => ("task finished", 0x053e_0b96_e045_47b7_b376_6025_25e0_a207),
        Kind::Abandoned => ("task abandoned", 0x87c4_bd83_ee6a_4a19_a3a4_7b11_877a_c186),
        Kind::Progressed => ("task progressed", 0x3b0c_9d57_4f5e_4a06_8d1c_60a2_9a77_15e4),
        Kind::Overdue => ("task overdue", 0x9e41_22cf_0d3b_4c8c_b1a9_7e55_d0f6_3b28),
        Kind::GroupFinished => ("group finished", 0x4d92_a7f0_1c6e_4b58_86b3_f5d1_9a20_e73c),
        Kind::AccountHeld => ("account held", 0xc5a8_e0b1_7d92_4f3f_a6f4_1c0b_83de_9a61),
        Kind::AccountReleased => ("account released", 0x61d7_3f9a_58c4_4be2_9e0d_b27a_4405_c8f7),
        Kind::SinkHeld => ("sink held", 0x2f60_7c4e_9b1d_4a83_8a52_d3e6_0f71_c4b9),
        Kind::SinkReleased => ("sink released", 0xb83d_1e95_60fa_4c27_93d8_5a7f_e214_0c6d),
        Kind::DeliveryDead => ("delivery dead", 0x7a19_c6d2_f38b_4e50_b7c4_2d9e_8f03_61a5),
    }
}

/// Keys in their order; `None`: the event has no such value.
type Values = Vec<(&'static str, Option<Value>)>;

fn values(kind: Kind, data: &Data) -> Values {
    // A line of a release has no error: a search for errors finds only present ones.
    let lasts = !matches!(kind, Kind::AccountReleased | Kind::SinkReleased);
    match data {
        Data::Task(data) => of_task(data),
        Data::Group(GroupData { group, round, counts, .. }) => vec![
            ("group", text(group)),
            ("round", number(*round)),
            ("success", number(counts.success)),
            ("failure", number(counts.failure)),
            ("partial", number(counts.partial)),
            ("abandoned", number(counts.abandoned)),
        ],
        Data::Account(AccountData { account, region, operation, error, since, tasks }) => vec![
            ("account", text(account)),
            ("region", region.as_deref().and_then(text)),
            ("operation", operation.as_deref().and_then(text)),
            ("error", error.code.as_ref().filter(|_| lasts).and_then(code)),
            ("error_message", text(&error.message).filter(|_| lasts)),
            ("since", text(since)),
            ("tasks", number(*tasks)),
        ],
        Data::Sink(SinkData { sink, error, since, waiting }) => vec![
            ("sink", text(sink)),
            ("error_message", text(&error.message).filter(|_| lasts)),
            ("since", text(since)),
            ("waiting", number(*waiting)),
        ],
        Data::Delivery(DeliveryData { sink, event, attempts, error }) => vec![
            ("sink", text(sink)),
            ("event", text(&event.id)),
            ("type", text(&event.r#type)),
            ("subject", text(&event.subject)),
            ("attempts", number(*attempts)),
            ("error_message", text(&error.message)),
        ],
    }
}

/// One list for all types: each has some of the values.
fn of_task(data: &TaskData) -> Values {
    let error = data.error.as_ref();
    vec![
        ("task", text(&data.task.id)),
        ("operation", text(&data.task.operation)),
        ("outcome", data.outcome.and_then(|outcome| text(&outcome.to_string()))),
        ("reason", data.reason.and_then(|reason| text(&reason.to_string()))),
        ("status", data.status.as_ref().and_then(code)),
        ("previous_status", data.previous_status.as_ref().and_then(code)),
        ("error", error.and_then(|error| code(error.code.as_ref()?))),
        // Not `message`: in JSON that key belongs to the line itself.
        ("error_message", error.and_then(|ErrorData { message, .. }| text(message))),
        ("elapsed", data.elapsed_seconds.map(Value::from)),
        ("polls", data.polls.map(Value::from)),
        ("name", data.task.name.as_deref().and_then(text)),
    ]
}

fn text(text: &str) -> Option<Value> {
    Some(cut(text, MAX_VALUE_BYTES).into())
}

fn number(number: impl Into<Value>) -> Option<Value> {
    Some(number.into())
}

fn code(code: &Code) -> Option<Value> {
    match code {
        Code::Int(code) => number(*code),
        Code::Text(code) => text(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{samples, schema};
    use crate::model::step::Reason;

    fn shown(event: &Event) -> String {
        line(event).message_and_fields()
    }

    #[test]
    fn an_abandoned_task_reports_why() {
        let event = samples::task(Kind::Abandoned, "x", |data| {
            data.reason = Some(Reason::Rejected);
            data.error = Some(ErrorData { code: Some(Code::Int(10001)), message: "no such task".to_owned() });
        });
        assert_eq!(
            shown(&event),
            r#"task abandoned task=1000800001 operation=bm reason=rejected error=10001 error_message="no such task" elapsed=723.4 polls=17 name=x"#
        );
    }

    #[test]
    fn every_type_has_the_keys_that_are_promised_in_their_order() {
        let keys = |kind| {
            let line = line(&schema::samples(kind)[0]);
            let keys: Vec<_> = line.fields.iter().map(|(key, _)| *key).collect();
            format!("{}: {}", line.message, keys.join(" "))
        };
        assert_eq!(
            Kind::ALL.map(keys),
            [
                "task finished: task operation outcome status elapsed polls name",
                "task abandoned: task operation reason status error error_message elapsed polls name",
                "task progressed: task operation status previous_status name",
                "task overdue: task operation status elapsed name",
                "group finished: group round success failure partial abandoned",
                "account held: account region operation error error_message since tasks",
                "account released: account region operation since tasks",
                "sink held: sink error_message since waiting",
                "sink released: sink since waiting",
                "delivery dead: sink event type subject attempts error_message",
            ]
        );
    }

    #[test]
    fn an_event_from_the_store_has_the_line_that_it_was_made_with() {
        for made in Kind::ALL.into_iter().flat_map(schema::samples) {
            let stored = Event::stored(made.id, made.kind, made.time, made.body.clone());
            assert_eq!(line(&stored), line(&made));
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        let line = line(&samples::success(&"n".repeat(100_000)));
        assert!(line.fields.iter().all(|(_, value)| value.to_string().len() <= MAX_VALUE_BYTES + 2));
    }

    #[test]
    fn a_body_that_cannot_be_read_still_makes_a_line() {
        let success = samples::success("x");
        let event = Event::stored(success.id, success.kind, success.time, "{".to_owned());
        assert_eq!(shown(&event), "task finished");
    }

    #[test]
    fn the_catalog_explains_exactly_the_message_ids_of_the_code() {
        let catalog = include_str!("../../systemd/opwatch.catalog");
        let mut explained: Vec<_> =
            catalog.lines().filter_map(|line| line.strip_prefix("-- ")).map(str::to_owned).collect();
        let mut used: Vec<_> =
            Kind::ALL.into_iter().map(|kind| message_id(kind).simple().to_string()).collect();
        explained.sort();
        used.sort();
        assert_eq!(explained, used);
    }

    #[test]
    fn the_line_of_a_final_event_ends_with_the_number_of_open_tasks_where_it_is_known() {
        let open = OpenTasks::counted();
        open.set(41);
        let text = |open: &OpenTasks, event: &Event| open.line(event).text(false);
        assert!(text(&open, &samples::success("x")).ends_with(" name=x open=41"));
        assert!(text(&OpenTasks::default(), &samples::success("x")).ends_with(" name=x"));
        assert!(!text(&open, &schema::samples(Kind::Progressed)[0]).contains(" open="));
    }
}
