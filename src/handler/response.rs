//! An open stream whose response is not built yet.

use super::body::EventBody;
use crate::{
    EventStream,
    channel::Channels,
    feed::Feed,
    hooks::Hooks,
    hub::Reader,
    request::{ended, with_head},
    stream::{Guard, OpenStream, reconnect_after},
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header::CONNECTION, request::Parts};
use std::{fmt, sync::Arc};

/// A subscribed client and its response: what [`EventStream::open`] returns.
///
/// The subscription begins with `open`, so every event and every
/// [`close_channel`](EventStream::close_channel) since then reaches the stream. Dropping the value
/// unsubscribes.
///
/// Behind a proxy nothing is subscribed in this process: the response instructs the proxy to hold the client.
/// If one of the channels was closed since `open`, the response ends the stream instead.
///
/// # Examples
///
/// See [`EventStream::open`].
#[must_use = "dropping it unsubscribes; return it from the handler"]
pub struct StreamResponse {
    kind: Kind,
    guard: Option<Guard>,
    detach: bool,
}

enum Kind {
    /// The response to HEAD, or to a proxy that follows a link.
    Ready(Box<Response>),
    Direct(Direct),
    Held(Box<Held>),
}

pub(super) struct Direct {
    pub(super) event_stream: EventStream,
    pub(super) feed: Feed,
    /// Input of the hooks, if there are any.
    pub(super) presence: Option<Box<(Channels, Arc<Parts>)>>,
    pub(super) detachable: bool,
}

pub(super) struct Held {
    pub(super) response: Response,
    /// Detects that a channel is closed before the proxy holds the client.
    pub(super) reader: Reader,
    /// Input of the hooks, if the proxy reports the client's disconnect.
    pub(super) presence: Option<Box<(Hooks, Channels, Arc<Parts>)>>,
}

impl StreamResponse {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            guard: None,
            detach: true,
        }
    }

    pub(super) fn ready(response: Response) -> Self {
        Self::new(Kind::Ready(Box::new(response)))
    }

    pub(super) fn direct(direct: Direct) -> Self {
        Self::new(Kind::Direct(direct))
    }

    pub(super) fn held(held: Held) -> Self {
        Self::new(Kind::Held(Box::new(held)))
    }

    /// Attaches a value that is dropped after the stream has ended: a permit, a counter, an entry in a list of
    /// connected users.
    ///
    /// Each call adds a value. Behind a proxy no stream stays in this process, so they are dropped with the
    /// response.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{EventStream, Rejection, StreamRequest, StreamResponse};
    ///
    /// struct Connected;
    /// impl Drop for Connected {
    ///     fn drop(&mut self) {
    ///         println!("disconnected");
    ///     }
    /// }
    ///
    /// async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse, Rejection> {
    ///     Ok(es.open(&request, ["room-1"])?.guard(Connected))
    /// }
    /// ```
    pub fn guard(mut self, value: impl Send + Sync + 'static) -> Self {
        self.guard = Some(match self.guard {
            Some(guard) => guard.and(value),
            None => Guard::new(value),
        });
        self
    }

    /// Sets whether the stream may be detached from the HTTP server by a
    /// [`net::Listener`](crate::net::Listener): `true` by default.
    ///
    /// Set it to `false` where the response's body is wrapped or merged with another: only the opening of a
    /// detached stream passes through a body.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{EventStream, Rejection, StreamRequest, StreamResponse};
    ///
    /// async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse, Rejection> {
    ///     Ok(es.open(&request, ["room-1"])?.detach(false))
    /// }
    /// ```
    pub fn detach(mut self, detach: bool) -> Self {
        self.detach = detach;
        self
    }
}

impl IntoResponse for StreamResponse {
    fn into_response(self) -> Response {
        match self.kind {
            Kind::Ready(response) => *response,
            Kind::Direct(direct) => direct.respond(self.guard, self.detach),
            Kind::Held(held) => held.respond(),
        }
    }
}

impl Direct {
    fn respond(self, guard: Option<Guard>, detach: bool) -> Response {
        let core = self.event_stream.core();
        let presence = self.presence.map(|presence| {
            let (channels, parts) = *presence;
            core.hooks.subscribe(channels, &parts)
        });
        let stream = OpenStream::new(self.feed, core.streams.clone()).max_age(core.max_age);
        let stream = stream.with(presence, guard);
        let may_detach = self.detachable && detach;
        let mut response = with_head(Body::new(EventBody::new(stream, may_detach)));
        if may_detach {
            // A detached stream ends with its connection. RFC 9112, 9.6 requires to announce that; otherwise a
            // proxy sends the next request on it.
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Held {
    fn respond(self) -> Response {
        if self.reader.is_closed() {
            return ended(reconnect_after());
        }
        if let Some((hooks, channels, parts)) = self.presence.as_deref() {
            hooks.subscribed(channels, parts);
        }
        self.response
    }
}

/// Shows only the kind of the response: headers may hold secrets.
impl fmt::Debug for StreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamResponse")
            .field(
                "kind",
                &match self.kind {
                    Kind::Ready(_) => "ready",
                    Kind::Direct(_) => "direct",
                    Kind::Held(_) => "held by a proxy",
                },
            )
            .field("detach", &self.detach)
            .finish_non_exhaustive()
    }
}
