//! The pipeline from a request to its response.
//!
//! A [`StreamRequest`] has the headers. [`open`] verifies them, resolves the channels ([`resolve`]) and
//! subscribes, and [`response`] answers: with a [`body`], or with the instructions that the
//! [proxies](crate::proxies) return. [`StreamHandler`] and [`EventStream::respond`] are thin callers of this
//! pipeline.

mod body;
mod deferred;
mod held;
mod into_channels;
mod open;
mod options;
mod resolve;
mod response;
mod serve;

pub use into_channels::IntoChannels;
pub use resolve::IntoResolver;
pub use response::StreamResponse;

use crate::{
    EventStream, Limits, Snapshot,
    request::{Parameters, Rejection, Route, StreamRequest},
    stream::{SnapshotSource, TakeSnapshot},
};
use axum::{
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use options::Options;
use resolve::Resolver;
use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

/// A handler that answers each request with an event stream, returned by [`EventStream::handler`].
///
/// It works in any method router, with any router state. With the feature `axum-07` it is a handler for
/// axum 0.7 as well, where `/events/:id` is the route and `"{id}"` or `"<id>"` the channel. The
/// extractors work there too, and a custom handler that calls [`EventStream::respond`] returns
/// `impl IntoResponse`.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use axum_eventstream::{EventStream, StreamHandler};
///
/// let handler: StreamHandler = EventStream::new().handler(["news", "weather"]);
/// let app: Router = Router::new().route("/events", get(handler));
/// ```
#[derive(Clone, Debug)]
pub struct StreamHandler {
    event_stream: EventStream,
    resolver: Resolver,
    options: Options,
    snapshot: Option<SnapshotOf>,
    route: Route,
}

/// Returns the function for the snapshots of one request's stream.
#[derive(Clone)]
struct SnapshotOf(Arc<dyn Fn(StreamRequest) -> TakeSnapshot + Send + Sync>);

impl fmt::Debug for SnapshotOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotOf")
    }
}

impl StreamHandler {
    fn new(event_stream: EventStream, resolver: Resolver, route: Route) -> Self {
        Self {
            event_stream,
            resolver,
            options: Options::default(),
            snapshot: None,
            route,
        }
    }

    /// Sets whether streams may be detached from the HTTP server by a
    /// [`net::Listener`](crate::net::Listener): `true` by default.
    ///
    /// Set it to `false` if other code needs the whole body, not only the opening event: middleware that
    /// counts, filters or redacts, or a body that is merged with another.
    #[must_use]
    pub fn detach(mut self, detach: bool) -> Self {
        self.options.is_attached = !detach;
        self
    }

    /// Sets the function that returns the current state, for a client that has no position to resume from.
    ///
    /// The page then needs no other request for its state, and no code for gaps. Right after `stream-open` a new
    /// client receives the snapshot, then every event after it. A client that resumes from a valid
    /// `Last-Event-ID` receives none. A client whose position is gone, after a long absence, a restart of
    /// the application, or because it read too slowly, receives the snapshot again in place of
    /// `stream-reset`. It must replace the client's state, so give it a name of its own.
    ///
    /// The function receives the request, with the [parameters](StreamRequest::parameter) of the route. It returns
    /// a future of a `Result`, whose value is an [`Event`](crate::Event), a `Vec` of them, or a [`Snapshot`], and
    /// whose error can be displayed. A closure that uses `?` names the error: `Ok::<_, MyError>(snapshot)`.
    ///
    /// With [`Snapshot::at`] each event is delivered exactly once; without it, an event that is published while the
    /// function runs may be in the state and come again. The last event of a snapshot has the id of its position,
    /// and `stream-open` has none.
    ///
    /// At most 64 functions run at the same time ([`Limits::concurrent_snapshots`]), and other streams do not
    /// wait for them. If the function returns an error, panics, or takes longer than 10 seconds
    /// ([`Limits::snapshot_timeout`]), the stream ends with a `retry` of 1 to 5 seconds, so that the client
    /// reconnects. That is logged as an error, and counted in
    /// [`Stats::snapshot_failures`](crate::Stats::snapshot_failures). A client that disconnects cancels the
    /// function.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use axum_eventstream::{Event, EventStream, InvalidEvent, StreamRequest};
    ///
    /// # async fn members(_room: &str) -> Vec<String> { Vec::new() }
    /// let es = EventStream::new();
    /// let room = es.handler("room-{room}").snapshot(|request: StreamRequest| async move {
    ///     let room = request.parameter("room").unwrap_or_default();
    ///     Event::json("members", &members(room).await)
    /// });
    /// let app: Router = Router::new().route("/rooms/{room}", get(room));
    /// ```
    #[must_use]
    pub fn snapshot<F, Fut, S, E>(mut self, function: F) -> Self
    where
        F: Fn(StreamRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: Into<Snapshot>,
        E: fmt::Display,
    {
        let function = Arc::new(function);
        self.snapshot = Some(SnapshotOf(Arc::new(move |request| {
            let function = function.clone();
            TakeSnapshot::new(move || function(request.clone()))
        })));
        self.options.state = None;
        self
    }

    /// Sends the newest event of each [key](crate::EventBuilder::key) to a client that has no position to resume
    /// from, as [`snapshot`](Self::snapshot) sends the state that a function returns.
    ///
    /// The history of the channels has them: with
    /// [`History::latest_per_key`](crate::History::latest_per_key) for every key. Events without a key are left
    /// out. Of `snapshot` and this, the later call counts.
    ///
    /// A client whose position is gone receives `stream-reset` first. The page should then forget its state: a key
    /// may have been removed meanwhile. Superseded events are no loss, so with `latest_per_key` this happens
    /// only after a restart, or if events without a key or removals are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use axum_eventstream::{Event, EventStream, History};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let history = History::memory().latest_per_key();
    /// let es = EventStream::builder().history(history).build()?;
    /// let prices = es.handler("prices").snapshot_latest();
    /// let app: Router = Router::new().route("/prices", get(prices));
    /// let price = Event::builder().event("price").key("AAPL").data("190.50").build()?;
    /// es.publish_event("prices", price).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn snapshot_latest(mut self) -> Self {
        self.snapshot = None;
        self.options.state = Some(SnapshotSource::Latest);
        self
    }

    /// Sets the least pause between two bursts of a stream: none by default.
    ///
    /// A stream then sends everything that is ready, as a burst, and nothing for this time afterwards. The pause is
    /// longer by up to an eighth, or by up to 1 ms if that is more. A first event after a silence is sent
    /// immediately. The cost of many small events then depends on the number of clients and the interval, and not on
    /// the number of events. An event whose [key](crate::EventBuilder::key) has a newer one is not sent.
    ///
    /// The opening, keep-alives, and the end of the whole `EventStream` are not delayed.
    /// [`close_channel`](EventStream::close_channel) ends the stream after its pause. The interval applies to direct
    /// delivery only, since a proxy sends each event when it receives it. Zero is no interval, and a day the longest.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{EventStream, StreamHandler};
    /// use std::time::Duration;
    ///
    /// let es = EventStream::new();
    /// let prices: StreamHandler = es.handler("prices").min_interval(Duration::from_millis(100));
    /// ```
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.options.min_interval = Some(interval);
        self
    }

    pub(crate) async fn respond(&self, parts: &mut Parts) -> Result<StreamResponse, Rejection> {
        // Read before the channels are resolved, which does not await. Invalid parameters are reported only then, if
        // the rest of the request is valid.
        let parameters = match self.resolver.needs_parameters() || self.snapshot.is_some() {
            true => Parameters::of(parts).await.map(Arc::new),
            false => Ok(Arc::default()),
        };
        let has_hooks = !self.event_stream.core().hooks.is_empty();
        let request = StreamRequest::new(parts, self.route, has_hooks);
        let request = request.inspect_err(|rejection| {
            self.event_stream.observer().refused(rejection.reason());
        })?;
        let snapshot = self.snapshot.as_ref().map(|SnapshotOf(of)| {
            let parameters = parameters.as_ref().ok().cloned();
            let has_proxies = self.event_stream.proxies().is_some();
            SnapshotSource::Function(of(request.for_snapshot(parameters, has_proxies)))
        });
        let channels = |limits: &Limits| {
            let parameters = parameters?;
            self.resolver.resolve(parts, &parameters, limits)
        };
        let response = self.event_stream.open_stream(&request, channels)?;
        let response = response.options(Options {
            state: snapshot.or_else(|| self.options.state.clone()),
            ..self.options.clone()
        });
        Ok(response.ready().await)
    }
}

impl<S> Handler<(StreamHandler,), S> for StreamHandler {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, _state: S) -> Self::Future {
        // Drops the request's body, which a stream does not read.
        let (mut parts, _) = request.into_parts();
        Box::pin(async move { self.respond(&mut parts).await.into_response() })
    }
}
