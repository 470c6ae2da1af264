//! Which entries go first, and how many at a time.
//!
//! 1. Entries go when they expire, oldest first.
//! 2. When memory exceeds the budget, joined frames go first, then the oldest entries of channels above
//!    their share, then the oldest entries of all.
//! 3. A call evicts a few entries under the lock. Where that is not enough, it lets go of the lock
//!    between steps.

use super::{Config, FrameIndex, channel_log::ChannelLog, state::HubState};
use std::sync::Arc;
use tokio::time::Instant;

/// Entries that a publish or a subscription evicts at most while it holds the lock.
pub(super) const FEW: usize = 16;

/// Entries that are evicted at a time where nothing else is done under the lock.
pub(super) const STEP: usize = if cfg!(all(test, shuttle)) { 2 } else { 128 };

/// The entry that was appended last. It is never evicted to make room for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    sequence: u64,
    /// Bytes beyond the budget: the length of an entry above a channel's share. Other channels make no
    /// room for it, since the next publish evicts it.
    exempt: usize,
}

impl Newest {
    pub(super) fn new(sequence: u64, length: usize, config: &Config) -> Self {
        let exempt = if length > config.share() { length } else { 0 };
        Self { sequence, exempt }
    }
}

impl HubState {
    /// Evicts expired entries, `limit` at most. True if no more are left.
    pub(super) fn expire(&mut self, now: Instant, config: &Config, limit: usize) -> bool {
        for _ in 0..limit {
            let Some((_, (at, log))) = self.oldest.first_key_value() else {
                return true;
            };
            if !config.is_expired(*at, now) {
                return true;
            }
            let log = log.clone();
            self.evict(&log, config);
        }
        false
    }

    /// Evicts until memory is within the budget, `limit` times at most. True if there is nothing more to
    /// be done.
    pub(super) fn fit(
        &mut self,
        newest: Newest,
        frames: &FrameIndex,
        config: &Config,
        limit: usize,
    ) -> bool {
        for _ in 0..limit {
            let taken = self.bytes + frames.bytes();
            if taken <= config.bytes + newest.exempt || !self.evict_one(newest, frames, config) {
                return true;
            }
        }
        false
    }

    fn evict_one(&mut self, newest: Newest, frames: &FrameIndex, config: &Config) -> bool {
        if frames.drop_oldest() {
            return true;
        }
        let oldest = || {
            let (sequence, (_, log)) = self.oldest.first_key_value()?;
            (*sequence < newest.sequence).then_some(log)
        };
        let Some(log) = self.oldest_of_large(newest).or_else(oldest) else {
            return false;
        };
        let log = log.clone();
        self.evict(&log, config);
        true
    }

    /// The channel above its share with the oldest entry. The last entry of one stays as long as a
    /// reader is about to read it.
    fn oldest_of_large(&self, newest: Newest) -> Option<&Arc<ChannelLog>> {
        let front = |log: &ChannelLog| {
            let inner = log.lock();
            let front = inner.log.front()?.sequence;
            let may_go = inner.log.len() > 1 || inner.waiters.awake() == 0;
            (may_go && front < newest.sequence).then_some(front)
        };
        let fronts = self.large.iter().filter_map(|log| Some((front(log)?, log)));
        let oldest = fronts.min_by_key(|(front, _)| *front);
        oldest.map(|(_, log)| log)
    }
}
