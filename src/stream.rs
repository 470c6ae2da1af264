//! An open stream, written by a response body or by a driver that owns the socket.

use crate::{
    KeepAlive,
    feed::{Feed, Next},
    hooks::UnsubscribeGuard,
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
    task::Waker,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Maximum bytes of a frame: enough for a burst of small events, small enough to buffer for a slow client.
pub(crate) const FRAME: usize = 64 << 10;

/// Reconnect delay sent before a stream is ended on purpose: 1 to 5 seconds, random so that clients do not
/// reconnect at once.
///
/// Browsers also use the delay after later disconnects, so it must not be near zero.
pub(crate) fn reconnect_after() -> Duration {
    Duration::from_millis(fastrand::u64(1000..=5000))
}

/// A value that is dropped when the stream has ended.
#[derive(Clone)]
pub(crate) struct Guard(Option<Arc<dyn Any + Send + Sync>>);

impl Guard {
    pub(crate) fn new(value: impl Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// Adds a value, which is dropped together with the others.
    pub(crate) fn and(self, value: impl Send + Sync + 'static) -> Self {
        // Each is a guard of its own, so that a panic of one does not reach the other.
        Self::new((self, Self::new(value)))
    }
}

impl Drop for Guard {
    /// Catches a panic of the value, which would otherwise end other streams on the same thread.
    fn drop(&mut self) {
        let value = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            crate::trace::event!(error, "the guard of an event stream panicked");
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

/// State shared by all streams of an `EventStream`.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) keep_alive: KeepAlive,
    /// Number of detached streams.
    detached: AtomicUsize,
    no_detached: Notify,
}

/// An open stream. Dropping it unsubscribes.
///
/// A process may hold a million of them, so its size matters.
#[derive(Debug)]
pub(crate) struct OpenStream {
    feed: Feed,
    streams: Arc<Streams>,
    /// When the last event was published, the last keep-alive was sent, or the stream was created. Other
    /// frames of the stream itself do not count.
    last: Instant,
    /// Dropped after `feed`, so that the hook sees the new count. Boxed: few streams have any of it.
    extras: Option<Box<Extras>>,
}

#[derive(Debug, Default)]
struct Extras {
    /// Deadline after which the stream ends.
    ends: Option<Instant>,
    _unsubscribe: Option<UnsubscribeGuard>,
    _guard: Option<Guard>,
}

impl OpenStream {
    pub(crate) fn new(feed: Feed, streams: Arc<Streams>) -> Self {
        Self {
            feed,
            last: Instant::now(),
            streams,
            extras: None,
        }
    }

    /// Ends the stream at about this age, randomly up to a tenth earlier or later.
    pub(crate) fn max_age(mut self, age: Option<Duration>) -> Self {
        if let Some(age) = age {
            let age = age.mul_f64(0.9 + 0.2 * fastrand::f64());
            self.extras.get_or_insert_default().ends = self.last.checked_add(age);
        }
        self
    }

    pub(crate) fn with(
        mut self,
        unsubscribe: Option<UnsubscribeGuard>,
        guard: Option<Guard>,
    ) -> Self {
        if unsubscribe.is_some() || guard.is_some() {
            let extras = self.extras.get_or_insert_default();
            (extras._unsubscribe, extras._guard) = (unsubscribe, guard);
        }
        self
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(crate) fn feed_mut(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// Returns the next frame: events, a keep-alive, or the `retry` before the end.
    ///
    /// With a waker, the stream may also park, as in [`Feed::next`]. The clock is read only if there is no
    /// event, or if the stream has a deadline.
    pub(crate) fn next(&mut self, waker: Option<&Waker>, clock: impl Fn() -> Instant) -> Next {
        if self.ends().is_some_and(|ends| ends <= clock()) && !self.feed.has_ended() {
            self.feed.end();
            return Next::frame(sse::retry(reconnect_after()));
        }
        self.drain(&clock);
        let next = self.feed.next(FRAME, waker);
        match next {
            Next::Frame {
                last: Some((_, at)),
                ..
            } => self.last = self.last.max(at),
            Next::Empty => return self.idle(clock()),
            Next::Frame { last: None, .. } | Next::End => {}
        }
        next
    }

    fn ends(&self) -> Option<Instant> {
        self.extras.as_ref()?.ends
    }

    /// Returns a keep-alive if one is due.
    fn idle(&mut self, now: Instant) -> Next {
        if self.last + self.interval() <= now {
            self.last = now;
            return Next::frame(self.streams.keep_alive.frame().clone());
        }
        Next::Empty
    }

    /// During a drain, moves the deadline to a random time before the end of the drain. Streams that always
    /// have events end too.
    fn drain(&mut self, clock: impl Fn() -> Instant) {
        let Some(until) = self.feed.hub().drained_by() else {
            return;
        };
        if self.ends().is_none_or(|ends| ends > until) {
            let now = clock();
            let left = until.saturating_duration_since(now);
            let ends = now + left.mul_f64(fastrand::f64());
            self.extras.get_or_insert_default().ends = Some(ends);
        }
    }

    /// When a frame is due without any event.
    pub(crate) fn wakes_at(&self) -> Instant {
        let keep_alive = self.last + self.interval();
        self.ends().map_or(keep_alive, |ends| keep_alive.min(ends))
    }

    /// Maximum time between two frames.
    pub(crate) fn interval(&self) -> Duration {
        self.streams.keep_alive.after()
    }

    /// Counts the stream as detached until the guard is dropped. Graceful shutdown of the HTTP server does not
    /// wait for detached streams.
    pub(crate) fn detach(&self) -> DetachGuard {
        self.streams.detached.fetch_add(1, SeqCst);
        DetachGuard(self.streams.clone())
    }
}

impl Streams {
    pub(crate) fn new(keep_alive: KeepAlive) -> Self {
        Self {
            keep_alive,
            detached: AtomicUsize::new(0),
            no_detached: Notify::new(),
        }
    }

    /// Waits until no stream is detached, at most for `limit`.
    pub(crate) async fn wait_for_detached(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.no_detached.notified();
            let is_over = self.detached.load(SeqCst) == 0;
            if is_over || timeout_at(deadline, ended).await.is_err() {
                return;
            }
        }
    }
}

/// Counts a stream as detached until it is dropped.
#[derive(Debug)]
pub(crate) struct DetachGuard(Arc<Streams>);

impl Drop for DetachGuard {
    fn drop(&mut self) {
        if self.0.detached.fetch_sub(1, SeqCst) == 1 {
            self.0.no_detached.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventStream, channel::Channels, sse::LastEventId};
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_replayed_event_does_not_make_a_keep_alive_due() {
        let es = EventStream::new();
        let event = Event::text("message", "1").unwrap();
        es.publish_event("a", event).await.unwrap();
        advance(Duration::from_secs(60)).await;
        let (hub, opened) = (&es.inner().hub, Instant::now());
        let channels = Channels::collect(["a"], 1).unwrap();
        let id = LastEventId::new(hub.epoch(), 0).to_string();
        let feed = Feed::subscribe(hub, &channels, Some(&id)).unwrap();
        let mut stream = OpenStream::new(feed, es.inner().streams.clone());
        assert!(matches!(
            stream.next(None, Instant::now),
            Next::Frame { last: Some(_), .. }
        ));
        assert_eq!(stream.wakes_at(), opened + stream.interval());
    }
}
