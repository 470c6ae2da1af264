//! Reading the entries after a position on several channels without a subscription.

use super::{
    Hub,
    cursor::Cursor,
    entry::Entry,
    merge::{Merge, Merged},
};
use crate::channel::Channel;
use bytes::Bytes;
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

impl Hub {
    /// Reads the entries after the given sequence number on each channel, at most `limit` bytes but at least
    /// one entry. `None` stands for a position that is not from this hub.
    pub(crate) fn recall(&self, wanted: &[(Channel, Option<u64>)], limit: usize) -> Recall {
        self.recall_until(wanted, limit, u64::MAX)
    }

    /// As [`recall`](Self::recall), up to the sequence number `until`.
    pub(crate) fn recall_until(
        &self,
        wanted: &[(Channel, Option<u64>)],
        limit: usize,
        until: u64,
    ) -> Recall {
        // Nothing is appended, evicted or closed while the lock is held.
        let (now, state) = (Instant::now(), self.state());
        let head = state.sequence().min(until);
        let is_expired = |entry: &Entry| self.config.is_expired(entry.at, now);
        let mut gone = Vec::new();
        let cursor = |(channel, after): &(Channel, Option<u64>)| {
            let after = after.filter(|after| *after <= head);
            let (cursor, found) = Cursor::after(state.log_of(channel), after, is_expired);
            if found.is_none() {
                gone.push(channel.clone());
            }
            cursor
        };
        let mut cursors: Vec<_> = wanted.iter().map(cursor).collect();
        let merged = Merge::new(&cursors, head, None).join(&mut cursors, limit, |_| {});
        Recall::new(merged, gone, &cursors, head)
    }

    /// Reads the newest entry of each key, at most `limit` bytes but at least one entry. Returns the page with the
    /// sequence number up to which it reads.
    ///
    /// `page` is `None` for the first page. For later pages it is the previous page's position, and the sequence number
    /// that the first call returned. The last page has the positions at that number; `gone` lists channels that lost
    /// entries after it.
    pub(crate) fn recall_latest(
        &self,
        channels: &[Channel],
        page: Option<(u64, u64)>,
        limit: usize,
    ) -> (Recall, u64) {
        let (now, state) = (Instant::now(), self.state());
        let head = state.sequence();
        let (after, until) = page.unwrap_or((0, head));
        let is_expired = |entry: &Entry| self.config.is_expired(entry.at, now);
        let cursor = |channel: &Channel| {
            let (mut cursor, _) = Cursor::after(state.log_of(channel), None, is_expired);
            cursor.seek_latest(after, is_expired);
            cursor
        };
        let mut cursors: Vec<_> = channels.iter().map(cursor).collect();
        let merge = Merge::latest(&cursors, until.min(head), None);
        let merged = merge.join(&mut cursors, limit, |_| {});
        let mut gone = Vec::new();
        if !merged.is_cut {
            cursors.iter_mut().for_each(|cursor| {
                if !cursor.seek(until) {
                    gone.push(cursor.channel().clone());
                }
            });
        }
        (Recall::new(merged, gone, &cursors, until), until)
    }
}

impl Recall {
    fn new(merged: Merged, gone: Vec<Channel>, cursors: &[Cursor], to: u64) -> Self {
        let last = merged.last.filter(|_| merged.is_cut);
        Self {
            bytes: merged.bytes,
            gone,
            positions: cursors.iter().map(Cursor::position).collect(),
            position: last.map_or(to, |last| last.sequence),
            more: merged.is_cut,
        }
    }
}
