//! Per-channel state behind the channel's lock: the log, its wait list, and the number of readers.

use super::{
    Config, Hub, Stage,
    entry::Entry,
    keyed::Key,
    lock,
    log::Log,
    sync::{AtomicU64, Mutex, MutexGuard},
    wait_list::{WaitList, WaiterKey},
};
use crate::channel::Channel;
use bytes::Bytes;
use std::{
    fmt, mem,
    sync::atomic::Ordering::{Acquire, Release},
    task::Waker,
};

/// Memory of a channel beside its ring and name: this struct and the entries in the tables of `HubState`.
const OVERHEAD: usize = size_of::<ChannelLog>() + 176;

pub(crate) struct ChannelLog {
    name: Channel,
    /// Copy of the wait list's round that is readable without the lock.
    round: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) log: Log,
    pub(super) waiters: WaitList,
    /// Readers of this channel, registered as waiters or not.
    pub(super) subscribers: usize,
    /// Its place in `HubState::with_readers`, if there are readers.
    pub(super) slot: usize,
    pub(super) delivered: u64,
    /// The end of the log when it last settled: at the last append that found no waiter awake, or when a publisher
    /// stopped yielding.
    settled: u64,
    /// Bytes appended since then.
    unsettled: usize,
}

/// Progress of a channel's readers and waiters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Registered waiters that are not parked.
    pub(super) awake: usize,
    /// Events returned to readers of the channel, or skipped, since it was created.
    pub(super) delivered: u64,
}

/// Shows the name only: entries may be private.
impl fmt::Debug for ChannelLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelLog").field(&self.name).finish()
    }
}

/// Snapshot of a channel, compared by a waiter that reads for several readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    end: u64,
    generation: u32,
    stage: Stage,
}

impl ChannelLog {
    pub(super) fn new(name: Channel, log: Log) -> Self {
        let inner = Inner {
            log,
            waiters: WaitList::new(),
            subscribers: 0,
            slot: 0,
            delivered: 0,
            settled: 0,
            unsettled: 0,
        };
        Self {
            name,
            round: AtomicU64::new(inner.waiters.round()),
            inner: Mutex::new(inner),
        }
    }

    pub(crate) fn name(&self) -> &Channel {
        &self.name
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// The sequence number of the last entry, evicted or not.
    pub(super) fn last(&self) -> u64 {
        self.lock().log.last()
    }

    /// Memory that counts toward the budget. A channel without entries counts nothing.
    pub(super) fn size(&self, inner: &Inner) -> usize {
        match inner.log.is_empty() {
            true => 0,
            false => OVERHEAD + self.name.as_str().len() + inner.log.size(),
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.lock().subscribers
    }

    pub(super) fn progress(&self) -> Progress {
        let inner = self.lock();
        Progress {
            awake: inner.waiters.awake(),
            delivered: inner.delivered,
        }
    }

    /// Wakes all parked waiters.
    pub(super) fn wake(&self) {
        let mut inner = self.lock();
        let mut woken = inner.waiters.take();
        // The store precedes the wakes. A wake synchronizes with the poll it causes, so that
        // `is_waiting` returns false there.
        self.round.store(inner.waiters.round(), Release);
        drop(inner);
        if woken.wake() {
            self.lock().waiters.reuse(woken);
        }
    }

    /// Whether this waiter is parked and was not woken since.
    pub(super) fn is_waiting(&self, waiter: &WaiterKey) -> bool {
        waiter.round() == self.round.load(Acquire)
    }

    /// Registers a waiter that reads for several readers.
    pub(crate) fn register_waiter(&self) -> WaiterKey {
        self.lock().waiters.register()
    }

    /// Removes a waiter registered by `register_waiter`.
    pub(crate) fn remove_waiter(&self, waiter: &WaiterKey) {
        self.lock().remove_waiter(waiter);
    }

    /// Removes a waiter until it parks again. Its end stays the same.
    pub(crate) fn pause(&self, waiter: &mut WaiterKey) {
        let mut inner = self.lock();
        inner.remove_waiter(waiter);
        waiter.unregister();
    }

    /// Snapshot of the entries and ends that readers can see now.
    pub(crate) fn mark(&self, hub: &Hub) -> Mark {
        self.lock().mark(hub)
    }

    /// Parks `waiter` until the channel differs from `mark`. Returns false if it already does: then
    /// `waker` is not registered.
    pub(crate) fn wait(
        &self,
        hub: &Hub,
        waiter: &mut WaiterKey,
        waker: &Waker,
        mark: Mark,
    ) -> bool {
        let mut inner = self.lock();
        // Waking takes this lock, and every part of a mark changes before the wake.
        let waits = inner.mark(hub) == mark;
        if waits {
            inner.park(waiter, waker);
        }
        waits
    }
}

impl Inner {
    fn mark(&self, hub: &Hub) -> Mark {
        // The append that advances the head wakes readers afterwards.
        let beyond = self.log.beyond(hub.sequence());
        Mark {
            end: self.log.end() - beyond,
            generation: self.waiters.generation(),
            stage: hub.stage(),
        }
    }

    /// Appends an entry. Returns whether the channel is congested, and the retained bytes that the entry supersedes.
    ///
    /// It is congested if it has waiters, and a quarter of the ring's entries or a whole share of bytes was appended
    /// since it settled.
    pub(super) fn push(
        &mut self,
        entry: Entry,
        key: Option<Key>,
        config: &Config,
    ) -> (bool, Option<Bytes>) {
        if self.waiters.awake() == 0 {
            self.settle();
        }
        self.unsettled += entry.bytes.len();
        let superseded = self.push_entry(entry, key, config);
        let behind = self.log.end() - self.settled;
        let far = behind >= (config.events as u64 / 4).max(1) || self.unsettled >= config.share();
        (self.waiters.len() > 0 && far, superseded)
    }

    fn push_entry(&mut self, entry: Entry, key: Option<Key>, config: &Config) -> Option<Bytes> {
        let Some(key) = key else {
            self.log.push(entry, config.events);
            return None;
        };
        let retains = config.latest_per_key;
        self.log.push_keyed(entry, key, config.events, retains)
    }

    /// Replaces the log by an empty one. Returns the earlier one, to be freed without a lock.
    pub(super) fn reset(&mut self, evicted: u64, resets: u32) -> Log {
        let old = mem::replace(&mut self.log, Log::new(evicted, resets));
        self.settle();
        old
    }

    /// Called when no waiter is awake, or a publisher has stopped yielding to them.
    pub(super) fn settle(&mut self) {
        (self.settled, self.unsettled) = (self.log.end(), 0);
    }

    pub(super) fn park(&mut self, waiter: &mut WaiterKey, waker: &Waker) {
        self.waiters.wait(waiter, waker);
        self.drop_unread_frames();
    }

    pub(super) fn remove_waiter(&mut self, waiter: &WaiterKey) {
        self.waiters.remove(waiter);
        self.drop_unread_frames();
    }

    /// Drops the joined frames if every waiter is parked, since none will read them.
    fn drop_unread_frames(&mut self) {
        if self.waiters.awake() == 0 {
            self.log.drop_frames();
        }
    }
}

#[cfg(all(test, feature = "metrics", not(shuttle)))]
impl ChannelLog {
    pub(super) fn is_free_for_test(&self) -> bool {
        self.inner.try_lock().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Read, Start,
            tests::{NEWS, channel, hub, publish, publish_all, reader, waker},
        },
        *,
    };
    use bytes::Bytes;
    use std::sync::{Arc, atomic::Ordering::Release};
    use tokio::time::Instant;

    fn a(hub: &Hub) -> Arc<ChannelLog> {
        hub.state().get_or_create(&channel("a"))
    }

    #[test]
    fn debug_shows_only_the_name() {
        let hub = hub(|_| {});
        publish(&hub, "a", "secret");
        assert_eq!(format!("{:?}", a(&hub)), r#"ChannelLog("a")"#);
    }

    #[test]
    fn a_name_counts_with_its_length() {
        let sizes = ["a", "abcd"].map(|name| {
            let hub = hub(|_| {});
            publish(&hub, name, "1");
            hub.stats().history_bytes
        });
        assert_eq!(sizes[1] - sizes[0], 3);
    }

    #[test]
    fn every_change_since_the_mark_wakes_a_waiter() {
        for news in NEWS {
            let (hub, (count, waker)) = (hub(|_| {}), waker());
            let _reader = reader(&hub, &["a"], Start::Live);
            let log = a(&hub);
            let mut waiter = log.register_waiter();
            let mark = log.mark(&hub);
            publish(&hub, "b", "other");
            assert!(log.wait(&hub, &mut waiter, &waker, mark));
            news(&hub);
            assert_eq!(count.take(), 1);
            assert!(
                !log.wait(&hub, &mut waiter, &waker, mark),
                "the mark is outdated"
            );
            log.wake();
            assert_eq!(count.take(), 0, "no waker was stored");
            log.remove_waiter(&waiter);
            assert_eq!(log.lock().waiters.len(), 0);
        }
    }

    #[test]
    fn an_entry_is_new_once_the_head_has_reached_it() {
        let hub = hub(|_| {});
        publish(&hub, "a", "1");
        let log = a(&hub);
        let mark = log.mark(&hub);
        let entry = Entry::new(2, Instant::now(), Bytes::from_static(b"x"));
        log.lock().push(entry, None, &hub.config);
        assert_eq!(log.mark(&hub), mark);
        hub.head.store(2, Release);
        assert_ne!(log.mark(&hub), mark);
    }

    #[test]
    fn a_log_is_congested_if_registered_waiters_lag() {
        let (hub, (_, waker)) = (hub(|config| config.events = 8), waker());
        let mut reader = reader(&hub, &["a"], Start::Live);
        let congested = |text| publish(&hub, "a", text).congested.is_some();
        assert!(!["1", "2", "3"].map(congested).contains(&true));
        while matches!(reader.read(100, None), Read::Batch(_)) {}
        assert!(reader.wait(&waker));
        assert_eq!(["4", "5", "6"].map(congested), [false, true, true]);
        a(&hub).lock().settle();
        assert_eq!(["7", "8"].map(congested), [false, true]);
    }

    #[test]
    fn a_paused_reader_is_not_waited_for_and_keeps_its_end() {
        let (hub, (_, waker)) = (hub(|config| config.events = 4), waker());
        let mut reader = reader(&hub, &["a"], Start::Live);
        assert!(reader.wait(&waker));
        publish(&hub, "a", "1");
        reader.pause();
        let congested = |text| publish(&hub, "a", text).congested.is_some();
        assert!(!["2", "3", "4", "5"].map(congested).contains(&true));
        hub.close_channel(&channel("a"), drop);
        publish(&hub, "a", "6");
        assert!(matches!(reader.read(100, None), Read::Gap(_)));
        while matches!(reader.read(100, None), Read::Batch(_)) {}
        assert_eq!(reader.read(100, None), Read::End);
        assert!(!reader.wait(&waker), "it has ended");
    }

    #[test]
    fn frames_are_dropped_when_the_last_waiter_parks() {
        let (hub, (_, waker)) = (hub(|_| {}), waker());
        publish_all(&hub, "a1 a2");
        let log = a(&hub);
        let mut waiters = [log.register_waiter(), log.register_waiter()];
        let mut inner = log.lock();
        let read = |inner: &mut Inner| {
            let weak = || Arc::downgrade(&log);
            let piece = inner.log.read(0, 100, u64::MAX, &hub.frames, weak);
            piece.unwrap().unwrap().bytes
        };
        let first = read(&mut inner);
        inner.park(&mut waiters[0], &waker);
        assert_eq!(read(&mut inner).as_ptr(), first.as_ptr());
        inner.park(&mut waiters[1], &waker);
        assert_ne!(read(&mut inner).as_ptr(), first.as_ptr());
    }
}
