//! ASKS: one call is one signed request; every retry is an effect of the model.
//!
//! The only folder that interprets a code or a status.

pub mod answer;
pub mod codes;
pub mod credentials;
pub mod operations;
pub mod sign;

use std::collections::{BTreeMap, HashMap};
use std::sync::Once;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HOST, HeaderValue};
use reqwest::{Body, Client, Request, Url};

use crate::clock::Wall;
use crate::model::reading::{Fault, Reading};
use crate::model::task::{Target, TaskId};
use crate::problem::chain;
use crate::secret::Secret;
use crate::units::Rate;
use credentials::{Account, Method, SignatureMethod};
use operations::{BUILT_IN, Operation};
use sign::{Signed, Signer};

/// An answer of the documented form has some hundred bytes; what is larger is not read to its end.
const BODY_BYTES: usize = 1024 * 1024;
/// Servers and middleboxes drop idle connections after a minute or so (conventions.md §7).
const IDLE: Duration = Duration::from_secs(30);
/// The documented limit is counted at the arrival, which jitters: so much of it is used (design.md §4).
const SHARE_OF_DOCUMENTED_RATE: f64 = 0.95;
/// Where API 2.0 answers (api.md §1).
const PATH_2_0: &str = "/v2/index.php";

/// The accounts of one configuration, each with its pool of connections.
pub struct Cloud {
    accounts: HashMap<String, (Account, Client)>,
}

/// How one target is asked: everything about a request but the task, the nonce and the time.
pub struct Route {
    client: Client,
    method: Method,
    url: Url,
    host: Option<HeaderValue>,
    signer: Signer,
    /// Sent with every request, in no order.
    common: Vec<(&'static str, String)>,
    token: Option<Secret>,
    operation: &'static Operation,
    /// What the cloud's rate limit counts.
    pub pace_key: PaceKey,
    /// How fast that may be asked.
    pub rate: Rate,
    /// How many requests of the account may be under way at once.
    pub max_in_flight: u32,
}

/// What the cloud's rate limit counts (design.md §1); targets that resolve to the same one share its pace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PaceKey {
    /// The key's id.
    pub secret_id: String,
    /// The region as it is sent.
    pub region: String,
    /// The host that is signed.
    pub host: String,
    /// The API's action.
    pub action: String,
}

/// What makes a request fresh: the server refuses a pair that it has seen (api.md §1).
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// In `1..2^63`.
    pub nonce: u64,
    /// When it is signed, by the clock that the server is believed to have.
    pub at: Wall,
}

/// Why an account or a target cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such account is configured.
    #[error("no account {0} is configured; add [accounts.{0}]")]
    NoAccount(String),
    /// No such operation exists.
    #[error("there is no operation {0}")]
    NoOperation(String),
    /// The HTTP client could not be built.
    #[error("cannot set up TLS for account {account}; check the system's certificates (package ca-certificates)")]
    Client {
        /// Whose.
        account: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The operation's host makes no URL.
    #[error("{0} is not a host that can be connected to")]
    Host(String),
}

impl Cloud {
    /// Builds the pools. Nothing is connected yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(accounts: BTreeMap<String, Account>, request_timeout: Duration) -> Result<Self, Error> {
        let with_pool = |(name, account): (String, Account)| {
            let pool = pool(&account, request_timeout).map_err(|source| Error::Client { account: name.clone(), source })?;
            Ok((name, (account, pool)))
        };
        Ok(Self { accounts: accounts.into_iter().map(with_pool).collect::<Result<_, _>>()? })
    }

    /// How a target is asked.
    ///
    /// # Errors
    /// When its account or operation is not there any more, or its host makes no URL.
    pub fn route(&self, target: &Target) -> Result<Route, Error> {
        let (account, client) = self.accounts.get(&target.account).ok_or_else(|| Error::NoAccount(target.account.clone()))?;
        let operation = BUILT_IN.get(&target.operation).ok_or_else(|| Error::NoOperation(target.operation.clone()))?;
        let url = match &account.endpoint {
            Some(endpoint) if endpoint.path() == "/" => endpoint.join(PATH_2_0).map_err(|_| Error::Host(endpoint.to_string()))?,
            Some(endpoint) => endpoint.clone(),
            None => Url::parse(&format!("https://{}{PATH_2_0}", operation.host)).map_err(|_| Error::Host(operation.host.clone()))?,
        };
        let dialled = url.host_str().unwrap_or_default().to_owned();
        let host = account.signed_host.clone().unwrap_or_else(|| dialled.clone());
        let header = if host == dialled { None } else { Some(HeaderValue::from_str(&host).map_err(|_| Error::Host(host.clone()))?) };
        let mut common =
            vec![("Action", operation.action.clone()), ("Region", target.region.clone()), ("SecretId", account.secret_id.clone())];
        match account.signature_method {
            // Absent means HMAC-SHA1 (api.md §1), and what is absent cannot be misread.
            SignatureMethod::Sha1 => {}
            SignatureMethod::Sha256 => common.push(("SignatureMethod", "HmacSHA256".to_owned())),
        }
        Ok(Route {
            client: client.clone(),
            method: account.method,
            signer: Signer::new(&account.secret_key, account.signature_method, account.method, &host, url.path()),
            url,
            host: header,
            common,
            token: account.token.clone(),
            operation,
            pace_key: PaceKey {
                secret_id: account.secret_id.clone(),
                region: target.region.clone(),
                host,
                action: operation.action.clone(),
            },
            rate: account.rate_limit.unwrap_or_else(|| operation.rate.times(SHARE_OF_DOCUMENTED_RATE)),
            max_in_flight: account.max_in_flight,
        })
    }
}

impl Route {
    /// Asks once how that task stands. Everything that can go wrong is a fault.
    pub async fn ask(&self, id: &TaskId, params: &[(String, String)], stamp: Stamp) -> Result<Reading, Fault> {
        let signed = self.signed(id, params, stamp);
        let answer = async {
            let mut response = self.client.execute(self.request(signed.fields)).await?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > BODY_BYTES {
                    return Ok(None);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Some((response.status().as_u16(), body)))
        };
        let poll = match answer.await {
            Ok(Some((status, body))) => answer::read_2_0(self.operation, status, &body),
            Ok(None) => Err(codes::unanswered("too_large", "the answer is larger than 1 MiB".to_owned())),
            Err(error) => Err(unanswered(error)),
        };
        poll.map_err(|fault| self.redacted(fault, &signed.signature))
    }

    fn signed(&self, id: &TaskId, params: &[(String, String)], stamp: Stamp) -> Signed {
        let (nonce, seconds, id) = (stamp.nonce.to_string(), (stamp.at.0 / 1000).to_string(), id.to_string());
        let mut fields = Vec::with_capacity(8 + params.len());
        fields.extend(self.common.iter().map(|(name, value)| (*name, value.as_str())));
        fields.extend([("Nonce", nonce.as_str()), ("Timestamp", seconds.as_str()), (self.operation.id.name.as_str(), id.as_str())]);
        fields.extend(self.token.iter().map(|token| ("Token", token.expose())));
        fields.extend(params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.signer.sign(&mut fields)
    }

    fn request(&self, fields: String) -> Request {
        let mut url = self.url.clone();
        let mut request = match self.method {
            Method::Get => {
                url.set_query(Some(&fields));
                Request::new(reqwest::Method::GET, url)
            }
            Method::Post => {
                let mut request = Request::new(reqwest::Method::POST, url);
                *request.body_mut() = Some(Body::from(fields));
                request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                request
            }
        };
        if let Some(host) = &self.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        request
    }

    /// Servers echo what they were sent; a signature or a token must not reach a log that way.
    fn redacted(&self, mut fault: Fault, signature: &Secret) -> Fault {
        for secret in [Some(signature), self.token.as_ref()].into_iter().flatten() {
            if fault.message.contains(secret.expose()) {
                fault.message = fault.message.replace(secret.expose(), "[secret]");
            }
        }
        fault
    }
}

fn pool(account: &Account, request_timeout: Duration) -> Result<Client, reqwest::Error> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // It fails only where a provider is there already, and any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(account.max_in_flight as usize)
        .timeout(request_timeout)
        .user_agent(concat!("opwatch/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A request that brought no answer. The URL is left out: it carries the signature.
fn unanswered(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let what = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "transport"
    };
    codes::unanswered(what, answer::bounded(&chain(&error)))
}
