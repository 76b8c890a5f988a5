//! The simulator's sockets: accepts, reads one request after another, and carries out the decisions of
//! `state`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::check::Request;
use super::reply::{ApiVersion, ConnectionCut, ReplyBody, response};
use super::response::SimResponse;
use super::{SimShared, request, request_3_0};

/// Where API 2.0 is served.
pub(super) const PATH: &str = "/v2/index.php";
/// Where API 3.0 is served.
const PATH_3_0: &str = "/";
/// Far more than one client opens. If the system allows fewer open files, accepting pauses until some are
/// closed.
const MOST_CONNECTIONS: usize = 10_000;
/// A form holds a dozen short fields.
const MOST_BODY_BYTES: usize = 64 * 1024;
/// The pause of accepting when the system has no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, shared: Arc<SimShared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(error_message = %error, "the simulator cannot accept a connection");
                    shared.clock.sleep_until(shared.clock.now().steady + PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(error_message = %error, "a connection of the simulator ended in a panic");
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<SimShared>) {
    // Without it a short response waits for the client's acknowledgement. A socket that refuses it is slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, Arc::clone(&shared)));
    // Clients disconnect, and some scenarios end in an error on purpose: dropping the connection closes it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: hyper::Request<Incoming>,
    shared: Arc<SimShared>,
) -> Result<Response<ReplyBody>, ConnectionCut> {
    let (head, body) = request.into_parts();
    let Some(body) = read(body).await else { return page(413, &shared).await };
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let form_2_0 = |method, fields: &str| {
        (Request::V2(request::Request2::new(method, host, PATH, fields)), ApiVersion::V2)
    };
    let (request, form) = match (&head.method, path) {
        (&Method::GET, PATH) => form_2_0("GET", query),
        (&Method::POST, PATH) => form_2_0("POST", &String::from_utf8_lossy(&body)),
        (&Method::POST, PATH_3_0) => {
            let id = Uuid::from_u64_pair(shared.clock.nonce(), shared.clock.nonce());
            (Request::V3(request_3_0::Request3::new(&head.headers, query, body)), ApiVersion::V3(id))
        }
        (method, path) => {
            tracing::warn!(%method, path, "not an API request; send GET or POST {PATH}, or POST {PATH_3_0}");
            return page(if path == PATH { 405 } else { 404 }, &shared).await;
        }
    };
    let now = shared.clock.now();
    let scripted = shared.take(&request, now);
    if !scripted.delay.is_zero() {
        shared.clock.sleep_until(now.steady + scripted.delay).await;
    }
    response(scripted, &form, shared.cloud_time()).await
}

/// The page of a path without an API.
async fn page(http: u16, shared: &SimShared) -> Result<Response<ReplyBody>, ConnectionCut> {
    response(SimResponse::page(http, ""), &ApiVersion::V2, shared.cloud_time()).await
}

/// A request's body; `None` if it is too long or its connection broke.
async fn read(mut body: Incoming) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        bytes.extend_from_slice(&frame.ok()?.into_data().unwrap_or_default());
        if bytes.len() > MOST_BODY_BYTES {
            return None;
        }
    }
    Some(bytes)
}
