//! A reader's entries as server-sent events: what every kind of stream sends, apart from keep-alives.

use crate::{
    channel::{Channel, Channels},
    hub::{Batch, ChannelLog, Gap, Hub, Read, Reader, Refused, Start},
    sse::{self, LastEventId},
};
use bytes::Bytes;
use std::{mem, sync::Arc, task::Waker};

#[derive(Debug)]
pub(crate) struct Feed {
    reader: Reader,
    opening: bool,
}

/// What a feed has to say next.
#[derive(Debug)]
pub(crate) enum Next {
    Frame {
        bytes: Bytes,
        /// Which channel the last event came on; none for an event of the stream itself.
        channel: Option<usize>,
    },
    /// Nothing for now.
    Empty,
    /// Nothing any more.
    End,
}

impl Feed {
    /// Subscribes to `channels`, from the position a client names, if it names one.
    pub(crate) fn subscribe(
        hub: &Arc<Hub>,
        channels: &Channels,
        last_event_id: Option<&str>,
    ) -> Result<Self, Refused> {
        let reader = hub.subscribe(channels, start(hub, last_event_id))?;
        let opening = false;
        Ok(Self { reader, opening })
    }

    /// Begins with `stream-open`.
    pub(crate) fn opened(mut self) -> Self {
        self.opening = true;
        self
    }

    /// What is ready, as one frame of about `limit` bytes at the most: one event at least.
    pub(crate) fn next(&mut self, limit: usize) -> Next {
        if mem::take(&mut self.opening) {
            return frame(sse::stream_open(self.id()));
        }
        match self.reader.read(limit) {
            Read::Batch(Batch { bytes, channel }) => Next::Frame {
                bytes,
                channel: Some(channel),
            },
            Read::Gap(Gap { channels, missed }) => {
                frame(sse::stream_reset(&channels, missed, self.id()))
            }
            Read::Empty => Next::Empty,
            Read::End => Next::End,
        }
    }

    /// Waits for more. False if there is more already: then `waker` may not be woken.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        self.reader.wait(waker)
    }

    pub(crate) fn channel(&self, index: usize) -> &Channel {
        self.reader.channel(index)
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        self.reader.hub()
    }

    pub(crate) fn logs(&self) -> impl ExactSizeIterator<Item = &Arc<ChannelLog>> {
        self.reader.logs()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.hub().is_closed()
    }

    /// The id with which a client gets what follows.
    fn id(&self) -> Option<LastEventId> {
        let hub = self.reader.hub();
        let id = || LastEventId::new(hub.epoch(), self.reader.position());
        hub.keeps_history().then(id)
    }
}

fn frame(bytes: Bytes) -> Next {
    Next::Frame {
        bytes,
        channel: None,
    }
}

/// Without history there are no positions: whatever a client names is its own affair.
fn start(hub: &Hub, last_event_id: Option<&str>) -> Start {
    match last_event_id.filter(|_| hub.keeps_history()) {
        None => Start::Live,
        Some(text) => match text.parse::<LastEventId>() {
            Ok(id) if id.epoch() == hub.epoch() => Start::After(id.sequence()),
            _ => Start::Unknown,
        },
    }
}
