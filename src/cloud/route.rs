//! The polls of one target: one call is one signed request and its response.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::codes::{self, Cause, Missing};
use super::connection::{Connections, Received, TransportFailure};
use super::form::{RequestForm, SignedPoll};
use super::operations::Operation;
use super::{Sharing, Stamp, response};
use crate::clock::Wall;
use crate::model::reading::{Fault, Reading, Response};
use crate::model::task::{PaceKey, Target, TaskId};
use crate::net;
use crate::secret::Secret;
use crate::secret::hidden::Hidden;
use crate::units::Rate;

/// The common values of the polls of one target, without the task, the nonce and the time.
#[derive(Clone)]
pub struct PollRoute {
    pub(super) connections: Arc<dyn Connections>,
    pub(super) request_timeout: Duration,
    pub(super) form: RequestForm,
    /// The secrets of the account.
    pub(super) hidden: Hidden,
    /// Another program that shares the pace key, and the target for it.
    pub(super) sharing: Option<(Arc<dyn Sharing>, Target)>,
    pub(super) operation: Arc<Operation>,
    /// Unit of the rate limit of the cloud.
    pub pace_key: PaceKey,
    /// Rate of the requests of the pace key.
    pub rate: Rate,
    /// Most requests of the account in flight.
    pub max_in_flight: u32,
}

impl PollRoute {
    /// Sends one poll of a task. Every failure is a fault.
    pub async fn poll(
        &self,
        id: &TaskId,
        params: &[(String, String)],
        stamp: Stamp,
        new_connection: bool,
    ) -> Response {
        if let Some((sharing, target)) = &self.sharing
            && let Some(known) = sharing.slot(&self.pace_key, target, id).await
        {
            return known;
        }
        let SignedPoll { request, signature } = self.form.request(&self.operation.id.name, id, params, stamp);
        let sent = self.connections.send(request, new_connection, self.operation.max_response.0);
        match tokio::time::timeout(self.request_timeout, sent).await {
            Ok(Ok(received)) => self.response(received, stamp, &signature),
            Ok(Err(failure)) => Response { poll: self.failed(&failure, &signature), date: None },
            Err(_) => Response { poll: self.failed(&self.timeout(), &signature), date: None },
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
            Ok(body) => self.understood(status, encoding, &body, signature),
            Err(failure) => self.failed(&failure, signature),
        };
        Response { poll: poll.map_err(|fault| Fault { retry_after, ..fault }), date: date.map(Wall::from) }
    }

    /// The meaning of a response to a request with that signature.
    pub fn understood(
        &self,
        http_status: u16,
        encoding: Option<&str>,
        body: &[u8],
        signature: &Secret,
    ) -> Result<Reading, Fault> {
        self.kept(response::read(&self.operation, http_status, encoding, body), signature)
    }

    fn failed(&self, failure: &TransportFailure, signature: &Secret) -> Result<Reading, Fault> {
        let fault = codes::fault(Cause::Missing(failure.missing), &failure.message, &self.operation);
        self.kept(Err(fault), signature)
    }

    fn timeout(&self) -> TransportFailure {
        let url = &self.form.address().url;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        TransportFailure { missing: Missing::Timeout, message: format!("{host}:{port}: operation timed out") }
    }

    /// Servers, gateways and proxies echo the request: no secret of it is kept.
    fn kept(&self, poll: Result<Reading, Fault>, signature: &Secret) -> Result<Reading, Fault> {
        response::kept(poll, &self.hidden.and([signature.expose()]))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
