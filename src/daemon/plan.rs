//! The plan of a configuration: the rate of its polls, and the sinks of its events.
//!
//! The plan is made from the parts of the daemon, without the store, which is neither opened nor created.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Error, build_sinks, catalogue, cloud, not_opened, routes};
use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::cloud::account::Account;
use crate::cloud::operations::Api;
use crate::config::Loaded;
use crate::config::likely::{is_placeholder, likely_region};
use crate::model::delivery::Sending;
use crate::model::policy::Policy;
use crate::model::route::SinkRoute;
use crate::model::sweep::{Bottleneck, Sweep};
use crate::model::task::PaceKey;
use crate::model::task::{NewTask, Target};
use crate::problem::Problem;
use crate::register::listed::listed;
use crate::sinks::LineStyle;
use crate::store;
use crate::units::{Rate, coarse, grouped, rounded};

/// A configuration, worked out.
#[derive(Debug)]
pub struct Plan {
    /// The number of listed tasks.
    pub tasks: u64,
    /// Their pace keys, the slowest to sweep first.
    pub keys: Vec<PaceKeyPlan>,
    /// The first listed task of each account.
    pub first_tasks: BTreeMap<String, NewTask>,
    /// The accounts without a listed task.
    pub idle_accounts: Vec<String>,
    /// The sinks, by name.
    pub sinks: Vec<SinkPlan>,
    /// The place of the store.
    pub store_place: String,
}

/// The tasks of one pace key.
#[derive(Debug)]
pub struct PaceKeyPlan {
    /// The account, region, host and action.
    pub pace_key: PaceKey,
    /// Over which API.
    pub api: Api,
    /// The targets that share it, each with its tasks.
    pub targets: Vec<(Arc<Target>, u64)>,
    /// All of its tasks.
    pub tasks: u64,
    /// The number of its tasks with a `timeout` of their own.
    pub own_timeouts: u64,
    /// The rate of its polls.
    pub rate: Rate,
    /// The documented rate limit, where the rate derives from it.
    pub documented: Option<Rate>,
    /// The duration of one sweep.
    pub sweep: Sweep,
    /// The rate over API 3.0, where the account could be switched to it.
    pub rate_over_3_0: Option<Rate>,
}

/// The events of one sink, and its deliveries.
#[derive(Debug)]
pub struct SinkPlan {
    /// The filters of the sink.
    pub route: SinkRoute,
    /// Type and destination.
    pub shown: String,
    /// The delivery settings.
    pub sending: Sending,
}

/// Works it out.
///
/// # Errors
/// When the daemon could not be built of it, or a task file is not as it was when it was loaded.
pub fn plan(loaded: &Loaded, style: &LineStyle, clock: Clock) -> Result<Plan, Error> {
    let cloud = cloud(loaded)?;
    let store_place = store::place(&loaded.store).map_err(|error| not_opened(&loaded.store, &error));
    let (built, store_place) = match (build_sinks(&loaded.sinks, &loaded.poll, style, clock), store_place) {
        (Ok(built), Ok(store_place)) => (built, store_place),
        (Err(Error::Configuration(mut problems)), Err(problem)) => {
            problems.push(problem);
            return Err(Error::Configuration(problems));
        }
        (Err(error), Ok(_) | Err(_)) => return Err(error),
        (Ok(_), Err(problem)) => return Err(Error::Configuration(vec![problem])),
    };
    let mut counts: HashMap<Arc<Target>, (u64, u64)> = HashMap::new();
    let mut first_tasks = BTreeMap::new();
    let tasks = listed(&loaded.tasks, &loaded.task_files, &catalogue(loaded), |task| {
        if !first_tasks.contains_key(&task.target.account) {
            first_tasks.insert(task.target.account.clone(), task.clone());
        }
        let (tasks, own_timeouts) = counts.entry(task.target).or_default();
        *tasks += 1;
        *own_timeouts += u64::from(task.settings.timeout.is_some());
    });
    let tasks = tasks.map_err(Error::Configuration)?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(one, _), (other, _)| one.cmp(other));
    let idle_accounts =
        loaded.accounts.keys().filter(|name| !first_tasks.contains_key(*name)).cloned().collect();
    let shown =
        |name: &str| loaded.sinks.get(name).map(|config| config.kind.config().shown()).unwrap_or_default();
    let heard = |route: SinkRoute| {
        Some(SinkPlan { shown: shown(&route.sink), sending: built.get(&route.sink)?.1, route })
    };
    let sinks = routes(loaded).0.into_iter().filter_map(heard).collect();
    Ok(Plan { tasks, keys: keys(&cloud, loaded, counts)?, first_tasks, idle_accounts, sinks, store_place })
}

fn keys(
    cloud: &Cloud,
    loaded: &Loaded,
    counts: Vec<(Arc<Target>, (u64, u64))>,
) -> Result<Vec<PaceKeyPlan>, Error> {
    let mut keys: BTreeMap<PaceKey, PaceKeyPlan> = BTreeMap::new();
    for (target, (tasks, own_timeouts)) in counts {
        let route = cloud.route(&target)?;
        let Some(account) = loaded.accounts.get(&target.account) else { continue };
        let Some(row) = loaded.operations.resolve(&target.operation, account.api) else { continue };
        let successor = loaded
            .operations
            .resolve(&target.operation, Api::V3)
            .filter(|successor| row.api == Api::V2 && successor.api == Api::V3);
        let documented = account.rate_limit.is_none().then_some(row.rate);
        let key = keys.entry(route.pace_key.clone()).or_insert_with(|| PaceKeyPlan {
            pace_key: route.pace_key.clone(),
            api: row.api,
            targets: Vec::new(),
            tasks: 0,
            own_timeouts: 0,
            rate: route.rate,
            documented,
            sweep: Sweep::over(0, route.rate, &loaded.poll),
            // A configured limit applies there too.
            rate_over_3_0: documented.and(successor).map(|successor| successor.usual_rate()),
        });
        // Accounts that share a pace key share the lowest of their rates.
        if route.rate.interval() > key.rate.interval() {
            key.rate = route.rate;
            key.documented = documented;
        }
        key.tasks += tasks;
        key.own_timeouts += own_timeouts;
        key.targets.push((target, tasks));
        key.sweep = Sweep::over(key.tasks, key.rate, &loaded.poll);
    }
    let mut keys: Vec<_> = keys.into_values().collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.sweep.at_the_rate));
    Ok(keys)
}

impl PaceKeyPlan {
    /// Warnings about its numbers, each with the fix.
    pub fn doubts(&self, policy: &Policy) -> Vec<String> {
        let name = self
            .targets
            .iter()
            .map(|(target, _)| format!("{}, {}, {}", target.account, target.region, target.operation));
        let name = name.collect::<Vec<_>>().join("; ");
        let sweep = coarse(self.sweep.at_the_rate);
        let mut doubts = Vec::new();
        match self.sweep.bottleneck {
            Bottleneck::Interval => return doubts,
            Bottleneck::Rate => {
                let tasks = self.tasks;
                let rate = self.rate;
                let wanted = rounded(policy.max_interval.0);
                let over_3_0 = self.rate_over_3_0.map(|rate| {
                    let sweep = coarse(Sweep::over(tasks, rate, policy).at_the_rate);
                    format!("api = \"3.0\" in the account (one sweep then takes {sweep}), ")
                });
                doubts.push(format!(
                    "{name}: the rate limit is the bottleneck: {} tasks ÷ {rate} = {sweep} for one sweep, so an end is detected up to {sweep} \
                     late, and not {wanted} (max_interval); remedies: {}more accounts or regions (each pair has its own rate limit), or an \
                     initial_delay for tasks that take long",
                    grouped(tasks),
                    over_3_0.unwrap_or_default()
                ));
            }
        }
        if policy.timeout.0.is_some_and(|timeout| self.sweep.at_the_rate > timeout)
            && self.own_timeouts < self.tasks
        {
            let timeout = policy.timeout;
            doubts.push(format!(
                "{name}: one sweep takes longer than the timeout of {timeout}, so a task may be abandoned after one poll; raise timeout in \
                 [poll], or shorten the list"
            ));
        }
        doubts
    }
}

impl Plan {
    /// All warnings, those of the configuration first.
    pub fn doubts(&self, loaded: &Loaded) -> Vec<String> {
        let own = loaded.doubts.iter().map(Problem::to_string);
        let placeholders = loaded.accounts.iter().filter(|(_, account)| is_placeholder(&account.secret_id));
        let placeholders = placeholders.map(|(name, account)| {
            format!(
                "account {name}: secret_id {:?} is a placeholder; write the SecretId that the console shows",
                account.secret_id
            )
        });
        let keys = loaded.accounts.iter().filter(|(_, account)| is_placeholder(account.secret_key.expose()));
        let keys = keys.map(|(name, _)| {
            format!("account {name}: the SecretKey is a placeholder; write the one that the console showed")
        });
        let targets = self.keys.iter().flat_map(|key| &key.targets).map(|(target, _)| target);
        let regions: BTreeSet<_> = targets
            .filter_map(|target| {
                let Target { account, region, .. } = &**target;
                let code = likely_region(region)?;
                Some(format!("account {account}: no region is called {region:?}; write {code}"))
            })
            .collect();
        own.chain(placeholders)
            .chain(keys)
            .chain(regions)
            .chain(self.keys.iter().flat_map(|key| key.doubts(&loaded.poll)))
            .chain(shared_rates(loaded))
            .collect()
    }
}

/// The accounts of one SecretId with different rates: the lowest applies where they share a rate-limit scope.
fn shared_rates(loaded: &Loaded) -> Vec<String> {
    let mut accounts: BTreeMap<&str, Vec<&Account>> = BTreeMap::new();
    for account in loaded.accounts.values() {
        accounts.entry(account.counted_as()).or_default().push(account);
    }
    let differ =
        |accounts: &&Vec<&Account>| accounts.iter().any(|one| one.rate_limit != accounts[0].rate_limit);
    let in_words = |accounts: &Vec<&Account>| {
        let names: Vec<_> = accounts.iter().map(|account| account.name.as_str()).collect();
        format!(
            "accounts {}: have one SecretId and different rates; in one region and operation the lowest applies to all of them",
            names.join(", ")
        )
    };
    accounts.values().filter(differ).map(in_words).collect()
}

#[cfg(test)]
mod tests;
