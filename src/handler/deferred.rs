//! The body of a hold whose snapshot is taken while the body is sent.

use super::{held::Held, options::Options};
use crate::stream::{Failure, Taken, Task};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Most bytes of events that the body has after the snapshot.
const LIMIT: usize = 1 << 20;

/// Yields one frame: the opening, the snapshot, and the events between its position and the hold's.
///
/// If the snapshot fails, or a channel is closed meanwhile, the body breaks off: the head has the instruction to hold
/// the client, so the proxy must not take the response for complete.
pub(super) struct DeferredBody {
    held: Held,
    options: Options,
    task: Option<Task>,
}

impl DeferredBody {
    pub(super) fn new(held: Held, options: Options, task: Task) -> Self {
        Self {
            held,
            options,
            task: Some(task),
        }
    }

    fn frame(&self, taken: &Taken) -> Result<Bytes, Failure> {
        let core = self.held.event_stream.core();
        let mut bytes = BytesMut::from(&core.opening.frame(None)[..]);
        bytes.extend_from_slice(&taken.bytes);
        let (held_at, channels) = (self.held.hold.position, &self.held.channels);
        if taken.at < held_at {
            let wanted = channels.iter().flat_map(|channels| channels.iter());
            let wanted = wanted.map(|channel| (channel.clone(), Some(taken.at)));
            let recall = core
                .hub
                .recall_until(&wanted.collect::<Vec<_>>(), LIMIT, held_at);
            if recall.more || !recall.gone.is_empty() {
                return Err(Failure::Late);
            }
            bytes.extend_from_slice(&recall.bytes);
        }
        if self.held.is_over(&self.options) {
            return Err(Failure::Closed);
        }
        core.hub.observer().snapshot("sent");
        self.held.call_hook();
        Ok(bytes.freeze())
    }
}

impl Body for DeferredBody {
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
        let frame = taken.and_then(|taken| self.frame(&taken));
        Poll::Ready(Some(frame.map(Frame::data).map_err(|failure| {
            failure.record(&self.held.event_stream.core().hub);
            io::Error::other("the stream ends before its snapshot is complete")
        })))
    }
}
