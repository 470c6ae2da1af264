//! A response body that reads a feed, and says something when that is silent.

use crate::{feed::Next, net::Handoff, stream::OpenStream};
use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::{
    convert::Infallible,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// Dropping it unsubscribes.
    #[derive(Debug)]
    pub(super) struct EventBody {
        owner: Owner,
        #[pin]
        timer: Option<Sleep>,
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
    /// This body; nothing has been sent. It may leave the HTTP server after the opening.
    New(OpenStream),
    /// This body, for good.
    Body(OpenStream),
    /// The socket, once the HTTP server has sent the opening.
    Leaving(Arc<Handoff>),
    /// Nobody: while it changes hands, and after the end.
    Gone,
}

impl EventBody {
    /// `may_leave`: the request is such that a driver could go on with the response.
    pub(super) fn new(stream: OpenStream, may_leave: bool) -> Self {
        let owner = match may_leave {
            true => Owner::New(stream),
            false => Owner::Body(stream),
        };
        let timer = None;
        Self { owner, timer }
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
            Owner::New(_) => Some(this.owner.open(cx)),
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
        let Self::New(mut stream) = mem::replace(self, Self::Gone) else {
            return Bytes::new();
        };
        let Next::Frame { bytes, .. } = stream.next(Instant::now()) else {
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
            match stream.next(Instant::now()) {
                Next::Frame { bytes, .. } => return Poll::Ready(Some(bytes)),
                Next::End => {
                    *this.owner = Owner::Gone;
                    return Poll::Ready(None);
                }
                Next::Empty if stream.feed_mut().wait(cx.waker()) => {
                    ready!(poll_until(this.timer.as_mut(), stream.wakes_at(), cx));
                }
                Next::Empty => {}
            }
        }
    }
}

/// Ready at the time `at`. The timer is not set anew with each event, but when it fires too early, or
/// would fire too late.
fn poll_until(mut timer: Pin<&mut Option<Sleep>>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match timer.as_mut().as_pin_mut() {
            None => timer.set(Some(sleep_until(at))),
            Some(mut sleep) => {
                if sleep.deadline() > at {
                    sleep.as_mut().reset(at);
                }
                ready!(sleep.as_mut().poll(cx));
                if at <= Instant::now() {
                    return Poll::Ready(());
                }
                sleep.reset(at);
            }
        }
    }
}
