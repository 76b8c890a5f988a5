//! The slots of the open tasks by their key in the store: 13 to 18 bytes a task.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::super::due::Slot;
use super::super::task::Row;

/// The slots by row.
#[derive(Debug, Default)]
pub struct SlotsByRow {
    /// The row of each slot.
    rows: Vec<Row>,
    /// Slots, hashed by their row.
    slots: HashTable<Slot>,
    hasher: DefaultHashBuilder,
}

impl SlotsByRow {
    /// The slot of that row.
    pub fn get(&self, row: Row) -> Option<Slot> {
        let hash = self.hasher.hash_one(row);
        self.slots.find(hash, |slot| self.rows[*slot as usize] == row).copied()
    }

    /// The last row of that slot.
    pub fn row_of(&self, slot: Slot) -> Option<Row> {
        self.rows.get(slot as usize).copied()
    }

    /// Makes room for that many rows.
    pub fn reserve(&mut self, rows: usize) {
        let Self { rows: table, slots, hasher } = self;
        table.reserve(rows);
        slots.reserve(rows, |slot| hasher.hash_one(table[*slot as usize]));
    }

    /// Adds a row; it has no slot yet.
    pub fn insert(&mut self, row: Row, slot: Slot) {
        let Self { rows, slots, hasher } = self;
        if rows.len() <= slot as usize {
            rows.resize(slot as usize + 1, Row(0));
        }
        rows[slot as usize] = row;
        slots.insert_unique(hasher.hash_one(row), slot, |slot| hasher.hash_one(rows[*slot as usize]));
    }

    /// Removes the row of that slot.
    pub fn remove(&mut self, slot: Slot) {
        let Self { rows, slots, hasher } = self;
        let Some(row) = rows.get(slot as usize) else { return };
        if let Ok(entry) = slots.find_entry(hasher.hash_one(row), |other| *other == slot) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_slot_until_it_is_removed() {
        let mut rows = SlotsByRow::default();
        (0..1000).for_each(|slot| rows.insert(Row(i64::from(slot) * 7), slot));
        rows.remove(3);
        rows.remove(3);
        rows.insert(Row(5), 3);
        assert_eq!([Row(21), Row(5), Row(14)].map(|row| rows.get(row)), [None, Some(3), Some(2)]);
    }
}
