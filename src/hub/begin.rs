//! A begin: the start of an epoch, or of the entries after a loss in the same epoch.
//!
//! 1. A begin forgets every entry, and the hub continues after the sequence number `base`. All earlier entries count
//!    as evicted, so a position before `base` is a gap on every channel.
//! 2. Under the lock, a begin changes numbers and the tombstones, and visits no log. A log that was reset fewer times
//!    than the hub has begun is *stale*. `current` resets it, at the latest the steps that follow do. `log_of` replaces
//!    it by an empty log.
//! 3. A reader compares the counts before each read. It then returns one gap for all its channels, and continues with
//!    the first entry after `base`. A reset also moves a log's indices far ahead. So a read that compared too early
//!    misses an unknown number of entries, and returns the same gap.
//! 4. A reader may load its position and the epoch at different times. An earlier epoch with a later position is a gap
//!    on resume, because the epoch differs. A later epoch with an earlier position is a gap too, because that position
//!    is below `base`. So `base` is above every sequence number of earlier epochs.

use super::{
    ChannelLog, Hub,
    evict::STEP,
    state::{Begun, HubState},
    tombstones::Tombstones,
};
use crate::channel::Channel;
use std::sync::{Arc, atomic::Ordering::*};

impl Hub {
    /// Begins the epoch `epoch` after the sequence number `base`, or reports that entries up to `base` are missing if
    /// the epoch is the same.
    ///
    /// `base` is at least the hub's sequence number, and above it if the epoch differs. Every reader returns a gap
    /// of unknown size.
    pub(crate) fn begin(&self, epoch: u64, base: u64) {
        let mut state = self.state();
        let tombstones = state.begin(base);
        // A reader that loads the new epoch observes the begin, and does not return a position before it.
        self.begins.store(state.begun.times, SeqCst);
        self.head.store(state.sequence(), Release);
        self.epoch.store(epoch, Release);
        drop(state);
        drop(tombstones);
        self.walk(HubState::reset_if_stale, ChannelLog::wake);
        while !self.sequencer.in_turn().forget(STEP) {}
    }

    /// Number of begins.
    pub(super) fn begins(&self) -> u32 {
        self.begins.load(Acquire)
    }
}

impl HubState {
    fn begin(&mut self, base: u64) -> Tombstones {
        self.advance_to(base);
        self.begun = Begun {
            times: self.begun.times + 1,
            base: self.sequence(),
            has_stale: true,
        };
        self.tombstones.raise(self.sequence())
    }

    /// The channel's log, which is not stale.
    pub(super) fn current(&mut self, channel: &Channel) -> Option<Arc<ChannelLog>> {
        if self.begun.has_stale
            && let Some(log) = self.get(channel)
        {
            self.reset_if_stale(&log);
        }
        self.get(channel)
    }

    /// Whether the log has the entries from before the last begin.
    pub(super) fn is_stale(&self, log: &ChannelLog) -> bool {
        self.begun.has_stale && log.lock().log.resets() < self.begun.times
    }

    pub(super) fn reset_if_stale(&mut self, log: &Arc<ChannelLog>) {
        if self.is_stale(log) {
            self.reset(log);
        }
    }

    /// Empties a log, and removes it if it has no reader.
    fn reset(&mut self, log: &Arc<ChannelLog>) {
        let mut inner = log.lock();
        self.uncount(log, &inner);
        let old = inner.reset(self.begun.base, self.begun.times);
        let is_unused = inner.subscribers == 0;
        drop(inner);
        self.forgotten.push(old);
        if is_unused {
            self.logs.remove(log.name());
        }
    }

    /// Resets at most `limit` stale logs with entries. Returns true if none is left. The caller has reset the
    /// logs that have readers.
    fn forget(&mut self, limit: usize) -> bool {
        for _ in 0..limit {
            match self.oldest_of_all() {
                Some((sequence, log)) if sequence <= self.begun.base => {
                    let log = log.clone();
                    self.reset(&log);
                }
                _ => {
                    self.begun.has_stale = false;
                    return true;
                }
            }
        }
        false
    }
}
