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
pub(crate) struct Retired {
    hasher: RandomState,
    evicted: HashMap<u64, u64>,
    order: VecDeque<u64>,
    /// Holds for every channel that is no longer remembered by itself.
    floor: u64,
}

impl Retired {
    /// Remembers that all entries of `channel` up to the sequence `evicted` are gone.
    pub(crate) fn insert(&mut self, channel: impl Hash, evicted: u64) {
        let key = self.hasher.hash_one(channel);
        if self.evicted.insert(key, evicted).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED {
            let oldest = self
                .order
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
impl Retired {
    pub(super) fn state(&self) -> (u64, usize) {
        (self.floor, self.evicted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_channel_is_remembered() {
        let mut retired = Retired::default();
        retired.insert("a", 7);
        retired.insert("b", 9);
        retired.insert("a", 12);
        let of = |name: &str| retired.evicted(name);
        assert_eq!((of("a"), of("b"), of("never")), (12, 9, 0));
    }

    #[test]
    fn memory_is_bounded_and_errs_on_the_safe_side() {
        let mut retired = Retired::default();
        for n in 0..REMEMBERED as u64 + 10 {
            retired.insert(n, n + 1);
        }
        assert_eq!(
            (retired.evicted.len(), retired.order.len()),
            (REMEMBERED, REMEMBERED)
        );
        assert_eq!(retired.evicted(3_u64), 10, "forgotten: the floor holds");
        assert_eq!(retired.evicted(11_u64), 12);
        assert_eq!(retired.evicted(u64::MAX), 10);
    }
}
