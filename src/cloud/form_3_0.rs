//! Requests of API 3.0 (docs/tencent-cloud-api.md §2): a JSON body, everything else in headers, signed with TC3.

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value};

use super::account::Account;
use super::connection::{self, SignedRequest};
use super::form::{Address, SignedPoll};
use super::operations::Operation;
use super::sign::tc3::{self, Tc3Signer};
use super::{Error, Stamp};
use crate::model::task::TaskId;

/// Signed, so it is sent exactly so.
const JSON: &str = "application/json";
const TIMESTAMP: HeaderName = HeaderName::from_static("x-tc-timestamp");

/// Regions with short names in API 2.0; the hosts of API 3.0 accept only the long names
/// (docs/tencent-cloud-api.md §2).
const REGIONS: &[(&str, &str)] = &[
    ("bj", "ap-beijing"),
    ("cq", "ap-chongqing"),
    ("gz", "ap-guangzhou"),
    ("hk", "ap-hongkong"),
    ("sg", "ap-singapore"),
    ("sh", "ap-shanghai"),
];

/// The common values of the requests of one target, without the task and the time.
#[derive(Clone)]
pub(super) struct RequestForm3 {
    /// Headers of every request.
    headers: HeaderMap,
    signer: Tc3Signer,
    /// The address; its host has a port if that is sent.
    pub address: Address,
}

impl RequestForm3 {
    /// Prepares what can be prepared.
    ///
    /// # Errors
    /// When the operation's host makes no URL, or what goes into a header fits into none.
    pub fn new(account: &Account, operation: &Operation, region: &str) -> Result<Self, Error> {
        let mut url = match &account.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Url::parse(&format!("https://{}", operation.host))
                .map_err(|_| Error::Host(operation.host.clone()))?,
        };
        url.set_path("/");
        let dialled = match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        // The server converts the verified values to lower case.
        let host = account.signed_host.clone().unwrap_or(dialled).to_ascii_lowercase();
        let region = REGIONS.iter().find(|(short, _)| *short == region).map_or(region, |(_, long)| long);
        let header = |what, text: &str| {
            HeaderValue::from_str(text).map_err(|_| Error::Header { account: account.name.clone(), what })
        };
        // The id is part of `Authorization` later, where an error could not be reported.
        header("secret_id", &account.secret_id)?;
        let mut headers = connection::headers();
        headers.extend([
            (HOST, header("host", &host)?),
            (CONTENT_TYPE, HeaderValue::from_static(JSON)),
            (HeaderName::from_static("x-tc-action"), header("action", &operation.action)?),
            (HeaderName::from_static("x-tc-version"), header("version", &operation.version)?),
            (HeaderName::from_static("x-tc-region"), header("region", region)?),
        ]);
        if let Some(token) = &account.token {
            headers.insert(HeaderName::from_static("x-tc-token"), secret(header("token", token.expose())?));
        }
        let signed = [("content-type", JSON), ("host", &host)];
        let signer = Tc3Signer::new(&account.secret_id, &account.secret_key, operation.service(), &signed);
        Ok(Self { headers, signer, address: Address { url: Arc::new(url), host, region: region.to_owned() } })
    }

    /// The signed request for one task.
    pub fn request(
        &self,
        id_parameter: &str,
        id: &TaskId,
        params: &[(String, String)],
        stamp: Stamp,
    ) -> SignedPoll {
        let timestamp = stamp.at.0.div_euclid(1000);
        let body = body(id_parameter, id, params);
        let tc3::Tc3Signed { authorization, signature } = self.signer.sign(timestamp, body.as_bytes());
        let mut headers = self.headers.clone();
        headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
        // All its parts were validated as headers before.
        if let Ok(authorization) = HeaderValue::from_str(&authorization) {
            headers.insert(AUTHORIZATION, secret(authorization));
        }
        SignedPoll {
            request: SignedRequest {
                method: Method::POST,
                url: Arc::clone(&self.address.url),
                query: String::new(),
                headers,
                body,
            },
            signature,
        }
    }
}

/// Parameters as JSON: an id of type `int` is a number, exact up to 2^64-1, and all else is text.
fn body(id_parameter: &str, id: &TaskId, params: &[(String, String)]) -> String {
    let id = match id {
        TaskId::Int(number) => Value::from(*number),
        TaskId::Text(text) => Value::from(&**text),
    };
    let mut fields: Map<String, Value> =
        params.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    fields.insert(id_parameter.to_owned(), id);
    Value::Object(fields).to_string()
}

/// A value that is left out of printed headers.
fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_exact_and_keep_their_type_and_params_are_text() {
        assert_eq!(body("TaskId", &TaskId::Int(123), &[]), r#"{"TaskId":123}"#);
        assert_eq!(body("TaskId", &TaskId::Int(u64::MAX), &[]), r#"{"TaskId":18446744073709551615}"#);
        let params = [("EnvId".to_owned(), "1".to_owned()), ("Zone".to_owned(), "机\"".to_owned())];
        assert_eq!(
            body("TaskId", &TaskId::Text("7".into()), &params),
            r#"{"EnvId":"1","TaskId":"7","Zone":"机\""}"#
        );
    }
}
