//! Codes and HTTP statuses → whose trouble it is (api.md §1). The table is the fact; the functions below read
//! it. The codes of API 3.0 are in [`api_3_0`].

pub mod api_3_0;

use crate::model::reading::{Class, Code, Fault};

/// Codes of API 2.0 that are not the service's trouble (api.md §1, "Error codes"); every other code is.
pub const CODES_2_0: &[(i64, Class)] = &[
    (4000, Class::Task),
    (4100, Class::Account),
    (4101, Class::PaceKey),
    (4102, Class::PaceKey),
    (4103, Class::PaceKey),
    (4104, Class::Account),
    (4105, Class::Account),
    (4106, Class::Account),
    (4110, Class::PaceKey),
    (4200, Class::Clock),
    (4300, Class::PaceKey),
    (4400, Class::Throttled),
    (4500, Class::Clock),
    (4600, Class::PaceKey),
    (5000, Class::Task),
    (6100, Class::PaceKey),
    (10001, Class::Task),
];

/// Codes that blame a parameter without saying which: the message may.
const BLAME_A_PARAMETER: [i64; 2] = [4000, 10001];
/// Parameters of every request: no task id mends a fault of theirs (api.md §1).
const COMMON_PARAMETERS: [&str; 9] = [
    "Action",
    "Region",
    "Timestamp",
    "Nonce",
    "SecretId",
    "SignatureMethod",
    "Token",
    "Signature",
    "Version",
];

/// The fault that an API 2.0 error code stands for; `id_parameter` is what carries the task's id.
pub fn refused_2_0(code: Code, message: String, id_parameter: &str) -> Fault {
    // A module error may hide behind a general code: `(9001)db error`. It is told; the reaction stays that of
    // the code outside, since 5100 is tried again whatever the module says.
    let number = match &code {
        Code::Int(number) => Some(*number),
        Code::Text(_) => None,
    };
    let listed = number.and_then(|number| CODES_2_0.iter().find(|(known, _)| *known == number));
    let class = match listed {
        Some((number, _)) if BLAME_A_PARAMETER.contains(number) && blames_another(&message, id_parameter) => {
            Class::PaceKey
        }
        Some((_, class)) => *class,
        None => Class::Service,
    };
    Fault { class, code: module_code(number, &message).unwrap_or(code), message, retry_after: None }
}

/// The module's code in parentheses at the start of a 5100's message.
fn module_code(number: Option<i64>, message: &str) -> Option<Code> {
    let inner = message.strip_prefix('(')?.split_once(')')?.0;
    (number == Some(5100)).then(|| Code::read(inner)).filter(|code| matches!(code, Code::Int(_)))
}

/// Whether the message names another parameter than the id, as a word of its own.
pub fn blames_another(message: &str, id_parameter: &str) -> bool {
    let words: Vec<_> =
        message.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').collect();
    let names = |parameter: &str| words.iter().any(|word| word.eq_ignore_ascii_case(parameter));
    !names(id_parameter) && COMMON_PARAMETERS.iter().any(|parameter| names(parameter))
}

/// The fault of an HTTP status without a readable code in its body: 408, 425, 429 and 5xx pass, redirects and
/// what is stranger too, and any other refusal is of the configuration (api.md §1).
pub fn http(status: u16) -> Fault {
    let class = match status {
        408 | 425 | 429 => Class::Service,
        400..=499 => Class::PaceKey,
        _ => Class::Service,
    };
    Fault {
        class,
        code: Code::Text(format!("http_{status}").into()),
        message: format!("the server answered HTTP {status}"),
        retry_after: None,
    }
}

/// The fault of a request that brought no answer.
pub fn unanswered(class: Class, what: &'static str, message: String) -> Fault {
    Fault { class, code: Code::Text(what.into()), message, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of api.md §1, "Error codes": code, message, class.
    #[test]
    fn every_code_of_the_table_is_put_where_it_belongs() {
        for (code, message, class) in [
            (9001, "InternalError.DbError", Class::Service),
            (10001, "InvalidParameter", Class::Task),
            (10001, "taskId is wrong", Class::Task),
            (10001, "invalid Region", Class::PaceKey),
            (4000, "invalid request parameter", Class::Task),
            (4000, "the parameter `Region` is missing", Class::PaceKey),
            (4100, "signature failure", Class::Account),
            (4101, "unauthorized", Class::PaceKey),
            (4102, "", Class::PaceKey),
            (4103, "", Class::PaceKey),
            (4104, "SecretId not found", Class::Account),
            (4105, "token error", Class::Account),
            (4106, "MFA", Class::Account),
            (4110, "CAM", Class::PaceKey),
            (4200, "expired", Class::Clock),
            (4300, "access denied", Class::PaceKey),
            (4400, "quota", Class::Throttled),
            (4500, "replay", Class::Clock),
            (4600, "protocol", Class::PaceKey),
            (5000, "resource does not exist", Class::Task),
            (5100, "operation failed", Class::Service),
            (5100, "(9001)db error", Class::Service),
            (5200, "", Class::Service),
            (5300, "", Class::Service),
            (5400, "", Class::Service),
            (5500, "", Class::Service),
            (6000, "internal", Class::Service),
            (6100, "not served here", Class::PaceKey),
            (6200, "maintenance", Class::Service),
            (-8000, "flow system fault", Class::Service),
            (77_777, "never seen", Class::Service),
        ] {
            let fault = refused_2_0(Code::Int(code), message.to_owned(), "taskId");
            assert_eq!(fault.class, class, "{code} {message}");
        }
    }

    #[test]
    fn a_module_s_code_behind_a_general_one_is_told() {
        assert_eq!(refused_2_0(Code::Int(5100), "(9001)db error".to_owned(), "taskId").code, Code::Int(9001));
        assert_eq!(refused_2_0(Code::Int(6000), "(9001)db error".to_owned(), "taskId").code, Code::Int(6000));
        assert_eq!(refused_2_0(Code::Int(5100), "(sic) failed".to_owned(), "taskId").code, Code::Int(5100));
    }

    #[test]
    fn http_statuses_without_a_code_pass_unless_they_refuse_the_request() {
        for (status, class) in
            [(302, Class::Service), (404, Class::PaceKey), (403, Class::PaceKey), (408, Class::Service)]
        {
            assert_eq!(http(status).class, class, "{status}");
        }
        assert!(
            [429, 500, 502, 503, 504, 599].into_iter().all(|status| http(status).class == Class::Service)
        );
    }
}
