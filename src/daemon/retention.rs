//! Forgets what is long over, but never what the file still lists: a listed task that was forgotten would be watched again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Wall};
use crate::model::task::Row;
use crate::store::{Error, Past, Store};
use crate::units::Limit;

/// How often what is over is looked through; a record may live that much longer than it must.
const EVERY: Duration = Duration::from_secs(3600);
/// How many tasks are looked at in one transaction.
const PAGE: usize = 1_000;

/// Looks through what is over, now and then.
pub struct Retention {
    /// Whose records.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Clock,
    /// How long what is over is kept.
    pub kept: Limit,
    /// What the file lists.
    pub listed: Rows,
}

impl Retention {
    /// Runs until the stop.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Some(kept) = self.kept.0 else { return Ok(()) };
        loop {
            let now = self.clock.now();
            let before = Wall(now.wall.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)));
            tokio::select! {
                pruned = self.prune(before) => pruned?,
                () = stop.cancelled() => return Ok(()),
            }
            tokio::select! {
                () = self.clock.sleep_until(now.steady + EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn prune(&self, before: Wall) -> Result<(), Error> {
        let mut after = Past::default();
        loop {
            let over = self.store.past(before, after, PAGE).await?;
            let Some(last) = over.last() else { return Ok(()) };
            after = *last;
            let forgotten: Vec<_> = over.into_iter().filter(|past| !self.listed.contains(past.row)).collect();
            if !forgotten.is_empty() {
                tracing::info!(tasks = forgotten.len(), "forgetting tasks that are over for longer than [store] retention");
                self.store.forget(forgotten).await?;
            }
        }
    }
}

/// A set of tasks: one bit for each key of the store, which hands them out without gaps.
#[derive(Debug, Default)]
pub struct Rows(Vec<u64>);

impl Rows {
    /// Adds a task.
    pub fn insert(&mut self, row: Row) {
        let (word, bit) = Self::place(row);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    /// Whether it was added.
    pub fn contains(&self, row: Row) -> bool {
        let (word, bit) = Self::place(row);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn place(row: Row) -> (usize, u64) {
        let number = usize::try_from(row.0).unwrap_or_default();
        (number / 64, 1 << (number % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_rows_holds_what_was_added_and_nothing_else() {
        let mut rows = Rows::default();
        [1, 63, 64, 1_000_000].into_iter().for_each(|row| rows.insert(Row(row)));
        let held: Vec<_> = (0..=1_000_001).filter(|row| rows.contains(Row(*row))).collect();
        assert_eq!(held, [1, 63, 64, 1_000_000]);
    }
}
