//! The event that a subscriber in this process receives.

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{decode, tagged};
use crate::Channel;

/// An event that a `Subscription` yields: the bytes that clients receive, decoded on demand.
///
/// A clone shares the bytes.
#[derive(Clone)]
pub struct ReceivedEvent {
    bytes: Bytes,
    channel: Option<Channel>,
}

impl ReceivedEvent {
    /// Wraps the bytes of an event that [`Event`](super::Event) encoded.
    pub(crate) fn new(channel: Option<Channel>, bytes: Bytes) -> Self {
        Self { bytes, channel }
    }

    /// Returns the channel that the event was published to; `None` for an event of the stream itself, such as
    /// `stream-reset`.
    #[must_use]
    pub fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Returns the name of the event, `message` by default.
    #[must_use]
    pub fn event(&self) -> &str {
        decode::value(&self.bytes, "event").unwrap_or("message")
    }

    /// Returns the data, with LF for each line break.
    #[must_use]
    pub fn data(&self) -> Cow<'_, str> {
        decode::data(&self.bytes)
    }

    /// Whether the event has data, which may be empty: clients dispatch nothing without.
    pub(crate) fn has_data(&self) -> bool {
        decode::value(&self.bytes, "data").is_some()
    }

    /// Deserialises the data as JSON.
    ///
    /// # Errors
    ///
    /// The data is not JSON, or not of this type: the error of `serde_json`.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.data())
    }

    /// Deserialises the event as a variant of an enum: its name selects the variant, and its data is the content
    /// as JSON. It is the inverse of [`Event::tagged`](super::Event::tagged).
    ///
    /// A variant with `#[serde(other)]` takes all other events, whose data may be anything. These include
    /// `stream-reset`, which a variant of that name reads.
    ///
    /// # Errors
    ///
    /// No variant has the name, the data is not JSON or not of the variant's type, or `T` is not an enum in
    /// serde's default representation, externally tagged. The error names the event.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Event, EventStream};
    /// use serde::{Deserialize, Serialize};
    /// use tokio_stream::StreamExt;
    ///
    /// #[derive(Serialize, Deserialize, Debug, PartialEq)]
    /// #[serde(rename_all = "kebab-case")]
    /// enum Change {
    ///     ItemRemoved(u32),
    ///     StreamReset { missed: Option<u64> },
    ///     #[serde(other)]
    ///     Unknown,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let es = EventStream::new();
    /// let mut subscription = es.subscribe("list")?;
    /// es.publish_event("list", Event::tagged(&Change::ItemRemoved(7))?).await?;
    /// es.publish_event("list", Event::text("note", "hello")?).await?;
    ///
    /// let event = subscription.next().await.expect("the stream is open");
    /// assert_eq!(event.tagged::<Change>()?, Change::ItemRemoved(7));
    /// let event = subscription.next().await.expect("the stream is open");
    /// assert_eq!(event.tagged::<Change>()?, Change::Unknown);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tagged<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        tagged::from_event(self.event(), &self.data())
    }

    /// Returns the id, the event's own or the one that the stream assigned.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        decode::value(&self.bytes, "id")
    }

    /// Returns the time that a client waits before it reconnects, in whole milliseconds.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        let milliseconds = decode::value(&self.bytes, "retry")?.parse().ok()?;
        Some(Duration::from_millis(milliseconds))
    }

    /// Returns the bytes that clients receive.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Shows only the length of the data, which may be private.
impl fmt::Debug for ReceivedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedEvent")
            .field("channel", &self.channel)
            .field("event", &self.event())
            .field("id", &self.id())
            .field("retry", &self.retry())
            .field("data_len", &decode::data_len(&self.bytes))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;
    use crate::{Event, LastEventId, text::has_outer_white_space};

    fn received(bytes: &'static str) -> ReceivedEvent {
        ReceivedEvent::new(None, Bytes::from_static(bytes.as_bytes()))
    }

    #[test]
    fn an_event_has_its_channel() {
        let channel = Channel::new("a").unwrap();
        let event = ReceivedEvent::new(Some(channel.clone()), Bytes::new());
        assert_eq!(event.channel(), Some(&channel));
    }

    #[test]
    fn an_event_with_empty_data_has_data() {
        let cases = [
            ("data: a\n\n", true),
            ("data: \n\n", true),
            ("id: data\n\n", false),
        ];
        for (bytes, expected) in cases {
            assert_eq!(received(bytes).has_data(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_event_of_comments_has_no_fields() {
        let event = received(":event: x\n:data: x\n\n");
        assert_eq!((event.event(), &*event.data()), ("message", ""));
        assert_eq!(event.as_bytes(), ":event: x\n:data: x\n\n");
    }

    #[test]
    fn json_may_have_several_data_lines() {
        let event = received("data: [1,\ndata: 2]\n\n");
        assert_eq!(event.json::<Vec<u8>>().unwrap(), [1, 2]);
        assert!(event.json::<String>().is_err());
        assert!(received("id: 1\n\n").json::<()>().is_err());
    }

    #[test]
    fn debug_shows_no_data() {
        let sealed = Event::text("x", "secret")
            .unwrap()
            .seal(Some(LastEventId::new(1, 2)));
        let event = ReceivedEvent::new(Some(Channel::new("test").unwrap()), sealed);
        assert_eq!(
            format!("{event:?}"),
            "ReceivedEvent { channel: Some(\"test\"), event: \"x\", \
             id: Some(\"000000000001-2\"), retry: None, data_len: 6 }"
        );
    }

    proptest! {
        #[test]
        fn a_sealed_event_survives_a_round_trip(
            comment in ".{0,9}",
            name in option::of("[^\r\n\0]{1,9}"),
            data in "[a: \r\né\"]{0,20}",
            id in option::of("[^\r\n\0]{0,9}"),
            retry in option::of(0..=i32::MAX as u64),
            assigned in option::of(any::<u64>()),
        ) {
            let id = id.filter(|id| !has_outer_white_space(id) && id != "error");
            let assigned = assigned.map(|sequence| LastEventId::new(sequence, sequence));
            let mut builder = Event::builder().comment(comment).data(&*data);
            if let Some(name) = &name {
                builder = builder.event(name);
            }
            if let Some(id) = &id {
                builder = builder.id(id);
            }
            if let Some(retry) = retry {
                builder = builder.retry(Duration::from_millis(retry));
            }
            let event = ReceivedEvent::new(None, builder.build().unwrap().seal(assigned));
            let id = id.or(assigned.map(|id| id.to_string()));
            prop_assert_eq!(event.event(), name.as_deref().unwrap_or("message"));
            prop_assert_eq!(event.data(), data.replace("\r\n", "\n").replace('\r', "\n"));
            prop_assert_eq!(event.id(), id.as_deref());
            prop_assert_eq!(event.retry(), retry.map(Duration::from_millis));
        }
    }
}
