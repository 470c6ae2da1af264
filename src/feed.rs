//! A reader's entries as server-sent events: what every kind of stream sends, apart from keep-alives.

use crate::{
    LagPolicy,
    channel::{Channel, Channels},
    hub::{Batch, ChannelLog, Gap, Hub, Read, Reader, Refused, Start},
    measure,
    sse::{self, LastEventId, Opening},
    trace,
};
use bytes::Bytes;
use std::{sync::Arc, task::Waker};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Feed {
    reader: Reader,
    opening: Option<Opening>,
    lag_policy: LagPolicy,
    ended: bool,
}

/// What a feed has to say next.
#[derive(Debug)]
pub(crate) enum Next {
    Frame {
        bytes: Bytes,
        /// Which channel the last event came on, and when it was published; nothing for an event of
        /// the stream itself.
        last: Option<(usize, Instant)>,
        /// Whether there may be more to say before there is news.
        more: bool,
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
        let (reader, replayed) = hub.subscribe(channels, start(hub, last_event_id))?;
        trace::event!(debug, channels = ?&**channels, replayed, "subscribed");
        measure::subscribed();
        measure::replayed(replayed);
        Ok(Self {
            reader,
            opening: None,
            lag_policy: LagPolicy::Continue,
            ended: false,
        })
    }

    /// Begins with an opening, and follows the policy when it falls behind.
    pub(crate) fn opened(mut self, opening: Opening, lag_policy: LagPolicy) -> Self {
        self.opening = Some(opening);
        self.lag_policy = lag_policy;
        self
    }

    /// What is ready, as one frame of about `limit` bytes at the most: one event at least.
    ///
    /// With a waker it may wait at the same time for what follows, which [`Self::is_waiting`] tells.
    pub(crate) fn next(&mut self, limit: usize, waker: Option<&Waker>) -> Next {
        if let Some(opening) = self.opening.take() {
            return Next::Frame {
                bytes: opening.frame(self.id()),
                last: None,
                // What there is already, it finds when it is about to wait.
                more: false,
            };
        }
        if self.ended {
            return Next::End;
        }
        match self.reader.read(limit, waker) {
            Read::Batch(Batch {
                bytes,
                channel,
                at,
                more,
            }) => Next::Frame {
                bytes,
                last: Some((channel, at)),
                more,
            },
            Read::Gap(gap) => self.tell(&gap),
            Read::Empty => Next::Empty,
            Read::End => Next::End,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing more is said.
    pub(crate) fn end(&mut self) {
        (self.opening, self.ended) = (None, true);
    }

    /// Tells of events that are gone. If that is because the client is too slow, it may be the end.
    fn tell(&mut self, gap: &Gap) -> Next {
        let Gap { channels, missed } = gap;
        let is_lag = missed.is_some();
        measure::reset(*missed);
        trace::event!(info, ?missed, channels = channels.len(), "stream reset");
        self.ended = is_lag && self.lag_policy == LagPolicy::Disconnect;
        if self.ended && self.hub().keeps_history() {
            // It comes back with its last id, and is told then.
            return Next::End;
        }
        Next::frame(sse::stream_reset(channels, *missed, self.id()))
    }

    /// Whether it waits, with the waker it was last given, and has not been woken since.
    pub(crate) fn is_waiting(&self) -> bool {
        self.reader.is_waiting()
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

    /// The id with which a client gets what follows. None while it is to be told of a gap: if its
    /// connection breaks before that, it must come back with the id it had.
    fn id(&self) -> Option<LastEventId> {
        let hub = self.reader.hub();
        let id = || LastEventId::new(hub.epoch(), self.reader.position());
        (hub.keeps_history() && !self.reader.has_gap()).then(id)
    }
}

impl Next {
    /// Something that the stream says of itself.
    pub(crate) fn frame(bytes: Bytes) -> Self {
        Self::Frame {
            bytes,
            last: None,
            more: true,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        measure::unsubscribed();
        trace::event!(
            debug,
            channels = ?self.logs().map(|log| log.name()).collect::<Vec<_>>(),
            "unsubscribed"
        );
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
