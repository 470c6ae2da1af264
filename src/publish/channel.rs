//! A handle that publishes to one channel.

use super::{ChannelSink, publishing::Publishing};
use crate::{Channel, Error, Event, EventStream, Published};

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
    /// Same as [`EventStream::publish_event`], but the name is valid already.
    pub async fn publish_event(&self, event: Event) -> Result<Published, Error> {
        self.begin(event)?.finish_one().await
    }

    /// Publishes several events: see [`EventStream::publish_events`].
    ///
    /// # Errors
    ///
    /// Same as [`EventStream::publish_events`], but the name is valid already.
    pub async fn publish_events(
        &self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Vec<Published>, Error> {
        let events = events.into_iter().collect();
        let publishing = self.event_stream.begin_all(&self.channel, events)?;
        Ok(publishing.finish().await?.into_vec())
    }

    /// Publishes an event without waiting: see [`EventStream::try_publish`].
    ///
    /// # Errors
    ///
    /// Same as [`EventStream::try_publish`], but the name is valid already.
    pub fn try_publish(&self, event: Event) -> Result<Published, Error> {
        Ok(self.begin(event)?.leave())
    }

    pub(super) fn begin(&self, event: Event) -> Result<Publishing, Error> {
        self.event_stream.begin(&self.channel, event)
    }

    /// Returns a sink that publishes to this channel.
    pub fn sink(&self) -> ChannelSink {
        ChannelSink::new(self.clone())
    }
}
