//! Entries of several channels, joined in the order of their sequence numbers.
//!
//! Each cursor is locked once to find its next entry, and once for each entry that is taken.

use super::{
    channel_log::Inner,
    cursor::{Cursor, NotTaken},
    keyed::Select,
};
use bytes::{Bytes, BytesMut};
use std::{cmp::Reverse, collections::BinaryHeap};
use tokio::time::Instant;

/// The next entry of each cursor, and where to stop.
pub(super) struct Merge {
    /// A sequence number and the index of its cursor. The number is the one of the cursor's next entry. If that entry
    /// is superseded, taking it yields the number of the one after it. A cursor that has missed entries has the
    /// number 0, so it comes first.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    head: u64,
    is_latest: bool,
    /// The last sequence number to return, if a channel or the hub was closed.
    end: Option<u64>,
}

/// Result of [`Merge::join`].
pub(super) struct Merged {
    pub(super) bytes: Bytes,
    pub(super) last: Option<Last>,
    /// Whether it stopped before an entry that does not fit, or that was lost.
    pub(super) is_cut: bool,
}

/// The last joined entry.
#[derive(Clone, Copy)]
pub(super) struct Last {
    /// Index of its cursor.
    pub(super) cursor: usize,
    pub(super) sequence: u64,
    /// When it was appended.
    pub(super) at: Instant,
}

impl Merge {
    /// Merges the entries up to `head`. The caller loads `head` and `closed_after` before this reads the logs. Beyond
    /// `head`, an entry may be in its log while an earlier one of another channel is not.
    pub(super) fn new(cursors: &[Cursor], head: u64, closed_after: Option<u64>) -> Self {
        // The end is not known yet, so this peeks at all entries. An entry is returned if the one that supersedes it is
        // beyond the end.
        Self::from(cursors, head, closed_after, Select::All)
    }

    /// Merges only the newest entry of each key, up to `until`.
    pub(super) fn latest(cursors: &[Cursor], until: u64, closed_after: Option<u64>) -> Self {
        Self::from(cursors, until, closed_after, Select::Latest)
    }

    fn from(cursors: &[Cursor], head: u64, closed_after: Option<u64>, select: Select) -> Self {
        let mut next = BinaryHeap::with_capacity(cursors.len());
        let mut end = closed_after;
        for (index, cursor) in cursors.iter().enumerate() {
            let (sequence, end_of_channel) = cursor.peek(select);
            let sequence = sequence.unwrap_or(Some(0));
            next.extend(sequence.map(|sequence| Reverse((sequence, index))));
            end = end.into_iter().chain(end_of_channel).min();
        }
        let is_latest = select == Select::Latest;
        Self {
            next,
            head,
            is_latest,
            end,
        }
    }

    /// The sequence number at which it stops.
    pub(super) fn to(&self) -> u64 {
        self.end.map_or(self.head, |end| end.min(self.head))
    }

    pub(super) fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Whether no entry follows after those up to the head.
    pub(super) fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| end <= self.head)
    }

    /// Takes entries of at most `limit` bytes, but at least one. `taken` is called under the lock of the entry's
    /// channel.
    pub(super) fn join(
        mut self,
        cursors: &mut [Cursor],
        limit: usize,
        taken: impl Fn(&mut Inner),
    ) -> Merged {
        let to = self.to();
        let select = match self.is_latest {
            true => Select::Latest,
            false => Select::UpTo(to),
        };
        let (mut joined, mut last, mut is_cut) = (Joined::default(), None, false);
        while let Some(Reverse((sequence, cursor))) = self.next.pop()
            && sequence <= to
        {
            let has_room = |bytes: &Bytes| joined.has_room(bytes, limit);
            let following = match cursors[cursor].take(sequence, select, has_room, &taken) {
                Ok((entry, following)) => {
                    let at = entry.at;
                    last = Some(Last {
                        cursor,
                        sequence,
                        at,
                    });
                    joined.push(entry.bytes);
                    following
                }
                Err(NotTaken::Superseded(following)) => following,
                Err(NotTaken::NoRoom | NotTaken::Missed) => {
                    is_cut = true;
                    break;
                }
            };
            self.next
                .extend(following.map(|sequence| Reverse((sequence, cursor))));
        }
        Merged {
            bytes: joined.freeze(),
            last,
            is_cut,
        }
    }
}

/// Joins entries incrementally. A single entry is not copied.
#[derive(Debug, Default)]
struct Joined {
    first: Option<Bytes>,
    all: BytesMut,
}

impl Joined {
    /// Whether `bytes` fit. The first entry always fits.
    #[inline]
    fn has_room(&self, bytes: &Bytes, limit: usize) -> bool {
        match &self.first {
            None => true,
            Some(first) => self.all.len().max(first.len()) + bytes.len() <= limit,
        }
    }

    #[inline]
    fn push(&mut self, bytes: Bytes) {
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

    fn freeze(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first.unwrap_or_default(),
            false => self.all.freeze(),
        }
    }
}
