//! A cursor into the log of one channel. Only this module moves cursors.

use super::{
    Batch, ChannelLog, Gap, Hub, Read, Stage,
    channel_log::Inner,
    log::{Entry, Missed, Piece},
    wait_list::WaiterKey,
};
use crate::channel::Channel;
use bytes::Bytes;
use std::{mem, sync::Arc, task::Waker};

#[derive(Debug)]
pub(super) struct Cursor {
    log: Arc<ChannelLog>,
    next: u64,
    waiter: WaiterKey,
}

impl Cursor {
    /// A cursor after the position `after`. Returns it with the number of entries there.
    ///
    /// It is at the log's end, and the number is `None`, if entries after the position were evicted, or without
    /// a position.
    pub(super) fn after(
        log: Arc<ChannelLog>,
        after: Option<u64>,
        is_expired: impl Fn(&Entry) -> bool,
    ) -> (Self, Option<u64>) {
        let inner = log.lock();
        let end = inner.log.end();
        let found = after.and_then(|sequence| inner.log.after(sequence, is_expired));
        let waiter = inner.waiters.new_key();
        drop(inner);
        let next = found.unwrap_or(end);
        (Self { log, next, waiter }, found.map(|next| end - next))
    }

    /// Moves after the position `after`. Returns false, and stays, if entries after it were evicted.
    pub(super) fn seek(&mut self, after: u64) -> bool {
        let found = self.log.lock().log.after(after, |_| false);
        self.next = found.unwrap_or(self.next);
        found.is_some()
    }

    pub(super) fn channel(&self) -> &Channel {
        self.log.name()
    }

    pub(super) fn log(&self) -> &Arc<ChannelLog> {
        &self.log
    }

    pub(super) fn parts(&self) -> (&Arc<ChannelLog>, &WaiterKey) {
        (&self.log, &self.waiter)
    }

    /// The sequence number of the entry before the next one.
    pub(super) fn position(&self) -> u64 {
        self.log.lock().log.before(self.next)
    }

    /// Reads the entries of a reader's only channel.
    pub(super) fn read(
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

    /// The sequence number of the next entry, and the last one to return if the channel was closed.
    pub(super) fn peek(&self) -> (Result<Option<u64>, Missed>, Option<u64>) {
        let inner = self.log.lock();
        let entries = inner.log.entries(self.next);
        let next = entries.map(|mut entries| entries.next().map(|entry| entry.sequence));
        (next, inner.waiters.end_of(&self.waiter))
    }

    /// Takes the next entry, if `has_room` accepts its bytes. Returns it with the sequence number of the entry
    /// after it. `taken` is called under the lock.
    ///
    /// Both are read under one lock: otherwise the ring could overtake the cursor in between.
    // Inlined into `Merge::join`, which otherwise takes a third longer for each entry.
    #[inline]
    pub(super) fn take(
        &mut self,
        has_room: impl Fn(&Bytes) -> bool,
        taken: impl Fn(&mut Inner),
    ) -> Result<Option<(Entry, Option<u64>)>, Missed> {
        let mut inner = self.log.lock();
        let mut entries = inner.log.entries(self.next)?;
        let Some(entry) = entries.next().filter(|entry| has_room(&entry.bytes)) else {
            return Ok(None);
        };
        let entry = entry.clone();
        let following = entries.next().map(|entry| entry.sequence);
        drop(entries);
        taken(&mut inner);
        self.next += 1;
        Ok(Some((entry, following)))
    }

    /// Advances to the oldest entry if the ring has overtaken the cursor. Returns the number of entries it
    /// skipped, and the sequence number of the next one.
    pub(super) fn skip_evicted(&mut self) -> (u64, Option<u64>) {
        let inner = self.log.lock();
        let to = self.next.max(inner.log.first());
        let skipped = to - mem::replace(&mut self.next, to);
        let mut entries = inner.log.entries(to).into_iter().flatten();
        (skipped, entries.next().map(|entry| entry.sequence))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.log.lock().waiters.has_ended(&self.waiter)
    }

    pub(super) fn pause(&mut self) {
        self.log.pause(&mut self.waiter);
    }

    /// Whether the cursor is parked and was not woken since.
    pub(super) fn is_waiting(&self) -> bool {
        self.log.is_waiting(&self.waiter)
    }

    /// Parks until the next entry. Returns false if there is one, or an end.
    pub(super) fn wait(&mut self, hub: &Hub, waker: &Waker) -> bool {
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
