//! The event that an application publishes.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use super::{
    EventBuilder, InvalidEvent, LastEventId, decode, encode, encode::Id, invalid_event::check_name,
    tagged,
};

/// Initial room for JSON, whose length is not known in advance.
const JSON_ROOM: usize = 256;

/// A server-sent event: a name, data, and optionally an id, a retry time and comments.
///
/// It is validated and encoded when it is built, so a publish never fails on an invalid event. Data may contain
/// anything; LF, CR and CRLF are one line break each, and clients receive LF. Names and ids must not contain
/// CR, LF or NUL.
///
/// # Examples
///
/// ```
/// use axum_eventstream::Event;
///
/// let event = Event::json("message", &[1, 2])?;
/// assert_eq!(event.encode(), "event: message\ndata: [1,2]\n\n");
///
/// let event = Event::text("note", "two\nlines")?;
/// assert_eq!(event.encode(), "event: note\ndata: two\ndata: lines\n\n");
/// # Ok::<(), axum_eventstream::InvalidEvent>(())
/// ```
#[derive(Clone)]
pub struct Event {
    /// The encoded comment, `event` and `data` lines.
    pub(super) lines: Vec<u8>,
    pub(super) id: Option<Box<str>>,
    /// In milliseconds.
    pub(super) retry: Option<u64>,
    pub(super) key: Option<Arc<str>>,
    pub(super) removes_key: bool,
}

impl Event {
    /// Creates an event whose data is the value as compact JSON.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if the name is empty or contains CR, LF or NUL, or the value cannot be serialised.
    pub fn json<T>(name: impl AsRef<str>, value: &T) -> Result<Self, InvalidEvent>
    where
        T: Serialize + ?Sized,
    {
        let mut event = Self::start(name.as_ref())?;
        encode::json_lines(&mut event.lines, value).map_err(InvalidEvent::json)?;
        Ok(event)
    }

    /// Creates an event from a variant of an enum. The variant, as serde renames it, is the event's name, and its
    /// content is the data as compact JSON.
    ///
    /// | variant | `event` | `data` |
    /// | --- | --- | --- |
    /// | `Cleared` | `Cleared` | `null` |
    /// | `Removed(7)` | `Removed` | `7` |
    /// | `Moved(7, 2)` | `Moved` | `[7,2]` |
    /// | `Added { id: 7 }` | `Added` | `{"id":7}` |
    ///
    /// [`ReceivedEvent::tagged`](crate::ReceivedEvent::tagged) is the inverse.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if
    ///
    /// - the value is not an enum in serde's default representation, externally tagged. Enums with
    ///   `#[serde(tag = "..")]` or `#[serde(untagged)]` are not: they are serialised as other values are;
    /// - the name is empty or contains CR, LF or NUL;
    /// - the content cannot be serialised.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::Event;
    /// use serde::Serialize;
    ///
    /// #[derive(Serialize)]
    /// #[serde(rename_all = "kebab-case")]
    /// enum Change<'a> {
    ///     ItemAdded { id: u32, text: &'a str },
    ///     ItemRemoved(u32),
    ///     Cleared,
    /// }
    ///
    /// let event = Event::tagged(&Change::ItemAdded { id: 7, text: "tea" })?;
    /// assert_eq!(event.encode(), "event: item-added\ndata: {\"id\":7,\"text\":\"tea\"}\n\n");
    ///
    /// let event = Event::tagged(&Change::ItemRemoved(7))?;
    /// assert_eq!(event.encode(), "event: item-removed\ndata: 7\n\n");
    ///
    /// let event = Event::tagged(&Change::Cleared)?;
    /// assert_eq!(event.encode(), "event: cleared\ndata: null\n\n");
    /// # Ok::<(), axum_eventstream::InvalidEvent>(())
    /// ```
    pub fn tagged<T>(value: &T) -> Result<Self, InvalidEvent>
    where
        T: Serialize + ?Sized,
    {
        tagged::to_event(value)
    }

    /// Creates an event whose data is text.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if the name is empty or contains CR, LF or NUL.
    pub fn text(name: impl AsRef<str>, data: impl AsRef<str>) -> Result<Self, InvalidEvent> {
        let name = name.as_ref();
        check_name(name)?;
        Ok(Self::own(name, data.as_ref()))
    }

    /// Returns a builder, for an event with more than a name and data.
    pub fn builder() -> EventBuilder {
        EventBuilder::default()
    }

    /// Creates an event whose name is known to be valid.
    pub(super) fn own(name: &str, data: &str) -> Self {
        let mut event = Self::with_room(name, data.len());
        encode::data_lines(&mut event.lines, data);
        event
    }

    /// Creates an event without data lines.
    pub(super) fn start(name: &str) -> Result<Self, InvalidEvent> {
        check_name(name)?;
        Ok(Self::with_room(name, JSON_ROOM))
    }

    fn with_room(name: &str, data_len: usize) -> Self {
        let room = encode::OVERHEAD + name.len() + data_len + encode::END;
        let mut lines = Vec::with_capacity(room);
        encode::event_line(&mut lines, name);
        Self {
            lines,
            id: None,
            retry: None,
            key: None,
            removes_key: false,
        }
    }

    /// Returns the bytes that a client receives if the `EventStream` assigns no id.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend_from_slice(&self.lines);
        encode::end(&mut bytes, self.id.as_deref().map(Id::Own), self.retry);
        bytes.into()
    }

    /// Reserves room for the lines that [`seal`](Self::seal) adds, and frees any other, since sealing must not
    /// copy a large event.
    pub(crate) fn prepare(&mut self) {
        let more = self.encoded_len() - self.lines.len() + encode::END;
        self.lines.reserve_exact(more);
        self.lines.shrink_to(self.lines.len() + more);
    }

    /// Returns the bytes that clients receive, without slack. The event's own id takes precedence over `id`.
    pub(crate) fn seal(mut self, id: Option<LastEventId>) -> Bytes {
        let own = self.id.as_deref().map(Id::Own);
        encode::end(&mut self.lines, own.or(id.map(Id::Position)), self.retry);
        self.lines.into_boxed_slice().into()
    }

    /// Takes the key, and whether the event removes it.
    pub(crate) fn take_key(&mut self) -> Option<(Arc<str>, bool)> {
        Some((self.key.take()?, self.removes_key))
    }

    /// Whether the event has an id of its own, which may be empty.
    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Returns the length of [`encode`](Self::encode) in bytes.
    pub(crate) fn encoded_len(&self) -> usize {
        let id = self.id.as_ref().map_or(0, |id| "id: \n".len() + id.len());
        let retry = self.retry.map_or(0, |milliseconds| {
            "retry: \n".len() + itoa::Buffer::new().format(milliseconds).len()
        });
        self.lines.len() + id + retry + "\n".len()
    }
}

/// Shows only the length of the data, which may be private.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event", &decode::value(&self.lines, "event"))
            .field("id", &self.id)
            .field("retry_ms", &self.retry)
            .field("data_len", &decode::data_len(&self.lines))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, error::Error as _, time::Duration};

    use super::*;
    use crate::{Error, ErrorKind};

    fn text(name: &str, data: &str) -> Event {
        Event::text(name, data).unwrap()
    }

    fn position() -> Option<LastEventId> {
        Some(LastEventId::new(0xab, 12))
    }

    #[test]
    fn a_large_event_takes_little_more_memory_than_its_bytes() {
        let event = text(&"n".repeat(4000), &"d".repeat(100_000));
        assert!((104_000..105_000).contains(&event.lines.capacity()));
    }

    #[test]
    fn an_event_is_its_name_its_data_and_a_blank_line() {
        let cases = [
            (text("test", "a"), "event: test\ndata: a\n\n"),
            (text("test", ""), "event: test\ndata: \n\n"),
            (
                text(" a:b ", "x\r\ny"),
                "event:  a:b \ndata: x\ndata: y\n\n",
            ),
            (
                Event::json("é", "a\nb").unwrap(),
                "event: é\ndata: \"a\\nb\"\n\n",
            ),
            (Event::json("n", &()).unwrap(), "event: n\ndata: null\n\n"),
        ];
        for (event, bytes) in cases {
            assert_eq!(event.encode(), bytes);
            assert_eq!(event.encoded_len(), bytes.len());
            assert!(!event.has_id());
            assert_eq!(event.seal(None), bytes);
        }
    }

    #[test]
    fn a_prepared_event_has_room_for_the_lines_that_sealing_adds() {
        let lines = "x\n".repeat(10_000);
        let json = vec![1; 10_000];
        let own = Event::builder().data(&lines).id("own").build().unwrap();
        for mut event in [
            text("test", &lines),
            Event::json("test", &json).unwrap(),
            own,
        ] {
            event.prepare();
            let (capacity, length) = (event.lines.capacity(), event.lines.len());
            let sealed = event.seal(position());
            assert!(length < sealed.len() && sealed.len() <= capacity);
            assert!(capacity < length + 100);
        }
    }

    #[test]
    fn an_id_of_the_event_replaces_the_position() {
        let retry = Duration::from_millis(5);
        let event = Event::builder().data("a").id("own").retry(retry);
        let event = event.build().unwrap();
        let bytes = "data: a\nid: own\nretry: 5\n\n";
        assert!(event.has_id());
        assert_eq!(event.encode(), bytes);
        assert_eq!(event.encoded_len(), bytes.len());
        assert_eq!(event.seal(position()), bytes);
    }

    #[test]
    fn invalid_names_are_refused_with_name_and_rule() {
        let cases = [
            ("", r#"invalid event name "": it is empty"#),
            ("a\nb", r#"invalid event name "a\nb": '\n' is not allowed"#),
            ("a\rb", r#"invalid event name "a\rb": '\r' is not allowed"#),
            ("a\0", r#"invalid event name "a\0": '\0' is not allowed"#),
        ];
        for (name, message) in cases {
            let error = Event::text(name, "secret").unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(Event::json(name, &1).unwrap_err().to_string(), message);
            assert_eq!(Error::from(error).kind(), ErrorKind::InvalidEvent);
        }
    }

    #[test]
    fn a_value_that_cannot_be_serialised_is_an_error_with_its_cause() {
        let error = Event::json("test", &BTreeMap::from([((1, 2), 3)])).unwrap_err();
        let message = "the data of the event cannot be serialised as JSON";
        assert_eq!(error.to_string(), message);
        let cause = error.source().unwrap();
        assert!(cause.is::<serde_json::Error>());
        assert_eq!(cause.to_string(), "key must be a string");
    }

    #[test]
    fn debug_shows_no_data() {
        let event = Event::builder().event("a").data("secret\r\n").id("7");
        assert_eq!(
            format!("{:?}", event.build().unwrap()),
            r#"Event { event: Some("a"), id: Some("7"), retry_ms: None, data_len: 7 }"#
        );
    }
}
