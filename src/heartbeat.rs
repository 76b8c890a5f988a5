//! A dead man's switch: a URL that is requested for as long as the daemon makes progress. A monitor at that URL raises
//! the alarm when the requests stop.

use std::time::Duration;

use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

use crate::net::{self, PeerSettings, address};
use crate::secret::Secret;
use crate::units::Span;

/// The time limit of one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// `[heartbeat]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The URL; it may be a secret. Default: none, and nothing is requested.
    #[serde(skip_serializing)]
    pub url: Option<Secret>,
    /// The time between two requests. Default 1m.
    pub every: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { url: None, every: Span::seconds(60) }
    }
}

impl Config {
    /// Whether the URL can be requested: https, or http to a loopback address. True without a URL.
    pub fn is_url_usable(&self) -> bool {
        self.url.as_ref().is_none_or(|url| {
            let read: Result<Url, _> = url.expose().parse();
            read.is_ok_and(|url| match (url.scheme(), url.host_str()) {
                ("https", Some(_)) => true,
                ("http", Some(host)) => address::is_loopback(host),
                _ => false,
            })
        })
    }
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// The daemon started.
    Start,
    /// The daemon makes progress.
    Progress,
    /// The daemon makes no progress.
    Fail,
}

/// The way to the monitor.
pub struct Monitor {
    client: Client,
    url: Url,
}

impl Monitor {
    /// The monitor of a configuration; `None`: there is none.
    ///
    /// # Errors
    /// When no client can be built.
    pub fn new(config: &Config) -> Result<Option<Self>, net::Error> {
        let Some(url) = config.url.as_ref().and_then(|url| url.expose().parse::<Url>().ok()) else {
            return Ok(None);
        };
        let way = PeerSettings { is_plain: url.scheme() == "http", proxy: None, ca: &[] };
        let client = net::client(way)?.timeout(PATIENCE).build()?;
        Ok(Some(Self { client, url }))
    }

    /// Sends one request: to the URL itself, or to `/start` or `/fail` below it.
    ///
    /// # Errors
    /// The reason why the monitor did not accept it, without the URL.
    pub async fn ping(&self, ping: Ping) -> Result<(), String> {
        let mut url = self.url.clone();
        let below = match ping {
            Ping::Start => Some("start"),
            Ping::Progress => None,
            Ping::Fail => Some("fail"),
        };
        if let (Some(below), Ok(mut path)) = (below, url.path_segments_mut()) {
            path.pop_if_empty().push(below);
        }
        match self.client.get(url).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("HTTP {}", response.status().as_u16())),
            Err(error) => Err(net::cause(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_or_http_on_this_machine() {
        let is_usable =
            |url: &str| Config { url: Some(Secret::new(url)), ..Config::default() }.is_url_usable();
        assert!(is_usable("https://hc.example.com/ping/1") && is_usable("http://127.0.0.1:1/x"));
        assert!(
            !is_usable("http://hc.example.com/") && !is_usable("hc.example.com") && !is_usable("ftp://x/")
        );
        assert!(Config::default().is_url_usable());
    }
}
