//! Publishing: to the subscribers of this process, and to the proxies.

use super::{ChannelPublisher, ChannelSink};
use crate::{
    Channel, Error, ErrorKind, Event, EventStream,
    backplane::{self, BackplaneHandle, Finished, Receipt},
    few::Few,
    local::Delivered,
    sse::{LastEventId, Stored},
};

/// The result of a successful publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The id of the event. `None` without history, or if the event was built with an id. With a
    /// [backplane](crate::backplane), also `None` from [`try_publish`](EventStream::try_publish), and if this instance has
    /// not read the event back from the log in time.
    pub id: Option<LastEventId>,
    /// Number of subscriptions to the channel in this process.
    pub subscribers: usize,
}

/// A publish that has begun.
#[must_use]
pub(super) enum Publishing {
    /// The subscribers in this process have the events.
    Delivered(Few<Published>, Delivered),
    /// The events wait for the engine of the backplane. Each is [`Published`] without an id so far.
    Queued(Published, Vec<Receipt>),
}

/// # Publishing
impl EventStream {
    /// Publishes an event to the subscribers of `channel`, in this process and behind every proxy.
    ///
    /// Subscribers in this process receive the event without waiting for a proxy. It is sent to all proxies at once, to
    /// each in the order of the publishes, and their answers are awaited. With a [backplane](crate::backplane),
    /// delivery and sending begin after the log has the event.
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
    /// With a [backplane](crate::backplane), the same time limit and queue limits apply to its engine. The kind is then
    /// [`ErrorKind::NotPublished`] or [`ErrorKind::MaybePublished`].
    ///
    /// # Cancel safety
    ///
    /// The first poll publishes the event, or queues it for the log of a backplane. If the future is dropped later,
    /// only the outcome is lost.
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
        self.begin(&Channel::new(channel)?, event)?
            .finish_one()
            .await
    }

    /// Publishes several events to the subscribers of `channel`, in order and without another event in between. With a
    /// [backplane](crate::backplane), that holds for up to 512 events with up to 1 MiB.
    ///
    /// It costs less than one call of [`publish_event`](Self::publish_event) for each event: one lock, and one request
    /// to each proxy as far as its limits allow. No events are published if one of them is too large.
    ///
    /// A channel keeps [`History::events`](crate::History::events) of them, 256 by default. Subscribers read after the
    /// call, so they miss the first ones of a longer list and receive a `stream-reset`. Publish such a list in parts.
    ///
    /// # Errors
    ///
    /// Same as [`publish_event`](Self::publish_event). The proxy or engine that failed may have accepted some of the
    /// events.
    ///
    /// # Cancel safety
    ///
    /// The first poll publishes all events, or queues them for the log of a backplane. If the future is dropped later,
    /// only the outcome is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Event, EventStream};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), axum_eventstream::Error> {
    /// let es = EventStream::new();
    /// let events = [Event::text("step", "one")?, Event::text("step", "two")?];
    /// let published = es.publish_events("room-1", events).await?;
    /// assert_eq!(published.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish_events(
        &self,
        channel: impl AsRef<str>,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Vec<Published>, Error> {
        let publishing = self.begin_all(&Channel::new(channel)?, events.into_iter().collect())?;
        Ok(publishing.finish().await?.into_vec())
    }

    /// Publishes an event without waiting. On return, subscribers in this process have the event, and each proxy's
    /// queue holds it.
    ///
    /// It is not async, so you can call it while you hold a `std::sync::Mutex`. Changes of a state and their
    /// events then have the same order, which [`Snapshot::at`](crate::Snapshot::at) needs.
    ///
    /// Prefer [`publish_event`](Self::publish_event) in a loop: it yields to readers that lag. A proxy that fails
    /// is logged and counted only, and [`health`](Self::health) reports it. Outside of a tokio runtime every proxy
    /// fails.
    ///
    /// With a [backplane](crate::backplane), the function returns before the log has the event. Subscribers do not have
    /// it yet, and it has no [`id`](Published::id). A later failure is logged and counted only.
    ///
    /// # Errors
    ///
    /// If the channel's name is invalid or the event too large, the event is not published. With a backplane,
    /// [`ErrorKind::NotPublished`] if its queue is full, or outside of a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Error, Event, EventStream};
    /// use std::sync::Mutex;
    ///
    /// fn add(es: &EventStream, board: &Mutex<Vec<String>>, text: String) -> Result<(), Error> {
    ///     let mut board = board.lock().unwrap();
    ///     es.try_publish("board", Event::json("added", &text)?)?;
    ///     board.push(text);
    ///     Ok(())
    /// }
    /// ```
    pub fn try_publish(&self, channel: impl AsRef<str>, event: Event) -> Result<Published, Error> {
        Ok(self.begin(&Channel::new(channel)?, event)?.leave())
    }

    /// Delivers an event here and puts it in the proxies' queues, or queues it for the backplane.
    pub(super) fn begin(&self, channel: &Channel, event: Event) -> Result<Publishing, Error> {
        self.check_size(&event)?;
        if let Some(backplane) = self.backplane() {
            return self.queue(backplane, channel, [event]);
        }
        let mut id = None;
        let delivered = self
            .local()
            .deliver(channel, [event], |assigned| id = assigned);
        let subscribers = delivered.appended.subscribers;
        Ok(Publishing::Delivered(
            Few::One(Published { id, subscribers }),
            delivered,
        ))
    }

    pub(super) fn begin_all(
        &self,
        channel: &Channel,
        events: Vec<Event>,
    ) -> Result<Publishing, Error> {
        events.iter().try_for_each(|event| self.check_size(event))?;
        if events.is_empty() {
            return Ok(Publishing::Delivered(
                Few::from_iter([]),
                Delivered::default(),
            ));
        }
        if let Some(backplane) = self.backplane() {
            return self.queue(backplane, channel, events);
        }
        let mut ids = Vec::with_capacity(events.len());
        let delivered = self
            .local()
            .deliver(channel, events, |assigned| ids.push(assigned));
        let subscribers = delivered.appended.subscribers;
        let published = ids.into_iter().map(|id| Published { id, subscribers });
        Ok(Publishing::Delivered(published.collect(), delivered))
    }

    fn queue(
        &self,
        backplane: &BackplaneHandle,
        channel: &Channel,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Publishing, Error> {
        let receipts = backplane.queue(channel, events.into_iter().map(Stored::Event))?;
        let subscribers = self.core().hub.subscribers(channel);
        Ok(Publishing::Queued(
            Published {
                id: None,
                subscribers,
            },
            receipts,
        ))
    }

    fn check_size(&self, event: &Event) -> Result<(), Error> {
        let (length, limit) = (event.encoded_len(), self.core().limits.event_bytes);
        if length > limit {
            let text = format!(
                "the event has {length} bytes, the limit is {limit}: split it, or raise `Limits::event_bytes`"
            );
            self.observer().refused(ErrorKind::LimitReached.reason());
            return Err(Error::new(ErrorKind::LimitReached, text));
        }
        Ok(())
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
}

impl Publishing {
    /// Waits until the events are published, gives readers a chance to keep up, and waits for the proxies.
    pub(super) async fn finish(self) -> Result<Few<Published>, Error> {
        match self {
            Self::Delivered(published, delivered) => {
                delivered.finish().await?;
                Ok(published)
            }
            Self::Queued(queued, receipts) => finish_queued(&queued, receipts).await,
        }
    }

    pub(super) async fn finish_one(self) -> Result<Published, Error> {
        Ok(one(&self.finish().await?))
    }

    /// Does not wait: later failures are only logged and counted.
    pub(super) fn leave(self) -> Published {
        match self {
            Self::Delivered(published, _) => one(&published),
            Self::Queued(published, _) => published,
        }
    }
}

/// The result of a publish of one event.
fn one(published: &[Published]) -> Published {
    published[0].clone()
}

/// Waits for all events, even after one has failed. Returns the last `MaybePublished` failure if there is one,
/// otherwise the first failure.
async fn finish_queued(
    queued: &Published,
    receipts: Vec<Receipt>,
) -> Result<Few<Published>, Error> {
    let count = receipts.len();
    let (mut published, mut failure) = (Vec::with_capacity(count), None);
    for receipt in receipts {
        match backplane::finish(receipt).await {
            Ok(Finished { id, subscribers }) => published.push(Published {
                id,
                subscribers: subscribers.unwrap_or(queued.subscribers),
            }),
            // It replaces other failures, since the list must not be repeated then.
            Err(error) if error.kind() == ErrorKind::MaybePublished => failure = Some(error),
            Err(error) => _ = failure.get_or_insert(error),
        }
    }
    match failure {
        None => Ok(published.into_iter().collect()),
        Some(error) if published.is_empty() => Err(error),
        Some(error) => Err(of_some(error, published.len(), count)),
    }
}

/// The failure of a list of which some events are published: repeating the list would repeat these.
fn of_some(error: Error, published: usize, count: usize) -> Error {
    match error.kind() {
        ErrorKind::NotPublished => {
            let text = format!("{published} of {count} events are published: {error}");
            Error::new(ErrorKind::MaybePublished, text).caused_by(error)
        }
        _ => error,
    }
}
