//! Optional values in 8 bytes, for the rows that there may be a million of.

use std::marker::PhantomData;
use std::time::Duration;

use crate::clock::{Steady, Wall};

/// An optional value. The type of Rust's own needs 16 bytes for the same values.
pub struct Compact<T> {
    word: i64,
    of: PhantomData<T>,
}

/// A type whose values fit into a word, and none of them is [`NONE`].
pub trait Word: Sized {
    /// The word of the value.
    fn into_word(self) -> i64;
    /// The value of the word.
    fn from_word(word: i64) -> Self;
}

/// The word that stands for no value.
const NONE: i64 = i64::MIN;

impl<T: Word> Compact<T> {
    /// The value.
    pub fn get(self) -> Option<T> {
        (self.word != NONE).then(|| T::from_word(self.word))
    }
}

impl<T: Word> From<Option<T>> for Compact<T> {
    fn from(value: Option<T>) -> Self {
        Self { word: value.map_or(NONE, T::into_word), of: PhantomData }
    }
}

impl Word for Steady {
    fn into_word(self) -> i64 {
        self.0.max(NONE + 1)
    }

    fn from_word(word: i64) -> Self {
        Self(word)
    }
}

impl Word for Wall {
    fn into_word(self) -> i64 {
        self.0.max(NONE + 1)
    }

    fn from_word(word: i64) -> Self {
        Self(word)
    }
}

/// In microseconds, at most 292,000 years.
impl Word for Duration {
    fn into_word(self) -> i64 {
        i64::try_from(self.as_micros()).unwrap_or(i64::MAX)
    }

    fn from_word(word: i64) -> Self {
        Self::from_micros(word.unsigned_abs())
    }
}

impl<T> Clone for Compact<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Compact<T> {}

impl<T> PartialEq for Compact<T> {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl<T> Eq for Compact<T> {}

impl<T> Default for Compact<T> {
    fn default() -> Self {
        Self { word: NONE, of: PhantomData }
    }
}

impl<T: Word + std::fmt::Debug> std::fmt::Debug for Compact<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_comes_back_in_half_the_room() {
        assert_eq!(size_of::<Compact<Duration>>() * 2, size_of::<Option<Duration>>());
        for value in [
            None,
            Some(Duration::ZERO),
            Some(Duration::from_millis(1)),
            Some(Duration::from_secs(u32::MAX.into())),
        ] {
            assert_eq!(Compact::from(value).get(), value);
        }
        for value in [None, Some(Steady(0)), Some(Steady(-1)), Some(Steady(i64::MAX))] {
            assert_eq!(Compact::from(value).get(), value);
        }
        assert_eq!(
            Compact::from(Some(Wall(i64::MIN))).get(),
            Some(Wall(i64::MIN + 1)),
            "never taken for none"
        );
    }
}
