//! Joined frames: entries that several readers at the same place read as one piece of bytes.
//!
//! 1. A frame is made once for all readers of a channel at the same place, and kept for the next of
//!    them. A channel keeps few.
//! 2. A channel drops its frames when no reader is left that has not read all: see `ChannelLog`. A
//!    reader that is blocked can delay that, so frames of all channels have a limit in bytes, and are
//!    the first to go when the hub's memory exceeds its budget.
//! 3. `FrameIndex` counts their bytes. Dropping `Frames` subtracts them.
//!
//! Order of locks: a channel's, then the index.

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

/// Frames that a channel keeps.
const KEPT: usize = 4;

/// Memory that a frame takes beside its bytes.
const OVERHEAD: usize = 160;

/// The channels of a hub that keep frames, and how many bytes these have.
#[derive(Debug)]
pub(crate) struct FrameIndex {
    channels: Mutex<ByAge>,
    bytes: AtomicUsize,
    limit: usize,
}

#[derive(Debug, Default)]
struct ByAge {
    channels: BTreeMap<u64, Weak<ChannelLog>>,
    /// No key is used twice: a channel removes its own only.
    next: u64,
}

/// The frames of one channel, oldest first.
#[derive(Debug)]
pub(super) struct Frames {
    frames: Vec<Frame>,
    /// Where the channel is in the index.
    key: u64,
    index: Arc<FrameIndex>,
}

/// The entries with the indices of `place`, joined.
#[derive(Debug)]
struct Frame {
    range: Range<u64>,
    bytes: Bytes,
}

impl FrameIndex {
    /// All frames have at most `limit` bytes, but for a moment.
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

    /// Drops the oldest frames beyond the limit. No channel's lock may be held.
    pub(super) fn trim(&self) {
        while self.bytes() > self.limit && self.drop_oldest() {}
    }

    /// Drops the frames of the channel that has had some for the longest time. No channel's lock may
    /// be held. False if no channel has any.
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

    /// Keeps a frame, in place of the oldest if there are many.
    pub(super) fn keep(&mut self, range: Range<u64>, bytes: Bytes) {
        if self.frames.len() == KEPT {
            let oldest = self.frames.remove(0);
            self.index.bytes.fetch_sub(oldest.size(), Relaxed);
        }
        let frame = Frame { range, bytes };
        self.index.bytes.fetch_add(frame.size(), Relaxed);
        self.frames.push(frame);
    }

    /// Drops frames with entries before `first`. True if none is left.
    pub(super) fn retain_from(&mut self, first: u64) -> bool {
        let index = &self.index;
        self.frames.retain(|frame| {
            let keeps = frame.range.start >= first;
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
        self.retain_from(u64::MAX);
        lock(&self.index.channels).channels.remove(&self.key);
    }
}

#[cfg(test)]
impl Frames {
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Their part of the index's bytes.
    pub(super) fn size(&self) -> usize {
        self.frames.iter().map(Frame::size).sum()
    }
}

#[cfg(test)]
impl FrameIndex {
    /// How many channels have frames.
    pub(super) fn len(&self) -> usize {
        lock(&self.channels).channels.len()
    }
}
