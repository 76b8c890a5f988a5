//! `opwatch check`: validates a configuration, and prints its tasks, rates and sinks.

use std::path::Path;

use serde::Serialize;

use super::CommandFailure;
use super::print::{self, wrapped};
use super::run::load;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::daemon::plan::{PaceKeyPlan, Plan, SinkPlan, plan};
use crate::daemon::reach::{ReachReport, ReachResult, Usability, reach};
use crate::files;
use crate::lines::line::escaped;
use crate::model::policy::Policy;
use crate::model::sweep::Bottleneck;
use crate::sinks::LineStyle;
use crate::telemetry::Surroundings;
use crate::units::{Limit, Span, coarse, grouped, rounded};

/// The column of the facts of a block.
const FACTS: usize = 18;

/// Accounts and sinks of a valid configuration that are not usable.
#[derive(Debug)]
pub struct NotReached {
    /// Failures that need a person.
    pub refused: Vec<String>,
    /// Failures that may be temporary.
    pub later: Vec<String>,
}

/// Validates as `run` does, without the store, and prints the plan; `live` also tests accounts and sinks.
///
/// # Errors
/// When the configuration is wrong, or something cannot be reached.
pub async fn run(path: &Path, live: bool, clock: Clock) -> Result<(), CommandFailure> {
    let (loaded, plan, style) = planned(path, clock).await?;
    print::document(report(path, &loaded, &plan).as_bytes())?;
    if !live {
        return Ok(());
    }
    let found = reach(&loaded, &plan, &style, clock).await?;
    print::document(reached(&found).as_bytes())?;
    let refused = found.that_are(Usability::Refused);
    let later = found.that_are(Usability::Later);
    if refused.is_empty() && later.is_empty() {
        Ok(())
    } else {
        Err(CommandFailure::NotReached(NotReached { refused, later }))
    }
}

/// A valid configuration, and what the daemon would do with it.
///
/// # Errors
/// When the configuration is wrong.
pub async fn planned(path: &Path, clock: Clock) -> Result<(Loaded, Plan, LineStyle), CommandFailure> {
    let loaded = load(path.to_owned()).await?;
    let style = LineStyle::without_number(loaded.log.format.resolve(Surroundings::of_process()));
    let planned =
        files::off_loop(move || plan(&loaded, &style, clock).map(|plan| (loaded, plan, style))).await;
    Ok(planned.map_err(CommandFailure::Runtime)??)
}

fn report(path: &Path, loaded: &Loaded, plan: &Plan) -> String {
    let mut parts = vec![wrapped(
        &format!(
            "{} is valid: {}, {}, {}.",
            path.display(),
            counted(plan.tasks, "task"),
            counted(loaded.accounts.len() as u64, "account"),
            counted(plan.sinks.len() as u64, "sink"),
        ),
        "",
        "",
    )];
    parts.push("\nTasks and rates:".to_owned());
    parts.extend(plan.keys.iter().map(|key| watched(key, &loaded.poll)));
    if plan.keys.is_empty() {
        parts.push("  nothing".to_owned());
    }
    if !plan.idle_accounts.is_empty() {
        parts.push(wrapped(
            &format!("Accounts without a task: {}.", plan.idle_accounts.join(", ")),
            "  ",
            "  ",
        ));
    }
    parts.push(format!("\nDefaults of each task:\n{}", defaults(&loaded.poll)));
    parts.push("\nSinks and their events:".to_owned());
    parts.extend(plan.sinks.iter().map(heard));
    let place = &plan.store_place;
    parts.push(wrapped(
        &format!("Store: {place}; finished work is kept: {kept}.", kept = kept(loaded.store.retention)),
        "\n",
        "  ",
    ));
    let doubts = plan.doubts(loaded);
    if !doubts.is_empty() {
        parts.push(format!("\n{}:", counted(doubts.len() as u64, "warning")));
        parts.extend(doubts.iter().map(|doubt| wrapped(doubt, "- ", "  ")));
    }
    parts.join("\n") + "\n"
}

fn kept(retention: Limit) -> String {
    match retention {
        Limit(Some(time)) => Span(time).to_string(),
        Limit(None) => "forever".to_owned(),
    }
}

fn reached(found: &ReachReport) -> String {
    let mut lines = Vec::new();
    for (heading, found) in
        [("Accounts, one request each:", &found.accounts), ("Sinks, one connection each:", &found.sinks)]
    {
        lines.push(format!("\n{heading}"));
        if found.is_empty() {
            lines.push("  none".to_owned());
        }
        for (name, ReachResult { usability, what }) in found {
            let word = match usability {
                Usability::Good => "good",
                Usability::Untried => "not tried",
                Usability::Later => "again later",
                Usability::Refused => "refused",
            };
            lines.push(wrapped(&format!("{name}: {word}"), "  ", "    "));
            lines.push(wrapped(what, "    ", "    "));
        }
    }
    lines.join("\n") + "\n"
}

fn watched(key: &PaceKeyPlan, policy: &Policy) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (target, tasks) in &key.targets {
        let line = format!(
            "account {}, region {}, operation {}: {}",
            target.account,
            target.region,
            target.operation,
            counted(*tasks, "task")
        );
        lines.push(wrapped(&line, "  ", "    "));
    }
    lines
        .push(fact("polls", &format!("{} for {} (API {})", key.pace_key.host, key.pace_key.action, key.api)));
    let from = match key.documented {
        Some(documented) => format!("95 % of the documented {documented}"),
        None => "rate_limit".to_owned(),
    };
    lines.push(fact(
        "rate",
        &format!("{} ({from}), one poll every {}", key.rate, rounded(key.rate.interval())),
    ));
    let sweep = coarse(key.sweep.at_the_rate);
    lines.push(fact("one sweep", &format!("{sweep} ({} ÷ {})", counted(key.tasks, "task"), key.rate)));
    let late = match key.sweep.bottleneck {
        Bottleneck::Rate => format!("up to {sweep} late: the rate limit is the bottleneck"),
        Bottleneck::Interval => {
            format!("up to {} late: max_interval and its jitter", rounded(policy.longest_interval()))
        }
    };
    lines.push(fact("end detected", &late));
    if key.own_timeouts > 0 {
        lines.push(fact("own timeout", &counted(key.own_timeouts, "task")));
    }
    lines.join("\n")
}

fn defaults(policy: &Policy) -> String {
    let Policy { initial_delay, initial_interval, timeout, warn_after, .. } = policy;
    let longest = rounded(policy.longest_interval());
    let first = match initial_delay {
        Span(delay) if delay.is_zero() => "at once".to_owned(),
        delay => format!("after {delay}"),
    };
    let given_up = match timeout.0 {
        Some(timeout) => format!("after {}", Span(timeout)),
        None => "never".to_owned(),
    };
    let overdue = match warn_after.0 {
        Some(after) => format!("after {}", Span(after)),
        None => "never".to_owned(),
    };
    [
        fact("first poll", &first),
        fact("next polls", &format!("after {initial_interval}, then at growing intervals, up to {longest}")),
        fact("deadline", &given_up),
        fact("overdue", &overdue),
    ]
    .join("\n")
}

fn heard(SinkPlan { route, shown, sending }: &SinkPlan) -> String {
    let mut lines = vec![wrapped(&format!("{}: {shown}", route.sink), "  ", "    ")];
    lines.push(fact("events", &words(&route.events)));
    lines.extend(route.outcomes.as_ref().map(|outcomes| fact("outcomes", &words(outcomes))));
    if !route.labels.is_empty() {
        let labels = route.labels.iter().map(|(name, value)| format!("{name}={value}"));
        lines.push(fact("labels", &labels.collect::<Vec<_>>().join(", ")));
    }
    let mut sent = vec![format!("{} at a time", counted(sending.max_in_flight as u64, "attempt"))];
    sent.extend(sending.rate.map(|rate| format!("at most {rate}")));
    sent.extend(sending.gather.map(|gather| format!("gathered for {}", Span(gather))));
    sent.push(match sending.retry.give_up_after.0 {
        Some(after) => format!("retries for {}", Span(after)),
        None => "unlimited retries".to_owned(),
    });
    lines.push(fact("attempts", &sent.join(", ")));
    lines.join("\n")
}

/// A name and its fact.
fn fact(word: &str, text: &str) -> String {
    wrapped(text, &format!("    {word:0$}", FACTS - 4), &" ".repeat(FACTS))
}

/// `1 task`, `10,000 tasks`.
fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// As they are written in the configuration.
fn words(values: &[impl Serialize]) -> String {
    let word = |value| serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned));
    escaped(&values.iter().filter_map(word).collect::<Vec<_>>().join(", ")).into_owned()
}
