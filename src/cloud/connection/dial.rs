//! New connections: directly, or through a proxy.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::HeaderValue;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

/// Time from the last byte of a connection to a keep-alive probe of TCP.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The bytes of a connection, below HTTP.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Any error of a connection.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

type Secure = HttpsConnector<HttpConnector>;

/// The way to one server.
pub struct Dialer {
    way: Way,
    /// The server, or the proxy that forwards plain requests.
    peer: Uri,
    /// For requests to a proxy that forwards them: the beginning of their address, and the login.
    pub forwarded: Option<Forwarded>,
}

/// A proxy that forwards plain requests.
pub struct Forwarded {
    /// Scheme and authority of the server.
    pub base: String,
    /// The login, if the address of the proxy has one.
    pub login: Option<HeaderValue>,
}

enum Way {
    /// TCP.
    Plain(HttpConnector),
    /// TLS to a server, or to a proxy.
    Secure(Secure),
    /// TLS through a tunnel.
    Tunneled(Box<HttpsConnector<Tunnel<Secure>>>),
}

impl Dialer {
    /// The way to `server`, through `proxy` if there is one. `tls` is present where one of them uses https.
    ///
    /// # Errors
    /// If an address is not usable.
    pub fn new(
        server: &Url,
        proxy: Option<&Url>,
        tls: Option<&Arc<ClientConfig>>,
        connect_timeout: Duration,
    ) -> Result<Self, AnyError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        // With several addresses, each gets its part of this time.
        tcp.set_connect_timeout(Some(connect_timeout));
        let uri = |url: &Url| -> Result<Uri, AnyError> { Ok(authority(url).parse()?) };
        let secure = |tcp: HttpConnector| -> Result<Secure, AnyError> {
            let tls = tls.ok_or("no TLS configuration")?;
            Ok(HttpsConnector::from((tcp, Arc::clone(tls))))
        };
        let is_plain = server.scheme() == "http";
        let way = match proxy {
            None if is_plain => Way::Plain(tcp),
            Some(proxy) if is_plain && proxy.scheme() == "http" => Way::Plain(tcp),
            None => Way::Secure(secure(tcp)?),
            Some(_) if is_plain => Way::Secure(secure(tcp)?),
            Some(proxy) => {
                let tls = tls.ok_or("no TLS configuration")?;
                let tunnel = Tunnel::new(uri(proxy)?, secure(tcp)?);
                let tunnel = match login(proxy) {
                    Some(login) => tunnel.with_auth(login),
                    None => tunnel,
                };
                Way::Tunneled(Box::new(HttpsConnector::from((tunnel, Arc::clone(tls)))))
            }
        };
        let forwards = proxy.filter(|_| is_plain);
        let forwarded = forwards.map(|proxy| Forwarded { base: authority(server), login: login(proxy) });
        Ok(Self { way, peer: uri(forwards.unwrap_or(server))?, forwarded })
    }

    /// Connects.
    ///
    /// # Errors
    /// If the name, the server, the proxy or the handshake fails.
    pub async fn connect(&self) -> Result<Box<dyn ByteStream>, AnyError> {
        match &self.way {
            Way::Plain(tcp) => {
                let stream = called(tcp.clone(), self.peer.clone()).await?;
                Ok(Box::new(stream.into_inner()))
            }
            Way::Secure(tls) => Ok(Box::new(TokioIo::new(called(tls.clone(), self.peer.clone()).await?))),
            Way::Tunneled(tunnel) => {
                Ok(Box::new(TokioIo::new(called((**tunnel).clone(), self.peer.clone()).await?)))
            }
        }
    }
}

async fn called<S: Service<Uri>>(mut service: S, uri: Uri) -> Result<S::Response, AnyError>
where
    S::Error: Into<AnyError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    service.call(uri).await.map_err(Into::into)
}

/// Scheme, host and port, without a login.
fn authority(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The login in the address of a proxy, as `Basic`.
fn login(proxy: &Url) -> Option<HeaderValue> {
    let decoded = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
    if proxy.username().is_empty() && proxy.password().is_none() {
        return None;
    }
    let pair = [decoded(proxy.username()), b":".to_vec(), decoded(proxy.password().unwrap_or_default())];
    let mut value =
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair.concat()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether the process has no descriptor left for a connection.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
