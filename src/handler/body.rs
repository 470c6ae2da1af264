//! A response body that reads a feed, and says something when that is silent.

use crate::{feed::Next, net::Opening, stream::OpenStream};
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
        // Whether the stream may leave the HTTP server once its opening is sent.
        may_leave: bool,
        // Whether there may be more to say before there is news.
        more: bool,
        #[pin]
        alarm: Alarm,
    }

    impl PinnedDrop for EventBody {
        fn drop(this: Pin<&mut Self>) {
            if let Owner::Leaving { opening, .. } = this.project().owner {
                drop(opening.take());
            }
        }
    }
}

/// Owner of the stream.
#[derive(Debug)]
enum Owner {
    Body(OpenStream),
    /// The table of openings in flight, until a socket or a later poll takes it.
    Leaving {
        opening: Opening,
        polled: bool,
    },
    /// Nobody: while it changes hands, and after the end.
    Gone,
}

impl EventBody {
    /// `may_leave`: the request is such that a driver could go on with the response.
    pub(super) fn new(stream: OpenStream, may_leave: bool) -> Self {
        Self {
            owner: Owner::Body(stream),
            may_leave,
            more: true,
            alarm: Alarm::default(),
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
            Owner::Body(_) if mem::take(this.may_leave) => Some(this.owner.open(cx)),
            Owner::Leaving { opening, polled } => {
                if !mem::replace(polled, true) {
                    // hyper polls again before it writes. The write takes the stream, or the next poll does.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                *this.owner = opening.take().map_or(Owner::Gone, Owner::Body);
                ready!(self.poll_stream(cx))
            }
            Owner::Body(_) => ready!(self.poll_stream(cx)),
            Owner::Gone => None,
        };
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Owner {
    /// The opening of a new stream. A socket that writes exactly this may take the rest.
    fn open(&mut self, cx: &mut Context<'_>) -> Bytes {
        let Self::Body(mut stream) = mem::replace(self, Self::Gone) else {
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
        *self = Self::Leaving {
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
            // Who is polled again without having been woken, as a server does, has nothing to look for.
            let waker = this.alarm.is_for(cx.waker()).then(|| cx.waker());
            if waker.is_some() && stream.feed().is_waiting() {
                return Poll::Pending;
            }
            if mem::replace(this.more, true) {
                match stream.next(waker, Instant::now) {
                    Next::Frame { bytes, more, .. } => {
                        *this.more = more;
                        return Poll::Ready(Some(bytes));
                    }
                    Next::End => {
                        *this.owner = Owner::Gone;
                        return Poll::Ready(None);
                    }
                    Next::Empty => {}
                }
            }
            match stream.feed_mut().wait(cx.waker()) {
                true => ready!(this.alarm.as_mut().poll_at(stream.wakes_at(), cx)),
                // It may have sat down with a waker that the alarm does not know.
                false if waker.is_none() => this.alarm.as_mut().forget(),
                false => {}
            }
        }
    }
}

pin_project! {
    /// A timer that is not set anew with each event, but when it goes off too early, or would too late.
    #[derive(Debug, Default)]
    struct Alarm {
        // Whom it wakes.
        waker: Option<Waker>,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl Alarm {
    /// Whether it is set, and wakes the same as `waker`.
    fn is_for(&self, waker: &Waker) -> bool {
        let is_set = |timer: &Sleep| !timer.is_elapsed();
        let is_same = |ours: &Waker| ours.will_wake(waker);
        self.waker.as_ref().is_some_and(is_same) && self.timer.as_ref().is_some_and(is_set)
    }

    /// It is not set for anybody.
    fn forget(self: Pin<&mut Self>) {
        *self.project().waker = None;
    }

    /// Ready at the time `at`, or when it was set to go off before.
    fn poll_at(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let is_early = |timer: &Sleep| timer.deadline() <= at;
        if self.is_for(cx.waker()) && self.timer.as_ref().is_some_and(is_early) {
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
        // Pending is to mean that the timer wakes us, not that our turn is over.
        pin!(unconstrained(timer)).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Event, EventStream, LagPolicy,
        channel::Channels,
        feed::Feed,
        hub::tests::{Count, waker},
        sse::Opening,
    };
    use std::{sync::Arc, time::Duration};
    use tokio::time::advance;

    /// Who polls a body, and counts how often it was woken since it last looked.
    struct Poller(Arc<Count>, Waker);

    impl Poller {
        fn new() -> Self {
            let (count, waker) = waker();
            Self(count, waker)
        }

        fn woken(&self) -> usize {
            self.0.take()
        }

        /// The next frame, if there is one.
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
    fn new_body(es: &EventStream, may_leave: bool) -> Pin<Box<EventBody>> {
        let channels = Channels::collect(["a"], 1).unwrap();
        let feed = Feed::subscribe(&es.inner().hub, &channels, None).unwrap();
        let feed = feed.opened(Opening::default(), LagPolicy::default());
        let stream = OpenStream::new(feed, es.inner().streams.clone());
        Box::pin(EventBody::new(stream, may_leave))
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
    async fn a_poll_that_comes_after_a_wake_looks_again() {
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
    async fn a_body_whose_opening_no_socket_wrote_goes_on() {
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
    async fn a_body_that_is_dropped_with_its_opening_in_flight_drops_its_stream() {
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
    async fn whoever_polls_last_is_woken() {
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
    async fn a_timer_that_was_set_before_an_event_is_set_anew_when_it_goes_off() {
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

    /// The timer of who waited is late, as it counts whole milliseconds: it must not be taken for a sign
    /// that nothing has happened.
    #[tokio::test(start_paused = true)]
    async fn whoever_polls_last_is_woken_while_a_timer_is_late() {
        advance(Duration::from_micros(500)).await;
        let (es, one, other) = (EventStream::new(), Poller::new(), Poller::new());
        let mut body = body(&es, &one);
        publish(&es, "1").await;
        assert!(one.poll(&mut body).is_some());
        advance(Duration::from_micros(20_000_100)).await;
        es.inner()
            .hub
            .drain(Instant::now() + Duration::from_secs(9));
        assert!(other.poll(&mut body).unwrap().contains("keep-alive"));
        assert_eq!((one.poll(&mut body), one.woken()), (None, 2));
        es.inner().hub.close();
        assert_eq!((one.woken(), other.woken()), (1, 0));
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn a_body_is_small() {
        let size = size_of::<EventBody>();
        assert!(size <= 240, "each of a million clients has {size} bytes");
    }
}
