//! From the bytes of a response to a reading or a fault, with tolerance: docs/tencent-cloud-api.md §1 lists
//! the variants of real responses. Those of API 3.0 are read with the same tolerance.

use std::borrow::Cow;

use super::codes::{self, Cause, Missing};
use super::operations::{Api, Instances, Operation};
use super::wanted::{Part, Wanted};
use crate::model::reading::{Code, Fault, Instance, Outcome, Phase, Reading};
use crate::secret::hidden::Hidden;

/// Longest text that is kept: enough to act on, too little to flood a log.
pub const MAX_TEXT_BYTES: usize = 512;
/// No task acts on more instances. Events hold fewer.
const INSTANCES: usize = 10_000;

/// Reads a response of the API of the row. `encoding` is its `Content-Encoding`, if that is not `identity`.
///
/// # Errors
/// If there is no reading in it; the fault has the cause.
pub fn read(
    row: &Operation,
    http_status: u16,
    encoding: Option<&str>,
    body: &[u8],
) -> Result<Reading, Fault> {
    let plain;
    let wanted = row.wanted.get_or_init(|| wanted(row));
    let part = match wanted.read(body) {
        Some(part) => Some(part),
        None => {
            plain = with_plain_quotes(body);
            plain.as_ref().and_then(|text| wanted.read(text.as_bytes()))
        }
    };
    let content = match &part {
        Some(part @ Part::Object(_)) => content(row.api, part),
        Some(Part::Null | Part::Bool | Part::Number(_) | Part::Text(_) | Part::List(_)) | None => {
            Err("the response is not a JSON object")
        }
    };
    let fault = |cause, message: &str| Err(codes::fault(cause, message, row));
    let http = || fault(Cause::Http(http_status), &format!("the server returned HTTP {http_status}"));
    match (content, encoding) {
        (Ok(Content::Refusal(code, message)), _) => fault(Cause::Code(code), message),
        // A final state in the error page of a gateway could not be taken back.
        (Ok(Content::Data(_)), _) if !(200..300).contains(&http_status) => http(),
        (Ok(Content::Data(data)), _) => reading(row, data).map_or_else(
            || fault(Cause::Missing(Missing::NoStatus), "the response has no status for this id"),
            Ok,
        ),
        (Err(_), _) if http_status != 200 => http(),
        (Err(_), Some(encoding)) => {
            let message = format!(
                "the response is encoded as {encoding}, although the request allows no encoding; check proxies and gateways"
            );
            fault(Cause::Missing(Missing::ContentEncoding), &message)
        }
        (Err(message), None) => fault(Cause::Missing(Missing::Unreadable), message),
    }
}

/// Content of a response in the form of its API.
enum Content<'p, 'a> {
    /// Error code and message.
    Refusal(Code, &'p str),
    /// The part that the pointers of the row start from.
    Data(&'p Part<'a>),
}

/// API 2.0: `{"code": 0, "message": "…", "data": {…}}`. API 3.0: `{"Response": {…, "RequestId": "…"}}`; an
/// `Error` in it counts under HTTP 200 too, whatever else it has.
fn content<'p, 'a>(api: Api, response: &'p Part<'a>) -> Result<Content<'p, 'a>, &'static str> {
    match api {
        Api::V2 => {
            let code = response.find("/code").and_then(as_code).ok_or("the response has no code")?;
            Ok(match code {
                Code::Int(0) => Content::Data(response.find("/data").unwrap_or(&Part::Null)),
                code @ (Code::Int(_) | Code::Text(_)) => Content::Refusal(code, text(response, "/message")),
            })
        }
        Api::V3 => {
            let is_object = |part: &&Part<'_>| matches!(part, Part::Object(_));
            let data = response.find("/Response").filter(is_object).ok_or("the response has no Response")?;
            // Some tables of the documentation call an object an array.
            let Some(error) = data.find("/Error").and_then(|error| error.elements().next()) else {
                return Ok(Content::Data(data));
            };
            let code = error.find("/Code").and_then(as_code);
            let code = code.ok_or("the response has an error without a code")?;
            Ok(Content::Refusal(code, text(error, "/Message")))
        }
    }
}

/// Parts of a response that are read.
fn wanted(row: &Operation) -> Wanted {
    let mut pointers = vec![row.status.clone()];
    pointers.extend(row.message.clone());
    if let Some(Instances { each, id, status }) = &row.instances {
        pointers.extend(each.iter().flat_map(|each| [format!("{each}/*{id}"), format!("{each}/*{status}")]));
    }
    let (start, envelope) = match row.api {
        Api::V2 => ("/data", ["/code", "/message"]),
        Api::V3 => ("/Response", ["/Response/Error/Code", "/Response/Error/Message"]),
    };
    let pointers = pointers.into_iter().map(|pointer| format!("{start}{pointer}"));
    Wanted::new(pointers.chain(envelope.map(str::to_owned)))
}

/// Status and instances of all rows of the data together; `None` without any status.
fn reading(row: &Operation, data: &Part<'_>) -> Option<Reading> {
    // An empty element has no status, and its task may still be running.
    let statuses: Vec<Option<Code>> = data
        .rows()
        .iter()
        .flat_map(|data| data.each(&row.status))
        .map(|status| status.and_then(as_code))
        .collect();
    let (phase, status) = together(row, &statuses)?;
    let instances = row.instances.as_ref().map(|place| instances(row, place, data)).unwrap_or_default();
    let known = phase != Phase::Running || is_known(row, status);
    let messages = row.message.iter().flat_map(|pointer| data.elements().flat_map(|data| data.each(pointer)));
    let message = messages.flatten().filter_map(as_text).find(|text| !text.is_empty()).map(str::to_owned);
    Some(Reading { phase, status: status.clone(), instances, known, message })
}

/// Any running status: running; all success or all failure: that; mixed: partial. An element without a status
/// is running, since a final state cannot be taken back. The status is that of the first element that decides.
fn together<'s>(row: &Operation, statuses: &'s [Option<Code>]) -> Option<(Phase, &'s Code)> {
    let known = || statuses.iter().flatten();
    let first = known().next()?;
    let is_missing = known().count() < statuses.len();
    let outcomes: Option<Vec<Outcome>> = known().map(|status| outcome(row, status)).collect();
    match outcomes.filter(|_| !is_missing) {
        None => {
            let running = || known().filter(|status| outcome(row, status).is_none());
            // An unknown status is reported, so it comes first.
            let status = running().find(|status| !is_known(row, status)).or_else(|| running().next());
            Some((Phase::Running, status.unwrap_or(first)))
        }
        Some(outcomes) => {
            let merge = |one, other| if one == other { one } else { Outcome::Partial };
            let merged = outcomes.iter().copied().reduce(merge)?;
            let decides = |outcome: &Outcome| *outcome == merged;
            let position = outcomes.iter().position(decides);
            let mixed = || outcomes.iter().position(|outcome| *outcome != Outcome::Success);
            Some((Phase::Finished(merged), known().nth(position.or_else(mixed)?)?))
        }
    }
}

fn instances(row: &Operation, place: &Instances, data: &Part<'_>) -> Vec<Instance> {
    let instance = |element: &Part<'_>| {
        let id = element.find(&place.id).and_then(as_code)?.to_string();
        let status = element.find(&place.status).and_then(as_code)?;
        let outcome = outcome(row, &status);
        Some(Instance { id, status, outcome })
    };
    let listed = |data| {
        let lists = |pointer: &String| {
            let reached = Part::each(data, pointer).into_iter().flatten();
            let lists: Vec<&Part<'_>> = reached.filter(|part| matches!(part, Part::List(_))).collect();
            Some(lists).filter(|lists| !lists.is_empty())
        };
        place.each.iter().find_map(lists).unwrap_or_default()
    };
    let elements = data.elements().flat_map(listed).flat_map(Part::elements);
    elements.filter_map(instance).take(INSTANCES).collect()
}

/// Meaning of a status by the row; `None` for running and for an unknown status.
fn outcome(row: &Operation, status: &Code) -> Option<Outcome> {
    [(&row.success, Outcome::Success), (&row.failure, Outcome::Failure), (&row.partial, Outcome::Partial)]
        .into_iter()
        .find_map(|(statuses, outcome)| statuses.contains(status).then_some(outcome))
}

fn is_known(row: &Operation, status: &Code) -> bool {
    row.running.contains(status) || outcome(row, status).is_some()
}

/// The published sample uses typographic quotes, and some stub servers send it unchanged: they are read as
/// plain quotes in a body that is not JSON otherwise.
fn with_plain_quotes(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    text.contains('\u{201c}').then(|| text.replace(['\u{201c}', '\u{201d}'], "\""))
}

/// Codes and statuses are numbers on some APIs and strings on others.
fn as_code(part: &Part<'_>) -> Option<Code> {
    match part {
        Part::Number(code) => Some(code.clone()),
        Part::Text(text) if !text.trim().is_empty() => Some(Code::read(text.trim())),
        Part::Null | Part::Bool | Part::Text(_) | Part::List(_) | Part::Object(_) => None,
    }
}

fn as_text<'p>(part: &'p Part<'_>) -> Option<&'p str> {
    match part {
        Part::Text(text) => Some(text),
        Part::Null | Part::Bool | Part::Number(_) | Part::List(_) | Part::Object(_) => None,
    }
}

fn text<'p>(part: &'p Part<'_>, pointer: &str) -> &'p str {
    part.find(pointer).and_then(as_text).unwrap_or_default()
}

/// The result as it is kept: every text without secrets, then bounded. Decisions used the original texts.
pub fn kept(poll: Result<Reading, Fault>, hidden: &Hidden) -> Result<Reading, Fault> {
    let text = |text: String| match hidden.hide(&text) {
        Cow::Borrowed(_) if text.len() <= MAX_TEXT_BYTES => text,
        shown @ (Cow::Borrowed(_) | Cow::Owned(_)) => {
            shown[..shown.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
        }
    };
    let code = |code: Code| match code {
        Code::Int(number) => Code::Int(number),
        Code::Text(written) => Code::Text(text(written.into()).into()),
    };
    let instance =
        |Instance { id, status, outcome }| Instance { id: text(id), status: code(status), outcome };
    match poll {
        Ok(reading) => Ok(Reading {
            status: code(reading.status),
            instances: reading.instances.into_iter().map(instance).collect(),
            message: reading.message.map(text),
            ..reading
        }),
        Err(fault) => Err(Fault { code: code(fault.code), message: text(fault.message), ..fault }),
    }
}

#[cfg(test)]
mod tests;
