//! An open stream, whoever writes it: a response body, or a driver that owns the socket.

use crate::{
    KeepAlive,
    feed::{Feed, Next},
    hooks::Presence,
    sse,
};
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
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

/// Up to how long a client waits before it comes back from a stream that was ended on purpose.
const COME_BACK: Duration = Duration::from_secs(5);

/// A value that is dropped when the stream has ended.
#[derive(Clone)]
pub(crate) struct Guard(Option<Arc<dyn Any + Send + Sync>>);

impl Guard {
    pub(crate) fn new(value: impl Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(value)))
    }
}

impl Drop for Guard {
    /// If the value panics, that must not end other streams of the same thread.
    fn drop(&mut self) {
        let value = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            crate::trace::event!(error, "the guard of an event stream has panicked");
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

/// Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct OpenStream {
    feed: Feed,
    keep_alive: Arc<KeepAlive>,
    departures: Arc<Departures>,
    last: Instant,
    /// When the stream ends by itself.
    ends: Option<Instant>,
    goodbye: Goodbye,
    departed: Option<Departed>,
    /// Told or dropped with the stream, after its subscription. Few streams have any.
    _company: Option<Box<(Option<Presence>, Option<Guard>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goodbye {
    Unsaid,
    Said,
}

impl OpenStream {
    pub(crate) fn new(feed: Feed, keep_alive: Arc<KeepAlive>, departures: Arc<Departures>) -> Self {
        Self {
            feed,
            keep_alive,
            departures,
            last: Instant::now(),
            ends: None,
            goodbye: Goodbye::Unsaid,
            departed: None,
            _company: None,
        }
    }

    /// Ends the stream at about this age, each at its own moment.
    pub(crate) fn max_age(mut self, age: Option<Duration>) -> Self {
        self.ends = age.map(|age| Instant::now() + age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        self
    }

    pub(crate) fn with(mut self, presence: Option<Presence>, guard: Option<Guard>) -> Self {
        let is_alone = presence.is_none() && guard.is_none();
        self._company = (!is_alone).then(|| Box::new((presence, guard)));
        self
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(crate) fn feed_mut(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// What is to be sent at the time `now`: events, a keep-alive, the word that the stream ends.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.goodbye == Goodbye::Said {
            return Next::End;
        }
        if self.ends.is_some_and(|ends| ends <= now) {
            self.goodbye = Goodbye::Said;
            return Next::frame(sse::retry(COME_BACK.mul_f64(fastrand::f64())));
        }
        match self.feed.next(FRAME) {
            Next::Empty if self.last + self.keep_alive.after() <= now => {
                self.last = now;
                Next::frame(self.keep_alive.frame().clone())
            }
            Next::Empty => {
                self.drain(now);
                Next::Empty
            }
            next => {
                self.last = now;
                next
            }
        }
    }

    /// While the hub is drained, each stream picks its own moment to end.
    fn drain(&mut self, now: Instant) {
        let Some(until) = self.feed.hub().drained_by() else {
            return;
        };
        if self.ends.is_none_or(|ends| ends > until) {
            let left = until.saturating_duration_since(now);
            self.ends = Some(now + left.mul_f64(fastrand::f64()));
        }
    }

    /// When there is something to send even without news.
    pub(crate) fn wakes_at(&self) -> Instant {
        let keep_alive = self.last + self.keep_alive.after();
        self.ends.map_or(keep_alive, |ends| ends.min(keep_alive))
    }

    /// How long it can take until there is something to send.
    pub(crate) fn interval(&self) -> Duration {
        self.keep_alive.after()
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
