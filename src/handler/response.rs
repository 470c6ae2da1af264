//! An open stream whose response is not built yet.

use super::{body::EventBody, held::Held, options::Options};
use crate::{
    EventStream, LastEventId, Snapshot,
    channel::Channels,
    hub::Start,
    request::with_head,
    stream::Feed,
    stream::TakeSnapshot,
    stream::{Guard, OpenStream, SnapshotSource, Snapshots},
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header::CONNECTION, request::Parts};
use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A subscribed client and its response: what [`EventStream::open`] returns.
///
/// The subscription begins with `open`, so every event and every
/// [`close_channel`](EventStream::close_channel) since then reaches the stream. Dropping the value
/// unsubscribes.
///
/// Behind a proxy, the response instructs the proxy to hold the client. The subscription in this process lasts until
/// the response is built, or until a [snapshot](Self::snapshot) in its body is sent. If one of the channels is closed
/// until then, the stream ends.
///
/// # Examples
///
/// See [`EventStream::open`].
#[must_use = "dropping it unsubscribes; return it from the handler"]
pub struct StreamResponse {
    kind: Kind,
    guard: Option<Guard>,
    options: Options,
}

pub(super) enum Kind {
    /// A response that holds no client: to HEAD, to a link that ends its stream or reports a disconnect, or in place of
    /// a hold whose snapshot has failed.
    Finished(Box<Response>),
    Direct(Direct),
    Held(Box<Held>),
}

pub(super) struct Direct {
    pub(super) event_stream: EventStream,
    pub(super) feed: Feed,
    /// Input of the hooks, if there are any.
    pub(super) presence: Option<Box<(Channels, Arc<Parts>)>>,
    pub(super) detachable: bool,
    /// Whether the client has no position that it can resume from.
    pub(super) is_new: bool,
    /// Where the client starts if the hub is cold and warms up before the response is sent.
    pub(super) start: Start,
    /// The position of the client, if this instance has to read a shared log up to it first.
    pub(super) awaited: Option<LastEventId>,
}

impl StreamResponse {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            guard: None,
            options: Options::default(),
        }
    }

    /// Attaches a value that is dropped after the stream has ended: a permit, a counter, an entry in a list of
    /// connected users.
    ///
    /// Each call adds a value. Behind a proxy no stream stays in this process, so they are dropped when the response
    /// is built.
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
        self.options.is_attached = !detach;
        self
    }

    /// Sets the function that returns the current state, for a client that has no position to resume from: see
    /// [`StreamHandler::snapshot`](crate::StreamHandler::snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Event, EventStream, InvalidEvent, Rejection, StreamRequest, StreamResponse};
    ///
    /// async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse, Rejection> {
    ///     let stream = es.open(&request, ["room-1"])?;
    ///     Ok(stream.snapshot(|| async { Event::json("members", &["ann", "bob"]) }))
    /// }
    /// ```
    pub fn snapshot<F, Fut, S, E>(mut self, function: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: Into<Snapshot>,
        E: fmt::Display,
    {
        self.options.state = Some(SnapshotSource::Function(TakeSnapshot::new(function)));
        self
    }

    /// Sends the newest event of each key to a client that has no position to resume from: see
    /// [`StreamHandler::snapshot_latest`](crate::StreamHandler::snapshot_latest).
    pub fn snapshot_latest(mut self) -> Self {
        self.options.state = Some(SnapshotSource::Latest);
        self
    }

    /// Sets the least pause between two bursts of the stream: see
    /// [`StreamHandler::min_interval`](crate::StreamHandler::min_interval).
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.options.min_interval = Some(interval);
        self
    }

    /// Ends the stream at this time, for example when the client's token expires. The end has a `retry`, so a
    /// browser's `EventSource` reconnects, and meets the refusal of your handler.
    ///
    /// The time is measured from now on, so a later change of the system's clock has no effect.
    ///
    /// Behind a proxy with history, the stream ends when the proxy requests missed events after that time. It does so
    /// after a gap, or after a silence, so a stream with frequent events may last longer. Close a channel of the
    /// client's own with [`close_channel`](EventStream::close_channel) if it must not. The time is rounded down to
    /// ten seconds if it is more than a minute away, and streams with different times share no links. Without
    /// history it has no effect behind a proxy.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{EventStream, Rejection, StreamRequest, StreamResponse};
    /// use std::time::{Duration, SystemTime};
    ///
    /// async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse, Rejection> {
    ///     let expires = SystemTime::now() + Duration::from_secs(3600);
    ///     Ok(es.open(&request, ["room-1"])?.expires_at(expires))
    /// }
    /// ```
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.options.expires_at = Some(time);
        self
    }

    /// Takes the [snapshot](Self::snapshot) now, if a proxy will hold the client and the client needs one. Waits for the
    /// [backplane](crate::backplane), if there is one.
    ///
    /// A proxy needs the position of the snapshot in the head of the response, and a response that is made without
    /// waiting cannot have it there. So without this call, events that are published while the function runs
    /// may be in the state and come again, even with [`Snapshot::at`]. If the function then fails, the response
    /// breaks off, and not with a `retry`. For direct delivery it takes no snapshot.
    ///
    /// With a backplane, it waits up to 3 seconds until a new instance has read the log for the first time. Without this
    /// call, such a stream opens without an id, and receives a `stream-reset`. If a proxy will hold the client, it waits
    /// up to 2 seconds until the instance has read everything that is in the log now.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Event, EventStream, Rejection, StreamRequest, StreamResponse};
    ///
    /// async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse, Rejection> {
    ///     let stream = es.open(&request, ["room-1"])?;
    ///     let stream = stream.snapshot(|| async { Event::json("members", &["ann", "bob"]) });
    ///     Ok(stream.ready().await)
    /// }
    /// ```
    pub async fn ready(mut self) -> Self {
        match &mut self.kind {
            Kind::Finished(_) => {}
            // On the heap, because otherwise each request would have the size of a future that few need.
            Kind::Direct(direct) if direct.waits() => Box::pin(direct.ready()).await,
            Kind::Direct(_) => {}
            Kind::Held(held) => {
                if let Err(ended) = Box::pin(held.ready(&self.options)).await {
                    self.kind = Kind::Finished(ended);
                }
            }
        }
        self
    }

    pub(super) fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

impl IntoResponse for StreamResponse {
    fn into_response(self) -> Response {
        match self.kind {
            Kind::Finished(response) => *response,
            Kind::Direct(direct) => direct.respond(self.guard, self.options),
            Kind::Held(held) => held.respond(self.options),
        }
    }
}

impl EventStream {
    /// Waits until this instance has the position, and returns its sequence number. Returns `None` if it is gone.
    ///
    /// Only the engine knows that it is gone. While the engine does not answer, the stream has no other events either.
    fn position(&self, id: LastEventId) -> impl Future<Output = Option<u64>> + Send + use<> {
        let event_stream = self.clone();
        async move {
            let hub = &event_stream.core().hub;
            while !event_stream.catch_up().await && !hub.has_reached(id) {}
            hub.has_reached(id).then(|| id.sequence())
        }
    }
}

impl Direct {
    /// Whether the engine of a backplane was not connected yet: a client that is subscribed before needs a reset.
    fn waits(&self) -> bool {
        self.event_stream.backplane().is_some() && self.event_stream.core().hub.is_cold()
    }

    /// Waits for the first connection to the engine.
    async fn ready(&mut self) {
        if let Some(backplane) = self.event_stream.backplane() {
            backplane.warm().await;
            self.feed.reader.rejoin(self.start);
        }
    }

    fn respond(self, guard: Option<Guard>, options: Options) -> Response {
        let core = self.event_stream.core();
        let unsubscribe = self.presence.map(|presence| {
            let (channels, parts) = *presence;
            core.hooks.subscribe(channels, &parts)
        });
        let expires_in = options.expires_at.map(|at| {
            let left = at.duration_since(SystemTime::now());
            left.unwrap_or_default()
        });
        let limits = core.streams.snapshot_limits.clone();
        let snapshots = match (self.awaited, options.state) {
            (Some(id), state) => {
                let position = self.event_stream.position(id);
                Some(Snapshots::resuming(state, limits, &core.hub, position))
            }
            (None, state) => state.map(|source| Snapshots::new(source, limits, self.is_new)),
        };
        let stream = OpenStream::new(self.feed, core.streams.clone())
            .max_age(core.max_age)
            .expires_in(expires_in)
            .min_interval(options.min_interval)
            .snapshots(snapshots)
            .on_end(unsubscribe)
            .guard(guard);
        let may_detach = self.detachable && !options.is_attached;
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

/// Shows only the kind of the response: headers may hold secrets.
impl fmt::Debug for StreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamResponse")
            .field(
                "kind",
                &match self.kind {
                    Kind::Finished(_) => "finished",
                    Kind::Direct(_) => "direct",
                    Kind::Held(_) => "held by a proxy",
                },
            )
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
