//! Publishing: first to the subscribers of this process, then to the proxies.

use super::{ChannelPublisher, ChannelSink};
use crate::{
    Channel, Error, ErrorKind, Event, EventStream,
    hub::{ChannelLog, Hub, Key, Sealed},
    proxies::{InFlight, Proxies},
    sse::LastEventId,
};
use std::sync::Arc;

/// The result of a successful publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The id of the event. `None` without history, or if the event was built with an id.
    pub id: Option<LastEventId>,
    /// Number of subscriptions to the channel in this process.
    pub subscribers: usize,
}

/// A publish of which the local part is done. `T` is its result.
#[derive(Default)]
#[must_use]
pub(super) struct Publishing<T> {
    published: T,
    congested: Option<Arc<ChannelLog>>,
    in_flight: Vec<Box<dyn InFlight>>,
}

/// # Publishing
impl EventStream {
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
        self.begin(&Channel::new(channel)?, event)?.finish().await
    }

    /// Publishes several events to the subscribers of `channel`, in order and without another event in between.
    ///
    /// It costs less than as many calls of [`publish_event`](Self::publish_event): one lock, and one request to
    /// each proxy as far as its limits allow. No events are published if one of them is too large.
    ///
    /// A channel's log holds [`History::events`](crate::History::events) of them, 256 by default. Subscribers read
    /// after the call, so they miss the first ones of a longer list and receive a `stream-reset`. Publish such a
    /// list in parts.
    ///
    /// # Errors
    ///
    /// As of [`publish_event`](Self::publish_event). If a proxy fails, it may have accepted some of the events.
    ///
    /// # Cancel safety
    ///
    /// The first poll publishes all events. If the future is dropped later, only the answers of the proxies are
    /// lost.
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
        publishing.finish().await
    }

    /// Publishes an event and waits for nothing: the subscribers in this process have it when the function
    /// returns, and it waits in the queue of each proxy.
    ///
    /// It is not async, so you can call it while you hold a `std::sync::Mutex`. Changes of a state and their
    /// events then have the same order, which [`Snapshot::at`](crate::Snapshot::at) needs.
    ///
    /// Prefer [`publish_event`](Self::publish_event) in a loop: it yields to readers that lag. A proxy that fails
    /// is logged and counted only, and [`health`](Self::health) reports it. Outside of a tokio runtime every proxy
    /// fails.
    ///
    /// # Errors
    ///
    /// If the channel's name is invalid or the event too large, the event is not published.
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

    /// Does the local part of a publish, and puts it in the proxies' queues.
    pub(super) fn begin(
        &self,
        channel: &Channel,
        event: Event,
    ) -> Result<Publishing<Published>, Error> {
        self.check_size(&event)?;
        let mut id = None;
        let Publishing {
            published: subscribers,
            congested,
            in_flight,
        } = self.append(channel, [event], |assigned| id = assigned);
        Ok(Publishing {
            published: Published { id, subscribers },
            congested,
            in_flight,
        })
    }

    pub(super) fn begin_all(
        &self,
        channel: &Channel,
        events: Vec<Event>,
    ) -> Result<Publishing<Vec<Published>>, Error> {
        events.iter().try_for_each(|event| self.check_size(event))?;
        if events.is_empty() {
            return Ok(Publishing::default());
        }
        let mut ids = Vec::with_capacity(events.len());
        let Publishing {
            published: subscribers,
            congested,
            in_flight,
        } = self.append(channel, events, |assigned| ids.push(assigned));
        let published = ids.into_iter().map(|id| Published { id, subscribers });
        Ok(Publishing {
            published: published.collect(),
            congested,
            in_flight,
        })
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

    /// Appends events whose size is checked. Returns the number of subscribers, and passes each event's id to
    /// `assigned`.
    fn append(
        &self,
        channel: &Channel,
        mut events: impl AsMut<[Event]> + IntoIterator<Item = Event>,
        mut assigned: impl FnMut(Option<LastEventId>),
    ) -> Publishing<usize> {
        let (core, proxies) = (self.core(), self.proxies());
        let hub = &core.hub;
        events.as_mut().iter_mut().for_each(Event::prepare);
        let mut in_flight = Vec::new();
        let appended = hub.append(channel, events, |mut event: Event, sequence, previous| {
            let at = |sequence| core.id(sequence);
            let id = (hub.keeps_history() && !event.has_id()).then(|| at(sequence));
            assigned(id);
            let key = event.take_key();
            let key = key.map(|(text, is_removed)| Key { text, is_removed });
            let bytes = event.seal(id);
            // Under the sequencer's lock, so that the proxies get events in the order of their ids.
            let enqueue = |proxies: &dyn Proxies| {
                proxies.enqueue(channel, &bytes, at(sequence), at(previous))
            };
            in_flight.extend(proxies.map(enqueue));
            Sealed { bytes, key }
        });
        in_flight.iter_mut().for_each(|in_flight| in_flight.start());
        Publishing {
            published: appended.subscribers,
            congested: appended.congested,
            in_flight,
        }
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

impl<T> Publishing<T> {
    /// Gives readers a chance to keep up, and waits for the proxies.
    pub(super) async fn finish(self) -> Result<T, Error> {
        match &self.congested {
            Some(log) => Hub::settle(log).await,
            None => tokio::task::consume_budget().await,
        }
        let mut result = Ok(self.published);
        for in_flight in self.in_flight {
            let answered = in_flight.wait().await;
            result = result.and_then(|published| answered.map(|()| published));
        }
        result
    }

    /// Leaves the answers of the proxies to the log.
    pub(super) fn leave(self) -> T {
        self.published
    }
}
