//! The HTTP client of one account.

use std::time::Duration;

use reqwest::Client;

use super::account::Account;
use crate::net::{self, Way};

/// A client with at most so many pooled connections. Nothing is connected yet.
///
/// # Errors
/// When TLS cannot be set up. The error holds no secret: the proxy's address, which may, was checked before
/// and is in none.
pub(super) fn client(
    account: &Account,
    pooled_connections: usize,
    request_timeout: Duration,
) -> Result<Client, reqwest::Error> {
    let is_plain = account.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
    net::client(Way { is_plain, proxy: account.proxy.as_ref(), ca: &account.ca })?
        .pool_max_idle_per_host(pooled_connections)
        .timeout(request_timeout)
        .build()
}
