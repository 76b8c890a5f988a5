//! Everything that can be wrong with a request itself, in the order in which the cloud looks at it. Only a request whose
//! signature holds uses up a nonce and the rate.

use super::answer::Refusal;
use super::state::State;
use super::{request, request_3_0};
use crate::clock::Moment;

/// What API 2.0 serves, and the parameter that holds the id.
const ACTION: (&str, &str) = ("DescriptionOperationResult", "taskId");
/// What API 3.0 serves: service, action, version, and the parameter that holds the id.
const ACTION_3_0: (&str, &str, &str, &str) = ("bm", "DescribeOperationResult", "2018-04-23", "TaskId");
/// How far a request's timestamp may be from the cloud's clock (api.md §1 and §2).
const TIMESTAMP_WINDOW_S: u64 = 300;

/// A request of either API.
pub(super) enum Request {
    V2(request::Request),
    V3(request_3_0::Request),
}

/// What a request says of itself; empty where it says nothing.
pub(super) struct About {
    /// In its canonical form.
    pub task: String,
    pub action: String,
    pub region: String,
    pub secret_id: String,
}

impl Request {
    pub(super) fn about(&self) -> About {
        match self {
            Self::V2(request) => {
                let text = |name| request.get(name).unwrap_or_default().to_owned();
                About {
                    task: super::scenario::canonical(&text(ACTION.1)),
                    action: text("Action"),
                    region: text("Region"),
                    secret_id: text("SecretId"),
                }
            }
            Self::V3(request) => {
                let text = |name| request.header(name).unwrap_or_default().to_owned();
                About {
                    task: request.id(ACTION_3_0.3),
                    action: text("x-tc-action"),
                    region: text("x-tc-region"),
                    secret_id: request.authorization().map(|authorization| authorization.secret_id.to_owned()).unwrap_or_default(),
                }
            }
        }
    }
}

impl State {
    /// What is wrong with a request, in the codes of its API.
    pub(super) fn check(&mut self, request: &Request, now: Moment) -> Result<(), Refusal> {
        match request {
            Request::V2(request) => self.check_2_0(request, now),
            Request::V3(request) => self.check_3_0(request, now),
        }
    }

    fn check_2_0(&mut self, request: &request::Request, now: Moment) -> Result<(), Refusal> {
        let scenario = &self.scenario;
        let needed = |name| request.get(name).ok_or_else(|| Refusal::new(4000, format!("{name}: missing")));
        let action = needed("Action")?;
        if needed("SecretId")? != scenario.secret_id {
            return Err(Refusal::new(4104, "SecretId: there is no such key"));
        }
        if scenario.token.as_ref().is_some_and(|token| request.get("Token") != Some(token.expose())) {
            return Err(Refusal::new(4105, "Token: missing or wrong"));
        }
        let number = |name| number(needed(name)?).ok_or_else(|| Refusal::new(4000, format!("{name}: not a positive integer")));
        let (timestamp, nonce) = (number("Timestamp")?, number("Nonce")?);
        let host = scenario.signed_host.as_deref().unwrap_or(request.host());
        if !request.is_signed_with(&scenario.secret_key, host) {
            return Err(Refusal::new(4100, format!("the signature does not hold for the host {host}")));
        }
        if self.is_expired(timestamp, now) {
            return Err(Refusal::new(4200, "the request has expired"));
        }
        if !self.nonces.take(timestamp, nonce) {
            return Err(Refusal::new(4500, "Nonce and Timestamp were used before"));
        }
        let (served, id) = ACTION;
        if action != served {
            return Err(Refusal::new(6100, format!("the action {action} is not served here")));
        }
        let region = needed("Region")?;
        self.check_region(region)?;
        if !self.counts_within_the_rate(action, region, now.steady) {
            return Err(Refusal::new(4400, "the quota of calls is used up"));
        }
        if request.get(id).is_none_or(|id| id.parse::<u64>().is_err()) {
            return Err(Refusal::new(10001, format!("InvalidParameter: {id} is not an integer")));
        }
        Ok(())
    }

    fn check_3_0(&mut self, request: &request_3_0::Request, now: Moment) -> Result<(), Refusal> {
        let scenario = &self.scenario;
        let needed = |name| request.header(name).ok_or_else(|| Refusal::new("MissingParameter", format!("the header {name} is missing")));
        let (action, version, region) = (needed("x-tc-action")?, needed("x-tc-version")?, needed("x-tc-region")?);
        let (timestamp, content_type, host) = (needed("x-tc-timestamp")?, needed("content-type")?, needed("host")?);
        let authorization = request.authorization().filter(|signed| signed.covers("content-type") && signed.covers("host"));
        let authorization =
            authorization.ok_or_else(|| Refusal::new("AuthFailure.InvalidAuthorization", "Authorization: not as it is to be"))?;
        if authorization.secret_id != scenario.secret_id {
            return Err(Refusal::new("AuthFailure.SecretIdNotFound", "there is no such key"));
        }
        if scenario.token.as_ref().is_some_and(|token| request.header("x-tc-token") != Some(token.expose())) {
            return Err(Refusal::new("AuthFailure.TokenFailure", "X-TC-Token: missing or wrong"));
        }
        let timestamp = number(timestamp).ok_or_else(|| Refusal::new("InvalidParameterValue", "X-TC-Timestamp: not a positive integer"))?;
        let host = scenario.signed_host.as_deref().unwrap_or(host);
        let (service, served, served_version, id) = ACTION_3_0;
        let seconds = i64::try_from(timestamp).unwrap_or(i64::MAX);
        if authorization.service != service || !authorization.holds(request, &scenario.secret_key, host, seconds) {
            return Err(Refusal::new(
                "AuthFailure.SignatureFailure",
                format!("the signature does not hold for {service} at the host {host}"),
            ));
        }
        if self.is_expired(timestamp, now) {
            return Err(Refusal::new("AuthFailure.SignatureExpire", "the request has expired"));
        }
        if content_type.split(';').next().is_none_or(|form| form.trim() != "application/json") {
            return Err(Refusal::new("InvalidRequest", "Content-Type: not application/json"));
        }
        if action != served {
            return Err(Refusal::new("InvalidAction", format!("the action {action} is not served here")));
        }
        if version != served_version {
            return Err(Refusal::new("NoSuchVersion", format!("the version {version} is not served here")));
        }
        // Here only the long names are known (api.md §2).
        if !region.contains('-') {
            return Err(Refusal::new("UnsupportedRegion", format!("X-TC-Region: {region} is not served")));
        }
        self.check_region(region)?;
        if !self.counts_within_the_rate(action, region, now.steady) {
            return Err(Refusal::new("RequestLimitExceeded", "the quota of calls is used up"));
        }
        let parameters = request.parameters().ok_or_else(|| Refusal::new("InvalidRequest", "the body is not a JSON object"))?;
        if let Some(unknown) = parameters.keys().find(|name| *name != id) {
            return Err(Refusal::new("UnknownParameter", format!("the parameter `{unknown}` is not recognized")));
        }
        match parameters.get(id).map(|id| id.as_u64()) {
            Some(Some(_)) => Ok(()),
            Some(None) => Err(Refusal::new("InvalidParameter", format!("{id} is not an integer"))),
            None => Err(Refusal::new("MissingParameter", format!("{id} is missing"))),
        }
    }

    fn is_expired(&self, timestamp: u64, now: Moment) -> bool {
        let cloud_time = self.cloud_time(now).0.div_euclid(1000);
        cloud_time.checked_sub_unsigned(timestamp).is_none_or(|age| age.unsigned_abs() > TIMESTAMP_WINDOW_S)
    }

    fn check_region(&self, region: &str) -> Result<(), Refusal> {
        let scenario = &self.scenario;
        match &scenario.regions {
            Some(regions) if !regions.iter().any(|served| served == region) => Err(scenario.unknown_region.clone()),
            Some(_) | None => Ok(()),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}
