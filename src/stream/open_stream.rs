//! An open stream, written by a response body or by a driver that owns the socket.

use super::{
    Feed, Guard, Next, SnapshotLimits, Snapshots, hooks::UnsubscribeGuard, pace::Pace,
    reconnect_after,
};
use crate::{KeepAlive, Limits, sse};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::*},
    },
    task::Waker,
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};

/// Maximum bytes of a frame: enough for a burst of small events, small enough to buffer for a slow client.
pub(crate) const FRAME: usize = 64 << 10;

/// State shared by all streams of an `EventStream`.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) keep_alive: KeepAlive,
    pub(crate) snapshot_limits: SnapshotLimits,
    /// Origin of the common times of paused streams.
    started: Instant,
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
    pace: Option<Pace>,
    snapshots: Option<Snapshots>,
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
    pub(crate) fn max_age(self, age: Option<Duration>) -> Self {
        let age = age.map(|age| age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        self.expires_in(age)
    }

    /// Ends the stream after this time, unless it ends earlier.
    pub(crate) fn expires_in(self, time: Option<Duration>) -> Self {
        let expires = time.and_then(|time| self.last.checked_add(time));
        let ends = expires.into_iter().chain(self.ends()).min();
        self.set(ends, |extras| &mut extras.ends)
    }

    /// Sends at most one burst of frames in this interval.
    pub(crate) fn min_interval(self, interval: Option<Duration>) -> Self {
        let interval = interval.filter(|interval| !interval.is_zero());
        let pace = interval.map(|interval| Pace::new(interval, self.streams.started));
        self.set(pace, |extras| &mut extras.pace)
    }

    pub(crate) fn snapshots(self, snapshots: Option<Snapshots>) -> Self {
        self.set(snapshots, |extras| &mut extras.snapshots)
    }

    /// Calls the hook after the stream has ended.
    pub(crate) fn on_end(self, unsubscribe: Option<UnsubscribeGuard>) -> Self {
        self.set(unsubscribe, |extras| &mut extras._unsubscribe)
    }

    pub(crate) fn guard(self, guard: Option<Guard>) -> Self {
        self.set(guard, |extras| &mut extras._guard)
    }

    fn set<T>(mut self, value: Option<T>, field: fn(&mut Extras) -> &mut Option<T>) -> Self {
        if value.is_some() {
            *field(self.extras.get_or_insert_default()) = value;
        }
        self
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether the stream is parked with its last waker and was not woken since.
    pub(crate) fn is_waiting(&self) -> bool {
        self.feed.reader.is_waiting()
    }

    /// Parks until the next event; the caller also polls at [`wakes_at`](Self::wakes_at). Returns false if a frame is
    /// ready. Then a wake is not guaranteed, and the caller calls [`next`](Self::next) again.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        if self.paused_until().is_some() {
            return true;
        }
        match self.wait_for_snapshot(waker) {
            Some(waits) => waits,
            None => self.feed.reader.wait(waker),
        }
    }

    /// Whether the stream waits for a snapshot.
    pub(crate) fn needs_snapshot(&self) -> bool {
        let extras = self.extras.as_ref();
        let snapshots = extras.and_then(|extras| extras.snapshots.as_ref());
        snapshots.is_some_and(Snapshots::is_pending) && self.paused_until().is_none()
    }

    /// Registers `waker` for the end of a running snapshot. Returns `Some(false)` if it has
    /// ended already, and `None` if no snapshot is pending.
    pub(crate) fn wait_for_snapshot(&mut self, waker: &Waker) -> Option<bool> {
        let snapshots = self.extras.as_mut()?.snapshots.as_mut()?;
        snapshots.wait(&self.feed, waker)
    }

    /// Until when the stream sends no events, because of its pace.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.extras.as_ref()?.pace.as_ref()?.until()
    }

    /// Returns the next frame: events, a snapshot, a keep-alive, or the `retry` before the end.
    ///
    /// With a waker, the stream may also park, as in [`Feed::next`]. The clock is read only if there is no
    /// event, or if the stream has a deadline.
    pub(crate) fn next(&mut self, waker: Option<&Waker>, clock: impl Fn() -> Instant) -> Next {
        if self.ends().is_some_and(|ends| ends <= clock()) && !self.feed.has_ended() {
            self.feed.end();
            return Next::frame(sse::retry(reconnect_after()));
        }
        self.drain(&clock);
        let next = match &mut self.extras {
            None => self.feed.next(FRAME, waker),
            Some(extras) => extras.next(&mut self.feed, waker),
        };
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
        if self.last + self.keep_alive_interval() <= now {
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

    /// When a keep-alive or the end is due.
    pub(crate) fn idle_until(&self) -> Instant {
        let keep_alive = self.last + self.keep_alive_interval();
        self.ends().map_or(keep_alive, |ends| keep_alive.min(ends))
    }

    /// When the stream must be polled although nothing wakes it.
    pub(crate) fn wakes_at(&self) -> Instant {
        let pace = self.extras.as_ref().and_then(|extras| extras.pace.as_ref());
        let resumes_at = pace.and_then(Pace::wakes_at);
        resumes_at.map_or(self.idle_until(), |at| at.min(self.idle_until()))
    }

    /// The silence after which a keep-alive is due.
    pub(crate) fn keep_alive_interval(&self) -> Duration {
        self.streams.keep_alive.after()
    }

    /// Counts the stream as detached until the guard is dropped. Graceful shutdown of the HTTP server does not
    /// wait for detached streams.
    ///
    /// Returns `None` if the `EventStream` is closed, whose shutdown may have counted already. It is looked up after
    /// the stream is counted, so either the shutdown waits for the stream, or the stream stays in the HTTP server.
    pub(crate) fn detach(&self) -> Option<DetachGuard> {
        self.streams.detached.fetch_add(1, SeqCst);
        let guard = DetachGuard(self.streams.clone());
        (!self.feed().hub().is_closed()).then_some(guard)
    }
}

impl Extras {
    /// As [`Feed::next`], with the stream's pace and snapshots.
    fn next(&mut self, feed: &mut Feed, waker: Option<&Waker>) -> Next {
        if let Some(pace) = &mut self.pace
            && pace.pauses(feed)
        {
            return Next::Empty;
        }
        // A paced stream parks only if it finds nothing: a publish must not wake it during a pause.
        let waker = waker.filter(|_| self.pace.is_none());
        let is_opening = feed.has_opening();
        let next = match &mut self.snapshots {
            Some(snapshots) => snapshots.next(feed, FRAME, waker),
            None => feed.next(FRAME, waker),
        };
        if let Some(pace) = &mut self.pace
            && !is_opening
        {
            pace.sent(&next, feed);
        }
        next
    }
}

impl Streams {
    pub(crate) fn new(keep_alive: KeepAlive, limits: &Limits) -> Self {
        Self {
            keep_alive,
            snapshot_limits: SnapshotLimits {
                permits: Arc::new(Semaphore::new(
                    limits.concurrent_snapshots.min(Semaphore::MAX_PERMITS),
                )),
                timeout: limits.snapshot_timeout,
            },
            started: Instant::now(),
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
        let (hub, opened) = (&es.core().hub, Instant::now());
        let channels = Channels::collect(["a"], 1).unwrap();
        let id = LastEventId::new(hub.epoch(), 0).to_string();
        let feed = Feed::subscribe(hub, &channels, Some(&id)).unwrap();
        let mut stream = OpenStream::new(feed, es.core().streams.clone());
        assert!(matches!(
            stream.next(None, Instant::now),
            Next::Frame { last: Some(_), .. }
        ));
        assert_eq!(stream.wakes_at(), opened + stream.keep_alive_interval());
    }

    #[tokio::test]
    async fn a_shutdown_waits_for_each_detached_stream_and_later_ones_stay() {
        let es = EventStream::new();
        let open = || {
            let channels = Channels::collect(["a"], 1).unwrap();
            let feed = Feed::subscribe(&es.core().hub, &channels, None).unwrap();
            OpenStream::new(feed, es.core().streams.clone())
        };
        let (first, second) = (open(), open());
        let guard = first.detach();
        assert!(guard.is_some());
        es.close();
        assert!(second.detach().is_none());
        assert_eq!(es.core().streams.detached.load(SeqCst), 1);
        drop(guard);
        es.core()
            .streams
            .wait_for_detached(Duration::from_secs(60))
            .await;
    }
}
