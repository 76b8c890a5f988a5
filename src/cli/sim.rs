//! `opwatch sim`: the simulated cloud alone, until SIGINT or SIGTERM.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;

use super::run::stop_on_signals;
use super::{Failure, print};
use crate::clock::Clock;
use crate::problem::{Place, Problem};
use crate::sim::{SECRET_KEY, Scenario, Sim};

/// Runs the command.
pub async fn run(listen: SocketAddr, scenario: Option<&Path>, clock: Clock) -> Result<(), Failure> {
    let stop = stop_on_signals()?;
    serve(listen, scenario, clock, &mut print::line, stop.cancelled()).await
}

async fn serve(
    listen: SocketAddr,
    scenario: Option<&Path>,
    clock: Clock,
    print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    end: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let scenario = scenario.map(Scenario::read).transpose()?.unwrap_or_default();
    let config = config(&scenario);
    let sim = Sim::start(scenario, listen, clock).await.map_err(|error| {
        let place = Place { key: Some("--listen".to_owned()), ..Place::default() };
        Problem::new(place, format!("cannot listen on {listen}: {error}; choose another address, or port 0 for a free one"))
    })?;
    let endpoint = sim.endpoint();
    print(&format!("A simulated cloud answers at {endpoint} until it is interrupted."))?;
    print("To watch it, write these lines into sim.toml and run `opwatch run -c sim.toml`:")?;
    print("")?;
    for line in config.iter().chain([&format!("endpoint = \"{endpoint}\"")]) {
        print(line)?;
    }
    end.await;
    sim.stop().await;
    Ok(())
}

/// The configuration that points opwatch at the simulator, but for the endpoint, which is the last line.
fn config(scenario: &Scenario) -> Vec<String> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let id = scenario.tasks.keys().next().map_or("1000800001", String::as_str);
    let region = scenario.regions.as_ref().and_then(|regions| regions.first()).map_or("bj", String::as_str);
    let mut lines = vec![
        format!("tasks = [{{ id = {} }}]", quoted(id)),
        // A store of its own: on the usual one, the tasks of another configuration would count as taken out of the file.
        "store.url = \"sqlite:sim.db\"".to_owned(),
        "[accounts.default]".to_owned(),
        format!("region = {}", quoted(region)),
        format!("secret_id = {}", quoted(&scenario.secret_id)),
    ];
    // A key that somebody chose may be one that is used elsewhere too, so it is not shown.
    let own = scenario.secret_key.expose() != SECRET_KEY;
    lines.push(if own {
        "secret_key = \"\" # the scenario's secret_key".to_owned()
    } else {
        format!("secret_key = {}", quoted(SECRET_KEY))
    });
    lines.extend(scenario.signed_host.as_ref().map(|host| format!("signed_host = {}", quoted(host))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn printed(scenario: &str) -> Result<Vec<String>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        std::fs::write(&file, scenario).unwrap();
        let mut lines = Vec::new();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut print = |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        serve(listen, Some(&file), Clock::start(), &mut print, async {}).await.map(|()| lines)
    }

    #[tokio::test]
    async fn it_says_where_it_listens_and_how_to_point_opwatch_at_it_in_seven_lines() {
        let lines = printed("").await.unwrap();
        let (told, config) = lines.split_at(3);
        let config = config.join("\n").parse::<toml::Table>().unwrap();
        let account = config["accounts"]["default"].as_table().unwrap();
        assert_eq!(lines.len(), 3 + 7);
        assert_eq!(config["store"]["url"].as_str(), Some("sqlite:sim.db"));
        assert_eq!(account["secret_key"].as_str(), Some(SECRET_KEY));
        assert!(told[0].contains(account["endpoint"].as_str().unwrap()), "{told:?}");
    }

    #[tokio::test]
    async fn a_key_that_somebody_chose_is_not_printed() {
        let lines = printed("secret_key = 'my-own'\nsigned_host = 'bm.api.qcloud.com'").await.unwrap().join("\n");
        assert!(!lines.contains("my-own") && lines.contains("signed_host = \"bm.api.qcloud.com\""), "{lines}");
    }

    #[tokio::test]
    async fn a_wrong_scenario_is_refused_with_its_file() {
        let problem = printed("\nrates = 1").await.unwrap_err().to_string();
        assert!(problem.contains("s.toml:2: rates: "), "{problem}");
    }
}
