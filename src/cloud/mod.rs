//! POLLS: one call is one signed request; every retry is an effect of the model.
//!
//! The only folder that interprets a code or a status.

pub mod account;
pub mod answer;
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
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use route::Route;

use crate::clock::Wall;
use crate::model::task::{PaceKey, Target};
use account::Account;
use connection::Connections;
use form::{Address, Form};
use operations::Operations;

/// The accounts and operations of one configuration.
pub struct Cloud {
    accounts: HashMap<String, Arc<Connected>>,
    operations: Operations,
    request_timeout: Duration,
}

/// An account with its connections.
struct Connected {
    account: Account,
    connections: Arc<dyn Connections>,
}

/// What makes a request fresh: the server refuses a pair that it has seen (api.md §1).
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// In `1..2^63`; API 3.0 has none.
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
    #[error(
        "cannot set up TLS for account {account}; check the system's certificates (package ca-certificates)"
    )]
    Client {
        /// Whose.
        account: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Something of the account's fits into no header.
    #[error("the {what} of account {account} holds characters that no request can carry; write it anew")]
    Header {
        /// Whose.
        account: String,
        /// What.
        what: &'static str,
    },
    /// The operation's host makes no URL.
    #[error("{0} is not a host that can be connected to")]
    Host(String),
}

impl Cloud {
    /// Prepares all accounts. `connect` makes the connections of one; [`connection::pools`] unless a test plays
    /// the cloud. Nothing is connected yet.
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
            Ok((name, Arc::new(Connected { account, connections })))
        };
        let accounts = accounts.into_iter().map(connected).collect::<Result<_, Error>>()?;
        Ok(Self { accounts, operations, request_timeout })
    }

    /// Everything about the polls of a target.
    ///
    /// # Errors
    /// If its account or operation is not configured any more, or its host makes no URL.
    pub fn route(&self, target: &Target) -> Result<Route, Error> {
        let connected =
            self.accounts.get(&target.account).ok_or_else(|| Error::NoAccount(target.account.clone()))?;
        let Connected { account, connections } = &**connected;
        let operation = self
            .operations
            .meant(&target.operation, account.api)
            .ok_or_else(|| Error::NoOperation(target.operation.clone()))?;
        let form = Form::new(account, operation, &target.region)?;
        let Address { host, region, .. } = form.address().clone();
        Ok(Route {
            connections: Arc::clone(connections),
            request_timeout: self.request_timeout,
            form,
            token: account.token.clone(),
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
    /// The same accounts, with credentials of one read again from their file. `None`: they are not from a file,
    /// or did not change.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no credentials.
    pub fn with_credentials_read_again(&self, name: &str) -> Option<Result<Self, String>> {
        let Connected { account, connections } = &**self.accounts.get(name)?;
        let mut doubts = Vec::new();
        match account.kept_in.as_ref()?.read(&account.secret_id, &mut |doubt| doubts.push(doubt)) {
            Ok(read) if account.signs_with(&read) => None,
            Ok(read) => {
                doubts.iter().for_each(|doubt| {
                    tracing::warn!(doubt, "the key that was read again can be used, but look at this");
                });
                let mut account = account.clone();
                account.sign_with(read);
                let connections = Arc::clone(connections);
                let mut accounts = self.accounts.clone();
                accounts.insert(name.to_owned(), Arc::new(Connected { account, connections }));
                Some(Ok(Self {
                    accounts,
                    operations: self.operations.clone(),
                    request_timeout: self.request_timeout,
                }))
            }
            Err(what) => Some(Err(what)),
        }
    }

    /// Whether an account is the same, credentials included, in another snapshot.
    pub fn has_same_account(&self, other: &Self, name: &str) -> bool {
        match (self.accounts.get(name), other.accounts.get(name)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The files whose change may mend an account's credentials.
    pub fn key_files(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.accounts
            .iter()
            .filter_map(|(name, of)| Some((name.as_str(), of.account.kept_in.as_ref()?.path.as_path())))
    }
}
