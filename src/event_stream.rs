//! `EventStream`: a cheap handle on the hub, the proxies and the settings.

use crate::{
    Channel, Error, Health, LastEventId, Stats,
    backplane::{BackplaneHandle, Engine},
    core::Core,
    local::Local,
    observe::Observer,
    proxies::Proxies,
};
use std::{fmt, future::Future, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How long a shutdown waits for detached streams: longer than a driver waits for a client.
const DETACHED_WAIT: Duration = Duration::from_secs(10);

/// How long a shutdown waits for the engine of a backplane.
const FLUSH_WAIT: Duration = Duration::from_secs(5);

/// Server-sent events on named channels.
///
/// Handlers subscribe clients to channels, and any code publishes to a channel. A clone is a cheap handle on the same
/// `EventStream`.
///
/// | to | use |
/// | --- | --- |
/// | create | [`new`](Self::new), [`from_env`](Self::from_env), [`builder`](Self::builder) |
/// | serve | [`handler`](Self::handler); in a custom handler [`open`](Self::open) or [`respond`](Self::respond); [`subscribe`](Self::subscribe) and [`subscribe_from`](Self::subscribe_from) outside of HTTP |
/// | publish | [`publish_event`](Self::publish_event), [`publish_events`](Self::publish_events), [`try_publish`](Self::try_publish), [`channel_publisher`](Self::channel_publisher), [`channel_sink`](Self::channel_sink) |
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
    local: Arc<Local>,
    backplane: Option<Arc<BackplaneHandle>>,
}

impl EventStream {
    /// `engine`: holds the log that this stream shares with others.
    pub(crate) fn from_parts(
        core: Core,
        proxies: Option<Box<dyn Proxies>>,
        engine: Option<Arc<dyn Engine>>,
    ) -> Result<Self, Error> {
        let local = Arc::new(Local { core, proxies });
        let handle = |engine| BackplaneHandle::new(engine, Arc::downgrade(&local)).map(Arc::new);
        let backplane = engine.map(handle).transpose()?;
        Ok(Self { local, backplane })
    }

    pub(crate) fn backplane(&self) -> Option<&BackplaneHandle> {
        self.backplane.as_deref()
    }

    pub(crate) fn core(&self) -> &Core {
        &self.local.core
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn proxies(&self) -> Option<&dyn Proxies> {
        self.local.proxies()
    }

    pub(crate) fn observer(&self) -> &Observer {
        self.core().hub.observer()
    }

    /// Returns whether both are handles on the same `EventStream`.
    #[must_use]
    pub fn same_stream(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.local, &other.local)
    }

    /// Ends every open stream after the events that were published until now.
    ///
    /// Later requests get a stream that ends at once with a `retry` of 1 to 5 seconds. A browser's
    /// `EventSource` then reconnects, usually to the next process. Clients of a proxy are unaffected: it still
    /// holds new ones, and publishing still reaches them.
    pub fn close(&self) {
        self.core().hub.close();
    }

    /// Ends the open streams one after another within `budget`, then [closes](Self::close) the `EventStream`.
    ///
    /// Requests after the call are answered as after [`close`](Self::close). Each open stream sends a
    /// `retry` of 1 to 5 seconds. Streams end at different times within the budget, so clients do not reconnect
    /// all at once. Each receives events until it ends. Clients of a proxy are unaffected.
    ///
    /// A [`Subscription`](crate::Subscription) in this process ends with the budget. The future completes when all
    /// streams have ended, at the latest after the budget. For streams of a [`net::Listener`](crate::net::Listener)
    /// whose clients do not read, it waits up to 5 seconds more. With a [backplane](crate::backplane), it also waits
    /// for queued events, as [`close_on`](Self::close_on) does.
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
        let hub = &self.core().hub;
        // Caps the deadline: `Instant + Duration` may overflow.
        let by = Instant::now() + budget.min(Duration::from_secs(366 * 86_400));
        hub.drain(by);
        hub.wait_until_empty(by).await;
        hub.close();
        self.finish().await;
    }

    /// Waits for what ends with the process: detached streams, and events that wait for the engine of a backplane.
    async fn finish(&self) {
        self.core().streams.wait_for_detached(DETACHED_WAIT).await;
        if let Some(backplane) = self.backplane() {
            // A proxy gets an event from the instance that has published it.
            let flushed = async {
                backplane.idle().await;
                while self.stats().grip_queued > 0 {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            let _ = timeout(FLUSH_WAIT, flushed).await;
        }
    }

    /// Ends every stream that is subscribed to `channel`, in this process and behind every proxy, after
    /// the events that were published until now. Later subscriptions are unaffected.
    ///
    /// A browser reconnects: to exclude it, refuse its next request. A handler that
    /// [opens](Self::open) the stream before it checks the client cannot miss a call in between.
    ///
    /// With a [backplane](crate::backplane), the close is an entry of the log, and ends streams of all instances. If
    /// the engine loses that entry, instances that have not read it send `stream-reset` and keep their streams open.
    /// Limit them with [`max_stream_age`](crate::EventStreamBuilder::max_stream_age) or
    /// [`expires_at`](crate::StreamResponse::expires_at).
    ///
    /// # Errors
    ///
    /// If the name is invalid, or a proxy or the backplane fails: see [`publish_event`](Self::publish_event).
    pub async fn close_channel(&self, channel: impl AsRef<str>) -> Result<(), Error> {
        let channel = Channel::new(channel)?;
        if let Some(backplane) = self.backplane() {
            return backplane.close_channel(&channel).await;
        }
        let core = self.core();
        let closing = core.hub.close_channel(&channel, |last| {
            let proxies = self.proxies()?;
            Some(proxies.close_channel(&channel, core.id(last)))
        });
        match closing {
            Some(closing) => closing.wait().await,
            None => Ok(()),
        }
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
        self.core().hub.channels().into_iter()
    }

    /// Returns the number of subscriptions to a channel in this process: 0 if the name is invalid.
    #[must_use]
    pub fn subscribers(&self, channel: impl AsRef<str>) -> usize {
        let channel = Channel::new(channel);
        channel.map_or(0, |channel| self.core().hub.subscribers(&channel))
    }

    /// Returns whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core().hub.is_closed()
    }

    /// Waits for `signal`, then [closes](Self::close) the `EventStream` and waits for detached streams to end: the
    /// future for `axum::serve(..).with_graceful_shutdown`.
    ///
    /// Without this future, graceful shutdown waits for streams that never end. It also cuts off detached streams of a
    /// [`net::Listener`](crate::net::Listener) before their last chunk. This future waits for detached streams, up to 5
    /// seconds for a client that does not read.
    ///
    /// With a [backplane](crate::backplane), the future then waits up to 5 seconds, until the log has all queued events
    /// and the proxies' queues are empty.
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
            event_stream.finish().await;
        }
    }

    /// Returns the position after the last publish, or `None` without history.
    ///
    /// Render a page with it, and open its stream with it as `lastEventId` in the query: the page then misses no
    /// event in between.
    ///
    /// With a [backplane](crate::backplane), it is the position up to which this instance has read the log, and `None`
    /// until it has read it for the first time.
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
        let hub = &self.core().hub;
        hub.has_positions().then(|| {
            let (epoch, sequence) = hub.position();
            LastEventId::new(epoch, sequence)
        })
    }

    /// Waits until this instance has every event that is in the log of its [backplane](crate::backplane) now, at most
    /// 2 seconds. Returns whether it has. Without a backplane, it returns `true` at once.
    ///
    /// Use it before [`subscribe_from`](Self::subscribe_from) with an id that another instance has given.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Error, EventStream, LastEventId, Subscription};
    ///
    /// async fn resume(es: &EventStream, id: LastEventId) -> Result<Subscription, Error> {
    ///     es.catch_up().await;
    ///     es.subscribe_from(["room-1"], id)
    /// }
    /// ```
    pub async fn catch_up(&self) -> bool {
        match self.backplane() {
            Some(backplane) => backplane.catch_up().await,
            None => true,
        }
    }

    /// Returns the health of each proxy, as of its last publish, and of the connection to the
    /// [backplane](crate::backplane). A proxy is healthy until the first publish. Without proxies and backplane, the
    /// result is healthy.
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
        let proxies = self.proxies().map(Proxies::health);
        Health::new(
            proxies.unwrap_or_default(),
            self.backplane().map(BackplaneHandle::health),
        )
    }

    /// Returns the current numbers and the counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.core().hub.stats();
        if let Some(proxies) = self.proxies() {
            proxies.count(&mut stats);
        }
        if let Some(backplane) = self.backplane() {
            backplane.count(&mut stats);
        }
        stats
    }
}

/// Shows counts only: keys are never part of it.
impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("proxies", &self.proxies())
            .field("backplane", &self.backplane())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
