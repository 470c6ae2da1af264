//! A reader: a cursor in each of its channels. The only place that knows how cursors move.
//!
//! 1. A position is a sequence number: everything up to it has been handed out, or was told as missed.
//! 2. Entries are handed out in the order of their sequence, whatever their channel.
//! 3. A reader that the ring has overtaken is told first, then goes on with the oldest entry there is.
//! 4. Dropping the reader ends its subscription.

use super::{
    ChannelLog, Hub, Start,
    log::{Missed, Piece},
};
use crate::channel::Channel;
use bytes::{Bytes, BytesMut};
use std::{
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Waker,
};

#[derive(Debug)]
pub(crate) struct Reader {
    hub: Arc<Hub>,
    cursors: Box<[Cursor]>,
    position: u64,
    /// How many entries it began with.
    replayed: u64,
    /// What was already missing at the start.
    gap: Option<Box<Gap>>,
}

#[derive(Debug)]
struct Cursor {
    log: Arc<ChannelLog>,
    next: u64,
    generation: u64,
    seat: Option<usize>,
}

/// What a reader is given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Batch(Batch),
    Gap(Gap),
    /// Nothing for now.
    Empty,
    /// Nothing any more.
    End,
}

/// Entries, joined.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    /// Which of the reader's channels the last entry came on.
    pub(crate) channel: usize,
}

/// Entries of `channels` are gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) channels: Vec<Channel>,
    /// How many, if that is known.
    pub(crate) missed: Option<u64>,
}

/// An entry that is ready, on the way to be merged with those of other channels.
struct Ready {
    sequence: u64,
    cursor: usize,
    bytes: Bytes,
}

impl Reader {
    /// A reader of `logs` when `now` is the sequence of the last publish; runs under the order lock.
    pub(super) fn new(hub: Arc<Hub>, logs: Vec<Arc<ChannelLog>>, start: Start, now: u64) -> Self {
        let after = match start {
            Start::After(sequence) if sequence <= now => Some(sequence),
            _ => None,
        };
        let mut replayed = 0;
        let mut gone = Vec::new();
        let cursor = |log: Arc<ChannelLog>| {
            let mut inner = log.lock();
            inner.subscribers += 1;
            let end = inner.log.end();
            let found = after.and_then(|sequence| inner.log.after(sequence));
            drop(inner);
            if found.is_none() && start != Start::Live {
                gone.push(log.name().clone());
            }
            let next = found.unwrap_or(end);
            replayed += end - next;
            Cursor {
                generation: log.generation(),
                log,
                next,
                seat: None,
            }
        };
        let cursors = logs.into_iter().map(cursor).collect();
        hub.counters.replayed.fetch_add(replayed, Relaxed);
        let gap = (!gone.is_empty()).then_some(Gap {
            channels: gone,
            missed: None,
        });
        // A connection that breaks right after the gap was told must not skip what other channels replay.
        let position = match (after, &gap) {
            (Some(sequence), None) => sequence,
            (Some(sequence), Some(_)) if replayed > 0 => sequence,
            _ => now,
        };
        Self {
            hub,
            cursors,
            position,
            replayed,
            gap: gap.map(Box::new),
        }
    }

    /// The hub this reader belongs to.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// How many entries it began with, because it resumed from a position.
    pub(crate) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Everything up to this sequence has been handed out, or was told as missed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn channel(&self, index: usize) -> &Channel {
        self.cursors[index].log.name()
    }

    pub(crate) fn logs(&self) -> impl ExactSizeIterator<Item = &Arc<ChannelLog>> {
        self.cursors.iter().map(|cursor| &cursor.log)
    }

    /// What is ready, as one piece of about `limit` bytes at the most: one entry at least.
    pub(crate) fn read(&mut self, limit: usize) -> Read {
        if let Some(gap) = self.gap.take() {
            return Read::Gap(*gap);
        }
        // Looked at first: what was appended before the close is still handed out.
        let closed = self.hub.is_closed();
        let read = match &mut *self.cursors {
            [cursor] => cursor.read(limit, &mut self.position),
            _ => self.merge(limit),
        };
        match read {
            Read::Empty if closed => Read::End,
            Read::Gap(gap) => {
                let missed = gap.missed.unwrap_or(0);
                self.hub.counters.lagged.fetch_add(missed, Relaxed);
                Read::Gap(gap)
            }
            read => read,
        }
    }

    /// Entries of several channels, in the order of their sequence.
    fn merge(&mut self, limit: usize) -> Read {
        // Beyond it, an entry of one channel could come before an earlier one of another.
        let head = self.hub.sequence();
        let (mut ready, mut gone, mut missed, mut evicted) = (Vec::new(), Vec::new(), 0, 0);
        for (index, cursor) in self.cursors.iter_mut().enumerate() {
            if cursor.ready(index, head, limit, &mut ready).is_err() {
                let inner = cursor.log.lock();
                missed += inner.log.first() - cursor.next;
                cursor.next = inner.log.first();
                evicted = inner.log.evicted().max(evicted);
                gone.push(cursor.log.name().clone());
            }
        }
        if ready.is_empty() && gone.is_empty() && self.cursors.iter().any(Cursor::is_closed) {
            return Read::End;
        }
        if !gone.is_empty() {
            let before = |ready: &Ready| ready.sequence - 1;
            let waiting = ready.iter().map(before).min().unwrap_or(evicted);
            self.position = evicted.min(waiting).max(self.position);
            return Read::Gap(Gap {
                channels: gone,
                missed: Some(missed),
            });
        }
        ready.sort_unstable_by_key(|ready| ready.sequence);
        self.take(&ready, limit)
    }

    /// Moves the cursors over as much of `ready` as fits.
    fn take(&mut self, ready: &[Ready], limit: usize) -> Read {
        let mut length = 0;
        let fits = |entry: &&Ready| {
            length += entry.bytes.len();
            length == entry.bytes.len() || length <= limit
        };
        let count = ready.iter().take_while(fits).count();
        let (Some(last), taken) = (ready[..count].last(), &ready[..count]) else {
            return Read::Empty;
        };
        for entry in taken {
            let cursor = &mut self.cursors[entry.cursor];
            cursor.next += 1;
            cursor.log.lock().delivered += 1;
        }
        self.position = last.sequence;
        let channel = last.cursor;
        let bytes = match taken {
            [one] => one.bytes.clone(),
            many => {
                let mut joined = BytesMut::new();
                many.iter()
                    .for_each(|entry| joined.extend_from_slice(&entry.bytes));
                joined.freeze()
            }
        };
        Read::Batch(Batch { bytes, channel })
    }

    /// Waits for the next entry. False if there is one, or the end: then `waker` may not be woken.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        let hub = &self.hub;
        let waits = |cursor: &mut Cursor| cursor.wait(hub, waker);
        // The flag is set before the waiters are woken, so it is looked at after sitting down.
        self.gap.is_none() && self.cursors.iter_mut().all(waits) && !hub.is_closed()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let cursors = mem::take(&mut self.cursors).into_iter();
        self.hub
            .leave(cursors.map(|cursor| (cursor.log, cursor.seat)));
    }
}

impl Cursor {
    /// What is ready of the only channel.
    fn read(&mut self, limit: usize, position: &mut u64) -> Read {
        let mut inner = self.log.lock();
        match inner.log.read(self.next, limit) {
            Ok(None) if inner.generation != self.generation => Read::End,
            Ok(None) => Read::Empty,
            Ok(Some(Piece {
                bytes,
                next,
                sequence,
            })) => {
                inner.delivered += next - self.next;
                drop(inner);
                (self.next, *position) = (next, sequence);
                Read::Batch(Batch { bytes, channel: 0 })
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
        self.log.generation() != self.generation
    }

    /// Adds what is ready up to `head` to `ready`: at least one entry, and no more than `limit` bytes need.
    fn ready(
        &self,
        cursor: usize,
        head: u64,
        limit: usize,
        ready: &mut Vec<Ready>,
    ) -> Result<(), Missed> {
        let inner = self.log.lock();
        let entries = inner.log.entries(self.next)?;
        let mut length = 0;
        for entry in entries.take_while(|entry| entry.sequence <= head) {
            let bytes = entry.bytes.clone();
            length += bytes.len();
            ready.push(Ready {
                sequence: entry.sequence,
                cursor,
                bytes,
            });
            if length > limit {
                break;
            }
        }
        Ok(())
    }

    fn wait(&mut self, hub: &Hub, waker: &Waker) -> bool {
        let mut inner = self.log.lock();
        if inner.generation != self.generation {
            return false;
        }
        // An entry beyond the head is in its log before its readers are woken: they will be.
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
        let seat = *self.seat.get_or_insert_with(|| inner.waiters.join());
        inner.sit_down(seat, waker);
        true
    }
}
