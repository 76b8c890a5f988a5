//! A request of API 2.0 on the server's side, and the check of its signature.
//!
//! Written from docs/tencent-cloud-api.md §1 and not from `cloud`: a verifier that shares code with the
//! signer proves nothing.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha1::Sha1;
use sha2::Sha256;

use crate::secret::Secret;

/// One request, decoded.
pub(super) struct Request2 {
    method: &'static str,
    host: String,
    path: String,
    /// In byte order of their names, as the source string requires; of a repeated name the last one counts,
    /// as in PHP.
    parameters: BTreeMap<String, String>,
}

impl Request2 {
    /// Decodes a received request. `host_header` is its header `Host`. `form` is the query of a GET, or the body of a POST.
    pub(super) fn new(method: &'static str, host_header: &str, path: &str, form: &str) -> Self {
        let pairs = form.split('&').filter(|pair| !pair.is_empty());
        let parameters = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)));
        Self {
            method,
            host: without_port(host_header).to_owned(),
            path: path.to_owned(),
            parameters: parameters.collect(),
        }
    }

    /// A parameter's value; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The requested host, without its port.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether `Signature` is the signature of all other parameters with this key, for that host.
    pub(super) fn is_signed_with(&self, key: &Secret, host: &str) -> bool {
        let Some(signature) = self.get("Signature").and_then(|text| STANDARD.decode(text).ok()) else {
            return false;
        };
        let source = self.source(host);
        match self.get("SignatureMethod") {
            Some("HmacSHA256") => holds::<Sha256>(key, &source, &signature),
            // Any other value, or none, means SHA-1 (docs/tencent-cloud-api.md §1).
            Some(_) | None => holds::<Sha1>(key, &source, &signature),
        }
    }

    /// The signed text: raw values, and `_` as `.` in the names, after sorting.
    fn source(&self, host: &str) -> String {
        let mut source = format!("{}{host}{}?", self.method, self.path);
        for (index, (name, value)) in
            self.parameters.iter().filter(|(name, _)| *name != "Signature").enumerate()
        {
            if index > 0 {
                source.push('&');
            }
            source.push_str(&name.replace('_', "."));
            source.push('=');
            source.push_str(value);
        }
        source
    }
}

fn holds<H: EagerHash>(key: &Secret, source: &str, signature: &[u8]) -> bool
where
    Hmac<H>: Mac + KeyInit,
{
    let Ok(mut mac) = <Hmac<H> as KeyInit>::new_from_slice(key.expose().as_bytes()) else { return false };
    mac.update(source.as_bytes());
    mac.verify_slice(signature).is_ok()
}

/// As PHP reads forms: `+` is a blank. A signature with a raw `+` fails here, as in the cloud.
fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address are inside brackets.
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    const KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";
    const CVM: &str = "Action=DescribeInstances&InstanceIds.0=ins-09dx96dg&Nonce=11886&Region=ap-guangzhou\
                       &SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&Timestamp=1465185768";
    const SDK: &str = "Action=DescribeInstances&Nonce=1290303896666895346&Region=ap-guangzhou&SecretId=secretIdFoo\
                       &Timestamp=1512393162&Version=2017-03-12";
    const BM: &str = "Action=DescriptionOperationResult&Nonce=48476&Region=bj&SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA\
                      &Timestamp=1476436689&taskId=1000800001";

    fn holds(method: &'static str, host: &str, key: &str, form: &str, signature: &str) -> bool {
        let form = format!("Signature={}&{form}", utf8_percent_encode(signature, NON_ALPHANUMERIC));
        Request2::new(method, host, "/v2/index.php", &form)
            .is_signed_with(&Secret::new(key), without_port(host))
    }

    #[test]
    fn every_published_and_recomputed_signature_holds_and_no_other() {
        let sha1 = "&SignatureMethod=HmacSHA1";
        let sha256 = "&SignatureMethod=HmacSHA256";
        let vectors = [
            ("GET", "cvm.api.qcloud.com", KEY, CVM, sha1, "nPVnY6njQmwQ8ciqbPl5Qe+Oru4="),
            (
                "GET",
                "cvm.api.qcloud.com:80",
                KEY,
                CVM,
                sha256,
                "0EEm/HtGRr/VJXTAD9tYMth1Bzm3lLHz5RCDv1GdM8s=",
            ),
            ("GET", "cvm.api.qcloud.com", KEY, CVM, "", "B6cecqdJznPP5xUBExLyaWYdre4="),
            ("POST", "cvm.api.qcloud.com", "secretKeyBar", SDK, sha1, "p3n+pxBqF5JGZtDSxoVn5tGngf0="),
            (
                "POST",
                "cvm.api.qcloud.com",
                "secretKeyBar",
                SDK,
                sha256,
                "B2T37FRSP6Fk0/q/cdfrTE0p3zX5ooB/2BPWZUFpsj4=",
            ),
            ("GET", "cvm.api.qcloud.com", "secretKeyBar", SDK, sha1, "5HAq1BOKNLEE2/uauWnp6Zv9Z3c="),
            ("GET", "bm.api.qcloud.com", KEY, BM, "", "ZNmEhKXtWgruEgS930LgDaoHLyY="),
            ("POST", "bm.api.qcloud.com", KEY, BM, "", "almzdG7XJUDXqP2G+8FI8rjYvho="),
            ("GET", "bm.api.qcloud.com", KEY, BM, sha256, "HkYVLbHR4/DgmTDQv4OEnPAqHUg2mSmLbIIUiLtexJM="),
        ];
        for (method, host, key, form, extra, signature) in vectors {
            let form = format!("{form}{extra}");
            assert!(holds(method, host, key, &form, signature), "{method} {form}");
            assert!(!holds(method, host, key, &format!("{form}&limit=1"), signature), "{method} {form}");
            assert!(!holds(method, "bm.tencentcloudapi.com", key, &form, signature), "{method} {form}");
            assert!(!holds(method, host, "another", &form, signature), "{method} {form}");
        }
    }

    #[test]
    fn values_are_signed_raw_and_underscores_in_names_as_points() {
        let request = Request2::new("GET", "h", "/p", "b_1=x%2Fy+z%26&B=%E4%BA%91&Signature=s");
        assert_eq!(request.source("h"), "GETh/p?B=云&b.1=x/y z&");
    }

    #[test]
    fn a_port_is_no_part_of_the_host() {
        assert_eq!(["a:1", "a", "[::1]:80", "[::1]"].map(without_port), ["a", "a", "[::1]", "[::1]"]);
    }
}
