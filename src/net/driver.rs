//! The drivers: one task per worker thread, which owns the sockets of detached streams.
//!
//! 1. A publisher never touches a socket. It wakes the driver once per channel, and the driver writes to the
//!    channel's sockets.
//! 2. The driver registers with a channel again only after a pass over all of its sockets. Until then,
//!    publishers see how far the channel's readers are behind.
//! 3. No connection has a task or a timer of its own. Sockets wake the driver by key, and a periodic tick
//!    serves keep-alives and blocked clients.

use super::{
    chunk::Chunks,
    inbox::{Arrival, ChannelWaker, Inbox, LazyWaker, News},
    options::Options,
    progress::CHECKS,
    socket::{Socket, State},
};
use crate::{
    few::Few,
    hub::{ChannelLog, Hub, Mark, WaiterKey},
    lock::lock,
    stream::{DetachGuard, OpenStream},
};
use slab::Slab;
use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    task::{unconstrained, yield_now},
    time::{Instant, timeout_at},
};

/// Number of sends after which the driver yields to other tasks of its thread.
const SENDS_PER_YIELD: usize = 32;

/// Longest time between two ticks.
const TICK: Duration = Duration::from_secs(1);

/// Shortest time between two ticks.
const SHORTEST_TICK: Duration = Duration::from_millis(5);

/// Longest time until a paused channel is looked at: neither an event nor a close wakes the driver meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Caps the time to the next check: `Instant + Duration` may overflow.
const LONGEST_CHECK: Duration = Duration::from_secs(3600);

/// A listener's drivers, spawned when its first stream detaches.
#[derive(Debug)]
pub(super) struct Pool {
    options: Options,
    inboxes: Mutex<Box<[Arc<Inbox>]>>,
    next: AtomicUsize,
}

impl Pool {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options,
            inboxes: Mutex::default(),
            next: AtomicUsize::new(0),
        })
    }

    /// Takes over a detached stream and its socket.
    pub(super) fn take(&self, tcp: TcpStream, stream: OpenStream, detach_guard: DetachGuard) {
        self.options.set(&tcp);
        let arrival = Arrival {
            tcp,
            stream,
            detach_guard,
        };
        self.inbox().post(|news| news.arrivals.push(arrival));
    }

    /// Returns the inbox of the next driver, round robin. Drivers end with their runtime, so a later runtime
    /// gets drivers of its own.
    fn inbox(&self) -> Arc<Inbox> {
        let mut inboxes = lock(&self.inboxes);
        if inboxes.iter().all(|inbox| inbox.is_abandoned()) {
            let workers = Handle::current().metrics().num_workers();
            *inboxes = (0..workers).map(|_| self.start()).collect();
        }
        let next = self.next.fetch_add(1, Relaxed) % inboxes.len();
        if inboxes[next].is_abandoned() {
            // Its driver has panicked.
            inboxes[next] = self.start();
        }
        inboxes[next].clone()
    }

    /// Spawns a driver, and returns its inbox.
    fn start(&self) -> Arc<Inbox> {
        let inbox = Arc::<Inbox>::default();
        let driver = Driver::new(inbox.clone(), self.options.patience());
        Handle::current().spawn(unconstrained(driver.run()));
        inbox
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let inboxes = self.inboxes.get_mut();
        let inboxes = inboxes.unwrap_or_else(PoisonError::into_inner);
        inboxes.iter().for_each(|inbox| inbox.close());
    }
}

struct Driver {
    inbox: Arc<Inbox>,
    patience: Duration,
    sockets: Slab<Client>,
    channels: Slab<Followed>,
    /// Index in `channels` by the address of the log. The entry keeps its log alive, so the address stays
    /// valid.
    followed: HashMap<usize, usize>,
    chunks: Chunks,
    /// Channels with paused members, by the time when the first of them resumes.
    paused: BTreeSet<(Instant, usize)>,
    tick: Duration,
    next_tick: Instant,
    /// Time of the next check for stalled clients.
    next_check: Instant,
    sent: usize,
}

/// A socket, and its position in the member list of each of its channels.
struct Client {
    socket: Socket,
    memberships: Few<Membership>,
}

#[derive(Clone, Copy)]
struct Membership {
    channel: u32,
    member: u32,
}

/// Every connection stores these indices, so they take 32 bits each.
fn small(index: usize) -> u32 {
    u32::try_from(index).expect("a process has fewer descriptors")
}

/// A channel with at least one member among this driver's sockets.
struct Followed {
    hub: Arc<Hub>,
    log: Arc<ChannelLog>,
    waiter: WaiterKey,
    waker: Waker,
    members: Vec<u32>,
    /// When the first pause of a member ends, if a pass is scheduled then.
    resumes_at: Option<Instant>,
    /// Whether the waiter has left the wait list, since all members are paused.
    is_paused: bool,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.log.remove_waiter(&self.waiter);
    }
}

/// The pauses of a channel's members.
#[derive(Default)]
struct Pauses {
    /// When the first of them ends.
    first: Option<Instant>,
    /// Whether a member waits for entries.
    has_others: bool,
}

impl Pauses {
    fn add(&mut self, socket: &Socket) {
        match socket.paused_until() {
            Some(until) => self.first = Some(self.first.map_or(until, |first| first.min(until))),
            // A blocked client waits for its socket.
            None => self.has_others |= !socket.is_blocked(),
        }
    }

    fn are_all(&self) -> bool {
        self.first.is_some() && !self.has_others
    }
}

/// The tick without any stream that has a shorter keep-alive interval.
fn longest_tick(patience: Duration) -> Duration {
    TICK.min(patience / CHECKS).max(SHORTEST_TICK)
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.inbox.abandon();
    }
}

impl Driver {
    fn new(inbox: Arc<Inbox>, patience: Duration) -> Self {
        Self {
            inbox,
            patience,
            sockets: Slab::new(),
            channels: Slab::new(),
            followed: HashMap::new(),
            chunks: Chunks::default(),
            paused: BTreeSet::new(),
            tick: longest_tick(patience),
            next_tick: Instant::now(),
            next_check: Instant::now(),
            sent: 0,
        }
    }

    async fn run(mut self) {
        let mut news = News::default();
        while !(self.sockets.is_empty() && self.inbox.is_closed()) {
            match self.sockets.is_empty() {
                true => self.inbox.wait().await,
                false => _ = timeout_at(self.wakes_at(), self.inbox.wait()).await,
            }
            self.inbox.take(&mut news);
            self.register_all(mem::take(&mut news.arrivals));
            for channel in news.channels.drain(..) {
                self.send_to_members(channel).await;
            }
            for key in news.sockets.drain(..) {
                self.poll_socket(key);
                self.cooperate().await;
            }
            let now = Instant::now();
            self.resume(now);
            if now >= self.next_tick {
                self.next_tick = now + self.tick;
                self.tick_all(now).await;
            }
            self.chunks.clear();
        }
    }

    fn wakes_at(&self) -> Instant {
        let resume = self.paused.first().map(|(until, _)| *until);
        resume.map_or(self.next_tick, |resume| resume.min(self.next_tick))
    }

    /// Yields to other tasks of the thread after every `SENDS_PER_YIELD` sends.
    async fn cooperate(&mut self) {
        self.sent += 1;
        if self.sent.is_multiple_of(SENDS_PER_YIELD) {
            yield_now().await;
            self.register_all(self.inbox.arrivals());
        }
    }

    /// Registers new streams at once: each of them holds the memory of its former task until then. Their first
    /// send waits in the inbox.
    fn register_all(&mut self, arrivals: Vec<Arrival>) {
        for arrival in arrivals {
            let key = self.register(arrival);
            self.inbox.post(|news| news.sockets.push(key));
        }
    }

    /// Registers a stream and its socket, and returns the key.
    fn register(&mut self, arrival: Arrival) -> usize {
        let Arrival {
            tcp,
            stream,
            detach_guard,
        } = arrival;
        self.tick = self.tick.min(stream.keep_alive_interval() / 8);
        self.tick = self.tick.max(SHORTEST_TICK);
        let key = self.sockets.vacant_key();
        let hub = stream.feed().hub().clone();
        let logs: Vec<_> = stream.feed().reader.logs().cloned().collect();
        let membership = |log| self.join(&hub, log, key);
        let memberships = logs.into_iter().map(membership).collect();
        self.tick_at(stream.wakes_at());
        let socket = Socket::new(tcp, stream, detach_guard);
        // The former task has ended, but its memory stays allocated until this waker replaces the task's waker.
        socket.wait_to_receive(LazyWaker(&self.inbox, key));
        self.sockets.insert(Client {
            socket,
            memberships,
        });
        key
    }

    /// Adds the socket `key` to the members of a channel.
    fn join(&mut self, hub: &Arc<Hub>, log: Arc<ChannelLog>, key: usize) -> Membership {
        let address = Arc::as_ptr(&log) as usize;
        let channel = match self.followed.get(&address) {
            Some(channel) => *channel,
            None => self.follow(hub.clone(), log),
        };
        let members = &mut self.channels[channel].members;
        let member = small(members.len());
        members.push(small(key));
        let channel = small(channel);
        Membership { channel, member }
    }

    fn follow(&mut self, hub: Arc<Hub>, log: Arc<ChannelLog>) -> usize {
        let address = Arc::as_ptr(&log) as usize;
        let channel = self.channels.vacant_key();
        let waker = Waker::from(Arc::new(ChannelWaker(self.inbox.clone(), channel)));
        // The waiter is not registered yet, so this schedules the first pass.
        waker.wake_by_ref();
        let waiter = log.register_waiter();
        self.followed.insert(address, channel);
        self.channels.insert(Followed {
            hub,
            log,
            waiter,
            waker,
            members: Vec::new(),
            resumes_at: None,
            is_paused: false,
        })
    }

    /// Sends to all members of a channel, then registers the waiter.
    async fn send_to_members(&mut self, channel: usize) {
        let Some(Followed { hub, log, .. }) = self.channels.get(channel) else {
            return;
        };
        let (mark, now) = (log.mark(hub), Instant::now());
        let (mut member, mut pauses) = (0, Pauses::default());
        while let Some(key) = self.member(channel, member) {
            let waker = LazyWaker(&self.inbox, key);
            let socket = &mut self.sockets[key].socket;
            if !socket.is_blocked() && socket.send(&mut self.chunks, now, waker) == State::Closed {
                // This moves the last member to the index `member`.
                self.remove(key);
            } else {
                pauses.add(socket);
                member += 1;
            }
            self.cooperate().await;
        }
        let followed = self.channels.get(channel);
        if followed.is_some_and(|followed| followed.hub.is_closing()) {
            self.tick_at(now);
        }
        if let Some(until) = pauses.first {
            self.resume_at(channel, until);
        }
        match pauses.are_all() {
            true => self.pause(channel),
            false => self.wait(channel, mark),
        }
    }

    /// Leaves the channel's wait list, so that its entries do not wake the driver.
    fn pause(&mut self, channel: usize) {
        if let Some(followed) = self.channels.get_mut(channel) {
            followed.is_paused = true;
            followed.log.pause(&mut followed.waiter);
        }
    }

    /// Schedules a pass over a channel, at `until` or earlier.
    fn resume_at(&mut self, channel: usize, until: Instant) {
        let Some(Followed { resumes_at, .. }) = self.channels.get_mut(channel) else {
            return;
        };
        let until = until.min(Instant::now() + LONGEST_PAUSE);
        if resumes_at.is_none_or(|scheduled| until < scheduled) {
            let scheduled = resumes_at.replace(until);
            scheduled.map(|at| self.paused.remove(&(at, channel)));
            self.paused.insert((until, channel));
        }
    }

    /// Schedules passes over the channels of a socket that was polled: after its pause, or, if a channel's waiter has
    /// left the wait list, one that registers it again.
    fn follow_socket(&mut self, key: usize) {
        let Client { socket, .. } = &self.sockets[key];
        let (until, waits) = (socket.paused_until(), !socket.is_blocked());
        for index in 0..self.sockets[key].memberships.len() {
            let channel = self.sockets[key].memberships[index].channel as usize;
            match until {
                Some(until) => self.resume_at(channel, until),
                None if waits && self.channels[channel].is_paused => {
                    self.inbox.post(|news| news.channels.push(channel));
                }
                None => {}
            }
        }
    }

    /// Schedules a pass over each channel with a member whose pause is over.
    fn resume(&mut self, now: Instant) {
        while let Some((until, channel)) = self.paused.first().copied()
            && until <= now
        {
            self.paused.pop_first();
            if let Some(followed) = self.channels.get_mut(channel) {
                followed.resumes_at = None;
            }
            self.inbox.post(|news| news.channels.push(channel));
        }
    }

    fn member(&self, channel: usize, member: usize) -> Option<usize> {
        let members = &self.channels.get(channel)?.members;
        members.get(member).map(|key| *key as usize)
    }

    /// Registers the waiter for entries after `mark`. If the log has newer ones, schedules another pass.
    fn wait(&mut self, channel: usize, mark: Mark) {
        let Some(followed) = self.channels.get_mut(channel) else {
            return;
        };
        let Followed {
            hub,
            log,
            waiter,
            waker,
            is_paused,
            ..
        } = followed;
        *is_paused = false;
        if !log.wait(hub, waiter, waker, mark) {
            self.inbox.post(|news| news.channels.push(channel));
        }
    }

    /// Reads and writes a socket that is ready, or new.
    fn poll_socket(&mut self, key: usize) {
        // The key is stale if the socket was removed after it had been posted.
        let Some(Client { socket, .. }) = self.sockets.get_mut(key) else {
            return;
        };
        let (waker, now) = (LazyWaker(&self.inbox, key), Instant::now());
        let received = socket.receive(waker);
        if received == State::Again {
            self.inbox.post(|news| news.sockets.push(key));
        }
        if received == State::Closed || socket.send(&mut self.chunks, now, waker) == State::Closed {
            self.remove(key);
        } else {
            self.follow_socket(key);
        }
    }

    async fn tick_all(&mut self, now: Instant) {
        let is_check = now >= self.next_check;
        if is_check {
            self.next_check = now + (self.patience / CHECKS).min(LONGEST_CHECK);
        }
        // Streams that register meanwhile set the next tick themselves.
        for key in 0..self.sockets.capacity() {
            let Some(Client { socket, .. }) = self.sockets.get_mut(key) else {
                continue;
            };
            let waker = LazyWaker(&self.inbox, key);
            let is_checked = is_check || socket.is_blocked();
            if is_checked && socket.is_stalled(self.patience, now)
                || socket.tick(&mut self.chunks, now, waker) == State::Closed
            {
                self.remove(key);
            } else {
                let wakes_at = socket.wakes_at();
                wakes_at.into_iter().for_each(|at| self.tick_at(at));
            }
            self.cooperate().await;
        }
    }

    /// Moves the next tick to `at`, if that is earlier, but never closer than `SHORTEST_TICK`.
    fn tick_at(&mut self, at: Instant) {
        let at = at.max(Instant::now() + SHORTEST_TICK);
        self.next_tick = self.next_tick.min(at);
    }

    fn remove(&mut self, key: usize) {
        let Client { memberships, .. } = self.sockets.remove(key);
        memberships
            .iter()
            .for_each(|membership| self.leave_channel(*membership));
        if self.sockets.is_empty() {
            self.sockets = Slab::new();
            self.tick = longest_tick(self.patience);
        }
    }

    /// Removes a member from a channel. The last member moves to its index.
    fn leave_channel(&mut self, Membership { channel, member }: Membership) {
        let members = &mut self.channels[channel as usize].members;
        members.swap_remove(member as usize);
        if members.is_empty() {
            self.unfollow(channel as usize);
        } else if let Some(moved) = members.get(member as usize) {
            let mut memberships = self.sockets[*moved as usize].memberships.iter_mut();
            if let Some(membership) = memberships.find(|membership| membership.channel == channel) {
                membership.member = member;
            }
        }
    }

    fn unfollow(&mut self, channel: usize) {
        let Followed { log, .. } = &self.channels[channel];
        let address = Arc::as_ptr(log) as usize;
        self.followed.remove(&address);
        let followed = self.channels.remove(channel);
        if let Some(at) = followed.resumes_at {
            self.paused.remove(&(at, channel));
        }
    }
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;
    use crate::{EventStream, channel::Channels, hub::Start};

    #[tokio::test(start_paused = true)]
    async fn a_channel_has_one_scheduled_pass() {
        let es = EventStream::new();
        let _subscription = es.subscribe("a").unwrap();
        let hub = es.core().hub.clone();
        let channels = Channels::collect(["a"], 1).unwrap();
        let (reader, _) = hub.subscribe(&channels, Start::Live).unwrap();
        let log = reader.logs().next().unwrap().clone();
        let mut driver = Driver::new(Arc::default(), Duration::from_secs(30));
        let channel = driver.follow(hub, log);
        let now = Instant::now();
        for milliseconds in [900, 950, 100, 20_000, 500] {
            driver.resume_at(channel, now + Duration::from_millis(milliseconds));
        }
        let first = (now + Duration::from_millis(100), channel);
        assert!(driver.paused.iter().eq([&first]));
        driver.resume(now + Duration::from_millis(99));
        assert_eq!(driver.paused.len(), 1);
        driver.unfollow(channel);
        assert!(driver.paused.is_empty());
    }

    #[test]
    fn a_connection_is_small() {
        let size = size_of::<Client>();
        assert!(
            size <= 184,
            "each of a million connections takes {size} bytes"
        );
    }
}
