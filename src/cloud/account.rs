//! The section `[accounts.*]`, as written and as used.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::credentials::{CredentialFile, Credentials, Source};
use super::operations::Api;
use super::sign::SignatureMethod;
use crate::secret::Secret;
use crate::units::Rate;

/// `[accounts.NAME]` as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The region of tasks that name none, as the API writes it: `ap-beijing`, `bj`.
    pub region: Option<String>,
    /// The key's id. Default: the SDK's environment variable `TENCENTCLOUD_SECRET_ID`.
    pub secret_id: Option<String>,
    /// The secret key itself; better in a file.
    #[serde(skip_serializing)]
    pub secret_key: Option<Secret>,
    /// A file that holds the secret key; a bare name is looked for in `$CREDENTIALS_DIRECTORY` first.
    pub secret_key_file: Option<PathBuf>,
    /// Where id and key are looked for: `auto`, or `config`, `env`, `file`, `tccli` for just that place.
    /// Default auto.
    pub credentials: Source,
    /// `2.0` or `3.0`: over which API the operation `bm` is asked for. Default 2.0.
    pub api: Api,
    /// Where to connect, for all operations of the account; a path counts for API 2.0 alone. Default: each
    /// operation's own host. Plain http only to a loopback address.
    pub endpoint: Option<String>,
    /// Signed, and sent as `Host`. Default: the endpoint's host.
    pub signed_host: Option<String>,
    /// `HmacSHA1` or `HmacSHA256`; API 2.0 alone. Default HmacSHA1.
    pub signature_method: SignatureMethod,
    /// `GET` or `POST`; API 2.0 alone. Default GET.
    pub method: Method,
    /// Polls a second for each pace key. Default: 95 % of what the operation's row documents.
    pub rate_limit: Option<Rate>,
    /// Requests under way at once, 1 to 10000. Default 32.
    pub max_in_flight: u32,
    /// The proxy that all requests go through, http or https; it may hold a password. Default: the usual
    /// environment variables.
    #[serde(skip_serializing)]
    pub proxy: Option<Secret>,
    /// A file of certificates (PEM) that servers and proxies may show, in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// An account as it is used: checked, with its credentials, and with nothing left to look up.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its name in the configuration.
    pub name: String,
    /// The region of tasks that name none.
    pub region: Option<String>,
    /// The key's id.
    pub secret_id: String,
    /// The secret key.
    pub secret_key: Secret,
    /// Where they came from, if from a file: they are read again when that changes.
    pub kept_in: Option<CredentialFile>,
    /// Sent along with temporary credentials.
    pub token: Option<Secret>,
    /// Over which API the operation `bm` is asked for.
    pub api: Api,
    /// Where to connect: http or https, without user or query; plain http only to a loopback address. `None`:
    /// each operation's own host.
    pub endpoint: Option<reqwest::Url>,
    /// Signed, and sent as `Host`. `None`: the endpoint's host.
    pub signed_host: Option<String>,
    /// The hash of its signatures.
    pub signature_method: SignatureMethod,
    /// The HTTP method of its requests.
    pub method: Method,
    /// Polls a second for each pace key. `None`: 95 % of what the operation's row documents.
    pub rate_limit: Option<Rate>,
    /// Requests under way at once, 1 to 10000.
    pub max_in_flight: u32,
    /// The proxy that all requests go through: an http or https URL, perhaps with a password. `None`: as the
    /// environment says.
    pub proxy: Option<Secret>,
    /// Certificates in addition to the system's.
    pub ca: Vec<CertificateDer<'static>>,
}

impl Account {
    /// An account of which nothing is written but its credentials.
    pub fn new(name: &str, secret_id: &str, secret_key: Secret) -> Self {
        let Config {
            region,
            api,
            endpoint: _,
            signed_host,
            signature_method,
            method,
            rate_limit,
            max_in_flight,
            ..
        } = Config::default();
        Self {
            name: name.to_owned(),
            region,
            secret_id: secret_id.to_owned(),
            secret_key,
            kept_in: None,
            token: None,
            api,
            endpoint: None,
            signed_host,
            signature_method,
            method,
            rate_limit,
            max_in_flight,
            proxy: None,
            ca: Vec::new(),
        }
    }

    /// Whether these are the credentials in use.
    pub fn signs_with(&self, credentials: &Credentials) -> bool {
        let Credentials { secret_id, secret_key, token } = credentials;
        (&self.secret_id, &self.secret_key, &self.token) == (secret_id, secret_key, token)
    }

    /// Uses these from now on.
    pub fn sign_with(&mut self, credentials: Credentials) {
        let Credentials { secret_id, secret_key, token } = credentials;
        self.secret_id = secret_id;
        self.secret_key = secret_key;
        self.token = token;
    }

    /// What its calls are counted under: the ids of temporary keys come and go, and the account stays.
    pub fn counted_as(&self) -> &str {
        if self.token.is_some() { &self.name } else { &self.secret_id }
    }
}

/// The HTTP method of an API 2.0 request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Parameters in the query.
    #[default]
    Get,
    /// Parameters in the body.
    Post,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: None,
            secret_id: None,
            secret_key: None,
            secret_key_file: None,
            credentials: Source::default(),
            api: Api::default(),
            endpoint: None,
            signed_host: None,
            signature_method: SignatureMethod::default(),
            method: Method::default(),
            rate_limit: None,
            max_in_flight: 32,
            proxy: None,
            ca_file: None,
        }
    }
}
