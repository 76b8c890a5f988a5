//! The HTTP client of one account.

use std::sync::Once;
use std::time::Duration;

use reqwest::{Certificate, Client, Proxy};

use super::credentials::Account;

/// Servers and middleboxes drop idle connections after a minute or so (conventions.md §7).
const IDLE: Duration = Duration::from_secs(30);

/// A client with at most so many pooled connections. Nothing is connected yet.
///
/// # Errors
/// When TLS cannot be set up. The error holds no secret: the proxy's address, which may, was checked before and is in none.
pub(super) fn client(account: &Account, pooled_connections: usize, request_timeout: Duration) -> Result<Client, reqwest::Error> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // It fails only where a provider is there already, and any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let plain = account.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
    let builder = match &account.proxy {
        Some(proxy) => Client::builder().proxy(Proxy::all(proxy.expose()).map_err(reqwest::Error::without_url)?),
        // Plain http is for this machine alone, so it takes no way that leads out of it, whatever the environment says.
        None if plain => Client::builder().no_proxy(),
        None => Client::builder(),
    };
    let added = account.ca.iter().map(|certificate| Certificate::from_der(certificate)).collect::<Result<Vec<_>, _>>()?;
    let https_proxy = account.proxy.as_ref().is_some_and(|proxy| proxy.expose().starts_with("https:"));
    let builder = match (plain && !https_proxy, added.is_empty()) {
        // A simulator on this machine needs no certificates, and a small machine may have none.
        (true, _) => builder.tls_certs_only([]),
        (false, true) => builder,
        (false, false) => builder.tls_certs_merge(added),
    };
    builder
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(pooled_connections)
        .timeout(request_timeout)
        .user_agent(concat!("opwatch/", env!("CARGO_PKG_VERSION")))
        .build()
}
