//! The keys of `type = "webhook"`, and the strict types of those without a file. Addresses and certificates
//! are read in `reach.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};

use super::signature::{self, SigningKey};
use crate::secret::{Secret, hidden};
use crate::section::TableFault;
use crate::sinks::template::Template;
use crate::units::Span;

/// The keys of `type = "webhook"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The address: https, or http to a loopback address. Required, or `url_file`.
    #[serde(skip_serializing)]
    pub url: Option<Secret>,
    /// A file that holds the URL. A changed file is read again. A name without a slash is looked up in
    /// `$CREDENTIALS_DIRECTORY` first.
    pub url_file: Option<PathBuf>,
    /// `POST` or `PUT`. Default POST.
    pub method: WebhookMethod,
    /// Headers of each request, at most 64; a `Content-Type` here replaces the default. Default: none.
    #[serde(serialize_with = "no_table")]
    pub headers: BTreeMap<String, Secret>,
    /// `whsec_…`: each adds one Standard Webhooks signature; at most 8. Default: none, and requests are not
    /// signed.
    #[serde(serialize_with = "no_list")]
    pub secrets: Vec<Secret>,
    /// Certificates; changed files are read again.
    pub tls: Tls,
    /// The proxy of all requests, http or https; it may hold a password. Default: the proxy of the
    /// environment.
    #[serde(skip_serializing)]
    pub proxy: Option<Secret>,
    /// The time limit of one attempt, connecting included; more than 0s. Default 10s.
    pub timeout: Span,
    /// Whether link-local addresses (169.254/16, fe80::/10) and metadata services of clouds are allowed.
    /// Default false.
    pub allow_link_local: bool,
    /// The body: a minijinja template over the event. It may hold a secret. Default: the event itself.
    #[serde(skip_serializing)]
    pub template: Option<Secret>,
    /// A file that holds the template. A changed file is read again.
    pub template_file: Option<PathBuf>,
}

/// `tls` of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// A file of certificates (PEM) that are trusted in addition to the system's, for the server and a proxy.
    pub ca_file: Option<PathBuf>,
    /// A file of client certificates (PEM), the client's own first; requires `key_file`.
    pub cert_file: Option<PathBuf>,
    /// A file that holds the key of the first client certificate (PEM).
    pub key_file: Option<PathBuf>,
}

/// The HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WebhookMethod {
    /// The usual one.
    #[default]
    Post,
    /// For receivers that store the body.
    Put,
}

/// Servers accept about eight kilobytes of headers, and a rotation needs two signatures.
const MOST_HEADERS: usize = 64;
const MOST_SECRETS: usize = 8;
/// Headers that opwatch sets itself, in lower case.
const OWN: [&str; 6] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            method: WebhookMethod::Post,
            headers: BTreeMap::new(),
            secrets: Vec::new(),
            tls: Tls::default(),
            proxy: None,
            timeout: Span::seconds(10),
            allow_link_local: false,
            template: None,
            template_file: None,
        }
    }
}

impl Config {
    /// The configured headers; adds their errors to `faults`.
    pub fn header_map(&self, faults: &mut Vec<TableFault>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.headers.len() > MOST_HEADERS {
            faults.push(TableFault::new(
                &["headers"],
                format!("holds more than {MOST_HEADERS}; leave some out"),
            ));
        }
        for (written, value) in self.headers.iter().take(MOST_HEADERS) {
            let at = ["headers", written.as_str()];
            let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else {
                faults
                    .push(TableFault::new(&at, "is not the name of a header; write letters, digits and `-`"));
                continue;
            };
            if OWN.contains(&name.as_str()) {
                faults.push(TableFault::new(&at, "is set by opwatch itself; leave it out"));
                continue;
            }
            match HeaderValue::from_str(value.expose()) {
                Ok(_) if headers.contains_key(&name) => {
                    faults.push(TableFault::new(&at, "is repeated in another case; keep one of the two"))
                }
                Ok(mut value) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                Err(_) => faults
                    .push(TableFault::new(&at, "holds characters that a header cannot have; replace it")),
            }
        }
        headers
    }

    /// The signing keys; adds errors to `faults`, and passes warnings to `doubt`.
    pub fn signing_keys(
        &self,
        faults: &mut Vec<TableFault>,
        doubt: &mut dyn FnMut(&'static str, String),
    ) -> Vec<SigningKey> {
        let mut keys = Vec::new();
        if self.secrets.len() > MOST_SECRETS {
            faults.push(TableFault::new(
                &["secrets"],
                format!("holds more than {MOST_SECRETS}; leave out the oldest"),
            ));
        }
        for (position, secret) in self.secrets.iter().take(MOST_SECRETS).enumerate() {
            match SigningKey::new(secret) {
                Ok(key) => keys.push(key),
                Err(what) => faults.push(TableFault::new(&["secrets", &position.to_string()], what)),
            }
        }
        if keys.iter().any(|key| !key.is_usual) {
            doubt(
                "secrets",
                "holds one that is shorter or longer than the 24 to 64 bytes of Standard Webhooks; check it"
                    .to_owned(),
            );
        }
        keys
    }

    /// The template, if there is one; adds its error to `faults`.
    pub fn made_template(&self, faults: &mut Vec<TableFault>) -> Option<Template> {
        let (key, made) = match (&self.template, &self.template_file) {
            (Some(_), Some(_)) => {
                ("template_file", Err("conflicts with `template`; keep one of the two".to_owned()))
            }
            (Some(source), None) => ("template", Template::new(source.expose())),
            (None, Some(file)) if file.as_os_str().is_empty() => {
                ("template_file", Err(EMPTY_PATH.to_owned()))
            }
            (None, Some(file)) => ("template_file", Template::read(file)),
            (None, None) => return None,
        };
        made.map_err(|what| faults.push(TableFault::new(&[key], what))).ok()
    }

    /// All secrets that are written here.
    pub fn written_secrets(&self) -> impl Iterator<Item = String> {
        let url = self.url.iter().filter_map(|url| Url::parse(url.expose()).ok());
        let headers = self.headers.values().flat_map(|value| hidden::of_header(value.expose()));
        let signing = self.secrets.iter().flat_map(|secret| [signature::encoded(secret), secret.expose()]);
        let template = self.template.iter().map(Secret::expose);
        let whole = headers.chain(signing.chain(template).map(str::to_owned));
        let of_url = url.flat_map(|url| hidden::of_url(&url).collect::<Vec<_>>());
        whole.chain(of_url).chain(self.proxy.iter().flat_map(hidden::of_proxy))
    }

    /// The files that are read again when they change.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let Tls { ca_file, cert_file, key_file } = &self.tls;
        let files = [&self.url_file, &self.template_file, ca_file, cert_file, key_file];
        files.into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Secrets are never printed; a settable key has its form.
fn no_list<S: Serializer>(_: &[Secret], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq([(); 0])
}

fn no_table<S: Serializer>(_: &BTreeMap<String, Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([((), ()); 0])
}

/// The error of an empty path.
pub const EMPTY_PATH: &str = "is empty; write the file's path";
