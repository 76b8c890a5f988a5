//! How one target is asked: one call is one signed request and its answer.

use reqwest::Client;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::operations::{Api, Operation};
use super::{Sent, Stamp, answer, codes, form_2_0, form_3_0, sign};
use crate::clock::Wall;
use crate::model::reading::Response;
use crate::model::reading::{Class, Fault, Reading};
use crate::model::task::PaceKey;
use crate::model::task::TaskId;
use crate::net;
use crate::secret::Secret;
use crate::units::Rate;

/// An answer of the documented form has some hundred bytes; what is larger is not read to its end.
const BODY_BYTES: usize = 1024 * 1024;

/// How one target is asked: everything about a request but the task, the nonce and the time.
#[derive(Clone)]
pub struct Route {
    pub(super) client: Client,
    /// The same without a pool: for what is to take a new connection.
    pub(super) unpooled: Client,
    pub(super) form: Form,
    pub(super) token: Option<Secret>,
    pub(super) operation: &'static Operation,
    /// What the cloud's rate limit counts.
    pub pace_key: PaceKey,
    /// How fast that may be asked.
    pub rate: Rate,
    /// How many requests of the account may be under way at once.
    pub max_in_flight: u32,
}

/// How its requests look.
#[derive(Clone)]
pub(super) enum Form {
    V2(form_2_0::Form),
    V3(form_3_0::Form),
}

impl Route {
    /// Asks once how that task stands. Everything that can go wrong is a fault.
    pub async fn ask(
        &self,
        id: &TaskId,
        params: &[(String, String)],
        stamp: Stamp,
        new_connection: bool,
    ) -> Response {
        let Sent { request, signature } = self.request(id, params, stamp);
        let client = if new_connection { &self.unpooled } else { &self.client };
        let mut date = None;
        let mut retry_after = None;
        let answered = match client.execute(request).await {
            Ok(response) => {
                let headers = response.headers();
                date = header(headers, &DATE).and_then(|text| httpdate::parse_http_date(text).ok());
                retry_after = header(headers, &RETRY_AFTER)
                    .and_then(|text| net::retry_after(text, date.unwrap_or(stamp.at.into())));
                self.read(response, &signature).await
            }
            Err(error) => Err(unanswered(error, true)),
        };
        Response {
            poll: answered.map_err(|fault| Fault { retry_after, ..fault }),
            date: date.map(Wall::from),
        }
    }

    async fn read(&self, mut response: reqwest::Response, signature: &Secret) -> Result<Reading, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(error, false))? {
            if body.len() + chunk.len() > BODY_BYTES {
                return Err(codes::unanswered(
                    Class::Service,
                    "too_large",
                    "the answer is larger than 1 MiB".to_owned(),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        self.understood(response.status().as_u16(), body, signature)
    }

    /// What an answer means, whose request was signed like that.
    pub fn understood(&self, http_status: u16, body: Vec<u8>, signature: &Secret) -> Result<Reading, Fault> {
        let body = self.redacted(body, signature);
        match self.operation.api {
            Api::V2 => answer::read_2_0(self.operation, http_status, &body),
            Api::V3 => answer::read_3_0(self.operation, http_status, &body),
        }
    }

    fn request(&self, id: &TaskId, params: &[(String, String)], stamp: Stamp) -> Sent {
        let id_parameter = &self.operation.id.name;
        match &self.form {
            Form::V2(form) => form.request(id_parameter, id, params, stamp),
            Form::V3(form) => form.request(id_parameter, id, params, stamp),
        }
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

/// A request that brought no answer: who was asked, and the innermost cause. The URL is left out: it carries
/// the signature.
fn unanswered(error: reqwest::Error, before_any_byte: bool) -> Fault {
    let (class, what) = if error.is_timeout() {
        (Class::Service, "timeout")
    } else if error.is_connect() {
        (Class::Service, "connect")
    } else if before_any_byte && connection_died(&error) {
        (Class::Connection, "connection_lost")
    } else {
        (Class::Service, "transport")
    };
    let asked = net::asked(&error).map(|asked| asked + ": ").unwrap_or_default();
    codes::unanswered(class, what, answer::bounded(&(asked + &net::cause(error))))
}

/// Whether the connection was gone before the first byte of an answer: closed by a server that had no more
/// use for it, as it happens to connections that are used again.
fn connection_died(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let closed = cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled());
        let reset = cause.downcast_ref::<std::io::Error>();
        if closed
            || reset
                .is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset))
        {
            return true;
        }
        source = cause.source();
    }
    false
}
