//! `opwatch sim`: the simulated cloud alone, until SIGINT or SIGTERM.
//!
//! Instructions are on standard output, and a line for each request on standard error.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::run::stop_on_signals;
use super::{CommandFailure, print};
use crate::clock::{Clock, Moment};
use crate::cloud::operations::Api;
use crate::files;
use crate::lines::line::{Fields, Level, LogLine};
use crate::lines::output::{standard_error, write_waiting};
use crate::problem::{Place, Problem};
use crate::sim::{ReceivedRequest, RequestOutcome, SECRET_KEY, Scenario, Sim};
use crate::telemetry::{self, Format, Surroundings};

/// The longest wait for a reader of standard error; after it, lines are dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
/// When the scenario is wrong, the address is in use, or the configuration cannot be written.
pub async fn run(
    listen: SocketAddr,
    scenario: Option<&Path>,
    write: Option<&Path>,
    clock: Clock,
) -> Result<(), CommandFailure> {
    let stop = stop_on_signals(true)?;
    telemetry::init(
        &telemetry::Config { level: Level::Warn, format: Format::Text },
        Surroundings::of_process(),
    )?;
    serve(listen, scenario, write, clock, &mut print::line, stop.cancelled()).await
}

async fn serve(
    listen: SocketAddr,
    scenario: Option<&Path>,
    write: Option<&Path>,
    clock: Clock,
    print: &mut dyn FnMut(&str) -> Result<(), CommandFailure>,
    end: impl Future<Output = ()>,
) -> Result<(), CommandFailure> {
    let scenario = match scenario.map(Path::to_owned) {
        Some(path) => {
            files::off_loop(move || Scenario::read(&path)).await.map_err(CommandFailure::Runtime)??
        }
        None => Scenario::default(),
    };
    let config = config(&scenario);
    let first = first_id(&scenario).to_owned();
    let sim = Sim::start(scenario, listen, clock).await.map_err(|error| {
        let place = Place { key: Some("--listen".to_owned()), ..Place::default() };
        Problem::new(
            place,
            format!("cannot listen on {listen}: {error}; choose another address, or port 0 for a free one"),
        )
    })?;
    let endpoint = sim.endpoint();
    print(&format!("# A simulated cloud runs at {endpoint} until it is interrupted."))?;
    let endpoint = format!("endpoint = \"{endpoint}\"");
    let lines: Vec<_> = config.iter().chain([&endpoint]).collect();
    let file = match write {
        Some(file) => {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            // For its owner alone, as a configuration with a real secret should be.
            let mut options = OpenOptions::new();
            let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
            opened.and_then(|mut opened| opened.write_all(text.as_bytes())).map_err(|error| {
                let place = Place { file: Some(file.to_owned()), ..Place::default() };
                Problem::new(place, format!("cannot be written: {error}; name another file"))
            })?;
            file.display().to_string()
        }
        None => "sim.toml".to_owned(),
    };
    let written = if write.is_some() { "use" } else { "write this output into sim.toml, and use" };
    print(&format!("# To poll it, {written} `opwatch run -c {file}`, or `opwatch wait {first} -c {file}`."))?;
    if write.is_none() {
        print("")?;
        lines.into_iter().try_for_each(|line| print(line))?;
    }
    show(&sim, clock, end).await?;
    sim.stop().await;
    Ok(())
}

/// Shows each request until the end. A slow or closed reader misses lines, and delays no request.
async fn show(sim: &Sim, clock: Clock, end: impl Future<Output = ()>) -> Result<(), CommandFailure> {
    let out = standard_error().map_err(CommandFailure::Output)?;
    let mut end = std::pin::pin!(end);
    let mut shown = 0;
    // The number of requests at the end.
    let mut last = None;
    loop {
        let (requests, forgotten) = tokio::select! {
            biased;
            () = &mut end, if last.is_none() => {
                last = Some(sim.requests());
                continue;
            }
            seen = sim.requests_after(shown), if last.is_none_or(|last| shown < last) => seen,
            else => return Ok(()),
        };
        shown += forgotten + requests.len() as u64;
        let now = clock.now();
        let lines: String = requests.iter().map(|seen| line(seen, now) + "\n").collect();
        let out = Arc::clone(&out);
        let written =
            tokio::task::spawn_blocking(move || write_waiting(&out, lines.as_bytes(), PATIENCE)).await;
        if last.is_some() && !matches!(written, Ok(Ok(()))) {
            return Ok(());
        }
    }
}

/// A request and its response.
fn line(seen: &ReceivedRequest, now: Moment) -> String {
    let ReceivedRequest { arrived, api, task, action, region, verdict, detail: words, after_end, .. } = seen;
    let text = |text: &str| Value::from(text);
    let api = match api {
        Api::V2 => "2.0",
        Api::V3 => "3.0",
    };
    let mut fields: Fields =
        vec![("api", text(api)), ("action", text(action)), ("region", text(region)), ("task", text(task))];
    let message = match verdict {
        RequestOutcome::Status(status) => {
            fields.push(("status", (*status).into()));
            "answered"
        }
        RequestOutcome::Refused(code) => {
            fields.push(("code", text(&code.to_string())));
            "refused"
        }
        RequestOutcome::Misbehaved => "misbehaved",
    };
    if !words.is_empty() {
        fields.push(("with", text(words)));
    }
    if *after_end {
        fields.push(("after_its_end", true.into()));
    }
    LogLine { time: now.wall_of(*arrived), level: Level::Info, is_event: true, message, fields }.text(false)
}

fn first_id(scenario: &Scenario) -> &str {
    scenario.tasks.keys().next().map_or("1000800001", String::as_str)
}

/// The configuration for the simulator, without the endpoint, which is the last line.
fn config(scenario: &Scenario) -> Vec<String> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let id = first_id(scenario);
    let region = scenario.regions.as_ref().and_then(|regions| regions.first()).map_or("bj", String::as_str);
    let mut lines = vec![
        format!("tasks = [{{ id = {} }}]", quoted(id)),
        // A store of its own: in the default store, tasks of another configuration would count as removed.
        "store.url = \"sqlite:sim.db\"".to_owned(),
        "[accounts.default]".to_owned(),
        format!("region = {}", quoted(region)),
    ];
    // A key of the scenario may be a real one, so it is not printed.
    let token = if scenario.token.is_some() { ", TENCENTCLOUD_TOKEN" } else { "" };
    if scenario.secret_key.expose() != SECRET_KEY || scenario.token.is_some() {
        let variables = format!("TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY{token}");
        lines.push(format!("credentials = \"env\" # set {variables} to the values of the scenario"));
    } else {
        lines.push(format!("secret_id = {}", quoted(&scenario.secret_id)));
        lines.push(format!("secret_key = {}", quoted(SECRET_KEY)));
    }
    lines.extend(scenario.signed_host.as_ref().map(|host| format!("signed_host = {}", quoted(host))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn printed(scenario: &str) -> Result<Vec<String>, CommandFailure> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        std::fs::write(&file, scenario).unwrap();
        let mut lines = Vec::new();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut print = |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        serve(listen, Some(&file), None, Clock::start(), &mut print, async {}).await.map(|()| lines)
    }

    #[tokio::test]
    async fn it_says_where_it_listens_and_how_to_point_opwatch_at_it_in_seven_lines() {
        let lines = printed("").await.unwrap();
        let (reported, config) = lines.split_at(3);
        let config = config.join("\n").parse::<toml::Table>().unwrap();
        let account = config["accounts"]["default"].as_table().unwrap();
        assert_eq!(lines.len(), 3 + 7);
        assert_eq!(config["store"]["url"].as_str(), Some("sqlite:sim.db"));
        assert_eq!(account["secret_key"].as_str(), Some(SECRET_KEY));
        assert!(reported[0].contains(account["endpoint"].as_str().unwrap()), "{reported:?}");
    }

    #[tokio::test]
    async fn a_key_of_the_scenario_is_not_printed() {
        let lines =
            printed("secret_key = 'my-own'\nsigned_host = 'bm.api.qcloud.com'").await.unwrap().join("\n");
        assert!(
            !lines.contains("my-own") && lines.contains("signed_host = \"bm.api.qcloud.com\""),
            "{lines}"
        );
        assert!(
            lines.contains("credentials = \"env\" # set TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY to"),
            "{lines}"
        );
        let lines = printed("token = 'my-own'").await.unwrap().join("\n");
        assert!(!lines.contains("my-own") && lines.contains(", TENCENTCLOUD_TOKEN to"), "{lines}");
    }

    #[tokio::test]
    async fn a_wrong_scenario_is_refused_with_its_file() {
        let problem = printed("\nrates = 1").await.unwrap_err().to_string();
        assert!(problem.contains("s.toml:2: rates: "), "{problem}");
    }
}
