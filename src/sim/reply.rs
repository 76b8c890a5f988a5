//! The HTTP response of a scripted response, with faults of the transport.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hyper::Response;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};
use uuid::Uuid;

use super::response::{ArrayName, ErrorResponse, ResponseKind, SimResponse};
use crate::clock::Wall;

/// Exactly this value, without a charset: the official SDK for Python recognises an error only under it
/// (docs/tencent-cloud-api.md §2).
const JSON: &str = "application/json";
/// Far more than a client with a body bound accepts.
const HUGE_BYTES: usize = 2 * 1024 * 1024;

/// Ends the connection: before the first byte of a response, or in the middle of its body.
#[derive(Debug)]
pub(super) struct ConnectionCut;

impl fmt::Display for ConnectionCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the scenario breaks this connection")
    }
}

impl std::error::Error for ConnectionCut {}

/// The API of the response.
pub(super) enum ApiVersion {
    V2,
    /// With the id of the request, which API 3.0 returns.
    V3(Uuid),
}

/// The response, after its delay. Never returns where the scenario hangs.
pub(super) async fn response(
    scripted: SimResponse,
    form: &ApiVersion,
    date: Wall,
) -> Result<Response<ReplyBody>, ConnectionCut> {
    let (content_type, mut body) = match scripted.what {
        ResponseKind::Cut => return Err(ConnectionCut),
        ResponseKind::Hang => {
            return std::future::pending::<Result<Infallible, ConnectionCut>>()
                .await
                .map(|never| match never {});
        }
        ResponseKind::Raw(body) => (JSON, body),
        ResponseKind::Page(body) => ("text/html", body),
        ResponseKind::Refusal(refusal) => (JSON, refused(&refusal, form)),
        ResponseKind::Status { status, instances, array } => {
            (JSON, reported(status, &instances, array, form))
        }
    };
    if scripted.huge {
        // Trailing blanks keep it valid JSON: only its size is wrong.
        body.extend(std::iter::repeat_n(' ', HUGE_BYTES.saturating_sub(body.len())));
    }
    let mut response = Response::new(ReplyBody::new(body, scripted.short));
    *response.status_mut() = scripted.http;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().extend(date_header(date).map(|date| (DATE, date)));
    response.headers_mut().extend(scripted.retry_after.map(|value| (RETRY_AFTER, value)));
    Ok(response)
}

fn refused(ErrorResponse { code, message }: &ErrorResponse, form: &ApiVersion) -> String {
    match form {
        ApiVersion::V2 => json!({ "code": code, "message": message }).to_string(),
        ApiVersion::V3(id) => {
            json!({ "Response": { "Error": { "Code": code.to_string(), "Message": message }, "RequestId": id.to_string() } }).to_string()
        }
    }
}

/// A task's status, in the order of the documentation's sample.
fn reported(status: i64, instances: &BTreeMap<String, i64>, array: ArrayName, form: &ApiVersion) -> String {
    let listed = |id_key: &str, status_key: &str| {
        Value::from_iter(instances.iter().map(|(id, status)| json!({ id_key: id, status_key: status })))
    };
    match form {
        ApiVersion::V2 => {
            let array = array.as_str();
            let list = listed("instanceId", "status");
            format!(r#"{{"code":0,"message":"OK","data":{{"status":{status},"{array}":{list}}}}}"#)
        }
        ApiVersion::V3(id) => {
            let list = listed("InstanceId", "TaskStatus");
            format!(
                r#"{{"Response":{{"TaskStatus":{status},"SubtaskStatusSet":{list},"RequestId":"{id}"}}}}"#
            )
        }
    }
}

/// `Date` in the form of HTTP; a cloud before 1970 or after 9999 has none.
fn date_header(date: Wall) -> Option<HeaderValue> {
    const YEAR_9999_ENDS_MS: u64 = 253_402_300_799_999;
    let since = u64::try_from(date.0).ok().filter(|since| *since <= YEAR_9999_ENDS_MS)?;
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(since));
    HeaderValue::from_str(&text).ok()
}

/// A body that may break off: it announces its whole length, and sends half.
pub(super) struct ReplyBody {
    length: u64,
    left: Option<Bytes>,
    end: BodyEnd,
}

/// The end of a body.
enum BodyEnd {
    Proper,
    /// Breaks once the first half has left: hyper drops unflushed data when a body fails.
    BreaksAfterFlush,
    BreaksNow,
}

impl ReplyBody {
    fn new(text: String, short: bool) -> Self {
        let whole = Bytes::from(text);
        let length = whole.len() as u64;
        if short {
            return Self {
                length,
                left: Some(whole.slice(..whole.len() / 2)),
                end: BodyEnd::BreaksAfterFlush,
            };
        }
        Self { length, left: Some(whole).filter(|whole| !whole.is_empty()), end: BodyEnd::Proper }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = ConnectionCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionCut>>> {
        if let Some(bytes) = self.left.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            BodyEnd::Proper => Poll::Ready(None),
            BodyEnd::BreaksNow => Poll::Ready(Some(Err(ConnectionCut))),
            BodyEnd::BreaksAfterFlush => {
                self.end = BodyEnd::BreaksNow;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && matches!(self.end, BodyEnd::Proper)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
