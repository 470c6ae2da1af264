//! A reader's entries as server-sent events. Every kind of stream reads a feed and adds only keep-alives.

use crate::{
    LagPolicy,
    channel::{Channel, Channels},
    hub::{Batch, ChannelLog, Gap, Hub, Read, Reader, Refused, Start},
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

/// Result of [`Feed::next`].
#[derive(Debug)]
pub(crate) enum Next {
    Frame {
        bytes: Bytes,
        /// Channel index and publish time of the last event. `None` for a frame of the stream itself.
        last: Option<(usize, Instant)>,
        /// Whether the next call may return anything but [`Next::Empty`].
        more: bool,
    },
    /// No frame for now.
    Empty,
    /// No frame will follow.
    End,
}

impl Feed {
    /// Subscribes to `channels` from the position in `last_event_id`, or from the next event without one.
    pub(crate) fn subscribe(
        hub: &Arc<Hub>,
        channels: &Channels,
        last_event_id: Option<&str>,
    ) -> Result<Self, Refused> {
        Self::subscribe_at(hub, channels, start(hub, last_event_id))
    }

    pub(crate) fn subscribe_at(
        hub: &Arc<Hub>,
        channels: &Channels,
        start: Start,
    ) -> Result<Self, Refused> {
        let (reader, replayed) = hub.subscribe(channels, start)?;
        trace::event!(debug, channels = ?&**channels, replayed, "subscribed");
        let _ = replayed;
        Ok(Self {
            reader,
            opening: None,
            lag_policy: LagPolicy::Continue,
            ended: false,
        })
    }

    /// Sets the opening frame and the policy for lag.
    pub(crate) fn opened(mut self, opening: Opening, lag_policy: LagPolicy) -> Self {
        self.opening = Some(opening);
        self.lag_policy = lag_policy;
        self
    }

    /// Returns the available events as one frame of at most `limit` bytes, but at least one event.
    ///
    /// With a waker, the feed may also park after the last event: [`Self::is_waiting`] is then true.
    pub(crate) fn next(&mut self, limit: usize, waker: Option<&Waker>) -> Next {
        if let Some(opening) = self.opening.take() {
            return Next::Frame {
                bytes: opening.frame(self.id()),
                last: None,
                // `wait` finds events that are available already.
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
            Read::Gap(gap) => self.reset(&gap),
            Read::Empty => Next::Empty,
            Read::End => Next::End,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Drops the opening. Later calls of [`Self::next`] return [`Next::End`].
    pub(crate) fn end(&mut self) {
        (self.opening, self.ended) = (None, true);
    }

    /// Reports missed events by `stream-reset`. Lag may also end the feed, depending on the policy.
    fn reset(&mut self, gap: &Gap) -> Next {
        let Gap { channels, missed } = gap;
        let is_lag = missed.is_some();
        trace::event!(info, ?missed, channels = channels.len(), "stream reset");
        self.ended = is_lag && self.lag_policy == LagPolicy::Disconnect;
        if self.ended && self.hub().keeps_history() {
            // The client reconnects with its last id and gets the `stream-reset` then.
            return Next::End;
        }
        Next::frame(sse::stream_reset(channels, *missed, self.id()))
    }

    /// Whether the feed is parked with its last waker and was not woken since.
    pub(crate) fn is_waiting(&self) -> bool {
        self.reader.is_waiting()
    }

    /// Parks until the next event. Returns false if there is one already: then `waker` may not be woken.
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

    /// The id from which a client resumes after this feed's position.
    ///
    /// `None` before a gap was reported: a client that disconnects before must resume from its previous id.
    fn id(&self) -> Option<LastEventId> {
        let hub = self.reader.hub();
        let id = || LastEventId::new(hub.epoch(), self.reader.position());
        (hub.keeps_history() && !self.reader.has_gap()).then(id)
    }
}

impl Next {
    /// A frame of the stream itself, such as a keep-alive.
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
        trace::event!(
            debug,
            channels = ?self.logs().map(|log| log.name()).collect::<Vec<_>>(),
            "unsubscribed"
        );
    }
}

/// Start position of a client. Without history there are no positions, so its id is ignored.
fn start(hub: &Hub, last_event_id: Option<&str>) -> Start {
    match last_event_id.filter(|_| hub.keeps_history()) {
        None => Start::Live,
        Some(text) => match text.parse::<LastEventId>() {
            Ok(id) if id.epoch() == hub.epoch() => Start::After(id.sequence()),
            _ => Start::Unknown,
        },
    }
}
