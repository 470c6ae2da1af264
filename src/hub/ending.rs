//! Closing and draining: how readers learn that they are to end.
//!
//! The stage changes first, then all waiting readers are woken, a few channels at a time. A reader that is
//! admitted meanwhile sees the stage itself.
//!
//! An end is a position: a reader stops at the sequence of its end, however far behind it is, and never reads
//! an entry that was appended later.

use super::{ChannelLog, Hub, evict::STEP};
use crate::channel::Channel;
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::{Instant, timeout_at};

/// How long the hub still has, as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    Draining,
    Closed,
}

impl Hub {
    /// Waits until there is no reader, or until the time `by`.
    pub(crate) async fn empty(&self, by: Instant) {
        loop {
            let emptied = self.emptied.notified();
            let is_empty = self.state().subscriptions == 0;
            if is_empty || timeout_at(by, emptied).await.is_err() {
                return;
            }
        }
    }

    /// Ends every reader after the entries that were appended until now, and refuses new readers.
    pub(crate) fn close(&self) {
        let state = self.state();
        // A reader that sees `closed` sees this too. The first close counts.
        if !self.closed.load(SeqCst) {
            self.closed_after.store(state.sequence(), SeqCst);
        }
        self.closed.store(true, SeqCst);
        drop(state);
        self.each_with_readers(|log| log.wake());
    }

    /// The last sequence that readers are to read, if the hub is closed.
    pub(super) fn closed_after(&self) -> Option<u64> {
        self.is_closed().then(|| self.closed_after.load(SeqCst))
    }

    /// Lets every reader know that it should end by then, and refuses new ones. The first call counts.
    pub(crate) fn drain(&self, by: Instant) {
        if self.drained_by.set(by).is_ok() {
            self.each_with_readers(|log| log.wake());
        }
    }

    /// Calls `with` for each channel that has readers now, while the lock is free. A channel that gets
    /// readers meanwhile may be visited again.
    pub(super) fn each_with_readers(&self, mut with: impl FnMut(&ChannelLog)) {
        let mut left = usize::MAX;
        while left > 0 {
            let state = self.in_turn();
            // From the end, where new channels come: see `Order::with_readers`.
            let to = left.min(state.with_readers().len());
            left = to.saturating_sub(STEP);
            let step = state.with_readers()[left..to].to_vec();
            drop(state);
            step.iter().for_each(|log| with(log));
        }
    }

    /// When every reader should have ended, if there is such a time.
    pub(crate) fn drained_by(&self) -> Option<Instant> {
        self.drained_by.get().copied()
    }

    /// Whether readers are about to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.stage() != Stage::Open
    }

    pub(super) fn stage(&self) -> Stage {
        match (self.is_closed(), self.drained_by()) {
            (true, _) => Stage::Closed,
            (false, Some(_)) => Stage::Draining,
            (false, None) => Stage::Open,
        }
    }

    /// Ends the readers of one channel after the entries that were appended until now, to any channel.
    ///
    /// `with` is given the sequence of the channel's last entry, and runs in the order of all publishes.
    pub(crate) fn close_channel<T>(&self, channel: &Channel, with: impl FnOnce(u64) -> T) -> T {
        #[cfg(feature = "grip")]
        let now = std::time::SystemTime::now();
        #[cfg_attr(not(feature = "grip"), allow(unused_mut))]
        let mut state = self.state();
        #[cfg(feature = "grip")]
        state.closes.insert(channel, now);
        let Some(log) = state.get(channel) else {
            return with(state.evicted(channel));
        };
        let done = with(log.last());
        log.end_readers(state.sequence());
        drop(state);
        log.wake();
        done
    }

    /// The number of the last close of any of these channels, 0 without one. Later closes have higher numbers.
    #[cfg(feature = "grip")]
    pub(crate) fn last_close(&self, channels: &[Channel]) -> u64 {
        self.state().closes.last(channels)
    }

    /// The channels that have readers, with how many each has, by name.
    pub(crate) fn channels(&self) -> Vec<(Channel, usize)> {
        let mut channels = Vec::new();
        self.each_with_readers(|log| channels.push((log.name().clone(), log.subscribers())));
        channels.retain(|(_, readers)| *readers > 0);
        channels.sort_unstable();
        channels.dedup_by(|one, other| one.0 == other.0);
        channels
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }
}
