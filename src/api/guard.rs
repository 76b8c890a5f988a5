//! Admission of requests: every peer of the Unix socket, and over TCP the holders of tokens. Without a token, only
//! reading over loopback is allowed, and the status codes of `/healthz` and `/readyz` from everywhere.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::HttpError;
use crate::files;
use crate::net::address;
use crate::secret::file;

/// The other side of a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A process of that user on the Unix socket.
    Unix(Option<u32>),
    /// A TCP client.
    Tcp {
        /// Whether the listener is bound to a loopback address.
        is_loopback: bool,
        /// The file of tokens.
        token_file: Option<Arc<PathBuf>>,
    },
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A process of that user.
    User(Option<u32>),
    /// The holder of the token of that name.
    Token(String),
    /// A reader on this machine, without a token.
    Local,
    /// Anyone.
    Stranger,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(Some(uid)) => write!(f, "uid {uid}"),
            Self::User(None) => f.write_str("the Unix socket"),
            Self::Token(name) => write!(f, "token {name}"),
            Self::Local => f.write_str("a reader on this machine"),
            Self::Stranger => f.write_str("a stranger"),
        }
    }
}

/// Lets a request pass, or refuses it. A request that changed something is logged with its caller.
pub async fn guard(State(peer): State<Peer>, mut request: Request, next: Next) -> Response {
    use axum::response::IntoResponse;
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let caller = match admitted(&peer, &method, request.headers(), &path).await {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    let is_change = !is_read(&method);
    let command = format!("{method} {path}");
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    if is_change && response.status().is_success() {
        tracing::info!(%caller, command, "a command was carried out");
    }
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

async fn admitted(
    peer: &Peer,
    method: &Method,
    headers: &HeaderMap,
    path: &str,
) -> Result<Caller, HttpError> {
    refuse_other_origins(headers)?;
    let (is_loopback, token_file) = match peer {
        Peer::Unix(uid) => return Ok(Caller::User(*uid)),
        Peer::Tcp { is_loopback, token_file } => (*is_loopback, token_file.clone()),
    };
    if let Some(token) = bearer(headers) {
        let file = token_file.ok_or_else(|| unauthorized("this daemon has no [http] token_file"))?;
        let names = files::off_loop(move || holder(&file, &token)).await;
        let holder = names.map_err(|_| HttpError::busy())?;
        return holder.map(Caller::Token).ok_or_else(|| unauthorized("the token is wrong"));
    }
    if is_read(method) && is_loopback && has_loopback_host(headers) {
        return Ok(Caller::Local);
    }
    if is_read(method) && (path == "/healthz" || path == "/readyz") {
        return Ok(Caller::Stranger);
    }
    Err(unauthorized(
        "send the header `Authorization: Bearer TOKEN` with a token of [http] token_file, or use the Unix socket",
    ))
}

fn unauthorized(detail: &str) -> HttpError {
    HttpError::new(StatusCode::UNAUTHORIZED, detail)
}

/// A browser names the page that sends a request: only a page of this interface itself may.
fn refuse_other_origins(headers: &HeaderMap) -> Result<(), HttpError> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_same = headers.get(ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        host == Some(authority)
    });
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let is_direct = matches!(site, None | Some(b"same-origin" | b"none"));
    if is_same && is_direct {
        return Ok(());
    }
    Err(HttpError::new(StatusCode::FORBIDDEN, "requests of pages of other origins are refused"))
}

/// Whether the request names this machine. A page of another site whose name resolves to a loopback address names itself.
fn has_loopback_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    address::is_loopback(name)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The name of a token, compared in constant time. The file is read for each request, so a change applies at once.
fn holder(path: &std::path::Path, token: &str) -> Option<String> {
    let text = match file::text(path, &mut |_| {}) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(
                error,
                "the token file cannot be used; all tokens are refused until it is corrected"
            );
            return None;
        }
    };
    let wanted = Sha256::digest(token);
    let mut found = None;
    for (name, known) in text.lines().filter_map(|line| line.trim().split_once(':')) {
        let is_equal = bool::from(Sha256::digest(known.trim()).ct_eq(&wanted));
        if is_equal && !known.trim().is_empty() {
            found = Some(name.trim().to_owned());
        }
    }
    found
}
