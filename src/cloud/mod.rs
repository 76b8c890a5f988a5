//! POLLS: one call is one signed request; every retry is a decision of the model.
//!
//! The only folder that interprets a code or a status.

pub mod account;
pub mod response;
pub mod codes;
pub mod connection;
pub mod credentials;
mod form;
mod form_2_0;
mod form_3_0;
pub mod operations;
mod route;
pub mod sign;
mod wanted;
#[cfg(test)]
pub(crate) mod scripted;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use route::PollRoute;

use crate::clock::Wall;
use crate::model::reading::Response;
use crate::model::task::{PaceKey, Target, TaskId};
use crate::net::{self, proxy::Refused};
use crate::secret::hidden::Hidden;
use account::{Account, AccountContents, AccountFiles};
use connection::Connections;
use form::{Address, RequestForm};
use operations::Operations;

/// The accounts and operations of one configuration.
#[derive(Clone)]
pub struct Cloud {
    accounts: HashMap<String, Arc<Connected>>,
    operations: Operations,
    request_timeout: Duration,
    sharing: Option<Arc<dyn Sharing>>,
}

/// Another program with the same accounts. It is asked before each poll, so that both stay within one rate limit.
#[async_trait]
pub trait Sharing: Send + Sync {
    /// Waits for a slot of that pace key. `Some`: the other program knows the task, and no poll is needed.
    async fn slot(&self, pace_key: &PaceKey, target: &Target, id: &TaskId) -> Option<Response>;
}

/// An account with its connections.
struct Connected {
    account: Account,
    connections: Arc<dyn Connections>,
    hidden: Hidden,
}

/// The values that make a request unique: the server refuses a pair that it has seen
/// (docs/tencent-cloud-api.md §1).
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// In `1..2^63`; API 3.0 has none.
    pub nonce: u64,
    /// The time of the signature, by the estimated clock of the server.
    pub at: Wall,
}

/// An account or a target that cannot be polled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such account is configured.
    #[error("no account {0} is configured; add [accounts.{0}]")]
    NoAccount(String),
    /// No such operation exists.
    #[error("there is no operation {0}")]
    NoOperation(String),
    /// The HTTP client could not be built.
    #[error("cannot set up TLS for account {account} ({source})")]
    Client {
        /// The account.
        account: String,
        /// Why.
        source: net::Error,
    },
    /// A value of the account does not fit into a header.
    #[error("the {what} of account {account} holds characters that a request cannot have; replace it")]
    Header {
        /// The account.
        account: String,
        /// The part that does not fit.
        what: &'static str,
    },
    /// A variable of the environment sends its requests to an unusable proxy.
    #[error("requests of account {account} cannot be sent: {source}")]
    Proxy {
        /// The account's name.
        account: String,
        /// The variable, and what to do.
        source: Refused,
    },
    /// The operation's host makes no URL.
    #[error("{0} is not a valid host")]
    Host(String),
}

impl Cloud {
    /// Prepares all accounts. `connect` makes the connections of one; [`connection::pools`] except in tests.
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(
        accounts: BTreeMap<String, Account>,
        operations: Operations,
        request_timeout: Duration,
        connect: impl Fn(&Account) -> Result<Arc<dyn Connections>, Error>,
    ) -> Result<Self, Error> {
        let connected = |(name, account): (String, Account)| {
            let connections = connect(&account)?;
            let hidden = Hidden::new(account.secrets());
            Ok((name, Arc::new(Connected { account, connections, hidden })))
        };
        let accounts = accounts.into_iter().map(connected).collect::<Result<_, Error>>()?;
        Ok(Self { accounts, operations, request_timeout, sharing: None })
    }

    /// The same accounts, which share their rate limits with another program.
    pub fn shared(self, sharing: Option<Arc<dyn Sharing>>) -> Self {
        Self { sharing, ..self }
    }

    /// The target of that region and operation whose polls count with that SecretId at that host.
    pub fn target_of(&self, secret_id: &str, host: &str, region: &str, operation: &str) -> Option<Target> {
        let target = |account: &str| {
            let (region, operation) = (region.to_owned(), operation.to_owned());
            Target { account: account.to_owned(), region, operation }
        };
        let is_at_host = |target: &Target| self.route(target).is_ok_and(|route| route.pace_key.host == host);
        // A route prepares a signature, so it is made for these accounts alone.
        let accounts = self.accounts.iter().filter(|(_, of)| of.account.counted_as() == secret_id);
        accounts.map(|(name, _)| target(name)).find(is_at_host)
    }

    /// Everything about the polls of a target.
    ///
    /// # Errors
    /// If its account or operation is not configured any more, or its host makes no URL.
    pub fn route(&self, target: &Target) -> Result<PollRoute, Error> {
        let connected =
            self.accounts.get(&target.account).ok_or_else(|| Error::NoAccount(target.account.clone()))?;
        let Connected { account, connections, hidden } = &**connected;
        let operation = self
            .operations
            .resolve(&target.operation, account.api)
            .ok_or_else(|| Error::NoOperation(target.operation.clone()))?;
        account
            .check_proxy(operation)
            .map_err(|source| Error::Proxy { account: target.account.clone(), source })?;
        let form = RequestForm::new(account, operation, &target.region)?;
        let Address { host, region, .. } = form.address().clone();
        Ok(PollRoute {
            connections: Arc::clone(connections),
            request_timeout: self.request_timeout,
            form,
            hidden: hidden.clone(),
            sharing: self.sharing.clone().map(|sharing| (sharing, target.clone())),
            operation: Arc::clone(operation),
            pace_key: PaceKey {
                secret_id: account.counted_as().to_owned(),
                region,
                host,
                action: operation.action.clone(),
            },
            rate: account.rate_limit.unwrap_or_else(|| operation.usual_rate()),
            max_in_flight: account.max_in_flight,
        })
    }
}

impl Cloud {
    /// The same accounts, one of them with new contents of its files. `None`: the contents are in use
    /// already. `connect` is that of [`Self::new`].
    ///
    /// # Errors
    /// If TLS cannot be set up with them.
    pub fn with_contents(
        &self,
        name: &str,
        contents: &AccountContents,
        connect: impl FnOnce(&Account) -> Result<Arc<dyn Connections>, Error>,
    ) -> Result<Option<Self>, Error> {
        let Some(of) = self.accounts.get(name) else { return Ok(None) };
        let account = of.account.with(contents);
        if account == of.account {
            return Ok(None);
        }
        // Other credentials need no other connections.
        let has_same_ca = account.ca == of.account.ca;
        let connections = if has_same_ca { Arc::clone(&of.connections) } else { connect(&account)? };
        let mut accounts = self.accounts.clone();
        let hidden = Hidden::new(account.secrets());
        accounts.insert(name.to_owned(), Arc::new(Connected { account, connections, hidden }));
        let operations = self.operations.clone();
        let sharing = self.sharing.clone();
        Ok(Some(Self { accounts, operations, request_timeout: self.request_timeout, sharing }))
    }

    /// The names of all accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// Whether an account of that name is configured.
    pub fn has_account(&self, name: &str) -> bool {
        self.accounts.contains_key(name)
    }

    /// Whether an account is equal, with its credentials, in another snapshot.
    pub fn has_same_account(&self, other: &Self, name: &str) -> bool {
        match (self.accounts.get(name), other.accounts.get(name)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one.account == other.account,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The files of each account that are read again when they change.
    pub fn files(&self) -> impl Iterator<Item = (&str, AccountFiles)> {
        self.accounts.iter().map(|(name, of)| (name.as_str(), of.account.files()))
    }

    /// The files of one account.
    pub fn files_of(&self, name: &str) -> Option<AccountFiles> {
        Some(self.accounts.get(name)?.account.files())
    }
}
