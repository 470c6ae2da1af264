//! A response body that reads a feed, and says something when that is silent.

use crate::{
    KeepAlive,
    feed::{Feed, Next},
};
use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::future::Future as _;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep};

/// What one frame may have: enough for a burst of small events, little enough to keep for a slow client.
const FRAME: usize = 64 << 10;

pin_project! {
    /// Dropping it unsubscribes.
    #[derive(Debug)]
    pub(super) struct EventBody {
        feed: Feed,
        keep_alive: KeepAlive,
        last: Instant,
        #[pin]
        timer: Sleep,
    }
}

impl EventBody {
    pub(super) fn new(feed: Feed, keep_alive: KeepAlive) -> Self {
        Self {
            feed,
            last: Instant::now(),
            timer: sleep(keep_alive.after()),
            keep_alive,
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
        loop {
            match this.feed.next(FRAME) {
                Next::Frame { bytes, .. } => {
                    *this.last = Instant::now();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Next::End => return Poll::Ready(None),
                Next::Empty if this.feed.wait(cx.waker()) => break,
                Next::Empty => {}
            }
        }
        let frame = ready!(self.poll_keep_alive(cx));
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
}

impl EventBody {
    /// The timer is not set anew with each event: when it fires, it looks at when the last one was.
    fn poll_keep_alive(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bytes> {
        let mut this = self.project();
        loop {
            ready!(this.timer.as_mut().poll(cx));
            let (now, interval) = (Instant::now(), this.keep_alive.after());
            let idle = now.saturating_duration_since(*this.last) >= interval;
            if idle {
                *this.last = now;
            }
            this.timer.as_mut().reset(*this.last + interval);
            if idle {
                return Poll::Ready(this.keep_alive.frame().clone());
            }
        }
    }
}
