//! The seam between the core and the proxies that hold clients.
//!
//! The module `grip` implements it. Without that feature an `EventStream` has no proxies.

use crate::{
    Channel, Error, LastEventId, ProxyHealth, Stats,
    channel::Channels,
    core::Core,
    hub::Reader,
    request::{Delivery, Rejection, StreamRequest},
    stream::Taken,
};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use std::{fmt, future::Future, pin::Pin, time::SystemTime};

/// The proxies of an `EventStream`. No other module applies the prefix of channels.
pub(crate) trait Proxies: fmt::Debug + Send + Sync {
    /// Whether a request that came through no proxy is refused.
    fn are_required(&self) -> bool;

    /// What holds the stream of a request with this `Grip-Sig`.
    fn delivery(&self, signature: &HeaderValue) -> Result<Delivery, Rejection>;

    /// The response to a proxy that follows a link for missed events. Returns `None` for other requests. It
    /// begins with the snapshot, if there is one.
    fn follow_link(
        &self,
        core: &Core,
        request: &StreamRequest,
        snapshot: Option<&Taken>,
    ) -> Option<Result<LinkResponse, Rejection>>;

    /// Instructions to hold the client of a request.
    fn hold(
        &self,
        core: &Core,
        request: &StreamRequest,
        channels: &Channels,
        options: &HoldOptions,
    ) -> Result<HoldResponse, Rejection>;

    /// Records that a handler for the path of links was created.
    fn has_link_handler(&self);

    /// Queues an event for all proxies, without waiting. With history, a proxy that lacks the channel's
    /// `previous` event requests it.
    fn enqueue(
        &self,
        channel: &Channel,
        bytes: &Bytes,
        id: LastEventId,
        previous: LastEventId,
    ) -> Box<dyn InFlight>;

    /// Queues the end of all streams that the proxies hold on this channel, after its `last` event.
    fn close_channel(&self, channel: &Channel, last: LastEventId) -> Box<dyn InFlight>;

    /// Lets the proxies request the events after their positions, which belong to an earlier order.
    fn recover(&self);

    fn health(&self) -> Vec<ProxyHealth>;

    /// Adds the counters of the proxies.
    fn count(&self, stats: &mut Stats);
}

/// A publish to proxies that have not all answered.
#[must_use]
pub(crate) trait InFlight: Send {
    /// Starts sending, after the sequencer is unlocked.
    fn start(&mut self);

    /// Waits for the answers. Dropping the future does not cancel sending.
    fn wait(self: Box<Self>) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
}

/// What the application has set for a stream that a proxy holds.
#[derive(Debug, Default)]
pub(crate) struct HoldOptions {
    /// Whether the client expects a snapshot in place of a reset.
    pub(crate) has_snapshot: bool,
    /// The snapshot to begin with.
    pub(crate) snapshot: Option<Taken>,
    pub(crate) expires_at: Option<SystemTime>,
    /// Whether the body will be replaced: the hold is at the end of the channels, and its body is empty.
    pub(crate) is_deferred: bool,
}

/// Instructions to hold a client.
pub(crate) struct HoldResponse {
    pub(crate) response: Response,
    /// Whether the proxy will report the client's disconnect.
    pub(crate) reports_disconnect: bool,
    /// Whether events before the body are not in the history.
    pub(crate) has_reset: bool,
    /// Whether the client has no position that it can resume from, and the response no snapshot.
    pub(crate) needs_snapshot: bool,
    /// The sequence number up to which the body has all events.
    pub(crate) position: u64,
    pub(crate) channels: Vec<Channel>,
}

/// The response to a proxy that follows a link.
pub(crate) enum LinkResponse {
    Ended(Response),
    /// The reader detects a close of a channel before the response is sent.
    Held(HoldResponse, Reader),
}
