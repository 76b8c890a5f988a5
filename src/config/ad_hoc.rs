//! Configuration of a command with its own tasks: the accounts, and the polling policy.
//!
//! The same layers and checks as for a whole configuration. Its tasks and sinks are not read, so that the
//! user of the command needs no permission for a task list or a sink's secret. Without a file, the
//! environment is enough.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::environment::Environment;
use super::layer::Layer;
use super::sections::Sections;
use super::{Loaded, accounts, capped, credentials, inline, merge, overrides, read_texts};
use crate::cloud::operations::Operations;
use crate::model::policy::Policy;
use crate::problem::{Place, Problem};
use crate::units::Limit;
use crate::{api, heartbeat, store, telemetry};

/// The default region, as Terraform's provider and tccli name it.
const REGION: &str = "TENCENTCLOUD_REGION";

/// Whether there are credentials outside of any configuration, usable or not (docs/tencent-cloud-api.md §4): in the environment,
/// or where the official tools keep theirs.
pub fn has_own_credentials(environment: &Environment) -> bool {
    !matches!(credentials::without_section(environment, &mut drop), Ok(None))
}

/// The accounts and the polling of a configuration, or of the environment alone; without any task, sink or
/// deadline.
pub fn load_accounts(path: Option<&Path>, environment: &Environment) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let texts = path.map(|path| read_texts(path, &mut problems)).unwrap_or_default();
    let layers: Vec<Layer<'_>> =
        texts.iter().map(|text| Layer::parse(text, environment, &mut problems)).collect();
    if (path.is_some() && texts.is_empty()) || layers.iter().any(|layer| layer.broken) {
        return Err(capped(problems, &texts));
    }
    let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let from_files = merge::merge(layers.iter().map(|layer| &layer.tree), &[]);
    let overrides = overrides::read(environment, &from_files, folder, &mut problems);
    let merged: Value = merge::merge(layers.iter().map(|layer| &layer.tree), &overrides);
    let mut sections = Sections::new(&layers, &overrides, problems);
    inline::doubts(&layers, &mut sections);
    let poll = sections.poll(&merged);
    let mut accounts = accounts::resolve(&mut sections, &merged, environment);
    for account in accounts.values_mut() {
        account.region = account.region.take().or_else(|| environment.filled(REGION).map(str::to_owned));
    }
    if accounts
        .values()
        .filter_map(|account| account.region.as_ref())
        .any(|region| !region.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let place = Place { key: Some(REGION.to_owned()), ..Place::default() };
        sections.report_problem(Problem::new(
            place,
            "holds a character that no region has; write it as in the API, such as \"bj\" or \"ap-beijing\"",
        ));
    }
    match (sections.into_reported(), poll) {
        ((problems, _), _) if problems.is_empty() && accounts.is_empty() => {
            let what = "no account exists; set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, or name a configuration with -c";
            Err(vec![Problem::new(Place::default(), what)])
        }
        ((problems, doubts), Some(poll)) if problems.is_empty() => {
            let poll = Policy { timeout: Limit(None), warn_after: Limit(None), ..poll };
            Ok(Loaded {
                accounts,
                operations: Operations::built_in(),
                poll,
                sinks: BTreeMap::new(),
                store: store::Config::in_memory(),
                http: api::Config::default(),
                heartbeat: heartbeat::Config::default(),
                log: telemetry::Config::default(),
                tasks: Vec::new(),
                task_files: Vec::new(),
                doubts,
            })
        }
        ((problems, _), _) => Err(capped(problems, &texts)),
    }
}
