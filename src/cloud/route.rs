//! Poll of one target: one call is one signed request and its response.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::codes::{self, Cause, Missing};
use super::connection::{Connections, Received, TransportFailure};
use super::form::{Form, Signed};
use super::operations::Operation;
use super::{Stamp, answer, sign};
use crate::clock::Wall;
use crate::model::reading::{Fault, Reading, Response};
use crate::model::task::{PaceKey, TaskId};
use crate::net;
use crate::secret::Secret;
use crate::units::Rate;

/// Everything about the polls of one target but the task, the nonce and the time.
#[derive(Clone)]
pub struct Route {
    pub(super) connections: Arc<dyn Connections>,
    pub(super) request_timeout: Duration,
    pub(super) form: Form,
    pub(super) token: Option<Secret>,
    pub(super) operation: Arc<Operation>,
    /// Unit of the rate limit of the cloud.
    pub pace_key: PaceKey,
    /// Rate of the requests of the pace key.
    pub rate: Rate,
    /// Most requests of the account in flight.
    pub max_in_flight: u32,
}

impl Route {
    /// Sends one poll of a task. Everything that can go wrong is a fault.
    pub async fn ask(
        &self,
        id: &TaskId,
        params: &[(String, String)],
        stamp: Stamp,
        new_connection: bool,
    ) -> Response {
        let Signed { request, signature } = self.form.request(&self.operation.id.name, id, params, stamp);
        let sent = self.connections.send(request, new_connection, self.operation.max_response.0);
        match tokio::time::timeout(self.request_timeout, sent).await {
            Ok(Ok(received)) => self.response(received, stamp, &signature),
            Ok(Err(failure)) => Response { poll: Err(self.failed(&failure)), date: None },
            Err(_) => Response { poll: Err(self.failed(&self.timeout())), date: None },
        }
    }

    fn response(&self, received: Received, stamp: Stamp, signature: &Secret) -> Response {
        let Received { status, headers, body } = received;
        let date = header(&headers, &DATE).and_then(|text| httpdate::parse_http_date(text).ok());
        let retry_after = header(&headers, &RETRY_AFTER)
            .and_then(|text| net::retry_after(text, date.unwrap_or(stamp.at.into())));
        let encoding =
            header(&headers, &CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        let poll = match body {
            Ok(body) => self.understood(status, encoding, body, signature),
            Err(failure) => Err(self.failed(&failure)),
        };
        Response { poll: poll.map_err(|fault| Fault { retry_after, ..fault }), date: date.map(Wall::from) }
    }

    /// The meaning of a response to a request with that signature.
    pub fn understood(
        &self,
        http_status: u16,
        encoding: Option<&str>,
        body: Vec<u8>,
        signature: &Secret,
    ) -> Result<Reading, Fault> {
        let body = self.redacted(body, signature);
        answer::read(&self.operation, http_status, encoding, &body)
    }

    fn failed(&self, failure: &TransportFailure) -> Fault {
        codes::fault(Cause::Missing(failure.missing), &failure.message, &self.operation)
    }

    fn timeout(&self) -> TransportFailure {
        let url = &self.form.address().url;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        TransportFailure { missing: Missing::Timeout, message: format!("{host}:{port}: operation timed out") }
    }

    /// Servers echo what they were sent; a signature or a token must reach no log and no event that way.
    /// Taken out before the answer is read, in every form that it was sent in or that JSON gives it: codes
    /// and statuses are told too, and what is cut later could not be found any more.
    fn redacted(&self, body: Vec<u8>, signature: &Secret) -> Vec<u8> {
        // What is no UTF-8 is no JSON either, and then nothing of it is told.
        let Ok(text) = std::str::from_utf8(&body) else { return body };
        let secrets = [Some(signature), self.token.as_ref()].into_iter().flatten().map(Secret::expose);
        let forms = secrets.flat_map(|secret| {
            let encoded = sign::encoded(secret);
            [secret.to_owned(), secret.replace('/', "\\/"), encoded.to_lowercase(), encoded]
        });
        let found: Vec<_> = forms.filter(|form| text.contains(form.as_str())).collect();
        if found.is_empty() {
            return body;
        }
        found.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), "[secret]")).into_bytes()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
