//! A reader: one cursor per channel.
//!
//! 1. A position is a sequence number. Every entry up to it was returned, or reported as missed.
//! 2. Entries are returned in the order of their sequence numbers across channels.
//! 3. A reader that has missed entries returns a gap first. It continues after the last lost entry.
//! 4. A reader skips an entry that is superseded by a later one that it may return.
//! 5. A start at the latest entries returns the newest entry of each key up to the last publish before the start, and
//!    continues after it. It reports no gap for the entries that it skips.
//! 6. After a begin (`begin`), a reader returns one gap of unknown size for all its channels. A reader of a cold hub
//!    (`cold`) returns nothing until the hub is warm, and then that gap.
//! 7. Dropping the reader ends its subscription.

use super::{
    ChannelLog, Hub, Stage, Start,
    cursor::Cursor,
    entry::Entry,
    log::Missed,
    merge::{Last, Merge},
};
use crate::{channel::Channel, few::Few};
use bytes::Bytes;
use std::{sync::Arc, task::Waker};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) hub: Arc<Hub>,
    pub(super) cursors: Few<Cursor>,
    pub(super) position: u64,
    /// The next reads return this first.
    pub(super) pending: Option<Box<Pending>>,
    /// The hub's stage at the last read.
    pub(super) stage: Stage,
    /// Number of begins whose gap was returned, or [`COLD`].
    pub(super) begins: u32,
}

/// The number of begins of a reader that has not read since the hub was cold. No hub begins that many times.
pub(super) const COLD: u32 = u32::MAX;

#[derive(Debug)]
pub(super) enum Pending {
    /// Entries that were already missing at the start.
    Gap(Gap),
    Latest(Latest),
}

/// The newest entries of each key, which the cursors read.
#[derive(Debug)]
pub(super) struct Latest {
    until: u64,
    /// The indices after it at which the cursors continue.
    following: Vec<u64>,
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

/// The joined entries that a reader returns, of one or of several channels.
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

/// Entries of `channels` were lost before they were read, or the client's position is not from this hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) channels: Vec<Channel>,
    /// Number of missed entries, superseded ones included, if known.
    pub(crate) missed: Option<u64>,
}

/// The start of a reader, as found in its logs.
struct Found {
    start: Start,
    /// The position to start after, if there is one.
    after: Option<u64>,
    replayed: u64,
    /// Channels that have lost entries.
    incomplete: Vec<Channel>,
}

impl Found {
    fn new(start: Start, last: u64) -> Self {
        let after = match start {
            Start::After(sequence) if sequence <= last => Some(sequence),
            _ => None,
        };
        Self {
            start,
            after,
            replayed: 0,
            incomplete: Vec::new(),
        }
    }

    /// Adds a channel with the number of entries after the position, if none was lost.
    fn note(&mut self, cursor: &Cursor, following: Option<u64>) {
        match following {
            Some(following) => self.replayed += following,
            None if !matches!(self.start, Start::Live | Start::Latest) => {
                self.incomplete.push(cursor.channel().clone());
            }
            None => {}
        }
    }
}

impl Reader {
    /// Creates a reader of `logs`. Returns it with an upper bound of the entries that it replays.
    ///
    /// `last` is the sequence number of the last publish. The caller holds the sequencer's lock.
    pub(super) fn new(
        hub: Arc<Hub>,
        logs: impl Iterator<Item = Arc<ChannelLog>>,
        start: Start,
        last: u64,
        now: Instant,
    ) -> (Self, u64) {
        let is_cold = hub.is_cold();
        let mut found = Found::new(start, last);
        let is_expired = |entry: &Entry| hub.config.is_expired(entry.at, now);
        let cursor = |log| {
            let (mut cursor, following) = Cursor::after(log, found.after, is_expired);
            found.note(&cursor, following);
            if is_cold {
                cursor.hide();
            }
            cursor
        };
        let cursors = logs.map(cursor).collect();
        let mut reader = Self {
            cursors,
            position: last,
            pending: None,
            stage: Stage::Open,
            begins: if is_cold { COLD } else { hub.begins() },
            hub,
        };
        let replayed = match is_cold {
            true => 0,
            false => reader.begin_at(found, last, now),
        };
        (reader, replayed)
    }

    /// Moves the cursors to `start`, as [`Self::new`]. The caller holds the sequencer's lock.
    pub(super) fn start(&mut self, start: Start, last: u64, now: Instant) -> u64 {
        let config = &self.hub.config;
        let mut found = Found::new(start, last);
        for cursor in &mut *self.cursors {
            let is_expired = |entry: &Entry| config.is_expired(entry.at, now);
            let following = cursor.restart(found.after, is_expired);
            found.note(cursor, following);
        }
        self.begin_at(found, last, now)
    }

    /// Sets the position for cursors that are at the start. Returns an upper bound of the entries that the reader
    /// replays.
    fn begin_at(&mut self, found: Found, last: u64, now: Instant) -> u64 {
        // A client that reconnects right after the gap must not skip entries that other channels replay.
        self.position = match found.after {
            Some(sequence) if found.incomplete.is_empty() || found.replayed > 0 => sequence,
            _ => last,
        };
        let gap = (!found.incomplete.is_empty()).then_some(Gap {
            channels: found.incomplete,
            missed: None,
        });
        self.pending = gap.map(|gap| Box::new(Pending::Gap(gap)));
        match found.start == Start::Latest {
            true => self.start_at_latest(last, now),
            false => found.replayed,
        }
    }

    /// Moves the reader to the newest entry of each key, as [`Start::Latest`], and forgets a gap.
    pub(crate) fn seek_latest(&mut self) {
        let hub = self.hub.clone();
        if hub.is_cold() {
            return;
        }
        // Nothing is appended while the lock is held.
        let state = hub.state();
        self.start_at_latest(state.sequence(), Instant::now());
    }

    /// Returns an upper bound of the entries that the reader replays. `until` is the sequence number of the last
    /// publish. The caller holds the sequencer's lock.
    fn start_at_latest(&mut self, until: u64, now: Instant) -> u64 {
        let config = &self.hub.config;
        let (mut keys, mut following) = (0, Vec::with_capacity(self.cursors.len()));
        for cursor in &mut *self.cursors {
            let (end, count) = cursor.seek_latest(0, |entry| config.is_expired(entry.at, now));
            following.push(end);
            keys += count as u64;
        }
        self.pending = Some(Box::new(Pending::Latest(Latest { until, following })));
        keys
    }

    /// The hub this reader belongs to.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Whether a gap is pending. Also true in a cold hub, whose readers return the gap once it is warm.
    pub(crate) fn has_gap(&self) -> bool {
        let has_begun = self.begins != self.hub.begins();
        has_begun || matches!(self.pending.as_deref(), Some(Pending::Gap(_)))
    }

    /// Whether a client can resume from the position: no gap is pending, and all of the latest entries were returned.
    pub(crate) fn has_position(&self) -> bool {
        self.pending.is_none() && self.begins == self.hub.begins()
    }

    /// Every entry up to this sequence number was returned, or reported as missed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn channel(&self, index: usize) -> &Channel {
        self.cursors[index].channel()
    }

    pub(crate) fn logs(&self) -> impl ExactSizeIterator<Item = &Arc<ChannelLog>> {
        self.cursors.iter().map(Cursor::log)
    }

    /// Reads the available entries as one batch of at most `limit` bytes, but at least one entry.
    ///
    /// With a waker, a reader of one channel that returns the last entry also parks:
    /// [`Self::is_waiting`] is then true.
    pub(crate) fn read(&mut self, limit: usize, waker: Option<&Waker>) -> Read {
        let has_begun = self.begins != self.hub.begins();
        let read = match self.pending.take_if(|_| !has_begun).map(|pending| *pending) {
            Some(Pending::Gap(gap)) => Read::Gap(gap),
            Some(Pending::Latest(latest)) => self.read_latest(latest, limit, waker),
            None if has_begun => self.read_after_begin(),
            None => self.read_logs(limit, waker),
        };
        if let Read::Gap(gap) = &read {
            self.hub.observer().reset(gap.missed);
        }
        read
    }

    /// Reads the latest entries, and continues after them when all were read.
    fn read_latest(&mut self, latest: Latest, limit: usize, waker: Option<&Waker>) -> Read {
        let merge = Merge::latest(&self.cursors, latest.until, self.hub.closed_after());
        let merged = merge.join(&mut self.cursors, limit, |inner| inner.delivered += 1);
        if let Some(last) = merged.last {
            self.pending = Some(Box::new(Pending::Latest(latest)));
            return self.batch(merged.bytes, last, true);
        }
        self.position = latest.until;
        for (cursor, next) in self.cursors.iter_mut().zip(latest.following) {
            cursor.jump(next);
        }
        self.read_logs(limit, waker)
    }

    fn batch(&mut self, bytes: Bytes, last: Last, more: bool) -> Read {
        self.position = last.sequence;
        Read::Batch(Batch {
            bytes,
            channel: last.cursor,
            at: last.at,
            more,
        })
    }

    fn read_logs(&mut self, limit: usize, waker: Option<&Waker>) -> Read {
        // The stage is loaded before the entries, so entries appended before a close are still returned.
        self.stage = self.hub.stage();
        match &mut *self.cursors {
            [cursor] => {
                let position = &mut self.position;
                match cursor.read(&self.hub, limit, position, self.stage, waker) {
                    Read::Gap(Gap { missed: None, .. }) => Read::Gap(self.continue_after_begin()),
                    read => read,
                }
            }
            _ => self.merge(limit),
        }
    }

    /// Reads entries of several channels in the order of their sequence numbers.
    fn merge(&mut self, limit: usize) -> Read {
        let closed_after = self.hub.closed_after();
        let merge = Merge::new(&self.cursors, self.hub.sequence(), closed_after);
        let (to, has_end, is_at_end) = (merge.to(), merge.has_end(), merge.is_at_end());
        let merged = merge.join(&mut self.cursors, limit, |inner| inner.delivered += 1);
        match merged.last {
            Some(last) => {
                let more = merged.is_cut || has_end || self.stage != Stage::Open;
                self.batch(merged.bytes, last, more)
            }
            // The first entry always fits, so it was lost.
            None if merged.is_cut => Read::Gap(match self.skip_lost(to) {
                Gap { missed: None, .. } => self.continue_after_begin(),
                gap => gap,
            }),
            None if is_at_end => Read::End,
            None => Read::Empty,
        }
    }

    /// Whether one of its channels was closed since it subscribed.
    pub(crate) fn is_closed(&self) -> bool {
        self.cursors.iter().any(Cursor::is_closed)
    }

    /// Advances cursors that have missed entries beyond the last lost one. Their number is `None` after a reset.
    pub(super) fn skip_lost(&mut self, to: u64) -> Gap {
        let (mut channels, mut missed) = (Vec::new(), 0);
        // A client that resumes from this position must get the unread entries of all channels.
        let mut position = to;
        for cursor in &mut *self.cursors {
            let (skipped, next) = cursor.skip_lost();
            if skipped > 0 {
                missed = skipped.saturating_add(missed);
                channels.push(cursor.channel().clone());
            }
            position = next.map_or(position, |sequence| position.min(sequence - 1));
        }
        self.position = self.position.max(position);
        Gap {
            channels,
            missed: Missed(missed).count(),
        }
    }

    /// A gap of unknown size on all channels.
    pub(super) fn gap_of_all(&self) -> Gap {
        let channels = self.cursors.iter().map(|cursor| cursor.channel().clone());
        Gap {
            channels: channels.collect(),
            missed: None,
        }
    }

    /// Leaves the wait lists until it parks again. It does not count as awake meanwhile.
    pub(crate) fn pause(&mut self) {
        self.cursors.iter_mut().for_each(Cursor::pause);
    }

    /// Whether the reader is parked with its last waker and was not woken since. Always false for a reader
    /// of several channels.
    pub(crate) fn is_waiting(&self) -> bool {
        let [cursor] = &*self.cursors else {
            return false;
        };
        // The stage changes before waiters are woken, so it is loaded last, as in `wait`.
        cursor.is_waiting() && self.hub.stage() == self.stage
    }

    /// Parks until the next entry. Returns false if there is an entry, an end, or a stage that the last read
    /// did not observe. Then a wake is not guaranteed, and the caller reads again.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        let hub = &self.hub;
        let waits = |cursor: &mut Cursor| cursor.wait(hub, waker);
        // The stage and the number of begins change before waiters are woken, so they are loaded after the waker is
        // stored.
        let is_new = |stage| stage != self.stage || stage == Stage::Closed;
        let waits = self.pending.is_none() && self.cursors.iter_mut().all(waits);
        waits && !is_new(hub.stage()) && !self.is_outdated()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.hub.unsubscribe(self.cursors.iter().map(Cursor::parts));
    }
}
