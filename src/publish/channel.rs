//! Handles that publish to one channel.

use crate::{Channel, Error, Event, EventStream, Published};
use futures_sink::Sink;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Publishes to one channel. A clone is cheap.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{Event, EventStream};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_eventstream::Error> {
/// let room = EventStream::new().channel_publisher("room-1")?;
/// room.publish_event(Event::text("message", "one")?).await?;
/// room.publish_event(Event::text("message", "two")?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChannelPublisher {
    event_stream: EventStream,
    channel: Channel,
}

impl ChannelPublisher {
    pub(crate) fn new(event_stream: EventStream, channel: Channel) -> Self {
        Self {
            event_stream,
            channel,
        }
    }

    /// Returns the channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Publishes an event: see [`EventStream::publish_event`].
    ///
    /// # Errors
    ///
    /// As of [`EventStream::publish_event`], except for the name.
    pub async fn publish_event(&self, event: Event) -> Result<Published, Error> {
        let publishing = self.event_stream.publish(&self.channel, event)?;
        publishing.finish().await
    }

    /// Returns a sink that publishes to this channel.
    pub fn sink(&self) -> ChannelSink {
        ChannelSink {
            publisher: self.clone(),
            in_flight: None,
        }
    }
}

type InFlight = Pin<Box<dyn Future<Output = Result<Published, Error>> + Send>>;

/// A [`Sink`] of events for one channel.
///
/// It takes one event at a time, and is ready again once that event is published to every proxy. The next call
/// returns the error of a publish; the sink can be used after it. Dropping the sink loses only the outcome of a
/// publish in flight.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{Event, EventStream};
/// use futures_util::{SinkExt, StreamExt, stream};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_eventstream::Error> {
/// let es = EventStream::new();
/// let numbers = stream::iter(1..=3).map(|n| Ok(Event::json("number", &n)?));
/// numbers.forward(es.channel_sink("numbers")?).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a sink does nothing unless events are sent to it"]
pub struct ChannelSink {
    publisher: ChannelPublisher,
    in_flight: Option<InFlight>,
}

impl ChannelSink {
    /// Waits for the publish in flight.
    fn poll_published(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(in_flight) = &mut self.in_flight else {
            return Poll::Ready(Ok(()));
        };
        let result = ready!(in_flight.as_mut().poll(cx));
        self.in_flight = None;
        Poll::Ready(result.map(drop))
    }
}

impl Sink<Event> for ChannelSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_published(cx)
    }

    /// Subscribers in this process have the event when this returns.
    fn start_send(mut self: Pin<&mut Self>, event: Event) -> Result<(), Error> {
        let ChannelPublisher {
            event_stream,
            channel,
        } = &self.publisher;
        let publishing = event_stream.publish(channel, event)?;
        self.in_flight = Some(Box::pin(publishing.finish()));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_published(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_published(cx)
    }
}

impl fmt::Debug for ChannelSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSink")
            .field("channel", &self.publisher.channel)
            .field("in_flight", &self.in_flight.is_some())
            .finish()
    }
}
