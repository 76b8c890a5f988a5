//! Scripted connections for tests: no socket, and only the time of the test.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Bytes;
use reqwest::header::HeaderMap;

use super::Error;
use super::account::Account;
use super::connection::{Connections, Received, SignedRequest, TransportFailure};

/// Connections with scripted responses: a function of the request and of `fresh`.
pub(crate) struct Scripted<F>(pub F);

#[async_trait]
impl<F, R> Connections for Scripted<F>
where
    F: Fn(SignedRequest, bool) -> R + Send + Sync,
    R: Future<Output = Result<Received, TransportFailure>> + Send,
{
    async fn send(
        &self,
        request: SignedRequest,
        fresh: bool,
        _max_body_bytes: usize,
    ) -> Result<Received, TransportFailure> {
        (self.0)(request, fresh).await
    }
}

/// The same connections for every account.
pub(crate) fn scripted<F, R>(respond: F) -> impl Fn(&Account) -> Result<Arc<dyn Connections>, Error>
where
    F: Fn(SignedRequest, bool) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Received, TransportFailure>> + Send + 'static,
{
    let connections: Arc<dyn Connections> = Arc::new(Scripted(respond));
    move |_| Ok(Arc::clone(&connections))
}

/// A response with HTTP 200 and no headers.
pub(crate) fn received(body: impl Into<Bytes>) -> Received {
    Received { status: 200, headers: HeaderMap::new(), body: Ok(body.into()) }
}
