//! The live configuration: one snapshot for all loops, and the commands that reach a loop while it runs.
//!
//! Everything that can fail is built before a snapshot is published; a loop sees either the old one or the new one.

pub mod command;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::cloud::Cloud;
use crate::model::policy::Policy;
use crate::model::records::RowSet;
use crate::model::route::Routes;
use crate::register::catalogue::Catalogue;

/// One configuration, as all loops use it.
pub struct Current {
    /// The defaults of every task.
    pub policy: Policy,
    /// The accounts and operations, ready to be polled.
    pub cloud: Cloud,
    /// The filters of the sinks.
    pub routes: Routes,
    /// The tasks that the file lists.
    pub listed: RowSet,
    /// The names of the configured sinks.
    pub sinks: BTreeSet<String>,
    /// The names that a new task may use.
    pub catalogue: Arc<Catalogue>,
}

impl Current {
    /// The same configuration with other accounts.
    pub fn with_cloud(&self, cloud: Cloud) -> Self {
        let Self { policy, cloud: _, routes, listed, sinks, catalogue } = self;
        Self {
            policy: *policy,
            cloud,
            routes: routes.clone(),
            listed: listed.clone(),
            sinks: sinks.clone(),
            catalogue: Arc::clone(catalogue),
        }
    }
}

/// The present snapshot, with a notification of its replacement.
pub type Live = watch::Receiver<Arc<Current>>;

/// A snapshot that no one replaces, without accounts, for tests.
#[cfg(test)]
pub fn of_sinks(sinks: &[&str]) -> Live {
    use crate::cloud::connection;
    use crate::cloud::operations::Operations;
    let current = Current {
        policy: Policy::default(),
        cloud: Cloud::new(
            std::collections::BTreeMap::new(),
            Operations::built_in(),
            std::time::Duration::ZERO,
            connection::pools,
        )
        .unwrap(),
        routes: Routes::default(),
        listed: RowSet::default(),
        sinks: sinks.iter().map(ToString::to_string).collect(),
        catalogue: Arc::new(Catalogue::new([], Operations::built_in(), [])),
    };
    watch::channel(Arc::new(current)).1
}

/// The snapshot that is in use now.
pub fn current(live: &Live) -> Arc<Current> {
    Arc::clone(&live.borrow())
}
