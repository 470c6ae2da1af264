//! Entries of the stream, each of which is a batch of drafts or begins an epoch.

use crate::backplane::{Content, Entry, block::Label};
use bytes::Bytes;
use redis::{Value, from_redis_value};
use std::{
    fmt, str,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The id of an entry. The engine's entries have the suffix 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Id {
    /// The sequence of the entry's last draft.
    pub(super) sequence: u64,
    pub(super) suffix: u64,
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let (sequence, suffix) = text.split_once('-')?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            suffix: suffix.parse().ok()?,
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.suffix)
    }
}

/// What an answer to XREAD has of one stream.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    /// The sequence of the last entry that an instance has written.
    pub(super) position: u64,
    /// The id of the last entry of the stream.
    pub(super) last: Option<Id>,
    /// Number of entries of the stream, and their size.
    pub(super) batches: usize,
    pub(super) bytes: usize,
}

/// Parses the answer to XREAD after a sequence.
pub(super) fn parse(answer: Value, after: u64) -> Option<Read> {
    let mut read = Read {
        position: after,
        ..Read::default()
    };
    if answer == Value::Nil {
        return Some(read);
    }
    let [stream] = list(answer)?.try_into().ok()?;
    let [_key, batches] = list(stream)?.try_into().ok()?;
    for batch in list(batches)? {
        read.add(batch)?;
    }
    Some(read)
}

fn list(value: Value) -> Option<Vec<Value>> {
    value.into_sequence().ok()
}

impl Read {
    fn add(&mut self, batch: Value) -> Option<()> {
        let [id, fields] = list(batch)?.try_into().ok()?;
        let id = Id::parse(&from_redis_value::<String>(id).ok()?)?;
        let fields: Vec<Vec<u8>> = from_redis_value(fields).ok()?;
        self.batches += 1;
        self.bytes += fields.iter().map(Vec::len).sum::<usize>();
        self.last = Some(id);
        let entries = Some(fields).filter(|_| id.suffix == 0);
        match entries.and_then(|fields| entries_of(id.sequence, fields)) {
            Some(entries) => {
                self.position = id.sequence;
                self.entries.extend(entries);
            }
            // Its id takes no sequence: the next batch may have the same one.
            None => self
                .entries
                .push(Entry::new(self.position, Bytes::new(), Content::Foreign)),
        }
        Some(())
    }
}

/// The entries in the fields of a batch whose last sequence this is. The value of its first field is their mark.
fn entries_of(last: u64, fields: Vec<Vec<u8>>) -> Option<Vec<Entry>> {
    if fields.len() == 2 && fields[0] == b"e" {
        let [_, epoch] = fields.try_into().ok()?;
        return Some(vec![Entry::new(last, epoch, Content::NewEpoch)]);
    }
    let [o, mark, d, block] = fields.try_into().ok()?;
    if [o, d] != [b"o", b"d"] {
        return None;
    }
    let (label, at) = parse_mark(&mark)?;
    label.entries(last, &mark.into(), at, block.into())
}

/// Parses the value of a batch's first field. The term follows.
fn parse_mark(mark: &[u8]) -> Option<(Label, SystemTime)> {
    let mut parts = str::from_utf8(mark).ok()?.split(':');
    let label = Label {
        origin: parts.next()?.parse().ok()?,
        first_number: parts.next()?.parse().ok()?,
        count: parts.next()?.parse().ok().filter(|count| *count > 0)?,
    };
    // Numbers of drafts must not overflow.
    label.first_number.checked_add(label.count as u64)?;
    let since_1970 = Duration::from_millis(parts.next()?.parse().ok()?);
    Some((label, UNIX_EPOCH.checked_add(since_1970)?))
}
