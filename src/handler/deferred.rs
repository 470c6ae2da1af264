//! The body of a hold whose snapshot is taken while the body is sent.

use crate::{
    hub::Hub,
    stream::{Failure, Taken, Task},
};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// Yields the frame that `frame` makes of the snapshot.
///
/// If the snapshot fails, or a channel is closed meanwhile, the body breaks off: the head has the instruction to hold
/// the client, so the proxy must not take the response for complete.
pub(super) struct DeferredBody<F> {
    task: Option<Task>,
    hub: Arc<Hub>,
    frame: F,
}

impl<F> DeferredBody<F> {
    pub(super) fn new(task: Task, hub: Arc<Hub>, frame: F) -> Self {
        let task = Some(task);
        Self { task, hub, frame }
    }
}

impl<F> Body for DeferredBody<F>
where
    F: Fn(&Taken) -> Result<Bytes, Failure> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(task) = &mut self.task else {
            return Poll::Ready(None);
        };
        let taken = ready!(task.poll(cx.waker()));
        self.task = None;
        let frame = taken.and_then(|taken| (self.frame)(&taken));
        Poll::Ready(Some(frame.map(Frame::data).map_err(|failure| {
            failure.record(&self.hub);
            io::Error::other("the stream ends before its snapshot is complete")
        })))
    }
}
