//! `EventStream`: a cheap handle on the hub, the proxies and the settings.

use crate::{
    Channel, Error, ErrorKind, Event, Health, LagPolicy, Limits, Stats, Subscription,
    builder::EventStreamBuilder,
    feed::Feed,
    handler::{
        IntoChannels, IntoResolver, Rejection, StreamHandler, StreamRequest, StreamResponse,
    },
    hooks::Hooks,
    hub::{ChannelLog, Hub, Refused},
    measure,
    publish::{ChannelPublisher, ChannelSink, InFlight, Proxies},
    sse::{LastEventId, Opening},
    stream::Streams,
};
use axum::response::{IntoResponse, Response};
#[cfg(feature = "grip")]
use http::request::Parts;
use std::{env::VarError, fmt, future::Future, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a shutdown waits for detached streams: longer than a driver waits for a client.
const DETACHED_WAIT: Duration = Duration::from_secs(10);

/// Server-sent events on named channels.
///
/// Handlers subscribe clients to channels, and any code publishes to a channel. A clone is a handle on the
/// same stream, and cheap.
///
/// | to | use |
/// | --- | --- |
/// | create | [`new`](Self::new), [`from_env`](Self::from_env), [`builder`](Self::builder) |
/// | serve | [`handler`](Self::handler); in a custom handler [`open`](Self::open) or [`respond`](Self::respond); [`subscribe`](Self::subscribe) outside of HTTP |
/// | publish | [`publish_event`](Self::publish_event), [`channel_publisher`](Self::channel_publisher), [`channel_sink`](Self::channel_sink) |
/// | end streams | [`close_on`](Self::close_on), [`drain`](Self::drain), [`close`](Self::close), [`close_channel`](Self::close_channel) |
/// | observe | [`current_id`](Self::current_id), [`channels`](Self::channels), [`subscribers`](Self::subscribers), [`stats`](Self::stats), [`health`](Self::health), [`is_closed`](Self::is_closed) |
///
/// As an argument of a handler it is found in the router's state, in an `Extension`, or in the
/// [`registry`](crate::registry) under the default name.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use axum_eventstream::{Event, EventStream};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_eventstream::Error> {
/// let es = EventStream::new();
/// let app: Router = Router::new().route("/events/{id}", get(es.handler("{id}")));
/// es.publish_event("room-1", Event::json("message", &["hello"])?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EventStream {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) limits: Limits,
    pub(crate) proxies: Proxies,
    pub(crate) publishes: measure::Publishes,
    pub(crate) hooks: Hooks,
    pub(crate) opening: Opening,
    pub(crate) lag_policy: LagPolicy,
    pub(crate) max_age: Option<Duration>,
    pub(crate) refuse_with_status: bool,
}

/// The result of a successful publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The id of the event. `None` without history, or if the event was built with an id.
    pub id: Option<LastEventId>,
    /// Number of subscriptions to the channel in this process.
    pub subscribers: usize,
}

/// A publish of which the local part is done.
#[must_use]
pub(crate) struct Publishing {
    published: Published,
    congested: Option<Arc<ChannelLog>>,
    in_flight: Option<InFlight>,
}

impl EventStream {
    /// Creates a stream with the default settings and direct delivery only.
    ///
    /// # Panics
    ///
    /// If the operating system provides no random number. [`builder`](Self::builder) returns that as an
    /// error.
    #[must_use]
    pub fn new() -> Self {
        let built = Self::builder().build();
        built.expect("the defaults are valid")
    }

    /// Creates a stream with the settings of the environment. Without such settings it delivers directly.
    ///
    /// `GRIP_URL` is the control URI of a proxy as in
    /// [`GripConfig`](https://docs.rs/axum-eventstream/latest/axum_eventstream/grip/struct.GripConfig.html),
    /// or several of them separated by white space. `GRIP_VERIFY_KEY` is the key that verifies the signatures
    /// of proxies without a `verify-key` in their URL. Without `GRIP_URL` it is not read.
    ///
    /// # Errors
    ///
    /// When a value is wrong; the message names the variable.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().env(variable)?.build()
    }

    /// Creates a builder for settings other than the defaults.
    pub fn builder() -> EventStreamBuilder {
        EventStreamBuilder::new()
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Returns whether both are handles on the same stream.
    #[must_use]
    pub fn same_stream(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Returns a handler for a route, which subscribes each client to the given channels.
    ///
    /// `channels` is one of
    ///
    /// - a name, or several in an array, a slice or a `Vec`. `{id}` and `<id>` stand for the route's
    ///   parameter of that name, any number of times, with any text around them. White space around
    ///   the whole text is trimmed;
    /// - a function of the request's `&Parts` that returns [`IntoChannels`]: a name or several, an `Option`
    ///   of them, or a `Result` whose error is the response.
    ///
    /// A parameter has the name that the route gives it. For a wildcard route write `{path}` or `{*path}`.
    /// `{{` and `}}` stand for literal braces. The value of a parameter is not trimmed: a channel name that then
    /// begins or ends with white space is refused with 400.
    ///
    /// Each request is answered with 500, and an error with the fix is logged, if a template contains
    ///
    /// - a parameter in braces that the route does not have, such as `{rom}`, `{ id }` or `{id:uuid}`,
    ///   or any other single brace;
    /// - an identifier in angle brackets that is not a parameter of the route. Other text in angle brackets is
    ///   literal;
    /// - a parameter of the route in the form of axum 0.7: `:id` anywhere, or `*path` as the whole text or
    ///   between slashes. With any other name this is literal text.
    ///
    /// If the decision is asynchronous, or needs extractors, use [`open`](Self::open) in a custom handler.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, http::{StatusCode, request::Parts}, routing::get};
    /// use axum_eventstream::EventStream;
    ///
    /// let es = EventStream::new();
    /// let app: Router = Router::new()
    ///     .route("/events", get(es.handler("news")))
    ///     .route("/events/{id}", get(es.handler("<id>")))
    ///     .route("/rooms/{room}/{user}", get(es.handler(["room-{room}", "room-{room}.{user}"])))
    ///     .route("/mine", get(es.handler(|parts: &Parts| {
    ///         let user = parts.headers.get("x-user").and_then(|user| user.to_str().ok());
    ///         user.map(|user| format!("user-{user}")).ok_or(StatusCode::UNAUTHORIZED)
    ///     })));
    /// ```
    pub fn handler<M>(&self, channels: impl IntoResolver<M>) -> StreamHandler {
        let resolver = channels.into_resolver();
        resolver.log_mistakes();
        StreamHandler::new(self.clone(), resolver)
    }

    /// Returns the handler for the route of all links for missed events: see
    /// [`grip_link_path`](EventStreamBuilder::grip_link_path).
    ///
    /// Only this route answers these links, and it answers nothing else.
    #[cfg(feature = "grip")]
    #[must_use]
    pub fn link_handler(&self) -> StreamHandler {
        if let Some(links) = self.inner.proxies.links() {
            links.set_routed();
        }
        // The link names the channels.
        let no_link = |_: &Parts| Err::<&str, _>(Rejection::NoLink);
        let resolver = no_link.into_resolver();
        StreamHandler::new(self.clone(), resolver).for_links()
    }

    /// Subscribes the client of `request` to `channels`, and returns the response: [`open`](Self::open) and
    /// answer in one call.
    ///
    /// Use it in a custom handler that awaits nothing between its check and the answer. If the check is awaited,
    /// use [`open`](Self::open), and check afterwards.
    ///
    /// Names are literal: they are not trimmed, and are no templates.
    ///
    /// Behind a proxy with history, a handler that checks the client's cookies, headers or query needs
    /// `EventStreamBuilder::grip_link_path`: see [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// Returns the refusal, which is a response too.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{extract::Path, response::Response};
    /// use axum_eventstream::{EventStream, Rejection, StreamRequest};
    ///
    /// async fn events(
    ///     es: EventStream,
    ///     Path(room): Path<u32>,
    ///     request: StreamRequest,
    /// ) -> Result<Response, Rejection> {
    ///     es.respond(&request, [format!("room-{room}"), "news".to_owned()]).await
    /// }
    /// ```
    pub async fn respond<M>(
        &self,
        request: &StreamRequest,
        channels: impl IntoChannels<M>,
    ) -> Result<Response, Rejection> {
        Ok(self.open(request, channels)?.into_response())
    }

    /// Subscribes the client of `request` to `channels`, and returns the response to answer with.
    ///
    /// Use it to decide who may listen, in this order: open, check, answer. The client is subscribed when this
    /// returns. So a revocation that calls [`close_channel`](Self::close_channel) while the check runs ends the
    /// stream. Dropping the [`StreamResponse`] unsubscribes the client.
    ///
    /// # Behind a proxy
    ///
    /// With history, the proxy requests missed events through a link, without the client's cookies, headers or
    /// query. A handler that refuses such requests needs a separate route for links:
    /// `EventStreamBuilder::grip_link_path` and `link_handler`. Otherwise Pushpin holds back the
    /// events of the client, and ends its stream after about 20 seconds.
    ///
    /// # Errors
    ///
    /// Returns the refusal, which is a response too.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{extract::Path, http::StatusCode, response::{IntoResponse, Response, Result}};
    /// use axum_eventstream::{EventStream, StreamRequest};
    /// # async fn is_banned(_user: &str) -> bool { false }
    ///
    /// async fn events(
    ///     es: EventStream,
    ///     Path(user): Path<String>,
    ///     request: StreamRequest,
    /// ) -> Result<Response> {
    ///     let stream = es.open(&request, [format!("user-{user}"), "news".to_owned()])?;
    ///     if is_banned(&user).await {
    ///         return Err(StatusCode::FORBIDDEN.into());
    ///     }
    ///     Ok(stream.into_response())
    /// }
    /// ```
    pub fn open<M>(
        &self,
        request: &StreamRequest,
        channels: impl IntoChannels<M>,
    ) -> Result<StreamResponse, Rejection> {
        self.open_stream(request, |limits| {
            Ok(limits.channels(channels.into_channels()?)?)
        })
    }

    /// Subscribes to `channels`, a name or several, in code that is not an HTTP handler.
    ///
    /// # Errors
    ///
    /// When there is no channel, a name is invalid, a limit is reached or the stream is closed. An `Err`
    /// among the [`IntoChannels`] is an [`ErrorKind::InvalidChannel`] with the status of its response.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Channel, EventStream};
    ///
    /// let es = EventStream::new();
    /// let one = es.subscribe("news")?;
    /// let two = es.subscribe(["news", "weather"])?;
    /// let many = es.subscribe((1..=9).map(|room| format!("room-{room}")))?;
    /// let news = es.subscribe(Channel::new("news")?)?;
    /// assert_eq!(es.subscribers("news"), 3);
    /// # Ok::<(), axum_eventstream::Error>(())
    /// ```
    pub fn subscribe<M>(&self, channels: impl IntoChannels<M>) -> Result<Subscription, Error> {
        let names = channels.into_channels().map_err(Rejection::into_error)?;
        let channels = self.inner.limits.channels(names)?;
        let feed = Feed::subscribe(&self.inner.hub, &channels, None)?;
        Ok(Subscription::new(feed))
    }

    /// Publishes an event to the subscribers of `channel`, in this process and behind every proxy.
    ///
    /// Subscribers in this process receive the event first. Then it is sent to all proxies at once, to each
    /// in the order of the publishes, and their answers are awaited.
    ///
    /// # Errors
    ///
    /// If the channel's name is invalid or the event too large, the event is not published.
    ///
    /// If a proxy fails, the kind is [`ErrorKind::Publish`], and the message names the endpoint and the reason. The
    /// event is published nevertheless: subscribers in this process and behind the other proxies have it. With
    /// history, the clients of that proxy receive it when they resume. Do not publish it again.
    ///
    /// A proxy has 10 seconds to answer, including the time in its queue. It fails at once if 16,384 events or
    /// 64 MiB wait for it.
    ///
    /// # Cancel safety
    ///
    /// The first poll publishes the event. If the future is dropped later, the event is still sent to the
    /// proxies, and only their answers are lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Error, Event, EventStream};
    ///
    /// async fn greet(es: &EventStream) -> Result<(), Error> {
    ///     let published = es.publish_event("room-1", Event::json("message", &"hello")?).await?;
    ///     println!("{} subscribers in this process", published.subscribers);
    ///     Ok(())
    /// }
    /// ```
    pub async fn publish_event(
        &self,
        channel: impl AsRef<str>,
        event: Event,
    ) -> Result<Published, Error> {
        self.publish(&Channel::new(channel)?, event)?.finish().await
    }

    /// Does the local part of a publish, and puts it in the proxies' queues.
    pub(crate) fn publish(&self, channel: &Channel, mut event: Event) -> Result<Publishing, Error> {
        let Inner {
            hub,
            limits,
            proxies,
            ..
        } = &*self.inner;
        let (length, limit) = (event.encoded_len(), limits.event_bytes);
        if length > limit {
            let text = format!(
                "the event has {length} bytes, the limit is {limit}: split it, or raise `Limits::event_bytes`"
            );
            return Err(Error::new(ErrorKind::LimitReached, text));
        }
        event.prepare();
        let assigns_id = hub.keeps_history() && !event.has_id();
        let (mut id, mut in_flight) = (None, None);
        let appended = hub.append(channel, |sequence, previous| {
            let at = |sequence| LastEventId::new(hub.epoch(), sequence);
            id = assigns_id.then(|| at(sequence));
            let bytes = event.seal(id);
            // Under the sequencer's lock, so that the proxies get events in the order of their ids.
            in_flight = Some(proxies.enqueue(channel, &bytes, at(sequence), at(previous)));
            bytes
        });
        in_flight.iter_mut().for_each(InFlight::start);
        let subscribers = appended.subscribers;
        self.inner.publishes.count(subscribers);
        Ok(Publishing {
            published: Published { id, subscribers },
            congested: appended.congested,
            in_flight,
        })
    }

    /// Returns a handle that publishes to one channel.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn channel_publisher(&self, channel: impl AsRef<str>) -> Result<ChannelPublisher, Error> {
        Ok(ChannelPublisher::new(self.clone(), Channel::new(channel)?))
    }

    /// Returns a sink that publishes to one channel, with backpressure: it accepts an event when the previous
    /// one has been published, also to every proxy.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn channel_sink(&self, channel: impl AsRef<str>) -> Result<ChannelSink, Error> {
        Ok(self.channel_publisher(channel)?.sink())
    }

    /// Ends every open stream after the events that were published until now.
    ///
    /// Later requests get a stream that ends at once with a `retry` of 1 to 5 seconds. A browser's
    /// `EventSource` then reconnects, usually to the next process. Clients of a proxy are unaffected: it still
    /// holds new ones, and publishing still reaches them.
    pub fn close(&self) {
        self.inner.hub.close();
    }

    /// Ends the open streams one after another within `budget`, then [closes](Self::close) the stream.
    ///
    /// Requests after the call are answered as after [`close`](Self::close). Each open stream sends a
    /// `retry` of 1 to 5 seconds. Streams end at different times within the budget, so clients do not reconnect
    /// all at once. Each receives events until it ends. Clients of a proxy are unaffected.
    ///
    /// A [`Subscription`] in this process ends with the budget. The future completes when all streams have
    /// ended. That takes up to 5 seconds more than the budget for clients of a
    /// [`net::Listener`](crate::net::Listener) that do not read.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use axum::{Router, routing::get};
    /// use axum_eventstream::EventStream;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let es = EventStream::new();
    /// let app = Router::new().route("/events", get(es.handler("news")));
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let drained = async move {
    ///     tokio::signal::ctrl_c().await.expect("a signal handler");
    ///     es.drain(Duration::from_secs(20)).await;
    /// };
    /// axum::serve(listener, app).with_graceful_shutdown(drained).await
    /// # }
    /// ```
    pub async fn drain(&self, budget: Duration) {
        let hub = &self.inner.hub;
        // Caps the deadline: `Instant + Duration` may overflow.
        let by = Instant::now() + budget.min(Duration::from_secs(366 * 86_400));
        hub.drain(by);
        hub.wait_until_empty(by).await;
        hub.close();
        self.inner.streams.wait_for_detached(DETACHED_WAIT).await;
    }

    /// Ends every stream that is subscribed to `channel`, in this process and behind every proxy, after
    /// the events that were published until now. Later subscriptions are unaffected.
    ///
    /// A browser reconnects: to exclude it, refuse its next request. A handler that
    /// [opens](Self::open) the stream before it checks the client cannot miss a call in between.
    ///
    /// # Errors
    ///
    /// If the name is invalid, or a proxy fails.
    pub async fn close_channel(&self, channel: impl AsRef<str>) -> Result<(), Error> {
        let channel = Channel::new(channel)?;
        let Inner { hub, proxies, .. } = &*self.inner;
        let closing = hub.close_channel(&channel, |last| {
            proxies.close_channel(&channel, LastEventId::new(hub.epoch(), last))
        });
        closing.wait().await
    }

    /// Returns the channels with subscriptions in this process, each with the number of these, sorted by name.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::EventStream;
    ///
    /// let es = EventStream::new();
    /// let subscription = es.subscribe(["room-1"])?;
    /// let rooms: Vec<_> = es.channels().map(|(channel, count)| format!("{channel}: {count}")).collect();
    /// assert_eq!(rooms, ["room-1: 1"]);
    /// # Ok::<(), axum_eventstream::Error>(())
    /// ```
    #[must_use]
    pub fn channels(&self) -> impl ExactSizeIterator<Item = (Channel, usize)> + use<> {
        self.inner.hub.channels().into_iter()
    }

    /// Returns the number of subscriptions to a channel in this process: 0 if the name is invalid.
    #[must_use]
    pub fn subscribers(&self, channel: impl AsRef<str>) -> usize {
        let channel = Channel::new(channel);
        channel.map_or(0, |channel| self.inner.hub.subscribers(&channel))
    }

    /// Returns whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.hub.is_closed()
    }

    /// Waits for `signal`, then [closes](Self::close) the stream and waits for detached streams to end: the
    /// future for `axum::serve(..).with_graceful_shutdown`.
    ///
    /// Otherwise graceful shutdown waits for streams that never end. The streams of a
    /// [`net::Listener`](crate::net::Listener) would be cut off without their last chunk, since the server does not
    /// wait for detached sockets. The future waits for these, and up to 5 seconds for a client that does not read.
    ///
    /// To [drain](Self::drain) the streams first, drain as a part of `signal`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use axum::{Router, routing::get};
    /// use axum_eventstream::EventStream;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let es = EventStream::new();
    /// let app = Router::new().route("/events", get(es.handler("news")));
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let ctrl_c = async { tokio::signal::ctrl_c().await.expect("a signal handler") };
    /// axum::serve(listener, app).with_graceful_shutdown(es.close_on(ctrl_c)).await
    /// # }
    /// ```
    pub fn close_on<F: Future>(&self, signal: F) -> impl Future<Output = ()> + use<F> {
        let event_stream = self.clone();
        async move {
            signal.await;
            event_stream.close();
            event_stream
                .inner
                .streams
                .wait_for_detached(DETACHED_WAIT)
                .await;
        }
    }

    /// Returns the position after the last publish, or `None` without history.
    ///
    /// Render a page with it, and open its stream with it as `lastEventId` in the query: the page then misses no
    /// event in between.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::EventStream;
    ///
    /// let es = EventStream::new();
    /// let id = es.current_id().expect("there is history by default");
    /// let script = format!("new EventSource('/events/room-1?lastEventId={id}')");
    /// ```
    #[must_use]
    pub fn current_id(&self) -> Option<LastEventId> {
        let hub = &self.inner.hub;
        let id = || LastEventId::new(hub.epoch(), hub.sequence());
        hub.keeps_history().then(id)
    }

    /// Returns whether each proxy answered the last publish, for a readiness route. Without proxies, or before
    /// the first publish, the result is healthy.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Extension, Router, routing::get};
    /// use axum_eventstream::{EventStream, Health};
    ///
    /// async fn ready(es: EventStream) -> Health {
    ///     es.health()
    /// }
    ///
    /// let app: Router = Router::new().route("/ready", get(ready)).layer(Extension(EventStream::new()));
    /// ```
    pub fn health(&self) -> Health {
        self.inner.proxies.health()
    }

    /// Returns the current numbers and the counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = self.inner.hub.counts();
        let stats = Stats {
            subscriptions: counts.subscriptions,
            channels: counts.channels,
            history_bytes: counts.bytes,
            published: counts.published,
            delivered: counts.delivered,
            lagged: counts.lagged,
            replayed: counts.replayed,
            refused: counts.refused,
            ..Stats::default()
        };
        self.inner.proxies.count(stats)
    }
}

/// A variable of the environment. One that cannot be read must not pass for one that is not set.
fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::config(format!("{name} is not UTF-8"))),
    }
}

impl Publishing {
    /// Gives readers a chance to keep up, and waits for the proxies.
    pub(crate) async fn finish(self) -> Result<Published, Error> {
        match &self.congested {
            Some(log) => Hub::settle(log).await,
            None => tokio::task::consume_budget().await,
        }
        if let Some(in_flight) = self.in_flight {
            in_flight.wait().await?;
        }
        Ok(self.published)
    }
}

impl Default for EventStream {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows counts only: keys are never part of it.
impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("proxies", &self.inner.proxies)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let (kind, advice) = match refused {
            Refused::Closed => (ErrorKind::Closed, "`EventStream::close` was called"),
            Refused::Subscriptions(_) => (ErrorKind::LimitReached, "see `Limits::subscriptions`"),
            Refused::OnChannel(..) => (
                ErrorKind::LimitReached,
                "see `Limits::subscriptions_per_channel`",
            ),
        };
        Self::new(kind, format!("{refused}: {advice}"))
    }
}
