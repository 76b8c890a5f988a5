//! The listeners: a Unix socket and TCP, with bounds on connections, heads and slow readers.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::guard::Peer;
use super::{Config, Interface, routes};

/// Connections of one listener at a time. Further ones are closed at once.
const CONNECTIONS: usize = 128;
/// The longest wait for the head of a request, also on an idle connection.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// A client that reads nothing for that time is cut.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// The largest head.
const HEAD_BYTES: usize = 64 << 10;
/// The wait after an accept that the system refuses.
const REFUSED: Duration = Duration::from_millis(200);
/// The mode of the socket: its owner and group.
const MODE: u32 = 0o660;

/// Bound listeners. Dropped, the socket file is removed.
pub struct HttpServer {
    unix: Option<(std::os::unix::net::UnixListener, SocketFile)>,
    tcp: Option<std::net::TcpListener>,
    token_file: Option<Arc<PathBuf>>,
}

/// The file of a bound socket.
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another daemon may have replaced it.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The reason why a listener is not bound, with its key.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {error}; {fix}")]
pub struct NotBound {
    /// The key of `[http]`.
    pub key: &'static str,
    place: String,
    error: io::Error,
    fix: &'static str,
}

impl HttpServer {
    /// Binds the configured listeners. Without a configured socket, that of the environment is used, if it can be bound.
    ///
    /// # Errors
    /// When a configured listener cannot be bound.
    pub fn bind(config: &Config, usual: Option<PathBuf>) -> Result<Self, NotBound> {
        let unix = match (&config.socket, usual) {
            (Some(path), _) => Some(socket(path).map_err(|error| not_bound("socket", path, error))?),
            (None, Some(path)) => match socket(&path) {
                Ok(bound) => Some(bound),
                Err(error) => {
                    let error = not_bound("socket", &path, error);
                    tracing::warn!(%error, "the live control is not reachable over a Unix socket");
                    None
                }
            },
            (None, None) => {
                tracing::info!(
                    "no socket for live control: set [http] socket, RUNTIME_DIRECTORY or XDG_RUNTIME_DIR"
                );
                None
            }
        };
        let bound = config.listen.map(|address| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let tcp = bound.transpose().map_err(|error| NotBound {
            key: "listen",
            place: config.listen.map(|address| address.to_string()).unwrap_or_default(),
            error,
            fix: "name another address, or stop the program that uses it",
        })?;
        Ok(Self { unix, tcp, token_file: config.token_file.clone().map(Arc::new) })
    }

    /// Whether there is a listener.
    pub fn is_bound(&self) -> bool {
        self.unix.is_some() || self.tcp.is_some()
    }

    /// The bound TCP address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Serves until the stop.
    ///
    /// # Errors
    /// When the runtime refuses a listener.
    pub async fn run(self, interface: Interface, stop: CancellationToken) -> io::Result<()> {
        let Self { unix, tcp, token_file } = self;
        let unix = unix.map(|(listener, file)| UnixListener::from_std(listener).map(|bound| (bound, file)));
        let unix = unix.transpose()?;
        let tcp = tcp.map(TcpListener::from_std).transpose()?;
        let by_unix = async {
            let Some((listener, _file)) = &unix else { return std::future::pending().await };
            let accept = async || {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
                Ok((stream, Peer::Unix(uid)))
            };
            serve(accept, &interface).await;
        };
        let by_tcp = async {
            let Some(listener) = &tcp else { return std::future::pending().await };
            let is_loopback = listener.local_addr().is_ok_and(|at| at.ip().to_canonical().is_loopback());
            let accept = async || {
                let (stream, _) = listener.accept().await?;
                Ok((stream, Peer::Tcp { is_loopback, token_file: token_file.clone() }))
            };
            serve(accept, &interface).await;
        };
        tokio::select! {
            () = by_unix => {}
            () = by_tcp => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }
}

/// Accepts and serves connections of one listener for ever.
async fn serve<S>(accept: impl AsyncFn() -> io::Result<(S, Peer)>, interface: &Interface)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = accept() => match accepted {
                Ok((stream, peer)) => {
                    // Without a place the connection is closed: a client that comes back later gets one.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let interface = interface.clone();
                    connections.spawn(async move {
                        connection(stream, interface, peer).await;
                        drop(place);
                    });
                }
                // Such as no free descriptor: it passes.
                Err(_) => tokio::time::sleep(REFUSED).await,
            }
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    interface: Interface,
    peer: Peer,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let service = TowerToHyperService::new(routes::router(interface, peer));
    // A broken connection is the affair of its client.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await;
}

fn not_bound(key: &'static str, path: &Path, error: io::Error) -> NotBound {
    /// The fix of each kind of error; any other one needs another path.
    const FIXES: &[(ErrorKind, &str)] = &[
        (ErrorKind::AddrInUse, "another daemon uses it; stop that one, or name another path"),
        (ErrorKind::NotFound, "create its folder, or name another path"),
        (ErrorKind::PermissionDenied, "let this user write into its folder, or name another path"),
    ];
    let known = FIXES.iter().find(|(kind, _)| *kind == error.kind());
    let fix = known.map_or("name another path", |(_, fix)| fix);
    NotBound { key, place: path.display().to_string(), error, fix }
}

/// A bound socket with its mode. It takes the place of the socket of a daemon that is gone.
fn socket(path: &Path) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(ErrorKind::AddrInUse, "a daemon responds there"));
            }
        }
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "another file is there")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Bound beside its place and moved there, so that no process connects before the mode is set.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = std::fs::remove_file(&beside);
    let listener = std::os::unix::net::UnixListener::bind(&beside)?;
    let placed = std::fs::set_permissions(&beside, Permissions::from_mode(MODE))
        .and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = placed {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    listener.set_nonblocking(true)?;
    let found = std::fs::metadata(path)?;
    let file = SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()) };
    Ok((listener, file))
}
