//! A channel's log with who reads it and who waits, behind the channel's own lock.

use super::{
    Config, Hub, Stage, lock,
    log::{Entry, Log},
    sync::{AtomicU64, Mutex, MutexGuard},
    wait_list::{WaitList, WaiterKey},
};
use crate::channel::Channel;
use std::{
    fmt,
    sync::atomic::Ordering::{Acquire, Release},
    task::Waker,
};

/// Memory that a channel with entries takes beside their ring: this, its name, and its places in the
/// tables of `Order`.
const OVERHEAD: usize = size_of::<ChannelLog>() + 176;

pub(crate) struct ChannelLog {
    name: Channel,
    /// That of the waiters, for who does not want to take the lock.
    round: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) log: Log,
    pub(super) waiters: WaitList,
    /// Readers of this channel, whether they have a seat or not.
    pub(super) subscribers: usize,
    /// Where the channel is in the list of those with readers.
    pub(super) index: usize,
    pub(super) delivered: u64,
    /// The end of the log when all readers were last seen waiting.
    settled: u64,
    /// Bytes that were appended since then.
    unsettled: usize,
}

/// How far the readers of a channel are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Those that are woken and have not read all since.
    pub(super) awake: usize,
    /// Events handed to any of them, ever.
    pub(super) delivered: u64,
}

/// Only which channel it is: what is in it may be private.
impl fmt::Debug for ChannelLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelLog").field(&self.name).finish()
    }
}

/// How far a channel is, for one who waits on behalf of several readers.
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
            index: 0,
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

    /// The sequence of the last entry there was.
    pub(super) fn last(&self) -> u64 {
        self.lock().log.last()
    }

    /// Memory that a budget counts. A channel without entries is there for its readers only.
    pub(super) fn size(&self, inner: &Inner) -> usize {
        match inner.log.is_empty() {
            true => 0,
            false => OVERHEAD + self.name.as_str().len() + inner.log.size(),
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.lock().subscribers
    }

    /// Ends the readers of now, after the entries up to this sequence.
    pub(super) fn end_readers(&self, until: u64) {
        self.lock().waiters.end_all(until);
    }

    pub(super) fn progress(&self) -> Progress {
        let inner = self.lock();
        Progress {
            awake: inner.waiters.awake(),
            delivered: inner.delivered,
        }
    }

    pub(super) fn settled(&self) {
        self.lock().settle();
    }

    /// Wakes all who wait.
    pub(super) fn wake(&self) {
        let mut inner = self.lock();
        let mut woken = inner.waiters.take();
        // Before anybody is woken: a wake synchronizes with the poll that follows it, which looks here.
        self.round.store(inner.waiters.round(), Release);
        drop(inner);
        if woken.wake() {
            self.lock().waiters.reuse(woken);
        }
    }

    /// Whether who has this seat waits there, and has not been woken since.
    pub(super) fn is_waiting(&self, waiter: &WaiterKey) -> bool {
        waiter.round() == self.round.load(Acquire)
    }

    /// Takes a seat for one who waits on behalf of several readers.
    pub(crate) fn register_waiter(&self) -> WaiterKey {
        self.lock().waiters.register()
    }

    /// Gives a seat back.
    pub(crate) fn remove_waiter(&self, waiter: &WaiterKey) {
        self.lock().remove_waiter(waiter);
    }

    /// What there is for readers now, whatever other channels they read.
    pub(crate) fn mark(&self, hub: &Hub) -> Mark {
        self.lock().mark(hub)
    }

    /// Waits in `seat` for what is new since `mark`. False if something is: then `waker` may not be woken.
    pub(crate) fn wait(
        &self,
        hub: &Hub,
        waiter: &mut WaiterKey,
        waker: &Waker,
        mark: Mark,
    ) -> bool {
        let mut inner = self.lock();
        // All that a mark has changes before the waiters are woken, which takes this lock.
        let waits = inner.mark(hub) == mark;
        if waits {
            inner.park(waiter, waker);
        }
        waits
    }
}

impl Inner {
    fn mark(&self, hub: &Hub) -> Mark {
        // An entry beyond the head becomes readable before its readers are woken.
        let beyond = self.log.beyond(hub.sequence());
        Mark {
            end: self.log.end() - beyond,
            generation: self.waiters.generation(),
            stage: hub.stage(),
        }
    }

    /// Appends, and tells whether readers that are awake have fallen behind by a good part of what is kept.
    pub(super) fn push(&mut self, entry: Entry, config: &Config) -> bool {
        if self.waiters.awake() == 0 {
            self.settle();
        }
        self.unsettled += entry.bytes.len();
        self.log.push(entry, config.events);
        let behind = self.log.end() - self.settled;
        let far = behind >= (config.events as u64 / 4).max(1) || self.unsettled >= config.share();
        self.waiters.len() > 0 && far
    }

    fn settle(&mut self) {
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

    /// Drops the frames if no reader is left that could come to read them.
    fn drop_unread_frames(&mut self) {
        if self.waiters.awake() == 0 {
            self.log.drop_frames();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Read, Start,
            tests::{hub, publish, reader, waker},
        },
        *,
    };
    use bytes::Bytes;
    use std::sync::{Arc, atomic::Ordering::Release};
    use tokio::time::Instant;

    fn a(hub: &Hub) -> Arc<ChannelLog> {
        hub.state().open(&Channel::new("a").unwrap())
    }

    fn entry(sequence: u64) -> Entry {
        Entry {
            sequence,
            at: Instant::now(),
            bytes: Bytes::from_static(b"x"),
        }
    }

    #[test]
    fn debug_shows_nothing_but_the_name() {
        let hub = hub(|_| {});
        publish(&hub, "a", "secret");
        assert_eq!(format!("{:?}", a(&hub)), r#"ChannelLog("a")"#);
    }

    #[test]
    fn whatever_is_new_since_the_mark_wakes_who_waits() {
        type News = fn(&Hub);
        let news: [News; 4] = [
            |hub| drop(publish(hub, "a", "1")),
            |hub| hub.close_channel(&Channel::new("a").unwrap(), drop),
            |hub| hub.drain(Instant::now()),
            Hub::close,
        ];
        for news in news {
            let (hub, (count, waker)) = (hub(|_| {}), waker());
            let _reader = reader(&hub, &["a"], Start::Live);
            let log = a(&hub);
            let mut waiter = log.register_waiter();
            let mark = log.mark(&hub);
            publish(&hub, "b", "other");
            assert!(log.wait(&hub, &mut waiter, &waker, mark));
            news(&hub);
            assert_eq!(count.take(), 1);
            assert!(!log.wait(&hub, &mut waiter, &waker, mark), "it missed that");
            log.wake();
            assert_eq!(count.take(), 0, "it did not sit down");
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
        log.lock().push(entry(2), &hub.config);
        assert_eq!(log.mark(&hub), mark);
        hub.head.store(2, Release);
        assert_ne!(log.mark(&hub), mark);
    }

    #[test]
    fn a_pause_is_for_readers_who_have_waited_and_are_behind() {
        let (hub, (_, waker)) = (hub(|config| config.events = 8), waker());
        let mut reader = reader(&hub, &["a"], Start::Live);
        let congested = |text| publish(&hub, "a", text).congested.is_some();
        assert!(!["1", "2", "3"].map(congested).contains(&true));
        while matches!(reader.read(100, None), Read::Batch(_)) {}
        assert!(reader.wait(&waker));
        assert_eq!(["4", "5", "6"].map(congested), [false, true, true]);
        a(&hub).settled();
        assert_eq!(["7", "8"].map(congested), [false, true]);
    }

    #[test]
    fn where_nobody_has_waited_there_is_no_pause() {
        let hub = hub(|config| config.events = 1);
        let _reader = reader(&hub, &["a"], Start::Live);
        assert!(publish(&hub, "a", "1").congested.is_none());
    }

    #[test]
    fn what_was_joined_goes_when_the_last_reader_waits() {
        let (hub, (_, waker)) = (hub(|_| {}), waker());
        publish(&hub, "a", "1");
        publish(&hub, "a", "2");
        let log = a(&hub);
        let mut waiters = [log.register_waiter(), log.register_waiter()];
        let mut inner = log.lock();
        let read = |inner: &mut Inner| {
            inner
                .log
                .read(0, 100, u64::MAX, &hub.frames, || Arc::downgrade(&log))
                .unwrap()
                .unwrap()
                .bytes
        };
        let first = read(&mut inner);
        inner.park(&mut waiters[0], &waker);
        assert_eq!(read(&mut inner).as_ptr(), first.as_ptr());
        inner.park(&mut waiters[1], &waker);
        assert_ne!(read(&mut inner).as_ptr(), first.as_ptr());
    }
}
