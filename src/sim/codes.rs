//! Pairs of codes: the same error over API 2.0 and over API 3.0.
//!
//! One script serves both APIs, so its codes may be numbers of API 2.0 or names of API 3.0. Each API returns
//! its own form; a code without a counterpart is returned unchanged.

use crate::cloud::operations::Api;
use crate::model::reading::Code;

/// Equivalent codes (docs/tencent-cloud-api.md §1 and §2). If a number has several names, the first is used.
const NAMES: &[(i64, &str)] = &[
    (4000, "InvalidParameterValue"),
    (4100, "AuthFailure.SignatureFailure"),
    (4100, "AuthFailure"),
    (4104, "AuthFailure.SecretIdNotFound"),
    (4105, "AuthFailure.TokenFailure"),
    (4106, "AuthFailure.MFAFailure"),
    (4110, "UnsupportedRegion"),
    (4200, "AuthFailure.SignatureExpire"),
    (4300, "UnauthorizedOperation"),
    (4400, "RequestLimitExceeded"),
    (4600, "UnsupportedProtocol"),
    (5000, "ResourceNotFound"),
    (5100, "FailedOperation"),
    (6000, "InternalError"),
    (6100, "InvalidAction"),
    (6200, "ServiceUnavailable"),
    (9001, "InternalError.DbError"),
    (10001, "InvalidParameter"),
];

/// The form of the code in that API.
pub(super) fn named_in(api: Api, code: &Code) -> Code {
    let other = match (api, code) {
        (Api::V2, Code::Text(word)) => {
            NAMES.iter().find(|(_, name)| *name == &**word).map(|(number, _)| Code::Int(*number))
        }
        (Api::V3, Code::Int(number)) => {
            NAMES.iter().find(|(known, _)| known == number).map(|(_, name)| Code::Text((*name).into()))
        }
        (Api::V2, Code::Int(_)) | (Api::V3, Code::Text(_)) => None,
    };
    other.unwrap_or_else(|| code.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::codes::{Cause, fault};
    use crate::cloud::operations::Operations;

    #[test]
    fn two_names_of_a_trouble_are_read_as_the_same_trouble() {
        let operations = Operations::built_in();
        for (number, name) in NAMES {
            let class = |row: &str, code| fault(Cause::Code(code), "", operations.get(row).unwrap()).class;
            let old = class("bm", Code::Int(*number));
            assert_eq!(old, class("bm3", Code::Text((*name).into())), "{number} {name}");
        }
    }

    #[test]
    fn a_code_is_reported_in_the_words_of_the_api_that_asks_and_one_without_a_twin_as_it_stands() {
        let text = |code: &str| Code::Text(code.into());
        assert_eq!(named_in(Api::V3, &Code::Int(4100)), text("AuthFailure.SignatureFailure"));
        assert_eq!(named_in(Api::V2, &text("AuthFailure")), Code::Int(4100));
        for code in [Code::Int(4500), Code::Int(4100), text("NoSuchVersion")] {
            assert_eq!(named_in(Api::V2, &code), code);
        }
        for code in [Code::Int(4500), text("AuthFailure")] {
            assert_eq!(named_in(Api::V3, &code), code);
        }
    }
}
