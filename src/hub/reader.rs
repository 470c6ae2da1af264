//! A reader: one cursor per channel. Only this module moves cursors.
//!
//! 1. A position is a sequence number. Every entry up to it was returned, or reported as missed.
//! 2. Entries are returned in the order of their sequence numbers across channels.
//! 3. A reader that the ring has overtaken returns a gap first. It continues with the oldest entry.
//! 4. Dropping the reader ends its subscription.

use super::{
    ChannelLog, Hub, Stage, Start,
    log::{Entry, Missed, Piece},
    wait_list::WaiterKey,
};
use crate::{channel::Channel, few::Few};
use bytes::{Bytes, BytesMut};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Waker,
};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Reader {
    hub: Arc<Hub>,
    cursors: Few<Cursor>,
    position: u64,
    /// Entries that were already missing at the start, not reported yet.
    gap: Option<Box<Gap>>,
    /// The hub's stage at the last read.
    stage: Stage,
}

#[derive(Debug)]
struct Cursor {
    log: Arc<ChannelLog>,
    next: u64,
    waiter: WaiterKey,
}

/// Result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Batch(Batch),
    Gap(Gap),
    /// No entry for now.
    Empty,
    /// No entry will follow.
    End,
}

/// Consecutive entries, joined.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    /// Index of the last entry's channel among the reader's channels.
    pub(crate) channel: usize,
    /// When the last entry was appended.
    pub(crate) at: Instant,
    /// Whether the next read may return anything but [`Read::Empty`].
    pub(crate) more: bool,
}

/// Entries of `channels` were evicted before they were read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) channels: Vec<Channel>,
    /// Number of missed entries, if known.
    pub(crate) missed: Option<u64>,
}

/// Joins entries incrementally. A single entry is not copied.
#[derive(Debug, Default)]
pub(super) struct Joined {
    first: Option<Bytes>,
    all: BytesMut,
}

impl Joined {
    /// Whether `bytes` fit. The first entry always fits.
    pub(super) fn has_room(&self, bytes: &Bytes, limit: usize) -> bool {
        match &self.first {
            None => true,
            Some(first) => self.all.len().max(first.len()) + bytes.len() <= limit,
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        match &self.first {
            None => self.first = Some(bytes),
            Some(first) => {
                if self.all.is_empty() {
                    self.all.extend_from_slice(first);
                }
                self.all.extend_from_slice(&bytes);
            }
        }
    }

    pub(super) fn freeze(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first.unwrap_or_default(),
            false => self.all.freeze(),
        }
    }
}

impl Reader {
    /// Creates a reader of `logs`. Returns it with the number of entries it will replay.
    ///
    /// `last` is the sequence number of the last publish. The caller holds the sequencer's lock.
    pub(super) fn new(
        hub: Arc<Hub>,
        logs: impl Iterator<Item = Arc<ChannelLog>>,
        start: Start,
        last: u64,
        now: Instant,
    ) -> (Self, u64) {
        let after = match start {
            Start::After(sequence) if sequence <= last => Some(sequence),
            _ => None,
        };
        let mut replayed = 0;
        let mut incomplete = Vec::new();
        let cursor = |log: Arc<ChannelLog>| {
            let inner = log.lock();
            let end = inner.log.end();
            let is_expired = |entry: &Entry| hub.config.is_expired(entry.at, now);
            let found = after.and_then(|sequence| inner.log.after(sequence, is_expired));
            let waiter = inner.waiters.new_key();
            drop(inner);
            if found.is_none() && start != Start::Live {
                incomplete.push(log.name().clone());
            }
            let next = found.unwrap_or(end);
            replayed += end - next;
            Cursor { log, next, waiter }
        };
        let cursors = logs.map(cursor).collect();
        hub.counters.replayed.fetch_add(replayed, Relaxed);
        let gap = (!incomplete.is_empty()).then_some(Gap {
            channels: incomplete,
            missed: None,
        });
        // A client that reconnects right after the gap must not skip entries that other channels replay.
        let position = match (after, &gap) {
            (Some(sequence), None) => sequence,
            (Some(sequence), Some(_)) if replayed > 0 => sequence,
            _ => last,
        };
        let reader = Self {
            hub,
            cursors,
            position,
            gap: gap.map(Box::new),
            stage: Stage::Open,
        };
        (reader, replayed)
    }

    /// The hub this reader belongs to.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Whether the next read returns a gap that was known at the start.
    pub(crate) fn has_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// Every entry up to this sequence number was returned, or reported as missed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn channel(&self, index: usize) -> &Channel {
        self.cursors[index].log.name()
    }

    pub(crate) fn logs(&self) -> impl ExactSizeIterator<Item = &Arc<ChannelLog>> {
        self.cursors.iter().map(|cursor| &cursor.log)
    }

    /// Reads the available entries as one batch of at most `limit` bytes, but at least one entry.
    ///
    /// With a waker, a reader of one channel that returns the last entry also parks:
    /// [`Self::is_waiting`] is then true.
    pub(crate) fn read(&mut self, limit: usize, waker: Option<&Waker>) -> Read {
        if let Some(gap) = self.gap.take() {
            return Read::Gap(*gap);
        }
        // The stage is loaded before the entries, so entries appended before a close are still returned.
        self.stage = self.hub.stage();
        let read = match &mut *self.cursors {
            [cursor] => cursor.read(&self.hub, limit, &mut self.position, self.stage, waker),
            _ => self.merge(limit),
        };
        match read {
            Read::Gap(gap) => {
                let missed = gap.missed.unwrap_or(0);
                self.hub.counters.lagged.fetch_add(missed, Relaxed);
                Read::Gap(gap)
            }
            read => read,
        }
    }

    /// Reads entries of several channels in the order of their sequence numbers.
    fn merge(&mut self, limit: usize) -> Read {
        // Ends are loaded before the head, so the head is not below them.
        let ends = self.cursors.iter().filter_map(Cursor::end);
        let end = ends.chain(self.hub.closed_after()).min();
        let head = self.hub.sequence();
        match self.merge_up_to(end.map_or(head, |end| end.min(head)), limit) {
            Read::Empty if end.is_some() => Read::End,
            read => read,
        }
    }

    /// Stops at `head`: beyond it, an earlier entry of another channel may not be in its log yet.
    fn merge_up_to(&mut self, head: u64, limit: usize) -> Read {
        let Ok(mut ready) = self.peek(head) else {
            return Read::Gap(self.skip_evicted(head));
        };
        let (mut joined, mut last, mut is_cut) = (Joined::default(), None, false);
        let mut delivered = 0;
        while let Some(Reverse((sequence, index))) = ready.pop() {
            let room = |bytes: &Bytes| joined.has_room(bytes, limit);
            let (entry, following) = match self.cursors[index].take(head, room) {
                Ok(Some(taken)) => taken,
                Err(Missed(_)) if last.is_none() => return Read::Gap(self.skip_evicted(head)),
                // The next read reports entries that were evicted since `peek`.
                Ok(None) | Err(Missed(_)) => {
                    is_cut = true;
                    break;
                }
            };
            joined.push(entry.bytes);
            delivered += 1;
            last = Some((index, entry.at));
            self.position = sequence;
            ready.extend(following.map(|sequence| Reverse((sequence, index))));
        }
        self.hub.counters.delivered.add(delivered);
        match last {
            Some((channel, at)) => Read::Batch(Batch {
                bytes: joined.freeze(),
                channel,
                at,
                more: is_cut || self.may_end(),
            }),
            None => Read::Empty,
        }
    }

    /// Whether one of its channels was closed since it subscribed.
    pub(crate) fn is_closed(&self) -> bool {
        self.cursors.iter().any(Cursor::is_closed)
    }

    /// Whether a later read may return [`Read::End`].
    fn may_end(&self) -> bool {
        self.stage != Stage::Open || self.cursors.iter().any(Cursor::is_closed)
    }

    /// The cursors with an entry up to `head`, by the sequence number of that entry.
    fn peek(&self, head: u64) -> Result<BinaryHeap<Reverse<(u64, usize)>>, Missed> {
        let mut ready = BinaryHeap::with_capacity(self.cursors.len());
        for (index, cursor) in self.cursors.iter().enumerate() {
            let next = cursor.peek(head)?;
            ready.extend(next.map(|sequence| Reverse((sequence, index))));
        }
        Ok(ready)
    }

    /// Advances cursors that the ring has overtaken to the oldest entry.
    fn skip_evicted(&mut self, head: u64) -> Gap {
        let (mut channels, mut missed) = (Vec::new(), 0);
        // A client that resumes from this position must get the unread entries of all channels.
        let mut position = head;
        for cursor in &mut *self.cursors {
            let inner = cursor.log.lock();
            let first = inner.log.first();
            if cursor.next < first {
                missed += first - mem::replace(&mut cursor.next, first);
                channels.push(cursor.log.name().clone());
            }
            let mut unread = inner.log.entries(cursor.next).into_iter().flatten();
            position = unread
                .next()
                .map_or(position, |entry| position.min(entry.sequence - 1));
        }
        self.position = self.position.max(position);
        Gap {
            channels,
            missed: Some(missed),
        }
    }

    /// Whether the reader is parked with its last waker and was not woken since. Always false for a reader
    /// of several channels.
    pub(crate) fn is_waiting(&self) -> bool {
        let [cursor] = &*self.cursors else {
            return false;
        };
        // The stage changes before waiters are woken, so it is loaded last, as in `wait`.
        cursor.log.is_waiting(&cursor.waiter) && self.hub.stage() == self.stage
    }

    /// Parks until the next entry. Returns false if there is an entry, an end, or a stage that the last read
    /// did not observe: then `waker` may not be woken.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        let hub = &self.hub;
        let waits = |cursor: &mut Cursor| cursor.wait(hub, waker);
        // The stage changes before waiters are woken, so it is loaded after the waker is stored.
        let is_new = |stage| stage != self.stage || stage == Stage::Closed;
        !self.has_gap() && self.cursors.iter_mut().all(waits) && !is_new(hub.stage())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let cursors = self.cursors.iter();
        self.hub
            .unsubscribe(cursors.map(|cursor| (&cursor.log, &cursor.waiter)));
    }
}

impl Cursor {
    /// Reads the entries of a reader's only channel.
    fn read(
        &mut self,
        hub: &Hub,
        limit: usize,
        position: &mut u64,
        stage: Stage,
        waker: Option<&Waker>,
    ) -> Read {
        let mut inner = self.log.lock();
        let log = || Arc::downgrade(&self.log);
        let end = inner.waiters.end_of(&self.waiter);
        let until = match stage {
            Stage::Closed => end.into_iter().chain(hub.closed_after()).min(),
            _ => end,
        };
        let to = until.unwrap_or(u64::MAX);
        match inner.log.read(self.next, limit, to, &hub.frames, log) {
            Ok(None) if until.is_some() => Read::End,
            Ok(None) => Read::Empty,
            Ok(Some(Piece {
                bytes,
                next,
                sequence,
                at,
            })) => {
                let delivered = next - self.next;
                inner.delivered += delivered;
                let is_last = next == inner.log.end() && end.is_none();
                let more = !is_last || stage != Stage::Open;
                if let Some(waker) = waker.filter(|_| !more) {
                    inner.park(&mut self.waiter, waker);
                }
                drop(inner);
                if delivered > 1 {
                    hub.frames.trim();
                }
                hub.counters.delivered.add(delivered);
                (self.next, *position) = (next, sequence);
                Read::Batch(Batch {
                    bytes,
                    channel: 0,
                    at,
                    more,
                })
            }
            Err(Missed(count)) => {
                self.next = inner.log.first();
                *position = inner.log.evicted();
                drop(inner);
                Read::Gap(Gap {
                    channels: vec![self.log.name().clone()],
                    missed: Some(count),
                })
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.end().is_some()
    }

    /// The last sequence number to return, if the channel was closed.
    fn end(&self) -> Option<u64> {
        self.log.lock().waiters.end_of(&self.waiter)
    }

    /// The sequence number of the next entry, if it is not beyond `head`.
    fn peek(&self, head: u64) -> Result<Option<u64>, Missed> {
        let inner = self.log.lock();
        let mut entries = inner.log.entries(self.next)?;
        Ok(up_to(head, entries.next()))
    }

    /// The next entry, if `room` accepts its bytes, and the sequence number of the entry after it, if that is
    /// not beyond `head`.
    ///
    /// Both are read under one lock: otherwise the ring could overtake the cursor in between.
    fn take(
        &mut self,
        head: u64,
        room: impl Fn(&Bytes) -> bool,
    ) -> Result<Option<(Entry, Option<u64>)>, Missed> {
        let mut inner = self.log.lock();
        let mut entries = inner.log.entries(self.next)?;
        let Some(entry) = entries.next().filter(|entry| room(&entry.bytes)) else {
            return Ok(None);
        };
        let taken = (entry.clone(), up_to(head, entries.next()));
        drop(entries);
        inner.delivered += 1;
        self.next += 1;
        Ok(Some(taken))
    }

    fn wait(&mut self, hub: &Hub, waker: &Waker) -> bool {
        let mut inner = self.log.lock();
        if inner.waiters.has_ended(&self.waiter) {
            return false;
        }
        // A reader parked behind the head is woken by the publish that advances it.
        let head = hub.sequence();
        match inner
            .log
            .entries(self.next)
            .map(|mut entries| entries.next())
        {
            Err(Missed(_)) => return false,
            Ok(Some(entry)) if entry.sequence <= head => return false,
            Ok(_) => {}
        }
        inner.park(&mut self.waiter, waker);
        true
    }
}

fn up_to(head: u64, entry: Option<&Entry>) -> Option<u64> {
    let sequence = entry.map(|entry| entry.sequence);
    sequence.filter(|sequence| *sequence <= head)
}
