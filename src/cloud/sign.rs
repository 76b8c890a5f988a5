//! API 2.0 signatures (docs/tencent-cloud-api.md §1): raw values are signed, encoded values are sent. Those of API 3.0 are in
//! [`tc3`].

pub mod tc3;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::Sha256;

use super::account::Method;
use crate::model::event::RESERVED;
use crate::secret::Secret;

/// Hash of an API 2.0 signature (docs/tencent-cloud-api.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SignatureMethod {
    /// HMAC-SHA1.
    #[default]
    #[serde(rename = "HmacSHA1")]
    Sha1,
    /// HMAC-SHA256.
    #[serde(rename = "HmacSHA256")]
    Sha256,
}

/// A signer for one key, method, host and path. The state of the HMAC after `GET` + host + path + `?` is
/// prepared once, and each request continues from a copy.
#[derive(Clone)]
pub struct Signer {
    prepared: Prepared,
}

#[derive(Clone)]
enum Prepared {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
}

/// The fields of a signed request, encoded, and the bare signature, for redaction alone.
pub struct SignedFields {
    /// `name=value&…&Signature=…`: a query, or a form body. Never to be printed.
    pub fields: String,
    /// The signature, encoded as in the request: a response may contain it, and then it is hidden.
    pub signature: Secret,
}

impl SignatureMethod {
    /// Value of the request parameter `SignatureMethod`. Absent means HMAC-SHA1.
    pub fn parameter(self) -> Option<&'static str> {
        match self {
            Self::Sha1 => None,
            Self::Sha256 => Some("HmacSHA256"),
        }
    }
}

impl Signer {
    /// Prepares the state. `path` starts with `/`; `host` is without scheme and port.
    pub fn new(key: &Secret, hash: SignatureMethod, method: Method, host: &str, path: &str) -> Self {
        let key = key.expose().as_bytes();
        let mut prepared = match hash {
            SignatureMethod::Sha1 => Prepared::Sha1(keyed(key)),
            SignatureMethod::Sha256 => Prepared::Sha256(keyed(key)),
        };
        let verb = match method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        for part in [verb, host, path, "?"] {
            prepared.update(part);
        }
        Self { prepared }
    }

    /// Signs and encodes the parameters in one pass. Their order does not matter.
    pub fn sign(&self, parameters: &mut [(&str, &str)]) -> SignedFields {
        /// The size of the encoded parameters of a usual request, so that they are allocated once.
        const USUAL_BYTES: usize = 320;
        parameters.sort_unstable();
        let mut mac = self.prepared.clone();
        let mut fields = String::with_capacity(USUAL_BYTES);
        for (position, (name, value)) in parameters.iter().enumerate() {
            if position > 0 {
                mac.update("&");
            }
            for (part, piece) in name.split('_').enumerate() {
                if part > 0 {
                    mac.update(".");
                }
                mac.update(piece);
            }
            mac.update("=");
            mac.update(value);
            fields.extend(utf8_percent_encode(name, RESERVED));
            fields.push('=');
            fields.extend(utf8_percent_encode(value, RESERVED));
            fields.push('&');
        }
        let signature = mac.finish();
        fields.push_str("Signature=");
        fields.extend(utf8_percent_encode(&signature, RESERVED));
        SignedFields { fields, signature: Secret::new(signature) }
    }
}

impl Prepared {
    fn update(&mut self, text: &str) {
        match self {
            Self::Sha1(mac) => mac.update(text.as_bytes()),
            Self::Sha256(mac) => mac.update(text.as_bytes()),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha1(mac) => STANDARD.encode(mac.finalize().into_bytes()),
            Self::Sha256(mac) => STANDARD.encode(mac.finalize().into_bytes()),
        }
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length; the error exists for other MACs")]
fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";
    const CVM: &str = "Action=DescribeInstances&InstanceIds.0=ins-09dx96dg&Nonce=11886&Region=ap-guangzhou&SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&Timestamp=1465185768";
    const OLD_SDK: &str = "Action=DescribeInstances&Nonce=1290303896666895346&Region=ap-guangzhou&SecretId=secretIdFoo&Timestamp=1512393162&Version=2017-03-12";
    const BM: &str = "Action=DescriptionOperationResult&Nonce=48476&Region=bj&SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&Timestamp=1476436689&taskId=1000800001";

    fn signature(key: &str, hash: SignatureMethod, method: Method, host: &str, query: &str) -> String {
        let mut parameters: Vec<_> = query.split('&').filter_map(|field| field.split_once('=')).collect();
        parameters.reverse();
        Signer::new(&Secret::new(key), hash, method, host, "/v2/index.php")
            .sign(&mut parameters)
            .signature
            .expose()
            .to_owned()
    }

    #[test]
    fn every_vector_of_api_md_comes_out() {
        let sha1 = SignatureMethod::Sha1;
        let sha256 = SignatureMethod::Sha256;
        let get = Method::Get;
        let post = Method::Post;
        let cvm = "cvm.api.qcloud.com";
        let bm = "bm.api.qcloud.com";
        let with = |query: &str, method: &str| format!("{query}&SignatureMethod={method}");
        for (key, hash, method, host, query, expected) in [
            (KEY, sha1, get, cvm, with(CVM, "HmacSHA1"), "nPVnY6njQmwQ8ciqbPl5Qe+Oru4="),
            (KEY, sha256, get, cvm, with(CVM, "HmacSHA256"), "0EEm/HtGRr/VJXTAD9tYMth1Bzm3lLHz5RCDv1GdM8s="),
            (KEY, sha1, get, cvm, CVM.to_owned(), "B6cecqdJznPP5xUBExLyaWYdre4="),
            ("secretKeyBar", sha1, post, cvm, with(OLD_SDK, "HmacSHA1"), "p3n+pxBqF5JGZtDSxoVn5tGngf0="),
            (
                "secretKeyBar",
                sha256,
                post,
                cvm,
                with(OLD_SDK, "HmacSHA256"),
                "B2T37FRSP6Fk0/q/cdfrTE0p3zX5ooB/2BPWZUFpsj4=",
            ),
            ("secretKeyBar", sha1, get, cvm, with(OLD_SDK, "HmacSHA1"), "5HAq1BOKNLEE2/uauWnp6Zv9Z3c="),
            (KEY, sha1, get, bm, BM.to_owned(), "ZNmEhKXtWgruEgS930LgDaoHLyY="),
            (KEY, sha1, post, bm, BM.to_owned(), "almzdG7XJUDXqP2G+8FI8rjYvho="),
            (KEY, sha256, get, bm, with(BM, "HmacSHA256"), "HkYVLbHR4/DgmTDQv4OEnPAqHUg2mSmLbIIUiLtexJM="),
        ] {
            assert_eq!(signature(key, hash, method, host, &query), expected, "{query}");
        }
    }

    #[test]
    fn values_are_signed_raw_and_sent_encoded_and_an_underscore_in_a_name_is_signed_as_a_dot() {
        let signer = Signer::new(&Secret::new(KEY), SignatureMethod::Sha1, Method::Get, "h", "/");
        let underscore = signer.sign(&mut [("ids_0", "a b+机")]);
        let dot = signer.sign(&mut [("ids.0", "a b+机")]);
        assert_eq!(underscore.signature, dot.signature);
        assert!(underscore.fields.starts_with("ids_0=a%20b%2B%E6%9C%BA&Signature="), "{}", underscore.fields);
    }
}
