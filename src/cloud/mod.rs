//! ASKS: one call is one signed request; every retry is an effect of the model.
//!
//! The only folder that interprets a code or a status.

pub mod answer;
pub mod codes;
pub mod credentials;
pub mod operations;
pub mod secret_file;
pub mod sign;
pub mod skew;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Client, Request, Response, Url};

use crate::clock::Wall;
use crate::model::reading::{Class, Fault, Reading};
use crate::model::task::{Target, TaskId};
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
    accounts: HashMap<String, Asked>,
}

/// An account, and how its requests are sent.
struct Asked {
    account: Account,
    client: Client,
    unpooled: Client,
}

/// What came back from one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it means.
    pub poll: Result<Reading, Fault>,
    /// The server's time, where it told it.
    pub date: Option<Wall>,
}

/// How one target is asked: everything about a request but the task, the nonce and the time.
#[derive(Clone)]
pub struct Route {
    client: Client,
    /// The same without a pool: for what is to take a new connection.
    unpooled: Client,
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
            let client = |pooled| {
                let connections = if pooled { account.max_in_flight as usize } else { 0 };
                let plain = account.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
                client(connections, request_timeout, plain).map_err(|source| Error::Client { account: name.clone(), source })
            };
            let (client, unpooled) = (client(true)?, client(false)?);
            Ok((name, Asked { account, client, unpooled }))
        };
        Ok(Self { accounts: accounts.into_iter().map(with_pool).collect::<Result<_, _>>()? })
    }

    /// How a target is asked.
    ///
    /// # Errors
    /// When its account or operation is not there any more, or its host makes no URL.
    pub fn route(&self, target: &Target) -> Result<Route, Error> {
        let Asked { account, client, unpooled } =
            self.accounts.get(&target.account).ok_or_else(|| Error::NoAccount(target.account.clone()))?;
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
            unpooled: unpooled.clone(),
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

impl Cloud {
    /// Reads an account's key again, where it came from a file. `None`: it did not, or it is still the same.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no key; the one before stays in use.
    pub fn read_key_again(&mut self, account: &str) -> Option<Result<(), String>> {
        let account = &mut self.accounts.get_mut(account)?.account;
        let mut doubts = Vec::new();
        match secret_file::read(account.secret_key_file.as_ref()?, |doubt| doubts.push(doubt)) {
            Ok(key) if key == account.secret_key => None,
            Ok(key) => {
                doubts.iter().for_each(|doubt| tracing::warn!(doubt, "the key that was read again can be used, but look at this"));
                account.secret_key = key;
                Some(Ok(()))
            }
            Err(what) => Some(Err(what)),
        }
    }

    /// The files whose change may mend an account's credentials.
    pub fn key_files(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.accounts.iter().filter_map(|(name, asked)| Some((name.as_str(), asked.account.secret_key_file.as_deref()?)))
    }
}

impl Route {
    /// Asks once how that task stands. Everything that can go wrong is a fault.
    pub async fn ask(&self, id: &TaskId, params: &[(String, String)], stamp: Stamp, new_connection: bool) -> Answer {
        let signed = self.signed(id, params, stamp);
        let client = if new_connection { &self.unpooled } else { &self.client };
        let (mut date, mut retry_after) = (None, None);
        let answered = match client.execute(self.request(signed.fields)).await {
            Ok(response) => {
                let headers = response.headers();
                date = header(headers, &DATE).and_then(|text| httpdate::parse_http_date(text).ok());
                retry_after = header(headers, &RETRY_AFTER).and_then(|text| codes::retry_after(text, date.unwrap_or(stamp.at.into())));
                self.read(response, &signed.signature).await
            }
            Err(error) => Err(unanswered(error, true)),
        };
        Answer { poll: answered.map_err(|fault| Fault { retry_after, ..fault }), date: date.map(Wall::from) }
    }

    async fn read(&self, mut response: Response, signature: &Secret) -> Result<Reading, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(error, false))? {
            if body.len() + chunk.len() > BODY_BYTES {
                return Err(codes::unanswered(Class::Service, "too_large", "the answer is larger than 1 MiB".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        answer::read_2_0(self.operation, response.status().as_u16(), &self.redacted(body, signature))
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

    /// Servers echo what they were sent; a signature or a token must reach no log and no event that way. Taken out before the
    /// answer is read, in every form that it was sent in or that JSON gives it: codes and statuses are told too, and what is cut
    /// later could not be found any more.
    fn redacted(&self, body: Vec<u8>, signature: &Secret) -> Vec<u8> {
        // What is no UTF-8 is no JSON either, and then nothing of it is told.
        let Ok(text) = std::str::from_utf8(&body) else { return body };
        let secrets = [Some(signature), self.token.as_ref()].into_iter().flatten().map(Secret::expose);
        let forms = secrets.flat_map(|secret| {
            let encoded = sign::encoded(secret);
            [secret.to_owned(), secret.replace('/', "\\/"), encoded.to_lowercase(), encoded]
        });
        let found: Vec<_> = forms.filter(|form| text.contains(form.as_str())).collect();
        if found.is_empty() {
            return body;
        }
        found.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), "[secret]")).into_bytes()
    }
}

fn client(pooled_connections: usize, request_timeout: Duration, plain: bool) -> Result<Client, reqwest::Error> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // It fails only where a provider is there already, and any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = Client::builder();
    // A simulator on this machine needs no certificates, and a small machine may have none.
    let builder = if plain { builder.tls_certs_only([]) } else { builder };
    builder
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(pooled_connections)
        .timeout(request_timeout)
        .user_agent(concat!("opwatch/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A request that brought no answer: who was asked, and the innermost cause. The URL is left out: it carries the signature.
fn unanswered(error: reqwest::Error, before_any_byte: bool) -> Fault {
    let (class, what) = if error.is_timeout() {
        (Class::Service, "timeout")
    } else if error.is_connect() {
        (Class::Service, "connect")
    } else if before_any_byte && connection_died(&error) {
        (Class::Connection, "connection_lost")
    } else {
        (Class::Service, "transport")
    };
    let asked = error.url().and_then(|url| Some(format!("{}:{}: ", url.host_str()?, url.port_or_known_default()?)));
    let error = error.without_url();
    let cause = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
    let cause = cause.map(ToString::to_string).unwrap_or_default();
    codes::unanswered(class, what, answer::bounded(&(asked.unwrap_or_default() + &cause)))
}

/// Whether the connection was gone before the first byte of an answer: closed by a server that had no more use for it, as it
/// happens to connections that are used again.
fn connection_died(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let closed = cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_incomplete_message() || error.is_canceled());
        let reset = cause.downcast_ref::<std::io::Error>();
        if closed || reset.is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)) {
            return true;
        }
        source = cause.source();
    }
    false
}
