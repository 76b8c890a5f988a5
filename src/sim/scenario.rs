//! The scenario of the simulated cloud: written as a TOML file, or built by a test.
//!
//! An empty file is a valid scenario. Errors name file, line and key; entries of a script are read by
//! `response`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::response::{ErrorResponse, SimResponse};
use crate::clock::{Moment, Wall};
use crate::files;
use crate::model::reading::Code;
use crate::problem::{Place, Problem};
use crate::secret::Secret;
use crate::section::suggestion;
use crate::units::Span;

/// The SecretId of the simulator, unless the scenario has another.
pub const SECRET_ID: &str = "AKIDsimulator";
/// The SecretKey of the simulator, unless the scenario has another. It is not a real key.
pub const SECRET_KEY: &str = "simulator-secret-key";

/// Largest scenario file: thousands of scripts.
const LARGEST_BYTES: u64 = 4 << 20;

/// The behaviour of the cloud.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The only known SecretId; any other is refused with 4104 (`AuthFailure.SecretIdNotFound`).
    pub secret_id: String,
    /// Its key.
    pub secret_key: Secret,
    /// The required token, or 4105 (`AuthFailure.TokenFailure`). Default: none.
    pub token: Option<Secret>,
    /// The host that requests must be signed for. Default: their `Host` header; over API 2.0 without the
    /// port.
    pub signed_host: Option<String>,
    /// The accepted regions, as sent. Default: all.
    pub regions: Option<Vec<String>>,
    /// The refusal of any other region. Default: 4110 (`UnsupportedRegion`).
    pub unknown_region: ErrorResponse,
    /// The served actions; a file cannot name others.
    pub actions: Vec<ServedAction>,
    /// The offset of the cloud's clock from the clock of this machine.
    pub clock_offset: Offset,
    /// The quota of one action, region and key. Default: none.
    pub rate: Option<Quota>,
    /// The behaviour of ids that `tasks` does not list.
    pub unlisted: Unlisted,
    /// The script of each listed id. An integer id is in its shortest form.
    pub tasks: BTreeMap<String, Vec<SimResponse>>,
}

/// An action that is served, with the facts of docs/tencent-cloud-api.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedAction {
    /// Name of the action.
    pub name: String,
    /// Service and version over API 3.0. `None`: served over API 2.0.
    pub over_3_0: Option<(String, String)>,
    /// Request parameter of the task id.
    pub id: String,
    /// Whether the id is an integer, not text.
    pub is_int: bool,
    /// Further parameters, all required.
    pub params: Vec<String>,
}

/// The behaviour of an id that is not listed.
#[derive(Clone, Debug, PartialEq)]
pub enum Unlisted {
    /// A task that runs for 2 to 8 seconds and mostly succeeds.
    Runs,
    /// A task with this script.
    Follows(Vec<SimResponse>),
    /// No such task.
    Refused(ErrorResponse),
}

/// An offset of a clock in milliseconds: `"1h"`, `"-90s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Offset(pub i64);

/// A quota: calls within a sliding window, such as `"100/1m"`. Unlike a pace it allows bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Quota {
    /// The number of calls.
    pub calls: usize,
    /// Within how long.
    pub per: Duration,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            secret_id: SECRET_ID.to_owned(),
            secret_key: Secret::new(SECRET_KEY),
            token: None,
            signed_host: None,
            regions: None,
            unknown_region: ErrorResponse::new(4110, "the region is not served"),
            actions: vec![
                ServedAction {
                    name: "DescriptionOperationResult".to_owned(),
                    over_3_0: None,
                    id: "taskId".to_owned(),
                    is_int: true,
                    params: Vec::new(),
                },
                ServedAction {
                    name: "DescribeOperationResult".to_owned(),
                    over_3_0: Some(("bm".to_owned(), "2018-04-23".to_owned())),
                    id: "TaskId".to_owned(),
                    is_int: true,
                    params: Vec::new(),
                },
            ],
            clock_offset: Offset::default(),
            rate: None,
            unlisted: Unlisted::Runs,
            tasks: BTreeMap::new(),
        }
    }
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let place = || Place { file: Some(path.to_owned()), ..Place::default() };
        let files::FileContent { bytes, .. } = files::read(path, LARGEST_BYTES)
            .map_err(|error| Problem::new(place(), format!("cannot be read ({error}); {}", error.fix())))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Problem::new(place(), "is not UTF-8 text; save it as UTF-8, or name a TOML file"))?;
        Self::parse(&text, Some(path))
    }

    /// Reads the content of a file; `file` is used in messages only.
    pub fn parse(text: &str, file: Option<&Path>) -> Result<Self, Problem> {
        let source = ScenarioSource { text, file };
        let document = toml::Deserializer::parse(text)
            .map_err(|error| source.problem(error.span(), None, error.message()))?;
        let written: ScenarioEntry = serde_path_to_error::deserialize(document).map_err(|error| {
            // Parts of the path that `Spanned` adds are no keys of the file.
            let key = error.path().to_string().replace(".$__serde_spanned_private_value", "");
            let key = Some(key).filter(|key| key != ".");
            let error = error.into_inner();
            source.problem(error.span(), key, &with_suggestion(error.message()))
        })?;
        written.resolve(&source)
    }

    /// The time of the cloud's clock.
    pub(super) fn cloud_time(&self, now: Moment) -> Wall {
        Wall(now.wall.0.saturating_add(self.clock_offset.0))
    }

    /// The action of that name over API 2.0.
    pub(super) fn action_2_0(&self, name: &str) -> Option<&ServedAction> {
        self.actions.iter().find(|action| action.over_3_0.is_none() && action.name == name)
    }

    /// The action of that name over API 3.0, with its service and version.
    pub(super) fn action_3_0(&self, name: &str) -> Option<(&ServedAction, &str, &str)> {
        let found = self.actions.iter().find(|action| action.over_3_0.is_some() && action.name == name)?;
        let (service, version) = found.over_3_0.as_ref()?;
        Some((found, service, version))
    }

    /// The same with one more listed task.
    pub fn with_task(mut self, id: impl fmt::Display, responses: impl Into<Vec<SimResponse>>) -> Self {
        self.tasks.insert(canonical(&id.to_string()), responses.into());
        self
    }
}

/// The message of serde; for an unknown key, with the nearest known one.
fn with_suggestion(message: &str) -> String {
    let Some((written, expected)) =
        message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'))
    else {
        return message.to_owned();
    };
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    format!("unknown key; {}", suggestion(written, &names))
}

/// An id in the form of requests: `00042` is `42`.
pub(super) fn canonical(id: &str) -> String {
    id.parse::<u64>().map_or_else(|_| id.to_owned(), |number| number.to_string())
}

/// A scenario as it is typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioEntry {
    secret_id: Option<String>,
    secret_key: Option<Secret>,
    token: Option<Secret>,
    signed_host: Option<String>,
    regions: Option<Vec<String>>,
    unknown_region: Option<WrittenRefusal>,
    clock_offset: Option<Offset>,
    rate: Option<Quota>,
    unknown_id: Option<Spanned<WrittenRefusal>>,
    default: Option<WrittenDefault>,
    #[serde(default)]
    tasks: Vec<WrittenTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRefusal {
    code: Option<Code>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDefault {
    #[serde(rename = "answers")]
    responses: Spanned<Vec<SimResponse>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTask {
    id: Spanned<ScenarioId>,
    #[serde(rename = "answers")]
    responses: Spanned<Vec<SimResponse>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an integer, or a string")]
enum ScenarioId {
    Int(u64),
    Text(String),
}

impl ScenarioEntry {
    fn resolve(self, source: &ScenarioSource<'_>) -> Result<Scenario, Problem> {
        let default = Scenario::default();
        let unlisted = match (self.default, self.unknown_id) {
            (Some(_), Some(refusal)) => {
                let what = "contradicts `default`, which lets every id exist: leave out one of the two";
                return Err(source.problem(Some(refusal.span()), Some("unknown_id".to_owned()), what));
            }
            (Some(script), None) => Unlisted::Follows(source.script(script.responses, "default.answers")?),
            (None, Some(refusal)) => {
                let missing = ErrorResponse::new(5000, "the resource does not exist");
                Unlisted::Refused(refusal.into_inner().or(missing))
            }
            (None, None) => Unlisted::Runs,
        };
        let mut tasks = BTreeMap::new();
        for (index, task) in self.tasks.into_iter().enumerate() {
            let place = task.id.span();
            let id = match task.id.into_inner() {
                ScenarioId::Int(number) => number.to_string(),
                ScenarioId::Text(text) => canonical(&text),
            };
            let script = source.script(task.responses, &format!("tasks[{index}].answers"))?;
            if tasks.insert(id.clone(), script).is_some() {
                let what = format!("{id} is listed twice: put all its responses into one list");
                return Err(source.problem(Some(place), Some(format!("tasks[{index}].id")), &what));
            }
        }
        Ok(Scenario {
            secret_id: self.secret_id.unwrap_or(default.secret_id),
            secret_key: self.secret_key.unwrap_or(default.secret_key),
            token: self.token,
            signed_host: self.signed_host,
            regions: self.regions,
            unknown_region: match self.unknown_region {
                Some(refusal) => refusal.or(default.unknown_region),
                None => default.unknown_region,
            },
            actions: default.actions,
            clock_offset: self.clock_offset.unwrap_or_default(),
            rate: self.rate,
            unlisted,
            tasks,
        })
    }
}

impl WrittenRefusal {
    fn or(self, default: ErrorResponse) -> ErrorResponse {
        ErrorResponse {
            code: self.code.unwrap_or(default.code),
            message: self.message.unwrap_or(default.message),
        }
    }
}

/// The source of a scenario, for the place of an error.
struct ScenarioSource<'a> {
    text: &'a str,
    file: Option<&'a Path>,
}

impl ScenarioSource<'_> {
    fn problem(&self, span: Option<std::ops::Range<usize>>, key: Option<String>, what: &str) -> Problem {
        let before = span.and_then(|span| self.text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        Problem::new(
            Place { file: self.file.map(PathBuf::from), line, key },
            what.trim_end().replace('\n', " "),
        )
    }

    fn script(&self, responses: Spanned<Vec<SimResponse>>, key: &str) -> Result<Vec<SimResponse>, Problem> {
        if responses.get_ref().is_empty() {
            return Err(self.problem(
                Some(responses.span()),
                Some(key.to_owned()),
                "needs at least one response, such as { status = 1 }",
            ));
        }
        Ok(responses.into_inner())
    }
}

impl TryFrom<String> for Offset {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (sign, span) = text.strip_prefix('-').map_or((1, text.as_str()), |span| (-1, span));
        let Span(span) =
            span.parse().map_err(|_| "expected how far its clock is ahead, such as \"1h\" or \"-90s\"")?;
        Ok(Self(i64::try_from(span.as_millis()).map_or(i64::MAX, |millis| sign * millis)))
    }
}

impl TryFrom<String> for Quota {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let form = "expected calls in a time, such as \"100/1m\"";
        let (calls, per) = text.split_once('/').ok_or(form)?;
        let calls = calls.trim().parse().map_err(|_| form)?;
        let Span(per) = per.trim().parse().map_err(|_| form)?;
        Ok(Self { calls, per })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Scenario {
        Scenario::parse(text, None).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    fn script(entries: &str) -> Result<Vec<SimResponse>, String> {
        let text = format!("[[tasks]]\nid = 1\nanswers = [{entries}]");
        Scenario::parse(&text, None)
            .map(|mut scenario| scenario.tasks.remove("1").unwrap())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(format!("{:?}", parsed("")), format!("{:?}", Scenario::default()));
    }

    #[test]
    fn every_key_is_read() {
        let scenario = parsed(
            "secret_id = 'me'\nsecret_key = 'key'\ntoken = 't'\nsigned_host = 'h'\nregions = ['bj']\nclock_offset = '-1h'\nrate = '2/1m'\n\
             unknown_region = { code = 4000 }\nunknown_id = {}\n[[tasks]]\nid = '007'\nanswers = [{ status = 4 }]\n",
        );
        assert_eq!((scenario.secret_id.as_str(), scenario.secret_key.expose()), ("me", "key"));
        assert_eq!(
            (scenario.clock_offset, scenario.unknown_region.code),
            (Offset(-3_600_000), Code::Int(4000))
        );
        assert_eq!(scenario.rate, Some(Quota { calls: 2, per: Duration::from_secs(60) }));
        assert!(matches!(scenario.unlisted, Unlisted::Refused(ErrorResponse { code: Code::Int(5000), .. })));
        assert!(scenario.tasks.contains_key("7"));
        assert_eq!(
            parsed("[default]\nanswers = [{ status = 1 }]").unlisted,
            Unlisted::Follows(vec![SimResponse::status(1)])
        );
    }

    #[test]
    fn every_entry_is_read() {
        let second = Duration::from_secs(1);
        let pairs = [
            ("{ status = 4, times = 3 }", SimResponse::status(4).times(3)),
            ("{ status = 4, for = '1s' }", SimResponse::status(4).lasting(second)),
            ("{ status = 5, instances = { cpm-1 = 1 } }", SimResponse::with_instances(5, [("cpm-1", 1)])),
            ("{ code = 10001, message = 'no' }", SimResponse::refusal(10001, "no")),
            (
                "{ code = 'AuthFailure.SignatureFailure' }",
                SimResponse::refusal("AuthFailure.SignatureFailure", ""),
            ),
            ("{ code = 4400, http = 429 }", SimResponse::refusal(4400, "").http(429)),
            ("{ http = 502, body = 'x', retry_after = '5' }", SimResponse::page(502, "x").retry_after("5")),
            ("{ delay = '1s', status = 1 }", SimResponse::status(1).delayed(second)),
            ("{ raw = 'garbage' }", SimResponse::raw("garbage")),
            ("{ cut = true }", SimResponse::cut()),
            ("{ hang = true }", SimResponse::hang()),
            ("{ short = true }", SimResponse::status(1).short()),
            ("{ huge = true }", SimResponse::status(1).huge()),
        ];
        for (entry, scripted) in pairs {
            assert_eq!(script(entry), Ok(vec![scripted]), "{entry}");
        }
        assert_ne!(script("{ status = 1, array = 'resourceIds' }"), script("{ status = 1 }"));
    }

    #[test]
    fn an_error_is_reported_with_file_line_and_key() {
        let cases = [
            ("secret_id = 'a'\nregion = 'bj'", "s.toml:2: region: unknown key; did you mean `regions`?"),
            ("secret_id = ", "s.toml:1: "),
            ("\n\nrate = 100", "s.toml:3: rate: "),
            ("\nrate = '100'", "s.toml:2: rate: expected calls in a time"),
            ("unknown_id = {}\n[default]\nanswers = [{ status = 1 }]", "s.toml:1: unknown_id: contradicts"),
            ("[default]\nanswers = []", "s.toml:2: default.answers: needs at least one"),
            (
                "[[tasks]]\nid = 1\nanswers = [\n  { status = 4 },\n  { statsu = 1 }\n]",
                "s.toml:5: tasks[0].answers[1].statsu: unknown key; did you mean `status`?",
            ),
            (
                "[[tasks]]\nid = 1\nanswers = [{ status = 1, code = 5 }]",
                "s.toml:3: tasks[0].answers[0]: one of",
            ),
            (
                "[[tasks]]\nid = 1\nanswers = [{ status = 1 }]\n[[tasks]]\nid = '01'\nanswers = [{ status = 1 }]",
                "s.toml:5: tasks[1].id: 1 is listed twice",
            ),
            ("[[tasks]]\nid = -1\nanswers = [{ status = 1 }]", "s.toml:2: tasks[0].id"),
        ];
        for (text, reported) in cases {
            let problem = Scenario::parse(text, Some(Path::new("s.toml"))).expect_err(text).to_string();
            assert!(
                problem.starts_with(reported) && !problem.contains('\n'),
                "{problem:?} is not {reported:?}…"
            );
        }
    }

    #[test]
    fn entries_that_contradict_themselves_are_refused() {
        let wrong = [
            "{}",
            "{ delay = '1s' }",
            "{ cut = true, http = 500 }",
            "{ status = 1, times = 0 }",
            "{ status = 1, times = 1, for = '1s' }",
        ];
        let more = [
            "{ http = 100 }",
            "{ instances = {} }",
            "{ status = 1, message = 'x' }",
            "{ body = 'x' }",
            "{ http = 503, retry_after = \"a\\nb\" }",
        ];
        for entry in wrong.into_iter().chain(more) {
            assert!(script(entry).is_err(), "{entry}");
        }
    }
}
