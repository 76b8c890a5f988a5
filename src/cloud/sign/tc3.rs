//! Signatures of API 3.0, `TC3-HMAC-SHA256` (docs/tencent-cloud-api.md §2): some headers and the hash of the
//! body are signed, with a key that is valid for one UTC day and one service.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::clock::Wall;
use crate::secret::Secret;

const ALGORITHM: &str = "TC3-HMAC-SHA256";
/// Ends every credential scope, and the derivation of every key.
const TERMINATOR: &str = "tc3_request";
const SECONDS_A_DAY: i64 = 86_400;

/// A signer for one key, service and set of headers. The state of the hash before the body's hash is prepared
/// once. The first request of a UTC day derives the key of the day.
#[derive(Clone)]
pub struct Tc3Signer {
    secret_id: String,
    /// `TC3` and the secret key.
    key: Secret,
    service: String,
    signed_headers: String,
    head: Sha256,
    day: Arc<Mutex<Option<Day>>>,
}

/// The common values of all requests of one UTC day.
#[derive(Clone)]
struct Day {
    /// Counted from 1970-01-01.
    number: i64,
    /// `2019-02-25/cvm/tc3_request`.
    scope: String,
    mac: Hmac<Sha256>,
}

/// The headers that sign a request.
pub struct Tc3Signed {
    /// The header `Authorization`. Never to be printed.
    pub authorization: String,
    /// The signature alone, as the server may echo it.
    pub signature: Secret,
}

impl Tc3Signer {
    /// Prepares a `POST` to `/`. `headers` are the signed headers, in byte order of their lower-case names,
    /// with the values that are sent.
    pub fn new(secret_id: &str, key: &Secret, service: &str, headers: &[(&str, &str)]) -> Self {
        let signed_headers = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut head = Sha256::new_with_prefix("POST\n/\n\n");
        for part in headers.iter().flat_map(|(name, value)| [name, ":", value, "\n"]) {
            head.update(part);
        }
        head.update("\n");
        head.update(&signed_headers);
        head.update("\n");
        Self {
            secret_id: secret_id.to_owned(),
            key: Secret::new(format!("TC3{}", key.expose())),
            service: service.to_owned(),
            signed_headers,
            head,
            day: Arc::default(),
        }
    }

    /// Signs a body, for that timestamp in UNIX seconds, which is sent as `X-TC-Timestamp`.
    pub fn sign(&self, timestamp: i64, body: &[u8]) -> Tc3Signed {
        let Day { scope, mut mac, .. } = self.day(timestamp);
        for part in [ALGORITHM, "\n", &timestamp.to_string(), "\n", &scope, "\n", &self.canonical(body)] {
            mac.update(part.as_bytes());
        }
        let signature = hex(&mac.finalize().into_bytes());
        let secret_id = &self.secret_id;
        let signed_headers = &self.signed_headers;
        let authorization = format!(
            "{ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={signed_headers}, Signature={signature}"
        );
        Tc3Signed { authorization, signature: Secret::new(signature) }
    }

    /// The hash of the canonical request.
    fn canonical(&self, body: &[u8]) -> String {
        hex(&self.head.clone().chain_update(hex(&Sha256::digest(body))).finalize())
    }

    /// The scope and the signing key of the UTC day of that timestamp, kept until another day is used.
    fn day(&self, timestamp: i64) -> Day {
        let number = timestamp.div_euclid(SECONDS_A_DAY);
        // No code panics while the receiver is locked, so a poisoned lock is usable.
        let mut cached = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cached {
            Some(day) if day.number == number => day.clone(),
            Some(_) | None => cached.insert(self.derived(number, timestamp)).clone(),
        }
    }

    fn derived(&self, number: i64, timestamp: i64) -> Day {
        let written = Wall(timestamp.saturating_mul(1000)).to_string();
        let date = written.split('T').next().unwrap_or_default();
        let of_date = keyed(self.key.expose().as_bytes()).chain_update(date).finalize().into_bytes();
        let of_service = keyed(&of_date).chain_update(&self.service).finalize().into_bytes();
        let of_day = keyed(&of_service).chain_update(TERMINATOR).finalize().into_bytes();
        Day { number, scope: format!("{date}/{}/{TERMINATOR}", self.service), mac: keyed(&of_day) }
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length; the error exists for other MACs")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET_ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******";
    const TIMESTAMP: i64 = 1_551_113_065;
    /// The escapes are part of the body.
    const BODY: &str =
        r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
    const USUAL: [(&str, &str); 2] =
        [("content-type", "application/json; charset=utf-8"), ("host", "cvm.tencentcloudapi.com")];

    #[test]
    fn every_published_vector_of_api_md_comes_out() {
        let with_action = [USUAL[0], USUAL[1], ("x-tc-action", "describeinstances")];
        let canonical = "5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031";
        for (key, headers, canonical, signature) in [
            (
                "Gu5t9xGARNpq86cd98joQYCN3*******",
                &USUAL[..],
                canonical,
                "2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c",
            ),
            (
                "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
                &USUAL,
                canonical,
                "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
            ),
            (
                "********************************",
                &with_action,
                "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84",
                "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
            ),
        ] {
            let signer = Tc3Signer::new(SECRET_ID, &Secret::new(key), "cvm", headers);
            assert_eq!(signer.canonical(BODY.as_bytes()), canonical, "{key}");
            let Tc3Signed { authorization, signature: made } = signer.sign(TIMESTAMP, BODY.as_bytes());
            assert_eq!(made.expose(), signature, "{key}");
            let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
            let scope = "2019-02-25/cvm/tc3_request";
            assert_eq!(
                authorization,
                format!(
                    "TC3-HMAC-SHA256 Credential={SECRET_ID}/{scope}, SignedHeaders={names}, Signature={signature}"
                )
            );
        }
    }

    #[test]
    fn the_date_is_that_of_the_timestamp_in_utc_and_a_cached_day_ends_with_it() {
        let signer = Tc3Signer::new("id", &Secret::new("key"), "bm", &USUAL);
        let fresh = |timestamp| {
            Tc3Signer::new("id", &Secret::new("key"), "bm", &USUAL).sign(timestamp, b"{}").authorization
        };
        for (timestamp, date) in [
            (1_551_139_199, "2019-02-25"),
            (1_551_139_200, "2019-02-26"),
            (1_551_139_199, "2019-02-25"),
            (0, "1970-01-01"),
        ] {
            let authorization = signer.sign(timestamp, b"{}").authorization;
            assert!(
                authorization.contains(&format!("Credential=id/{date}/bm/tc3_request,")),
                "{authorization}"
            );
            assert_eq!(authorization, fresh(timestamp));
        }
    }
}
