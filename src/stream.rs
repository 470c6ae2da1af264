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
    task::Waker,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// What one frame may have: enough for a burst of small events, little enough to keep for a slow client.
pub(crate) const FRAME: usize = 64 << 10;

/// How long a client waits before it reconnects from a stream that was ended on purpose: 1 to 5 seconds,
/// spread so that clients do not reconnect at once.
///
/// Browsers keep the time for later breaks of the connection, so it must never be near zero.
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

/// What all streams of an `EventStream` have in common.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) keep_alive: KeepAlive,
    started: Instant,
    /// How many the HTTP server knows nothing of.
    departed: AtomicUsize,
    all_ended: Notify,
}

/// Dropping it unsubscribes.
///
/// There may be a million of them, so its size matters.
#[derive(Debug)]
pub(crate) struct OpenStream {
    feed: Feed,
    streams: Arc<Streams>,
    /// When the last event was published, or a keep-alive sent, or the stream made: what the stream says
    /// of itself does not count.
    last: Moment,
    /// When the stream ends by itself.
    ends: Moment,
    /// Told or dropped with the stream, after its subscription. Few streams have any.
    _company: Option<Box<(Option<Presence>, Option<Guard>)>>,
}

/// Half the size of an `Instant`: nanoseconds since the `EventStream` was built, or before that where the
/// clock of a test says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(i64);

impl Moment {
    const NEVER: Self = Self(i64::MAX);

    fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

/// 292 years at the most.
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
            _company: None,
        }
    }

    /// Ends the stream at about this age, each at its own moment.
    pub(crate) fn max_age(mut self, age: Option<Duration>) -> Self {
        if let Some(age) = age {
            self.ends = self.last.after(age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        }
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

    /// What is to be sent now: events, a keep-alive, the word that the stream ends.
    ///
    /// With a waker it may wait at the same time for what follows, as a feed. The clock is read where
    /// there is no news, and always once the stream has an end.
    pub(crate) fn next(&mut self, waker: Option<&Waker>, clock: impl Fn() -> Instant) -> Next {
        if self.ends != Moment::NEVER && self.is_over(clock()) {
            self.feed.end();
            return Next::frame(sse::retry(reconnect_after()));
        }
        self.drain(&clock);
        let next = self.feed.next(FRAME, waker);
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

    /// Without news: a keep-alive if it is time for one.
    fn idle(&mut self, now: Instant) -> Next {
        let now = self.streams.moment(now);
        if self.last.after(self.interval()) <= now {
            self.last = now;
            return Next::frame(self.streams.keep_alive.frame().clone());
        }
        Next::Empty
    }

    /// While the hub drains, each stream picks its own time to end, also if it always has events to send.
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

    /// When there is something to send even without news.
    pub(crate) fn wakes_at(&self) -> Instant {
        let keep_alive = self.last.after(self.interval());
        self.streams.instant(self.ends.min(keep_alive))
    }

    /// How long it can take until there is something to send.
    pub(crate) fn interval(&self) -> Duration {
        self.streams.keep_alive.after()
    }

    /// The stream is no longer the HTTP server's: whoever shuts down must wait for it elsewhere, until
    /// this is dropped.
    pub(crate) fn depart(&self) -> Departed {
        self.streams.departed.fetch_add(1, SeqCst);
        Departed(self.streams.clone())
    }
}

impl Streams {
    pub(crate) fn new(keep_alive: KeepAlive) -> Self {
        Self {
            keep_alive,
            started: Instant::now(),
            departed: AtomicUsize::new(0),
            all_ended: Notify::new(),
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

    /// Waits until no stream is left that the HTTP server knows nothing of, or `limit` is over.
    pub(crate) async fn departed_have_ended(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.all_ended.notified();
            let is_over = self.departed.load(SeqCst) == 0;
            if is_over || timeout_at(deadline, ended).await.is_err() {
                return;
            }
        }
    }
}

/// A stream that the HTTP server knows nothing of, until it is dropped.
#[derive(Debug)]
pub(crate) struct Departed(Arc<Streams>);

impl Drop for Departed {
    fn drop(&mut self) {
        if self.0.departed.fetch_sub(1, SeqCst) == 1 {
            self.0.all_ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventStream, channel::Channels, sse::LastEventId};
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn what_is_replayed_counts_as_said_when_the_stream_opens() {
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

    #[test]
    fn a_moment_is_an_instant_again() {
        let streams = Streams::new(KeepAlive::new());
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
