//! Published messages, and their JSON for the control endpoint.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

/// A message for the streams that a proxy holds on a channel.
///
/// It serialises to the proxy's `http-stream` format.
///
/// # Examples
///
/// ```
/// use axum_eventstream::grip::Item;
///
/// let item = Item::stream("events-test", "data: x\n\n").id("2").prev_id("1");
/// assert_eq!(
///     serde_json::to_string(&item).unwrap(),
///     r#"{"formats":{"http-stream":{"content":"data: x\n\n"}},"id":"2","prev-id":"1","channel":"events-test"}"#
/// );
/// ```
#[derive(Clone)]
pub struct Item {
    channel: Arc<str>,
    message: Message,
    id: Option<Arc<str>>,
    prev_id: Option<Arc<str>>,
    meta: Vec<(String, String)>,
}

#[derive(Clone)]
enum Message {
    Content(Bytes),
    Close,
    Hint,
}

impl Item {
    /// Creates an item that appends `content` to the streams. Content that is not UTF-8 travels as base64.
    pub fn stream(channel: impl Into<Arc<str>>, content: impl Into<Bytes>) -> Self {
        Self::new(channel.into(), Message::Content(content.into()))
    }

    /// Creates an item that ends the streams.
    pub fn close(channel: impl Into<Arc<str>>) -> Self {
        Self::new(channel.into(), Message::Close)
    }

    /// Creates an item that makes the proxy request the next link of each stream.
    pub fn hint(channel: impl Into<Arc<str>>) -> Self {
        Self::new(channel.into(), Message::Hint)
    }

    fn new(channel: Arc<str>, message: Message) -> Self {
        Self {
            channel,
            message,
            id: None,
            prev_id: None,
            meta: Vec::new(),
        }
    }

    /// Sets the id of this message, unique in its channel.
    ///
    /// The proxy drops a second message with the same id, so that sending it again is safe.
    #[must_use]
    pub fn id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the id of the message before this one. A channel with ids needs both on every message.
    #[must_use]
    pub fn prev_id(mut self, prev_id: impl Into<Arc<str>>) -> Self {
        self.prev_id = Some(prev_id.into());
        self
    }

    /// Adds a value for the proxy's filters.
    #[must_use]
    pub fn meta(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.meta.push((name.into(), value.into()));
        self
    }

    /// Whether the proxy recognises a second delivery.
    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// The approximate size in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let content = match &self.message {
            Message::Content(content) => content.len(),
            Message::Close | Message::Hint => 0,
        };
        let meta = self
            .meta
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.channel.len() + content + meta.sum::<usize>()
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_struct("Item", 5)?;
        item.serialize_field(
            "formats",
            &Formats {
                http_stream: &self.message,
            },
        )?;
        if let Some(id) = &self.id {
            item.serialize_field("id", &**id)?;
        }
        if let Some(prev_id) = &self.prev_id {
            item.serialize_field("prev-id", &**prev_id)?;
        }
        if !self.meta.is_empty() {
            item.serialize_field("meta", &Meta(&self.meta))?;
        }
        item.serialize_field("channel", &*self.channel)?;
        item.end()
    }
}

#[derive(serde::Serialize)]
struct Formats<'a> {
    #[serde(rename = "http-stream")]
    http_stream: &'a Message,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut format = serializer.serialize_map(None)?;
        match self {
            Self::Content(content) => match str::from_utf8(content) {
                Ok(text) => format.serialize_entry("content", text)?,
                Err(_) => {
                    format.serialize_entry("content-bin", &BASE64_STANDARD.encode(content))?
                }
            },
            Self::Close | Self::Hint => {
                let close = matches!(self, Self::Close);
                format.serialize_entry("action", if close { "close" } else { "hint" })?;
                format.serialize_entry("content", "")?;
            }
        }
        format.end()
    }
}

struct Meta<'a>(&'a [(String, String)]);

impl Serialize for Meta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Shows the channel and the ids, not the content.
impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item")
            .field("channel", &self.channel)
            .field("id", &self.id)
            .field("prev_id", &self.prev_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_equals_the_json_of_django_eventstream() {
        let table = [
            (
                Item::stream("events-test", "event: message\ndata: \"x\"\n\n"),
                r#"{"formats":{"http-stream":{"content":"event: message\ndata: \"x\"\n\n"}},"channel":"events-test"}"#,
            ),
            (
                Item::stream("é\"", "\0\u{1f}\u{7f}\u{2028}")
                    .id("2")
                    .prev_id("1")
                    .meta("sender", "me"),
                "{\"formats\":{\"http-stream\":{\"content\":\"\\u0000\\u001f\u{7f}\u{2028}\"}},\
                 \"id\":\"2\",\"prev-id\":\"1\",\"meta\":{\"sender\":\"me\"},\"channel\":\"é\\\"\"}",
            ),
            (
                Item::stream("c", vec![0xff]),
                r#"{"formats":{"http-stream":{"content-bin":"/w=="}},"channel":"c"}"#,
            ),
            (
                Item::close("c"),
                r#"{"formats":{"http-stream":{"action":"close","content":""}},"channel":"c"}"#,
            ),
            (
                Item::hint("c"),
                r#"{"formats":{"http-stream":{"action":"hint","content":""}},"channel":"c"}"#,
            ),
        ];
        for (item, expected) in table {
            assert_eq!(serde_json::to_string(&item).unwrap(), expected);
        }
    }

    #[test]
    fn debug_shows_no_content() {
        let item = Item::stream("c", "hush").id("1").meta("user", "hush");
        assert_eq!(
            format!("{item:?}"),
            r#"Item { channel: "c", id: Some("1"), prev_id: None, .. }"#
        );
    }
}
