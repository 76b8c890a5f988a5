//! Conditions of a section beyond the types of its keys. Each line is one condition; [`super::sections`]
//! finds the places.

use crate::model::policy::Policy;
use crate::model::route::EventGroup;
use crate::net::address::is_loopback;
use crate::sinks::Common;
use crate::units::{Limit, Span};
use crate::{api, cloud, heartbeat, store};

/// Something that must hold.
pub struct Check {
    /// The keys of the condition, dotted; the first one is where an error is reported.
    pub keys: &'static [&'static str],
    /// Whether it holds.
    pub holds: bool,
    /// The error and the fix.
    pub what: &'static str,
}

const fn check(keys: &'static [&'static str], holds: bool, what: &'static str) -> Check {
    Check { keys, holds, what }
}

const MORE_THAN_NOTHING: &str = "is zero; write more than 0s";
/// Sums of a multiplier and ages stay far from overflow; such a wait doubles thousands of times a second.
const LARGEST_MULTIPLIER: f64 = 1000.0;

/// `[poll]`.
pub fn poll(policy: &Policy) -> Vec<Check> {
    vec![
        check(&["initial_interval"], !policy.initial_interval.0.is_zero(), MORE_THAN_NOTHING),
        check(&["max_interval"], !policy.max_interval.0.is_zero(), MORE_THAN_NOTHING),
        check(&["error_interval"], !policy.error_interval.0.is_zero(), MORE_THAN_NOTHING),
        check(&["error_max_interval"], !policy.error_max_interval.0.is_zero(), MORE_THAN_NOTHING),
        check(&["request_timeout"], !policy.request_timeout.0.is_zero(), MORE_THAN_NOTHING),
        check(
            &["timeout"],
            positive(policy.timeout),
            "would end every task at once; write more than 0s, or \"never\"",
        ),
        check(
            &["multiplier"],
            (1.0..=LARGEST_MULTIPLIER).contains(&policy.multiplier),
            "write a number from 1 to 1000",
        ),
        check(
            &["jitter"],
            (0.0..=1.0).contains(&policy.jitter),
            "is a part of the interval; write a number from 0 to 1",
        ),
        check(
            &["initial_delay", "timeout"],
            !positive(policy.timeout)
                || policy.timeout.0.is_none_or(|timeout| policy.initial_delay.0 < timeout),
            "is not shorter than `timeout`, so no poll would precede the deadline; write less",
        ),
        check(
            &["initial_interval", "max_interval"],
            policy.initial_interval <= policy.max_interval,
            "is longer than `max_interval`; raise that one or lower this one",
        ),
        check(
            &["error_interval", "error_max_interval"],
            policy.error_interval <= policy.error_max_interval,
            "is longer than `error_max_interval`; raise that one or lower this one",
        ),
    ]
}

/// `[http]`.
pub fn http(config: &api::Config) -> Vec<Check> {
    vec![check(
        &["listen"],
        config.is_guarded(),
        "is reachable from other machines, so `token_file` is required; write it, or listen on 127.0.0.1",
    )]
}

/// `[heartbeat]`.
pub fn heartbeat(config: &heartbeat::Config) -> Vec<Check> {
    vec![
        check(
            &["url"],
            config.is_url_usable(),
            "write an https URL, or one with http and a loopback address",
        ),
        check(&["every"], config.every >= Span::seconds(1), "write at least 1s"),
    ]
}

/// `[store]`.
pub fn store(config: &store::Config) -> Vec<Check> {
    let flaw = config.url.as_deref().and_then(store::url_flaw);
    vec![
        check(
            &["retention"],
            positive(config.retention),
            "would delete every finished task at once; write more than 0s, or \"forever\"",
        ),
        check(&["url"], flaw.is_none(), flaw.unwrap_or_default()),
    ]
}

/// The conditions of every `[sinks.*]`.
pub fn sink(common: &Common) -> Vec<Check> {
    let Common { events, retry, max_in_flight, outcomes, .. } = common;
    vec![
        check(&["max_in_flight"], (1..=1_000).contains(max_in_flight), "write a whole number from 1 to 1000"),
        check(
            &["events"],
            events.as_ref().is_none_or(|events| !events.is_empty()),
            "is an empty list; write one, or leave it out",
        ),
        check(
            &["outcomes"],
            outcomes.as_ref().is_none_or(|outcomes| !outcomes.is_empty()),
            "is an empty list; write one, or leave it out",
        ),
        check(
            &["outcomes", "events"],
            outcomes.is_none() || events.as_ref().is_none_or(|events| events.contains(&EventGroup::Finished)),
            "filters finished events, which `events` does not include; leave it out, or add \"finished\" there",
        ),
        check(
            &["retry.give_up_after"],
            positive(retry.give_up_after),
            "would make every failed delivery a dead letter at once; write more than 0s, or \"never\"",
        ),
        check(&["retry.initial"], !retry.initial.0.is_zero(), MORE_THAN_NOTHING),
        check(&["retry.max"], !retry.max.0.is_zero(), MORE_THAN_NOTHING),
        check(
            &["retry.initial", "retry.max"],
            retry.initial <= retry.max,
            "is longer than `retry.max`; raise that one or lower this one",
        ),
    ]
}

/// `[accounts.*]`, apart from its credentials.
pub fn account(config: &cloud::account::Config) -> Vec<Check> {
    let graphic = |text: &Option<String>| {
        text.as_ref().is_none_or(|text| {
            !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic())
        })
    };
    let is_host = config.signed_host.as_ref().is_none_or(|host| !host.contains(['/', '?', '#', '@', ':']));
    vec![
        check(
            &["region"],
            graphic(&config.region),
            "write it as in the API, such as \"bj\" or \"ap-beijing\"",
        ),
        check(
            &["secret_id"],
            graphic(&config.secret_id),
            "is not a SecretId; write it without blanks, or leave it out",
        ),
        check(
            &["signed_host"],
            is_host && graphic(&config.signed_host),
            "is not a host; write a name without a port, such as \"bm.api.qcloud.com\"",
        ),
        check(
            &["max_in_flight"],
            (1..=10_000).contains(&config.max_in_flight),
            "write a whole number from 1 to 10000",
        ),
    ]
}

/// The address, or its error; the address is never repeated, since it may hold a password.
pub fn endpoint(written: &str) -> Result<reqwest::Url, &'static str> {
    const FORM: &str = "is not an address; write one such as \"https://bm.api.qcloud.com/v2/index.php\"";
    let url: reqwest::Url = written.parse().map_err(|_| FORM)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password; leave them out: requests are signed");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query; leave out everything from the `?` or `#` on");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(host) => Ok(url),
        "http" => {
            Err("is plain http to another machine; write https, or a loopback address such as 127.0.0.1")
        }
        _ => Err(FORM),
    }
}

fn positive(Limit(limit): Limit) -> bool {
    limit.is_none_or(|limit| !limit.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for right in [
            "http://127.0.0.1:9000/v2/index.php",
            "http://[::1]:1",
            "http://localhost",
            "https://bm.api.qcloud.com",
        ] {
            assert!(endpoint(right).is_ok(), "{right}");
        }
        for wrong in [
            "http://localhost.example.com",
            "http://10.0.0.1",
            "http://127.0.0.1@evil.example",
            "ftp://127.0.0.1",
            "bm.api.qcloud.com",
            "",
            "https://h/?a=1",
            "https://",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_default_holds() {
        let checks = [
            poll(&Policy::default()),
            store(&store::Config::default()),
            sink(&Common::default()),
            account(&cloud::account::Config::default()),
        ];
        assert!(checks.iter().flatten().all(|check| check.holds));
    }
}
