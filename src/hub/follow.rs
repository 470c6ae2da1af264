//! Appends to a hub that follows a shared log.
//!
//! Sequence numbers are from outside. The entries of a batch are appended one by one, and each channel's readers are
//! woken once after it. Until then the channel counts as unsettled. It becomes congested if the batch would overrun its
//! readers, as with a loop of publishes.

use super::{
    Appended, ChannelLog, Config, Entry, Hub, Newest, STEP, Sealed, evict::FEW, log::Log,
    state::HubState,
};
use crate::channel::Channel;
use bytes::Bytes;
use std::{
    mem,
    sync::{Arc, atomic::Ordering::Release},
};
use tokio::time::Instant;

/// A batch of entries from a shared log. Dropping it wakes the readers of their channels.
#[derive(Debug)]
#[must_use]
pub(crate) struct Following<'a> {
    hub: &'a Hub,
    /// The channels whose readers are to be woken.
    touched: Vec<Arc<ChannelLog>>,
}

impl Hub {
    /// Begins a batch of entries. Only one batch may exist at a time.
    pub(crate) fn follow(&self) -> Following<'_> {
        // The batch itself evicts no expired entries. So readers get entries whose maximum age passed while the engine
        // was away.
        let in_turn = || self.sequencer.in_turn();
        while !in_turn().expire(Instant::now(), &self.config, STEP) {}
        Following {
            hub: self,
            touched: Vec::new(),
        }
    }

    /// Returns the append time of an entry that has half of its maximum age left.
    pub(crate) fn half_expired(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.config.max_age / 2).unwrap_or(now)
    }
}

impl Following<'_> {
    /// Appends an entry that was appended to the shared log at the time `at`. Skips it if the hub is at its sequence
    /// number already.
    ///
    /// `seal` receives the sequence number of the channel's previous entry. It runs under the sequencer's lock, so
    /// its side effects have the order of the log. Call [`wake`](Self::wake) before [`Hub::settle`].
    pub(crate) fn append<S: Into<Sealed>>(
        &mut self,
        channel: &Channel,
        sequence: u64,
        at: Instant,
        seal: impl FnOnce(u64) -> S,
    ) -> Appended {
        let hub = self.hub;
        let mut state = hub.state();
        if sequence <= state.sequence() {
            return Appended::default();
        }
        let log = match hub.config.history {
            true => Some(state.get_or_create(channel)),
            false => state.current(channel),
        };
        let Sealed { bytes, key } = seal(log.as_ref().map_or(0, |log| log.last())).into();
        let newest = Newest::new(sequence, bytes.len(), &hub.config);
        let at = state.in_order(at);
        state.advance_to(sequence);
        let appended = log.as_ref().map(|log| {
            let entry = Entry::new(sequence, at, bytes);
            state.append(log, entry, key, &hub.config)
        });
        let fits = state.fit(newest, &hub.frames, &hub.config, FEW);
        // The store precedes the wake, as in `Hub::append`.
        hub.head.store(sequence, Release);
        drop(state);
        if !fits {
            hub.make_room(newest);
        }
        let appended = appended.unwrap_or_default();
        match hub.is_cold() {
            // Readers of a cold hub see no entries.
            true => Appended::default(),
            false => self.appended(log, appended),
        }
    }

    fn appended(&mut self, log: Option<Arc<ChannelLog>>, appended: Appended) -> Appended {
        self.hub.observer().published(1, appended.subscribers);
        let has_readers =
            |log: &Arc<ChannelLog>| appended.subscribers > 0 && log.lock().waiters.announce();
        self.touched.extend(log.filter(has_readers));
        appended
    }

    /// Records an entry that this version cannot read. Its channel loses all earlier entries too. Its readers return a
    /// gap, and so does a resume before the entry.
    pub(crate) fn lose(&mut self, channel: &Channel, sequence: u64) {
        let hub = self.hub;
        let mut state = hub.state();
        if sequence <= state.sequence() {
            return;
        }
        let find = |state: &mut HubState| match hub.config.history {
            true => Some(state.get_or_create(channel)),
            false => state.current(channel),
        };
        while find(&mut state).is_some_and(|log| !state.discard(&log, STEP, &hub.config)) {
            drop(state);
            state = hub.sequencer.in_turn();
        }
        let (log, at) = (find(&mut state), state.in_order(Instant::now()));
        state.advance_to(sequence);
        if let Some(log) = &log {
            // Under one lock of the channel, so that no reader returns the entry.
            state.evict(log, &hub.config, |log| {
                log.push(Entry::new(sequence, at, Bytes::new()), hub.config.events);
                log.discard()
            });
        }
        hub.head.store(state.sequence(), Release);
        drop(state);
        self.touched
            .extend(log.filter(|log| log.subscribers() > 0 && log.lock().waiters.announce()));
    }

    /// Ends the current readers of a channel at this sequence number, as [`Hub::close_channel`]. The number is also
    /// the one that is recorded, so it is the same in all instances.
    pub(crate) fn close_channel<T>(
        &mut self,
        channel: &Channel,
        sequence: u64,
        with: impl FnOnce(u64) -> T,
    ) -> T {
        let mut state = self.hub.state();
        if self.hub.config.records_closes {
            state.closes.insert_number(channel, sequence);
        }
        state.advance_to(sequence);
        self.hub.head.store(state.sequence(), Release);
        self.hub.end_readers(state, channel, with)
    }

    /// Skips entries of no interest up to this sequence number.
    pub(crate) fn advance_to(&mut self, sequence: u64) {
        let mut state = self.hub.state();
        state.advance_to(sequence);
        self.hub.head.store(state.sequence(), Release);
    }

    /// Wakes the readers of the entries so far.
    pub(crate) fn wake(&mut self) {
        for log in mem::take(&mut self.touched) {
            log.wake();
        }
        self.hub.start_sweep();
    }
}

impl HubState {
    /// Evicts up to `limit` entries of a channel. Returns true if none is left.
    fn discard(&mut self, log: &Arc<ChannelLog>, limit: usize, config: &Config) -> bool {
        for _ in 0..limit {
            if log.lock().log.is_empty() {
                return true;
            }
            self.evict(log, config, Log::discard);
        }
        false
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.wake();
    }
}
