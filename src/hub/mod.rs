//! The hub: one log per channel, and readers with a cursor in each of theirs.
//!
//! 1. One lock, [`Order`], orders every publish of a hub. The sequence number it gives is a total
//!    order, so one number is a valid position for a reader of many channels.
//! 2. An append never waits for a reader. It takes the order lock, then the channel's, and wakes
//!    when both are free again. Readers take only the locks of their channels.
//! 3. `head` is the last sequence that is in its log for sure. A reader of several channels takes
//!    nothing beyond it, and so never sees a later event before an earlier one.
//! 4. Memory is bounded by entries a channel, age, and bytes in all (oldest first, across
//!    channels). A channel goes with its last reader, or with its last entry when history is kept.
//!
//! Entries are opaque bytes here.

mod channel_log;
mod crowd;
mod log;
mod order;
mod reader;
#[cfg(any(feature = "grip", test))]
mod recall;
mod retired;
mod sync;
mod waiters;

pub(crate) use channel_log::{ChannelLog, Mark};
pub(crate) use reader::{Batch, Gap, Read, Reader};
#[cfg(feature = "grip")]
pub(crate) use recall::Recall;
pub(crate) use waiters::Seat;

use crate::channel::{Channel, Channels};
use bytes::Bytes;
use log::Entry;
use order::Order;
use std::{
    fmt,
    sync::{Arc, OnceLock, PoisonError, atomic::Ordering::*},
    time::{Duration, Instant as StdInstant},
};
use sync::{AtomicBool, AtomicU64, Mutex, MutexGuard};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// What a hub keeps, and how much it allows.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Whether entries outlive the readers of their channel.
    pub(crate) history: bool,
    /// Entries a channel.
    pub(crate) events: usize,
    pub(crate) max_age: Duration,
    /// Bytes of all channels together.
    pub(crate) bytes: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) max_subscriptions_per_channel: usize,
}

pub(crate) struct Hub {
    config: Config,
    /// Tells the positions of this hub from those of one before a restart.
    epoch: u64,
    order: Mutex<Order>,
    head: AtomicU64,
    closed: AtomicBool,
    drained_by: OnceLock<Instant>,
    /// The last reader has gone.
    emptied: Notify,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    lagged: AtomicU64,
    replayed: AtomicU64,
    refused: AtomicU64,
}
/// How long the hub still has, as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Draining,
    Closed,
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
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) subscribers: usize,
    /// The channel, if its readers should get a chance to run before the next append.
    pub(crate) crowded: Option<Arc<ChannelLog>>,
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
        Arc::new(Self {
            config,
            epoch,
            order: Mutex::default(),
            head: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            drained_by: OnceLock::new(),
            emptied: Notify::new(),
            counters: Counters::default(),
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
        let mut order = lock(&self.order);
        order.expire(now, &self.config);
        let sequence = order.next_sequence();
        let log = match self.config.history {
            true => Some(order.open(channel)),
            false => order.get(channel),
        };
        let bytes = seal(sequence, log.as_ref().map_or(0, |log| log.last()));
        let Some(log) = log else {
            self.head.store(sequence, Release);
            return Appended {
                subscribers: 0,
                crowded: None,
            };
        };
        let entry = Entry {
            sequence,
            at: now,
            bytes,
        };
        let appended = order.append(&log, entry, &self.config);
        // Before the readers are woken: who sits down beyond the head relies on it.
        self.head.store(sequence, Release);
        drop(order);
        log.wake();
        appended
    }

    /// A reader of `channels`, of which each is open from now on, and how many entries are there for it
    /// already.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        channels: &Channels,
        start: Start,
    ) -> Result<(Reader, u64), Refused> {
        let now = Instant::now();
        let mut order = lock(&self.order);
        order.expire(now, &self.config);
        self.admit(&order, channels).inspect_err(|_| {
            self.counters.refused.fetch_add(1, Relaxed);
        })?;
        order.subscriptions += 1;
        let last = order.sequence();
        let logs = channels.iter().map(|channel| order.open(channel));
        Ok(Reader::new(self.clone(), logs, start, last))
    }

    /// A reader that notices when one of `channels` is closed, for a client that a proxy will hold. It is
    /// admitted also while the hub closes.
    #[cfg(feature = "grip")]
    pub(crate) fn watch(self: &Arc<Self>, channels: &Channels) -> Result<Reader, Refused> {
        let mut order = lock(&self.order);
        self.has_room(&order, channels).inspect_err(|_| {
            self.counters.refused.fetch_add(1, Relaxed);
        })?;
        order.subscriptions += 1;
        let last = order.sequence();
        let logs = channels.iter().map(|channel| order.open(channel));
        let (reader, _) = Reader::new(self.clone(), logs, Start::Live, last);
        Ok(reader)
    }

    /// Whether a reader of `channels` would be admitted now.
    pub(crate) fn admits(&self, channels: &Channels) -> Result<(), Refused> {
        let admitted = self.admit(&lock(&self.order), channels);
        admitted.inspect_err(|_| {
            self.counters.refused.fetch_add(1, Relaxed);
        })
    }

    fn admit(&self, order: &Order, channels: &Channels) -> Result<(), Refused> {
        if self.is_closing() {
            return Err(Refused::Closed);
        }
        self.has_room(order, channels)
    }

    fn has_room(&self, order: &Order, channels: &Channels) -> Result<(), Refused> {
        if order.subscriptions >= self.config.max_subscriptions {
            return Err(Refused::Subscriptions(self.config.max_subscriptions));
        }
        let limit = self.config.max_subscriptions_per_channel;
        // No channel has more than there are in all.
        let may_be_full = order.subscriptions >= limit;
        let full = |channel: &&Channel| may_be_full && order.subscribers(channel) >= limit;
        match channels.iter().find(full) {
            Some(full) => Err(Refused::OnChannel(full.clone(), limit)),
            None => Ok(()),
        }
    }

    /// A reader has gone, and its subscriptions with it.
    fn leave<'a>(&self, logs: impl Iterator<Item = (&'a Arc<ChannelLog>, &'a Seat)>) {
        let mut order = lock(&self.order);
        order.subscriptions -= 1;
        for (log, seat) in logs {
            order.leave(log, seat, &self.config);
        }
        if order.subscriptions == 0 {
            self.emptied.notify_waiters();
        }
    }

    /// Waits until there is no reader, or until the time `by`.
    pub(crate) async fn empty(&self, by: Instant) {
        loop {
            let emptied = self.emptied.notified();
            let is_empty = lock(&self.order).subscriptions == 0;
            if is_empty || timeout_at(by, emptied).await.is_err() {
                return;
            }
        }
    }

    /// Ends every reader once it has read what is ready, and refuses new ones.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        let logs = lock(&self.order).logs();
        logs.iter().for_each(|log| log.wake());
    }

    /// Lets every reader know that it should end by then, and refuses new ones. The first call counts.
    pub(crate) fn drain(&self, by: Instant) {
        if self.drained_by.set(by).is_ok() {
            let logs = lock(&self.order).logs();
            logs.iter().for_each(|log| log.wake());
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

    fn stage(&self) -> Stage {
        match (self.is_closed(), self.drained_by()) {
            (true, _) => Stage::Closed,
            (false, Some(_)) => Stage::Draining,
            (false, None) => Stage::Open,
        }
    }

    /// Ends the readers of one channel once they have read what is ready.
    ///
    /// `with` is given the sequence of the channel's last entry, and runs in the order of all publishes.
    pub(crate) fn close_channel<T>(&self, channel: &Channel, with: impl FnOnce(u64) -> T) -> T {
        let order = lock(&self.order);
        let Some(log) = order.get(channel) else {
            return with(order.evicted(channel));
        };
        let done = with(log.last());
        log.end_readers();
        drop(order);
        log.wake();
        done
    }

    /// The channels that have readers, with how many each has.
    pub(crate) fn channels(&self) -> Vec<(Channel, usize)> {
        let logs = lock(&self.order).logs();
        let counted = logs
            .iter()
            .map(|log| (log.name().clone(), log.subscribers()));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// How many readers a channel has.
    pub(crate) fn subscribers(&self, channel: &Channel) -> usize {
        lock(&self.order).subscribers(channel)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Lets the readers of a crowded channel run, as long as that helps.
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

    pub(crate) fn counts(&self) -> Counts {
        let mut order = lock(&self.order);
        order.expire(Instant::now(), &self.config);
        Counts {
            lagged: self.counters.lagged.load(Relaxed),
            replayed: self.counters.replayed.load(Relaxed),
            refused: self.counters.refused.load(Relaxed),
            ..order.counts()
        }
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

#[cfg(all(test, shuttle))]
mod interleavings;
#[cfg(test)]
pub(crate) mod tests;
