//! The address of a webhook and the clients for it, from the configuration and the files that it names.
//!
//! A token may be rotated and a certificate renewed at any time. Changed files are read again; if one is
//! broken, or a pair does not match, the values before stay in use. The clients are replaced at a certain
//! age, and after a timeout or a reset: other idle connections may be dead too, and the name may resolve to
//! other addresses.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Identity, Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config::{Config, EMPTY_PATH};
use super::guard::Guard;
use crate::clock::Steady;
use crate::files::FilesChange;
use crate::lines::output::lock;
use crate::net::{self, PeerSettings, address, ca_file, proxy};
use crate::secret::{self, Secret};
use crate::section::{TableFault, dotted};
use crate::sinks::template::Template;

/// The longest age of a connection (docs/architecture.md §4).
const LONGEST_AGE: Duration = Duration::from_secs(5 * 60);
/// The jitter of that age, as a part of it: webhooks that started together connect at different times.
const JITTER: f64 = 0.2;

/// The clients of one webhook, and the contents of its configuration that are in use.
pub struct WebhookClients {
    /// Uses its idle connections again.
    pub client: Client,
    /// Makes a new connection for each request.
    pub unpooled: Client,
    /// Whether `client` had a response, so that the connection of its next request may be a reused one.
    pub has_answered: AtomicBool,
    /// Address and template among them.
    pub materials: Arc<Materials>,
}

/// The configuration with the contents of its files.
#[derive(PartialEq)]
pub struct Materials {
    /// The address. Never printed.
    pub url: Url,
    /// The template of the body. `None`: the body is the event.
    pub template: Option<Template>,
    ca: Vec<CertificateDer<'static>>,
    /// Certificates and key in PEM.
    identity: Option<Secret>,
}

/// The clients in use.
pub struct Standing(Mutex<InUse>);

struct InUse {
    reached: Arc<WebhookClients>,
    /// The last reported failure of the files, while it lasts.
    trouble: Option<String>,
    /// When the clients are replaced. `None`: before the next attempt.
    replaced_at: Option<Steady>,
}

impl Standing {
    /// These clients, built at that moment; `spread` is in `0.0..1.0`.
    pub fn new(reached: WebhookClients, now: Steady, spread: f64) -> Self {
        let replaced_at = Some(now + age(spread));
        Self(Mutex::new(InUse { reached: Arc::new(reached), trouble: None, replaced_at }))
    }

    /// Reads the files again, and uses their content if it is new and valid. May block.
    pub fn refresh(&self, config: &Config, now: Steady, spread: f64) -> FilesChange {
        let before = self.in_use();
        let built = match read(config, &mut |_, _| ()) {
            Ok(materials) if materials == *before.materials => {
                lock(&self.0).trouble = None;
                return FilesChange::None;
            }
            Ok(materials) => clients(config, Arc::new(materials)),
            Err(faults) => Err(faults),
        };
        let mut in_use = lock(&self.0);
        match built.map_err(reason) {
            Ok(reached) => {
                let replaced_at = Some(now + age(spread));
                *in_use = InUse { reached: Arc::new(reached), trouble: None, replaced_at };
                FilesChange::Read
            }
            Err(trouble) if in_use.trouble.as_ref() == Some(&trouble) => FilesChange::None,
            Err(trouble) => {
                in_use.trouble = Some(trouble.clone());
                FilesChange::Broken(trouble)
            }
        }
    }

    /// Replaces the clients. May block.
    ///
    /// # Errors
    /// When no others can be built: the reason. Those before stay in use.
    pub fn replace(&self, config: &Config, now: Steady, spread: f64) -> Result<(), String> {
        let before = {
            let mut in_use = lock(&self.0);
            in_use.replaced_at = Some(now + age(spread));
            // Attempts in flight continue with the clients before.
            Arc::clone(&in_use.reached)
        };
        let reached = clients(config, Arc::clone(&before.materials)).map_err(reason)?;
        let mut in_use = lock(&self.0);
        // The files were read during the build, and the newer clients stay.
        if Arc::ptr_eq(&in_use.reached, &before) {
            in_use.reached = Arc::new(reached);
        }
        Ok(())
    }

    /// The clients in use.
    pub fn in_use(&self) -> Arc<WebhookClients> {
        Arc::clone(&lock(&self.0).reached)
    }

    /// The clients in use, unless they are due to be replaced.
    pub fn current(&self, now: Steady) -> Option<Arc<WebhookClients>> {
        let in_use = lock(&self.0);
        (!in_use.is_due(now)).then(|| Arc::clone(&in_use.reached))
    }

    /// Plans the replacement of these clients before the next attempt, unless they were replaced.
    pub fn distrust(&self, reached: &Arc<WebhookClients>) {
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

fn reason(faults: Vec<TableFault>) -> String {
    let described = faults.iter().map(|fault| format!("`{}` {}", dotted(&fault.path), fault.what));
    described.collect::<Vec<_>>().join("; ")
}

fn age(spread: f64) -> Duration {
    LONGEST_AGE.mul_f64(1.0 - JITTER * spread)
}

/// Reads the files and builds the clients. Nothing is connected yet.
///
/// # Errors
/// Everything that is wrong, each with its key, without a secret.
pub fn reach(
    config: &Config,
    doubt: &mut dyn FnMut(&'static str, String),
) -> Result<WebhookClients, Vec<TableFault>> {
    clients(config, Arc::new(read(config, doubt)?))
}

fn read(config: &Config, doubt: &mut dyn FnMut(&'static str, String)) -> Result<Materials, Vec<TableFault>> {
    let mut faults = Vec::new();
    let template = config.made_template(&mut faults);
    let url = url(config, doubt).map_err(|fault| faults.push(fault)).ok();
    if let Some(proxy) = &config.proxy
        && let Err(what) = address::proxy(proxy.expose(), url.as_ref().map(|url| (url, "url")))
    {
        faults.push(TableFault::new(&["proxy"], what));
    }
    let through = |url: &Url| proxy::before(url, config.proxy.as_ref(), &proxy::Variables::of_process());
    if config.proxy.is_none()
        && let Some(Err(refused)) = url.as_ref().map(through)
    {
        let key = if config.url.is_some() { "url" } else { "url_file" };
        faults.push(TableFault::new(&[key], refused.to_string()));
    }
    let ca = config.tls.ca_file.as_deref().map(|file| read_by(file, ca_file::read)).transpose();
    let ca = ca
        .map_err(|what| faults.push(TableFault::new(&["tls", "ca_file"], what)))
        .ok()
        .flatten()
        .unwrap_or_default();
    let identity = identity(config, doubt).map_err(|fault| faults.push(fault)).ok().flatten();
    match (url, faults.is_empty()) {
        (Some(url), true) => Ok(Materials { url, template, ca, identity }),
        (Some(_) | None, _) => Err(faults),
    }
}

/// Builds the clients. Nothing is connected yet.
fn clients(config: &Config, materials: Arc<Materials>) -> Result<WebhookClients, Vec<TableFault>> {
    let Materials { url, ca, identity, .. } = &*materials;
    let pair = identity.as_ref().map(|pair| Identity::from_pem(pair.expose().as_bytes())).transpose();
    let pair = pair.map_err(|error| {
        let cause = net::cause(error);
        let what = format!("and `tls.cert_file` cannot be used ({cause}); replace them");
        vec![TableFault::new(&["tls", "key_file"], what)]
    })?;
    let client = |is_pooled: bool| -> Result<Client, net::Error> {
        let way = PeerSettings { is_plain: url.scheme() == "http", proxy: config.proxy.as_ref(), ca };
        let builder = net::client(way)?.timeout(config.timeout.0);
        let builder = if config.allow_link_local { builder } else { builder.dns_resolver(Guard) };
        let builder = if is_pooled { builder } else { builder.pool_max_idle_per_host(0) };
        Ok(pair.iter().cloned().fold(builder, reqwest::ClientBuilder::identity).build()?)
    };
    let both = client(true).and_then(|pooled| Ok((pooled, client(false)?)));
    let reached = both.map(|(client, unpooled)| {
        let materials = Arc::clone(&materials);
        WebhookClients { client, unpooled, has_answered: AtomicBool::new(false), materials }
    });
    reached.map_err(|error| {
        let is_ours = identity.is_some() && net::causes(&error).any(|cause| cause.is::<rustls::Error>());
        let cause = error.to_string();
        vec![match is_ours {
            true => TableFault::new(
                &["tls", "key_file"],
                format!("does not fit `tls.cert_file` ({cause}); write the key of its first certificate"),
            ),
            false => TableFault::new(&["tls"], format!("cannot be set up ({cause})")),
        }]
    })
}

fn url(config: &Config, doubt: &mut dyn FnMut(&'static str, String)) -> Result<Url, TableFault> {
    let (key, written) = match (&config.url, &config.url_file) {
        (Some(_), Some(_)) => {
            return Err(TableFault::new(&["url_file"], "conflicts with `url`; keep one of the two"));
        }
        (None, None) => return Err(TableFault::new(&["url"], "is missing; write it, or `url_file`")),
        (Some(url), None) => ("url", url.clone()),
        (None, Some(file)) => {
            let read = read_by(file, |file| secret::file::line(file, |what| doubt("url_file", what)));
            ("url_file", read.map_err(|what| TableFault::new(&["url_file"], what))?)
        }
    };
    checked(&written, config.allow_link_local).map_err(|what| TableFault::new(&[key], what))
}

/// The address, or its error; the address is never repeated, since it may be a secret.
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
            Err("is plain http to another machine; write https, or a loopback address such as 127.0.0.1")
        }
        _ => Err(FORM),
    }
}

/// The client certificate and its key.
fn identity(
    config: &Config,
    doubt: &mut dyn FnMut(&'static str, String),
) -> Result<Option<Secret>, TableFault> {
    let (certificates, key) = match (&config.tls.cert_file, &config.tls.key_file) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(TableFault::new(&["tls", "cert_file"], "has no key; write `key_file`"));
        }
        (None, Some(_)) => {
            return Err(TableFault::new(&["tls", "key_file"], "has no certificate; write `cert_file`"));
        }
        (Some(certificates), Some(key)) => (certificates, key),
    };
    let certificates =
        read_by(certificates, ca_file::pem).map_err(|what| TableFault::new(&["tls", "cert_file"], what))?;
    let at_key = |what: String| TableFault::new(&["tls", "key_file"], what);
    let shown = key.display();
    let key =
        read_by(key, |file| secret::file::read(file, |what| doubt("tls.key_file", what))).map_err(at_key)?;
    if PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).is_err() {
        return Err(at_key(format!(
            "{shown} holds no readable private key; write an unencrypted one that begins with -----BEGIN PRIVATE KEY-----"
        )));
    }
    Ok(Some(Secret::new(format!("{certificates}\n{}", key.expose()))))
}

fn read_by<T>(file: &Path, read: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    if file.as_os_str().is_empty() { Err(EMPTY_PATH.to_owned()) } else { read(file) }
}
