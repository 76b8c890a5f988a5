//! An HTTP server that keeps its requests and responds as scripted; for the unit tests of sinks too.

#![allow(dead_code, reason = "two test binaries use it, each a part of it")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// The response of a receiver to a complete request.
#[derive(Clone, Debug)]
pub enum ReceiverResponse {
    /// Responds with that status, those headers and that body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The same, after so long.
    Late(Duration, u16),
    /// Never responds.
    Silent,
    /// Closes the connection.
    Cut,
}

impl ReceiverResponse {
    /// A status alone.
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), String::new())
    }

    /// A status with a body.
    pub fn says(status: u16, body: &str) -> Self {
        Self::Status(status, Vec::new(), body.to_owned())
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Got {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: String,
    /// Whether the response was a 2xx.
    pub was_accepted: bool,
}

impl Got {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The server. Dropping it stops it.
pub struct Receiver {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<JoinSet<()>>,
    /// Bound and not listening: no other process gets the port while the receiver is down.
    _port: TcpSocket,
}

struct Shared {
    /// The responses to the next requests, one each; then the default.
    next: Mutex<VecDeque<ReceiverResponse>>,
    standing: Mutex<ReceiverResponse>,
    got: Mutex<Vec<Got>>,
}

impl Receiver {
    /// One that takes everything, on a port of its own.
    pub async fn start() -> Self {
        let shared = Shared {
            next: Mutex::default(),
            standing: Mutex::new(ReceiverResponse::status(204)),
            got: Mutex::default(),
        };
        let port = bound(([127, 0, 0, 1], 0).into());
        let addr = port.local_addr().unwrap();
        let receiver = Self { addr, shared: Arc::new(shared), serving: Mutex::default(), _port: port };
        receiver.up().await;
        receiver
    }

    /// Listens again, on the port that it had.
    pub async fn up(&self) {
        self.listen();
    }

    /// Closes its port and all connections.
    pub async fn down(&self) {
        let mut serving = std::mem::take(&mut *self.serving.lock().unwrap());
        serving.shutdown().await;
    }

    fn listen(&self) {
        let listener = bound(self.addr).listen(1024).unwrap();
        let shared = Arc::clone(&self.shared);
        self.serving.lock().unwrap().spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
        });
    }

    /// Sets the default response.
    pub fn response(&self, response: ReceiverResponse) {
        *self.shared.standing.lock().unwrap() = response;
    }

    /// Sets the responses to the next requests, one each.
    pub fn respond_next(&self, responses: impl IntoIterator<Item = ReceiverResponse>) {
        self.shared.next.lock().unwrap().extend(responses);
    }

    /// The number of requests so far.
    pub fn count(&self) -> usize {
        self.shared.got.lock().unwrap().len()
    }

    /// All requests so far.
    pub fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }
}

/// A socket that shares its port with others of this kind alone.
fn bound(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(addr).unwrap();
    socket
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| respond(request, Arc::clone(&shared)));
    // Clients come and go, and what is cut ends in an error on purpose.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<String>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
        body.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    let next = shared.next.lock().unwrap().pop_front();
    let response = next.unwrap_or_else(|| shared.standing.lock().unwrap().clone());
    let (status, headers, says, wait) = match response {
        ReceiverResponse::Status(status, headers, body) => (Some(status), headers, body, Duration::ZERO),
        ReceiverResponse::Late(wait, status) => (Some(status), Vec::new(), String::new(), wait),
        ReceiverResponse::Silent => (None, Vec::new(), String::new(), Duration::MAX),
        ReceiverResponse::Cut => (None, Vec::new(), String::new(), Duration::ZERO),
    };
    shared.got.lock().unwrap().push(Got {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8(body)?,
        was_accepted: status.is_some_and(|status| (200..300).contains(&status)),
    });
    if wait == Duration::MAX {
        pending::<Infallible>().await;
    }
    tokio::time::sleep(wait).await;
    let mut response = Response::new(says);
    *response.status_mut() = StatusCode::from_u16(status.ok_or("cut")?)?;
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse()?);
    }
    Ok(response)
}
