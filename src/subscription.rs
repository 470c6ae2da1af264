//! Subscriptions for code inside the process.

use crate::{
    Error, ErrorKind, EventStream, LastEventId,
    handler::IntoChannels,
    hub::{Hub, Refused, Start},
    request::Rejection,
    sse::ReceivedEvent,
    stream::{Feed, Next},
};
use axum::response::sse;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio_stream::{Stream, StreamExt};

/// A stream of the events that are published on the channels of a subscription.
///
/// A subscription holds a cursor into each channel's log and has no queue of its own. If events are evicted
/// before it is polled, it yields a `stream-reset` event with the number of missed events. It then
/// continues with the oldest event of the log. The stream ends when the
/// [`EventStream`] is closed. Dropping it unsubscribes.
///
/// # Cancel safety
///
/// `next()` is cancel safe: no event is lost if its future is dropped.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{Event, EventStream};
/// use tokio_stream::StreamExt;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_eventstream::Error> {
/// let es = EventStream::new();
/// let mut subscription = es.subscribe(["room-1"])?;
/// es.publish_event("room-1", Event::text("greeting", "hello")?).await?;
/// let event = subscription.next().await.expect("the stream is open");
/// assert_eq!((event.event(), &*event.data()), ("greeting", "hello"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a subscription ends when it is dropped"]
pub struct Subscription {
    feed: Feed,
}

impl EventStream {
    /// Subscribes to `channels`, a name or several, in code that is not an HTTP handler.
    ///
    /// # Errors
    ///
    /// When there is no channel, a name is invalid, a limit is reached or the `EventStream` is closed. An `Err` among
    /// the [`IntoChannels`] is an [`ErrorKind::InvalidChannel`] with the status of its response.
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
        self.subscription(channels, |_| Start::Live)
    }

    /// Subscribes to `channels` from a position: the events after `id` come first, as for a client that
    /// reconnects with it.
    ///
    /// Without history, or if events after `id` are gone, the subscription begins with a `stream-reset`. With a
    /// [backplane](crate::backplane), the same happens if this instance has not read the log up to `id`: call
    /// [`catch_up`](Self::catch_up) before.
    ///
    /// # Errors
    ///
    /// Same as [`subscribe`](Self::subscribe).
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Event, EventStream};
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), axum_eventstream::Error> {
    /// let es = EventStream::new();
    /// let id = es.current_id().expect("there is history by default");
    /// es.publish_event("room-1", Event::text("greeting", "hello")?).await?;
    /// let mut subscription = es.subscribe_from(["room-1"], id)?;
    /// assert_eq!(subscription.next().await.expect("an event").data(), "hello");
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe_from<M>(
        &self,
        channels: impl IntoChannels<M>,
        id: LastEventId,
    ) -> Result<Subscription, Error> {
        self.subscription(channels, |hub| match hub.keeps_history() {
            true if id.epoch() == hub.epoch() => Start::After(id.sequence()),
            _ => Start::Unknown,
        })
    }

    fn subscription<M>(
        &self,
        channels: impl IntoChannels<M>,
        start: impl FnOnce(&Hub) -> Start,
    ) -> Result<Subscription, Error> {
        let core = self.core();
        if let Some(backplane) = self.backplane() {
            backplane.start();
        }
        let subscribe = || {
            let names = channels.into_channels().map_err(Rejection::into_error)?;
            let channels = core.limits.channels(names)?;
            let feed = Feed::subscribe_at(&core.hub, &channels, start(&core.hub))?;
            Ok(Subscription { feed })
        };
        let subscribed: Result<_, Error> = subscribe();
        subscribed.inspect_err(|error| self.observer().refused(error.kind().reason()))
    }
}

impl Subscription {
    /// Converts the subscription into an axum [`Sse`](axum::response::Sse) response.
    ///
    /// Use this to merge it with other streams, or to configure the response yourself. The response has no
    /// keep-alives and no `stream-open`. axum's event type cannot carry empty data, so an event with
    /// empty data is sent with a single space.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::response::{IntoResponse, Response};
    /// use axum_eventstream::{Error, EventStream};
    ///
    /// async fn events(es: EventStream) -> Result<Response, Error> {
    ///     Ok(es.subscribe(["news"])?.into_sse().into_response())
    /// }
    /// ```
    pub fn into_sse(
        self,
    ) -> axum::response::Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
        axum::response::Sse::new(self.map(|event| Ok(axum_event(&event))))
    }
}

impl Stream for Subscription {
    type Item = ReceivedEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReceivedEvent>> {
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            match self.feed.next(0, None) {
                Next::Frame { bytes, last, .. } => {
                    coop.made_progress();
                    let channel = last.map(|(index, _)| self.feed.reader.channel(index).clone());
                    return Poll::Ready(Some(ReceivedEvent::new(channel, bytes)));
                }
                Next::End => return Poll::Ready(None),
                Next::Empty if self.feed.reader.wait(cx.waker()) => return Poll::Pending,
                Next::Empty => {}
            }
        }
    }
}

fn axum_event(event: &ReceivedEvent) -> sse::Event {
    let mut sent = sse::Event::default().event(event.event());
    if event.has_data() {
        let data = event.data();
        sent = sent.data(if data.is_empty() { " " } else { &data });
    }
    if let Some(id) = event.id() {
        sent = sent.id(id);
    }
    match event.retry() {
        Some(retry) => sent.retry(retry),
        None => sent,
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
