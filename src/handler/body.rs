//! A response body that reads a feed, and says something when that is silent.

use crate::{feed::Next, net::Handoff, stream::OpenStream};
use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::{
    convert::Infallible,
    future::Future,
    mem,
    pin::{Pin, pin},
    sync::Arc,
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
            if let Owner::Leaving(handoff) = this.project().owner {
                handoff.cancel();
            }
        }
    }
}

/// Who has the stream.
#[derive(Debug)]
enum Owner {
    Body(OpenStream),
    /// The socket, once the HTTP server has sent the opening.
    Leaving(Arc<Handoff>),
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
            Owner::Leaving(handoff) => {
                let stream = ready!(handoff.poll_returned(cx));
                *this.owner = Owner::Body(stream);
                ready!(self.poll_stream(cx))
            }
            Owner::Body(_) => ready!(self.poll_stream(cx)),
            Owner::Gone => None,
        };
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Owner {
    /// The opening of a new stream. If the socket can be found, it is given the rest.
    fn open(&mut self, cx: &mut Context<'_>) -> Bytes {
        let Self::Body(mut stream) = mem::replace(self, Self::Gone) else {
            return Bytes::new();
        };
        let Next::Frame { bytes, .. } = stream.next(Instant::now) else {
            *self = Self::Body(stream);
            return Bytes::new();
        };
        *self = match Handoff::of_this_task() {
            Some(handoff) => match handoff.arm(stream, &bytes, cx.waker()) {
                None => Self::Leaving(handoff),
                Some(stream) => Self::Body(stream),
            },
            None => Self::Body(stream),
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
            if mem::replace(this.more, true) {
                match stream.next(Instant::now) {
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
            let now = Instant::now();
            if stream.feed_mut().wait(cx.waker()) {
                ready!(this.alarm.as_mut().poll_at(stream.wakes_at(now), now, cx));
            }
        }
    }
}

pin_project! {
    /// A timer that is not set anew with each event, but when it goes off too early, or would too late.
    ///
    /// Nor is it polled with each event, since it lies elsewhere in memory than all the rest.
    #[derive(Debug, Default)]
    struct Alarm {
        // When it goes off, and whom it wakes.
        set: Option<(Instant, Waker)>,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl Alarm {
    /// Ready at the time `at`.
    fn poll_at(self: Pin<&mut Self>, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let is_set = |(set, waker): &(Instant, Waker)| {
            now < *set && *set <= at && waker.will_wake(cx.waker())
        };
        if this.set.as_ref().is_some_and(is_set) {
            return Poll::Pending;
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(at)));
        }
        let Some(mut timer) = this.timer.as_pin_mut() else {
            return Poll::Pending;
        };
        timer.as_mut().reset(at);
        *this.set = Some((at, cx.waker().clone()));
        // Pending is to mean that the timer wakes us, not that our turn is over.
        pin!(unconstrained(timer)).poll(cx)
    }
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_small() {
        let size = size_of::<EventBody>();
        assert!(size <= 256, "each of a million clients has {size} bytes");
    }
}
