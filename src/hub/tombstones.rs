//! Tombstones of removed channels.
//!
//! A client may resume from a position on a channel that was removed since. The tombstone is the last
//! evicted sequence number, which decides whether the client missed anything. Beyond a limit, the oldest
//! tombstones collapse into one floor for all channels without a tombstone.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
    mem,
};

/// Maximum number of tombstones. Miri takes minutes for the full number.
const REMEMBERED: usize = if cfg!(miri) { 64 } else { 16_384 };

#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    hasher: RandomState,
    evicted: HashMap<u64, u64>,
    by_age: VecDeque<u64>,
    /// Applies to every channel without a tombstone of its own.
    floor: u64,
}

impl Tombstones {
    /// Records that all entries of `channel` up to the sequence number `evicted` were evicted.
    pub(crate) fn insert(&mut self, channel: impl Hash, evicted: u64) {
        let key = self.hasher.hash_one(channel);
        if self.evicted.insert(key, evicted).is_none() {
            self.by_age.push_back(key);
        }
        if self.by_age.len() > REMEMBERED {
            let oldest = self
                .by_age
                .pop_front()
                .and_then(|key| self.evicted.remove(&key));
            self.floor = self.floor.max(oldest.unwrap_or(0));
        }
    }

    /// Records that all entries of every channel up to the sequence number `floor` were evicted. Returns the earlier
    /// tombstones, to be freed without a lock.
    pub(crate) fn raise(&mut self, floor: u64) -> Self {
        let raised = Self {
            floor,
            ..Self::default()
        };
        mem::replace(self, raised)
    }

    /// The sequence number up to which entries of `channel` may have been evicted.
    pub(crate) fn evicted(&self, channel: impl Hash) -> u64 {
        let key = self.hasher.hash_one(channel);
        self.evicted.get(&key).copied().unwrap_or(self.floor)
    }
}

#[cfg(test)]
impl Tombstones {
    pub(super) fn floor_and_len(&self) -> (u64, usize) {
        (self.floor, self.evicted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_channel_leaves_a_tombstone() {
        let mut tombstones = Tombstones::default();
        tombstones.insert("a", 7);
        tombstones.insert("b", 9);
        tombstones.insert("a", 12);
        let of = |name: &str| tombstones.evicted(name);
        assert_eq!((of("a"), of("b"), of("never")), (12, 9, 0));
    }

    #[test]
    fn a_raised_floor_replaces_all_tombstones() {
        let mut tombstones = Tombstones::default();
        tombstones.insert("a", 7);
        assert_eq!(tombstones.raise(9).evicted("a"), 7);
        tombstones.insert("b", 12);
        assert_eq!(["a", "b"].map(|name| tombstones.evicted(name)), [9, 12]);
        assert_eq!(tombstones.by_age.len(), 1);
    }

    #[test]
    fn beyond_the_limit_the_oldest_tombstones_raise_the_floor() {
        let mut tombstones = Tombstones::default();
        for n in 0..REMEMBERED as u64 + 10 {
            tombstones.insert(n, n + 1);
        }
        assert_eq!(
            (tombstones.evicted.len(), tombstones.by_age.len()),
            (REMEMBERED, REMEMBERED)
        );
        assert_eq!(tombstones.evicted(3_u64), 10, "dropped: the floor applies");
        assert_eq!(tombstones.evicted(11_u64), 12);
        assert_eq!(tombstones.evicted(u64::MAX), 10);
    }
}
