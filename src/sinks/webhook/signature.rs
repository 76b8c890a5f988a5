//! Signatures of Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over
//! `id.timestamp.body`.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, DecodePaddingMode::Indifferent};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// The prefix of a signing secret.
const PREFIX: &str = "whsec_";
/// The length of a key by the specification. Other lengths work, with a warning.
const USUAL_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Some users copy a secret without its padding.
const LENIENT: GeneralPurpose = lenient(Indifferent);

const fn lenient(padding: DecodePaddingMode) -> GeneralPurpose {
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(padding))
}

/// One signing secret: the prepared state of its HMAC.
#[derive(Clone)]
pub struct SigningKey {
    prepared: Hmac<Sha256>,
    /// Whether its length is that of the specification.
    pub is_usual: bool,
}

impl SigningKey {
    /// The key of a written secret.
    ///
    /// # Errors
    /// What is wrong with it, and what to do; without the secret.
    pub fn new(secret: &Secret) -> Result<Self, &'static str> {
        const FORM: &str = "is not a signing secret; write it as the receiver shows it: whsec_ and base64";
        secret.expose().trim().strip_prefix(PREFIX).ok_or(FORM)?;
        let key = LENIENT.decode(encoded(secret)).ok().filter(|key| !key.is_empty()).ok_or(FORM)?;
        // HMAC takes keys of any length.
        let prepared = Hmac::new_from_slice(&key).map_err(|_| FORM)?;
        Ok(Self { prepared, is_usual: USUAL_BYTES.contains(&key.len()) })
    }

    fn sign(&self, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
        let mut mac = self.prepared.clone();
        mac.update(format!("{id}.{timestamp_seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The secret part of a signing secret.
pub fn encoded(secret: &Secret) -> &str {
    let written = secret.expose().trim();
    written.strip_prefix(PREFIX).unwrap_or(written)
}

/// The value of `webhook-signature`: one signature for each secret, so that a receiver may have any of them.
pub fn header(keys: &[SigningKey], id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    keys.iter().map(|key| key.sign(id, timestamp_seconds, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const TIMESTAMP: i64 = 1_649_367_553;
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;

    fn key(secret: &str) -> SigningKey {
        SigningKey::new(&Secret::new(secret)).unwrap()
    }

    #[test]
    fn the_vector_of_the_specification_is_met() {
        assert_eq!(
            header(&[key(SECRET)], ID, TIMESTAMP, BODY),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
    }

    #[test]
    fn each_of_several_secrets_verifies_with_the_reference() {
        let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let now = crate::clock::Clock::start().now().wall.0 / 1000;
        let signed = header(&[key(other), key(SECRET)], ID, now, BODY);
        assert_eq!(signed.split(' ').count(), 2);
        for secret in [SECRET, other] {
            let mut headers = http_headers(now, &signed);
            let reference = standardwebhooks::Webhook::new(secret).unwrap();
            reference.verify(BODY, &headers).unwrap();
            headers.insert("webhook-id", "msg_other".parse().unwrap());
            assert!(reference.verify(BODY, &headers).is_err());
        }
    }

    fn http_headers(timestamp: i64, signature: &str) -> HeaderMap {
        let timestamp = timestamp.to_string();
        let pairs = [("webhook-id", ID), ("webhook-timestamp", &timestamp), ("webhook-signature", signature)];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_repeated_and_an_unusual_one_is_doubtful() {
        for wrong in [
            "",
            "whsec_",
            "whsec_hunter2!",
            "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "whpk_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        ] {
            assert!(
                !SigningKey::new(&Secret::new(wrong)).map(|_| ()).unwrap_err().contains("hunter2"),
                "{wrong}"
            );
        }
        let padded = ["whsec_QUJD", "whsec_QUI=", "whsec_QUI", " whsec_QUI=\n"];
        assert!(padded.map(key).iter().all(|key| !key.is_usual) && key(SECRET).is_usual);
    }
}
