//! An entry of a log.

use bytes::Bytes;
use tokio::time::Instant;

/// Memory of an entry's buffer beside its bytes: allocator overhead, and the reference count that is allocated
/// by the first read.
const BYTES_OVERHEAD: usize = 40;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) at: Instant,
    pub(crate) bytes: Bytes,
}

impl Entry {
    pub(super) fn new(sequence: u64, at: Instant, bytes: Bytes) -> Self {
        Self {
            sequence,
            at,
            bytes,
        }
    }

    /// Memory outside of the ring.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + BYTES_OVERHEAD
    }
}

/// An entry that left the ring or the retained entries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
    pub(crate) sequence: u64,
    /// Empty if the log retains the entry.
    pub(crate) bytes: Bytes,
}

impl From<Entry> for Evicted {
    fn from(entry: Entry) -> Self {
        Self {
            sequence: entry.sequence,
            bytes: entry.bytes,
        }
    }
}
