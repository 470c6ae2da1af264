//! Subscriptions for code inside the process.

use crate::{
    feed::{Feed, Next},
    sse::ReceivedEvent,
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
/// [`EventStream`](crate::EventStream) is closed. Dropping it unsubscribes.
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

impl Subscription {
    pub(crate) fn new(feed: Feed) -> Self {
        Self { feed }
    }

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
                    let channel = last.map(|(index, _)| self.feed.channel(index).clone());
                    return Poll::Ready(Some(ReceivedEvent::new(channel, bytes)));
                }
                Next::End => return Poll::Ready(None),
                Next::Empty if self.feed.wait(cx.waker()) => return Poll::Pending,
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
