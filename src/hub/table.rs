//! The channels of a hub by name: a hash table split into parts.
//!
//! A table that grows moves all its entries at once. Here only one of many parts grows at a time, and the
//! stored key is the hash, so no publish pays for a large move.

use super::ChannelLog;
use crate::channel::Channel;
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::Arc,
};

/// With a million channels, a part has about 16,000, which move in a fraction of a millisecond.
const PARTS: usize = 64;

/// Minimum capacity of a part that is shrunk.
const SMALL: usize = 64;

type Part = HashMap<u64, Arc<ChannelLog>, BuildHasherDefault<IdentityHasher>>;

#[derive(Debug)]
pub(super) struct Table {
    hasher: RandomState,
    /// Channels by the hash of their name.
    parts: [Part; PARTS],
    /// Channels whose hash was already in use when they were inserted: hardly ever any.
    others: Vec<Arc<ChannelLog>>,
}

/// Hasher for keys that are hashes already.
#[derive(Debug, Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a key is a number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            parts: [(); PARTS].map(|()| Part::default()),
            others: Vec::new(),
        }
    }
}

impl Table {
    pub(super) fn get(&self, name: &Channel) -> Option<&Arc<ChannelLog>> {
        self.get_hashed(self.hasher.hash_one(name), name)
    }

    /// Inserts a channel whose name is not in the table.
    pub(super) fn insert(&mut self, log: Arc<ChannelLog>) {
        self.insert_hashed(self.hasher.hash_one(log.name()), log);
    }

    pub(super) fn remove(&mut self, name: &Channel) {
        self.remove_hashed(self.hasher.hash_one(name), name);
    }

    fn get_hashed(&self, hash: u64, name: &Channel) -> Option<&Arc<ChannelLog>> {
        let log = self.parts[part(hash)].get(&hash);
        log.filter(|log| log.name() == name)
            .or_else(|| self.others.iter().find(|log| log.name() == name))
    }

    fn insert_hashed(&mut self, hash: u64, log: Arc<ChannelLog>) {
        match self.parts[part(hash)].entry(hash) {
            Entry::Vacant(vacant) => _ = vacant.insert(log),
            Entry::Occupied(_) => self.others.push(log),
        }
    }

    fn remove_hashed(&mut self, hash: u64, name: &Channel) {
        let part = &mut self.parts[part(hash)];
        if part.get(&hash).is_none_or(|log| log.name() != name) {
            self.others.retain(|log| log.name() != name);
            return;
        }
        part.remove(&hash);
        if part.capacity() > SMALL && part.len() <= part.capacity() / 8 {
            part.shrink_to(2 * part.len());
        }
    }
}

/// `HashMap` uses the highest and the lowest bits itself, so the part comes from the middle.
fn part(hash: u64) -> usize {
    (hash >> 32) as usize % PARTS
}

#[cfg(test)]
impl Table {
    pub(super) fn logs(&self) -> impl Iterator<Item = &Arc<ChannelLog>> {
        let logs = self.parts.iter().flat_map(HashMap::values);
        logs.chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::log::Log, *};

    fn names(count: usize) -> Vec<Channel> {
        let names = (0..count).map(|index| Channel::new(index.to_string()).unwrap());
        names.collect()
    }

    fn log(name: &Channel) -> Arc<ChannelLog> {
        Arc::new(ChannelLog::new(name.clone(), Log::new(0, 0)))
    }

    fn filled(names: &[Channel]) -> Table {
        let mut table = Table::default();
        for name in names {
            table.insert(log(name));
        }
        table
    }

    #[test]
    fn a_channel_is_found_by_its_name_until_it_is_removed() {
        let names = names(1000);
        let mut table = filled(&names);
        assert!(
            names
                .iter()
                .all(|name| table.get(name).unwrap().name() == name)
        );
        names[1..].iter().for_each(|name| table.remove(name));
        assert_eq!(table.logs().count(), 1);
        assert!(table.get(&names[0]).is_some() && table.get(&names[1]).is_none());
    }

    #[test]
    fn channels_with_equal_hashes_are_distinguished() {
        let names = names(3);
        for removed in 0..3 {
            let mut table = Table::default();
            names
                .iter()
                .for_each(|name| table.insert_hashed(7, log(name)));
            table.remove_hashed(7, &names[removed]);
            for (index, name) in names.iter().enumerate() {
                let found = table.get_hashed(7, name).map(|log| log.name());
                assert_eq!(found, (index != removed).then_some(name));
            }
            assert_eq!(table.logs().count(), 2);
        }
    }

    #[test]
    fn channels_spread_over_all_parts() {
        let table = filled(&names(100 * PARTS));
        let largest = table.parts.iter().map(HashMap::len).max();
        assert!(largest.unwrap() < 200, "{largest:?}");
    }

    #[test]
    fn parts_shrink_when_channels_are_removed() {
        let names = names(100 * PARTS);
        let mut table = filled(&names);
        let room = |table: &Table| table.parts.iter().map(HashMap::capacity).sum::<usize>();
        let full = room(&table);
        names.iter().for_each(|name| table.remove(name));
        assert!(room(&table) <= SMALL * PARTS && full >= names.len());
    }
}
