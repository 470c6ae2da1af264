//! An open stream, written by a response body or by a driver that owns the socket.

mod pace;
mod snapshots;

pub(crate) use pace::Pace;
pub(crate) use snapshots::{Failure, SnapshotLimits, Snapshots, Taken, Task};

use crate::{
    KeepAlive, Limits,
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
    sync::{Notify, Semaphore},
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
    pub(crate) snapshot_limits: SnapshotLimits,
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
    last: Moment,
    /// Deadline after which the stream ends.
    ends: Moment,
    /// Dropped after `feed`, so that the hook sees the new count. Boxed, since few streams have any.
    extras: Option<Box<Extras>>,
}

/// The settings and values of a stream that most streams lack.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) pace: Option<Pace>,
    pub(crate) snapshots: Option<Snapshots>,
    pub(crate) unsubscribe: Option<UnsubscribeGuard>,
    pub(crate) guard: Option<Guard>,
}

/// Nanoseconds since the `EventStream` was built, in half the size of an `Instant`. Negative only under a
/// test's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(i64);

impl Moment {
    const NEVER: Self = Self(i64::MAX);

    fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

/// Saturates after 292 years.
fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

impl OpenStream {
    pub(crate) fn new(feed: Feed, streams: Arc<Streams>) -> Self {
        Self {
            feed,
            last: streams.moment(Instant::now()),
            streams,
            ends: Moment::NEVER,
            extras: None,
        }
    }

    /// Ends the stream at about this age, randomly up to a tenth earlier or later.
    pub(crate) fn max_age(mut self, age: Option<Duration>) -> Self {
        if let Some(age) = age {
            self.ends = self.last.after(age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        }
        self
    }

    /// Ends the stream after this time, unless it ends earlier.
    pub(crate) fn expires_in(mut self, time: Option<Duration>) -> Self {
        if let Some(time) = time {
            self.ends = self.ends.min(self.last.after(time));
        }
        self
    }

    pub(crate) fn with(mut self, extras: Extras) -> Self {
        self.extras = (!extras.is_empty()).then(|| Box::new(extras));
        self
    }

    /// A pace with this interval.
    pub(crate) fn pace(&self, interval: Duration) -> Pace {
        Pace::new(interval, self.streams.started)
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether the stream is parked with its last waker and was not woken since.
    pub(crate) fn is_waiting(&self) -> bool {
        self.feed.is_waiting()
    }

    /// Parks until the next frame, except for those that [`wakes_at`](Self::wakes_at) announces. Returns false if
    /// there is one already: then `waker` may not be woken.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        if self.paused_until().is_some() {
            return true;
        }
        match self.wait_for_snapshot(waker) {
            Some(waits) => waits,
            None => self.feed.wait(waker),
        }
    }

    /// Whether the stream waits for a snapshot.
    pub(crate) fn needs_snapshot(&self) -> bool {
        let extras = self.extras.as_ref();
        let snapshots = extras.and_then(|extras| extras.snapshots.as_ref());
        snapshots.is_some_and(Snapshots::is_pending) && self.paused_until().is_none()
    }

    /// Registers `waker` for the end of a running snapshot. Returns `None` if there is none, and `Some(false)` if
    /// it has ended.
    pub(crate) fn wait_for_snapshot(&mut self, waker: &Waker) -> Option<bool> {
        self.extras.as_mut()?.snapshots.as_mut()?.wait(waker)
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
        if self.ends != Moment::NEVER && self.is_over(clock()) {
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
            } => self.last = self.last.max(self.streams.moment(at)),
            Next::Empty => return self.idle(clock()),
            Next::Frame { last: None, .. } | Next::End => {}
        }
        next
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ends <= self.streams.moment(now) && !self.feed.has_ended()
    }

    /// Returns a keep-alive if one is due.
    fn idle(&mut self, now: Instant) -> Next {
        let now = self.streams.moment(now);
        if self.last.after(self.interval()) <= now {
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
        let until = self.streams.moment(until);
        if self.ends > until {
            let now = self.streams.moment(clock());
            let left = until.0.saturating_sub(now.0).max(0);
            self.ends = Moment(now.0 + fastrand::i64(0..=left));
        }
    }

    /// When a keep-alive or the end is due.
    pub(crate) fn idle_until(&self) -> Instant {
        let keep_alive = self.last.after(self.interval());
        self.streams.instant(self.ends.min(keep_alive))
    }

    /// When the stream must be polled although nothing wakes it.
    pub(crate) fn wakes_at(&self) -> Instant {
        let pace = self.extras.as_ref().and_then(|extras| extras.pace.as_ref());
        let resumes_at = pace.and_then(Pace::wakes_at);
        resumes_at.map_or(self.idle_until(), |at| at.min(self.idle_until()))
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

impl Extras {
    fn is_empty(&self) -> bool {
        let Self {
            pace,
            snapshots,
            unsubscribe,
            guard,
        } = self;
        pace.is_none() && snapshots.is_none() && unsubscribe.is_none() && guard.is_none()
    }

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
                permits: Arc::new(Semaphore::new(limits.concurrent_snapshots)),
                timeout: limits.snapshot_timeout,
            },
            started: Instant::now(),
            detached: AtomicUsize::new(0),
            no_detached: Notify::new(),
        }
    }

    fn moment(&self, at: Instant) -> Moment {
        match at.checked_duration_since(self.started) {
            Some(since) => Moment(nanos(since)),
            None => Moment(-nanos(self.started.saturating_duration_since(at))),
        }
    }

    fn instant(&self, Moment(nanos): Moment) -> Instant {
        let time = Duration::from_nanos(nanos.unsigned_abs());
        let at = match nanos < 0 {
            true => self.started.checked_sub(time),
            false => self.started.checked_add(time),
        };
        at.unwrap_or(self.started)
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
        assert_eq!(stream.wakes_at(), opened + stream.interval());
    }

    #[test]
    fn a_moment_converts_back_to_its_instant() {
        let streams = Streams::new(KeepAlive::new(), &Limits::new());
        let day = Duration::from_secs(86_400);
        let later = streams.started + 365 * day;
        let mut instants = vec![streams.started, later];
        instants.extend(streams.started.checked_sub(Duration::from_nanos(1)));
        for at in instants {
            assert_eq!(streams.instant(streams.moment(at)), at);
        }
        assert!(streams.moment(later) < Moment::NEVER);
        assert_eq!(Moment::NEVER.after(day), Moment::NEVER);
    }
}
