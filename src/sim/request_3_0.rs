//! A request of API 3.0 on the server's side, and the check of its signature.
//!
//! Written from docs/tencent-cloud-api.md §2 and not from `cloud`: a verifier that shares code with the
//! signer proves nothing.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::scenario::canonical;
use crate::clock::Wall;
use crate::secret::Secret;

/// One request.
pub(super) struct Request3 {
    /// By name in lower case; of a header sent twice the last counts.
    headers: BTreeMap<String, String>,
    query: String,
    body: Vec<u8>,
}

/// The parts of the header `Authorization`.
pub(super) struct Authorization<'a> {
    /// The SecretId of the signature.
    pub secret_id: &'a str,
    date: &'a str,
    /// The service that it was signed for.
    pub service: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl Request3 {
    /// A `POST` to `/`.
    pub(super) fn new(headers: &HeaderMap, query: &str, body: Vec<u8>) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers =
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect();
        Self { headers, query: query.to_owned(), body }
    }

    /// A header's value; an empty one counts as absent.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The parts of the header `Authorization`; `None`: it is missing or has another form.
    pub(super) fn authorization(&self) -> Option<Authorization<'_>> {
        let parts = self.header("authorization")?.strip_prefix("TC3-HMAC-SHA256 ")?;
        let part =
            |name: &str| parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let mut credential = part("Credential")?.rsplitn(4, '/');
        let (Some("tc3_request"), Some(service), Some(date), Some(secret_id)) =
            (credential.next(), credential.next(), credential.next(), credential.next())
        else {
            return None;
        };
        Some(Authorization {
            secret_id,
            date,
            service,
            signed_headers: part("SignedHeaders")?,
            signature: part("Signature")?,
        })
    }

    /// The body, if it is a JSON object.
    pub(super) fn parameters(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The requested id in its canonical form; empty if there is none.
    pub(super) fn id(&self, parameter: &str) -> String {
        match self.parameters().and_then(|mut parameters| parameters.remove(parameter)) {
            Some(Value::String(text)) => canonical(&text),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => String::new(),
        }
    }
}

impl Authorization<'_> {
    /// Whether that header is signed.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|signed| signed == name)
    }

    /// Whether the signature is that of the request with this key, for that host and that timestamp in UNIX
    /// seconds.
    pub(super) fn holds(&self, request: &Request3, key: &Secret, host: &str, timestamp: i64) -> bool {
        // The day of the scope must be that of the timestamp, or old keys would sign for ever.
        if !Wall(timestamp.saturating_mul(1000)).to_string().starts_with(&format!("{}T", self.date)) {
            return false;
        }
        let scope = format!("{}/{}/tc3_request", self.date, self.service);
        let to_sign = format!(
            "TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{}",
            hex(&Sha256::digest(self.canonical(request, host)))
        );
        let secret = format!("TC3{}", key.expose());
        let mut derived = secret.into_bytes();
        for part in [self.date, self.service, "tc3_request", &to_sign] {
            let Ok(mac) = Hmac::<Sha256>::new_from_slice(&derived) else { return false };
            derived = mac.chain_update(part).finalize().into_bytes().to_vec();
        }
        hex(&derived) == self.signature
    }

    /// The canonical request. Values of headers are signed in lower case: the third published vector has
    /// `describeinstances`.
    fn canonical(&self, request: &Request3, host: &str) -> String {
        let value = |name: &str| {
            if name == "host" { host } else { request.header(name).unwrap_or_default() }.to_lowercase()
        };
        let headers: String =
            self.signed_headers.split(';').map(|name| format!("{name}:{}\n", value(name))).collect();
        format!(
            "POST\n/\n{}\n{headers}\n{}\n{}",
            request.query,
            self.signed_headers,
            hex(&Sha256::digest(&request.body))
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMESTAMP: i64 = 1_551_113_065;
    const BODY: &str =
        r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;

    fn request(date: &str, signed_headers: &str, signature: &str, body: &str) -> Request3 {
        let authorization = format!(
            "TC3-HMAC-SHA256 Credential=AKID/x/{date}/cvm/tc3_request, SignedHeaders={signed_headers}, Signature={signature}"
        );
        let headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("host", "cvm.tencentcloudapi.com"),
            ("x-tc-action", "DescribeInstances"),
            ("authorization", &authorization),
        ];
        let headers = headers
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect();
        Request3::new(&headers, "", body.as_bytes().to_vec())
    }

    #[test]
    fn every_published_signature_holds_and_no_other() {
        for (key, signed_headers, signature) in [
            (
                "Gu5t9xGARNpq86cd98joQYCN3*******",
                "content-type;host",
                "2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c",
            ),
            (
                "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
                "content-type;host",
                "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
            ),
            (
                "********************************",
                "content-type;host;x-tc-action",
                "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
            ),
        ] {
            let holds = |request: &Request3, key: &str, host: &str, timestamp: i64| {
                request.authorization().unwrap().holds(request, &Secret::new(key), host, timestamp)
            };
            let good = request("2019-02-25", signed_headers, signature, BODY);
            assert_eq!(good.authorization().unwrap().secret_id, "AKID/x");
            let host = "cvm.tencentcloudapi.com";
            assert!(holds(&good, key, host, TIMESTAMP), "{key}");
            assert!(
                !holds(&good, "another", host, TIMESTAMP)
                    && !holds(&good, key, "bm.tencentcloudapi.com", TIMESTAMP)
            );
            assert!(!holds(&good, key, host, TIMESTAMP + 1) && !holds(&good, key, host, TIMESTAMP + 86_400));
            assert!(!holds(&request("2019-02-26", signed_headers, signature, BODY), key, host, TIMESTAMP));
            assert!(!holds(&request("2019-02-25", signed_headers, signature, "{}"), key, host, TIMESTAMP));
        }
    }

    #[test]
    fn an_authorization_of_another_form_is_none() {
        for wrong in [
            "",
            "SKIP",
            "TC3-HMAC-SHA256 Credential=a/b/tc3_request, SignedHeaders=host, Signature=x",
            "TC3-HMAC-SHA256 x",
        ] {
            let headers = [("authorization".parse().unwrap(), wrong.parse().unwrap())].into_iter().collect();
            assert!(Request3::new(&headers, "", Vec::new()).authorization().is_none(), "{wrong}");
        }
    }
}
