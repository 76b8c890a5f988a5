//! The simulator's sockets: accepts, reads one request after the other, and carries out what `state` decided.

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

use super::Shared;
use super::answer::Answer;
use super::reply::{Content, Cut, response};
use super::request::Request;

/// Where API 2.0 is served.
pub(super) const PATH: &str = "/v2/index.php";
/// Far more than one client opens. Where the system allows fewer open files, accepting pauses until some are closed.
const MOST_CONNECTIONS: usize = 10_000;
/// A form holds a dozen short fields.
const MOST_BODY_BYTES: usize = 64 * 1024;
/// How long accepting pauses when the system has no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulator cannot accept a connection");
                    shared.clock.sleep_until(shared.clock.now().steady + PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of the simulator ended in a panic");
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Without it a short answer waits for the client's acknowledgement; a socket that refuses is slower, no more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, Arc::clone(&shared)));
    // Clients come and go, and what the scenario breaks ends in an error on purpose: dropping the connection closes it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(request: hyper::Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Content>, Cut> {
    let (head, body) = request.into_parts();
    let Some(body) = read(body).await else { return response(Answer::page(413, ""), shared.cloud_time()).await };
    if head.uri.path() != PATH {
        return response(Answer::page(404, ""), shared.cloud_time()).await;
    }
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let request = if head.method == Method::GET {
        Request::new("GET", host, PATH, head.uri.query().unwrap_or_default())
    } else if head.method == Method::POST {
        Request::new("POST", host, PATH, &body)
    } else {
        return response(Answer::page(405, ""), shared.cloud_time()).await;
    };
    let now = shared.clock.now();
    let answer = shared.take(&request, now);
    if !answer.delay.is_zero() {
        shared.clock.sleep_until(now.steady + answer.delay).await;
    }
    response(answer, shared.cloud_time()).await
}

/// A request's body; `None` if it is too long or its connection broke.
async fn read(mut body: Incoming) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        bytes.extend_from_slice(&frame.ok()?.into_data().unwrap_or_default());
        if bytes.len() > MOST_BODY_BYTES {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
