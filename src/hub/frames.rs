//! Joined frames: consecutive entries of one channel, copied into one buffer that readers of only that channel share.
//!
//! 1. The first reader of a range of entries joins it. Readers with the same cursor reuse the frame. A
//!    channel keeps only a few frames.
//! 2. A channel drops its frames when all its waiters are parked: see `ChannelLog`. A blocked reader can
//!    delay that. So the frames of all channels have a limit in bytes, and are dropped before any entry
//!    is evicted for the budget.
//! 3. `FrameIndex` counts the bytes of all frames. Dropping `Frames` subtracts them.
//!
//! Lock order: the channel's lock, then the index's.

use super::{ChannelLog, lock, sync::Mutex};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Maximum number of frames per channel.
const KEPT: usize = 4;

/// Memory of a frame beside its bytes.
const OVERHEAD: usize = 160;

/// The channels of a hub with frames, and the total bytes of these.
#[derive(Debug)]
pub(crate) struct FrameIndex {
    channels: Mutex<ByAge>,
    bytes: AtomicUsize,
    limit: usize,
}

#[derive(Debug, Default)]
struct ByAge {
    channels: BTreeMap<u64, Weak<ChannelLog>>,
    /// The next key. Keys are not reused, so a channel cannot remove the entry of another.
    next: u64,
}

/// The frames of one channel, oldest first.
#[derive(Debug)]
pub(super) struct Frames {
    frames: Vec<Frame>,
    /// Key of the channel in the index.
    key: u64,
    index: Arc<FrameIndex>,
}

/// The entries with the indices `range`, joined.
#[derive(Debug)]
struct Frame {
    range: Range<u64>,
    bytes: Bytes,
}

impl FrameIndex {
    /// Creates an index whose frames have at most `limit` bytes after [`trim`](Self::trim).
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            channels: Mutex::default(),
            bytes: AtomicUsize::new(0),
            limit,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Drops the oldest frames beyond the limit. The caller must hold no channel's lock.
    pub(super) fn trim(&self) {
        while self.bytes() > self.limit && self.drop_oldest() {}
    }

    /// Drops the frames of the channel that has kept some for the longest time. The caller must hold no
    /// channel's lock. Returns false if no channel has frames.
    pub(super) fn drop_oldest(&self) -> bool {
        if self.bytes() == 0 {
            return false;
        }
        let oldest = lock(&self.channels).channels.pop_first();
        let log = oldest.as_ref().and_then(|(_, log)| log.upgrade());
        if let Some(log) = log {
            log.lock().log.drop_frames();
        }
        oldest.is_some()
    }

    fn add(&self, log: Weak<ChannelLog>) -> u64 {
        let mut by_age = lock(&self.channels);
        let key = by_age.next;
        by_age.next += 1;
        by_age.channels.insert(key, log);
        key
    }
}

impl Frames {
    pub(super) fn new(index: &Arc<FrameIndex>, log: Weak<ChannelLog>) -> Self {
        Self {
            frames: Vec::new(),
            key: index.add(log),
            index: index.clone(),
        }
    }

    pub(super) fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut frames = self.frames.iter();
        let frame = frames.find(|frame| frame.range == *range);
        frame.map(|frame| frame.bytes.clone())
    }

    /// Keeps a frame, and drops the oldest if there are too many.
    pub(super) fn keep(&mut self, range: Range<u64>, bytes: Bytes) {
        if self.frames.len() == KEPT {
            let oldest = self.frames.remove(0);
            self.index.bytes.fetch_sub(oldest.size(), Relaxed);
        }
        let frame = Frame { range, bytes };
        self.index.bytes.fetch_add(frame.size(), Relaxed);
        self.frames.push(frame);
    }

    /// Drops the other frames. Returns true if none is left.
    pub(super) fn keep_if(&mut self, keeps: impl Fn(&Range<u64>) -> bool) -> bool {
        let index = &self.index;
        self.frames.retain(|frame| {
            let keeps = keeps(&frame.range);
            if !keeps {
                index.bytes.fetch_sub(frame.size(), Relaxed);
            }
            keeps
        });
        self.frames.is_empty()
    }
}

impl Frame {
    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.keep_if(|_| false);
        lock(&self.index.channels).channels.remove(&self.key);
    }
}

#[cfg(test)]
impl Frames {
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Their share of the bytes that the index counts.
    pub(super) fn size(&self) -> usize {
        self.frames.iter().map(Frame::size).sum()
    }
}

#[cfg(test)]
impl FrameIndex {
    /// Number of channels with frames.
    pub(super) fn len(&self) -> usize {
        lock(&self.channels).channels.len()
    }
}
