//! Registration of the listed tasks at a start.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Error;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::files;
use crate::model::records::{Registered, RegisteredState, RowSet};
use crate::model::task::NewTask;
use crate::register::catalogue::Catalogue;
use crate::register::listed::listed;
use crate::store::Store;

/// Tasks registered in one transaction: enough to be fast, few enough to keep memory small.
const REGISTERED_AT_ONCE: usize = 5_000;

/// Registers every listed task. Returns the keys of all of them. The list is read on a thread of its own, at
/// most one batch ahead, so that a long list takes no memory.
///
/// # Errors
/// When the store fails, or a task file is not as it was when it was loaded.
pub async fn register_listed(
    loaded: Arc<Loaded>,
    catalogue: Arc<Catalogue>,
    store: &dyn Store,
    clock: Clock,
) -> Result<RowSet, Error> {
    let policy = loaded.poll;
    let (sender, mut batches) = mpsc::channel::<Vec<NewTask>>(1);
    let reader = files::off_loop(move || {
        let mut batch = Vec::with_capacity(REGISTERED_AT_ONCE);
        listed(&loaded.tasks, &loaded.task_files, &catalogue, |task| {
            batch.push(task);
            if batch.len() == REGISTERED_AT_ONCE {
                // An error means that the start was cancelled.
                let _ = sender.blocking_send(std::mem::take(&mut batch));
            }
        })?;
        let _ = sender.blocking_send(batch);
        Ok(())
    });
    let mut rows = RowSet::default();
    let mut counts = HashMap::new();
    while let Some(batch) = batches.recv().await {
        let now = clock.now().wall;
        let due = batch.iter().map(|task| now + task.settings.initial_delay(policy.initial_delay)).collect();
        for Registered { row, state } in store.register(batch, now, due).await? {
            rows.insert(row);
            *counts.entry(state).or_insert(0_u64) += 1;
        }
    }
    reader.await.map_err(Error::Thread)?.map_err(Error::Configuration)?;
    let count = |state| counts.get(&state).copied().unwrap_or_default();
    tracing::info!(
        new = count(RegisteredState::New),
        known = count(RegisteredState::Known),
        over = count(RegisteredState::Finished),
        "tasks registered"
    );
    Ok(rows)
}
