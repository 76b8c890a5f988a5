//! ASKS: one call is one signed request; every retry is an effect of the model.
//!
//! The only folder that interprets a code or a status.

pub mod account;
pub mod answer;
mod client;
pub mod codes;
pub mod credentials;
mod form_2_0;
mod form_3_0;
pub mod operations;
mod route;
pub mod sign;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;

pub use route::Route;

use crate::clock::Wall;
use crate::model::task::{PaceKey, Target};
use crate::secret::Secret;
use account::Account;
use operations::Api;
use route::Form;

/// The accounts of one configuration, each with its pool of connections.
pub struct Cloud {
    accounts: HashMap<String, Arc<Asked>>,
}

/// An account, and how its requests are sent.
struct Asked {
    account: Account,
    client: Client,
    unpooled: Client,
}

/// A request that is ready to leave.
struct Sent {
    request: reqwest::Request,
    /// What an answer may echo of it, and nobody else may see.
    signature: Secret,
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
    /// Builds the pools. Nothing is connected yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(accounts: BTreeMap<String, Account>, request_timeout: Duration) -> Result<Self, Error> {
        let with_pool = |(name, account): (String, Account)| {
            let client = |pooled| {
                let connections = if pooled { account.max_in_flight as usize } else { 0 };
                client::client(&account, connections, request_timeout)
                    .map_err(|source| Error::Client { account: name.clone(), source })
            };
            let (client, unpooled) = (client(true)?, client(false)?);
            Ok((name, Arc::new(Asked { account, client, unpooled })))
        };
        Ok(Self { accounts: accounts.into_iter().map(with_pool).collect::<Result<_, _>>()? })
    }

    /// How a target is asked.
    ///
    /// # Errors
    /// When its account or operation is not there any more, or its host makes no URL.
    pub fn route(&self, target: &Target) -> Result<Route, Error> {
        let asked =
            self.accounts.get(&target.account).ok_or_else(|| Error::NoAccount(target.account.clone()))?;
        let Asked { account, client, unpooled } = &**asked;
        let operation = operations::meant(&target.operation, account.api)
            .ok_or_else(|| Error::NoOperation(target.operation.clone()))?;
        let (form, host, region) = match operation.api {
            Api::V2 => {
                let form = form_2_0::Form::new(account, operation, &target.region)?;
                let host = form.host.clone();
                let region = form.region.clone();
                (Form::V2(form), host, region)
            }
            Api::V3 => {
                let form = form_3_0::Form::new(account, operation, &target.region)?;
                let host = form.host.clone();
                let region = form.region.clone();
                (Form::V3(form), host, region)
            }
        };
        Ok(Route {
            client: client.clone(),
            unpooled: unpooled.clone(),
            form,
            token: account.token.clone(),
            operation,
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
    /// The same accounts, with credentials of one read again from their file. `None`: they are not from a file, or did not
    /// change.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no credentials.
    pub fn with_credentials_read_again(&self, name: &str) -> Option<Result<Self, String>> {
        let asked = self.accounts.get(name)?;
        let account = &asked.account;
        let mut doubts = Vec::new();
        match account.kept_in.as_ref()?.read(&account.secret_id, &mut |doubt| doubts.push(doubt)) {
            Ok(read) if account.signs_with(&read) => None,
            Ok(read) => {
                doubts.iter().for_each(|doubt| {
                    tracing::warn!(doubt, "the key that was read again can be used, but look at this");
                });
                let mut account = account.clone();
                account.sign_with(read);
                let client = asked.client.clone();
                let unpooled = asked.unpooled.clone();
                let mut accounts = self.accounts.clone();
                accounts.insert(name.to_owned(), Arc::new(Asked { account, client, unpooled }));
                Some(Ok(Self { accounts }))
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
            .filter_map(|(name, asked)| Some((name.as_str(), asked.account.kept_in.as_ref()?.path.as_path())))
    }
}
