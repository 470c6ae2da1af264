//! A sink of events for one channel.

use super::ChannelPublisher;
use crate::{Error, Event, Published};
use futures_sink::Sink;
use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

type InFlight = Pin<Box<dyn Future<Output = Result<Published, Error>> + Send>>;

/// A [`Sink`] of events for one channel.
///
/// Without a [backplane](crate::backplane), subscribers in this process have an event once the sink has accepted it.
/// The sink accepts the next event when the log, if there is one, and every proxy have answered. So a slow proxy slows
/// down the source. With [`max_in_flight`](Self::max_in_flight), it accepts several events before these answers, and
/// keeps their order.
///
/// A failed publish is the error of a later call. The sink can be used after it. Flushing waits for all
/// publishes in flight. Dropping the sink loses only their outcome.
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
/// numbers.forward(es.channel_sink("numbers")?.max_in_flight(64)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a sink does nothing unless events are sent to it"]
pub struct ChannelSink {
    publisher: ChannelPublisher,
    in_flight: VecDeque<InFlight>,
    max_in_flight: usize,
}

impl ChannelSink {
    pub(super) fn new(publisher: ChannelPublisher) -> Self {
        Self {
            publisher,
            in_flight: VecDeque::new(),
            max_in_flight: 1,
        }
    }

    /// Sets how many publishes may wait for answers of the proxies and the backplane at a time: 1 by default, and at
    /// least 1.
    ///
    /// With one, the rate of events is at most one for each round trip to the slowest proxy or to the backplane. With
    /// more, the events that wait are sent in one request. The order is the same.
    pub fn max_in_flight(mut self, publishes: usize) -> Self {
        self.max_in_flight = publishes.max(1);
        self
    }

    /// Waits until at most `limit` publishes are in flight.
    fn poll_until(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.in_flight.len() > limit {
            let Some(oldest) = self.in_flight.front_mut() else {
                break;
            };
            let result = ready!(oldest.as_mut().poll(cx));
            self.in_flight.pop_front();
            result?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Sink<Event> for ChannelSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let limit = self.max_in_flight - 1;
        self.poll_until(limit, cx)
    }

    /// Without a backplane, subscribers in this process have the event when this returns.
    fn start_send(mut self: Pin<&mut Self>, event: Event) -> Result<(), Error> {
        let publishing = self.publisher.begin(event)?;
        self.in_flight.push_back(Box::pin(publishing.finish_one()));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_until(0, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_until(0, cx)
    }
}

impl fmt::Debug for ChannelSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSink")
            .field("channel", self.publisher.channel())
            .field("in_flight", &self.in_flight.len())
            .finish()
    }
}
