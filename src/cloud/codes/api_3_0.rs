//! The codes of API 3.0: names, with details after the first dot.

use super::blames_another;
use crate::model::reading::Class;

/// Codes of API 3.0 and their scopes (docs/tencent-cloud-api.md §2). For a code that is not listed, the part
/// before its first dot counts; if that is not listed either, the scope is the service.
const CODES: &[(&str, Class)] = &[
    ("ActionOffline", Class::PaceKey),
    ("AuthFailure", Class::Account),
    ("AuthFailure.SignatureExpire", Class::Clock),
    ("AuthFailure.TokenFailure", Class::Account),
    ("FailedOperation", Class::Service),
    ("InternalError", Class::Service),
    ("InternalServerError", Class::Service),
    ("InvalidAction", Class::PaceKey),
    ("InvalidParameter", Class::Task),
    ("InvalidParameterValue", Class::Task),
    ("InvalidRequest", Class::PaceKey),
    ("IpInBlacklist", Class::PaceKey),
    ("IpNotInWhitelist", Class::PaceKey),
    ("LimitExceeded", Class::Service),
    ("MissingParameter", Class::PaceKey),
    ("NoSuchProduct", Class::PaceKey),
    ("NoSuchVersion", Class::PaceKey),
    ("OperationDenied", Class::PaceKey),
    ("RequestLimitExceeded", Class::Throttled),
    ("RequestLimitExceeded.GlobalRegionUinLimitExceeded", Class::AccountThrottled),
    ("RequestLimitExceeded.IPLimitExceeded", Class::AccountThrottled),
    ("RequestLimitExceeded.UinLimitExceeded", Class::AccountThrottled),
    ("ResourceInUse", Class::Service),
    ("ResourceInsufficient", Class::Service),
    ("ResourceNotFound", Class::Task),
    ("ResourceUnavailable", Class::Service),
    ("ServiceUnavailable", Class::Service),
    ("UnauthorizedOperation", Class::PaceKey),
    ("UnknownParameter", Class::PaceKey),
    ("UnsupportedOperation", Class::PaceKey),
    ("UnsupportedProtocol", Class::PaceKey),
    ("UnsupportedRegion", Class::PaceKey),
];

/// Refusals of a parameter, with any details: the message may name the parameter.
const BLAME_A_PARAMETER: [&str; 2] = ["InvalidParameter", "InvalidParameterValue"];
/// Names in the last part of a code for too many calls, after any first part (docs/tencent-cloud-api.md §2).
const TOO_MANY_CALLS: [&str; 2] = ["rate", "frequency"];

/// Class of an error of API 3.0; `id_parameter` is the request parameter of the task id.
pub(super) fn class(code: &str, message: &str, id_parameter: &str) -> Class {
    let listed = |code: &str| CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class);
    let first = code.split('.').next().unwrap_or_default();
    let last = code.rsplit('.').next().unwrap_or_default();
    match listed(code) {
        None if TOO_MANY_CALLS.iter().any(|word| says(last, word)) => Class::Throttled,
        Some(Class::Task) | None
            if BLAME_A_PARAMETER.contains(&first) && blames_another(message, id_parameter) =>
        {
            Class::PaceKey
        }
        Some(class) => class,
        None => listed(first).unwrap_or(Class::Service),
    }
}

/// Whether a name in camel case contains that word: `RateLimitExceeded` contains "rate", `GenerateFailed`
/// does not.
fn says(name: &str, word: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.match_indices(word).any(|(start, _)| {
        let begins = start == 0
            || !name.as_bytes()[start].is_ascii_lowercase()
            || !name.as_bytes()[start - 1].is_ascii_alphanumeric();
        begins && !name.as_bytes().get(start + word.len()).is_some_and(u8::is_ascii_lowercase)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of docs/tencent-cloud-api.md §2, and examples of its prefixes: code, message, class.
    #[test]
    fn every_code_of_the_table_is_put_where_it_belongs() {
        for (code, message, class) in [
            ("InternalError", "", Class::Service),
            ("InternalError.DbError", "", Class::Service),
            ("InternalServerError", "", Class::Service),
            ("FailedOperation", "", Class::Service),
            ("FailedOperation.TaskBusy", "", Class::Service),
            ("ResourceUnavailable", "", Class::Service),
            ("ResourceUnavailable.X", "", Class::Service),
            ("ResourceInUse", "", Class::Service),
            ("ResourceInUse.X", "", Class::Service),
            ("ResourceInsufficient", "", Class::Service),
            ("ResourceInsufficient.X", "", Class::Service),
            ("ServiceUnavailable", "", Class::Service),
            ("RequestLimitExceeded", "", Class::Throttled),
            ("RequestLimitExceeded.X", "", Class::Throttled),
            ("LimitExceeded.RateLimitExceeded", "", Class::Throttled),
            ("LimitExceeded.FrequencyLimit", "", Class::Throttled),
            ("FailedOperation.CallRate", "", Class::Throttled),
            ("RequestLimitExceeded.UinLimitExceeded", "", Class::AccountThrottled),
            ("RequestLimitExceeded.GlobalRegionUinLimitExceeded", "", Class::AccountThrottled),
            ("RequestLimitExceeded.IPLimitExceeded", "", Class::AccountThrottled),
            ("LimitExceeded", "", Class::Service),
            ("LimitExceeded.Quota", "", Class::Service),
            ("AuthFailure.SignatureExpire", "", Class::Clock),
            ("AuthFailure.TokenFailure", "", Class::Account),
            ("AuthFailure", "", Class::Account),
            ("AuthFailure.SignatureFailure", "", Class::Account),
            ("AuthFailure.SecretIdNotFound", "", Class::Account),
            ("UnauthorizedOperation", "", Class::PaceKey),
            ("UnauthorizedOperation.CamNoAuth", "", Class::PaceKey),
            ("InvalidAction", "", Class::PaceKey),
            ("ActionOffline", "", Class::PaceKey),
            ("NoSuchProduct", "", Class::PaceKey),
            ("NoSuchVersion", "", Class::PaceKey),
            ("UnsupportedRegion", "", Class::PaceKey),
            ("UnsupportedProtocol", "", Class::PaceKey),
            ("UnsupportedOperation", "", Class::PaceKey),
            ("UnsupportedOperation.X", "", Class::PaceKey),
            ("IpInBlacklist", "", Class::PaceKey),
            ("IpNotInWhitelist", "", Class::PaceKey),
            ("OperationDenied", "", Class::PaceKey),
            ("OperationDenied.X", "", Class::PaceKey),
            ("MissingParameter", "", Class::PaceKey),
            ("UnknownParameter", "", Class::PaceKey),
            ("InvalidRequest", "", Class::PaceKey),
            ("InvalidParameter", "", Class::Task),
            ("InvalidParameter", "TaskId: no such task in this Region", Class::Task),
            ("InvalidParameter", "the Region is unknown", Class::PaceKey),
            ("InvalidParameter.X", "", Class::Task),
            ("InvalidParameterValue", "", Class::Task),
            ("InvalidParameterValue.X", "X-TC-Version is not served", Class::PaceKey),
            ("ResourceNotFound", "", Class::Task),
            ("ResourceNotFound.X", "the Region has no such task", Class::Task),
            ("NeverSeen", "", Class::Service),
            ("NeverSeen.AuthFailure", "", Class::Service),
            ("4100", "", Class::Service),
        ] {
            assert_eq!(super::class(code, message, "TaskId"), class, "{code} {message}");
        }
    }

    #[test]
    fn a_word_of_a_code_is_found_as_a_word_and_not_within_another() {
        for name in ["RateLimitExceeded", "CallRate", "IPRateLimit", "rate", "call_rate", "RATE_LIMIT"] {
            assert!(says(name, "rate"), "{name}");
        }
        for name in ["GenerateFailed", "MigrateTask", "Rated", "Operate", "Iteration", ""] {
            assert!(!says(name, "rate"), "{name}");
        }
    }
}
