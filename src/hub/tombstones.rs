//! What is remembered of channels that have been removed.
//!
//! A channel goes with its last entry and reader, but a client may come back with a position from
//! before. Sixteen bytes a channel tell whether something after that position is gone; when too
//! many are remembered, the oldest become one number that holds for all.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
};

/// Miri takes minutes for so many.
const REMEMBERED: usize = if cfg!(miri) { 64 } else { 16_384 };

#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    hasher: RandomState,
    evicted: HashMap<u64, u64>,
    by_age: VecDeque<u64>,
    /// Holds for every channel that is no longer remembered by itself.
    floor: u64,
}

impl Tombstones {
    /// Remembers that all entries of `channel` up to the sequence `evicted` are gone.
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

    /// The sequence up to which all entries of `channel` are gone, or may be.
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
    fn a_removed_channel_is_remembered() {
        let mut tombstones = Tombstones::default();
        tombstones.insert("a", 7);
        tombstones.insert("b", 9);
        tombstones.insert("a", 12);
        let of = |name: &str| tombstones.evicted(name);
        assert_eq!((of("a"), of("b"), of("never")), (12, 9, 0));
    }

    #[test]
    fn memory_is_bounded_and_errs_on_the_safe_side() {
        let mut tombstones = Tombstones::default();
        for n in 0..REMEMBERED as u64 + 10 {
            tombstones.insert(n, n + 1);
        }
        assert_eq!(
            (tombstones.evicted.len(), tombstones.by_age.len()),
            (REMEMBERED, REMEMBERED)
        );
        assert_eq!(tombstones.evicted(3_u64), 10, "forgotten: the floor holds");
        assert_eq!(tombstones.evicted(11_u64), 12);
        assert_eq!(tombstones.evicted(u64::MAX), 10);
    }
}
