//! One epoch of a log in memory: its entries, and the branch of history that they belong to.

use crate::backplane::{Batch, Committed, Content, Draft, Entry, Known, Origin, Publication};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

/// Maximum number of entries that one read returns.
const PAGE: usize = 512;

/// Number of sequences of a block.
const BLOCK: u64 = 1024;

/// The mark of a sequence whose entry has left the log, before its term.
const UNKNOWN: &str = "?";

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) epoch: u64,
    pub(super) last: u64,
    /// Whether each append has a block of sequences.
    has_blocks: bool,
    /// The branch of history. It changes wherever two servers may continue differently.
    term: u64,
    /// The last sequence of each earlier term.
    ends: HashMap<u64, u64>,
    entries: VecDeque<Stored>,
    appended: HashMap<Origin, Appended>,
}

/// The highest number of an origin, and the sequence of its entry.
#[derive(Clone, Copy, Debug, Default)]
struct Appended {
    number: u64,
    sequence: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    entry: Entry,
    /// The state of the entry's origin before it, so that the entry can be undone.
    before: Appended,
}

impl History {
    /// Begins an epoch with an entry.
    pub(super) fn begin(epoch: u64, sequence: u64, has_blocks: bool) -> Self {
        let mut history = Self {
            epoch,
            last: sequence - 1,
            has_blocks,
            term: new_term(),
            ends: HashMap::new(),
            entries: VecDeque::new(),
            appended: HashMap::new(),
        };
        history.push(&format!("{epoch:012x}"), Content::NewEpoch);
        history
    }

    /// Continues as a server that took over at the last sequence.
    pub(super) fn begin_term(&mut self) {
        self.ends.insert(self.term, self.last);
        self.term = new_term();
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|stored| stored.entry.sequence)
    }

    /// Returns the mark of the last sequence.
    pub(super) fn mark(&self) -> Bytes {
        let last = self.entries.back();
        last.map_or_else(|| self.marked(UNKNOWN), |stored| stored.entry.mark.clone())
    }

    /// Returns the entries after a sequence, oldest first.
    pub(super) fn after(&self, sequence: u64) -> Vec<Entry> {
        let is_read = |stored: &Stored| stored.entry.sequence <= sequence;
        let start = self.entries.partition_point(is_read);
        let entries = self.entries.range(start..).take(PAGE);
        entries.map(|stored| stored.entry.clone()).collect()
    }

    /// Returns what `known` has and this history lacks. Another epoch is only compared by its last sequence.
    pub(super) fn lacks(&self, known: &Known) -> Option<&'static str> {
        let seen = known.seen.as_ref()?;
        if self.last < seen.last {
            return Some("regress");
        }
        if seen.epoch != self.epoch {
            return None;
        }
        if self.appended(known.origin).number < known.acknowledged {
            return Some("publisher");
        }
        self.contradicts(seen.last, &seen.mark)
    }

    fn contradicts(&self, sequence: u64, mark: &[u8]) -> Option<&'static str> {
        let Some((name, term)) = parsed(mark) else {
            return Some("mark");
        };
        let has_ended_later = |end: &u64| sequence <= *end;
        if term != self.term && !self.ends.get(&term).is_some_and(has_ended_later) {
            return Some("term");
        }
        let entry = self.entry(sequence)?;
        (name != UNKNOWN && entry.mark != mark).then_some("mark")
    }

    fn entry(&self, sequence: u64) -> Option<&Entry> {
        let key = |stored: &Stored| stored.entry.sequence;
        let index = self.entries.binary_search_by_key(&sequence, key).ok()?;
        Some(&self.entries[index].entry)
    }

    /// Counts an origin's numbers as appended, so that they are skipped.
    pub(super) fn skip_to(&mut self, origin: Origin, number: u64) {
        let appended = self.appended.entry(origin).or_default();
        appended.number = appended.number.max(number);
    }

    pub(super) fn append(&mut self, batch: Batch<'_>) -> Committed {
        let done = self.appended(batch.origin).number;
        let drafts = (batch.first_number..).zip(batch.drafts);
        let new: Vec<_> = drafts.filter(|(number, _)| *number > done).collect();
        let added = new.len();
        for (sequence, (number, draft)) in (self.next(added as u64)..).zip(new) {
            let Draft { channel, payload } = draft.clone();
            let now = SystemTime::now();
            let publication = Publication::new(batch.origin, number, channel, payload, now);
            self.publish(sequence, publication);
        }
        let last_number = batch.first_number + batch.drafts.len() as u64 - 1;
        Committed {
            last: self.sequence_of(batch.origin, last_number),
            added,
        }
    }

    /// The first sequence of a number of further entries. The last one of a block ends it.
    fn next(&self, entries: u64) -> u64 {
        match self.has_blocks {
            true => (self.last / BLOCK + 2) * BLOCK - entries,
            false => self.last + 1,
        }
    }

    fn publish(&mut self, sequence: u64, publication: Publication) {
        let Publication { origin, number, .. } = publication;
        let name = format!("{origin}:{number}");
        self.push_at(sequence, &name, Content::Published(publication));
        self.appended.insert(origin, Appended { number, sequence });
    }

    /// Adds an entry behind the last one.
    pub(super) fn push(&mut self, name: &str, content: Content) {
        self.push_at(self.next(1), name, content);
    }

    fn push_at(&mut self, sequence: u64, name: &str, content: Content) {
        let before = match &content {
            Content::Published(publication) => self.appended(publication.origin),
            _ => Appended::default(),
        };
        let entry = Entry::new(sequence, self.marked(name), content).previous(self.last);
        self.entries.push_back(Stored { entry, before });
        self.last = sequence;
    }

    /// Returns the sequence of an appended number: the origin's last one if its entry has left the log.
    fn sequence_of(&self, origin: Origin, number: u64) -> u64 {
        let last = self.appended(origin);
        if last.number == number && last.sequence > 0 {
            return last.sequence;
        }
        let found = self.entries.iter().rev().find(|stored| {
            matches!(&stored.entry.content, Content::Published(publication)
                if publication.origin == origin && publication.number == number)
        });
        found.map_or(last.sequence, |stored| stored.entry.sequence)
    }

    /// Removes entries at the beginning.
    pub(super) fn trim(&mut self, newest: usize) {
        let surplus = self.entries.len().saturating_sub(newest);
        self.entries.drain(..surplus);
    }

    /// Removes entries at the end, and undoes their effects.
    pub(super) fn lose_tail(&mut self, entries: usize) {
        for _ in 0..entries {
            let Some(Stored { entry, before }) = self.entries.pop_back() else {
                return;
            };
            self.last = entry.previous;
            if let Content::Published(publication) = entry.content {
                self.appended.insert(publication.origin, before);
            }
        }
    }

    fn appended(&self, origin: Origin) -> Appended {
        self.appended.get(&origin).copied().unwrap_or_default()
    }

    fn marked(&self, name: &str) -> Bytes {
        format!("{name}:{}", self.term).into()
    }
}

/// Returns the name and the term of a mark.
fn parsed(mark: &[u8]) -> Option<(&str, u64)> {
    let (name, term) = std::str::from_utf8(mark).ok()?.rsplit_once(':')?;
    Some((name, term.parse().ok()?))
}

fn new_term() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
