//! The body of a hold whose snapshot is taken while the body is sent.

use crate::{
    Channel,
    channel::Channels,
    core::Core,
    hub::Hub,
    stream::{Failure, Taken, Task},
};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// Most bytes of events that the body has after the snapshot.
const LIMIT: usize = 1 << 20;

/// Yields one frame: the opening, the snapshot, and the events between its position and the hold's.
///
/// If the snapshot fails, the body breaks off: the head has the instruction to hold the client, so the proxy must not
/// take the response for complete.
pub(super) struct DeferredBody {
    opening: Bytes,
    hub: Arc<Hub>,
    channels: Vec<Channel>,
    /// The position of the hold.
    held_at: u64,
    task: Option<Task>,
}

impl DeferredBody {
    /// The position of the hold is not after the hub's.
    pub(super) fn new(task: Task, core: &Core, channels: &Channels) -> Self {
        Self {
            opening: core.opening.frame(None),
            hub: core.hub.clone(),
            channels: channels.to_vec(),
            held_at: core.hub.sequence(),
            task: Some(task),
        }
    }

    fn frame(&self, taken: &Taken) -> Result<Bytes, Failure> {
        let mut bytes = BytesMut::from(&self.opening[..]);
        bytes.extend_from_slice(&taken.bytes);
        if taken.at < self.held_at {
            let wanted = self.channels.iter().cloned();
            let wanted: Vec<_> = wanted.map(|channel| (channel, Some(taken.at))).collect();
            let recall = self.hub.recall(&wanted, LIMIT);
            if recall.more || !recall.gone.is_empty() {
                return Err(Failure::Late);
            }
            bytes.extend_from_slice(&recall.bytes);
        }
        self.hub.observer().snapshot("sent");
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
            failure.record(&self.hub);
            io::Error::other("the snapshot of a stream failed")
        })))
    }
}
