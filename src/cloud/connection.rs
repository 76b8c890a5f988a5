//! Connections to Tencent Cloud. Input: a signed request. Output: the bytes of the response, or the failure
//! of the transport.
//!
//! Signing, decoding and the time limit of a request belong to [`super::PollRoute`], the meaning of a failure
//! to [`super::codes`]. No other file of this folder uses an HTTP client.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Url};

use super::Error;
use super::account::Account;
use super::codes::Missing;
use crate::net::{self, PeerSettings, ca_file};

/// A signed request. It has no `Debug`: URL, headers and body carry the signature.
pub struct SignedRequest {
    /// `GET` or `POST`.
    pub method: Method,
    /// Address of the server, with the query.
    pub url: Url,
    /// All headers but those that every HTTP client adds.
    pub headers: HeaderMap,
    /// Empty for a `GET`.
    pub body: String,
}

/// A response, as far as it was received.
#[derive(Debug)]
pub struct Received {
    /// HTTP status.
    pub status: u16,
    /// Headers, as sent by the server.
    pub headers: HeaderMap,
    /// The whole body, never decompressed.
    pub body: Result<Vec<u8>, TransportFailure>,
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

/// Connections of an account through reqwest. Nothing is connected yet.
///
/// # Errors
/// If TLS cannot be set up. The error holds no secret: the address of the proxy was checked before.
pub fn pools(account: &Account) -> Result<Arc<dyn Connections>, Error> {
    let client = |pooled_connections: usize| -> Result<Client, net::Error> {
        let is_plain = account.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
        let builder = net::client(PeerSettings { is_plain, proxy: account.proxy.as_ref(), ca: &account.ca })?;
        let client = builder
            .pool_max_idle_per_host(pooled_connections)
            // Nothing here decompresses a body.
            .default_headers([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))].into_iter().collect())
            .build()?;
        Ok(client)
    };
    let failed = |source| Error::Client { account: account.name.clone(), source };
    let pooled = client(account.max_in_flight as usize).map_err(failed)?;
    let fresh = client(0).map_err(failed)?;
    Ok(Arc::new(Pools { pooled, fresh }))
}

/// Reused connections, and a client that opens a new one for each request.
struct Pools {
    pooled: Client,
    fresh: Client,
}

#[async_trait]
impl Connections for Pools {
    async fn send(
        &self,
        request: SignedRequest,
        fresh: bool,
        max_body_bytes: usize,
    ) -> Result<Received, TransportFailure> {
        let SignedRequest { method, url, headers, body } = request;
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        let client = if fresh { &self.fresh } else { &self.pooled };
        let mut response = client.execute(request).await.map_err(|error| failure(error, true))?;
        let headers = std::mem::take(response.headers_mut());
        Ok(Received {
            status: response.status().as_u16(),
            headers,
            body: body_of(response, max_body_bytes).await,
        })
    }
}

async fn body_of(
    mut response: reqwest::Response,
    max_body_bytes: usize,
) -> Result<Vec<u8>, TransportFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(error, false))? {
        if body.len() + chunk.len() > max_body_bytes {
            let message = format!("the response is larger than {max_body_bytes} bytes");
            return Err(TransportFailure { missing: Missing::TooLarge, message });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The URL is left out: it carries the signature.
fn failure(error: reqwest::Error, before_any_byte: bool) -> TransportFailure {
    let missing = if net::is_unknown_to_proxy(&error) {
        Missing::ProxyLogin
    } else if error.is_connect() {
        Missing::Connect
    } else if before_any_byte && net::was_cut(&error) {
        Missing::ConnectionLost
    } else {
        Missing::Transport
    };
    let polled = net::host_and_port(&error).map(|polled| polled + ": ").unwrap_or_default();
    let advice = ca_file::advice(&error, "ca_file").map(|advice| format!("; {advice}")).unwrap_or_default();
    TransportFailure { missing, message: polled + &net::cause(error) + &advice }
}

#[cfg(test)]
mod tests;
