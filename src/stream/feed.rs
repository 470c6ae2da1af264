//! A reader's entries as server-sent events, with the opening and `stream-reset`. A [`Subscription`](crate::Subscription)
//! reads a feed. An [`OpenStream`](super::OpenStream) adds keep-alives, snapshots, the pace and deadlines.

use crate::{
    LagPolicy,
    channel::Channels,
    hub::{Batch, Gap, Hub, Read, Reader, Refused, Start},
    sse::{self, LastEventId, Opening},
    trace,
};
use bytes::Bytes;
use std::{sync::Arc, task::Waker};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Feed {
    /// Its position and its wait lists are the feed's. Only the feed reads from it.
    pub(crate) reader: Reader,
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

    /// Returns the available events as one frame of at most `limit` bytes, but at least one event. A gap is a
    /// frame with a `stream-reset`.
    ///
    /// With a waker, the feed may also park after the last event: [`Reader::is_waiting`] is then true.
    pub(crate) fn next(&mut self, limit: usize, waker: Option<&Waker>) -> Next {
        if let Some(opening) = self.take_opening(true) {
            return opening;
        }
        self.read(limit, waker)
            .unwrap_or_else(|gap| self.reset(&gap))
    }

    /// Returns the opening once. `has_position`: the client resumes from the feed's position.
    pub(crate) fn take_opening(&mut self, has_position: bool) -> Option<Next> {
        let opening = self.opening.take()?;
        let id = self.id().filter(|_| has_position);
        Some(Next::frame(opening.frame(id)))
    }

    /// As [`next`](Self::next) after the opening, but returns a gap as an error.
    pub(crate) fn read(&mut self, limit: usize, waker: Option<&Waker>) -> Result<Next, Gap> {
        if self.ended {
            return Ok(Next::End);
        }
        Ok(match self.reader.read(limit, waker) {
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
            Read::Gap(gap) => return Err(gap),
            Read::Empty => Next::Empty,
            Read::End => Next::End,
        })
    }

    /// Ends the feed if this gap is a lag and the policy says so. Returns whether the feed has ended.
    pub(crate) fn end_on_lag(&mut self, gap: &Gap) -> bool {
        self.ended |= gap.missed.is_some() && self.lag_policy == LagPolicy::Disconnect;
        self.ended
    }

    /// Continues with the state at this sequence number in place of a reset, which counts as one. Returns false if
    /// events after it were evicted.
    pub(crate) fn seek(&mut self, after: u64) -> bool {
        let had_gap = self.reader.has_gap();
        let is_found = self.reader.seek(after);
        if is_found && had_gap {
            self.hub().observer().reset(None);
        }
        is_found
    }

    /// Whether the feed ends at its position, or soon after it.
    pub(crate) fn is_closed(&self) -> bool {
        self.hub().is_closed() || self.reader.is_closed()
    }

    /// Whether the opening was not returned yet.
    pub(crate) fn has_opening(&self) -> bool {
        self.opening.is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Drops the opening. Later calls of [`Self::next`] return [`Next::End`].
    pub(crate) fn end(&mut self) {
        (self.opening, self.ended) = (None, true);
    }

    /// Reports missed events by `stream-reset`. Lag may also end the feed, depending on the policy.
    pub(super) fn reset(&mut self, gap: &Gap) -> Next {
        let Gap { channels, missed } = gap;
        trace::event!(info, ?missed, channels = channels.len(), "stream reset");
        if self.end_on_lag(gap) && self.hub().keeps_history() {
            // The client reconnects with its last id and gets the `stream-reset` then.
            return Next::End;
        }
        Next::frame(sse::stream_reset(channels, *missed, self.id()))
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        self.reader.hub()
    }

    /// The id from which a client resumes after this feed's position.
    ///
    /// `None` before a gap was reported: a client that disconnects before must resume from its previous id.
    fn id(&self) -> Option<LastEventId> {
        let hub = self.reader.hub();
        // The epoch comes first: if it is new, `has_position` is false until the gap was returned.
        let epoch = hub.epoch();
        let id = || LastEventId::new(epoch, self.reader.position());
        (hub.has_positions() && self.reader.has_position()).then(id)
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
            channels = ?self.reader.logs().map(|log| log.name()).collect::<Vec<_>>(),
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
