//! Readers that continue somewhere else.

use super::{Gap, Read, Reader, Stage, Start, reader::COLD};
use tokio::time::Instant;

impl Reader {
    /// Moves the reader after this sequence number, and forgets a gap. Returns false, and changes nothing, if the hub
    /// has not reached it, or if entries after it were lost.
    pub(crate) fn seek(&mut self, after: u64) -> bool {
        let hub = self.hub.clone();
        // Nothing is appended or evicted while the lock is held.
        let mut state = hub.state();
        let cursors = &mut *self.cursors;
        cursors
            .iter()
            .for_each(|cursor| state.reset_if_stale(cursor.log()));
        let is_found = after <= state.sequence()
            && !hub.is_cold()
            && cursors
                .iter()
                .all(|cursor| cursor.index_after(after).is_some());
        if is_found {
            cursors.iter_mut().for_each(|cursor| _ = cursor.seek(after));
            (self.pending, self.position, self.begins) = (None, after, state.begun.times);
        }
        is_found
    }

    /// Starts again, as a new reader of the same channels, and forgets a gap. Returns an upper bound of the entries
    /// that it replays. A reader of a cold hub stays as it is.
    pub(crate) fn rejoin(&mut self, start: Start) -> u64 {
        let hub = self.hub.clone();
        let mut state = hub.state();
        if hub.is_cold() {
            return 0;
        }
        for cursor in &*self.cursors {
            state.reset_if_stale(cursor.log());
        }
        self.begins = state.begun.times;
        let replayed = self.start(start, state.sequence(), Instant::now());
        drop(state);
        hub.observer().replayed(replayed);
        replayed
    }

    /// Gives up the position: the next read returns a gap of all channels, and the reader continues after the last
    /// entry.
    pub(crate) fn lose_position(&mut self) {
        self.rejoin(Start::Unknown);
    }

    /// Reads after a begin, or for the first time since the hub was cold.
    #[cold]
    pub(super) fn read_after_begin(&mut self) -> Read {
        self.stage = self.hub.stage();
        if self.begins != COLD {
            return Read::Gap(self.continue_after_begin());
        }
        match self.stage {
            Stage::Closed => Read::End,
            _ if self.is_closed() => Read::End,
            Stage::Cold { .. } => Read::Empty,
            Stage::Open | Stage::Draining => {
                self.rejoin(Start::Unknown);
                self.pending = None;
                Read::Gap(self.gap_of_all())
            }
        }
    }

    /// Moves the cursors to the first entries after the last begin.
    pub(super) fn continue_after_begin(&mut self) -> Gap {
        let hub = self.hub.clone();
        let mut state = hub.state();
        (self.begins, self.pending) = (state.begun.times, None);
        for cursor in &*self.cursors {
            state.reset_if_stale(cursor.log());
        }
        self.skip_lost(state.sequence());
        self.gap_of_all()
    }

    /// Whether a begin happened since the last read.
    pub(super) fn is_outdated(&self) -> bool {
        self.begins != COLD && self.begins != self.hub.begins()
    }
}
