//! Requests of API 2.0 (docs/tencent-cloud-api.md §1): every parameter is signed, and goes into the query of a GET or the form
//! of a POST.

use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};

use super::account::{Account, Method};
use super::connection::{self, SignedRequest};
use super::form::{Address, SignedPoll};
use super::operations::Operation;
use super::sign::{self, Signer};
use super::{Error, Stamp};
use crate::model::task::TaskId;
use crate::secret::Secret;

/// The path of API 2.0.
const PATH: &str = "/v2/index.php";

/// The common values of the requests of one target, without the task, the nonce and the time.
#[derive(Clone)]
pub(super) struct RequestForm2 {
    method: Method,
    headers: HeaderMap,
    signer: Signer,
    /// Sent with every request, in no order.
    common: Vec<(&'static str, String)>,
    token: Option<Secret>,
    /// Its host has no port.
    pub address: Address,
}

impl RequestForm2 {
    /// Prepares what can be prepared.
    ///
    /// # Errors
    /// When the operation's host makes no URL, or no header.
    pub fn new(account: &Account, operation: &Operation, region: &str) -> Result<Self, Error> {
        let url = match &account.endpoint {
            Some(endpoint) if endpoint.path() == "/" => {
                endpoint.join(PATH).map_err(|_| Error::Host(endpoint.to_string()))?
            }
            Some(endpoint) => endpoint.clone(),
            None => Url::parse(&format!("https://{}{PATH}", operation.host))
                .map_err(|_| Error::Host(operation.host.clone()))?,
        };
        let dialled = url.host_str().unwrap_or_default().to_owned();
        let host = account.signed_host.clone().unwrap_or_else(|| dialled.clone());
        // Without `signed_host`, the port is sent and not signed.
        let sent = match url.port() {
            Some(port) if host == dialled => format!("{host}:{port}"),
            Some(_) | None => host.clone(),
        };
        let mut headers = connection::headers();
        headers.insert(HOST, HeaderValue::from_str(&sent).map_err(|_| Error::Host(host.clone()))?);
        match account.method {
            Method::Get => {}
            Method::Post => {
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, form);
            }
        }
        let mut common = vec![
            ("Action", operation.action.clone()),
            ("Region", region.to_owned()),
            ("SecretId", account.secret_id.clone()),
        ];
        let hash = account.signature_method.parameter();
        common.extend(hash.map(|hash| ("SignatureMethod", hash.to_owned())));
        Ok(Self {
            method: account.method,
            headers,
            signer: Signer::new(
                &account.secret_key,
                account.signature_method,
                account.method,
                &host,
                url.path(),
            ),
            common,
            token: account.token.clone(),
            address: Address { url: Arc::new(url), host, region: region.to_owned() },
        })
    }

    /// The signed request for one task.
    pub fn request(
        &self,
        id_parameter: &str,
        id: &TaskId,
        params: &[(String, String)],
        stamp: Stamp,
    ) -> SignedPoll {
        let nonce = stamp.nonce.to_string();
        let seconds = (stamp.at.0 / 1000).to_string();
        let id = id.to_string();
        let mut fields = Vec::with_capacity(8 + params.len());
        fields.extend(self.common.iter().map(|(name, value)| (*name, value.as_str())));
        fields.extend([
            ("Nonce", nonce.as_str()),
            ("Timestamp", seconds.as_str()),
            (id_parameter, id.as_str()),
        ]);
        fields.extend(self.token.iter().map(|token| ("Token", token.expose())));
        fields.extend(params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let sign::SignedFields { fields, signature } = self.signer.sign(&mut fields);
        let (method, query, body) = match self.method {
            Method::Get => (reqwest::Method::GET, fields, String::new()),
            Method::Post => (reqwest::Method::POST, String::new(), fields),
        };
        let (url, headers) = (Arc::clone(&self.address.url), self.headers.clone());
        SignedPoll { request: SignedRequest { method, url, query, headers, body }, signature }
    }
}
