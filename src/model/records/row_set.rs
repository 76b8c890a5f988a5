//! A set of tasks, small enough for a million of them.

use crate::model::task::Row;

/// A set of tasks: one bit for each key of the store. Keys have no gaps.
#[derive(Clone, Debug, Default)]
pub struct RowSet(Vec<u64>);

impl RowSet {
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
        let mut rows = RowSet::default();
        [1, 63, 64, 1_000_000].into_iter().for_each(|row| rows.insert(Row(row)));
        let held: Vec<_> = (0..=1_000_001).filter(|row| rows.contains(Row(*row))).collect();
        assert_eq!(held, [1, 63, 64, 1_000_000]);
    }
}
