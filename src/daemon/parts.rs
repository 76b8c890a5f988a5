//! The parts that a loaded configuration describes: the catalogue, the filters, the sinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Error;
use crate::clock::Clock;
use crate::cloud::{self, Cloud, connection};
use crate::config::Loaded;
use crate::files;
use crate::model::delivery::Sending;
use crate::model::policy::Policy;
use crate::model::route::{EventGroup, LOG, Routes, SinkRoute};
use crate::register::catalogue::Catalogue;
use crate::sinks::LineStyle;
use crate::sinks::{self, Sink};
use crate::units::Span;

/// The names that a task of this configuration may use.
pub fn catalogue(loaded: &Loaded) -> Catalogue {
    let accounts = loaded.accounts.iter().map(|(name, account)| (name.clone(), account.region.clone()));
    Catalogue::new(accounts, loaded.operations.clone(), loaded.sinks.keys().cloned())
        .polled_by(Some(loaded.poll))
}

/// The accounts and operations of this configuration, over real connections.
///
/// # Errors
/// If an account cannot be used.
pub fn cloud(loaded: &Loaded) -> Result<Cloud, cloud::Error> {
    let Loaded { accounts, operations, poll, .. } = loaded;
    Cloud::new(accounts.clone(), operations.clone(), poll.request_timeout.0, connection::pools)
}

/// The sinks by name, with the settings of their lanes.
pub type Built = BTreeMap<String, (Arc<dyn Sink>, Sending)>;

/// The filters of the configured sinks.
pub fn routes(loaded: &Loaded) -> Routes {
    let usual = |name: &str| if name == LOG { EventGroup::ALL.to_vec() } else { EventGroup::USUAL.to_vec() };
    let route = |(name, config): (&String, &sinks::Config)| SinkRoute {
        sink: name.clone(),
        events: config.common.events.clone().unwrap_or_else(|| usual(name)),
        outcomes: config.common.outcomes.clone(),
        labels: config.common.labels.clone(),
    };
    Routes(loaded.sinks.iter().map(route).collect())
}

/// Builds the configured sinks where their files are read off the loop.
///
/// # Errors
/// All sinks that cannot be built; or when no thread can be started.
pub async fn build_sinks_off_loop(loaded: &Loaded, style: &LineStyle, clock: Clock) -> Result<Built, Error> {
    let sinks = loaded.sinks.clone();
    let policy = loaded.poll;
    let style = style.clone();
    files::off_loop(move || build_sinks(&sinks, &policy, &style, clock)).await.map_err(Error::Thread)?
}

/// Builds sinks, which reads their files.
///
/// # Errors
/// All sinks that cannot be built.
pub fn build_sinks(
    sinks: &BTreeMap<String, sinks::Config>,
    policy: &Policy,
    style: &LineStyle,
    clock: Clock,
) -> Result<Built, Error> {
    let mut problems = Vec::new();
    let mut built = BTreeMap::new();
    for (name, config) in sinks {
        match sinks::build(config, name, style, clock) {
            Ok(sink) => {
                let sending = sending(&config.common, sink.as_ref(), policy);
                built.insert(name.clone(), (Arc::from(sink), sending));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(built) } else { Err(Error::Configuration(problems)) }
}

/// The delivery settings of a sink.
pub fn sending(common: &sinks::Common, sink: &dyn Sink, policy: &Policy) -> Sending {
    Sending {
        batch: sink.batch(),
        gather: common.batch.map(|Span(gather)| gather),
        max_in_flight: common.max_in_flight.min(sink.max_in_flight()),
        rate: common.rate,
        retry: common.retry,
        held: policy.error_waits(),
    }
}
