//! The class of a fault, decided in one function from the cause, the message and the row of the operation.
//!
//! The facts are tables: docs/tencent-cloud-api.md §1 for API 2.0, §2 for API 3.0 (in [`api_3_0`]). The model
//! decides the effect of a class on task, pace key and account.

pub mod api_3_0;

use super::operations::{Api, Operation};
use crate::model::reading::{Class, Code, Fault};

/// Cause of a missing reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Error code of the API of the row.
    Code(Code),
    /// HTTP status of a response without a readable code.
    Http(u16),
    /// No readable response, or one without a status.
    Missing(Missing),
}

/// Cause of a missing reading that the server does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No complete response within `request_timeout`.
    Timeout,
    /// No connection to the server.
    Connect,
    /// No tunnel through the proxy, which refuses or requires a login.
    ProxyLogin,
    /// The connection was closed before the first byte of a response.
    ConnectionLost,
    /// Any other failure on the way.
    Transport,
    /// The response exceeds `max_response` of the row.
    TooLarge,
    /// The response is compressed, although no compression was requested.
    ContentEncoding,
    /// The response does not have the form of its API.
    Unreadable,
    /// The response has no status for the id.
    NoStatus,
}

/// The message of a proxy's 407, for a request and for a tunnel.
const PROXY_LOGIN: &str =
    "the proxy requires a login, or refuses this one; write user and password into `proxy`";

/// Codes of API 2.0 with another scope than the service (docs/tencent-cloud-api.md §1, "Error codes"). Every
/// other code is a fault of the service.
const CODES_2_0: &[(i64, Class)] = &[
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

/// Codes that blame a parameter without its name: the message may have it.
const BLAME_A_PARAMETER: [i64; 2] = [4000, 10001];
/// Parameters of every request: no task id causes a fault of theirs (docs/tencent-cloud-api.md §1).
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

/// The fault of a poll without a reading.
pub fn fault(cause: Cause, message: &str, row: &Operation) -> Fault {
    let class = class(&cause, message, row);
    let message = match cause {
        Cause::Http(407) | Cause::Missing(Missing::ProxyLogin) => PROXY_LOGIN,
        Cause::Code(_) | Cause::Http(_) | Cause::Missing(_) => message,
    };
    let code = match cause {
        Cause::Code(code) => module_code(&code, message, row.api).unwrap_or(code),
        Cause::Http(status) => Code::Text(format!("http_{status}").into()),
        Cause::Missing(missing) => Code::Text(missing.code().into()),
    };
    Fault { class, code, message: message.to_owned(), retry_after: None }
}

/// The decision on the class of a fault.
fn class(cause: &Cause, message: &str, row: &Operation) -> Class {
    match cause {
        Cause::Code(code) if row.rejected.contains(code) => Class::Task,
        Cause::Code(code) => match row.api {
            Api::V2 => class_2_0(code, message, &row.id.name),
            Api::V3 => api_3_0::class(&code.to_string(), message, &row.id.name),
        },
        // 408, 425, 429, 5xx, redirects and unknown statuses are temporary; any other refusal is one of the
        // configuration (docs/tencent-cloud-api.md §1). Only proxies send 407 (RFC 9110 §15.5.8): no request
        // of the account passes until a person acts.
        Cause::Http(407) => Class::Account,
        Cause::Http(408 | 425 | 429) => Class::Service,
        Cause::Http(400..=499) => Class::PaceKey,
        Cause::Http(_) => Class::Service,
        Cause::Missing(missing) => match missing {
            // Confirmed like a not-found response (docs/tencent-cloud-api.md §1).
            Missing::NoStatus => Class::Task,
            Missing::ConnectionLost => Class::Connection,
            Missing::ProxyLogin => Class::Account,
            Missing::Timeout
            | Missing::Connect
            | Missing::Transport
            | Missing::TooLarge
            | Missing::ContentEncoding
            | Missing::Unreadable => Class::Service,
        },
    }
}

impl Missing {
    /// The code of its fault, in logs and events.
    fn code(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::ProxyLogin => "http_407",
            Self::ConnectionLost => "connection_lost",
            Self::Transport => "transport",
            Self::TooLarge => "too_large",
            Self::ContentEncoding => "content_encoding",
            Self::Unreadable => "unreadable",
            Self::NoStatus => "no_status",
        }
    }
}

fn class_2_0(code: &Code, message: &str, id_parameter: &str) -> Class {
    let listed = CODES_2_0.iter().find(|(known, _)| *code == Code::Int(*known));
    match listed {
        Some((number, _)) if BLAME_A_PARAMETER.contains(number) && blames_another(message, id_parameter) => {
            Class::PaceKey
        }
        Some((_, class)) => *class,
        None => Class::Service,
    }
}

/// The code of a module in parentheses at the start of the message of a general 5100: `(9001)db error`. Only
/// the reported code changes: 5100 is retried in any case.
fn module_code(code: &Code, message: &str, api: Api) -> Option<Code> {
    let inner = message.strip_prefix('(')?.split_once(')')?.0;
    let module = Some(Code::read(inner)).filter(|module| matches!(module, Code::Int(_)));
    module.filter(|_| api == Api::V2 && *code == Code::Int(5100))
}

/// Whether the message names another parameter than the id.
fn blames_another(message: &str, id_parameter: &str) -> bool {
    let words: Vec<_> =
        message.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').collect();
    let names = |parameter: &str| words.iter().any(|word| word.eq_ignore_ascii_case(parameter));
    !names(id_parameter) && COMMON_PARAMETERS.iter().any(|parameter| names(parameter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::operations::Operations;

    fn of(cause: Cause, message: &str) -> Fault {
        fault(cause, message, Operations::built_in().get("bm").unwrap())
    }

    fn refused(code: i64, message: &str) -> Fault {
        of(Cause::Code(Code::Int(code)), message)
    }

    /// Every row of docs/tencent-cloud-api.md §1, "Error codes": code, message, class.
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
            assert_eq!(refused(code, message).class, class, "{code} {message}");
        }
    }

    #[test]
    fn a_module_s_code_behind_a_general_one_is_reported() {
        assert_eq!(refused(5100, "(9001)db error").code, Code::Int(9001));
        assert_eq!(refused(6000, "(9001)db error").code, Code::Int(6000));
        assert_eq!(refused(5100, "(sic) failed").code, Code::Int(5100));
    }

    #[test]
    fn http_statuses_without_a_code_pass_unless_they_refuse_the_request() {
        let class = |status| of(Cause::Http(status), "").class;
        for status in [403, 404, 413, 451] {
            assert_eq!(class(status), Class::PaceKey, "{status}");
        }
        let tunnel = of(Cause::Missing(Missing::ProxyLogin), "");
        assert_eq!(tunnel, of(Cause::Http(407), ""));
        assert_eq!((tunnel.class, tunnel.message.as_str()), (Class::Account, PROXY_LOGIN));
        for status in [302, 408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(class(status), Class::Service, "{status}");
        }
    }

    #[test]
    fn a_code_that_the_row_rejects_is_a_fault_of_the_task_over_either_api() {
        let rejecting = |name: &str, code: Code| {
            let row = Operations::built_in().get(name).unwrap().as_ref().clone();
            Operation { rejected: vec![code], ..row }
        };
        for (name, code) in [("bm", Code::Int(6000)), ("bm3", Code::read("FailedOperation.NoSuchTask"))] {
            let class = |row: &Operation| fault(Cause::Code(code.clone()), "", row).class;
            assert_eq!(class(Operations::built_in().get(name).unwrap()), Class::Service);
            assert_eq!(class(&rejecting(name, code.clone())), Class::Task);
        }
    }
}
