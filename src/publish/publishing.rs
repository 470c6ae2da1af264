//! Publishing: first to the subscribers of this process, then to the proxies.

use super::{ChannelPublisher, ChannelSink};
use crate::{
    Channel, Error, ErrorKind, Event, EventStream,
    core::Core,
    hub::{ChannelLog, Hub},
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

/// A publish of which the local part is done.
#[must_use]
pub(crate) struct Publishing {
    published: Published,
    congested: Option<Arc<ChannelLog>>,
    in_flight: Option<Box<dyn InFlight>>,
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
        self.publish(&Channel::new(channel)?, event)?.finish().await
    }

    /// Does the local part of a publish, and puts it in the proxies' queues.
    pub(crate) fn publish(&self, channel: &Channel, mut event: Event) -> Result<Publishing, Error> {
        let (core, proxies) = (self.core(), self.proxies());
        let Core { hub, limits, .. } = core;
        let (length, limit) = (event.encoded_len(), limits.event_bytes);
        if length > limit {
            let text = format!(
                "the event has {length} bytes, the limit is {limit}: split it, or raise `Limits::event_bytes`"
            );
            self.observer().refused(ErrorKind::LimitReached.reason());
            return Err(Error::new(ErrorKind::LimitReached, text));
        }
        event.prepare();
        let assigns_id = hub.keeps_history() && !event.has_id();
        let (mut id, mut in_flight) = (None, None);
        let appended = hub.append(channel, |sequence, previous| {
            let at = |sequence| core.id(sequence);
            id = assigns_id.then(|| at(sequence));
            let bytes = event.seal(id);
            // Under the sequencer's lock, so that the proxies get events in the order of their ids.
            let enqueue = |proxies: &dyn Proxies| {
                proxies.enqueue(channel, &bytes, at(sequence), at(previous))
            };
            in_flight = proxies.map(enqueue);
            bytes
        });
        if let Some(in_flight) = &mut in_flight {
            in_flight.start();
        }
        let subscribers = appended.subscribers;
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
