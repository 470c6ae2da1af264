//! The keys of one channel's entries.
//!
//! 1. An entry with a key supersedes the earlier entries with that key. A reader skips a superseded entry if it
//!    may also return the one that supersedes it.
//! 2. Evicting a superseded entry loses nothing: `lost` is the end of the lost entries, which are those without a key,
//!    removals, and newest entries that are not retained. A position at or after it has missed nothing.
//! 3. If the log retains, the newest entry of a key moves from the ring to `retained`, until it is superseded
//!    or the memory exceeds the budget. An entry that removes its key is not retained.
//!
//! A log has keys from its first entry with a key until its last entry is evicted. Every change here is at most
//! a few steps in a tree.

use super::entry::{Entry, Evicted};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque, btree_map},
    sync::Arc,
};

/// Memory of a key beside its text: its allocation and its place in a tree that is half full.
const KEY_OVERHEAD: usize = 32 + 2 * size_of::<(Arc<str>, u64)>();

/// Memory of a retained entry's place in a tree that is half full.
const RETAINED_OVERHEAD: usize = 2 * size_of::<(u64, Retained)>();

/// Minimum capacity of the states that is shrunk.
const SMALL: usize = 8;

/// The key of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: Arc<str>,
    /// Whether the key is forgotten after the entry.
    pub(crate) is_removed: bool,
}

/// The entries that a reader returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    All,
    /// Without those superseded by an entry up to this sequence number.
    UpTo(u64),
    /// The newest of each key, without removals. Lost entries are skipped.
    Latest,
}

#[derive(Debug)]
pub(super) struct Keyed {
    /// The index of the newest entry of each key.
    newest: BTreeMap<Arc<str>, u64>,
    /// The state of each entry of the ring.
    states: VecDeque<KeyState>,
    /// Newest entries that left the ring, by index.
    retained: BTreeMap<u64, Retained>,
    retains: bool,
    lost: Lost,
    /// Memory of the keys and of the retained entries.
    size: usize,
}

#[derive(Debug)]
enum KeyState {
    WithoutKey,
    Newest(Arc<str>),
    /// The newest entry of a key that it removes.
    Removal(Arc<str>),
    Superseded {
        by: u64,
    },
}

#[derive(Debug)]
struct Retained {
    entry: Entry,
    key: Arc<str>,
}

/// The end of the lost entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// The index after the last lost entry.
    pub(super) end: u64,
    /// The sequence number of the last lost entry.
    pub(super) sequence: u64,
}

/// An entry that a new one supersedes.
pub(super) enum Superseded {
    /// The index of an entry of the ring.
    InRing(u64),
    Retained(Bytes),
}

impl Keyed {
    /// The keys of a ring with `len` entries without keys.
    pub(super) fn new(len: usize, lost: Lost, retains: bool) -> Self {
        Self {
            newest: BTreeMap::new(),
            states: (0..len).map(|_| KeyState::WithoutKey).collect(),
            retained: BTreeMap::new(),
            retains,
            lost,
            size: 0,
        }
    }

    pub(super) fn push_without_key(&mut self) {
        self.states.push_back(KeyState::WithoutKey);
    }

    /// Adds the entry with this index, and sets the state of the one that it supersedes.
    pub(super) fn push(&mut self, index: u64, sequence: u64, key: Key) -> Option<Superseded> {
        let (text, before) = match self.newest.entry(key.text) {
            btree_map::Entry::Occupied(mut newest) => {
                let before = newest.insert(index);
                (newest.key().clone(), Some(before))
            }
            btree_map::Entry::Vacant(vacant) => {
                self.size += key_size(vacant.key());
                let text = vacant.key().clone();
                vacant.insert(index);
                (text, None)
            }
        };
        let first = index - self.states.len() as u64;
        let superseded = before.and_then(|before| match before.checked_sub(first) {
            Some(at) => {
                self.states[at as usize] = KeyState::Superseded { by: sequence };
                Some(Superseded::InRing(before))
            }
            None => self.remove_retained(before).map(Superseded::Retained),
        });
        self.states.push_back(match key.is_removed {
            true => KeyState::Removal(text),
            false => KeyState::Newest(text),
        });
        superseded
    }

    fn remove_retained(&mut self, index: u64) -> Option<Bytes> {
        let Retained { entry, .. } = self.retained.remove(&index)?;
        self.size -= entry.size() + RETAINED_OVERHEAD;
        Some(entry.bytes)
    }

    /// Takes over the ring's oldest entry. With `retains`, it may be retained. The result has no bytes then.
    pub(super) fn evict(&mut self, index: u64, entry: Entry, retains: bool) -> Evicted {
        let sequence = entry.sequence;
        let state = self.states.pop_front();
        self.shrink();
        match state {
            Some(KeyState::Newest(key)) if retains && self.retains => {
                self.size += entry.size() + RETAINED_OVERHEAD;
                self.retained.insert(index, Retained { entry, key });
                return Evicted {
                    sequence,
                    bytes: Bytes::new(),
                };
            }
            Some(KeyState::Superseded { .. }) => {}
            Some(KeyState::Newest(key) | KeyState::Removal(key)) => {
                self.lose(index, sequence, Some(&key))
            }
            Some(KeyState::WithoutKey) | None => self.lose(index, sequence, None),
        }
        entry.into()
    }

    /// Removes the oldest retained entry.
    pub(super) fn discard(&mut self) -> Option<Evicted> {
        let (index, Retained { entry, key }) = self.retained.pop_first()?;
        self.size -= entry.size() + RETAINED_OVERHEAD;
        self.lose(index, entry.sequence, Some(&key));
        Some(entry.into())
    }

    fn lose(&mut self, index: u64, sequence: u64, key: Option<&Arc<str>>) {
        if self.lost.end <= index {
            self.lost = Lost {
                end: index + 1,
                sequence,
            };
        }
        if let Some(key) = key {
            self.newest.remove(key);
            self.size -= key_size(key);
        }
    }

    fn shrink(&mut self) {
        let (length, capacity) = (self.states.len(), self.states.capacity());
        if capacity > SMALL && length <= capacity / 4 {
            self.states.shrink_to(2 * length);
        }
    }

    pub(super) fn lost(&self) -> Lost {
        self.lost
    }

    /// Whether evicting the ring's entry at this position by count or age loses it.
    pub(super) fn would_lose(&self, position: usize) -> bool {
        match &self.states[position] {
            KeyState::WithoutKey | KeyState::Removal(_) => true,
            KeyState::Newest(_) => !self.retains,
            KeyState::Superseded { .. } => false,
        }
    }

    pub(super) fn selects(&self, position: usize, select: Select) -> bool {
        let state = &self.states[position];
        match select {
            Select::All => true,
            Select::UpTo(to) => !matches!(state, KeyState::Superseded { by } if *by <= to),
            Select::Latest => matches!(state, KeyState::Newest(_)),
        }
    }

    pub(super) fn retains(&self) -> bool {
        self.retains
    }

    /// The retained entries from the index `next`, oldest first.
    pub(super) fn retained(&self, next: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let retained = self.retained.range(next..);
        retained.map(|(index, retained)| (*index, &retained.entry))
    }

    /// The index of the first retained entry after the position `sequence`.
    pub(super) fn retained_after(&self, sequence: u64) -> Option<u64> {
        let mut low = *self.retained.first_key_value()?.0;
        let mut high = self.retained.last_key_value()?.0 + 1;
        // Indices and sequence numbers have the same order.
        while low < high {
            let middle = u64::midpoint(low, high);
            match self.retained(middle).next() {
                Some((index, entry)) if entry.sequence <= sequence => low = index + 1,
                _ => high = middle,
            }
        }
        self.retained(low).next().map(|(index, _)| index)
    }

    /// The sequence number of the last retained entry before the index `next`.
    pub(super) fn retained_before(&self, next: u64) -> Option<u64> {
        let before = self.retained.range(..next).next_back();
        before.map(|(_, retained)| retained.entry.sequence)
    }

    /// Number of retained entries.
    pub(super) fn retained_len(&self) -> usize {
        self.retained.len()
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.newest.len()
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.size + self.states.capacity() * size_of::<KeyState>()
    }
}

fn key_size(key: &str) -> usize {
    key.len() + KEY_OVERHEAD
}

#[cfg(test)]
impl Keyed {
    /// Compares the states, the map and the counted size with each other, for a ring from the index `first`.
    pub(super) fn is_consistent(&self, first: u64, len: usize) -> bool {
        let in_ring = (first..).zip(&self.states).filter_map(|(index, state)| {
            let (KeyState::Newest(key) | KeyState::Removal(key)) = state else {
                return None;
            };
            Some((index, key))
        });
        let retained = self.retained.iter();
        let retained = retained.map(|(index, retained)| (*index, &retained.key));
        let mut newest: Vec<_> = in_ring.chain(retained).collect();
        let mut known: Vec<_> = self.newest.iter().map(|(key, at)| (*at, key)).collect();
        newest.sort_unstable();
        known.sort_unstable();
        let keys = self.newest.keys().map(|key| key_size(key)).sum::<usize>();
        let retained = self.retained.values();
        let retained = retained.map(|retained| retained.entry.size() + RETAINED_OVERHEAD);
        assert!(self.retained.keys().all(|index| *index < first));
        assert!(self.lost.end <= first && self.retains || self.retained.is_empty());
        newest == known && self.states.len() == len && self.size == keys + retained.sum::<usize>()
    }
}
