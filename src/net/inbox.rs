//! A driver's inbox: new streams, channels with new entries, sockets that are ready.

use crate::{
    lock::lock,
    stream::{DetachGuard, OpenStream},
};
use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};
use tokio::{net::TcpStream, sync::Notify};

#[derive(Debug, Default)]
pub(super) struct Inbox {
    news: Mutex<News>,
    notify: Notify,
    closed: AtomicBool,
    abandoned: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) arrivals: Vec<Arrival>,
    /// Keys of channels with new entries.
    pub(super) channels: Vec<usize>,
    /// Keys of sockets that can be read or written, or are new.
    pub(super) sockets: Vec<usize>,
}

/// A detached stream and its socket, until the driver registers them.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) tcp: TcpStream,
    pub(super) stream: OpenStream,
    pub(super) detach_guard: DetachGuard,
}

/// Capacity that an emptied list keeps, so that a burst does not hold memory afterwards.
const KEPT: usize = 256;

impl News {
    fn shrink(&mut self) {
        self.channels.shrink_to(KEPT);
        self.sockets.shrink_to(KEPT);
    }

    fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.channels.is_empty() && self.sockets.is_empty()
    }
}

impl Inbox {
    pub(super) fn post(&self, add: impl FnOnce(&mut News)) {
        let first = {
            let mut news = self.lock();
            let first = news.is_empty();
            add(&mut news);
            first
        };
        if first {
            self.notify.notify_one();
        }
    }

    /// Called when no more streams will be posted.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.notify.notify_one();
    }

    /// Whether the inbox is closed and empty.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst) && self.lock().is_empty()
    }

    /// Called when the driver has ended: drops the streams that it has not taken.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, SeqCst);
        drop(mem::take(&mut *self.lock()));
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(SeqCst)
    }

    /// Waits for a post. May wake spuriously.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Takes the new streams only.
    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        mem::take(&mut self.lock().arrivals)
    }

    /// Swaps the posted news with `emptied`.
    pub(super) fn take(&self, emptied: &mut News) {
        emptied.shrink();
        mem::swap(&mut *self.lock(), emptied);
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        lock(&self.news)
    }
}

/// Posts the key of a channel.
pub(super) struct ChannelWaker(pub(super) Arc<Inbox>, pub(super) usize);

impl Wake for ChannelWaker {
    fn wake(self: Arc<Self>) {
        self.0.post(|news| news.channels.push(self.1));
    }
}

/// Posts the key of a socket.
struct SocketWaker(Arc<Inbox>, usize);

/// Allocates a waker for one socket on demand. A stored waker would cost memory for every idle connection.
#[derive(Clone, Copy)]
pub(super) struct LazyWaker<'a>(pub(super) &'a Arc<Inbox>, pub(super) usize);

impl LazyWaker<'_> {
    pub(super) fn create(&self) -> Waker {
        Waker::from(Arc::new(SocketWaker(self.0.clone(), self.1)))
    }
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.0.post(|news| news.sockets.push(self.1));
    }
}
