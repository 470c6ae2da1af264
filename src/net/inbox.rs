//! What a driver is told, and by whom: new streams, channels with news, sockets that are ready.

use super::driver::Arrival;
use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    news: Mutex<News>,
    bell: Notify,
    closed: AtomicBool,
    abandoned: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) arrivals: Vec<Arrival>,
    /// Channels that have something new.
    pub(super) channels: Vec<usize>,
    /// Sockets that can be read or written.
    pub(super) sockets: Vec<usize>,
}

/// The room that an emptied list keeps, so that a rush leaves nothing behind.
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
            self.bell.notify_one();
        }
    }

    /// Nothing will arrive any more.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.bell.notify_one();
    }

    /// Whether nothing will arrive any more, and everything that has arrived is taken.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst) && self.lock().is_empty()
    }

    /// The driver is gone. Streams that it has not taken end.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, SeqCst);
        drop(mem::take(&mut *self.lock()));
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(SeqCst)
    }

    /// Waits for news. May return without any.
    pub(super) async fn wait(&self) {
        self.bell.notified().await;
    }

    /// The new streams among the news.
    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        mem::take(&mut self.lock().arrivals)
    }

    /// Exchanges the news for emptied lists.
    pub(super) fn take(&self, emptied: &mut News) {
        emptied.shrink();
        mem::swap(&mut *self.lock(), emptied);
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the driver for one of its channels.
pub(super) struct OfChannel(pub(super) Arc<Inbox>, pub(super) usize);

impl Wake for OfChannel {
    fn wake(self: Arc<Self>) {
        self.0.post(|news| news.channels.push(self.1));
    }
}

/// Wakes the driver for one of its sockets.
struct OfSocket(Arc<Inbox>, usize);

/// Makes wakers for one socket when it has to wait: kept in the socket as well, a waker would only take room.
#[derive(Clone, Copy)]
pub(super) struct Bell<'a>(pub(super) &'a Arc<Inbox>, pub(super) usize);

impl Bell<'_> {
    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::new(OfSocket(self.0.clone(), self.1)))
    }
}

impl Wake for OfSocket {
    fn wake(self: Arc<Self>) {
        self.0.post(|news| news.sockets.push(self.1));
    }
}
