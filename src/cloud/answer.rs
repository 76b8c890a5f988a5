//! From the bytes of an answer to a reading or a fault, leniently: api.md §1 lists what real answers do.

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
    let answer = match parse(body) {
        Some(Value::Object(fields)) => Value::Object(fields),
        Some(_) | None if http_status == 200 => return Err(unreadable("the answer is not a JSON object")),
        Some(_) | None => return Err(codes::http(http_status)),
    };
    let Some(code) = find(&answer, "/code").and_then(as_code) else {
        return Err(if http_status == 200 { unreadable("the answer has no code") } else { codes::http(http_status) });
    };
    let message = find(&answer, "/message").and_then(Value::as_str).unwrap_or_default();
    if code != Code::Int(0) {
        return Err(codes::refused_2_0(code, bounded(message), &operation.id.name));
    }
    // A gateway's error with a good answer's body is no answer: a final word could not be taken back.
    if !(200..300).contains(&http_status) {
        return Err(codes::http(http_status));
    }
    let data = find(&answer, "/data").map(|data| data.as_array().and_then(|rows| rows.first()).unwrap_or(data));
    reading(operation, data.unwrap_or(&Value::Null))
}

/// Reads status and instances out of the part of an answer that holds them.
fn reading(operation: &Operation, data: &Value) -> Result<Reading, Fault> {
    let Some(status) = find(data, &operation.status).and_then(as_code) else {
        // Confirmed like a not-found answer (api.md §1).
        return Err(codes::unanswered(Class::Task, "no_status", "the answer has no status for this id".to_owned()));
    };
    let instances = operation.instances.as_ref().map(|place| instances(operation, place, data)).unwrap_or_default();
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
    [(&operation.success, Outcome::Success), (&operation.failure, Outcome::Failure), (&operation.partial, Outcome::Partial)]
        .into_iter()
        .find_map(|(statuses, outcome)| statuses.contains(status).then_some(outcome))
}

/// The published sample uses typographic quotes, and pasted into a stub server it comes as is: they are read as plain ones
/// where the answer is no JSON otherwise.
fn parse(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        serde_json::from_str(&text.replace(['\u{201c}', '\u{201d}'], "\"")).ok()
    })
}

/// Follows a JSON pointer; names are compared without outer blanks, since one edition of the documentation has them.
fn find<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, name| match value {
        Value::Object(fields) => fields.get(name).or_else(|| fields.iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value)),
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

fn unreadable(what: &str) -> Fault {
    Fault { class: Class::Service, code: Code::Text("unreadable".into()), message: what.into(), retry_after: None }
}

/// Cut to a bound, on a character.
pub fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(MESSAGE_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::operations::BUILT_IN;

    fn read(body: &str) -> Result<Reading, Fault> {
        read_2_0(&BUILT_IN["bm"], 200, body.as_bytes())
    }

    fn status(body: &str) -> (Phase, Code) {
        let reading = read(body).expect(body);
        (reading.phase, reading.status)
    }

    #[test]
    fn the_published_sample_is_read_as_it_stands_with_its_typographic_quotes() {
        let sample = include_str!("../../tests/support/sample-answer.json");
        assert!(sample.contains('\u{201c}'));
        let reading = read(sample).unwrap();
        assert_eq!(reading.phase, Phase::Over(Outcome::Success));
        let ids: Vec<_> = reading.instances.iter().map(|instance| instance.id.as_str()).collect();
        assert_eq!(ids, ["cpm-3dw234", "cpm-sdf343x"]);
        assert!(reading.instances.iter().all(|instance| instance.outcome == Some(Outcome::Success)));
    }

    #[test]
    fn each_status_means_what_its_row_says() {
        for (written, phase) in [
            (1, Phase::Over(Outcome::Success)),
            (2, Phase::Over(Outcome::Failure)),
            (3, Phase::Over(Outcome::Partial)),
            (4, Phase::Running),
            (7, Phase::Running),
            (0, Phase::Running),
            (99, Phase::Running),
        ] {
            assert_eq!(status(&format!(r#"{{"code":0,"data":{{"status":{written}}}}}"#)), (phase, Code::Int(written)));
        }
    }

    #[test]
    fn the_oddities_of_real_answers_are_read() {
        let success = (Phase::Over(Outcome::Success), Code::Int(1));
        for body in [
            r#"{"code":"0","message":"OK","data":{"status":"1"}}"#,
            r#"{"code ":0,"data ":{"status ":1}}"#,
            r#"{"code":0,"data":[{"status":1}]}"#,
            r#"{"code":0,"codeDesc":"Success","data":{"status":1,"instanceIds":"","resourceIds":null}}"#,
        ] {
            assert_eq!(status(body), success, "{body}");
        }
        let other_name =
            read(r#"{"code":0,"data":{"status":5,"resourceIds":[{"instanceId ":"a","status ":"1"},{"instanceId":"b","status":4}]}}"#);
        let outcomes: Vec<_> = other_name.unwrap().instances.into_iter().map(|instance| instance.outcome).collect();
        assert_eq!(outcomes, [Some(Outcome::Success), None]);
    }

    #[test]
    fn an_answer_without_a_status_is_no_outcome_and_no_crash() {
        for data in ["null", "[]", "{}", "\"\"", "5", "{\"status\":null}", "{\"status\":[]}", "{\"status\":\"\"}"] {
            let fault = read(&format!(r#"{{"code":0,"data":{data}}}"#)).expect_err(data);
            assert_eq!((fault.class, fault.code.to_string().as_str()), (Class::Task, "no_status"), "{data}");
        }
        for body in ["", "[]", "null", "<html>", "{\"code\":null}", "{\"code\":0}", "\u{0}"] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_good_body_under_another_http_status_than_success_is_no_answer() {
        let body = br#"{"code":0,"data":{"status":1}}"#;
        for status in [302, 404, 500, 503] {
            assert_eq!(read_2_0(&BUILT_IN["bm"], status, body), Err(codes::http(status)));
        }
        assert!(read_2_0(&BUILT_IN["bm"], 200, body).is_ok());
    }

    #[test]
    fn a_refusal_carries_its_code_and_the_servers_words_bounded() {
        let fault = read(&format!(r#"{{"code":"4100","message":"{}"}}"#, "机".repeat(1_000))).unwrap_err();
        assert_eq!((fault.class, fault.code), (Class::Account, Code::Int(4100)));
        assert_eq!(fault.message.chars().count(), MESSAGE_BYTES / 3);
    }
}
