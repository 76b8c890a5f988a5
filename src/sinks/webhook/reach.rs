//! The address of a webhook and the clients for it, from the configuration and the files that it names.
//!
//! The files may change at any time: a token is rotated, a certificate renewed. They are checked before each
//! attempt, and read again when they changed; after a broken one, or a pair that does not match, the values
//! before stay in use. The clients are replaced at a certain age, and after a timeout or a reset: other idle
//! connections may be dead too, and the name may resolve to other addresses.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use reqwest::{Client, Identity, Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config::{Config, EMPTY_PATH};
use super::guard::Guard;
use crate::clock::Steady;
use crate::lines::output::lock;
use crate::net::{self, Way, address, ca_file};
use crate::secret::{self, Secret};
use crate::section::{Fault, dotted};

/// The longest age of a connection (design.md §4).
const LONGEST_AGE: Duration = Duration::from_secs(5 * 60);
/// The jitter of that age, as a part of it: webhooks that started together connect at different times.
const JITTER: f64 = 0.2;

/// The address and the clients for it.
pub struct Reached {
    /// Where events are sent. Never to be printed.
    pub url: Url,
    /// Uses its idle connections again.
    pub client: Client,
    /// Makes a new connection for each request.
    pub unpooled: Client,
    /// Whether `client` had a response, so that the connection of its next request may be a reused one.
    pub has_answered: AtomicBool,
    materials: Arc<Materials>,
}

/// The contents of the files, from which clients are made.
struct Materials {
    url: Url,
    ca: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    /// The files as they were just before they were read.
    files: Vec<Stamp>,
}

/// The clients in use.
pub struct Standing(Mutex<InUse>);

struct InUse {
    reached: Arc<Reached>,
    /// The files as they were when they were last read, with success or without.
    files: Vec<Stamp>,
    /// When the clients are replaced. `None`: before the next attempt.
    replaced_at: Option<Steady>,
}

/// The properties of a file that show a change; `None`: there is no such file.
type Stamp = Option<(Option<SystemTime>, u64, u64)>;

/// Result of a check before an attempt.
pub enum Change {
    /// Neither the files nor their values changed.
    None,
    /// The files changed, and their new values are in use.
    Read,
    /// The files changed, and cannot be used: the reason, without a secret. It is reported once per change.
    Broken(String),
    /// The clients were due to be replaced, and no others can be built: the reason.
    Kept(String),
}

impl Standing {
    /// These clients, built at that moment; `spread` is a draw in `0.0..1.0`.
    pub fn new(reached: Reached, now: Steady, spread: f64) -> Self {
        let files = reached.materials.files.clone();
        Self(Mutex::new(InUse { reached: Arc::new(reached), files, replaced_at: Some(now + age(spread)) }))
    }

    /// Checks the files and the age of the clients, and returns the clients to use. It may block.
    pub fn look(&self, config: &Config, now: Steady, spread: f64) -> (Arc<Reached>, Change) {
        let files = stamps(config);
        let mut in_use = lock(&self.0);
        let before = Arc::clone(&in_use.reached);
        let has_changed = in_use.files != files;
        if !has_changed && !in_use.is_due(now) {
            return (before, Change::None);
        }
        in_use.files = files;
        in_use.replaced_at = Some(now + age(spread));
        // Attempts at the same time go on with the clients before.
        drop(in_use);
        let built = match has_changed {
            true => reach(config, &mut |_, _| ()),
            false => clients(config, Arc::clone(&before.materials)),
        };
        let reason = |faults: Vec<Fault>| {
            let described = faults.iter().map(|fault| format!("`{}` {}", dotted(&fault.path), fault.what));
            described.collect::<Vec<_>>().join("; ")
        };
        match (built, has_changed) {
            (Ok(reached), _) => {
                let reached = Arc::new(reached);
                lock(&self.0).reached = Arc::clone(&reached);
                (reached, if has_changed { Change::Read } else { Change::None })
            }
            (Err(faults), true) => (before, Change::Broken(reason(faults))),
            (Err(faults), false) => (before, Change::Kept(reason(faults))),
        }
    }

    /// The clients in use, unless they are due to be replaced; files are not checked.
    pub fn current(&self, now: Steady) -> Option<Arc<Reached>> {
        let in_use = lock(&self.0);
        (!in_use.is_due(now)).then(|| Arc::clone(&in_use.reached))
    }

    /// Has these clients replaced before the next attempt, unless they were already.
    pub fn distrust(&self, reached: &Arc<Reached>) {
        let mut in_use = lock(&self.0);
        if Arc::ptr_eq(&in_use.reached, reached) {
            in_use.replaced_at = None;
        }
    }
}

impl InUse {
    fn is_due(&self, now: Steady) -> bool {
        self.replaced_at.is_none_or(|at| at <= now)
    }
}

fn age(spread: f64) -> Duration {
    LONGEST_AGE.mul_f64(1.0 - JITTER * spread)
}

/// Reads the files and builds the clients. Nothing is connected yet.
///
/// # Errors
/// Everything that is wrong, each with its key, without a secret.
pub fn reach(config: &Config, doubt: &mut dyn FnMut(&'static str, String)) -> Result<Reached, Vec<Fault>> {
    let files = stamps(config);
    let mut faults = Vec::new();
    let url = url(config, doubt).map_err(|fault| faults.push(fault)).ok();
    if let Some(proxy) = &config.proxy
        && let Err(what) = address::proxy(proxy.expose(), url.as_ref().map(|url| (url, "url")))
    {
        faults.push(Fault::new(&["proxy"], what));
    }
    let ca = config.tls.ca_file.as_deref().map(|file| read_by(file, ca_file::read)).transpose();
    let ca = ca
        .map_err(|what| faults.push(Fault::new(&["tls", "ca_file"], what)))
        .ok()
        .flatten()
        .unwrap_or_default();
    let identity = identity(config, doubt).map_err(|fault| faults.push(fault)).ok().flatten();
    let (Some(url), true) = (url, faults.is_empty()) else { return Err(faults) };
    clients(config, Arc::new(Materials { url, ca, identity, files }))
}

/// Builds the clients. Nothing is connected yet.
fn clients(config: &Config, materials: Arc<Materials>) -> Result<Reached, Vec<Fault>> {
    let Materials { url, ca, identity, .. } = &*materials;
    let client = |is_pooled: bool| {
        let way = Way { is_plain: url.scheme() == "http", proxy: config.proxy.as_ref(), ca };
        let builder = net::client(way)?.timeout(config.timeout.0);
        let builder = if config.allow_link_local { builder } else { builder.dns_resolver(Guard) };
        let builder = if is_pooled { builder } else { builder.pool_max_idle_per_host(0) };
        identity.iter().cloned().fold(builder, reqwest::ClientBuilder::identity).build()
    };
    let both = client(true).and_then(|pooled| Ok((pooled, client(false)?)));
    let reached = both.map(|(client, unpooled)| {
        let url = url.clone();
        Reached {
            url,
            client,
            unpooled,
            has_answered: AtomicBool::new(false),
            materials: Arc::clone(&materials),
        }
    });
    reached.map_err(|error| {
        let is_ours = identity.is_some() && net::causes(&error).any(|cause| cause.is::<rustls::Error>());
        let cause = net::cause(error);
        vec![match is_ours {
            true => Fault::new(
                &["tls", "key_file"],
                format!("does not fit `tls.cert_file` ({cause}); write the key of its first certificate"),
            ),
            false => Fault::new(
                &["tls"],
                format!(
                    "cannot be set up ({cause}); check the system's certificates (package ca-certificates)"
                ),
            ),
        }]
    })
}

fn url(config: &Config, doubt: &mut dyn FnMut(&'static str, String)) -> Result<Url, Fault> {
    let (key, written) = match (&config.url, &config.url_file) {
        (Some(_), Some(_)) => {
            return Err(Fault::new(&["url_file"], "stands beside `url`; keep one of the two"));
        }
        (None, None) => return Err(Fault::new(&["url"], "is missing; write it, or `url_file`")),
        (Some(url), None) => ("url", url.clone()),
        (None, Some(file)) => {
            let read = read_by(file, |file| secret::file::line(file, |what| doubt("url_file", what)));
            ("url_file", read.map_err(|what| Fault::new(&["url_file"], what))?)
        }
    };
    checked(&written, config.allow_link_local).map_err(|what| Fault::new(&[key], what))
}

/// The address, or what is wrong with it; the address itself is not repeated, since it may be a secret.
fn checked(written: &Secret, allow_link_local: bool) -> Result<Url, &'static str> {
    const FORM: &str = "holds no address; write one such as \"https://ops.example.com/hook\"";
    let url: Url = written.expose().parse().map_err(|_| FORM)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
    if url.fragment().is_some() {
        return Err("holds a `#`, and what follows it is never sent; leave it out");
    }
    if !allow_link_local && address::literal(host).is_some_and(address::is_metadata) {
        return Err(
            "leads to a link-local address or to a cloud's metadata service; write another, or set `allow_link_local`",
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
fn identity(config: &Config, doubt: &mut dyn FnMut(&'static str, String)) -> Result<Option<Identity>, Fault> {
    let (certificates, key) = match (&config.tls.cert_file, &config.tls.key_file) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(Fault::new(&["tls", "cert_file"], "has no key beside it; write `key_file`"));
        }
        (None, Some(_)) => {
            return Err(Fault::new(&["tls", "key_file"], "has no certificate beside it; write `cert_file`"));
        }
        (Some(certificates), Some(key)) => (certificates, key),
    };
    let certificates =
        read_by(certificates, ca_file::pem).map_err(|what| Fault::new(&["tls", "cert_file"], what))?;
    let at_key = |what: String| Fault::new(&["tls", "key_file"], what);
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
