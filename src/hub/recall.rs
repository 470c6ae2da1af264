//! Reading the entries after a position on several channels without a subscription.

use super::{ChannelLog, Hub, log::Entry, reader::Joined, state::HubState};
use crate::channel::Channel;
use bytes::Bytes;
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};
use tokio::time::Instant;

/// A page of entries, from one consistent snapshot of the logs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recall {
    /// The entries, joined in the order of their sequence numbers.
    pub(crate) bytes: Bytes,
    /// Channels that lost entries after the position.
    pub(crate) gone: Vec<Channel>,
    /// The position on each channel after `bytes`: the sequence number of its last entry up to there.
    pub(crate) positions: Vec<u64>,
    /// The position over all channels after `bytes`.
    pub(crate) position: u64,
    /// Whether entries remain beyond the limit.
    pub(crate) more: bool,
}

/// Cursor into a channel's log.
struct Source {
    channel: usize,
    log: Arc<ChannelLog>,
    next: u64,
}

impl Hub {
    /// Reads the entries after the given sequence number on each channel, at most `limit` bytes but at least
    /// one entry. `None` stands for a position that is not from this hub.
    pub(crate) fn recall(&self, wanted: &[(Channel, Option<u64>)], limit: usize) -> Recall {
        // Nothing is appended or evicted while the lock is held.
        let (now, state) = (Instant::now(), self.state());
        let is_expired = |entry: &Entry| self.config.is_expired(entry.at, now);
        let (mut recall, mut sources) = (Recall::default(), Vec::new());
        for (index, (channel, after)) in wanted.iter().enumerate() {
            let position = state.find(channel, *after, index, is_expired, &mut sources);
            let position = position.unwrap_or_else(|last| {
                recall.gone.push(channel.clone());
                last
            });
            recall.positions.push(position);
        }
        recall.position = state.sequence();
        recall.take(sources, limit);
        recall
    }
}

impl HubState {
    /// Adds a source of the entries after `after`. Returns the channel's position there.
    ///
    /// # Errors
    ///
    /// The channel's last position, if entries after `after` were evicted.
    fn find(
        &self,
        channel: &Channel,
        after: Option<u64>,
        index: usize,
        is_expired: impl Fn(&Entry) -> bool,
        sources: &mut Vec<Source>,
    ) -> Result<u64, u64> {
        let after = after.filter(|after| *after <= self.sequence());
        let Some(log) = self.get(channel) else {
            let last = self.evicted(channel);
            let known = after.filter(|after| *after >= last);
            return known.map(|_| last).ok_or(last);
        };
        let inner = log.lock();
        let next = after.and_then(|after| inner.log.after(after, is_expired));
        let next = next.ok_or_else(|| inner.log.last())?;
        let position = inner.log.before(next);
        drop(inner);
        sources.push(Source {
            channel: index,
            log,
            next,
        });
        Ok(position)
    }
}

impl Source {
    /// The sequence number and bytes of the next entry.
    fn next(&self) -> Option<(u64, Bytes)> {
        let inner = self.log.lock();
        let entry = inner.log.entries(self.next).ok()?.next()?;
        Some((entry.sequence, entry.bytes.clone()))
    }
}

impl Recall {
    /// Takes the entries that fit into `limit` bytes, at least one, in the order of their sequence numbers.
    fn take(&mut self, mut sources: Vec<Source>, limit: usize) {
        let head = |(index, source): (usize, &Source)| Some((source.next()?.0, index));
        let heads = sources.iter().enumerate().filter_map(head);
        let mut heads: BinaryHeap<_> = heads.map(Reverse).collect();
        let (mut joined, mut last) = (Joined::default(), self.position);
        while let Some(Reverse((sequence, index))) = heads.pop() {
            let source = &mut sources[index];
            let next = source
                .next()
                .filter(|(_, bytes)| joined.has_room(bytes, limit));
            let Some((_, bytes)) = next else {
                (self.more, self.position) = (true, last);
                break;
            };
            joined.push(bytes);
            self.positions[source.channel] = sequence;
            last = sequence;
            source.next += 1;
            heads.extend(head((index, source)).map(Reverse));
        }
        self.bytes = joined.freeze();
    }
}
