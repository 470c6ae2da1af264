//! Eviction: its order, and how many entries a step evicts.
//!
//! 1. Expired entries are evicted, oldest first. Retained entries do not expire.
//! 2. When memory exceeds the budget, joined frames are dropped first. Then the oldest entries of channels
//!    above their share are evicted, then the oldest entries of the hub.
//! 3. A call evicts at most a few entries under the lock. If that is not enough, further steps follow, and the lock
//!    is released between them.

use super::{Config, FrameIndex, channel_log::ChannelLog, log::Log, state::HubState};
use std::sync::Arc;
use tokio::time::Instant;

/// Maximum number of entries that one call of `expire` or `fit` evicts where it shares the lock with other work. A
/// publish calls `expire` once, and `fit` for each of its entries.
pub(super) const FEW: usize = 16;

/// Maximum number of entries per step when eviction is the only work under the lock.
pub(super) const STEP: usize = if cfg!(all(test, shuttle)) { 2 } else { 128 };

/// The entry that was appended last. It is not evicted to make room for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    sequence: u64,
    /// Memory allowed beyond the budget: the length of the entry if it is above a channel's share, otherwise 0. So
    /// other channels lose nothing to it. The next publish has no such allowance, and may evict the entry.
    exempt: usize,
}

impl Newest {
    pub(super) fn new(sequence: u64, length: usize, config: &Config) -> Self {
        let exempt = if length > config.share() { length } else { 0 };
        Self { sequence, exempt }
    }
}

impl HubState {
    /// Evicts at most `limit` expired entries. Returns true if none is left.
    pub(super) fn expire(&mut self, now: Instant, config: &Config, limit: usize) -> bool {
        for _ in 0..limit {
            let Some((_, (at, log))) = self.oldest.first_key_value() else {
                return true;
            };
            if !config.is_expired(*at, now) {
                return true;
            }
            let log = log.clone();
            self.evict(&log, config, Log::evict);
        }
        false
    }

    /// Evicts at most `limit` times, until memory is within the budget. Returns false if more steps are
    /// needed.
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
            let (sequence, log) = self.oldest_of_all()?;
            (sequence < newest.sequence).then_some(log)
        };
        let Some(log) = self.oldest_of_large(newest).or_else(oldest) else {
            return false;
        };
        let log = log.clone();
        self.evict(&log, config, Log::discard);
        true
    }

    /// The channel above its share with the oldest entry. A channel with a single entry and an awake waiter is passed
    /// over. The entry may still be evicted as the oldest of the hub.
    fn oldest_of_large(&self, newest: Newest) -> Option<&Arc<ChannelLog>> {
        let front = |log: &ChannelLog| {
            let inner = log.lock();
            let front = inner.log.oldest()?;
            let may_go = inner.log.available_len() > 1 || inner.waiters.awake() == 0;
            (may_go && front < newest.sequence).then_some(front)
        };
        let fronts = self.large.iter().filter_map(|log| Some((front(log)?, log)));
        let oldest = fronts.min_by_key(|(front, _)| *front);
        oldest.map(|(_, log)| log)
    }
}
