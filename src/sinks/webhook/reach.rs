//! Where a webhook leads and the client that gets there, from the configuration and the files that it names.
//!
//! The files may change at any time: a token is rotated, a certificate renewed. They are looked at before
//! each attempt, and read again when they changed; a broken one, or a pair that does not fit, leaves in use
//! what was there.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use reqwest::{Client, Identity, Url};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::config::{Config, EMPTY_PATH, fault};
use super::guard::Guard;
use crate::lines::output::lock;
use crate::net::{self, Way, address, ca_file};
use crate::secret::{self, Secret};
use crate::section::Fault;

/// The address and the client for it.
pub struct Reached {
    /// Where events are sent. Never to be printed.
    pub url: Url,
    /// With the certificates and the proxy for it.
    pub client: Client,
    /// The files as they were just before they were read.
    files: Vec<Stamp>,
}

/// What is in use, and the files as they were when they were last read, well or not.
pub struct Standing(Mutex<(Arc<Reached>, Vec<Stamp>)>);

/// What tells that a file changed; `None`: it is not there.
type Stamp = Option<(Option<SystemTime>, u64, u64)>;

/// What looking at the files again came to.
pub enum Change {
    /// They are as they were.
    None,
    /// They changed, and what they say now is in use.
    Read,
    /// They changed into something that cannot be used: what, without a secret. It is told once per change.
    Broken(String),
}

impl Standing {
    /// What was reached just now.
    pub fn new(reached: Reached) -> Self {
        let files = reached.files.clone();
        Self(Mutex::new((Arc::new(reached), files)))
    }

    /// Looks at the files, reads them again if they changed, and answers with what is to be used. It may
    /// block.
    pub fn look(&self, config: &Config) -> (Arc<Reached>, Change) {
        let now = stamps(config);
        let mut standing = lock(&self.0);
        if standing.1 == now {
            return (Arc::clone(&standing.0), Change::None);
        }
        standing.1 = now;
        let change = match reach(config, &mut |_, _| ()) {
            Ok(reached) => {
                standing.0 = Arc::new(reached);
                Change::Read
            }
            Err(faults) => {
                let told = faults.iter().map(|fault| format!("`{}` {}", fault.path.join("."), fault.what));
                Change::Broken(told.collect::<Vec<_>>().join("; "))
            }
        };
        (Arc::clone(&standing.0), change)
    }

    /// What is in use, without looking.
    pub fn current(&self) -> Arc<Reached> {
        Arc::clone(&lock(&self.0).0)
    }
}

/// Reads the files and builds the client. Nothing is connected yet.
///
/// # Errors
/// Everything that is wrong, each with its key, without a secret.
pub fn reach(config: &Config, doubt: &mut impl FnMut(&'static str, String)) -> Result<Reached, Vec<Fault>> {
    let files = stamps(config);
    let mut faults = Vec::new();
    let url = url(config, doubt).map_err(|fault| faults.push(fault)).ok();
    if let Some(proxy) = &config.proxy
        && let Err(what) = address::proxy(proxy.expose(), url.as_ref().map(|url| (url, "url")))
    {
        faults.push(fault(&["proxy"], what));
    }
    let ca = config.tls.ca_file.as_deref().map(|file| read_by(file, ca_file::read)).transpose();
    let ca =
        ca.map_err(|what| faults.push(fault(&["tls", "ca_file"], what))).ok().flatten().unwrap_or_default();
    let identity = identity(config, doubt).map_err(|fault| faults.push(fault)).ok().flatten();
    let (Some(url), true) = (url, faults.is_empty()) else { return Err(faults) };

    let is_ours_shown = identity.is_some();
    let way = Way { is_plain: url.scheme() == "http", proxy: config.proxy.as_ref(), ca: &ca };
    let client = net::client(way).and_then(|builder| {
        let builder = builder.timeout(config.timeout.0);
        let builder = if config.allow_link_local { builder } else { builder.dns_resolver(Guard) };
        identity.into_iter().fold(builder, reqwest::ClientBuilder::identity).build()
    });
    client.map(|client| Reached { url, client, files }).map_err(|error| {
        let is_ours = is_ours_shown && net::causes(&error).any(|cause| cause.is::<rustls::Error>());
        let cause = net::cause(error);
        vec![match is_ours {
            true => fault(
                &["tls", "key_file"],
                format!("does not fit `tls.cert_file` ({cause}); write the key of its first certificate"),
            ),
            false => fault(
                &["tls"],
                format!(
                    "cannot be set up ({cause}); check the system's certificates (package ca-certificates)"
                ),
            ),
        }]
    })
}

fn url(config: &Config, doubt: &mut impl FnMut(&'static str, String)) -> Result<Url, Fault> {
    let (key, written) = match (&config.url, &config.url_file) {
        (Some(_), Some(_)) => return Err(fault(&["url_file"], "stands beside `url`; keep one of the two")),
        (None, None) => return Err(fault(&["url"], "is missing; write it, or `url_file`")),
        (Some(url), None) => ("url", url.clone()),
        (None, Some(file)) => {
            let read = read_by(file, |file| secret::file::line(file, |what| doubt("url_file", what)));
            ("url_file", read.map_err(|what| fault(&["url_file"], what))?)
        }
    };
    checked(&written, config.allow_link_local).map_err(|what| fault(&[key], what))
}

/// The address, or what is wrong with it; the address itself is not repeated, since it may be a secret.
fn checked(written: &Secret, allow_link_local: bool) -> Result<Url, &'static str> {
    const FORM: &str = "holds no address; write one such as \"https://ops.example.com/hook\"";
    let url: Url = written.expose().parse().map_err(|_| FORM)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
    if url.fragment().is_some() {
        return Err("holds a `#`, and what follows it is never sent; leave it out");
    }
    if !allow_link_local && address::literal(host).is_some_and(address::is_link_local) {
        return Err(
            "leads to an address of this link, where clouds keep their metadata services; write another, or set `allow_link_local`",
        );
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if address::is_loopback(host) => Ok(url),
        "http" => {
            Err("is plain http beyond this machine; write https, or a loopback address such as 127.0.0.1")
        }
        _ => Err(FORM),
    }
}

/// What is shown to a server that asks who we are.
fn identity(
    config: &Config,
    doubt: &mut impl FnMut(&'static str, String),
) -> Result<Option<Identity>, Fault> {
    let (certificates, key) = match (&config.tls.cert_file, &config.tls.key_file) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(fault(&["tls", "cert_file"], "has no key beside it; write `key_file`"));
        }
        (None, Some(_)) => {
            return Err(fault(&["tls", "key_file"], "has no certificate beside it; write `cert_file`"));
        }
        (Some(certificates), Some(key)) => (certificates, key),
    };
    let certificates =
        read_by(certificates, ca_file::pem).map_err(|what| fault(&["tls", "cert_file"], what))?;
    let at_key = |what: String| fault(&["tls", "key_file"], what);
    let shown = key.display();
    let key =
        read_by(key, |file| secret::file::read(file, |what| doubt("tls.key_file", what))).map_err(at_key)?;
    if PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).is_err() {
        return Err(at_key(format!(
            "{shown} holds no private key; write one that begins with -----BEGIN PRIVATE KEY-----"
        )));
    }
    let both = Secret::new(format!("{certificates}\n{}", key.expose()));
    let identity = Identity::from_pem(both.expose().as_bytes()).map(Some);
    identity.map_err(|error| {
        at_key(format!("and `tls.cert_file` cannot be used ({}); write them anew", net::cause(error)))
    })
}

fn read_by<T>(file: &Path, read: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    if file.as_os_str().is_empty() { Err(EMPTY_PATH.to_owned()) } else { read(file) }
}

fn stamps(config: &Config) -> Vec<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let stamp = |file| {
        fs::metadata(file).ok().map(|metadata| (metadata.modified().ok(), metadata.len(), metadata.ino()))
    };
    config.files().map(stamp).collect()
}
