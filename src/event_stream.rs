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

/// How long the streams that left the HTTP server are waited for: more than a driver gives them.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Server-sent events on named channels.
///
/// Handlers subscribe clients to channels, any code publishes to a channel. A clone is a handle on the
/// same stream and costs next to nothing.
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

/// What became of a publish that has not failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The id that the event was given: none without history, or when it has one of its own.
    pub id: Option<LastEventId>,
    /// How many subscriptions in this process the event is for.
    pub subscribers: usize,
}

/// A publish of which the local part is done.
#[must_use]
pub(crate) struct Publishing {
    published: Published,
    crowded: Option<Arc<ChannelLog>>,
    in_flight: Option<InFlight>,
}

impl EventStream {
    /// A stream with the default settings and direct delivery only.
    ///
    /// # Panics
    ///
    /// If the operating system gives no random number. [`builder`](Self::builder) returns that as an
    /// error.
    #[must_use]
    pub fn new() -> Self {
        let built = Self::builder().build();
        built.expect("the defaults are valid")
    }

    /// A stream with the settings of the environment, and direct delivery only if there are none.
    ///
    /// `GRIP_URL` is the control URI of a proxy as in
    /// [`GripConfig`](https://docs.rs/axum-eventstream/latest/axum_eventstream/grip/struct.GripConfig.html),
    /// or several of them separated by white space. `GRIP_VERIFY_KEY` is the key that its signatures
    /// are checked with, for those that do not have one in their URL.
    ///
    /// # Errors
    ///
    /// When a value is wrong; the message names the variable.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().env(variable)?.build()
    }

    /// Settings other than the defaults.
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

    /// Whether both are handles on the same stream.
    #[must_use]
    pub fn same_stream(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// A handler for a route: it subscribes each client to the channels it names.
    ///
    /// The channels are given as
    ///
    /// - a name, or several in an array, a slice or a `Vec`. `{id}` and `<id>` stand for the route's
    ///   parameter of that name, as often as needed, with any text around them. White space around
    ///   this text is trimmed;
    /// - a function of the request's `&Parts` that returns [`IntoChannels`]: a name or several, an `Option`
    ///   of them, or a `Result` whose error is the response.
    ///
    /// A parameter may have any name that a route can have; that of a wildcard route is `{path}` or
    /// `{*path}`. `{{` and `}}` stand for literal braces. Its value is never trimmed: a value that makes the
    /// name of the channel begin or end with white space is refused with 400.
    ///
    /// Every request gets a 500, and the log an error with the fix, when a template
    ///
    /// - names a parameter in braces that the route does not have, as `{rom}`, `{ id }` or `{id:uuid}` may,
    ///   or has any other single brace;
    /// - names an identifier in angles that is no parameter of the route. Other text in angles is literal;
    /// - has the form of a route before axum 0.8, `:id` or `*path`, as the whole text or between slashes,
    ///   and the route has a parameter of that name. Otherwise this is literal text.
    ///
    /// For anything asynchronous, or to decide with extractors who may listen, see
    /// [`open`](Self::open) and [`respond`](Self::respond).
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

    /// A handler for the route of all links for missed events: see
    /// [`grip_link_path`](EventStreamBuilder::grip_link_path).
    ///
    /// No other route follows these links, and this one follows no others.
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

    /// The response that subscribes the client of `request` to `channels`: what a
    /// [`handler`](Self::handler) does, called from your own handler.
    ///
    /// Names are taken as they are: nothing is trimmed, and nothing stands for a route parameter here.
    ///
    /// # Errors
    ///
    /// The refusal, which is a response too.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{extract::Path, http::HeaderMap, response::{IntoResponse, Response}};
    /// use axum_eventstream::{EventStream, Rejection, StreamRequest};
    ///
    /// async fn events(
    ///     es: EventStream,
    ///     Path(room): Path<String>,
    ///     headers: HeaderMap,
    ///     request: StreamRequest,
    /// ) -> Result<Response, Rejection> {
    ///     if !headers.contains_key("authorization") {
    ///         return Ok(axum::http::StatusCode::UNAUTHORIZED.into_response());
    ///     }
    ///     es.respond(&request, [format!("room-{room}")]).await
    /// }
    /// ```
    pub async fn respond<M>(
        &self,
        request: &StreamRequest,
        channels: impl IntoChannels<M>,
    ) -> Result<Response, Rejection> {
        Ok(self.open(request, channels)?.into_response())
    }

    /// Subscribes the client of `request` to `channels`, and returns the response to give later.
    ///
    /// Use it where a check has to be awaited: open first, check then, respond last. The client is
    /// subscribed when this returns, so a revocation that calls [`close_channel`](Self::close_channel) while
    /// the check runs ends the stream. Dropping the [`StreamResponse`] unsubscribes.
    ///
    /// # Errors
    ///
    /// The refusal, which is a response too.
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

    /// Publishes an event to all who listen to `channel`, in this process and behind every proxy.
    ///
    /// Subscribers in this process have the event first. The proxies are then told all at once, each
    /// in the order of the publishes, and their answers awaited.
    ///
    /// # Errors
    ///
    /// Nothing is delivered when the channel's name is invalid or the event too large. When a proxy
    /// fails, subscribers in this process and behind the other proxies have the event; the
    /// error names the endpoint and what happened.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. After it the event is delivered here and will be sent to
    /// the proxies, even if the future is dropped; only their answers are lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Error, Event, EventStream};
    ///
    /// async fn greet(es: &EventStream) -> Result<(), Error> {
    ///     let published = es.publish_event("room-1", Event::json("message", &"hello")?).await?;
    ///     println!("{} are listening here", published.subscribers);
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
            // Under the order lock, so that the proxies get events in the order of their ids.
            in_flight = Some(proxies.enqueue(channel, &bytes, at(sequence), at(previous)));
            bytes
        });
        in_flight.iter_mut().for_each(InFlight::start);
        let subscribers = appended.subscribers;
        self.inner.publishes.count(subscribers);
        Ok(Publishing {
            published: Published { id, subscribers },
            crowded: appended.crowded,
            in_flight,
        })
    }

    /// A handle that publishes to one channel.
    ///
    /// # Errors
    ///
    /// When the name is invalid.
    pub fn channel_publisher(&self, channel: impl AsRef<str>) -> Result<ChannelPublisher, Error> {
        Ok(ChannelPublisher::new(self.clone(), Channel::new(channel)?))
    }

    /// A sink that publishes to one channel, with backpressure: it takes an event when the one before
    /// has been published, through every proxy if there are any.
    ///
    /// # Errors
    ///
    /// When the name is invalid.
    pub fn channel_sink(&self, channel: impl AsRef<str>) -> Result<ChannelSink, Error> {
        Ok(self.channel_publisher(channel)?.sink())
    }

    /// Ends every open stream once it has sent the events that were published until now.
    ///
    /// Later requests get a stream that ends at once with a `retry` of 1 to 5 seconds, so that a browser's
    /// `EventSource` reconnects, to the next process as a rule. Clients of a proxy are not affected: new ones
    /// are held as before, and publishing still reaches them.
    pub fn close(&self) {
        self.inner.hub.close();
    }

    /// Ends the open streams one after another within `budget`, then [closes](Self::close) the stream.
    ///
    /// From the start, later requests are answered as after [`close`](Self::close). Each open stream sends a
    /// `retry` of 1 to 5 seconds and ends at its own time within the budget, so that clients do not reconnect
    /// all at once; until then it goes on as before. A proxy holds its clients all the while.
    ///
    /// A [`Subscription`] in this process goes on until the budget is over. Returns when all streams have
    /// ended: within the budget, and up to 5 seconds later for clients of a
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
        // More than a year is as good as for ever.
        let by = Instant::now() + budget.min(Duration::from_secs(366 * 86_400));
        hub.drain(by);
        hub.empty(by).await;
        hub.close();
        self.inner.streams.departed_have_ended(LAST_WORD).await;
    }

    /// Ends every stream that listens to `channel`, in this process and behind every proxy, after
    /// the events that were published until now. Later subscriptions are unaffected.
    ///
    /// A browser reconnects: to keep it out, refuse its next request. A handler that
    /// [opens](Self::open) the stream before it checks the client cannot miss the call in between.
    ///
    /// # Errors
    ///
    /// When the name is invalid, or a proxy fails.
    pub async fn close_channel(&self, channel: impl AsRef<str>) -> Result<(), Error> {
        let channel = Channel::new(channel)?;
        let Inner { hub, proxies, .. } = &*self.inner;
        let closing = hub.close_channel(&channel, |last| {
            proxies.close_channel(&channel, LastEventId::new(hub.epoch(), last))
        });
        closing.wait().await
    }

    /// The channels that have subscriptions in this process, by name, each with how many.
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

    /// How many subscriptions a channel has in this process: none, if the name is invalid.
    #[must_use]
    pub fn subscribers(&self, channel: impl AsRef<str>) -> usize {
        let channel = Channel::new(channel);
        channel.map_or(0, |channel| self.inner.hub.subscribers(&channel))
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.hub.is_closed()
    }

    /// Waits for `signal`, then [closes](Self::close) the stream: what
    /// `axum::serve(..).with_graceful_shutdown` needs, which else waits for clients that never go.
    ///
    /// Streams that have left the HTTP server through a [`net::Listener`](crate::net::Listener) are
    /// waited for here, a blocked one for 5 seconds.
    ///
    /// To [drain](Self::drain) the streams first, do it as a part of `signal`.
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
                .departed_have_ended(LAST_WORD)
                .await;
        }
    }

    /// The position after the last publish, if there is history: a page that is rendered with it and
    /// names it as `lastEventId` in the query of its stream misses nothing in between.
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

    /// Whether each proxy answered the last publish: for a readiness route. Without proxies, or before the
    /// first publish, all is well.
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

    /// What the stream holds now and has counted since its start.
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
        match &self.crowded {
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
