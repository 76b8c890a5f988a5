//! The client of the interface, over the Unix socket of a running daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::HttpProblem;
use crate::net::{self, PeerSettings};

/// The longest wait for a response to a change: a reload of a long list, or a full disk.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest wait for a response to a question. A daemon that takes longer hangs or is suspended.
const READ: Duration = Duration::from_secs(20);
/// The socket of the packaged unit.
const OF_THE_SYSTEM: &str = "/run/opwatch/opwatch.sock";

/// A running daemon.
pub struct DaemonClient {
    client: Client,
    socket: PathBuf,
}

/// The reason why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon responds.
    #[error(
        "no daemon responds at {0}; start one with `opwatch run`, or as a service with `systemctl start opwatch`; one that runs with another [http] socket is named by its configuration, -c FILE"
    )]
    NoDaemon(String),
    /// This user may not use the socket.
    #[error("the socket {} is not open to this user; use sudo, or join its group", .0.display())]
    Denied(PathBuf),
    /// The daemon refused the request.
    #[error("{}", described(.0))]
    Refused(HttpProblem),
    /// The connection broke, or the response cannot be read.
    #[error("the daemon gave no usable response: {0}; try again")]
    Broken(String),
}

impl ClientError {
    /// The same error with the id or name that it is about.
    pub fn about(self, name: &str) -> Self {
        match self {
            Self::Refused(problem) => {
                Self::Refused(HttpProblem { detail: format!("{name}: {}", problem.detail), ..problem })
            }
            other @ (Self::NoDaemon(_) | Self::Denied(_) | Self::Broken(_)) => other,
        }
    }
}

fn described(problem: &HttpProblem) -> String {
    let mut lines = vec![problem.detail.clone()];
    lines.extend(problem.errors.iter().cloned());
    lines.join("\n")
}

/// The sockets that a daemon may have, the likeliest first. `configured` is that of a configuration.
pub fn sockets(
    configured: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Vec<PathBuf> {
    let of_unit = super::default_socket(|name| variable(name).filter(|_| name == "RUNTIME_DIRECTORY"));
    let of_user = super::default_socket(|name| variable(name).filter(|_| name == "XDG_RUNTIME_DIR"));
    match configured {
        Some(configured) => vec![configured],
        None => of_unit.into_iter().chain([OF_THE_SYSTEM.into()]).chain(of_user).collect(),
    }
}

impl DaemonClient {
    /// The daemon at the first of these sockets that responds.
    ///
    /// # Errors
    /// When none responds.
    pub fn connect(sockets: &[PathBuf]) -> Result<Self, ClientError> {
        let mut denied = None;
        for socket in sockets {
            match std::os::unix::net::UnixStream::connect(socket) {
                Ok(_) => return Self::at(socket),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    denied.get_or_insert(socket);
                }
                Err(_) => {}
            }
        }
        let tried = || sockets.iter().map(|socket| socket.display().to_string()).collect::<Vec<_>>();
        Err(match denied {
            Some(socket) => ClientError::Denied(socket.clone()),
            None => ClientError::NoDaemon(tried().join(" or ")),
        })
    }

    fn at(socket: &Path) -> Result<Self, ClientError> {
        let broken = |error: reqwest::Error| ClientError::Broken(net::cause(error));
        let way = PeerSettings { is_plain: true, proxy: None, ca: &[] };
        let builder = net::client(way).map_err(|error| ClientError::Broken(error.to_string()))?;
        let client = builder.unix_socket(socket).no_proxy().build().map_err(broken)?;
        Ok(Self { client, socket: socket.to_owned() })
    }

    /// The result of a GET with these parameters.
    ///
    /// # Errors
    /// When the daemon refuses it, or does not respond.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let mut url = url(path)?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        self.read(self.client.get(url).timeout(READ)).await
    }

    /// The result of a POST with a body.
    ///
    /// # Errors
    /// When the daemon refuses it, or does not respond.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<T, ClientError> {
        self.read(self.posted(path, body)?).await
    }

    /// A POST without a result. `None`: without a body.
    ///
    /// # Errors
    /// When the daemon refuses it, or does not respond.
    pub async fn command<B: Serialize>(&self, path: &[&str], body: Option<&B>) -> Result<(), ClientError> {
        let request = match body {
            Some(body) => self.posted(path, body)?,
            None => self.client.post(url(path)?).timeout(PATIENCE),
        };
        self.accepted(request).await.map(drop)
    }

    fn posted<B: Serialize>(&self, path: &[&str], body: &B) -> Result<RequestBuilder, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Broken(error.to_string()))?;
        let request = self.client.post(url(path)?).header(CONTENT_TYPE, "application/json").body(body);
        Ok(request.timeout(PATIENCE))
    }

    /// The stream of events after that number; `None`: of new events.
    ///
    /// # Errors
    /// When the daemon refuses it, or does not respond.
    pub async fn stream(&self, after: Option<i64>) -> Result<Response, ClientError> {
        let request = self.client.get(url(&["events", "stream"])?);
        self.accepted(match after {
            Some(after) => request.header("last-event-id", after),
            None => request,
        })
        .await
    }

    /// Whether a daemon accepts a connection.
    pub fn is_running(&self) -> bool {
        std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
    }

    async fn accepted(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let broken = |error: reqwest::Error| match error {
            error if error.is_connect() => ClientError::NoDaemon(self.socket.display().to_string()),
            error => ClientError::Broken(net::cause(error)),
        };
        let response = request.send().await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.map_err(broken)?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(ClientError::Refused(problem)),
            Err(_) => Err(ClientError::Broken(format!("HTTP {}", status.as_u16()))),
        }
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.accepted(request).await?;
        let body = response.bytes().await.map_err(|error| ClientError::Broken(net::cause(error)))?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Broken(error.to_string()))
    }
}

/// The URL of a path; its host is not used.
fn url(path: &[&str]) -> Result<Url, ClientError> {
    let parsed = Url::parse("http://opwatch/api/v1");
    let mut url = parsed.map_err(|error| ClientError::Broken(error.to_string()))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_socket_is_the_only_one_else_that_of_the_unit_the_system_or_the_user() {
        let variable = |name: &str| {
            let folder = if name == "RUNTIME_DIRECTORY" { "/run/a" } else { "/run/user/1" };
            Some(folder.into())
        };
        assert_eq!(sockets(Some("x".into()), variable), [PathBuf::from("x")]);
        let all = ["/run/a/opwatch.sock", OF_THE_SYSTEM, "/run/user/1/opwatch.sock"].map(PathBuf::from);
        assert_eq!(sockets(None, variable), all);
        assert_eq!(sockets(None, |_| None), [PathBuf::from(OF_THE_SYSTEM)]);
    }
}
