//! An open stream, whoever writes it: a response body, or a driver that owns the socket.

use crate::{KeepAlive, feed::Feed};
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::*},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// What one frame may have: enough for a burst of small events, little enough to keep for a slow client.
pub(crate) const FRAME: usize = 64 << 10;

/// Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) feed: Feed,
    keep_alive: Arc<KeepAlive>,
    last: Instant,
    departed: Option<Departed>,
    departures: Arc<Departures>,
}

impl OpenStream {
    pub(crate) fn new(feed: Feed, keep_alive: Arc<KeepAlive>, departures: Arc<Departures>) -> Self {
        Self {
            feed,
            keep_alive,
            last: Instant::now(),
            departed: None,
            departures,
        }
    }

    /// Something is sent now: the time until a keep-alive starts anew.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.last = now;
    }

    /// When a keep-alive is due.
    pub(crate) fn due(&self) -> Instant {
        self.last + self.keep_alive.after()
    }

    pub(crate) fn interval(&self) -> Duration {
        self.keep_alive.after()
    }

    pub(crate) fn keep_alive(&self) -> &Bytes {
        self.keep_alive.frame()
    }

    /// The stream is no longer the HTTP server's: whoever shuts down must wait for it elsewhere.
    pub(crate) fn depart(&mut self) {
        self.departed = Some(Departed::new(&self.departures));
    }
}

/// Counts the streams that the HTTP server knows nothing of.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    open: AtomicUsize,
    ended: Notify,
}

#[derive(Debug)]
struct Departed(Arc<Departures>);

impl Departed {
    fn new(departures: &Arc<Departures>) -> Self {
        departures.open.fetch_add(1, SeqCst);
        Self(departures.clone())
    }
}

impl Drop for Departed {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, SeqCst) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

impl Departures {
    /// Waits until no stream is left, or `limit` is over.
    pub(crate) async fn all_ended(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended.notified();
            let is_over = self.open.load(SeqCst) == 0;
            if is_over || timeout_at(deadline, ended).await.is_err() {
                return;
            }
        }
    }
}
