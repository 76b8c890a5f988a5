//! ONE ATTEMPT each: a file per type of sink, with its `Config` ([`TypedConfig`]) and its [`Sink`]; and the
//! registry of all types.
//!
//! A sink keeps a connection, but no events. The lane (`deliver/`) decides on order, retries and holds. A new
//! type is a file, its lines below (`mod` and `types!`), an example in `config/opwatch.toml` and a line in
//! `conformance/mod.rs`; tests check that none is missing.

pub mod channel;
pub mod exec;
pub mod file;
pub mod log;
mod sink;
pub mod template;
pub mod webhook;
#[cfg(test)]
mod conformance;
#[cfg(test)]
#[path = "../../tests/support/receiver.rs"]
pub(crate) mod receiver;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::sink::{Building, LineStyle, PathForm, PathKey, Sink, TypeConfig};
use crate::clock::Clock;
use crate::model::delivery::Retry;
use crate::model::reading::Outcome;
use crate::model::route::EventGroup;
use crate::problem::{Place, Problem};
use crate::secret::hidden::Hidden;
use crate::section::{self, ReadTable, TableFault, dotted};
use crate::units::{Rate, Span};

/// The keys of `[sinks.NAME]` that every type has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// The events that this sink gets. Default: finished and abandoned; `log`: all.
    pub events: Option<Vec<EventGroup>>,
    /// The outcomes of finished tasks that this sink gets. Default: all.
    pub outcomes: Option<Vec<Outcome>>,
    /// Only events of tasks with all of these labels. Default: events of all tasks.
    pub labels: BTreeMap<String, String>,
    /// The rate limit of attempts. Default: none.
    pub rate: Option<Rate>,
    /// The time for which events are gathered for one attempt. Default: not at all.
    pub batch: Option<Span>,
    /// The retries of a failed delivery.
    pub retry: Retry,
    /// The largest number of attempts in flight, 1 to 1000; `log` and files use 1. Default 8.
    pub max_in_flight: usize,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            events: None,
            outcomes: None,
            labels: BTreeMap::new(),
            rate: None,
            batch: None,
            retry: Retry::default(),
            max_in_flight: 8,
        }
    }
}

/// Makes [`TypedConfig`] and [`TYPES`] from one list, so that a type is complete or does not compile.
macro_rules! types {
    ($($name:literal => $variant:ident($config:ty),)*) => {
        /// The keys of `[sinks.NAME]` that only its `type` has.
        #[derive(Clone, Debug, PartialEq)]
        pub enum TypedConfig {
            $(#[doc = concat!("`type = \"", $name, "\"`.")] $variant(Box<$config>),)*
        }

        impl TypedConfig {
            /// The keys of any type.
            pub fn config(&self) -> &dyn TypeConfig {
                match self {
                    $(Self::$variant(config) => &**config,)*
                }
            }
        }

        /// Every type of sink.
        pub const TYPES: &[SinkType] = &[$(SinkType {
            name: $name,
            keys: <$config>::keys,
            paths: <$config>::paths,
            read: |table| section::take::<$config>(table).map(|config| TypedConfig::$variant(Box::new(config))),
        },)*];
    };
}

types! {
    "file" => File(file::Config),
    "webhook" => Webhook(webhook::Config),
    "exec" => Exec(exec::Config),
    // The type of `[sinks.log]` alone, which always exists.
    "log" => Log(log::Config),
}

/// A value of `type`.
#[derive(Debug)]
pub struct SinkType {
    /// As written in the configuration.
    pub name: &'static str,
    /// Its own keys with their defaults.
    pub keys: fn() -> Value,
    /// Its keys whose text is a path.
    pub paths: fn() -> &'static [PathKey],
    /// Reads its own keys from a table.
    pub read: fn(Value) -> ReadTable<TypedConfig>,
}

impl SinkType {
    /// The type of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|r#type| r#type.name == name)
    }
}

/// `[sinks.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The keys that every type has.
    pub common: Common,
    /// The keys that its type has.
    pub kind: TypedConfig,
    /// The secrets of the whole configuration, which no text from outside may repeat.
    pub hidden: Hidden,
}

impl Config {
    /// A configuration of these keys. `hidden` is empty until the whole configuration has been read.
    pub fn new(common: Common, kind: TypedConfig) -> Self {
        Self { common, kind, hidden: Hidden::default() }
    }
}

/// Builds the sink of that name; with the style of its lines.
///
/// # Errors
/// All errors, in one problem. The configuration was right when it was loaded, so something changed since.
pub fn build(config: &Config, name: &str, style: &LineStyle, clock: Clock) -> Result<Box<dyn Sink>, Problem> {
    let is_batched = config.common.batch.is_some();
    let built =
        config.kind.config().build(Building { name, is_batched, style, clock, hidden: &config.hidden });
    built.map_err(|faults| {
        let described = faults.into_iter().map(|TableFault { path, what }| match path[..] {
            [] => what,
            [..] => format!("`{}` {what}", dotted(&path)),
        });
        let place = Place { key: Some(format!("sinks.{name}")), ..Place::default() };
        Problem::new(place, described.collect::<Vec<_>>().join("; "))
    })
}

/// Events for the tests of sinks.
#[cfg(test)]
pub(crate) mod samples {
    use crate::model::delivery::Refusal;
    pub use crate::model::event::samples::*;

    /// The refusal after a reader closed its end. A process that another test starts holds a copy of that end
    /// between its fork and its exec, and until then writing succeeds.
    pub async fn once_its_reader_is_gone(attempt: impl AsyncFn() -> Result<(), Refusal>) -> Refusal {
        loop {
            if let Err(refusal) = attempt().await {
                return refusal;
            }
        }
    }
}
