//! Installs the program's own log.
//!
//! `$RUST_LOG` refines the configured level, for opwatch's own code alone. A library may log a URL with a
//! signature or token at `debug`; no setting allows more than its warnings, and records of the `log` crate
//! are not bridged.

use std::sync::OnceLock;

#[cfg(test)]
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{EnvFilter, FilterFn, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::layer::{LineFormat, LineLayer, is_ours};
use super::{Config, Format, ResolvedFormat, Surroundings};
use crate::lines::line::Level;
use crate::lines::output;
use crate::problem::{Place, Problem};

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Installs the log for this process; a second call changes nothing. Call it before anything logs.
pub fn init(config: &Config, surroundings: Surroundings) -> Result<(), Problem> {
    let rust_log = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = filter(config.level, &rust_log).map_err(|error| {
        let place = Place { key: Some("RUST_LOG".into()), ..Place::default() };
        Problem::new(
            place,
            format!("{error}; write a level (debug), or levels by module (opwatch::watch=trace,info)"),
        )
    })?;
    let format = config.format.resolve(surroundings);
    let layer = layer(format, surroundings)?;
    // An error means that a log is installed already.
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = Registry::default().with(layer).with(filter).with(libraries_at_most_warn());
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = SET_FILTER.set(Box::new(move |filter| _ = handle.reload(filter)));
    }
    if config.format == Format::Journal && format != ResolvedFormat::Journal {
        tracing::warn!("standard error is not connected to the journal; log.format falls back to auto");
    }
    Ok(())
}

/// Replaces the filter of the installed log.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Uses another level from now on. `$RUST_LOG` was checked by [`init`].
pub fn set_level(level: Level) {
    let rust_log = std::env::var("RUST_LOG").unwrap_or_default();
    if let (Some(set), Ok(filter)) = (SET_FILTER.get(), filter(level, &rust_log)) {
        set(filter);
    }
}

#[cfg(test)]
fn subscriber(layer: BoxedLayer, filter: EnvFilter) -> impl Subscriber + Send + Sync {
    Registry::default().with(layer).with(filter).with(libraries_at_most_warn())
}

/// The level that the command line has in place of the configured one.
static OVERRIDE: OnceLock<Level> = OnceLock::new();

/// Uses this level in place of every configured one. Call it before [`init`].
pub fn override_level(level: Level) {
    // A second call changes nothing.
    let _ = OVERRIDE.set(level);
}

fn filter(level: Level, rust_log: &str) -> Result<EnvFilter, ParseError> {
    let level = OVERRIDE.get().copied().unwrap_or(level);
    let directives =
        [level.name(), rust_log.trim()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    EnvFilter::builder().parse(directives.join(","))
}

fn libraries_at_most_warn() -> FilterFn {
    filter_fn(|metadata| is_ours(metadata) || *metadata.level() <= LevelFilter::WARN)
}

fn layer(format: ResolvedFormat, surroundings: Surroundings) -> Result<BoxedLayer, Problem> {
    let lines = |form| {
        let lines = output::standard_error().map_err(|error| {
            Problem::new(Place::default(), format!("standard error cannot be used for the log: {error}"))
        })?;
        Ok(LineLayer::new(lines, form).boxed())
    };
    let text = LineFormat::Text { has_colours: surroundings.has_colours() };
    match format {
        ResolvedFormat::Text => lines(text),
        ResolvedFormat::Json => lines(LineFormat::Json),
        // Without its socket the journal still gets the lines of standard error.
        ResolvedFormat::Journal => journal().map_or_else(|_| lines(text), Ok),
    }
}

fn journal() -> std::io::Result<BoxedLayer> {
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    let layer = tracing_journald::layer()?
        .with_syslog_identifier("opwatch".into())
        // The same names as in the events of the `log` sink: one search finds all that concerns a task.
        .with_field_prefix(Some("OPWATCH".into()))
        .with_priority_mappings(priorities);
    Ok(layer.boxed())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{debug, error, info};

    use super::*;
    use crate::lines::output::LineOutput;

    /// The output of `talk` under that level and that `$RUST_LOG`.
    fn reported(form: LineFormat, level: Level, rust_log: &str, talk: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = Arc::new(Mutex::new(LineOutput::new(file.reopen().unwrap())));
        let layer = LineLayer::new(lines, form).boxed();
        tracing::subscriber::with_default(subscriber(layer, filter(level, rust_log).unwrap()), talk);
        std::fs::read_to_string(file.path()).unwrap()
    }

    const TEXT: LineFormat = LineFormat::Text { has_colours: false };

    #[test]
    fn no_setting_lets_a_library_say_more_than_warnings() {
        let reported =
            reported(TEXT, Level::Trace, "trace,reqwest=trace,hyper_util=debug,opwatchful=trace", || {
                debug!(target: "reqwest::connect", "starting https://host/?Signature=secret");
                info!(target: "hyper_util::client", "secret");
                info!(target: "opwatchful", "secret");
                tracing::warn!(target: "hyper_util::client", "pool is full");
                debug!("ours");
            });
        assert!(!reported.contains("secret"), "{reported}");
        assert!(reported.contains("pool is full target=\"hyper_util::client\"\n"), "{reported}");
        assert!(reported.contains("DEBUG ours\n"), "{reported}");
    }

    #[test]
    fn rust_log_says_more_than_the_level() {
        let talk = || {
            debug!("quiet");
            info!("loud");
        };
        assert!(!reported(TEXT, Level::Info, "", talk).contains("quiet"));
        assert!(reported(TEXT, Level::Info, "opwatch::telemetry=debug", talk).contains("quiet"));
        assert!(reported(TEXT, Level::Info, "opwatch::watch=debug", talk).contains("loud"));
    }

    #[test]
    fn a_log_line_is_one_line_in_text_and_flat_in_json() {
        let talk = || error!(path = "/a b\n", tries = 3, cause = %"x\ny", "cannot\nwrite");
        let text = reported(TEXT, Level::Info, "", talk);
        assert!(
            text.ends_with("Z ERROR cannot\\u000awrite path=\"/a b\\n\" tries=3 cause=\"x\\ny\"\n"),
            "{text}"
        );
        let json: serde_json::Value =
            serde_json::from_str(&reported(LineFormat::Json, Level::Info, "", talk)).unwrap();
        assert_eq!(
            (&json["level"], &json["tries"], &json["cause"]),
            (&"error".into(), &3.into(), &"x\ny".into())
        );
    }

    #[test]
    fn a_wrong_rust_log_is_refused() {
        assert!(filter(Level::Info, "opwatch=loud").is_err());
    }
}
