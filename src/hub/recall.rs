//! What followed a position on each of several channels, read at once and without a subscription.

use super::{Hub, lock, order::Order};
use crate::channel::Channel;
use bytes::{Bytes, BytesMut};

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

struct Found {
    sequence: u64,
    channel: usize,
    bytes: Bytes,
}

impl Hub {
    /// The entries after the given sequence on each channel, of about `limit` bytes at the most. No
    /// sequence is one that means nothing here.
    pub(crate) fn recall(&self, wanted: &[(Channel, Option<u64>)], limit: usize) -> Recall {
        let order = lock(&self.order);
        let (mut recall, mut found) = (Recall::default(), Vec::new());
        for (index, (channel, after)) in wanted.iter().enumerate() {
            let position = order.find(channel, *after, index, &mut found);
            let position = position.unwrap_or_else(|last| {
                recall.gone.push(channel.clone());
                last
            });
            recall.positions.push(position);
        }
        recall.position = order.sequence();
        drop(order);
        found.sort_unstable_by_key(|entry| entry.sequence);
        recall.take(&found, limit);
        recall
    }
}

impl Order {
    /// Adds what followed `after`. Returns the last position until then, or if entries are gone, as an
    /// error, the last position of all.
    fn find(
        &self,
        channel: &Channel,
        after: Option<u64>,
        index: usize,
        found: &mut Vec<Found>,
    ) -> Result<u64, u64> {
        let after = after.filter(|after| *after <= self.sequence());
        let Some(log) = self.get(channel) else {
            let last = self.evicted(channel);
            return after
                .filter(|after| *after >= last)
                .map(|_| last)
                .ok_or(last);
        };
        let inner = log.lock();
        let next = after.and_then(|after| inner.log.after(after));
        let next = next.ok_or_else(|| inner.log.before(inner.log.end()))?;
        for entry in inner.log.entries(next).into_iter().flatten() {
            found.push(Found {
                sequence: entry.sequence,
                channel: index,
                bytes: entry.bytes.clone(),
            });
        }
        Ok(inner.log.before(next))
    }
}

impl Recall {
    /// Takes as many entries as fit, one at least.
    fn take(&mut self, found: &[Found], limit: usize) {
        let (mut bytes, mut last) = (BytesMut::new(), self.position);
        for entry in found {
            self.more = !bytes.is_empty() && bytes.len() + entry.bytes.len() > limit;
            if self.more {
                break;
            }
            bytes.extend_from_slice(&entry.bytes);
            self.positions[entry.channel] = entry.sequence;
            last = entry.sequence;
        }
        if self.more {
            self.position = last;
        }
        self.bytes = bytes.freeze();
    }
}
