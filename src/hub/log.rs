//! One channel's ring: entries, their sequence numbers, and what is missed.
//!
//! 1. Every entry has two numbers. Its *sequence* is given by the hub and orders all channels; its
//!    *index* counts this channel's entries, so that a reader finds its place without a search and
//!    a gap can be counted.
//! 2. Entries leave at the front only. `evicted` remembers the sequence of the last one that left:
//!    a position at or after it has lost nothing.
//! 3. What is ready is read as one piece. Readers at the same place share it.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use tokio::time::Instant;

/// Joined pieces that are kept for the next reader at the same place.
const JOINED: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) at: Instant,
    pub(crate) bytes: Bytes,
}

#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The index of the front entry.
    first: u64,
    evicted: u64,
    joined: Vec<Joined>,
}

/// Entries `from..to`, joined.
#[derive(Clone, Debug)]
struct Joined {
    from: u64,
    to: u64,
    bytes: Bytes,
}

/// A reader's place is before the front of the ring: so many entries are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missed(pub(crate) u64);

/// Entries that are read as one: their bytes, and the index after the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) next: u64,
    /// The sequence of the last entry.
    pub(crate) sequence: u64,
    /// When that was appended.
    pub(crate) at: Instant,
}

impl Log {
    /// An empty log, of which everything up to the sequence `evicted` is gone.
    pub(crate) fn new(evicted: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            evicted,
            joined: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Removes the oldest entry.
    pub(crate) fn evict(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.evicted = entry.sequence;
        self.joined.retain(|joined| joined.from >= self.first);
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        Some(entry)
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

    /// The sequence of the last entry that is gone.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The index of the first entry after the position `sequence`, or nothing if entries after it are gone.
    pub(crate) fn after(&self, sequence: u64) -> Option<u64> {
        let older = |entry: &Entry| entry.sequence <= sequence;
        (sequence >= self.evicted).then(|| self.first + self.entries.partition_point(older) as u64)
    }

    /// The sequence of the entry before the index `next`: the position of a reader there.
    pub(crate) fn before(&self, next: u64) -> u64 {
        let index = next.checked_sub(self.first + 1);
        let entry = index.and_then(|index| self.entries.get(usize::try_from(index).ok()?));
        entry.map_or(self.evicted, |entry| entry.sequence)
    }

    /// How many entries come after the sequence `head`.
    pub(crate) fn beyond(&self, head: u64) -> u64 {
        let newest = self.entries.iter().rev();
        newest.take_while(|entry| entry.sequence > head).count() as u64
    }

    /// The entries from the index `next` on, oldest first.
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

    /// What is ready from the index `next` on, as one piece of about `limit` bytes at the most: at
    /// least one entry, if there is one.
    pub(crate) fn read(&mut self, next: u64, limit: usize) -> Result<Option<Piece>, Missed> {
        let mut entries = self.entries(next)?;
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
            _ => self.join(next, to, length),
        };
        Ok(Some(Piece {
            bytes,
            next: to,
            sequence,
            at,
        }))
    }

    fn join(&mut self, from: u64, to: u64, length: usize) -> Bytes {
        let same = |joined: &&Joined| joined.from == from && joined.to == to;
        if let Some(joined) = self.joined.iter().find(same) {
            return joined.bytes.clone();
        }
        let mut bytes = BytesMut::with_capacity(length);
        let (skip, count) = ((from - self.first) as usize, (to - from) as usize);
        for entry in self.entries.range(skip..skip + count) {
            bytes.extend_from_slice(&entry.bytes);
        }
        let bytes = bytes.freeze();
        if self.joined.len() == JOINED {
            self.joined.remove(0);
        }
        let joined = Joined {
            from,
            to,
            bytes: bytes.clone(),
        };
        self.joined.push(joined);
        bytes
    }

    /// Lets go of the joined pieces: every reader has what is ready.
    pub(crate) fn settle(&mut self) {
        self.joined = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, text: &'static str) -> Entry {
        Entry {
            sequence,
            at: Instant::now(),
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    /// Entries `a` 10, `b` 20, `c` 30 with the indices 0, 1, 2.
    fn abc() -> Log {
        let mut log = Log::new(0);
        log.push(entry(10, "a"));
        log.push(entry(20, "b"));
        log.push(entry(30, "c"));
        log
    }

    fn text(log: &mut Log, next: u64, limit: usize) -> Option<(String, u64, u64)> {
        let piece = log.read(next, limit).unwrap()?;
        let text = String::from_utf8(piece.bytes.to_vec()).unwrap();
        Some((text, piece.next, piece.sequence))
    }

    #[test]
    fn all_that_is_ready_is_one_piece() {
        let mut log = abc();
        assert_eq!(text(&mut log, 0, 100), Some(("abc".into(), 3, 30)));
        assert_eq!(text(&mut log, 1, 100), Some(("bc".into(), 3, 30)));
        assert_eq!(text(&mut log, 2, 100), Some(("c".into(), 3, 30)));
        assert_eq!(text(&mut log, 3, 100), None);
    }

    #[test]
    fn a_piece_ends_at_its_limit_but_has_one_entry_at_least() {
        let mut log = abc();
        assert_eq!(text(&mut log, 0, 2), Some(("ab".into(), 2, 20)));
        assert_eq!(text(&mut log, 0, 1), Some(("a".into(), 1, 10)));
        assert_eq!(text(&mut log, 0, 0), Some(("a".into(), 1, 10)));
    }

    #[test]
    fn readers_at_the_same_place_share_one_piece() {
        let mut log = abc();
        let (one, two) = (log.read(0, 100).unwrap(), log.read(0, 100).unwrap());
        assert_eq!(one.unwrap().bytes.as_ptr(), two.unwrap().bytes.as_ptr());
        log.push(entry(40, "d"));
        assert_eq!(text(&mut log, 0, 100), Some(("abcd".into(), 4, 40)));
    }

    #[test]
    fn a_single_entry_is_not_copied() {
        let mut log = abc();
        let entry = log.front().unwrap().bytes.as_ptr();
        let piece = log.read(0, 1).unwrap().unwrap();
        assert_eq!(piece.bytes.as_ptr(), entry);
    }

    #[test]
    fn joined_pieces_are_few_and_go_when_all_is_read_or_evicted() {
        let mut log = Log::new(0);
        for sequence in 1..=20 {
            log.push(entry(sequence, "x"));
        }
        for next in 0..10 {
            log.read(next, 100).unwrap();
        }
        assert_eq!(log.joined.len(), JOINED);
        for _ in 0..8 {
            log.evict();
        }
        assert_eq!(log.joined.len(), 2, "those from 8 and 9 are left");
        log.settle();
        assert!(log.joined.is_empty());
    }

    #[test]
    fn a_reader_before_the_front_is_told_how_many_it_missed() {
        let mut log = abc();
        assert_eq!(log.evict().map(|entry| entry.sequence), Some(10));
        assert_eq!(log.evict().map(|entry| entry.sequence), Some(20));
        assert_eq!(log.read(0, 100), Err(Missed(2)));
        assert_eq!(log.read(1, 100), Err(Missed(1)));
        assert_eq!(text(&mut log, 2, 100), Some(("c".into(), 3, 30)));
        assert_eq!((log.first(), log.end(), log.len()), (2, 3, 1));
    }

    #[test]
    fn a_position_finds_what_follows_it() {
        let log = abc();
        for (sequence, index) in [(0, 0), (9, 0), (10, 1), (15, 1), (29, 2), (30, 3), (99, 3)] {
            assert_eq!(log.after(sequence), Some(index), "after {sequence}");
            assert_eq!(log.beyond(sequence), 3 - index, "beyond {sequence}");
            assert_eq!(log.before(index), [0, 10, 20, 30][index as usize]);
        }
    }

    #[test]
    fn a_position_before_an_evicted_entry_is_gone() {
        let mut log = abc();
        log.evict();
        assert_eq!(log.after(9), None);
        assert_eq!(log.after(10), Some(1));
        while log.evict().is_some() {}
        assert_eq!(log.evicted(), 30);
        assert_eq!(log.after(29), None);
        assert_eq!(log.after(30), Some(3), "indices go on");
        assert_eq!(Log::new(7).after(6), None);
        assert_eq!(Log::new(7).after(7), Some(0));
    }
}
