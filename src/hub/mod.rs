//! The hub: one log per channel, and readers with a cursor in each of theirs.
//!
//! 1. One lock, [`Order`], orders every publish of a hub. The sequence number it gives is a total
//!    order, so one number is a valid position for a reader of many channels.
//! 2. An append never waits for a reader. It takes the order lock, then the channel's, and wakes
//!    when both are free again. Readers take only the locks of their channels.
//! 3. `head` is the last sequence that is in its log for sure. A reader of several channels takes
//!    nothing beyond it, and so never sees a later event before an earlier one.
//! 4. Memory is bounded by entries a channel, age, and bytes in all, overhead included: `evict`. A
//!    channel goes with its last reader, or with its last entry when history is kept. Expired
//!    entries are freed without a call: `sweep`.
//! 5. Work under the order lock does not grow with the number of channels: longer work is done in steps,
//!    with the lock free in between. Nothing is woken under it, and nothing large is freed.
//!
//! Entries are opaque bytes here.

mod channel_log;
#[cfg(feature = "grip")]
mod closes;
mod counters;
mod ending;
mod evict;
mod frames;
mod log;
mod reader;
#[cfg(any(feature = "grip", test))]
mod recall;
mod sequencer;
mod state;
mod sweep;
mod sync;
mod table;
mod tombstones;
mod wait_list;
mod wake_batch;

pub(crate) use channel_log::{ChannelLog, Mark};
pub(crate) use reader::{Batch, Gap, Read, Reader};
#[cfg(feature = "grip")]
pub(crate) use recall::Recall;
pub(crate) use wait_list::WaiterKey;

use crate::channel::{Channel, Channels};
use bytes::Bytes;
use counters::Counters;
use ending::Stage;
use evict::{FEW, Newest, STEP};
use frames::FrameIndex;
use log::Entry;
use sequencer::{Sequencer, SequencerGuard};
use state::HubState;
use std::{
    fmt,
    sync::{Arc, OnceLock, PoisonError, Weak, atomic::Ordering::*},
    time::{Duration, Instant as StdInstant},
};
use sweep::Sweep;
use sync::{AtomicBool, AtomicU64, Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};

/// What a hub keeps, and how much it allows.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Whether entries outlive the readers of their channel.
    pub(crate) history: bool,
    /// Entries a channel.
    pub(crate) events: usize,
    pub(crate) max_age: Duration,
    /// Memory of all channels together.
    pub(crate) bytes: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) max_subscriptions_per_channel: usize,
}

impl Config {
    /// What a channel may take before it has to make room for others.
    fn share(&self) -> usize {
        self.bytes / 4
    }

    fn is_expired(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) >= self.max_age
    }
}

pub(crate) struct Hub {
    this: Weak<Self>,
    config: Config,
    /// Tells the positions of this hub from those of one before a restart.
    epoch: u64,
    sequencer: Sequencer,
    frames: Arc<FrameIndex>,
    head: AtomicU64,
    closed: AtomicBool,
    closed_after: AtomicU64,
    drained_by: OnceLock<Instant>,
    /// The last reader has gone.
    emptied: Notify,
    counters: Counters,
    sweep: Sweep,
}

/// Where a new reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the next entry.
    Live,
    /// With what follows this sequence.
    After(u64),
    /// With the next entry, and with the word that its position means nothing here.
    Unknown,
}

/// Why there is no reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the stream is closed")]
    Closed,
    #[error("there are {0} subscriptions already, which is the limit")]
    Subscriptions(usize),
    #[error("there are {1} subscriptions on the channel {0} already, which is the limit")]
    OnChannel(Channel, usize),
}

/// What an append did.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    pub(crate) subscribers: usize,
    /// The channel, if its readers should get a chance to run before the next append.
    pub(crate) congested: Option<Arc<ChannelLog>>,
}

/// Counts of a hub since its start, and what it holds now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Channels with readers.
    pub(crate) channels: usize,
    pub(crate) subscriptions: usize,
    pub(crate) bytes: usize,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) lagged: u64,
    pub(crate) replayed: u64,
    pub(crate) refused: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing of a user's runs under a lock, and every change is whole before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub whose positions have the given epoch.
    pub(crate) fn new(config: Config, epoch: u64) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            frames: FrameIndex::new(config.bytes / 8),
            config,
            epoch,
            sequencer: Sequencer::default(),
            head: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            closed_after: AtomicU64::new(0),
            drained_by: OnceLock::new(),
            emptied: Notify::new(),
            counters: Counters::default(),
            sweep: Sweep::default(),
        })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The sequence of the last publish.
    pub(crate) fn sequence(&self) -> u64 {
        self.head.load(Acquire)
    }

    /// Whether entries outlive the readers of their channel.
    pub(crate) fn keeps_history(&self) -> bool {
        self.config.history
    }

    /// The order lock.
    fn state(&self) -> SequencerGuard<'_> {
        self.sequencer.lock()
    }

    /// The order lock, after all threads that wait for it: for work in steps.
    fn in_turn(&self) -> SequencerGuard<'_> {
        self.sequencer.in_turn()
    }

    /// Appends what `seal` makes of the sequence number and that of the channel's entry before, and
    /// wakes the channel's readers.
    ///
    /// `seal` runs under the order lock: what it does, it does in the order of all publishes.
    pub(crate) fn append(
        &self,
        channel: &Channel,
        seal: impl FnOnce(u64, u64) -> Bytes,
    ) -> Appended {
        let now = Instant::now();
        let mut state = self.state();
        state.expire(now, &self.config, FEW);
        let sequence = state.next_sequence();
        let log = match self.config.history {
            true => Some(state.open(channel)),
            false => state.get(channel),
        };
        let bytes = seal(sequence, log.as_ref().map_or(0, |log| log.last()));
        let newest = Newest::new(sequence, bytes.len(), &self.config);
        let append = |log| {
            let at = now;
            let entry = Entry {
                sequence,
                at,
                bytes,
            };
            state.append(log, entry, &self.config)
        };
        let appended = log.as_ref().map(append).unwrap_or_default();
        let fits = state.fit(newest, &self.frames, &self.config, FEW);
        // Before the readers are woken: a reader that waits beyond the head relies on it.
        self.head.store(sequence, Release);
        drop(state);
        log.iter().for_each(|log| log.wake());
        if !fits {
            self.make_room(newest);
        }
        // An entry that was not appended cannot expire.
        if log.is_some() {
            self.start_sweep();
        }
        appended
    }

    /// Evicts until memory is within the budget. Others may have the lock between the steps.
    fn make_room(&self, newest: Newest) {
        while !self.in_turn().fit(newest, &self.frames, &self.config, STEP) {}
    }

    /// A reader of `channels`, of which each is open from now on, and how many entries are there for it
    /// already.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        channels: &Channels,
        start: Start,
    ) -> Result<(Reader, u64), Refused> {
        let now = Instant::now();
        let mut state = self.state();
        state.expire(now, &self.config, FEW);
        self.admit(&state, channels).inspect_err(|_| {
            self.counters.refused.fetch_add(1, Relaxed);
        })?;
        state.subscriptions += 1;
        let last = state.sequence();
        let logs = channels.iter().map(|channel| state.add_reader(channel));
        Ok(Reader::new(self.clone(), logs, start, last, now))
    }

    /// Whether there is room for a client that a proxy will hold. Closing does not concern it.
    #[cfg(feature = "grip")]
    pub(crate) fn admits_held(&self, channels: &Channels) -> Result<(), Refused> {
        self.has_room(&self.state(), channels).inspect_err(|_| {
            self.counters.refused.fetch_add(1, Relaxed);
        })
    }

    /// A reader that notices when one of `channels` is closed, for a client that a proxy holds or will hold.
    #[cfg(feature = "grip")]
    pub(crate) fn watch(self: &Arc<Self>, channels: &Channels) -> Reader {
        let mut state = self.state();
        state.subscriptions += 1;
        let last = state.sequence();
        let logs = channels.iter().map(|channel| state.add_reader(channel));
        let (reader, _) = Reader::new(self.clone(), logs, Start::Live, last, Instant::now());
        reader
    }

    /// Whether a reader of `channels` would be admitted now.
    pub(crate) fn admits(&self, channels: &Channels) -> Result<(), Refused> {
        let admitted = self.admit(&self.state(), channels);
        admitted.inspect_err(|_| {
            self.counters.refused.fetch_add(1, Relaxed);
        })
    }

    fn admit(&self, state: &HubState, channels: &Channels) -> Result<(), Refused> {
        if self.is_closing() {
            return Err(Refused::Closed);
        }
        self.has_room(state, channels)
    }

    fn has_room(&self, state: &HubState, channels: &Channels) -> Result<(), Refused> {
        if state.subscriptions >= self.config.max_subscriptions {
            return Err(Refused::Subscriptions(self.config.max_subscriptions));
        }
        let limit = self.config.max_subscriptions_per_channel;
        // No channel has more than there are in all.
        let may_be_full = state.subscriptions >= limit;
        let full = |channel: &&Channel| may_be_full && state.subscribers(channel) >= limit;
        match channels.iter().find(full) {
            Some(full) => Err(Refused::OnChannel(full.clone(), limit)),
            None => Ok(()),
        }
    }

    /// A reader has gone, and its subscriptions with it.
    fn unsubscribe<'a>(&self, logs: impl Iterator<Item = (&'a Arc<ChannelLog>, &'a WaiterKey)>) {
        let mut state = self.state();
        state.subscriptions -= 1;
        for (log, waiter) in logs {
            state.remove_reader(log, waiter, &self.config);
        }
        let is_empty = state.subscriptions == 0;
        drop(state);
        if is_empty {
            self.emptied.notify_waiters();
        }
    }

    /// How many readers a channel has.
    pub(crate) fn subscribers(&self, channel: &Channel) -> usize {
        self.state().subscribers(channel)
    }

    /// Lets the readers of a congested channel run, as long as that helps.
    ///
    /// A loop of appends would otherwise overrun the ring before readers on the same thread get a
    /// turn. A reader that does not read holds nobody up.
    pub(crate) async fn settle(log: &ChannelLog) {
        /// Readers of other threads may not have had a turn yet.
        const PATIENCE: Duration = Duration::from_micros(500);
        const YIELDS: u32 = 64;
        let (mut before, mut idle, mut since) = (log.progress(), 0, StdInstant::now());
        while before.awake > 0 && (idle < YIELDS || since.elapsed() < PATIENCE) {
            tokio::task::yield_now().await;
            let now = log.progress();
            if now.awake < before.awake || now.delivered > before.delivered {
                (idle, since) = (0, StdInstant::now());
            }
            (before, idle) = (now, idle + 1);
        }
        log.settled();
    }

    /// Does not look at the channels.
    pub(crate) fn counts(&self) -> Counts {
        let mut state = self.state();
        state.expire(Instant::now(), &self.config, FEW);
        Counts {
            channels: state.with_readers().len(),
            subscriptions: state.subscriptions,
            bytes: state.bytes + self.frames.bytes(),
            published: state.published(),
            delivered: self.counters.delivered.sum(),
            lagged: self.counters.lagged.load(Relaxed),
            replayed: self.counters.replayed.load(Relaxed),
            refused: self.counters.refused.load(Relaxed),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.sweep.abort();
    }
}

/// Nothing of what is in the logs.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("epoch", &self.epoch)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(shuttle)))]
mod bounds;
#[cfg(all(test, shuttle))]
mod interleavings;
#[cfg(test)]
pub(crate) mod tests;
