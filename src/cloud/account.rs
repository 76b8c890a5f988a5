//! The section `[accounts.*]`, as written and as used.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::credentials::{CredentialFile, CredentialSource, Credentials};
use super::operations::{Api, Operation};
use super::sign::SignatureMethod;
use crate::net::ca_file;
use crate::net::proxy::{self, Refused, Variables};
use crate::secret::{Secret, hidden};
use crate::units::Rate;

/// `[accounts.NAME]` as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The region of tasks without a region, as in the API: `ap-beijing`, `bj`.
    pub region: Option<String>,
    /// The SecretId. Default: the SDK's environment variable `TENCENTCLOUD_SECRET_ID`.
    pub secret_id: Option<String>,
    /// The SecretKey itself; a file is safer.
    #[serde(skip_serializing)]
    pub secret_key: Option<Secret>,
    /// A file that holds the SecretKey. A name without a slash is looked up in `$CREDENTIALS_DIRECTORY`
    /// first.
    pub secret_key_file: Option<PathBuf>,
    /// The source of SecretId and SecretKey: `auto`, or one of `config`, `env`, `file`, `tccli`. Default
    /// auto.
    pub credentials: CredentialSource,
    /// The API version of the operation `bm`: `2.0` or `3.0`. Default 2.0.
    pub api: Api,
    /// The address of all operations of the account; a path counts for API 2.0 only. Default: the host of
    /// each operation. Plain http only to a loopback address.
    pub endpoint: Option<String>,
    /// The host that is signed and sent as `Host`. Default: the endpoint's host.
    pub signed_host: Option<String>,
    /// `HmacSHA1` or `HmacSHA256`; API 2.0 only. Default HmacSHA1.
    pub signature_method: SignatureMethod,
    /// `GET` or `POST`; API 2.0 only. Default GET.
    pub method: Method,
    /// The rate limit of each pace key. Default: 95 % of the documented limit of the operation.
    pub rate_limit: Option<Rate>,
    /// The largest number of requests in flight, 1 to 10000. Default 32.
    pub max_in_flight: u32,
    /// The proxy of all requests, http or https; it may hold a password. Default: the proxy of the
    /// environment.
    #[serde(skip_serializing)]
    pub proxy: Option<Secret>,
    /// A file of certificates (PEM) that are trusted in addition to the system's, for servers and proxies.
    pub ca_file: Option<PathBuf>,
}

/// A validated account with its credentials.
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
    /// Their file, if they came from one: it is read again when it changes.
    pub credentials_file: Option<CredentialFile>,
    /// Sent along with temporary credentials.
    pub token: Option<Secret>,
    /// The API version of the operation `bm`.
    pub api: Api,
    /// The address: http or https, without user or query; plain http only to a loopback address. `None`: the
    /// host of each operation.
    pub endpoint: Option<reqwest::Url>,
    /// The host that is signed and sent as `Host`. `None`: the endpoint's host.
    pub signed_host: Option<String>,
    /// The hash of its signatures.
    pub signature_method: SignatureMethod,
    /// The HTTP method of its requests.
    pub method: Method,
    /// The rate limit of each pace key. `None`: 95 % of the documented limit of the operation.
    pub rate_limit: Option<Rate>,
    /// The largest number of requests in flight, 1 to 10000.
    pub max_in_flight: u32,
    /// The proxy of all requests: an http or https URL, possibly with a password. `None`: the proxy of the
    /// environment.
    pub proxy: Option<Secret>,
    /// Certificates in addition to the system's.
    pub ca: Vec<CertificateDer<'static>>,
    /// Their file: it is read again when it changes.
    pub ca_file: Option<PathBuf>,
}

/// The files of an account that are read again when they change.
#[derive(Clone, Debug)]
pub struct AccountFiles {
    credentials: Option<CredentialFile>,
    /// The SecretId of the configuration, beside a file with the SecretKey alone.
    secret_id: String,
    ca_file: Option<PathBuf>,
}

/// The contents of these files.
pub struct AccountContents {
    /// `None`: they are not from a file.
    credentials: Option<Credentials>,
    ca: Vec<CertificateDer<'static>>,
    /// Right but doubtful properties of the files.
    pub doubts: Vec<String>,
}

impl AccountFiles {
    /// Their paths.
    pub fn paths(&self) -> Vec<PathBuf> {
        let credentials = self.credentials.as_ref().map(|file| &file.path);
        credentials.into_iter().chain(&self.ca_file).cloned().collect()
    }

    /// Reads all of them, which may block: no loop calls this.
    ///
    /// # Errors
    /// When one cannot be used: its name, and what to do.
    pub fn read(&self) -> Result<AccountContents, String> {
        let mut doubts = Vec::new();
        let read = |file: &CredentialFile| file.read(&self.secret_id, &mut |doubt| doubts.push(doubt));
        let credentials = self.credentials.as_ref().map(read).transpose()?;
        let ca = self.ca_file.as_deref().map(ca_file::read).transpose()?.unwrap_or_default();
        Ok(AccountContents { credentials, ca, doubts })
    }
}

impl Account {
    /// An account with nothing but its credentials.
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
            credentials_file: None,
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
            ca_file: None,
        }
    }

    /// The files that are read again when they change.
    pub fn files(&self) -> AccountFiles {
        AccountFiles {
            credentials: self.credentials_file.clone(),
            secret_id: self.secret_id.clone(),
            ca_file: self.ca_file.clone(),
        }
    }

    /// The same account with the contents of its files.
    pub fn with(&self, contents: &AccountContents) -> Self {
        let mut account = Self { ca: contents.ca.clone(), ..self.clone() };
        if let Some(Credentials { secret_id, secret_key, token }) = contents.credentials.clone() {
            account.secret_id = secret_id;
            account.secret_key = secret_key;
            account.token = token;
        }
        account
    }

    /// Checks that no variable of the environment sends requests of an operation to an unusable proxy.
    ///
    /// # Errors
    /// When it does: which variable, and what to do.
    pub fn check_proxy(&self, operation: &Operation) -> Result<(), Refused> {
        let own = || format!("https://{}", operation.host).parse().ok();
        // A host that makes no URL is reported elsewhere.
        let Some(server) = self.endpoint.clone().or_else(own) else { return Ok(()) };
        proxy::before(&server, self.proxy.as_ref(), &Variables::of_process()).map(drop)
    }

    /// Its secrets, including those of all proxies that its requests may pass.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        let own = [Some(&self.secret_key), self.token.as_ref()].into_iter().flatten();
        let of_proxies = self.proxy.iter().flat_map(hidden::of_proxy).chain(Variables::of_process().logins());
        own.map(|secret| secret.expose().to_owned()).chain(of_proxies)
    }

    /// The identity in the rate limit: the SecretId, or the account's name where SecretIds are temporary.
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
            credentials: CredentialSource::default(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::credentials::FileFormat;

    #[test]
    fn files_of_an_account_are_read_again_together_and_a_broken_one_leaves_all_as_they_were() {
        const CERTIFICATE: &str = include_str!("../../tests/support/ca.pem");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("key"), "one").unwrap();
        std::fs::write(path("ca.pem"), CERTIFICATE).unwrap();
        let mut account = Account::new("default", "AKID", Secret::new("zero"));
        assert!(account.files().paths().is_empty(), "nothing to read again");
        account.credentials_file = Some(CredentialFile { path: path("key"), form: FileFormat::Key });
        account.ca_file = Some(path("ca.pem"));
        let files = account.files();
        assert_eq!(files.paths(), [path("key"), path("ca.pem")]);

        let first = account.with(&files.read().unwrap());
        assert_eq!(
            (first.secret_id.as_str(), &first.secret_key, first.ca.len()),
            ("AKID", &Secret::new("one"), 1)
        );
        assert_eq!(first.with(&files.read().unwrap()), first, "unchanged files change nothing");
        std::fs::write(path("key"), "two").unwrap();
        assert_eq!(first.with(&files.read().unwrap()).secret_key, Secret::new("two"));
        for broken in ["key", "ca.pem"] {
            let before = std::fs::read(path(broken)).unwrap();
            std::fs::write(path(broken), "").unwrap();
            let reported = files.read().map(drop).unwrap_err();
            assert!(reported.contains(broken) && reported.contains("; write"), "{reported}");
            std::fs::write(path(broken), before).unwrap();
        }
    }
}
