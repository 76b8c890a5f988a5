//! The checks of a request, in the order of the cloud. Only a request with a valid signature uses up a nonce
//! and the rate.

use super::response::ErrorResponse;
use super::scenario::{Scenario, ServedAction};
use super::used::Used;
use super::{request, request_3_0};
use crate::clock::Moment;

/// The largest difference between a request's timestamp and the cloud's clock (docs/tencent-cloud-api.md §1
/// and §2).
const TIMESTAMP_WINDOW_S: u64 = 300;

/// A request of either API.
pub(super) enum Request {
    V2(request::Request2),
    V3(request_3_0::Request3),
}

/// The facts of a request; a missing one is empty.
pub(super) struct RequestFacts {
    /// In its canonical form.
    pub task: String,
    pub action: String,
    pub region: String,
    pub secret_id: String,
}

impl Request {
    pub(super) fn about(&self, scenario: &Scenario) -> RequestFacts {
        match self {
            Self::V2(request) => {
                let text = |name| request.get(name).unwrap_or_default().to_owned();
                let action = text("Action");
                let id = scenario.action_2_0(&action).map(|action| text(&action.id)).unwrap_or_default();
                RequestFacts {
                    task: super::scenario::canonical(&id),
                    action,
                    region: text("Region"),
                    secret_id: text("SecretId"),
                }
            }
            Self::V3(request) => {
                let text = |name| request.header(name).unwrap_or_default().to_owned();
                let action = text("x-tc-action");
                let served = scenario.action_3_0(&action);
                RequestFacts {
                    task: served.map(|(action, ..)| request.id(&action.id)).unwrap_or_default(),
                    action,
                    region: text("x-tc-region"),
                    secret_id: request
                        .authorization()
                        .map(|authorization| authorization.secret_id.to_owned())
                        .unwrap_or_default(),
                }
            }
        }
    }
}

/// The first error of a request, as a code of its API.
pub(super) fn check(
    request: &Request,
    scenario: &Scenario,
    used: &mut Used,
    now: Moment,
) -> Result<(), ErrorResponse> {
    match request {
        Request::V2(request) => check_2_0(request, scenario, used, now),
        Request::V3(request) => check_3_0(request, scenario, used, now),
    }
}

fn check_2_0(
    request: &request::Request2,
    scenario: &Scenario,
    used: &mut Used,
    now: Moment,
) -> Result<(), ErrorResponse> {
    let needed =
        |name: &str| request.get(name).ok_or_else(|| ErrorResponse::new(4000, format!("{name}: missing")));
    let action = needed("Action")?;
    if needed("SecretId")? != scenario.secret_id {
        return Err(ErrorResponse::new(4104, "SecretId: there is no such key"));
    }
    if scenario.token.as_ref().is_some_and(|token| request.get("Token") != Some(token.expose())) {
        return Err(ErrorResponse::new(4105, "Token: missing or wrong"));
    }
    let number = |name| {
        number(needed(name)?)
            .ok_or_else(|| ErrorResponse::new(4000, format!("{name}: not a positive integer")))
    };
    let timestamp = number("Timestamp")?;
    let nonce = number("Nonce")?;
    let host = scenario.signed_host.as_deref().unwrap_or(request.host());
    if !request.is_signed_with(&scenario.secret_key, host) {
        let own_host = Some(request.host()).filter(|own| request.is_signed_with(&scenario.secret_key, own));
        return Err(ErrorResponse::new(4100, not_signed(host, own_host)));
    }
    if is_expired(timestamp, scenario, now) {
        return Err(ErrorResponse::new(4200, "the request has expired"));
    }
    if !used.nonces.take(timestamp, nonce) {
        return Err(ErrorResponse::new(4500, "Nonce and Timestamp were used before"));
    }
    let Some(served) = scenario.action_2_0(action) else {
        return Err(ErrorResponse::new(6100, format!("the action {action} is not served here")));
    };
    let region = needed("Region")?;
    check_region(region, scenario)?;
    if scenario.rate.is_some_and(|quota| !used.counts_within(quota, [action, region], now.steady)) {
        return Err(ErrorResponse::new(4400, "the quota of calls is used up"));
    }
    for param in &served.params {
        needed(param)?;
    }
    let id = &served.id;
    match request.get(id) {
        Some(text) if !served.is_int || text.parse::<u64>().is_ok() => Ok(()),
        Some(_) | None if served.is_int => {
            Err(ErrorResponse::new(10001, format!("InvalidParameter: {id} is not an integer")))
        }
        Some(_) | None => Err(ErrorResponse::new(10001, format!("InvalidParameter: {id} is missing"))),
    }
}

fn check_3_0(
    request: &request_3_0::Request3,
    scenario: &Scenario,
    used: &mut Used,
    now: Moment,
) -> Result<(), ErrorResponse> {
    let needed = |name| {
        request
            .header(name)
            .ok_or_else(|| ErrorResponse::new("MissingParameter", format!("the header {name} is missing")))
    };
    let action = needed("x-tc-action")?;
    let version = needed("x-tc-version")?;
    let region = needed("x-tc-region")?;
    let timestamp = needed("x-tc-timestamp")?;
    let content_type = needed("content-type")?;
    let host = needed("host")?;
    let authorization =
        request.authorization().filter(|signed| signed.covers("content-type") && signed.covers("host"));
    let authorization = authorization.ok_or_else(|| {
        ErrorResponse::new("AuthFailure.InvalidAuthorization", "Authorization: not as it is to be")
    })?;
    if authorization.secret_id != scenario.secret_id {
        return Err(ErrorResponse::new("AuthFailure.SecretIdNotFound", "there is no such key"));
    }
    if scenario.token.as_ref().is_some_and(|token| request.header("x-tc-token") != Some(token.expose())) {
        return Err(ErrorResponse::new("AuthFailure.TokenFailure", "X-TC-Token: missing or wrong"));
    }
    let timestamp = number(timestamp).ok_or_else(|| {
        ErrorResponse::new("InvalidParameterValue", "X-TC-Timestamp: not a positive integer")
    })?;
    let (host, own_host) = (scenario.signed_host.as_deref().unwrap_or(host), host);
    let seconds = i64::try_from(timestamp).unwrap_or(i64::MAX);
    let services: Vec<_> =
        scenario.actions.iter().filter_map(|action| Some(action.over_3_0.as_ref()?.0.as_str())).collect();
    let served = scenario.action_3_0(action);
    let is_served = match served {
        Some((_, service, _)) => authorization.service == service,
        None => services.contains(&authorization.service),
    };
    if !is_served {
        let what = format!(
            "signed for the service {}, not for {}",
            authorization.service,
            served.map_or(services.join(" or "), |(_, service, _)| service.to_owned())
        );
        return Err(ErrorResponse::new("AuthFailure.SignatureFailure", what));
    }
    let holds = |host| authorization.holds(request, &scenario.secret_key, host, seconds);
    if !holds(host) {
        return Err(ErrorResponse::new(
            "AuthFailure.SignatureFailure",
            not_signed(host, Some(own_host).filter(|own| holds(own))),
        ));
    }
    if is_expired(timestamp, scenario, now) {
        return Err(ErrorResponse::new("AuthFailure.SignatureExpire", "the request has expired"));
    }
    if content_type.split(';').next().is_none_or(|form| form.trim() != "application/json") {
        return Err(ErrorResponse::new("InvalidRequest", "Content-Type: not application/json"));
    }
    let Some((ServedAction { id, is_int, params, .. }, _, served_version)) = served else {
        return Err(ErrorResponse::new("InvalidAction", format!("the action {action} is not served here")));
    };
    if version != served_version {
        return Err(ErrorResponse::new(
            "NoSuchVersion",
            format!("the action {action} has the version {served_version}, not {version}"),
        ));
    }
    // Only the long names are known here (docs/tencent-cloud-api.md §2).
    if !region.contains('-') {
        return Err(ErrorResponse::new("UnsupportedRegion", format!("X-TC-Region: {region} is not served")));
    }
    check_region(region, scenario)?;
    if scenario.rate.is_some_and(|quota| !used.counts_within(quota, [action, region], now.steady)) {
        return Err(ErrorResponse::new("RequestLimitExceeded", "the quota of calls is used up"));
    }
    let parameters = request
        .parameters()
        .ok_or_else(|| ErrorResponse::new("InvalidRequest", "the body is not a JSON object"))?;
    if let Some(unknown) = parameters.keys().find(|name| *name != id && !params.contains(name)) {
        return Err(ErrorResponse::new(
            "UnknownParameter",
            format!("the parameter `{unknown}` is not recognized"),
        ));
    }
    let is_missing = |name: &&String| !parameters.contains_key(*name);
    if let Some(missing) = params.iter().chain([id]).find(is_missing) {
        return Err(ErrorResponse::new("MissingParameter", format!("{missing} is missing")));
    }
    match parameters.get(id) {
        Some(value) if *is_int && !value.is_u64() => {
            Err(ErrorResponse::new("InvalidParameter", format!("{id} is not an integer")))
        }
        Some(value) if !*is_int && !value.is_string() => {
            Err(ErrorResponse::new("InvalidParameter", format!("{id} is not text")))
        }
        Some(_) | None => Ok(()),
    }
}

/// The message for an invalid signature on that host; names the other host for which it is valid, if there is
/// one.
fn not_signed(host: &str, holds_for: Option<&str>) -> String {
    match holds_for {
        Some(own) => format!("signed for the host {own}, not for {host}"),
        None => format!("signed with another key, or not for the host {host}"),
    }
}

fn is_expired(timestamp: u64, scenario: &Scenario, now: Moment) -> bool {
    let cloud_time = scenario.cloud_time(now).0.div_euclid(1000);
    cloud_time.checked_sub_unsigned(timestamp).is_none_or(|age| age.unsigned_abs() > TIMESTAMP_WINDOW_S)
}

fn check_region(region: &str, scenario: &Scenario) -> Result<(), ErrorResponse> {
    match &scenario.regions {
        Some(regions) if !regions.iter().any(|served| served == region) => {
            Err(scenario.unknown_region.clone())
        }
        Some(_) | None => Ok(()),
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}
