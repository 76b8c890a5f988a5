//! Connections to Tencent Cloud. Input: a signed request. Output: the bytes of the response, or the failure
//! of the transport.
//!
//! Signing, decoding and the time limit of a request belong to [`super::PollRoute`], the meaning of a failure
//! to [`super::codes`]. hyper's connection API keeps the framing; this folder keeps the connections.

mod dial;
mod exchange;
mod pool;

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Uri};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use reqwest::{Method, Url};
use rustls::ClientConfig;

use self::dial::{AnyError, Dialer, is_out_of_descriptors};
use self::exchange::{Exchange, RequestBody};
use self::pool::Pool;
use super::Error;
use super::account::Account;
use super::codes::Missing;
use crate::clock::Clock;
use crate::net::proxy::{self, Variables};
use crate::net::{self, ca_file, tls};
use crate::secret::Secret;

/// A signed request. It has no `Debug`: query, headers and body carry the signature.
pub struct SignedRequest {
    /// `GET` or `POST`.
    pub method: Method,
    /// Address of the server, without a query.
    pub url: Arc<Url>,
    /// The query, encoded; may be empty.
    pub query: String,
    /// All headers, `Host` and those of [`headers`] among them.
    pub headers: HeaderMap,
    /// Empty for a `GET`.
    pub body: String,
}

/// Headers of each request. Nothing here decompresses a body.
pub fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static("*/*")),
        (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        (USER_AGENT, HeaderValue::from_static(net::USER_AGENT)),
    ])
}

/// A response, as far as it was received.
#[derive(Debug)]
pub struct Received {
    /// HTTP status.
    pub status: u16,
    /// Headers, as sent by the server.
    pub headers: HeaderMap,
    /// The whole body, never decompressed.
    pub body: Result<Bytes, TransportFailure>,
}

/// Failure of the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportFailure {
    /// Kind of the failure.
    pub missing: Missing,
    /// Server and innermost cause, without the URL.
    pub message: String,
}

/// The connections of one account.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Sends one request, on a new connection if `fresh`. A body of more than `max_body_bytes` is not read to
    /// its end.
    ///
    /// # Errors
    /// If no response arrives. The caller bounds the time.
    async fn send(
        &self,
        request: SignedRequest,
        fresh: bool,
        max_body_bytes: usize,
    ) -> Result<Received, TransportFailure>;
}

/// The time limit of a TCP connection, over all addresses of a name. The time limit of a request is in force too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections of an account. Nothing is connected yet.
///
/// # Errors
/// If TLS cannot be set up. The error holds no secret: the address of the proxy was checked before.
pub fn pools(account: &Account) -> Result<Arc<dyn Connections>, Error> {
    let failed = |source| Error::Client { account: account.name.clone(), source };
    let is_plain = account.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
    let is_proxy_encrypted = account.proxy.as_ref().is_some_and(|proxy| proxy.expose().starts_with("https:"));
    // A server on this machine needs no certificates, and a small machine may have none.
    let needs_tls = !is_plain || is_proxy_encrypted;
    let tls = if needs_tls { Some(tls::trusting(&account.ca).map_err(failed)?) } else { None };
    Ok(Arc::new(Pools {
        proxy: account.proxy.clone(),
        variables: Variables::of_process(),
        tls,
        most: account.max_in_flight as usize,
        clock: Clock::start(),
        pools: Mutex::default(),
    }))
}

/// The connections of one account, a pool for each server.
struct Pools {
    proxy: Option<Secret>,
    variables: Variables,
    tls: Option<Arc<ClientConfig>>,
    most: usize,
    clock: Clock,
    pools: Mutex<Vec<(Arc<Url>, Arc<Pool>)>>,
}

impl Pools {
    /// The pool of a server.
    fn pool(&self, server: &Arc<Url>) -> Result<Arc<Pool>, AnyError> {
        let is_same = |known: &Arc<Url>| {
            Arc::ptr_eq(known, server)
                || (known.scheme(), known.host_str(), known.port())
                    == (server.scheme(), server.host_str(), server.port())
        };
        // No code panics while it holds the lock.
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = pools.iter().find(|(known, _)| is_same(known)) {
            return Ok(Arc::clone(pool));
        }
        let proxy = proxy::before(server, self.proxy.as_ref(), &self.variables)?;
        let dialer = Dialer::new(server, proxy.as_ref(), self.tls.as_ref(), CONNECT_TIMEOUT)?;
        let pool = Arc::new(Pool::new(dialer, self.most, self.clock));
        pools.push((Arc::clone(server), Arc::clone(&pool)));
        Ok(pool)
    }
}

#[async_trait]
impl Connections for Pools {
    async fn send(
        &self,
        request: SignedRequest,
        fresh: bool,
        max_body_bytes: usize,
    ) -> Result<Received, TransportFailure> {
        let server = Arc::clone(&request.url);
        let failed = |error: &(dyn StdError + 'static), stage| failure(&server, error, stage);
        let pool = self.pool(&server).map_err(|error| failed(&*error, RequestStage::Connecting))?;
        let request =
            request_of(request, &pool.dialer).map_err(|error| failed(&*error, RequestStage::Connecting))?;
        // A dropped future is a request that timed out.
        let mut unfinished = Unfinished(Some(&pool));
        let idle = if fresh { None } else { pool.checked_out().await };
        let mut pooled = match idle {
            Some(pooled) => pooled,
            None => pool.connected().await.map_err(|error| failed(&*error, RequestStage::Connecting))?,
        };
        let response = pooled.exchange.send(request).await;
        let response = response.map_err(|error| failed(&error, RequestStage::BeforeResponse))?;
        let (head, mut body) = response.into_parts();
        let body = body_of(&mut pooled.exchange, &mut body, max_body_bytes, &server).await;
        if body.is_ok() {
            unfinished.0 = None;
            pool.checked_in(pooled).await;
        }
        Ok(Received { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// A request without its end: the other idle connections to that server are suspect.
struct Unfinished<'p>(Option<&'p Arc<Pool>>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.close_idle();
        }
    }
}

fn request_of(request: SignedRequest, dialer: &Dialer) -> Result<Request<RequestBody>, AnyError> {
    let SignedRequest { method, url, query, headers, body } = request;
    let (base, login) = match &dialer.forwarded {
        Some(forwarded) => (forwarded.base.as_str(), forwarded.login.clone()),
        None => ("", None),
    };
    let mark = if query.is_empty() { "" } else { "?" };
    let uri = Uri::try_from([base, url.path(), mark, &query].concat())?;
    let mut request = Request::new(RequestBody::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    if let Some(login) = login {
        request.headers_mut().insert(PROXY_AUTHORIZATION, login);
    }
    Ok(request)
}

async fn body_of(
    exchange: &mut Exchange,
    body: &mut Incoming,
    max_body_bytes: usize,
    server: &Url,
) -> Result<Bytes, TransportFailure> {
    let mut read = Bytes::new();
    while let Some(chunk) =
        exchange.chunk(body).await.map_err(|error| failure(server, &error, RequestStage::Body))?
    {
        if read.len() + chunk.len() > max_body_bytes {
            let message = format!("the response is larger than {max_body_bytes} bytes");
            return Err(TransportFailure { missing: Missing::TooLarge, message });
        }
        // Nearly every body is one chunk.
        read = if read.is_empty() { chunk } else { [read, chunk].concat().into() };
    }
    Ok(read)
}

/// The part of a request that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestStage {
    Connecting,
    BeforeResponse,
    Body,
}

/// The query is left out: it carries the signature.
fn failure(server: &Url, error: &(dyn StdError + 'static), stage: RequestStage) -> TransportFailure {
    let missing = if net::is_unknown_to_proxy(error) {
        Missing::ProxyLogin
    } else if stage == RequestStage::Connecting {
        Missing::Connect
    } else if stage == RequestStage::BeforeResponse && net::was_cut(error) {
        Missing::ConnectionLost
    } else {
        Missing::Transport
    };
    let host = server.host_str().unwrap_or_default();
    let port = server.port_or_known_default().unwrap_or_default();
    let is_short = net::causes(error)
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(is_out_of_descriptors));
    let advice = if is_short {
        Some("raise the limit of open files (LimitNOFILE= of the unit, `ulimit -n`)".to_owned())
    } else {
        ca_file::advice(error, "ca_file")
    };
    let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
    TransportFailure { missing, message: format!("{host}:{port}: {}{advice}", net::innermost(error)) }
}

#[cfg(test)]
mod tests;
