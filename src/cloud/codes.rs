//! Codes and HTTP statuses → whose trouble it is (api.md §1). The table is the fact; one function reads it.

use crate::model::reading::{Class, Code, Fault};

/// Codes of API 2.0 that are not the service's trouble (api.md §1, "Error codes"); every other code is.
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
    (4400, Class::Pace),
    (4500, Class::Clock),
    (4600, Class::PaceKey),
    (5000, Class::Task),
    (6100, Class::PaceKey),
    (10001, Class::Task),
];

/// The fault that an API 2.0 error code stands for.
pub fn refused_2_0(code: Code, message: String, _id_parameter: &str) -> Fault {
    let class = match &code {
        Code::Int(number) => CODES_2_0.iter().find(|(known, _)| known == number).map_or(Class::Service, |(_, class)| *class),
        Code::Text(_) => Class::Service,
    };
    Fault { class, code, message, retry_after: None }
}

/// The fault of an HTTP status without a readable code in its body: 408, 425, 429 and 5xx pass, and any other refusal is of
/// the configuration (api.md §1).
pub fn http(status: u16) -> Fault {
    let class = match status {
        429 => Class::Pace,
        400..=499 if status != 408 && status != 425 => Class::PaceKey,
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
pub fn unanswered(what: &'static str, message: String) -> Fault {
    Fault { class: Class::Service, code: Code::Text(what.into()), message, retry_after: None }
}
