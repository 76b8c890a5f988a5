//! The meaning of a response, or of its absence, as a message with the host and without secrets.
//!
//! Any 2xx acknowledges. Messages name no URL and no redirect target. A refusal includes the receiver's text:
//! bounded, without control characters, and without echoed secrets.

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, DATE, RETRY_AFTER};
use rustls::AlertDescription;

use super::guard::LinkLocal;
use crate::model::delivery::{Refusal, RefusalClass};
use crate::model::pace::LONGEST_RETRY_AFTER;
use crate::net::{self, ca_file};
use crate::secret::hidden::Hidden;

/// A refusal is a few sentences. A longer body is a page, and its beginning is enough.
const BODY_BYTES: usize = 64 * 1024;
/// The part of the body in messages.
const WORDS_BYTES: usize = 512;
/// The head of a response decides. Its body only explains, so the wait for it is short.
const PATIENCE: Duration = Duration::from_secs(1);

/// The meaning of a status and the fix. Statuses that refuse content, and holds, are listed. Every other 4xx
/// is about the request itself, which is the same for all events, so it puts the sink on hold and drops
/// nothing.
const STATUSES: &[(u16, RefusalClass, &str)] = &[
    (400, RefusalClass::Event, "the receiver refuses this event"),
    (401, RefusalClass::Sink, "the receiver does not accept the credentials; check `headers` and `secrets`"),
    (
        403,
        RefusalClass::Sink,
        "the receiver denies access; check `headers` and `secrets`, and its permissions",
    ),
    (404, RefusalClass::Sink, "the receiver has nothing at this address; check `url`"),
    (405, RefusalClass::Sink, "the receiver expects another method; check `method` and `url`"),
    (
        407,
        RefusalClass::Sink,
        "the proxy requires a login, or refuses this one; write user and password into `proxy`",
    ),
    (408, RefusalClass::Passing, "the receiver timed out"),
    // Some receivers return it for an event that they already have; a retry does not help.
    (409, RefusalClass::Event, "the event conflicts with one that the receiver has"),
    (410, RefusalClass::Sink, "the address no longer exists; check `url`, or remove this sink"),
    (413, RefusalClass::Event, "the event is too large for the receiver"),
    (415, RefusalClass::Event, "the receiver does not accept this format; check `template`"),
    (422, RefusalClass::Event, "the receiver refuses this event"),
    (423, RefusalClass::Passing, "the receiver is locked"),
    (425, RefusalClass::Passing, "the request was too early"),
    (429, RefusalClass::Passing, "the receiver throttles requests"),
];
/// nginx writes it on the page of its 400 where a client certificate is missing or refused: no fault of an
/// event.
const NGINX_ON_CERTIFICATES: &str = "SSL certificate";

/// The receiver's text for messages: on one line, cut.
fn reported(words: &str, hidden: &Hidden) -> String {
    // A secret may be cut at the end of the body.
    let end = if words.len() < BODY_BYTES { words.len() } else { BODY_BYTES / 2 };
    let mut reported = String::new();
    for character in hidden.hide_part(words, 0..end).trim().chars() {
        let start = reported.len();
        match character {
            '\n' | '\r' | '\t' => reported.push(' '),
            control if control.is_control() => reported.extend(control.escape_unicode()),
            other => reported.push(other),
        }
        if reported.len() > WORDS_BYTES {
            reported.truncate(start);
            reported.push('…');
            break;
        }
    }
    reported
}

/// Whether a response acknowledges. `hidden` is evaluated only where the receiver's text is used.
pub async fn judge(
    response: Response,
    receiver: &str,
    with_words: bool,
    hidden: impl FnOnce() -> Hidden,
    now: SystemTime,
) -> Result<(), Refusal> {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let server_time = header(DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    let retry_after = header(RETRY_AFTER).and_then(|value| net::retry_after(value, server_time));
    // An encoded body is not readable; only `identity` was accepted.
    let is_readable =
        header(CONTENT_ENCODING).is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    // The body is always read, so that the connection can be used again.
    let words = words(response).await;
    let words = if is_readable { words } else { String::new() };
    let what = format!("{receiver} returned HTTP {}: ", status.as_u16());
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        return Err(Refusal::of_sink(
            what + "a redirect, which is not followed; write the final address into `url`",
        ));
    }
    if status.is_client_error() {
        let listed = STATUSES.iter().find(|(listed, ..)| *listed == status.as_u16());
        let (class, meaning) = match listed {
            Some((400, ..)) if words.contains(NGINX_ON_CERTIFICATES) => (
                RefusalClass::Sink,
                "the receiver does not accept the client certificate; check `tls.cert_file` and `tls.key_file`",
            ),
            Some((_, class, meaning)) => (*class, *meaning),
            None => (RefusalClass::Sink, "the receiver refuses the request; check `url` and `headers`"),
        };
        let words = if with_words { reported(&words, &hidden()) } else { String::new() };
        let words = if words.is_empty() { words } else { format!("; its text: {words}") };
        return Err(Refusal { class, what: what + meaning + &words, retry_after: bounded(retry_after) });
    }
    Err(Refusal { retry_after: bounded(retry_after), ..Refusal::passing(what + "the receiver failed") })
}

/// The refusal of an attempt without a response; `within` is its time limit.
pub fn unanswered(
    error: reqwest::Error,
    receiver: &str,
    within: impl std::fmt::Display,
    hidden: &Hidden,
) -> Refusal {
    let has_cause =
        |holds: &dyn Fn(&(dyn std::error::Error + 'static)) -> bool| net::causes(&error).any(holds);
    let is_link_local = has_cause(&|cause| cause.is::<LinkLocal>());
    let advice = ca_file::advice(&error, "tls.ca_file");
    let are_we_untrusted = has_cause(
        &|cause| matches!(cause.downcast_ref(), Some(rustls::Error::AlertReceived(alert)) if refuses_us(*alert)),
    );
    let is_unknown_to_proxy = net::is_unknown_to_proxy(&error);
    let is_timeout = error.is_timeout();
    let is_connect = error.is_connect();
    let cause = net::cause(error);
    // The text may come from a certificate or a proxy.
    let cause = hidden.hide(&cause);
    if let Some(advice) = advice {
        return Refusal::passing(format!(
            "{receiver} has a certificate that is not trusted ({cause}); {advice}"
        ));
    }
    match () {
        () if is_link_local => {
            Refusal::of_sink(format!("{receiver} {cause}; write another host, or set `allow_link_local`"))
        }
        () if is_timeout => late(receiver, within),
        () if are_we_untrusted => Refusal::of_sink(format!(
            "{receiver} does not accept the client certificate ({cause}); check `tls.cert_file` and `tls.key_file`"
        )),
        () if is_unknown_to_proxy => Refusal::of_sink(format!(
            "the proxy before {receiver} requires a login, or refuses this one; write user and password into `proxy`"
        )),
        () if is_connect => Refusal::passing(format!("cannot reach {receiver}: {cause}")),
        () => Refusal::passing(format!("{receiver} failed: {cause}")),
    }
}

/// The refusal of an attempt that timed out.
pub fn late(receiver: &str, within: impl std::fmt::Display) -> Refusal {
    Refusal::passing(format!("{receiver} did not respond within {within}"))
}

/// Alerts with which a server refuses a client certificate, or its absence (RFC 8446 §6.2).
fn refuses_us(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    [
        Alert::BadCertificate,
        Alert::UnsupportedCertificate,
        Alert::CertificateRevoked,
        Alert::CertificateExpired,
        Alert::CertificateUnknown,
        Alert::UnknownCA,
        Alert::AccessDenied,
        Alert::CertificateRequired,
    ]
    .contains(&alert)
}

fn bounded(retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER))
}

/// The beginning of the body, as far as it arrives in time.
async fn words(mut response: Response) -> String {
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = BODY_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == BODY_BYTES {
                break;
            }
        }
    };
    // The part that arrived is enough.
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    String::from_utf8_lossy(&body).into_owned()
}
