//! The time before a hub has read the shared log.
//!
//! A cold hub has no positions. Its readers return no entries. When it is warm, they return a gap: most entries that
//! the hub has read are older than they are. A close also ends them while the hub is cold: it may have been published
//! after they subscribed.

use super::{Config, Hub};
use crate::LastEventId;
use std::sync::{Arc, atomic::Ordering::SeqCst};

impl Hub {
    /// Creates a cold hub, which follows a log whose sequence numbers and epochs are from outside.
    pub(crate) fn following(config: Config) -> Arc<Self> {
        let hub = Self::new(config, 0);
        hub.cold.store(true, SeqCst);
        hub
    }

    /// Whether the hub has not read the shared log yet.
    pub(crate) fn is_cold(&self) -> bool {
        self.cold.load(SeqCst)
    }

    /// Ends the cold stage: the hub has read the shared log up to its end. Wakes all readers.
    pub(crate) fn warm_up(&self) {
        let state = self.state();
        self.cold.store(false, SeqCst);
        drop(state);
        self.each_with_readers(|log| log.wake());
    }

    /// Whether clients get positions: the hub keeps history, and is not cold.
    pub(crate) fn has_positions(&self) -> bool {
        self.keeps_history() && !self.is_cold()
    }

    /// Whether the position is one of this hub, which has every entry up to it.
    pub(crate) fn has_reached(&self, id: LastEventId) -> bool {
        let (epoch, sequence) = self.position();
        !self.is_cold() && id.epoch() == epoch && id.sequence() <= sequence
    }

    /// The epoch and the sequence number of the last entry.
    pub(crate) fn position(&self) -> (u64, u64) {
        // In this order, since `begin` stores the epoch last: a new epoch never comes with an earlier position.
        let epoch = self.epoch();
        (epoch, self.sequence())
    }
}
