//! What followed a position on each of several channels, read at once and without a subscription.

use super::{ChannelLog, Hub, log::Entry, reader::Joined, state::HubState};
use crate::channel::Channel;
use bytes::Bytes;
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};
use tokio::time::Instant;

/// What was asked for, as of one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recall {
    /// The entries, in the order of all publishes.
    pub(crate) bytes: Bytes,
    /// Channels of which entries after the position are gone.
    pub(crate) gone: Vec<Channel>,
    /// The position on each channel after `bytes`: the sequence of its last entry until then.
    pub(crate) positions: Vec<u64>,
    /// The position over all after `bytes`.
    pub(crate) position: u64,
    /// More entries are there than the limit allowed.
    pub(crate) more: bool,
}

/// Where a channel's entries are still to be taken from.
struct Source {
    channel: usize,
    log: Arc<ChannelLog>,
    next: u64,
}

impl Hub {
    /// The entries after the given sequence on each channel, of about `limit` bytes at the most. No
    /// sequence is one that means nothing here.
    pub(crate) fn recall(&self, wanted: &[(Channel, Option<u64>)], limit: usize) -> Recall {
        // As long as it is held, nothing is appended and nothing is evicted.
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
    /// Adds what followed `after`. Returns the last position until then, or if entries are gone, as an
    /// error, the last position of all.
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
    /// The next entry: its sequence and its bytes.
    fn next(&self) -> Option<(u64, Bytes)> {
        let inner = self.log.lock();
        let entry = inner.log.entries(self.next).ok()?.next()?;
        Some((entry.sequence, entry.bytes.clone()))
    }
}

impl Recall {
    /// Takes as many entries as fit, one at least, in the order of their sequence.
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
