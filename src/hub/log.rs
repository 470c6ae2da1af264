//! The ring buffer of one channel.
//!
//! 1. Every entry has two numbers. The hub assigns its *sequence*, which orders the entries of all
//!    channels. Its *index* counts the entries of this channel: a cursor needs no search, and a gap
//!    has a length.
//! 2. Entries are evicted from the front only. `evicted` is the sequence number of the last evicted entry. A
//!    position at or after it has missed nothing.
//! 3. A read returns all available entries as one piece. Readers with the same cursor share it.

use super::{
    ChannelLog,
    frames::{FrameIndex, Frames},
};
use bytes::{Bytes, BytesMut};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Weak},
};
use tokio::time::Instant;

/// Memory of an entry's buffer beside its bytes: allocator overhead, and the reference count that is allocated
/// by the first read.
const BYTES_OVERHEAD: usize = 40;

/// Minimum capacity of a ring that is shrunk.
const SMALL: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) at: Instant,
    pub(crate) bytes: Bytes,
}

impl Entry {
    /// Memory outside of the ring.
    fn size(&self) -> usize {
        self.bytes.len() + BYTES_OVERHEAD
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The index of the front entry.
    first: u64,
    evicted: u64,
    /// Memory of the entries outside of the ring.
    size: usize,
    frames: Option<Box<Frames>>,
}

/// A cursor is before the front of the ring. Contains the number of entries it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missed(pub(crate) u64);

/// Consecutive entries, joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// The index after the last entry.
    pub(crate) next: u64,
    /// The sequence number of the last entry.
    pub(crate) sequence: u64,
    /// When the last entry was appended.
    pub(crate) at: Instant,
}

impl Log {
    /// Creates an empty log whose entries up to the sequence number `evicted` were evicted.
    pub(crate) fn new(evicted: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            evicted,
            size: 0,
            frames: None,
        }
    }

    /// Appends an entry to a ring of at most `limit` entries.
    pub(crate) fn push(&mut self, entry: Entry, limit: usize) {
        self.grow(limit);
        self.size += entry.size();
        self.entries.push_back(entry);
    }

    /// Reserves room for one more entry: one for the first, since many channels have only one entry, and
    /// at most `limit`.
    fn grow(&mut self, limit: usize) {
        let (length, capacity) = (self.entries.len(), self.entries.capacity());
        if length == capacity {
            let room = if capacity == 0 { 1 } else { 2 * capacity };
            let room = room.min(limit).max(length + 1);
            self.entries.reserve_exact(room - length);
        }
    }

    /// Removes the oldest entry.
    pub(crate) fn evict(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.evicted = entry.sequence;
        self.size -= entry.size();
        let frames = self.frames.as_mut();
        if frames.is_some_and(|frames| frames.retain_from(self.first)) {
            self.frames = None;
        }
        self.shrink();
        Some(entry)
    }

    fn shrink(&mut self) {
        let (length, capacity) = (self.entries.len(), self.entries.capacity());
        if length == 0 {
            self.entries = VecDeque::new();
        } else if capacity > SMALL && length <= capacity / 4 {
            self.entries.shrink_to(2 * length);
        }
    }

    /// Memory of the ring and its entries, as the budget counts it.
    pub(crate) fn size(&self) -> usize {
        self.size + self.entries.capacity() * size_of::<Entry>()
    }

    pub(crate) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The index that the next entry will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The sequence number of the last evicted entry.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The sequence number of the last entry, evicted or not.
    pub(crate) fn last(&self) -> u64 {
        self.entries
            .back()
            .map_or(self.evicted, |entry| entry.sequence)
    }

    /// The index of the first entry after the position `sequence`, or `None` if entries after it were
    /// evicted. An expired entry counts as evicted.
    pub(crate) fn after(&self, sequence: u64, is_expired: impl Fn(&Entry) -> bool) -> Option<u64> {
        let expired = self.entries.partition_point(is_expired);
        let gone = match expired.checked_sub(1) {
            Some(last) => self.entries[last].sequence,
            None => self.evicted,
        };
        let older = |entry: &Entry| entry.sequence <= sequence;
        (sequence >= gone).then(|| self.first + self.entries.partition_point(older) as u64)
    }

    /// The sequence number of the entry before the index `next`: the position of a cursor there.
    pub(crate) fn before(&self, next: u64) -> u64 {
        let index = next.checked_sub(self.first + 1);
        let entry = index.and_then(|index| self.entries.get(usize::try_from(index).ok()?));
        entry.map_or(self.evicted, |entry| entry.sequence)
    }

    /// Number of entries after the sequence number `head`.
    pub(crate) fn beyond(&self, head: u64) -> u64 {
        let newest = self.entries.iter().rev();
        newest.take_while(|entry| entry.sequence > head).count() as u64
    }

    /// The entries from the index `next`, oldest first.
    pub(crate) fn entries(
        &self,
        next: u64,
    ) -> Result<impl ExactSizeIterator<Item = &Entry>, Missed> {
        let skip = next.checked_sub(self.first);
        let skip = skip.ok_or_else(|| Missed(self.first - next))?;
        let skip =
            usize::try_from(skip).map_or(self.entries.len(), |skip| skip.min(self.entries.len()));
        Ok(self.entries.range(skip..))
    }

    /// The index of the oldest entry.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Reads the entries from the index `next` to the sequence number `until` as one piece.
    ///
    /// A piece has at most `limit` bytes, but at least one entry. A piece of several entries is kept as a
    /// frame and counted in `index`, which refers to this log by the result of `log`.
    pub(crate) fn read(
        &mut self,
        next: u64,
        limit: usize,
        until: u64,
        index: &Arc<FrameIndex>,
        log: impl FnOnce() -> Weak<ChannelLog>,
    ) -> Result<Option<Piece>, Missed> {
        let is_wanted = |entry: &&Entry| entry.sequence <= until;
        let mut entries = self.entries(next)?.take_while(is_wanted);
        let Some(oldest) = entries.next() else {
            return Ok(None);
        };
        let (mut length, mut count, mut last) = (oldest.bytes.len(), 1, oldest);
        for entry in entries {
            if length + entry.bytes.len() > limit {
                break;
            }
            (length, count, last) = (length + entry.bytes.len(), count + 1, entry);
        }
        let (sequence, at) = (last.sequence, last.at);
        let to = next + count;
        let bytes = match count {
            1 => oldest.bytes.clone(),
            _ => self.frame(next..to, length, index, log),
        };
        Ok(Some(Piece {
            bytes,
            next: to,
            sequence,
            at,
        }))
    }

    /// The entries of `range` as one frame of `length` bytes, from the kept frames if possible.
    fn frame(
        &mut self,
        range: Range<u64>,
        length: usize,
        index: &Arc<FrameIndex>,
        log: impl FnOnce() -> Weak<ChannelLog>,
    ) -> Bytes {
        let kept = self.frames.as_ref().and_then(|frames| frames.get(&range));
        kept.unwrap_or_else(|| {
            let bytes = self.join(&range, length);
            let frames = self
                .frames
                .get_or_insert_with(|| Box::new(Frames::new(index, log())));
            frames.keep(range, bytes.clone());
            bytes
        })
    }

    fn join(&self, range: &Range<u64>, length: usize) -> Bytes {
        let mut bytes = BytesMut::with_capacity(length);
        let (from, to) = (range.start - self.first, range.end - self.first);
        for entry in self.entries.range(from as usize..to as usize) {
            bytes.extend_from_slice(&entry.bytes);
        }
        bytes.freeze()
    }

    pub(crate) fn drop_frames(&mut self) {
        self.frames = None;
    }
}

#[cfg(test)]
impl Log {
    /// Compares the counted size with the sum over all entries.
    pub(super) fn is_consistent(&self) -> bool {
        let size = self.entries.iter().map(Entry::size).sum::<usize>();
        size == self.size && self.frames.as_ref().is_none_or(|frames| frames.len() > 0)
    }

    /// The frames' share of the bytes that the index counts.
    pub(super) fn frames_size(&self) -> usize {
        self.frames.as_ref().map_or(0, |frames| frames.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(_: &Entry) -> bool {
        false
    }

    fn entry(sequence: u64, text: &'static str) -> Entry {
        Entry {
            sequence,
            at: Instant::now(),
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    fn read(log: &mut Log, next: u64, limit: usize) -> Result<Option<Piece>, Missed> {
        log.read(next, limit, u64::MAX, &FrameIndex::new(1000), Weak::new)
    }

    /// Entries `a` 10, `b` 20, `c` 30 with the indices 0, 1, 2.
    fn abc() -> Log {
        let mut log = Log::new(0);
        log.push(entry(10, "a"), 99);
        log.push(entry(20, "b"), 99);
        log.push(entry(30, "c"), 99);
        log
    }

    fn text(log: &mut Log, next: u64, limit: usize) -> Option<(String, u64, u64)> {
        let piece = read(log, next, limit).unwrap()?;
        let text = String::from_utf8(piece.bytes.to_vec()).unwrap();
        Some((text, piece.next, piece.sequence))
    }

    #[test]
    fn a_read_returns_all_entries_as_one_piece() {
        let mut log = abc();
        assert_eq!(text(&mut log, 0, 100), Some(("abc".into(), 3, 30)));
        assert_eq!(text(&mut log, 1, 100), Some(("bc".into(), 3, 30)));
        assert_eq!(text(&mut log, 2, 100), Some(("c".into(), 3, 30)));
        assert_eq!(text(&mut log, 3, 100), None);
    }

    #[test]
    fn a_piece_ends_at_its_limit_but_has_at_least_one_entry() {
        let mut log = abc();
        assert_eq!(text(&mut log, 0, 2), Some(("ab".into(), 2, 20)));
        assert_eq!(text(&mut log, 0, 1), Some(("a".into(), 1, 10)));
        assert_eq!(text(&mut log, 0, 0), Some(("a".into(), 1, 10)));
    }

    #[test]
    fn readers_with_the_same_cursor_share_one_piece() {
        let mut log = abc();
        let (one, two) = (
            read(&mut log, 0, 100).unwrap(),
            read(&mut log, 0, 100).unwrap(),
        );
        assert_eq!(one.unwrap().bytes.as_ptr(), two.unwrap().bytes.as_ptr());
        log.push(entry(40, "d"), 99);
        assert_eq!(text(&mut log, 0, 100), Some(("abcd".into(), 4, 40)));
    }

    #[test]
    fn a_single_entry_is_not_copied() {
        let mut log = abc();
        let entry = log.front().unwrap().bytes.as_ptr();
        let piece = read(&mut log, 0, 1).unwrap().unwrap();
        assert_eq!(piece.bytes.as_ptr(), entry);
    }

    #[test]
    fn frames_are_few_and_dropped_with_their_entries() {
        let (mut log, index) = (Log::new(0), FrameIndex::new(1000));
        for sequence in 1..=20 {
            log.push(entry(sequence, "x"), 99);
        }
        for next in 0..10 {
            log.read(next, 100, u64::MAX, &index, Weak::new).unwrap();
        }
        let kept = |log: &Log| log.frames.as_ref().map_or(0, |frames| frames.len());
        assert_eq!(kept(&log), 4);
        assert_eq!(index.bytes(), log.frames_size());
        (0..8).for_each(|_| drop(log.evict()));
        assert_eq!(kept(&log), 2, "the frames from 8 and 9 are left");
        assert_eq!(index.bytes(), log.frames_size());
        log.drop_frames();
        assert_eq!((kept(&log), index.bytes()), (0, 0));
    }

    #[test]
    fn a_ring_grows_to_its_limit_and_shrinks() {
        let mut log = Log::new(0);
        let mut rooms = Vec::new();
        for sequence in 1..=100 {
            log.push(entry(sequence, "x"), 100);
            rooms.push(log.entries.capacity());
        }
        rooms.dedup();
        assert_eq!(rooms, [1, 2, 4, 8, 16, 32, 64, 100]);
        let full = log.size();
        (0..90).for_each(|_| drop(log.evict()));
        assert!(log.size() <= full / 3, "{} of {full}", log.size());
        (0..10).for_each(|_| drop(log.evict()));
        assert_eq!(log.size(), 0);
    }

    #[test]
    fn the_size_counts_the_ring_and_every_entry() {
        let mut log = abc();
        let entry = BYTES_OVERHEAD + 1;
        assert_eq!(log.size(), 3 * entry + 4 * size_of::<Entry>());
        log.evict();
        assert_eq!(log.size(), 2 * entry + 4 * size_of::<Entry>());
    }

    #[test]
    fn an_expired_entry_counts_as_evicted() {
        let log = abc();
        let after = |sequence| log.after(sequence, |entry| entry.sequence <= 20);
        assert_eq!([0, 10, 19].map(after), [None; 3]);
        assert_eq!([20, 30, 40].map(after), [Some(2), Some(3), Some(3)]);
    }

    #[test]
    fn a_cursor_before_the_front_gets_the_number_of_missed_entries() {
        let mut log = abc();
        assert_eq!(log.evict().map(|entry| entry.sequence), Some(10));
        assert_eq!(log.evict().map(|entry| entry.sequence), Some(20));
        assert_eq!(read(&mut log, 0, 100), Err(Missed(2)));
        assert_eq!(read(&mut log, 1, 100), Err(Missed(1)));
        assert_eq!(text(&mut log, 2, 100), Some(("c".into(), 3, 30)));
        assert_eq!((log.first(), log.end(), log.len()), (2, 3, 1));
    }

    #[test]
    fn a_position_finds_the_next_entry() {
        let log = abc();
        for (sequence, index) in [(0, 0), (9, 0), (10, 1), (15, 1), (29, 2), (30, 3), (99, 3)] {
            assert_eq!(log.after(sequence, never), Some(index), "after {sequence}");
            assert_eq!(log.beyond(sequence), 3 - index, "beyond {sequence}");
            assert_eq!(log.before(index), [0, 10, 20, 30][index as usize]);
        }
    }

    #[test]
    fn a_position_before_an_evicted_entry_is_not_found() {
        let mut log = abc();
        log.evict();
        assert_eq!(log.after(9, never), None);
        assert_eq!(log.after(10, never), Some(1));
        while log.evict().is_some() {}
        assert_eq!(log.evicted(), 30);
        assert_eq!(log.after(29, never), None);
        assert_eq!(log.after(30, never), Some(3), "indices go on");
        assert_eq!(Log::new(7).after(6, never), None);
        assert_eq!(Log::new(7).after(7, never), Some(0));
    }
}
