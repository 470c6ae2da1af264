//! What the order lock guards: the sequence, the channels, and who is oldest.

use super::{
    Appended, Config, Counts,
    channel_log::ChannelLog,
    log::{Entry, Log},
    retired::Retired,
    waiters::Seat,
};
use crate::channel::Channel;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Order {
    sequence: u64,
    logs: HashMap<Channel, Arc<ChannelLog>>,
    /// The oldest entry of each channel by its sequence: the first of them is the oldest of all.
    oldest: BTreeMap<u64, (Instant, Arc<ChannelLog>)>,
    bytes: usize,
    retired: Retired,
    pub(super) subscriptions: usize,
    published: u64,
    /// Deliveries of channels that are gone.
    delivered: u64,
}

impl Order {
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.published += 1;
        self.sequence
    }

    pub(super) fn get(&self, channel: &Channel) -> Option<Arc<ChannelLog>> {
        self.logs.get(channel).cloned()
    }

    /// The sequence up to which all entries of a channel without a log are gone.
    pub(super) fn evicted(&self, channel: &Channel) -> u64 {
        self.retired.evicted(channel)
    }

    pub(super) fn subscribers(&self, channel: &Channel) -> usize {
        self.logs.get(channel).map_or(0, |log| log.subscribers())
    }

    pub(super) fn logs(&self) -> Vec<Arc<ChannelLog>> {
        self.logs.values().cloned().collect()
    }

    /// The channel's log, a new one if there is none.
    pub(super) fn open(&mut self, channel: &Channel) -> Arc<ChannelLog> {
        if let Some(log) = self.logs.get(channel) {
            return log.clone();
        }
        let log = Log::new(self.retired.evicted(channel));
        let log = Arc::new(ChannelLog::new(channel.clone(), log));
        self.logs.insert(channel.clone(), log.clone());
        log
    }

    /// Appends, and evicts what the limits of `config` no longer allow.
    pub(super) fn append(
        &mut self,
        log: &Arc<ChannelLog>,
        entry: Entry,
        config: &Config,
    ) -> Appended {
        let Entry { sequence, at, .. } = entry;
        self.bytes += entry.bytes.len();
        let mut inner = log.lock();
        if inner.log.is_empty() {
            self.oldest.insert(sequence, (at, log.clone()));
        }
        let crowded = inner.push(entry, config);
        let subscribers = inner.subscribers;
        let overflow = inner.log.len() > config.events;
        drop(inner);
        if overflow {
            self.evict(log);
        }
        while self.bytes > config.bytes && self.evict_oldest_before(sequence) {}
        Appended {
            subscribers,
            crowded: crowded.then(|| log.clone()),
        }
    }

    /// Removes the oldest entry of `log`.
    fn evict(&mut self, log: &Arc<ChannelLog>) {
        let mut inner = log.lock();
        let Some(entry) = inner.log.evict() else {
            return;
        };
        self.bytes -= entry.bytes.len();
        self.oldest.remove(&entry.sequence);
        match inner.log.front() {
            Some(front) => {
                self.oldest.insert(front.sequence, (front.at, log.clone()));
            }
            None if inner.subscribers == 0 => {
                drop(inner);
                self.remove(log);
            }
            None => {}
        }
    }

    fn evict_oldest_before(&mut self, sequence: u64) -> bool {
        let oldest = self.oldest.first_key_value();
        let oldest = oldest.filter(|(oldest, _)| **oldest < sequence);
        let Some((_, (_, log))) = oldest else {
            return false;
        };
        let log = log.clone();
        self.evict(&log);
        true
    }

    /// Evicts everything that is older than `config` allows.
    pub(super) fn expire(&mut self, now: Instant, config: &Config) {
        while let Some((_, (at, log))) = self.oldest.first_key_value() {
            if now.saturating_duration_since(*at) < config.max_age {
                return;
            }
            let log = log.clone();
            self.evict(&log);
        }
    }

    /// A reader has gone from `log`. The last one takes the log along, unless it has history.
    pub(super) fn leave(&mut self, log: &Arc<ChannelLog>, seat: &Seat, config: &Config) {
        let mut inner = log.lock();
        inner.waiters.leave(seat);
        inner.subscribers -= 1;
        let unused = inner.subscribers == 0 && (inner.log.is_empty() || !config.history);
        drop(inner);
        if unused {
            self.remove(log);
        }
    }

    fn remove(&mut self, log: &Arc<ChannelLog>) {
        self.logs.remove(log.name());
        let inner = log.lock();
        self.delivered += inner.delivered;
        if let Some(front) = inner.log.front() {
            self.oldest.remove(&front.sequence);
        }
        let last = inner.log.entries(inner.log.first()).into_iter().flatten();
        let (bytes, last) = last.fold((0, inner.log.evicted()), |(bytes, _), entry| {
            (bytes + entry.bytes.len(), entry.sequence)
        });
        self.bytes -= bytes;
        if last > self.retired.evicted(log.name()) {
            self.retired.insert(log.name(), last);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts {
            subscriptions: self.subscriptions,
            bytes: self.bytes,
            published: self.published,
            delivered: self.delivered,
            ..Counts::default()
        };
        for log in self.logs.values() {
            let inner = log.lock();
            counts.channels += usize::from(inner.subscribers > 0);
            counts.delivered += inner.delivered;
        }
        counts
    }
}

#[cfg(test)]
impl Order {
    pub(super) fn retire_for_test(&mut self, n: u64) {
        self.retired.insert(n, n + 1);
    }

    /// The floor, and how many channels are remembered.
    pub(super) fn retired_for_test(&self) -> (u64, usize) {
        self.retired.state()
    }

    /// What is counted and indexed is what the logs hold.
    pub(super) fn is_consistent(&self) -> bool {
        let (mut bytes, mut fronts) = (0, 0);
        for log in self.logs.values() {
            let inner = log.lock();
            let entries = inner.log.entries(inner.log.first()).into_iter().flatten();
            bytes += entries.map(|entry| entry.bytes.len()).sum::<usize>();
            let front = inner.log.front().map(|entry| entry.sequence);
            fronts += usize::from(front.is_some());
            if front.is_some_and(|front| !self.oldest.contains_key(&front)) {
                return false;
            }
        }
        bytes == self.bytes && fronts == self.oldest.len()
    }
}
