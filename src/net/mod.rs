//! Common parts of all HTTP clients: connection settings, `Retry-After`, and error messages without the URL,
//! which may carry a signature or be a secret.

pub mod address;
pub mod ca_file;
pub mod proxy;
mod system_roots;
pub mod tls;

use std::error::Error as StdError;
use std::io;
use std::sync::Once;
use std::time::{Duration, SystemTime};

use reqwest::{Certificate, Client, ClientBuilder, Proxy, Url};
use rustls::pki_types::CertificateDer;

use crate::secret::Secret;

/// Servers and middleboxes drop idle connections after about a minute.
const IDLE: Duration = Duration::from_secs(30);

/// A client that cannot be built. The error holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificates of the system.
    #[error("certificates of the system: {0}")]
    Roots(String),
    /// A certificate or a key.
    #[error("{}", innermost(.0))]
    Client(#[from] reqwest::Error),
    /// A trusted certificate.
    #[error(
        "a trusted certificate cannot be used ({0}); replace it in `ca_file`, or in the certificates of the system"
    )]
    Certificate(#[from] rustls::Error),
}

/// The header `User-Agent`.
pub const USER_AGENT: &str = concat!("opwatch/", env!("CARGO_PKG_VERSION"));

/// The certificates of the system, and these. Without the system's, these alone.
fn trusted<'a>(
    ca: &'a [CertificateDer<'static>],
) -> Result<impl Iterator<Item = &'a CertificateDer<'static>>, Error> {
    let system = match system_roots::certificates() {
        Err(_) if !ca.is_empty() => &[],
        certificates => certificates?,
    };
    Ok(system.iter().chain(ca))
}

/// The cryptography of rustls.
fn install_provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that a provider is installed, and any provider works.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Connection settings of a server.
#[derive(Clone, Copy, Debug)]
pub struct PeerSettings<'a> {
    /// Whether the server uses plain http, which is allowed on this machine only.
    pub is_plain: bool,
    /// The proxy; default: the proxy of the environment ([`proxy::before`]).
    pub proxy: Option<&'a Secret>,
    /// Certificates that are trusted in addition to the system's.
    pub ca: &'a [CertificateDer<'static>],
}

/// The settings of every client: no redirects, no retries, no other protocols.
///
/// # Errors
/// If the system's certificates cannot be read, or a certificate cannot be used.
pub fn client(way: PeerSettings<'_>) -> Result<ClientBuilder, Error> {
    install_provider();
    let written = way.proxy.cloned();
    let variables = proxy::Variables::of_process();
    let is_direct = written.is_none() && (way.is_plain || variables.name_no_proxy());
    // A name that never resolves (RFC 2606): a request never bypasses its proxy. The server was checked
    // before, so this is a second guard.
    let nowhere: Option<Url> = "http://proxy.invalid".parse().ok();
    let proxy = move |server: &Url| {
        proxy::before(server, written.as_ref(), &variables).unwrap_or_else(|_| nowhere.clone())
    };
    let builder = Client::builder();
    // Without a proxy, no request uses one: plain http is for this machine only.
    let builder = if is_direct { builder.no_proxy() } else { builder.proxy(Proxy::custom(proxy)) };
    let is_proxy_encrypted = way.proxy.is_some_and(|proxy| proxy.expose().starts_with("https:"));
    // A server on this machine needs no certificates, and a small machine may have none.
    let certificates: Vec<_> = match way.is_plain && !is_proxy_encrypted {
        true => way.ca.iter().collect(),
        false => trusted(way.ca)?.collect(),
    };
    let certificates = certificates.into_iter().map(|certificate| Certificate::from_der(certificate));
    let builder = builder.tls_certs_only(certificates.collect::<Result<Vec<_>, _>>()?);
    Ok(builder
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE)
        .user_agent(USER_AGENT))
}

/// The pause of a `Retry-After` header, in either of its forms (RFC 9110 §10.2.3).
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let seconds = value.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).ok())
}

/// Whether the server closed the connection before its response. `error` is none of a connection attempt.
pub fn was_cut(error: &(dyn StdError + 'static)) -> bool {
    const KINDS: [io::ErrorKind; 4] = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        // TLS without its closing alert.
        io::ErrorKind::UnexpectedEof,
    ];
    let is_close = |cause: &(dyn StdError + 'static)| {
        cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
            || cause.downcast_ref::<io::Error>().is_some_and(|error| KINDS.contains(&error.kind()))
    };
    causes(error).any(is_close)
}

/// Whether a proxy refused or requires a login before it opens a tunnel. hyper-util has no type for it, only
/// this message.
pub fn is_unknown_to_proxy(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.to_string().contains("proxy authorization required"))
}

/// The message of the innermost cause of a failed request, without the URL.
pub fn cause(error: reqwest::Error) -> String {
    innermost(&error.without_url())
}

/// The message of the innermost cause.
pub fn innermost(error: &(dyn StdError + 'static)) -> String {
    if causes(error).any(is_without_tls) {
        return "the server speaks no TLS at this port; name its https port (http:// is for this machine alone)".to_owned();
    }
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Whether the first bytes of the server are none of TLS.
fn is_without_tls(cause: &(dyn StdError + 'static)) -> bool {
    let is_other = |error: &rustls::Error| {
        matches!(error, rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))
    };
    cause.downcast_ref::<rustls::Error>().is_some_and(is_other)
}

/// An error and its causes, outermost first. An [`io::Error`] made from another error hides that one: its
/// `source` is the cause of the other.
pub fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(hidden) => Some(hidden as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Mon, 24 Nov 2025 16:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(
            [
                retry_after("Mon, 24 Nov 2025 15:00:00 GMT", now),
                retry_after("soon", now),
                retry_after("-1", now)
            ],
            [None; 3]
        );
    }

    /// Sends these bytes to each connection, and closes it.
    fn server(response: &'static [u8]) -> std::net::SocketAddr {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                _ = stream.read(&mut [0; 1024]);
                _ = stream.write_all(response);
            }
        });
        address
    }

    #[tokio::test]
    async fn no_failure_of_a_request_is_reported_with_its_url() {
        const SECRET: &str = "hunter2";
        let cut = server(b"");
        let garbage = server(b"no HTTP\r\n\r\n");
        let short = server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = client(PeerSettings { is_plain: true, proxy: None, ca: &[] }).unwrap();
        let client = client.timeout(Duration::from_secs(60)).build().unwrap();
        let mut with_url = 0;
        for (server, query) in [
            (format!("http://{cut}"), "a"),
            (format!("http://{garbage}"), "b"),
            (format!("http://{short}"), "c"),
            (format!("http://{closed}"), "d"),
            ("http://no-such-host.invalid:1".to_owned(), "e"),
            (format!("https://{garbage}"), "f"),
            (format!("ftp://{closed}"), "g"),
        ] {
            let sent =
                client.get(format!("{server}/{SECRET}?{query}={SECRET}&Signature={SECRET}")).send().await;
            let error = match sent {
                Ok(response) => response.bytes().await.unwrap_err(),
                Err(error) => error,
            };
            with_url += usize::from(format!("{error} {error:?}").contains(SECRET));
            let reported = cause(error);
            assert!(!reported.contains(SECRET) && reported.len() > 8, "{server}: {reported}");
        }
        assert!(with_url >= 6, "the errors themselves have it: {with_url}");
    }

    #[test]
    fn what_an_io_error_was_made_from_is_among_its_causes() {
        let error = io::Error::other(rustls::Error::DecryptError);
        assert!(causes(&error).any(|cause| cause.is::<rustls::Error>()));
    }
}
