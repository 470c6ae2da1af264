//! The state that the sequencer guards: the sequence number, the channels, and their oldest entries.
//!
//! The counted size of a channel changes only in `HubState::change` and `HubState::uncount`.

use super::{
    Appended, Config,
    channel_log::{ChannelLog, Inner},
    entry::{Entry, Evicted},
    frames::FrameIndex,
    keyed::Key,
    log::Log,
    table::Table,
    tombstones::Tombstones,
    wait_list::WaiterKey,
};
use crate::{channel::Channel, observe::Sizes};
use bytes::Bytes;
use std::{collections::BTreeMap, mem, sync::Arc};
use tokio::time::Instant;

/// Entries of at least this many bytes are freed after the lock is released.
const LARGE: usize = 64 << 10;

/// Minimum capacity of a list that is shrunk.
const SMALL: usize = 64;

/// The begins of a hub so far.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Number of begins.
    pub(super) times: u32,
    /// The sequence number at the last one.
    pub(super) base: u64,
    /// Whether a log may be stale.
    pub(super) has_stale: bool,
}

#[derive(Debug, Default)]
pub(super) struct HubState {
    sequence: u64,
    /// The time of the last entry from a shared log.
    at: Option<Instant>,
    pub(super) begun: Begun,
    pub(super) logs: Table,
    /// The channels with readers. `Inner::slot` is a channel's place in it.
    ///
    /// New channels are pushed to the end and removal is a `swap_remove`. A walk from the end in several
    /// steps therefore visits every channel that stays.
    pub(super) with_readers: Vec<Arc<ChannelLog>>,
    /// The oldest entry of each channel's ring, by sequence number.
    pub(super) oldest: BTreeMap<u64, (Instant, Arc<ChannelLog>)>,
    /// The oldest retained entry of each channel with such entries, by sequence number.
    pub(super) retained: BTreeMap<u64, Arc<ChannelLog>>,
    /// Channels above their share of the budget, which is a quarter: hardly ever more than four.
    pub(super) large: Vec<Arc<ChannelLog>>,
    /// Memory of the channels with entries.
    pub(super) bytes: usize,
    pub(super) tombstones: Tombstones,
    pub(super) subscriptions: usize,
    pub(super) closes: super::closes::Closes,
    /// Large evicted entries, to be freed after the lock is released.
    pub(super) garbage: Vec<Bytes>,
    /// Logs that were reset, to be freed after the lock is released.
    pub(super) forgotten: Vec<Log>,
}

impl HubState {
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Sets the number of the last entry. It never decreases.
    pub(super) fn advance_to(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
    }

    /// The time to append an entry with. Times do not decrease, since only the oldest entry is checked for expiry.
    pub(super) fn in_order(&mut self, at: Instant) -> Instant {
        let at = at.min(Instant::now()).max(self.at.unwrap_or(at));
        *self.at.insert(at)
    }

    pub(super) fn get(&self, channel: &Channel) -> Option<Arc<ChannelLog>> {
        self.logs.get(channel).cloned()
    }

    pub(super) fn subscribers(&self, channel: &Channel) -> usize {
        self.logs.get(channel).map_or(0, |log| log.subscribers())
    }

    /// The counted sizes, joined frames included.
    pub(super) fn sizes(&self, frames: &FrameIndex) -> Sizes {
        Sizes {
            subscriptions: self.subscriptions,
            channels: self.with_readers.len(),
            history_bytes: self.bytes + frames.bytes(),
        }
    }

    /// The channel's log, created if missing.
    pub(super) fn get_or_create(&mut self, channel: &Channel) -> Arc<ChannelLog> {
        if let Some(log) = self.current(channel) {
            return log;
        }
        let log = self.without_entries(channel);
        self.logs.insert(log.clone());
        log
    }

    /// The channel's log, or an empty one that is not kept.
    pub(super) fn log_of(&self, channel: &Channel) -> Arc<ChannelLog> {
        let log = self.get(channel).filter(|log| !self.is_stale(log));
        log.unwrap_or_else(|| self.without_entries(channel))
    }

    /// An empty log for a channel that has no log. It continues where the channel's removed log ended.
    fn without_entries(&self, channel: &Channel) -> Arc<ChannelLog> {
        let log = Log::new(self.tombstones.evicted(channel), self.begun.times);
        Arc::new(ChannelLog::new(channel.clone(), log))
    }

    /// Adds a reader to the channel and returns its log.
    pub(super) fn add_reader(&mut self, channel: &Channel) -> Arc<ChannelLog> {
        let log = self.get_or_create(channel);
        let mut inner = log.lock();
        inner.subscribers += 1;
        if inner.subscribers == 1 {
            inner.slot = self.with_readers.len();
            self.with_readers.push(log.clone());
        }
        drop(inner);
        log
    }

    /// Removes a reader from `log`, and the log with its last reader unless its entries are kept.
    pub(super) fn remove_reader(
        &mut self,
        log: &Arc<ChannelLog>,
        waiter: &WaiterKey,
        config: &Config,
    ) {
        let mut inner = log.lock();
        inner.remove_waiter(waiter);
        inner.subscribers -= 1;
        let (is_last, slot) = (inner.subscribers == 0, inner.slot);
        let unused = is_last && (inner.log.is_empty() || !config.history);
        drop(inner);
        if is_last {
            self.unlist(slot);
        }
        if unused {
            self.remove(log);
        }
    }

    /// Removes the channel at `slot` from `with_readers`. The last one moves to that place.
    fn unlist(&mut self, slot: usize) {
        self.with_readers.swap_remove(slot);
        if let Some(moved) = self.with_readers.get(slot) {
            moved.lock().slot = slot;
        }
        if self.with_readers.capacity() > SMALL
            && self.with_readers.len() <= self.with_readers.capacity() / 8
        {
            self.with_readers.shrink_to(2 * self.with_readers.len());
        }
    }

    /// Appends an entry. Evicts the channel's oldest one if its ring is full.
    pub(super) fn append(
        &mut self,
        log: &Arc<ChannelLog>,
        entry: Entry,
        key: Option<Key>,
        config: &Config,
    ) -> Appended {
        let (evicted, front, pushed, subscribers) = self.change(log, config, |inner| {
            let is_full = inner.log.len() >= config.events;
            // If the new entry supersedes the oldest one, its eviction loses nothing.
            let evicts_after = is_full && key.is_some();
            let evict = |inner: &mut Inner| inner.log.evict();
            let before = (is_full && !evicts_after).then(|| evict(inner)).flatten();
            let pushed = inner.push(entry, key, config);
            let after = evicts_after.then(|| evict(inner)).flatten();
            let front = if is_full || inner.log.len() == 1 {
                front(inner)
            } else {
                None
            };
            (before.or(after), front, pushed, inner.subscribers)
        });
        self.advance(log, evicted, front);
        let (congested, superseded) = pushed;
        superseded.into_iter().for_each(|bytes| self.free(bytes));
        Appended {
            subscribers,
            congested: congested.then(|| log.clone()),
        }
    }

    /// Evicts an entry of `log`, and removes the log if it is then empty and has no reader.
    pub(super) fn evict(
        &mut self,
        log: &Arc<ChannelLog>,
        config: &Config,
        evict: impl FnOnce(&mut Log) -> Option<Evicted>,
    ) {
        let (evicted, front, unused) = self.change(log, config, |inner| {
            let evicted = evict(&mut inner.log);
            let unused = inner.log.is_empty() && inner.subscribers == 0;
            (evicted, front(inner), unused)
        });
        self.advance(log, evicted, front);
        if unused {
            self.remove(log);
        }
    }

    /// The channel with the oldest entry of the hub, and its sequence number.
    pub(super) fn oldest_of_all(&self) -> Option<(u64, &Arc<ChannelLog>)> {
        let in_ring = self.oldest.first_key_value();
        let in_ring = in_ring.map(|(sequence, (_, log))| (*sequence, log));
        let retained = self.retained.first_key_value();
        let retained = retained.map(|(sequence, log)| (*sequence, log));
        let oldest = in_ring.into_iter().chain(retained);
        oldest.min_by_key(|(sequence, _)| *sequence)
    }

    /// Applies `change` to a channel and accounts for the difference in size and in retained entries.
    fn change<T>(
        &mut self,
        log: &Arc<ChannelLog>,
        config: &Config,
        change: impl FnOnce(&mut Inner) -> T,
    ) -> T {
        let mut inner = log.lock();
        let (before, retained) = (log.size(&inner), inner.log.oldest_retained());
        let changed = change(&mut inner);
        let (after, now_retained) = (log.size(&inner), inner.log.oldest_retained());
        drop(inner);
        self.count(log, before, after, config);
        if retained != now_retained {
            self.index_retained(log, retained, now_retained);
        }
        changed
    }

    /// Replaces the channel's oldest retained entry in its index.
    pub(super) fn index_retained(
        &mut self,
        log: &Arc<ChannelLog>,
        before: Option<u64>,
        now: Option<u64>,
    ) {
        if let Some(sequence) = before {
            self.retained.remove(&sequence);
        }
        if let Some(sequence) = now {
            self.retained.insert(sequence, log.clone());
        }
    }

    fn count(&mut self, log: &Arc<ChannelLog>, before: usize, after: usize, config: &Config) {
        self.bytes = self.bytes - before + after;
        let share = config.share();
        match (before > share, after > share) {
            (false, true) => self.large.push(log.clone()),
            (true, false) => self.large.retain(|large| !Arc::ptr_eq(large, log)),
            _ => {}
        }
    }

    /// Replaces the channel's oldest entry `evicted` by `front` in the index of oldest entries.
    fn advance(&mut self, log: &Arc<ChannelLog>, evicted: Option<Evicted>, front: Option<Front>) {
        if let Some(Evicted { sequence, bytes }) = evicted {
            self.oldest.remove(&sequence);
            self.free(bytes);
        }
        if let Some((sequence, at)) = front {
            self.oldest.insert(sequence, (at, log.clone()));
        }
    }

    /// Frees an entry, if it is large after the lock is released.
    fn free(&mut self, bytes: Bytes) {
        if bytes.len() >= LARGE {
            self.garbage.push(bytes);
        }
    }

    /// Removes a log without readers and leaves a tombstone.
    ///
    /// The log has entries only if its last reader was just removed. That reader's cursor holds the last `Arc`, and
    /// frees them after the lock is released.
    fn remove(&mut self, log: &Arc<ChannelLog>) {
        self.logs.remove(log.name());
        let inner = log.lock();
        let last = inner.log.last();
        self.uncount(log, &inner);
        drop(inner);
        if last > self.tombstones.evicted(log.name()) {
            self.tombstones.insert(log.name(), last);
        }
    }

    /// Takes the entries of a log out of the counted size and the indices.
    pub(super) fn uncount(&mut self, log: &Arc<ChannelLog>, inner: &Inner) {
        self.bytes -= log.size(inner);
        self.large.retain(|large| !Arc::ptr_eq(large, log));
        self.index_retained(log, inner.log.oldest_retained(), None);
        if let Some((sequence, _)) = front(inner) {
            self.oldest.remove(&sequence);
        }
    }

    /// Takes the evicted entries and the logs that are to be freed after the lock is released.
    pub(super) fn take_garbage(&mut self) -> (Vec<Bytes>, Vec<Log>) {
        (mem::take(&mut self.garbage), mem::take(&mut self.forgotten))
    }
}

/// Sequence number and time of the oldest entry of a channel's ring.
type Front = (u64, Instant);

fn front(inner: &Inner) -> Option<Front> {
    let front = inner.log.front();
    front.map(|entry| (entry.sequence, entry.at))
}

#[cfg(test)]
impl HubState {
    pub(super) fn logs(&self) -> Vec<Arc<ChannelLog>> {
        self.logs.logs().cloned().collect()
    }

    /// Compares counters and indices with the logs themselves.
    pub(super) fn is_consistent(&self, config: &Config) -> bool {
        let (mut bytes, mut fronts, mut large, mut read, mut retained) = (0, 0, 0, 0, 0);
        for log in self.logs() {
            let inner = log.lock();
            let size = log.size(&inner);
            bytes += size;
            if let Some((sequence, _)) = front(&inner) {
                fronts += 1;
                assert!(Arc::ptr_eq(&self.oldest[&sequence].1, &log));
            }
            if let Some(sequence) = inner.log.oldest_retained() {
                retained += 1;
                assert!(Arc::ptr_eq(&self.retained[&sequence], &log));
            }
            if size > config.share() {
                large += 1;
                assert!(self.large.iter().any(|large| Arc::ptr_eq(large, &log)));
            }
            if inner.subscribers > 0 {
                read += 1;
                assert!(Arc::ptr_eq(&self.with_readers[inner.slot], &log));
            }
            assert!(inner.log.is_consistent());
            let resets = inner.log.resets();
            assert!(resets == self.begun.times || self.begun.has_stale);
        }
        let lists = (self.oldest.len(), self.large.len(), self.with_readers.len());
        bytes == self.bytes && lists == (fronts, large, read) && self.retained.len() == retained
    }
}
