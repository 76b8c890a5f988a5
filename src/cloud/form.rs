//! The form of the requests of one target: the list of APIs and their signatures.

use std::sync::Arc;

use reqwest::Url;

use super::account::Account;
use super::connection::SignedRequest;
use super::operations::{Api, Operation};
use super::{Error, Stamp, form_2_0, form_3_0};
use crate::model::task::TaskId;
use crate::secret::Secret;

/// The common values of the requests of one target, without the task, the nonce and the time.
#[derive(Clone)]
pub(super) enum RequestForm {
    V2(form_2_0::RequestForm2),
    V3(form_3_0::RequestForm3),
}

/// Address of the requests of one target.
#[derive(Clone)]
pub(super) struct Address {
    /// Without a query.
    pub url: Arc<Url>,
    /// Host, as it is signed.
    pub host: String,
    /// Region, as it is sent.
    pub region: String,
}

/// A request that is ready to be sent.
pub(super) struct SignedPoll {
    pub request: SignedRequest,
    /// The signature by itself, to hide it in texts of a server that echoes it.
    pub signature: Secret,
}

impl RequestForm {
    /// Prepares the common values of all requests.
    ///
    /// # Errors
    /// If the host of the operation makes no URL, or a value fits into no header.
    pub fn new(account: &Account, row: &Operation, region: &str) -> Result<Self, Error> {
        match row.api {
            Api::V2 => form_2_0::RequestForm2::new(account, row, region).map(Self::V2),
            Api::V3 => form_3_0::RequestForm3::new(account, row, region).map(Self::V3),
        }
    }

    pub fn address(&self) -> &Address {
        match self {
            Self::V2(form) => &form.address,
            Self::V3(form) => &form.address,
        }
    }

    /// The signed request for one task; `id_parameter` is the request parameter of its id.
    pub fn request(
        &self,
        id_parameter: &str,
        id: &TaskId,
        params: &[(String, String)],
        stamp: Stamp,
    ) -> SignedPoll {
        match self {
            Self::V2(form) => form.request(id_parameter, id, params, stamp),
            Self::V3(form) => form.request(id_parameter, id, params, stamp),
        }
    }
}
