//! Templates for messages: minijinja over the record of an event.
//!
//! The fields of the record are the variables of the template (`{{ data.task.name }}`), and `event` is the
//! whole record (`{{ event|tojson }}`). A missing value prints nothing, at any depth. Nothing is escaped
//! automatically, since the format of the message is unknown; `|tojson` makes a JSON value of anything.
//!
//! A template is compiled when the configuration is loaded. If it fails later, the event is sent without it,
//! and each kind of failure is logged once. A template may hold a secret, so it is never repeated.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use uuid::Uuid;

use crate::clock::Wall;
use crate::files;
use crate::lines::output::lock;
use crate::model::event::{Event, Kind};
use crate::secret::Secret;

/// Webhooks and robots accept far less; a larger text is no template.
const LARGEST_BYTES: u64 = 64 * 1024;
/// An event of a thousand instances takes some thirty thousand steps; a template with more than this would
/// delay its lane.
const FUEL: u64 = 500_000;
/// The longest output.
const LARGEST_OUTPUT_BYTES: usize = 64 * 1024;
/// The name in the template environment; the suffix switches escaping off.
const NAME: &str = "template.txt";
/// Kinds of failure that show a misspelt name, which compiling does not detect.
const MISSPELT: [ErrorKind; 4] =
    [ErrorKind::UnknownFilter, ErrorKind::UnknownTest, ErrorKind::UnknownFunction, ErrorKind::UnknownMethod];
/// The names of all fields of events (config/event.schema.json), and of the parts of a count.
const FIELDS: [&str; 44] = [
    "abandoned",
    "account",
    "attempts",
    "code",
    "counts",
    "data",
    "datacontenttype",
    "detected_within_seconds",
    "elapsed_seconds",
    "error",
    "errors",
    "event",
    "failure",
    "finished_at",
    "group",
    "id",
    "instances",
    "instances_left_out",
    "labels",
    "last_seen_at",
    "message",
    "name",
    "operation",
    "outcome",
    "partial",
    "polls",
    "previous_status",
    "reason",
    "region",
    "registered_at",
    "round",
    "since",
    "sink",
    "source",
    "specversion",
    "started_at",
    "status",
    "subject",
    "success",
    "task",
    "tasks",
    "time",
    "type",
    "waiting",
];
/// Names that the template language itself gives.
const FUNCTIONS: [&str; 6] = ["range", "dict", "namespace", "debug", "loop", "self"];
/// An event with every field, for a trial run of a template.
const SAMPLE: &str = r#"{"specversion":"1.0","id":"e490f9be-c703-57df-b614-6db43cf4fcaa","source":"opwatch/default/bj","type":"opwatch.task.finished",
"subject":"bm/1000800001","time":"2025-11-24T16:00:00.000Z","datacontenttype":"application/json","data":{"task":{"id":"1000800001",
"operation":"bm","account":"default","region":"bj","name":"reinstall rack 7","labels":{"team":"dba"}},"outcome":"success","status":1,
"instances":[{"id":"cpm-3dw234","status":1,"outcome":"success"}],"reason":"deadline","error":{"code":10001,"message":"InvalidParameter"},
"message":"done","registered_at":"2025-11-24T15:47:56.600Z","finished_at":"2025-11-24T16:00:00.000Z","elapsed_seconds":723.4,
"detected_within_seconds":31.5,"polls":17,"errors":2}}"#;

/// A template that was compiled.
pub struct Template {
    source: Secret,
    environment: Environment<'static>,
    /// The kinds of failure that were logged.
    reported: Mutex<Vec<ErrorKind>>,
}

impl Template {
    /// Compiles a template, and tries it.
    ///
    /// # Errors
    /// What is wrong in which of its lines, and what to do.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.len() as u64 > LARGEST_BYTES {
            return Err(format!("is larger than {} KiB; write a shorter one", LARGEST_BYTES / 1024));
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(FUEL));
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| reported(&error))?;
        let template = Self { source: Secret::new(source), environment, reported: Mutex::default() };
        let sample = Event::stored(Uuid::nil(), Kind::Finished, Wall(0), SAMPLE.to_owned());
        match template.render(&sample) {
            Err(error) if MISSPELT.contains(&error.kind()) => Err(reported(&error)),
            // Another failure may be this sample's alone.
            Ok(_) | Err(_) => Ok(template),
        }
    }

    /// The variables of the template that no event has, in order. The text of a template may be a secret, and a variable
    /// of it is not: only names of that form are returned.
    pub fn unknown_fields(&self) -> Vec<String> {
        let Ok(template) = self.environment.get_template(NAME) else { return Vec::new() };
        let is_known = |field: &String| {
            // Labels have any names.
            let parts = field.split('.').take_while(|part| *part != "labels");
            FUNCTIONS.contains(&field.as_str()) || parts.into_iter().all(|part| FIELDS.contains(&part))
        };
        let is_name = |field: &String| {
            field.len() <= 64
                && field.bytes().all(|byte| byte == b'.' || byte == b'_' || byte.is_ascii_alphanumeric())
        };
        let mut unknown: Vec<_> = template
            .undeclared_variables(true)
            .into_iter()
            .filter(|field| is_name(field) && !is_known(field))
            .collect();
        unknown.sort_unstable();
        unknown
    }

    /// Reads and compiles the template of a file.
    ///
    /// # Errors
    /// What is wrong with the file, or in which of its lines, and what to do.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let files::FileContent { bytes, .. } =
            files::read(path, LARGEST_BYTES).map_err(|error| error.at(path))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{shown} is not UTF-8 text; write the template into it and nothing else"))?;
        Self::new(text.strip_prefix('\u{feff}').unwrap_or(&text)).map_err(|what| format!("{shown}: {what}"))
    }

    /// The output of the template for an event of that sink. `None`: the template failed, which is logged,
    /// and the event is sent without it.
    pub fn text(&self, event: &Event, sink: &str) -> Option<String> {
        match self.render(event) {
            Ok(text) => Some(text),
            Err(error) => {
                let is_new = {
                    let mut known = lock(&self.reported);
                    let is_new = !known.contains(&error.kind());
                    known.extend(is_new.then_some(error.kind()));
                    is_new
                };
                if is_new {
                    let error = reported(&error);
                    tracing::warn!(sink, event = %event.id, error_message = error, "the sink's template failed; the event is sent as plain CloudEvents JSON");
                }
                None
            }
        }
    }

    fn render(&self, event: &Event) -> Result<String, Error> {
        let content = event
            .content()
            .ok_or_else(|| Error::new(ErrorKind::BadSerialization, "the event cannot be read"))?;
        let event = Value::from(Serde(content));
        let mut out = Bounded(Vec::new());
        self.environment
            .get_template(NAME)?
            .render_captured_to(context! { event => event.clone(), ..event }, &mut out)?;
        String::from_utf8(out.0).map_err(|error| Error::new(ErrorKind::WriteFailure, error.to_string()))
    }
}

/// Templates with the same source are equal.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_OUTPUT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line and the failure, without text of the template.
fn reported(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line} of the template: ")).unwrap_or_default();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "foreign and non-exhaustive: whatever has no words of its own keeps the library's"
    )]
    match error.kind() {
        ErrorKind::OutOfFuel => format!("{line}takes too many steps; simplify it"),
        ErrorKind::WriteFailure => {
            format!("{line}makes more than {} KiB; shorten its output", LARGEST_OUTPUT_BYTES / 1024)
        }
        kind => {
            let detail = error.detail().map(|detail| format!(", {detail}")).unwrap_or_default();
            format!("{line}{kind}{detail}; correct it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::samples;

    fn made(source: &str) -> Option<String> {
        Template::new(source)
            .unwrap_or_else(|what| panic!("{what}"))
            .text(&samples::success("rack \"7\""), "ops")
    }

    #[test]
    fn the_names_of_fields_are_those_of_the_schema() {
        fn names(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
            match schema {
                serde_json::Value::Object(keys) => keys.iter().for_each(|(key, value)| {
                    if key == "properties" {
                        found.extend(value.as_object().into_iter().flat_map(|object| object.keys().cloned()));
                    }
                    names(value, found);
                }),
                serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
                serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Number(_)
                | serde_json::Value::String(_) => {}
            }
        }
        let schema =
            serde_json::from_str(&std::fs::read_to_string("config/event.schema.json").unwrap()).unwrap();
        let mut found = ["success", "failure", "partial", "abandoned"].map(str::to_owned).into();
        names(&schema, &mut found);
        assert!(FIELDS.is_sorted() && found.iter().map(String::as_str).eq(FIELDS), "{found:?}");
    }

    #[test]
    fn a_variable_that_no_event_has_is_found() {
        let unknown = |source: &str| Template::new(source).unwrap().unknown_fields();
        assert_eq!(unknown("{{ data.task.nam }} {{ outcome }} {{ dat.x }}"), ["dat.x", "data.task.nam"]);
        for source in [
            "{{ data.task.labels.team }} {{ event|tojson }} {{ event.data.outcome }}",
            "{% for instance in data.instances %}{{ instance.id }}{{ loop.index }}{% endfor %}{{ range(3) }}",
            "{% set total = data.counts.success %}{{ total }}",
        ] {
            assert_eq!(unknown(source), [""; 0], "{source}");
        }
    }

    #[test]
    fn the_fields_of_the_record_are_variables_and_what_is_not_there_prints_as_nothing() {
        assert_eq!(
            made("{{ data.task.name }}: {{ data.outcome }} in {{ data.elapsed_seconds|round|int }} s")
                .unwrap(),
            "rack \"7\": success in 723 s"
        );
        assert_eq!(made("[{{ data.error.message }}{{ nothing.at.all }}]").unwrap(), "[]");
        assert_eq!(made(r#"{"text": {{ data.task.name|tojson }}}"#).unwrap(), r#"{"text": "rack \"7\""}"#);
        assert_eq!(
            made("{{ event.data.status }}{% if data.outcome == 'success' %}!{% endif %}").unwrap(),
            "1!"
        );
    }

    #[test]
    fn a_wrong_template_is_reported_with_its_own_line_when_it_is_compiled() {
        for (source, line, part) in [
            ("a\n{{ data.task.name ", 2, "unexpected end"),
            ("a\nb\n{% if x %}", 3, ""),
            ("{{ data.task.name|upcase }}", 1, "upcase"),
            ("\n{{ shout('x') }}", 2, "shout"),
            ("{{ data.task.name.shout() }}", 1, "shout"),
            ("{% include 'other' %}", 1, ""),
        ] {
            let what = Template::new(source).map(|_| ()).unwrap_err();
            assert!(
                what.starts_with(&format!("line {line} of the template: ")) && what.contains(part),
                "{source}: {what}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.j2");
        assert!(Template::read(&path).map(|_| ()).unwrap_err().contains("cannot read"));
        std::fs::write(&path, "\u{feff}\n{{").unwrap();
        assert!(Template::read(&path).map(|_| ()).unwrap_err().contains("ops.j2: line 2 of the template: "));
    }

    #[test]
    fn what_stands_in_a_template_is_not_repeated_by_what_is_reported_of_it() {
        for source in [
            "hunter2 {{ 'hunter2' + 1 }}",
            "{{ 'hunter2'|int }}",
            "{{ 'hunter2'|items }}",
            "{{ 'hunter2'() }}",
            "{{ 'hunter2' 'hunter2' }}",
            "{{ data['hunter2'](1) }}",
            "{% for a, b in 'hunter2' %}{% endfor %}",
            "{{ 'hunter2'.shout() }}",
            "hunter2 {% else %}",
            "{{ 'hunter2 }}",
            "{{ 'hunter2'|round }}",
            "{{ range('hunter2') }}",
            "{{ 'hunter2'|tojson(x='hunter2') }}",
        ] {
            let error = match Template::new(source) {
                Ok(template) => {
                    template.render(&samples::success("x")).map_err(|error| reported(&error)).err()
                }
                Err(what) => Some(what),
            };
            assert!(!error.clone().unwrap_or_default().contains("hunter2"), "{source}: {error:?}");
        }
    }

    #[test]
    fn a_template_that_fails_on_an_event_makes_nothing_and_says_so_once_per_kind() {
        for source in [
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
            "{% for a in range(2000) %}0123456789012345678901234567890123456789{% endfor %}",
            "{{ data.task.name + 1 }}",
            "{{ data.polls() }}",
            "{{ 'x' * 100000000000 }}",
        ] {
            let template = Template::new(source).unwrap_or_else(|what| panic!("{what}"));
            for _ in 0..2 {
                assert_eq!(template.text(&samples::success("x"), "ops"), None, "{source}");
            }
            assert_eq!(lock(&template.reported).len(), 1, "{source}");
        }
    }
}
