//! The hub: one log per channel, and readers with a cursor into each log they read.
//!
//! 1. One lock, the [`Sequencer`], orders every publish of a hub. It assigns each entry a sequence
//!    number. The numbers are a total order, so one number is the position of a reader of many channels.
//! 2. An append never waits for a reader. It takes the sequencer's lock, then the channel's lock, and wakes readers
//!    after it has released both. An ordinary read locks only the reader's channels, and the frame index. Subscribing,
//!    seeking, rejoining, a read after a begin, and dropping a reader lock the sequencer.
//! 3. Every append up to the sequence number `head` is complete. A reader of several channels returns no entry
//!    beyond `head`, so it never returns a later entry before an earlier one.
//! 4. Memory is bounded by entries per channel, age, and total bytes including overhead (`evict`). Without
//!    history a channel is removed with its last reader. With history it is removed when it has neither readers
//!    nor entries. The `sweep` task frees expired entries. The newest entry of each key may outlive count and age,
//!    not the bytes.
//! 5. An entry may have a key. It supersedes earlier entries with that key, and readers with a backlog skip
//!    these (`keyed`).
//! 6. Work under the sequencer's lock does not grow with the number of channels. Longer work runs in steps and releases
//!    the lock between them. A publish of several entries holds the lock for all of them. Under the lock nothing is
//!    woken. Large entries are freed after it; joined frames may be freed under it (`evict`).
//!
//! 7. A hub either orders its own publishes, or follows a log that several instances share: sequence numbers and
//!    epochs are from outside then (`follow`, `begin`), and the hub is cold until it has read that log (`cold`).
//!
//! Entries are opaque bytes.
//!
//! # Words
//!
//! - A *reader* has a cursor into the log of each of its channels ([`Reader`]).
//! - A *subscriber* of a channel is a reader that has a cursor into its log.
//! - A *subscription* is a reader as the limits count it: once in the hub, and once in each of its channels.
//! - A *waiter* is a registration in a channel's wait list ([`WaiterKey`]). It belongs to a cursor, or to a socket
//!   driver that reads for several readers.
//!
//! An entry is *evicted* when it leaves the ring, or the retained entries. It is *lost* then, unless it is superseded
//! or becomes retained. A reader has *missed* it if it was lost before that reader returned it.
//!
//! A registered waiter is *parked* while the wait list has its waker, and *awake* otherwise. Waking a channel takes all
//! its wakers and begins the next *round*, so a waiter that parked in an earlier round is awake. A channel *settles*
//! when an append finds no waiter awake, or when a publisher gives up waiting. It is *congested* if it has waiters, and
//! a quarter of its ring, or a share of bytes, was appended since it settled. A publisher then yields
//! ([`Hub::settle`]). A reader that *pauses* removes its waiters, so that no publisher yields to it. Closing a channel
//! begins the next *generation*. Waiters of earlier generations have an *end*: the last sequence number that their
//! readers return.

mod begin;
mod channel_log;
mod closes;
mod cold;
mod cursor;
mod ending;
mod entry;
mod evict;
mod follow;
mod frames;
mod keyed;
mod log;
mod merge;
mod reader;
mod recall;
mod rejoin;
mod sequencer;
mod state;
mod sweep;
mod sync;
mod table;
mod tombstones;
mod wait_list;
mod wake_batch;

pub(crate) use channel_log::{ChannelLog, Mark};
pub(crate) use follow::Following;
pub(crate) use keyed::Key;
pub(crate) use reader::{Batch, Gap, Read, Reader};
pub(crate) use recall::Recall;
pub(crate) use wait_list::WaiterKey;

use crate::{
    Stats,
    channel::{Channel, Channels},
    observe::Observer,
};
use bytes::Bytes;
use ending::Stage;
use entry::Entry;
use evict::{FEW, Newest, STEP};
use frames::FrameIndex;
use sequencer::{Sequencer, SequencerGuard};
use state::HubState;
use std::{
    fmt,
    sync::{Arc, OnceLock, PoisonError, Weak, atomic::Ordering::*},
    time::{Duration, Instant as StdInstant},
};
use sweep::Sweep;
use sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};

/// Retention and limits of a hub.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Whether entries outlive the readers of their channel.
    pub(crate) history: bool,
    /// Maximum number of entries per channel.
    pub(crate) events: usize,
    pub(crate) max_age: Duration,
    /// Maximum memory of all channels together.
    pub(crate) bytes: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) max_subscriptions_per_channel: usize,
    /// Whether the times of closes are kept.
    pub(crate) records_closes: bool,
    /// Whether the newest entry of each key outlives `events` and `max_age`.
    pub(crate) latest_per_key: bool,
}

/// The bytes of an entry, and its key.
pub(crate) struct Sealed {
    pub(crate) bytes: Bytes,
    pub(crate) key: Option<Key>,
}

impl From<Bytes> for Sealed {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, key: None }
    }
}

impl Config {
    /// Memory above which a channel is the first to lose entries.
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
    /// Distinguishes positions of this hub from positions before a restart.
    epoch: AtomicU64,
    /// Number of calls of `begin`.
    begins: AtomicU32,
    /// Whether a shared log was not read yet.
    cold: AtomicBool,
    sequencer: Sequencer,
    frames: Arc<FrameIndex>,
    head: AtomicU64,
    closed: AtomicBool,
    closed_after: AtomicU64,
    drained_by: OnceLock<Instant>,
    /// Notified when the last reader is dropped.
    emptied: Notify,
    /// Notified when a channel or the hub is closed, or the hub begins to drain.
    ending: Arc<Notify>,
    observer: Arc<Observer>,
    sweep: Sweep,
}

/// Start position of a new reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the next entry.
    Live,
    /// After this sequence number.
    After(u64),
    /// At the next entry, after a gap: the client's position is not from this hub.
    Unknown,
    /// At the newest entry of each key, then at the next entry.
    Latest,
}

/// Why a subscription was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the stream is closed")]
    Closed,
    #[error("there are {0} subscriptions already, which is the limit")]
    Subscriptions(usize),
    #[error("there are {1} subscriptions on the channel {0} already, which is the limit")]
    OnChannel(Channel, usize),
}

/// Outcome of an append.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    pub(crate) subscribers: usize,
    /// The channel's log, if its readers lag so far that they should run before the next append.
    pub(crate) congested: Option<Arc<ChannelLog>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under a lock, and a change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Creates a hub whose positions carry `epoch`.
    pub(crate) fn new(config: Config, epoch: u64) -> Arc<Self> {
        let (frames, observer) = (FrameIndex::new(config.bytes / 8), Arc::new(Observer::new()));
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            sequencer: Sequencer::new(frames.clone(), observer.clone()),
            frames,
            config,
            epoch: AtomicU64::new(epoch),
            begins: AtomicU32::new(0),
            cold: AtomicBool::new(false),
            head: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            closed_after: AtomicU64::new(0),
            drained_by: OnceLock::new(),
            emptied: Notify::new(),
            ending: Arc::default(),
            observer,
            sweep: Sweep::default(),
        })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// The sequence number of the last publish.
    pub(crate) fn sequence(&self) -> u64 {
        self.head.load(Acquire)
    }

    /// Whether entries outlive the readers of their channel.
    pub(crate) fn keeps_history(&self) -> bool {
        self.config.history
    }

    /// Locks the sequencer.
    fn state(&self) -> SequencerGuard<'_> {
        self.sequencer.lock()
    }

    /// Appends the entry that `seal` returns for each of the items, with consecutive sequence numbers, and wakes
    /// the channel's readers.
    ///
    /// `seal` receives the sequence numbers of the new entry and of the channel's previous entry. It runs
    /// under the sequencer's lock, so its side effects have the order of all publishes.
    pub(crate) fn append<I, S: Into<Sealed>>(
        &self,
        channel: &Channel,
        items: impl IntoIterator<Item = I>,
        mut seal: impl FnMut(I, u64, u64) -> S,
    ) -> Appended {
        let at = Instant::now();
        let mut state = self.state();
        state.expire(at, &self.config, FEW);
        let log = match self.config.history {
            true => Some(state.get_or_create(channel)),
            false => state.current(channel),
        };
        let mut previous = log.as_ref().map_or(0, |log| log.last());
        let (mut appended, mut count, mut excess) = (Appended::default(), 0, None);
        for item in items {
            let sequence = state.next_sequence();
            let Sealed { bytes, key } = seal(item, sequence, previous).into();
            let newest = Newest::new(sequence, bytes.len(), &self.config);
            if let Some(log) = &log {
                let entry = Entry::new(sequence, at, bytes);
                let Appended {
                    subscribers,
                    congested,
                } = state.append(log, entry, key, &self.config);
                appended.subscribers = subscribers;
                appended.congested = congested.or(appended.congested);
                previous = sequence;
            }
            count += 1;
            let fits = state.fit(newest, &self.frames, &self.config, FEW);
            excess = (!fits).then_some(newest);
        }
        // The store precedes the wake: a reader parked behind the head is woken by the publish that
        // advances it.
        self.head.store(state.sequence(), Release);
        drop(state);
        self.observer.published(count, appended.subscribers);
        log.iter().for_each(|log| log.wake());
        if let Some(newest) = excess {
            self.make_room(newest);
        }
        // Without a log no entry was appended, so none can expire.
        if log.is_some() {
            self.start_sweep();
        }
        appended
    }

    /// Evicts until memory is within the budget, and releases the lock between steps.
    fn make_room(&self, newest: Newest) {
        let in_turn = || self.sequencer.in_turn();
        while !in_turn().fit(newest, &self.frames, &self.config, STEP) {}
    }

    /// Subscribes to `channels`. Returns the reader, and an upper bound of the entries that it replays (superseded ones
    /// count).
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        channels: &Channels,
        start: Start,
    ) -> Result<(Reader, u64), Refused> {
        let now = Instant::now();
        let mut state = self.state();
        state.expire(now, &self.config, FEW);
        self.admit(&state, channels)?;
        let (reader, replayed) = self.add_reader(state, channels, start, now);
        self.observer.replayed(replayed);
        Ok((reader, replayed))
    }

    /// A reader that detects a close of one of `channels`, for a client that a proxy will hold. The limits apply
    /// to it. A closing hub does not refuse it.
    pub(crate) fn watch(self: &Arc<Self>, channels: &Channels) -> Result<Reader, Refused> {
        let state = self.state();
        self.has_room(&state, channels)?;
        let (reader, _) = self.add_reader(state, channels, Start::Live, Instant::now());
        Ok(reader)
    }

    /// As [`watch`](Self::watch), for a client that a proxy holds already. No limit applies.
    pub(crate) fn watch_held(self: &Arc<Self>, channels: &Channels) -> Reader {
        let (reader, _) = self.add_reader(self.state(), channels, Start::Live, Instant::now());
        reader
    }

    fn add_reader(
        self: &Arc<Self>,
        mut state: SequencerGuard<'_>,
        channels: &Channels,
        start: Start,
        now: Instant,
    ) -> (Reader, u64) {
        state.subscriptions += 1;
        let last = state.sequence();
        let logs = channels.iter().map(|channel| state.add_reader(channel));
        Reader::new(self.clone(), logs, start, last, now)
    }

    /// Checks whether a subscription to `channels` would be admitted now.
    pub(crate) fn admits(&self, channels: &Channels) -> Result<(), Refused> {
        self.admit(&self.state(), channels)
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
        // A channel has at most as many subscriptions as the hub.
        let may_be_full = state.subscriptions >= limit;
        let full = |channel: &&Channel| may_be_full && state.subscribers(channel) >= limit;
        match channels.iter().find(full) {
            Some(full) => Err(Refused::OnChannel(full.clone(), limit)),
            None => Ok(()),
        }
    }

    /// Removes the subscriptions of a dropped reader.
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

    /// Number of readers of a channel.
    pub(crate) fn subscribers(&self, channel: &Channel) -> usize {
        self.state().subscribers(channel)
    }

    /// Yields until all waiters are parked, or until none has progressed for 64 yields and 500 µs.
    ///
    /// A loop of appends would otherwise overrun the ring before readers on the same thread are polled. A
    /// stalled reader does not block the publisher.
    pub(crate) async fn settle(log: &ChannelLog) {
        /// Readers on other threads may not have been scheduled yet.
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
        log.lock().settle();
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Reads counters only, in constant time for any number of channels.
    pub(crate) fn stats(&self) -> Stats {
        let mut state = self.state();
        state.expire(Instant::now(), &self.config, FEW);
        let sizes = state.sizes(&self.frames);
        drop(state);
        self.observer.stats(sizes)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.sweep.abort();
    }
}

/// Omits the logs: their contents may be private.
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
#[cfg(all(test, not(shuttle)))]
mod follow_tests;
#[cfg(all(test, shuttle))]
mod interleavings;
#[cfg(all(test, not(shuttle)))]
mod key_tests;
#[cfg(test)]
pub(crate) mod tests;
