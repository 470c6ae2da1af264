//! Closing and draining.
//!
//! The stage changes first. Then all parked readers are woken, a few channels at a time. A reader that
//! subscribes in between reads the new stage itself.
//!
//! An end is a position. A reader stops at the sequence number of its end, however far it lags. Only the last eight
//! closes of a channel keep an exact end. A reader that an earlier close ended stops at the oldest end that is kept.

use super::{ChannelLog, Hub, evict::STEP, sequencer::SequencerGuard, state::HubState};
use crate::channel::Channel;
use std::sync::{Arc, atomic::Ordering::SeqCst};
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, timeout_at},
};

/// Life stage of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not read the shared log yet: see `cold`.
    Cold {
        is_draining: bool,
    },
    Open,
    Draining,
    Closed,
}

impl Hub {
    /// Waits until the hub has no reader, at most until `by`.
    pub(crate) async fn wait_until_empty(&self, by: Instant) {
        loop {
            let emptied = self.emptied.notified();
            let is_empty = self.state().subscriptions == 0;
            if is_empty || timeout_at(by, emptied).await.is_err() {
                return;
            }
        }
    }

    /// Ends every reader after the last entry appended so far, and refuses new readers.
    pub(crate) fn close(&self) {
        let state = self.state();
        // `closed_after` is stored before `closed`, so a reader that observes `closed` observes both. Only the
        // first close sets it.
        if !self.closed.load(SeqCst) {
            self.closed_after.store(state.sequence(), SeqCst);
        }
        self.closed.store(true, SeqCst);
        drop(state);
        self.ending.notify_waiters();
        self.each_with_readers(|log| log.wake());
    }

    /// Resolves when, after this call, a channel or the hub is closed, or the hub begins to drain.
    pub(crate) fn ending(&self) -> OwnedNotified {
        self.ending.clone().notified_owned()
    }

    /// The last sequence number that readers return, if the hub is closed.
    pub(super) fn closed_after(&self) -> Option<u64> {
        self.is_closed().then(|| self.closed_after.load(SeqCst))
    }

    /// Starts to drain with the deadline `by`, and refuses new readers. Later calls have no effect.
    pub(crate) fn drain(&self, by: Instant) {
        if self.drained_by.set(by).is_ok() {
            self.ending.notify_waiters();
            self.each_with_readers(|log| log.wake());
        }
    }

    /// Calls `with` for each channel that has readers, without holding the lock. A visited channel may be visited
    /// again: it moves to the place of a channel that loses its last reader.
    pub(super) fn each_with_readers(&self, with: impl FnMut(&ChannelLog)) {
        self.walk(|_, _| (), with);
    }

    /// As [`each_with_readers`](Self::each_with_readers), and calls `locked` before `with` while it holds the lock.
    pub(super) fn walk(
        &self,
        mut locked: impl FnMut(&mut HubState, &Arc<ChannelLog>),
        mut with: impl FnMut(&ChannelLog),
    ) {
        let mut left = usize::MAX;
        while left > 0 {
            let mut state = self.sequencer.in_turn();
            // From the end, so that none is skipped: see `HubState::with_readers`.
            let to = left.min(state.with_readers.len());
            left = to.saturating_sub(STEP);
            let step = state.with_readers[left..to].to_vec();
            step.iter().for_each(|log| locked(&mut state, log));
            drop(state);
            step.iter().for_each(|log| with(log));
        }
    }

    /// The deadline of the drain, if the hub is draining.
    pub(crate) fn drained_by(&self) -> Option<Instant> {
        self.drained_by.get().copied()
    }

    /// Whether the hub is draining or closed.
    pub(crate) fn is_closing(&self) -> bool {
        !matches!(
            self.stage(),
            Stage::Open | Stage::Cold { is_draining: false }
        )
    }

    pub(super) fn stage(&self) -> Stage {
        match (self.is_closed(), self.drained_by().is_some()) {
            (true, _) => Stage::Closed,
            (false, is_draining) if self.is_cold() => Stage::Cold { is_draining },
            (false, true) => Stage::Draining,
            (false, false) => Stage::Open,
        }
    }

    /// Ends the current readers of one channel after the hub's last sequence number.
    ///
    /// `with` receives the sequence number of the channel's last entry. It runs under the sequencer's lock,
    /// so its side effects have the order of all publishes.
    pub(crate) fn close_channel<T>(&self, channel: &Channel, with: impl FnOnce(u64) -> T) -> T {
        let now = std::time::SystemTime::now();
        let mut state = self.state();
        if self.config.records_closes {
            state.closes.insert(channel, now);
        }
        self.end_readers(state, channel, with)
    }

    /// Ends the current readers of one channel after the hub's last sequence number.
    pub(super) fn end_readers<T>(
        &self,
        mut state: SequencerGuard<'_>,
        channel: &Channel,
        with: impl FnOnce(u64) -> T,
    ) -> T {
        let Some(log) = state.current(channel) else {
            return with(state.tombstones.evicted(channel));
        };
        let done = with(log.last());
        log.lock().waiters.end_all(state.sequence());
        drop(state);
        self.ending.notify_waiters();
        log.wake();
        done
    }

    /// The highest number of a recorded close of these channels, or 0. Later closes have higher numbers.
    pub(crate) fn last_close(&self, channels: &[Channel]) -> u64 {
        self.state().closes.last(channels)
    }

    /// The channels with readers and their number of readers, sorted by name.
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

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::{super::tests::hub, *};

    #[test]
    fn closes_are_recorded_only_if_configured() {
        for records_closes in [false, true] {
            let hub = hub(|config| config.records_closes = records_closes);
            let a = Channel::new("a").unwrap();
            hub.close_channel(&a, drop);
            assert_eq!(hub.last_close(&[a]) > 0, records_closes);
        }
    }
}
