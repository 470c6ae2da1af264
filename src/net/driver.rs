//! The drivers: one task for each worker thread, which owns the sockets of streams that have left hyper.
//!
//! 1. A publisher never touches a socket. It wakes the driver for the channel, and that sends to each of
//!    the channel's sockets what its stream has ready.
//! 2. The driver waits for a channel again only when its sockets have been sent everything, so that a
//!    publisher sees how far behind it is.
//! 3. There is no task and no timer for each connection: sockets wake the driver by their key, and
//!    keep-alives and blocked clients are looked after once in a while.

use super::{
    chunk::Chunks,
    inbox::{Bell, Inbox, News, OfChannel},
    options::Options,
    pages::Pages,
    progress::CHECKS,
    socket::{Socket, State},
};
use crate::{
    few::Few,
    hub::{ChannelLog, Hub, Mark, Seat},
    stream::{Departed, OpenStream},
};
use slab::Slab;
use std::{
    collections::HashMap,
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

/// Sends before other tasks of the thread get their turn.
const TURN: usize = 32;

/// Keep-alives and blocked clients are looked after at least this often.
const TICK: Duration = Duration::from_secs(1);

/// And at most this often.
const SHORTEST_TICK: Duration = Duration::from_millis(5);

/// Caps the time to the next check: `Instant + Duration` may overflow.
const LONGEST_CHECK: Duration = Duration::from_secs(3600);

/// A listener's drivers, started with the first stream that leaves.
#[derive(Debug)]
pub(super) struct Pool {
    options: Options,
    inboxes: Mutex<Box<[Arc<Inbox>]>>,
    turn: AtomicUsize,
}

impl Pool {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options,
            inboxes: Mutex::default(),
            turn: AtomicUsize::new(0),
        })
    }

    /// Takes over a stream with its socket.
    pub(super) fn take(&self, tcp: TcpStream, stream: OpenStream) {
        self.options.set(&tcp);
        let departed = stream.depart();
        let arrival = Arrival {
            tcp,
            stream,
            departed,
        };
        self.inbox().post(|news| news.arrivals.push(arrival));
    }

    /// The inbox of the driver whose turn it is. Drivers end with their runtime: the next one gets its own.
    fn inbox(&self) -> Arc<Inbox> {
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if inboxes.iter().all(|inbox| inbox.is_abandoned()) {
            *inboxes = self.start();
        }
        inboxes[self.turn.fetch_add(1, Relaxed) % inboxes.len()].clone()
    }

    fn start(&self) -> Box<[Arc<Inbox>]> {
        let runtime = Handle::current();
        let start = |_| {
            let inbox = Arc::<Inbox>::default();
            let driver = Driver::new(inbox.clone(), self.options.patience());
            runtime.spawn(unconstrained(driver.run()));
            inbox
        };
        (0..runtime.metrics().num_workers()).map(start).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let inboxes = self.inboxes.get_mut();
        let inboxes = inboxes.unwrap_or_else(PoisonError::into_inner);
        inboxes.iter().for_each(|inbox| inbox.close());
    }
}

#[derive(Debug)]
pub(super) struct Arrival {
    tcp: TcpStream,
    stream: OpenStream,
    departed: Departed,
}

struct Driver {
    inbox: Arc<Inbox>,
    patience: Duration,
    sockets: Pages<Seated>,
    channels: Slab<Followed>,
    /// Where in `channels` a log is, by its address, which the log in there keeps valid.
    followed: HashMap<usize, usize>,
    chunks: Chunks,
    tick: Duration,
    next_tick: Instant,
    /// When it is read how far clients are.
    next_check: Instant,
    sent: usize,
}

/// A socket, and where it is in its channels.
struct Seated {
    socket: Socket,
    places: Few<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    channel: u32,
    member: u32,
}

/// Half the size, for what every connection has.
fn small(index: usize) -> u32 {
    u32::try_from(index).expect("a process has fewer descriptors")
}

/// A channel that sockets of this driver listen to.
struct Followed {
    hub: Arc<Hub>,
    log: Arc<ChannelLog>,
    seat: Seat,
    waker: Waker,
    members: Vec<u32>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.log.give_up(&self.seat);
    }
}

/// Without streams that want keep-alives more often.
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
            sockets: Pages::new(),
            channels: Slab::new(),
            followed: HashMap::new(),
            chunks: Chunks::default(),
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
                false => _ = timeout_at(self.next_tick, self.inbox.wait()).await,
            }
            self.inbox.take(&mut news);
            self.welcome(mem::take(&mut news.arrivals));
            for channel in news.channels.drain(..) {
                self.pass(channel).await;
            }
            for key in news.sockets.drain(..) {
                self.look_after(key);
                self.breathe().await;
            }
            let now = Instant::now();
            if now >= self.next_tick {
                self.next_tick = now + self.tick;
                self.look_after_all(now).await;
            }
            self.chunks.clear();
        }
    }

    /// Lets other tasks run once in a while.
    async fn breathe(&mut self) {
        self.sent += 1;
        if self.sent.is_multiple_of(TURN) {
            yield_now().await;
            self.welcome(self.inbox.arrivals());
        }
    }

    /// Takes in new streams at once, or they would pile up, each with the memory of the task that had its
    /// socket. What they are to be sent waits for its turn.
    fn welcome(&mut self, arrivals: Vec<Arrival>) {
        for arrival in arrivals {
            let key = self.arrive(arrival);
            self.inbox.post(|news| news.sockets.push(key));
        }
    }

    /// Takes in a stream with its socket, and gives the key.
    fn arrive(&mut self, arrival: Arrival) -> usize {
        let Arrival {
            tcp,
            stream,
            departed,
        } = arrival;
        self.tick = self.tick.min(stream.interval() / 8);
        self.tick = self.tick.max(SHORTEST_TICK);
        let key = self.sockets.vacant_key();
        let hub = stream.feed().hub().clone();
        let logs: Vec<_> = stream.feed().logs().cloned().collect();
        let place = |log| self.join(&hub, log, key);
        let places = logs.into_iter().map(place).collect();
        self.tick_at(stream.wakes_at());
        let socket = Socket::new(tcp, stream, departed);
        // The task that had the socket is gone, but its waker keeps its memory until there is another.
        socket.wait_to_receive(Bell(&self.inbox, key));
        self.sockets.insert(Seated { socket, places });
        key
    }

    /// Makes the socket `key` a member of a channel.
    fn join(&mut self, hub: &Arc<Hub>, log: Arc<ChannelLog>, key: usize) -> Place {
        let address = Arc::as_ptr(&log) as usize;
        let channel = match self.followed.get(&address) {
            Some(channel) => *channel,
            None => self.follow(hub.clone(), log),
        };
        let members = &mut self.channels[channel].members;
        let member = small(members.len());
        members.push(small(key));
        let channel = small(channel);
        Place { channel, member }
    }

    fn follow(&mut self, hub: Arc<Hub>, log: Arc<ChannelLog>) -> usize {
        let address = Arc::as_ptr(&log) as usize;
        let channel = self.channels.vacant_key();
        let waker = Waker::from(Arc::new(OfChannel(self.inbox.clone(), channel)));
        // It waits for nothing yet, so there is a first pass to make.
        waker.wake_by_ref();
        let seat = log.join();
        self.followed.insert(address, channel);
        self.channels.insert(Followed {
            hub,
            log,
            seat,
            waker,
            members: Vec::new(),
        })
    }

    /// Sends to all sockets of a channel, and waits for more.
    async fn pass(&mut self, channel: usize) {
        let Some(Followed { hub, log, .. }) = self.channels.get(channel) else {
            return;
        };
        let (mark, now) = (log.mark(hub), Instant::now());
        let mut member = 0;
        while let Some(key) = self.member(channel, member) {
            let bell = Bell(&self.inbox, key);
            let socket = &mut self.sockets[key].socket;
            if !socket.is_blocked() && socket.send(&mut self.chunks, now, bell) == State::Gone {
                // Another member takes its place.
                self.remove(key);
            } else {
                member += 1;
            }
            self.breathe().await;
        }
        let followed = self.channels.get(channel);
        if followed.is_some_and(|followed| followed.hub.is_closing()) {
            self.tick_at(now);
        }
        self.wait(channel, mark);
    }

    fn member(&self, channel: usize, member: usize) -> Option<usize> {
        let members = &self.channels.get(channel)?.members;
        members.get(member).map(|key| *key as usize)
    }

    /// Waits for what is new since `mark`, or comes back to the channel when it is its turn again.
    fn wait(&mut self, channel: usize, mark: Mark) {
        let Some(followed) = self.channels.get_mut(channel) else {
            return;
        };
        let Followed {
            hub,
            log,
            seat,
            waker,
            ..
        } = followed;
        if !log.wait(hub, seat, waker, mark) {
            self.inbox.post(|news| news.channels.push(channel));
        }
    }

    /// A socket can be read or written, or is new.
    fn look_after(&mut self, key: usize) {
        // A key may have a new owner: then there is nothing to do.
        let Some(Seated { socket, .. }) = self.sockets.get_mut(key) else {
            return;
        };
        let (bell, now) = (Bell(&self.inbox, key), Instant::now());
        let received = socket.receive(bell);
        if received == State::Again {
            self.inbox.post(|news| news.sockets.push(key));
        }
        if received == State::Gone || socket.send(&mut self.chunks, now, bell) == State::Gone {
            self.remove(key);
        }
    }

    async fn look_after_all(&mut self, now: Instant) {
        let is_check = now >= self.next_check;
        if is_check {
            self.next_check = now + (self.patience / CHECKS).min(LONGEST_CHECK);
        }
        let mut from = 0;
        while let Some(key) = self.sockets.next(from) {
            from = key + 1;
            let bell = Bell(&self.inbox, key);
            let socket = &mut self.sockets[key].socket;
            let is_checked = is_check || socket.is_blocked();
            if is_checked && socket.is_stalled(self.patience, now)
                || socket.tick(&mut self.chunks, now, bell) == State::Gone
            {
                self.remove(key);
            } else {
                let wakes_at = socket.wakes_at();
                wakes_at.into_iter().for_each(|at| self.tick_at(at));
            }
            self.breathe().await;
        }
    }

    /// Looks after all at the time `at` at the latest, but not more often than is good.
    fn tick_at(&mut self, at: Instant) {
        let at = at.max(Instant::now() + SHORTEST_TICK);
        self.next_tick = self.next_tick.min(at);
    }

    fn remove(&mut self, key: usize) {
        let Seated { places, .. } = self.sockets.remove(key);
        places.iter().for_each(|place| self.vacate(*place));
        if self.sockets.is_empty() {
            self.tick = longest_tick(self.patience);
        }
    }

    /// Another member takes the place.
    fn vacate(&mut self, Place { channel, member }: Place) {
        let members = &mut self.channels[channel as usize].members;
        members.swap_remove(member as usize);
        if members.is_empty() {
            self.unfollow(channel as usize);
        } else if let Some(moved) = members.get(member as usize) {
            let mut places = self.sockets[*moved as usize].places.iter_mut();
            if let Some(place) = places.find(|place| place.channel == channel) {
                place.member = member;
            }
        }
    }

    fn unfollow(&mut self, channel: usize) {
        let Followed { log, .. } = &self.channels[channel];
        let address = Arc::as_ptr(log) as usize;
        self.followed.remove(&address);
        self.channels.remove(channel);
    }
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        let size = size_of::<Seated>();
        assert!(
            size <= 184,
            "each of a million connections has {size} bytes"
        );
    }
}
