//! Used nonces, and the calls of each action and region.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::scenario::Quota;
use crate::clock::Steady;

/// Above it the oldest seconds are dropped: some minutes at the highest rate.
const MOST_NONCES: usize = 2_000_000;
/// Above it the counts start again: no real client uses so many regions, but any client can make them up.
const MOST_PACE_KEYS: usize = 10_000;

/// Used nonces and calls.
#[derive(Default)]
pub(super) struct Used {
    pub(super) nonces: Nonces,
    calls: HashMap<[String; 2], VecDeque<Steady>>,
}

impl Used {
    /// Whether one more call is allowed; a refused call does not count.
    pub(super) fn counts_within(&mut self, quota: Quota, [action, region]: [&str; 2], now: Steady) -> bool {
        if self.calls.len() >= MOST_PACE_KEYS {
            self.calls.clear();
        }
        let calls = self.calls.entry([action, region].map(str::to_owned)).or_default();
        while calls.front().is_some_and(|call| now - *call >= quota.per) {
            calls.pop_front();
        }
        if calls.len() >= quota.calls {
            return false;
        }
        calls.push_back(now);
        true
    }
}

/// The nonces that were used, by second.
#[derive(Default)]
pub(super) struct Nonces {
    used: BTreeMap<u64, HashSet<u64>>,
    total: usize,
}

impl Nonces {
    /// Whether this pair is new; it counts as used from now on.
    pub(super) fn take(&mut self, timestamp: u64, nonce: u64) -> bool {
        let new = self.used.entry(timestamp).or_default().insert(nonce);
        self.total += usize::from(new);
        while self.total > MOST_NONCES
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.total -= oldest.len();
        }
        new
    }
}
