//! A response body that polls an [`OpenStream`].

use crate::{net::Opening, stream::Next, stream::OpenStream};
use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::{
    convert::Infallible,
    future::Future,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};
use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

pin_project! {
    /// Dropping it unsubscribes.
    #[derive(Debug)]
    pub(super) struct EventBody {
        owner: Owner,
        // Whether the stream may be detached once its opening is written.
        may_detach: bool,
        // Whether the stream may have another frame to yield without a wake.
        more: bool,
        #[pin]
        timer: StreamTimer,
    }

    impl PinnedDrop for EventBody {
        fn drop(this: Pin<&mut Self>) {
            if let Owner::Detaching { opening, .. } = this.project().owner {
                drop(opening.take());
            }
        }
    }
}

/// Owner of the stream.
#[derive(Debug)]
enum Owner {
    Body(OpenStream),
    /// In the hand-off table, until a socket or a later poll takes the stream.
    Detaching {
        opening: Opening,
        polled: bool,
    },
    /// Placeholder while the stream is moved, and the state after its end.
    Empty,
}

impl EventBody {
    /// `may_detach`: whether the request allows a driver to write the rest of the response.
    pub(super) fn new(stream: OpenStream, may_detach: bool) -> Self {
        Self {
            owner: Owner::Body(stream),
            may_detach,
            more: true,
            timer: StreamTimer::default(),
        }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.as_mut().project();
        let frame = match this.owner {
            Owner::Body(_) if mem::take(this.may_detach) => Some(this.owner.open(cx)),
            Owner::Detaching { opening, polled } => {
                if !mem::replace(polled, true) {
                    // hyper polls again before it writes. Either the write takes the stream, or a poll after it
                    // does.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                *this.owner = opening.take().map_or(Owner::Empty, Owner::Body);
                ready!(self.poll_stream(cx))
            }
            Owner::Body(_) => ready!(self.poll_stream(cx)),
            Owner::Empty => None,
        };
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Owner {
    /// Yields the opening of a new stream. A socket that writes exactly these bytes may take the stream.
    fn open(&mut self, cx: &mut Context<'_>) -> Bytes {
        let Self::Body(mut stream) = mem::replace(self, Self::Empty) else {
            return Bytes::new();
        };
        let bytes = match stream.next(None, Instant::now) {
            Next::Frame { bytes, .. } => bytes,
            Next::Empty | Next::End => Bytes::new(),
        };
        let Some(opening) = Opening::new(&bytes) else {
            *self = Self::Body(stream);
            return bytes;
        };
        let bytes = opening.offer(stream, cx.waker());
        *self = Self::Detaching {
            opening,
            polled: false,
        };
        bytes
    }
}

impl EventBody {
    fn poll_stream(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut this = self.project();
        let Owner::Body(stream) = this.owner else {
            return Poll::Ready(None);
        };
        loop {
            let waker = this.timer.wakes(cx.waker()).then(|| cx.waker());
            // Spurious poll: the waker is still registered.
            if waker.is_some() && stream.is_waiting() {
                return Poll::Pending;
            }
            if mem::replace(this.more, true) {
                match stream.next(waker, Instant::now) {
                    Next::Frame { bytes, more, .. } => {
                        *this.more = more;
                        return Poll::Ready(Some(bytes));
                    }
                    Next::End => {
                        *this.owner = Owner::Empty;
                        return Poll::Ready(None);
                    }
                    Next::Empty => {}
                }
            }
            match stream.wait(cx.waker()) {
                true => ready!(this.timer.as_mut().poll_at(stream.wakes_at(), cx)),
                // The feed may hold a waker that differs from the one of the timer.
                false if waker.is_none() => this.timer.as_mut().forget(),
                false => {}
            }
        }
    }
}

pin_project! {
    /// The timer for [`OpenStream::wakes_at`]. Events do not reset it: it is reset only when it fires too early, or
    /// would fire too late.
    #[derive(Debug, Default)]
    struct StreamTimer {
        // The waker that the running timer wakes.
        waker: Option<Waker>,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl StreamTimer {
    /// Whether the timer is running and wakes the same task as `waker`.
    fn wakes(&self, waker: &Waker) -> bool {
        let is_set = |timer: &Sleep| !timer.is_elapsed();
        let is_same = |ours: &Waker| ours.will_wake(waker);
        self.waker.as_ref().is_some_and(is_same) && self.timer.as_ref().is_some_and(is_set)
    }

    /// Forgets the waker, so that the next poll registers again.
    fn forget(self: Pin<&mut Self>) {
        *self.project().waker = None;
    }

    /// Ready at the time `at`, or earlier if the timer was set for an earlier time.
    fn poll_at(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let is_early = |timer: &Sleep| timer.deadline() <= at;
        if self.wakes(cx.waker()) && self.timer.as_ref().is_some_and(is_early) {
            return Poll::Pending;
        }
        let mut this = self.project();
        match this.timer.as_mut().as_pin_mut() {
            Some(timer) => timer.reset(at),
            None => this.timer.set(Some(sleep_until(at))),
        }
        let Some(timer) = this.timer.as_pin_mut() else {
            return Poll::Pending;
        };
        *this.waker = Some(cx.waker().clone());
        // `Pending` must mean that the timer wakes the task, not that the coop budget is exhausted.
        pin!(unconstrained(timer)).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Event, EventStream, LagPolicy,
        channel::Channels,
        hub::tests::{Count, waker},
        sse::Opening,
        stream::Feed,
    };
    use std::{sync::Arc, time::Duration};
    use tokio::time::advance;

    /// A task that polls a body, with the number of wakes since the last call of `woken`.
    struct Poller(Arc<Count>, Waker);

    impl Poller {
        fn new() -> Self {
            let (count, waker) = waker();
            Self(count, waker)
        }

        fn woken(&self) -> usize {
            self.0.take()
        }

        /// Polls once. Returns the frame, if one is ready.
        fn poll(&self, body: &mut Pin<Box<EventBody>>) -> Option<String> {
            match body.as_mut().poll_frame(&mut Context::from_waker(&self.1)) {
                Poll::Pending => None,
                Poll::Ready(frame) => {
                    let bytes = frame.unwrap().unwrap().into_data().unwrap();
                    Some(String::from_utf8(bytes.to_vec()).unwrap())
                }
            }
        }
    }

    /// A body that was not polled yet.
    fn new_body(es: &EventStream, may_detach: bool) -> Pin<Box<EventBody>> {
        let channels = Channels::collect(["a"], 1).unwrap();
        let feed = Feed::subscribe(&es.core().hub, &channels, None).unwrap();
        let feed = feed.opened(Opening::default(), LagPolicy::default());
        let stream = OpenStream::new(feed, es.core().streams.clone());
        Box::pin(EventBody::new(stream, may_detach))
    }

    /// A body that has sent its opening and waits.
    fn body(es: &EventStream, poller: &Poller) -> Pin<Box<EventBody>> {
        let mut body = new_body(es, false);
        assert!(poller.poll(&mut body).unwrap().contains("stream-open"));
        assert_eq!(poller.poll(&mut body), None);
        body
    }

    async fn publish(es: &EventStream, text: &str) {
        let event = Event::text("message", text).unwrap();
        es.publish_event("a", event).await.unwrap();
    }

    #[tokio::test]
    async fn a_poll_after_a_wake_reads_the_feed() {
        let (es, poller) = (EventStream::new(), Poller::new());
        let mut body = body(&es, &poller);
        for text in ["1", "2", "3"] {
            publish(&es, text).await;
            assert_eq!(poller.woken(), 1);
            assert!(poller.poll(&mut body).unwrap().contains(text));
        }
        for _ in 0..3 {
            assert_eq!(poller.poll(&mut body), None);
        }
        publish(&es, "4").await;
        assert_eq!(poller.woken(), 1);
    }

    #[tokio::test]
    async fn a_body_keeps_its_stream_if_no_socket_writes_the_opening() {
        let (es, poller) = (EventStream::new(), Poller::new());
        let mut body = new_body(&es, true);
        assert!(poller.poll(&mut body).unwrap().contains("stream-open"));
        publish(&es, "1").await;
        assert_eq!((poller.poll(&mut body), poller.woken()), (None, 1));
        assert!(poller.poll(&mut body).unwrap().contains("data: 1"));
        assert_eq!((poller.poll(&mut body), poller.woken()), (None, 0));
        publish(&es, "2").await;
        assert_eq!(poller.woken(), 1);
        assert!(poller.poll(&mut body).unwrap().contains("data: 2"));
    }

    #[tokio::test]
    async fn a_body_dropped_with_its_opening_in_flight_drops_its_stream() {
        let (es, poller) = (EventStream::new(), Poller::new());
        for polls in 1..=3 {
            let mut body = new_body(&es, true);
            for _ in 0..polls {
                poller.poll(&mut body);
            }
            assert_eq!(es.stats().subscriptions, 1);
            drop(body);
            assert_eq!(es.stats().subscriptions, 0);
        }
    }

    #[tokio::test]
    async fn the_last_poller_is_woken() {
        let (es, one, other) = (EventStream::new(), Poller::new(), Poller::new());
        let mut body = body(&es, &one);
        publish(&es, "1").await;
        assert!(one.poll(&mut body).is_some());
        assert_eq!((other.poll(&mut body), one.woken()), (None, 1));
        publish(&es, "2").await;
        assert_eq!((one.woken(), other.woken()), (0, 1));
        assert!(other.poll(&mut body).is_some());
        assert_eq!((one.poll(&mut body), other.poll(&mut body)), (None, None));
        publish(&es, "3").await;
        assert_eq!((one.woken(), other.woken()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_set_before_an_event_is_reset_when_it_fires() {
        let (es, poller) = (EventStream::new(), Poller::new());
        let mut body = body(&es, &poller);
        let (five, fifteen) = (Duration::from_secs(5), Duration::from_secs(15));
        advance(five).await;
        publish(&es, "1").await;
        assert!(poller.poll(&mut body).is_some());
        assert_eq!((poller.poll(&mut body), poller.woken()), (None, 1));
        advance(fifteen).await;
        assert_eq!((poller.woken(), poller.poll(&mut body)), (1, None));
        advance(five).await;
        assert_eq!(poller.woken(), 1);
        let keep_alive = poller.poll(&mut body).unwrap();
        assert_eq!(keep_alive, "event: keep-alive\ndata: \n\n");
    }

    /// A tokio timer fires at whole milliseconds, so the timer of the first task may fire late. A late timer
    /// must not be taken for a spurious poll.
    #[tokio::test(start_paused = true)]
    async fn the_last_poller_is_woken_while_a_timer_is_late() {
        advance(Duration::from_micros(500)).await;
        let (es, one, other) = (EventStream::new(), Poller::new(), Poller::new());
        let mut body = body(&es, &one);
        publish(&es, "1").await;
        assert!(one.poll(&mut body).is_some());
        advance(Duration::from_micros(20_000_100)).await;
        es.core().hub.drain(Instant::now() + Duration::from_secs(9));
        assert!(other.poll(&mut body).unwrap().contains("keep-alive"));
        assert_eq!((one.poll(&mut body), one.woken()), (None, 2));
        es.core().hub.close();
        assert_eq!((one.woken(), other.woken()), (1, 0));
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn a_body_is_small() {
        let size = size_of::<EventBody>();
        assert!(size <= 240, "each of a million clients takes {size} bytes");
    }
}
