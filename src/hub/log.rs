//! The ring buffer of one channel.
//!
//! 1. Every entry has two numbers. The hub assigns its *sequence*, which orders the entries of all
//!    channels. Its *index* counts the entries of this channel: a cursor needs no search, and a gap
//!    has a length.
//! 2. Entries leave the ring at its front only. `evicted` is the sequence number of the last evicted entry. A position
//!    at or after it has missed nothing. With keys, a position before it may have missed nothing either: see `keyed`.
//! 3. A read returns all available entries as one piece. Readers with the same cursor share it.
//! 4. A reset replaces the log by an empty one whose indices are far beyond the earlier ones. So every cursor has
//!    missed something, also one at the end, and the number of missed entries is unknown.

use super::{
    ChannelLog,
    entry::{Entry, Evicted},
    frames::{FrameIndex, Frames},
    keyed::{Key, Keyed, Lost, Select, Superseded},
};
use bytes::{Bytes, BytesMut};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Weak},
};
use tokio::time::Instant;

/// Minimum capacity of a ring that is shrunk.
const SMALL: usize = 8;

/// The bits of an index that count entries. The bits above them count the resets: there is room for a million.
const ENTRY_BITS: u32 = 44;

#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The index of the front entry.
    first: u64,
    evicted: u64,
    /// Memory of the entries outside of the ring.
    size: usize,
    frames: Option<Box<Frames>>,
    /// `None` until an entry has a key, so that logs without keys pay nothing.
    keyed: Option<Box<Keyed>>,
}

/// A cursor is before entries that were lost. Contains the number of entries it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missed(pub(crate) u64);

impl Missed {
    /// The number of entries, unless the log was reset after the cursor's index.
    pub(crate) fn count(self) -> Option<u64> {
        (self.0 < 1 << (ENTRY_BITS - 1)).then_some(self.0)
    }
}

/// Consecutive entries of this log, joined, and where a cursor continues.
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

/// An entry with its index, and the sequence number of the following one.
type FirstTwo<'a> = (Option<(u64, &'a Entry)>, Option<u64>);

/// Entries to be joined.
struct Run<'a> {
    oldest: &'a Entry,
    last: &'a Entry,
    /// The index after the last one.
    to: u64,
    length: usize,
}

impl<'a> Run<'a> {
    /// The entries up to the sequence number `until`, with at most `limit` bytes but at least one entry.
    fn new(
        mut entries: impl Iterator<Item = (u64, &'a Entry)>,
        limit: usize,
        until: u64,
    ) -> Option<Self> {
        let is_wanted = |(_, entry): &(u64, &Entry)| entry.sequence <= until;
        let (at, oldest) = entries.next().filter(is_wanted)?;
        let (mut length, mut to, mut last) = (oldest.bytes.len(), at + 1, oldest);
        for (at, entry) in entries.take_while(is_wanted) {
            if length + entry.bytes.len() > limit {
                break;
            }
            (length, to, last) = (length + entry.bytes.len(), at + 1, entry);
        }
        Some(Self {
            oldest,
            last,
            to,
            length,
        })
    }
}

impl Log {
    /// Creates an empty log whose entries up to the sequence number `evicted` were evicted, after this number of
    /// resets.
    pub(crate) fn new(evicted: u64, resets: u32) -> Self {
        Self {
            entries: VecDeque::new(),
            first: u64::from(resets) << ENTRY_BITS,
            evicted,
            size: 0,
            frames: None,
            keyed: None,
        }
    }

    /// Number of resets before its first entry.
    pub(crate) fn resets(&self) -> u32 {
        (self.first >> ENTRY_BITS) as u32
    }

    /// Appends an entry to a ring of at most `limit` entries.
    pub(crate) fn push(&mut self, entry: Entry, limit: usize) {
        if let Some(keyed) = &mut self.keyed {
            keyed.push_without_key();
        }
        self.push_entry(entry, limit);
    }

    /// Appends an entry with a key. Returns the retained bytes that it supersedes. `retains` is the same in each
    /// call.
    pub(crate) fn push_keyed(
        &mut self,
        entry: Entry,
        key: Key,
        limit: usize,
        retains: bool,
    ) -> Option<Bytes> {
        let (index, len, lost) = (self.end(), self.len(), self.lost());
        let keyed = self
            .keyed
            .get_or_insert_with(|| Box::new(Keyed::new(len, lost, retains)));
        let superseded = keyed.push(index, entry.sequence, key);
        self.push_entry(entry, limit);
        match superseded? {
            Superseded::Retained(bytes) => Some(bytes),
            Superseded::InRing(index) => {
                // Later readers skip the entry.
                self.keep_frames_if(|range| !range.contains(&index));
                None
            }
        }
    }

    fn push_entry(&mut self, entry: Entry, limit: usize) {
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

    /// Removes the ring's oldest entry, because of its age or the number of entries.
    pub(crate) fn evict(&mut self) -> Option<Evicted> {
        self.evict_entry(true)
    }

    /// Removes the oldest entry of all, to save memory.
    pub(crate) fn discard(&mut self) -> Option<Evicted> {
        match self.keyed.as_mut().and_then(|keyed| keyed.discard()) {
            Some(evicted) => {
                self.drop_unused_keys();
                Some(evicted)
            }
            None => self.evict_entry(false),
        }
    }

    fn evict_entry(&mut self, retains: bool) -> Option<Evicted> {
        let entry = self.entries.pop_front()?;
        let index = self.first;
        self.first += 1;
        self.evicted = entry.sequence;
        self.size -= entry.size();
        self.keep_frames_if(|range| range.start > index);
        self.shrink();
        let Some(keyed) = &mut self.keyed else {
            return Some(entry.into());
        };
        let evicted = keyed.evict(index, entry, retains);
        self.drop_unused_keys();
        Some(evicted)
    }

    /// Drops the keys of an empty log. Its last entry cannot be superseded, so it was lost, and `lost` equals `first`
    /// and `evicted`.
    fn drop_unused_keys(&mut self) {
        if self.is_empty() {
            self.keyed = None;
        }
    }

    fn keep_frames_if(&mut self, keeps: impl Fn(&Range<u64>) -> bool) {
        let frames = self.frames.as_mut();
        if frames.is_some_and(|frames| frames.keep_if(keeps)) {
            self.frames = None;
        }
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
        let keyed = self.keyed.as_ref().map_or(0, |keyed| keyed.size());
        self.size + self.entries.capacity() * size_of::<Entry>() + keyed
    }

    /// The ring's oldest entry.
    pub(crate) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// The sequence number of the oldest retained entry. It is older than the ring's.
    pub(crate) fn oldest_retained(&self) -> Option<u64> {
        let (_, entry) = self.keyed.as_ref()?.retained(0).next()?;
        Some(entry.sequence)
    }

    /// The sequence number of the oldest entry, retained or in the ring.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let in_ring = || self.front().map(|entry| entry.sequence);
        self.oldest_retained().or_else(in_ring)
    }

    /// Number of entries in the ring.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of entries, retained ones included.
    pub(crate) fn available_len(&self) -> usize {
        self.len() + self.keyed.as_ref().map_or(0, |keyed| keyed.retained_len())
    }

    /// Whether there is no entry, in the ring or retained.
    pub(crate) fn is_empty(&self) -> bool {
        self.available_len() == 0
    }

    /// The index that the next entry will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The end of the entries that were lost.
    pub(crate) fn lost(&self) -> Lost {
        let evicted = Lost {
            end: self.first,
            sequence: self.evicted,
        };
        self.keyed.as_ref().map_or(evicted, |keyed| keyed.lost())
    }

    /// The sequence number of the last entry, evicted or not.
    pub(crate) fn last(&self) -> u64 {
        self.entries
            .back()
            .map_or(self.evicted, |entry| entry.sequence)
    }

    /// The index of the first entry after the position `sequence`, or `None` if entries after it were lost. An
    /// expired entry counts as evicted.
    pub(crate) fn after(&self, sequence: u64, is_expired: impl Fn(&Entry) -> bool) -> Option<u64> {
        if sequence < self.lost_with(self.entries.partition_point(is_expired)) {
            return None;
        }
        Some(self.index_after(sequence))
    }

    fn index_after(&self, sequence: u64) -> u64 {
        let retained = |keyed: &Keyed| keyed.retained_after(sequence);
        let older = |entry: &Entry| entry.sequence <= sequence;
        let in_ring = || self.first + self.entries.partition_point(older) as u64;
        let retained = self.keyed.as_deref().and_then(retained);
        retained.unwrap_or_else(in_ring)
    }

    /// The sequence number of the last lost entry, if the ring's first `expired` entries were evicted.
    fn lost_with(&self, expired: usize) -> u64 {
        let would_lose = |at: &usize| {
            let keyed = self.keyed.as_ref();
            keyed.is_none_or(|keyed| keyed.would_lose(*at))
        };
        let lost = (0..expired).rev().find(would_lose);
        lost.map_or(self.lost().sequence, |at| self.entries[at].sequence)
    }

    /// The sequence number of the entry before the index `next`: the position of a cursor there.
    pub(crate) fn before(&self, next: u64) -> u64 {
        match next.checked_sub(self.first + 1) {
            Some(at) => {
                let entry = usize::try_from(at).ok().and_then(|at| self.entries.get(at));
                entry.map_or(self.last(), |entry| entry.sequence)
            }
            None if next == self.first => self.evicted,
            None => self.before_ring(next),
        }
    }

    fn before_ring(&self, next: u64) -> u64 {
        let retained = |keyed: &Keyed| keyed.retained_before(next);
        let retained = self.keyed.as_deref().and_then(retained);
        retained.unwrap_or(0).max(self.lost().sequence)
    }

    /// Number of entries after the sequence number `head`.
    pub(crate) fn beyond(&self, head: u64) -> u64 {
        let newest = self.entries.iter().rev();
        newest.take_while(|entry| entry.sequence > head).count() as u64
    }

    /// The selected entries from the index `next` with their indices, oldest first: retained ones, then the ring.
    pub(crate) fn available(
        &self,
        next: u64,
        select: Select,
    ) -> Result<impl Iterator<Item = (u64, &Entry)>, Missed> {
        let lost = self.lost();
        if next < lost.end && select != Select::Latest {
            return Err(Missed(lost.end - next));
        }
        let skip = next.saturating_sub(self.first).min(self.len() as u64) as usize;
        let keyed = self.keyed.as_deref();
        let retained = keyed
            .into_iter()
            .flat_map(move |keyed| keyed.retained(next));
        let selects =
            move |at| keyed.map_or(select != Select::Latest, |keyed| keyed.selects(at, select));
        let ring = self.entries.range(skip..).enumerate();
        let ring = ring.filter(move |(at, _)| selects(skip + at));
        let first = self.first + skip as u64;
        let ring = ring.map(move |(at, entry)| (first + at as u64, entry));
        Ok(retained.chain(ring))
    }

    /// The first two selected entries from the index `next`.
    #[inline]
    pub(crate) fn first_two(&self, next: u64, select: Select) -> Result<FirstTwo<'_>, Missed> {
        if self.keyed.is_some() || select == Select::Latest {
            return self.first_two_of_keys(next, select);
        }
        let at = next.checked_sub(self.first);
        let at = at.ok_or_else(|| Missed(self.first - next))? as usize;
        let first = self.entries.get(at).map(|entry| (next, entry));
        let second = self.entries.get(at + 1);
        Ok((first, second.map(|entry| entry.sequence)))
    }

    #[inline(never)]
    fn first_two_of_keys(&self, next: u64, select: Select) -> Result<FirstTwo<'_>, Missed> {
        let mut available = self.available(next, select)?;
        let first = available.next();
        Ok((first, available.next().map(|(_, entry)| entry.sequence)))
    }

    /// The entries from the index `next` of a log without keys: [`Self::available`] takes twice the time.
    #[inline]
    fn without_keys(&self, next: u64) -> Result<impl Iterator<Item = (u64, &Entry)>, Missed> {
        let skip = next.checked_sub(self.first);
        let skip = skip.ok_or_else(|| Missed(self.first - next))?;
        let skip = skip.min(self.len() as u64) as usize;
        Ok((next..).zip(self.entries.range(skip..)))
    }

    /// The sequence number of the first selected entry from the index `next`.
    pub(crate) fn peek(&self, next: u64, select: Select) -> Result<Option<u64>, Missed> {
        let (first, _) = self.first_two(next, select)?;
        Ok(first.map(|(_, entry)| entry.sequence))
    }

    /// The index after the position `sequence` from which [`Select::Latest`] yields unexpired and retained entries
    /// only, and the number of keys.
    pub(crate) fn latest(
        &self,
        sequence: u64,
        is_expired: impl Fn(&Entry) -> bool,
    ) -> (u64, usize) {
        let Some(keyed) = &self.keyed else {
            return (self.end(), 0);
        };
        let expired = match keyed.retains() {
            true => 0,
            false => self.first + self.entries.partition_point(is_expired) as u64,
        };
        (self.index_after(sequence).max(expired), keyed.len())
    }

    /// Reads the entries from the index `next` to the sequence number `until` as one piece.
    ///
    /// A piece has at most `limit` bytes, but at least one entry. A piece of several entries is kept as a frame if
    /// readers may share it. `frame_index` counts its bytes, and refers to this log by the result of `log`.
    pub(crate) fn read(
        &mut self,
        next: u64,
        limit: usize,
        until: u64,
        frame_index: &Arc<FrameIndex>,
        log: impl FnOnce() -> Weak<ChannelLog>,
    ) -> Result<Option<Piece>, Missed> {
        let found = match self.keyed {
            None => Run::new(self.without_keys(next)?, limit, until),
            Some(_) => Run::new(self.available(next, Select::UpTo(until))?, limit, until),
        };
        let Some(Run {
            oldest,
            last,
            to,
            length,
        }) = found
        else {
            return Ok(None);
        };
        let (sequence, at) = (last.sequence, last.at);
        let bytes = match oldest.sequence == sequence {
            true => oldest.bytes.clone(),
            false if self.shares(next, until) => self.frame(next..to, length, frame_index, log),
            false => self.join(&(next..to), length, until),
        };
        Ok(Some(Piece {
            bytes,
            next: to,
            sequence,
            at,
        }))
    }

    /// Whether readers from the index `next` to `until` may share frames. The entries of a frame depend on its
    /// range only, and the frame is dropped when one of them is evicted or superseded.
    fn shares(&self, next: u64, until: u64) -> bool {
        self.keyed.is_none() || next >= self.first && until == u64::MAX
    }

    /// The entries of `range` as one frame of `length` bytes, from the kept frames if possible.
    fn frame(
        &mut self,
        range: Range<u64>,
        length: usize,
        frame_index: &Arc<FrameIndex>,
        log: impl FnOnce() -> Weak<ChannelLog>,
    ) -> Bytes {
        let kept = self.frames.as_ref().and_then(|frames| frames.get(&range));
        kept.unwrap_or_else(|| {
            let bytes = self.join(&range, length, u64::MAX);
            let frames = self
                .frames
                .get_or_insert_with(|| Box::new(Frames::new(frame_index, log())));
            frames.keep(range, bytes.clone());
            bytes
        })
    }

    fn join(&self, range: &Range<u64>, length: usize, until: u64) -> Bytes {
        let mut bytes = BytesMut::with_capacity(length);
        if self.keyed.is_none() {
            let (from, to) = (range.start - self.first, range.end - self.first);
            for entry in self.entries.range(from as usize..to as usize) {
                bytes.extend_from_slice(&entry.bytes);
            }
            return bytes.freeze();
        }
        let available = self.available(range.start, Select::UpTo(until));
        let is_wanted = |(at, _): &(u64, &Entry)| *at < range.end;
        for (_, entry) in available.into_iter().flatten().take_while(is_wanted) {
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
        let keyed = self.keyed.as_ref();
        keyed.is_none_or(|keyed| keyed.is_consistent(self.first, self.len()))
            && (keyed.is_none() || !self.is_empty())
            && size == self.size
            && self.frames.as_ref().is_none_or(|frames| frames.len() > 0)
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
        Entry::new(
            sequence,
            Instant::now(),
            Bytes::from_static(text.as_bytes()),
        )
    }

    fn read(log: &mut Log, next: u64, limit: usize) -> Result<Option<Piece>, Missed> {
        log.read(next, limit, u64::MAX, &FrameIndex::new(1000), Weak::new)
    }

    /// Entries `a` 10, `b` 20, `c` 30 with the indices 0, 1, 2.
    fn abc() -> Log {
        let mut log = Log::new(0, 0);
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
    fn a_read_returns_all_entries_up_to_its_limit_but_at_least_one() {
        let mut log = abc();
        for (next, limit, expected) in [
            (0, 100, ("abc", 3, 30)),
            (1, 100, ("bc", 3, 30)),
            (2, 100, ("c", 3, 30)),
            (0, 2, ("ab", 2, 20)),
            (0, 1, ("a", 1, 10)),
            (0, 0, ("a", 1, 10)),
        ] {
            let (text, to, sequence) = text(&mut log, next, limit).unwrap();
            assert_eq!((&*text, to, sequence), expected);
        }
        assert_eq!(text(&mut log, 3, 100), None);
    }

    #[test]
    fn readers_with_the_same_cursor_share_one_piece() {
        let mut log = abc();
        let [one, two] = [(); 2].map(|()| read(&mut log, 0, 100).unwrap().unwrap());
        assert_eq!(one.bytes.as_ptr(), two.bytes.as_ptr());
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
        let (mut log, index) = (Log::new(0, 0), FrameIndex::new(1000));
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
        let mut log = Log::new(0, 0);
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
        let entry = entry(1, "x").size();
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
        assert_eq!(log.evict().map(|evicted| evicted.sequence), Some(10));
        assert_eq!(log.evict().map(|evicted| evicted.sequence), Some(20));
        assert_eq!(read(&mut log, 0, 100), Err(Missed(2)));
        assert_eq!(read(&mut log, 1, 100), Err(Missed(1)));
        assert_eq!(text(&mut log, 2, 100), Some(("c".into(), 3, 30)));
        assert_eq!((log.lost().end, log.end(), log.len()), (2, 3, 1));
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
        assert_eq!(log.lost().sequence, 30);
        assert_eq!(log.after(29, never), None);
        assert_eq!(log.after(30, never), Some(3), "indices go on");
        assert_eq!(Log::new(7, 0).after(6, never), None);
        assert_eq!(Log::new(7, 0).after(7, never), Some(0));
    }
}
