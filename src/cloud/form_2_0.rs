//! Requests of API 2.0 (api.md §1): every parameter is signed, and goes into the query of a GET or the form
//! of a POST.

use reqwest::header::{CONTENT_TYPE, HOST, HeaderValue};
use reqwest::{Body, Request, Url};

use super::account::{Account, Method, SignatureMethod};
use super::operations::Operation;
use super::sign::{self, Signer};
use super::{Error, Sent, Stamp};
use crate::model::task::TaskId;
use crate::secret::Secret;

/// Where API 2.0 answers.
const PATH: &str = "/v2/index.php";

/// Everything about the requests of one target but the task, the nonce and the time.
#[derive(Clone)]
pub(super) struct Form {
    method: Method,
    url: Url,
    /// Where it is not what the URL says.
    host_header: Option<HeaderValue>,
    signer: Signer,
    /// Sent with every request, in no order.
    common: Vec<(&'static str, String)>,
    token: Option<Secret>,
    /// The host that is signed, without a port.
    pub host: String,
    /// The region, as it is sent.
    pub region: String,
}

impl Form {
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
        let host_header = if host == dialled {
            None
        } else {
            Some(HeaderValue::from_str(&host).map_err(|_| Error::Host(host.clone()))?)
        };
        let mut common = vec![
            ("Action", operation.action.clone()),
            ("Region", region.to_owned()),
            ("SecretId", account.secret_id.clone()),
        ];
        match account.signature_method {
            // Absent means HMAC-SHA1 (api.md §1), and what is absent cannot be misread.
            SignatureMethod::Sha1 => {}
            SignatureMethod::Sha256 => common.push(("SignatureMethod", "HmacSHA256".to_owned())),
        }
        Ok(Self {
            method: account.method,
            signer: Signer::new(
                &account.secret_key,
                account.signature_method,
                account.method,
                &host,
                url.path(),
            ),
            url,
            host_header,
            common,
            token: account.token.clone(),
            host,
            region: region.to_owned(),
        })
    }

    /// The signed request for one task.
    pub fn request(
        &self,
        id_parameter: &str,
        id: &TaskId,
        params: &[(String, String)],
        stamp: Stamp,
    ) -> Sent {
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
        let sign::Signed { fields, signature } = self.signer.sign(&mut fields);
        Sent { request: self.with(fields), signature }
    }

    fn with(&self, fields: String) -> Request {
        let mut url = self.url.clone();
        let mut request = match self.method {
            Method::Get => {
                url.set_query(Some(&fields));
                Request::new(reqwest::Method::GET, url)
            }
            Method::Post => {
                let mut request = Request::new(reqwest::Method::POST, url);
                *request.body_mut() = Some(Body::from(fields));
                request
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                request
            }
        };
        if let Some(host) = &self.host_header {
            request.headers_mut().insert(HOST, host.clone());
        }
        request
    }
}
