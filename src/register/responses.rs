//! The task ids in a response of the cloud to the call that started an operation (docs/tencent-cloud-api.md
//! §1).
//!
//! The response may be complete, so the id may be at any depth (`data`, `Response`, a list of either), and
//! there may be several. Other values are ignored, unless there is no id at all.

use serde_json::Value;

use super::WrittenId;
use crate::section::short;

/// Names of the id, by API and product.
const NAMES: [&str; 4] = ["taskId", "TaskId", "FlowId", "AsyncRequestId"];
/// An id in the responses of some products, the number of the HTTP call in those of others: it counts only
/// without any other id.
const PERHAPS: &str = "requestId";

/// The ids of a response in their order, or the reason for none.
pub(super) fn ids(response: &Value) -> Result<Vec<WrittenId>, String> {
    let mut found = FoundIds::default();
    found.collect(response);
    let FoundIds { sure, perhaps, wrong } = found;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if !sure.is_empty() {
        return Ok(sure);
    }
    match refusal(response) {
        Some(refusal) => Err(refusal),
        None if perhaps.is_empty() => Err(format!(
            "holds no task id; write `id`, as in [[tasks]], or a response of the cloud with {} or {PERHAPS}",
            NAMES.join(", ")
        )),
        None => Ok(perhaps),
    }
}

#[derive(Default)]
struct FoundIds {
    sure: Vec<WrittenId>,
    perhaps: Vec<WrittenId>,
    wrong: Option<String>,
}

impl FoundIds {
    /// The JSON reader bounds the depth.
    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    // One edition of the documentation has names with a trailing blank.
                    let name = name.trim();
                    if NAMES.contains(&name) || name == PERHAPS {
                        self.take(name, value)
                    } else {
                        self.collect(value)
                    }
                }
            }
            Value::Array(elements) => elements.iter().for_each(|element| self.collect(element)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn take(&mut self, name: &str, value: &Value) {
        let id = match value {
            // The value of a missing id.
            Value::Null => return,
            Value::String(text) if text.is_empty() => return,
            Value::Number(number) if number.as_u64() == Some(0) => return,
            Value::String(text) => Some(WrittenId::Text(text.clone())),
            Value::Number(number) => number.as_u64().map(WrittenId::Int),
            Value::Array(elements) => return elements.iter().for_each(|element| self.take(name, element)),
            Value::Object(_) => return self.collect(value),
            Value::Bool(_) => None,
        };
        match id {
            Some(id) if name == PERHAPS => self.perhaps.push(id),
            Some(id) => self.sure.push(id),
            // Another field of that name need not be an id.
            None if name == PERHAPS => {}
            None => {
                self.wrong =
                    Some(format!("holds {name} = {}, which is not a task id", short(&value.to_string())))
            }
        }
    }
}

/// The error of a response with an error.
fn refusal(response: &Value) -> Option<String> {
    let fields = response.as_object()?;
    let inner = |name: &str| fields.get(name).and_then(Value::as_object);
    let error = inner("Response").and_then(|response| response.get("Error")).and_then(Value::as_object);
    let (code, message) = match error {
        Some(error) => (error.get("Code"), error.get("Message")),
        None => (fields.get("code").filter(|code| !is_zero(code)), fields.get("message")),
    };
    let code = code?;
    let message = message.and_then(Value::as_str).unwrap_or_default();
    Some(format!(
        "is an error of the cloud, without a task id: {} {:?}",
        short(&code.to_string()),
        short(message)
    ))
}

/// Some products write the code as text.
fn is_zero(code: &Value) -> bool {
    code.as_i64() == Some(0) || code.as_str() == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(response: &str) -> Result<Vec<String>, String> {
        let text = |id| match id {
            WrittenId::Int(number) => number.to_string(),
            WrittenId::Text(text) => format!("{text:?}"),
        };
        ids(&serde_json::from_str(response).unwrap()).map(|ids| ids.into_iter().map(text).collect())
    }

    #[test]
    fn the_ids_of_an_response_are_found_wherever_they_stand() {
        for (response, expected) in [
            (r#"{"code":0,"message":"OK","data":{"taskId":1000800001}}"#, vec!["1000800001"]),
            (r#"{"code":"0","data":[{"taskId ":1},{"taskId":"2"}]}"#, vec!["1", r#""2""#]),
            (
                r#"{"Response":{"TaskId":18446744073709551615,"RequestId":"1a-2b"}}"#,
                vec!["18446744073709551615"],
            ),
            (r#"{"Response":{"AsyncRequestId":"abc-1","RequestId":"1a-2b"}}"#, vec![r#""abc-1""#]),
            (r#"[{"FlowId":7},{"data":{"deep":{"FlowId":8}}}]"#, vec!["7", "8"]),
            (r#"{"data":{"taskId":[3,4]}}"#, vec!["3", "4"]),
            (r#"{"code":0,"requestId":9}"#, vec!["9"]),
            // The number of the HTTP call, beside an id.
            (r#"{"code":0,"requestId":"e7-42","data":{"taskId":5}}"#, vec!["5"]),
            (r#"{"Response":{"TaskId":{"taskId":6}}}"#, vec!["6"]),
        ] {
            assert_eq!(
                reported(response),
                Ok(expected.into_iter().map(str::to_owned).collect()),
                "{response}"
            );
        }
    }

    #[test]
    fn an_response_without_an_id_says_why() {
        for (response, expected) in [
            (
                r#"{"code":4100,"message":"signature failure","requestId":"e7-42"}"#,
                "4100 \"signature failure\"",
            ),
            (
                r#"{"Response":{"Error":{"Code":"AuthFailure","Message":"no\u001b"},"RequestId":"x"}}"#,
                "AuthFailure",
            ),
            (r#"{"code":0,"data":{"taskId":0}}"#, "holds no task id"),
            (r#"{"code":0,"data":{"taskId":null}}"#, "holds no task id"),
            (r#"{"Response":{"RequestId":"1a-2b"}}"#, "holds no task id"),
            (r#"{"taskId":-1}"#, "taskId = -1"),
            (r#"{"taskId":18446744073709551616}"#, "taskId = 1.844674407370955"),
            ("[]", "holds no task id"),
        ] {
            let problem = reported(response).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains('\u{1b}'), "{response}: {problem}");
        }
    }
}
