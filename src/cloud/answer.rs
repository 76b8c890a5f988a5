//! From the bytes of an answer to a reading or a fault, leniently: api.md §1 lists what real answers do, and
//! those of API 3.0 are read alike.

use serde_json::Value;

use super::codes;
use super::operations::{Instances, Operation};
use crate::model::reading::{Class, Code, Fault, Instance, Outcome, Phase, Reading};

/// The longest server's words that are kept: enough to act on, too little to flood a log.
const MESSAGE_BYTES: usize = 512;
/// No task acts on more instances; what is beyond is not worth an event of megabytes.
const INSTANCES: usize = 10_000;

/// Reads an API 2.0 answer: `{"code": 0, "message": "…", "data": {…}}`.
pub fn read_2_0(operation: &Operation, http_status: u16, body: &[u8]) -> Result<Reading, Fault> {
    let answer = object(http_status, body)?;
    let Some(code) = find(&answer, "/code").and_then(as_code) else {
        return Err(no_answer(http_status, "the answer has no code"));
    };
    if code != Code::Int(0) {
        return Err(codes::refused_2_0(code, words(&answer, "/message"), &operation.id.name));
    }
    succeeded(http_status)?;
    reading(operation, find(&answer, "/data").map_or(&Value::Null, first_row))
}

/// Reads an API 3.0 answer: `{"Response": {…, "RequestId": "…"}}`, with an `Error` in it where the request
/// was refused; that comes with HTTP 200 too, and counts whatever else is there.
pub fn read_3_0(operation: &Operation, http_status: u16, body: &[u8]) -> Result<Reading, Fault> {
    let answer = object(http_status, body)?;
    let Some(response) = find(&answer, "/Response").filter(|response| response.is_object()) else {
        return Err(no_answer(http_status, "the answer has no Response"));
    };
    if let Some(error) = find(response, "/Error").map(first_row).filter(|error| !is_nothing(error)) {
        let Some(code) = find(error, "/Code").and_then(as_code) else {
            return Err(no_answer(http_status, "the answer has an error without a code"));
        };
        return Err(codes::api_3_0::refused(code, words(error, "/Message"), &operation.id.name));
    }
    succeeded(http_status)?;
    reading(operation, response)
}

/// The object that every answer is.
fn object(http_status: u16, body: &[u8]) -> Result<Value, Fault> {
    parse(body)
        .filter(Value::is_object)
        .ok_or_else(|| no_answer(http_status, "the answer is not a JSON object"))
}

/// A gateway's error with a good answer's body is no answer: a final word could not be taken back.
fn succeeded(http_status: u16) -> Result<(), Fault> {
    if (200..300).contains(&http_status) { Ok(()) } else { Err(codes::http(http_status)) }
}

/// Some tables of the documentation call an object an array.
fn first_row(value: &Value) -> &Value {
    value.as_array().and_then(|rows| rows.first()).unwrap_or(value)
}

/// An empty text, list or object is as good as absent (api.md §1).
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The server's words, bounded.
fn words(value: &Value, pointer: &str) -> String {
    bounded(find(value, pointer).and_then(Value::as_str).unwrap_or_default())
}

/// Reads status and instances out of the part of an answer that holds them.
fn reading(operation: &Operation, data: &Value) -> Result<Reading, Fault> {
    let Some(status) = find(data, &operation.status).and_then(as_code) else {
        // Confirmed like a not-found answer (api.md §1).
        return Err(codes::unanswered(
            Class::Task,
            "no_status",
            "the answer has no status for this id".to_owned(),
        ));
    };
    let instances =
        operation.instances.as_ref().map(|place| instances(operation, place, data)).unwrap_or_default();
    let phase = outcome(operation, &status).map_or(Phase::Running, Phase::Over);
    let known = phase != Phase::Running || operation.running.contains(&status);
    Ok(Reading { phase, status, instances, known, message: None })
}

fn instances(operation: &Operation, place: &Instances, data: &Value) -> Vec<Instance> {
    let listed = place.each.iter().find_map(|pointer| find(data, pointer).and_then(Value::as_array));
    let instance = |element: &Value| {
        let id = find(element, &place.id).and_then(as_code)?.to_string();
        let status = find(element, &place.status).and_then(as_code)?;
        let outcome = outcome(operation, &status);
        Some(Instance { id, status, outcome })
    };
    listed.into_iter().flatten().take(INSTANCES).filter_map(instance).collect()
}

/// What a status came to, by the operation's own row; `None` for running and for what the row does not know.
fn outcome(operation: &Operation, status: &Code) -> Option<Outcome> {
    [
        (&operation.success, Outcome::Success),
        (&operation.failure, Outcome::Failure),
        (&operation.partial, Outcome::Partial),
    ]
    .into_iter()
    .find_map(|(statuses, outcome)| statuses.contains(status).then_some(outcome))
}

/// The published sample uses typographic quotes, and pasted into a stub server it comes as is: they are read
/// as plain ones where the answer is no JSON otherwise.
fn parse(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        serde_json::from_str(&text.replace(['\u{201c}', '\u{201d}'], "\"")).ok()
    })
}

/// Follows a JSON pointer; names are compared without outer blanks, since one edition of the documentation
/// has them.
fn find<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, name| match value {
        Value::Object(fields) => fields
            .get(name)
            .or_else(|| fields.iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value)),
        Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// Codes and statuses come as numbers on some APIs of the family and as strings on others.
fn as_code(value: &Value) -> Option<Code> {
    match value {
        Value::Number(number) => Some(Code::read(&number.to_string())),
        Value::String(text) if !text.trim().is_empty() => Some(Code::read(&bounded(text.trim()))),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What is no answer of the API: its HTTP status says why, unless that is a success.
fn no_answer(http_status: u16, what: &str) -> Fault {
    match http_status {
        200 => codes::unanswered(Class::Service, "unreadable", what.to_owned()),
        _ => codes::http(http_status),
    }
}

/// Cut to a bound, on a character.
pub fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(MESSAGE_BYTES)].to_owned()
}

#[cfg(test)]
mod tests;
