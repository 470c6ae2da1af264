//! The builder of events.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    Event, InvalidEvent, encode,
    invalid_event::{check_id, check_key, check_name, check_retry},
};

/// Builds an [`Event`]: see [`Event::builder`].
///
/// Setters store values, and [`build`](Self::build) validates them. A repeated setter replaces the value,
/// except that [`comment`](Self::comment) adds to the comments.
///
/// # Examples
///
/// ```
/// use axum_eventstream::Event;
/// use std::time::Duration;
///
/// let event = Event::builder()
///     .comment("hi")
///     .event("message")
///     .json_data(&[1, 2])?
///     .id("7")
///     .retry(Duration::from_secs(2))
///     .build()?;
/// assert_eq!(event.encode(), ":hi\nevent: message\ndata: [1,2]\nid: 7\nretry: 2000\n\n");
/// # Ok::<(), axum_eventstream::InvalidEvent>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct EventBuilder {
    comments: Vec<u8>,
    event: Option<String>,
    data: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
    key: Option<String>,
    removes_key: bool,
}

impl EventBuilder {
    /// Sets the name that listeners are registered for. Without one, browsers dispatch `message`.
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.event = Some(name.into());
        self
    }

    /// Sets the data, as text. An event with a name always has a `data` line, since browsers ignore an event
    /// without one.
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Sets the data, as compact JSON.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if the value cannot be serialised.
    pub fn json_data<T>(self, value: &T) -> Result<Self, InvalidEvent>
    where
        T: Serialize + ?Sized,
    {
        let json = serde_json::to_string(value).map_err(InvalidEvent::json)?;
        Ok(self.data(json))
    }

    /// Sets the id that a client sends as `Last-Event-ID` when it reconnects: at most 255 bytes without white
    /// space at either end. The empty id makes the client forget its last one. `error` is not allowed, since a
    /// client that sends it is refused.
    ///
    /// It replaces the id that a stream with history assigns. A client that resumes from it may miss events.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets how long a client waits before it reconnects, in whole milliseconds: a remainder is cut off. At
    /// most `i32::MAX` milliseconds, nearly 25 days: clients misread a longer time.
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    /// Sets the key: what the event is about, such as the symbol of a price. It has 1 to 255 bytes, and is not
    /// sent to clients.
    ///
    /// The event supersedes the earlier events with this key on its channel. A client that keeps up receives
    /// each of them. A client that lags, or that reconnects, receives only the newest event of each key, in the
    /// order of the publishes, and nothing is missing if the others are evicted. Each event should therefore
    /// contain the whole state of its key, not a change.
    ///
    /// Clients behind a proxy receive each event, because the proxy does not know the keys. Only the events
    /// that the proxy missed and asks for are without superseded ones.
    ///
    /// [`History::latest_per_key`](crate::History::latest_per_key) keeps the newest event of every key.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::Event;
    ///
    /// let event = Event::builder().event("price").key("AAPL").data("190.5").build()?;
    /// assert_eq!(event.encode(), "event: price\ndata: 190.5\n\n");
    /// # Ok::<(), axum_eventstream::InvalidEvent>(())
    /// ```
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Makes this the last event of its [`key`](Self::key): it supersedes earlier ones and is delivered as they
    /// are, but it is not kept as the newest event of the key.
    ///
    /// Its data should say that the key is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::Event;
    ///
    /// let gone = Event::builder().event("delisted").data("AAPL").key("AAPL").remove_key().build()?;
    /// # Ok::<(), axum_eventstream::InvalidEvent>(())
    /// ```
    pub fn remove_key(mut self) -> Self {
        self.removes_key = true;
        self
    }

    /// Adds text that clients ignore, written right after a `:`. Each line of it is a comment line.
    pub fn comment(mut self, text: impl AsRef<str>) -> Self {
        encode::comment_lines(&mut self.comments, text.as_ref());
        self
    }

    /// Validates and encodes the event.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if
    ///
    /// - the name is empty, or contains CR, LF or NUL;
    /// - the id has more than 255 bytes, contains CR, LF or NUL, has white space at either end, or is `error`;
    /// - the retry time is above `i32::MAX` milliseconds;
    /// - the key is empty or has more than 255 bytes, or [`remove_key`](Self::remove_key) was called without one;
    /// - nothing but a key was set.
    pub fn build(self) -> Result<Event, InvalidEvent> {
        self.check()?;
        let retry = self.retry.map(check_retry).transpose()?;
        let mut lines = self.comments.clone();
        if let Some(name) = &self.event {
            encode::event_line(&mut lines, name);
        }
        if self.data.is_some() || self.event.is_some() {
            encode::data_lines(&mut lines, self.data.as_deref().unwrap_or_default());
        }
        Ok(Event {
            lines,
            id: self.id.map(String::into_boxed_str),
            retry,
            key: self.key.map(Into::into),
            removes_key: self.removes_key,
        })
    }

    fn check(&self) -> Result<(), InvalidEvent> {
        if let Some(name) = &self.event {
            check_name(name)?;
        }
        if let Some(id) = &self.id {
            check_id(id)?;
        }
        check_key(self.key.as_deref(), self.removes_key)?;
        let nothing = self.comments.is_empty()
            && self.event.is_none()
            && self.data.is_none()
            && self.id.is_none()
            && self.retry.is_none();
        match nothing {
            true => Err(InvalidEvent::nothing()),
            false => Ok(()),
        }
    }
}

/// Shows only the length of the data, which may be private.
impl fmt::Debug for EventBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBuilder")
            .field("event", &self.event)
            .field("id", &self.id)
            .field("retry", &self.retry)
            .field("data_len", &self.data.as_ref().map(String::len))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> EventBuilder {
        Event::builder()
    }

    fn refusal(builder: EventBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn the_order_of_lines_does_not_depend_on_the_order_of_calls() {
        let cases = [
            (builder().data("a"), "data: a\n\n"),
            (builder().event("x"), "event: x\ndata: \n\n"),
            (builder().id(""), "id: \n\n"),
            (builder().retry(Duration::from_micros(1999)), "retry: 1\n\n"),
            (
                builder().retry(Duration::from_nanos(2_147_483_647_999_999)),
                "retry: 2147483647\n\n",
            ),
            (builder().comment(""), ":\n\n"),
            (
                builder().comment("hi").comment("a\rb\r\nc\nd"),
                ":hi\n:a\n:b\n:c\n:d\n\n",
            ),
            (
                builder().data("a").data("").event("x").event("y"),
                "event: y\ndata: \n\n",
            ),
            (builder().json_data("a\n").unwrap(), "data: \"a\\n\"\n\n"),
            (
                builder()
                    .retry(Duration::from_secs(1))
                    .id("7")
                    .data("a\nb")
                    .event("x")
                    .comment("c"),
                ":c\nevent: x\ndata: a\ndata: b\nid: 7\nretry: 1000\n\n",
            ),
        ];
        for (builder, bytes) in cases {
            let event = builder.build().unwrap();
            assert_eq!(event.encode(), bytes);
            assert_eq!(event.encoded_len(), bytes.len());
        }
    }

    #[test]
    fn an_invalid_name_or_id_is_refused() {
        let (long, shown) = ("x".repeat(256), "x".repeat(64));
        let too_long = format!("\"{shown}\"…: it has 256 bytes, at most 255 are allowed");
        let data = || builder().data("a");
        let cases = [
            (builder().event(""), r#"name "": it is empty"#),
            (builder().event("a\r"), r#"name "a\r": '\r' is not allowed"#),
            (builder().id("a\rb"), r#"id "a\rb": '\r' is not allowed"#),
            (builder().id("a\nb"), r#"id "a\nb": '\n' is not allowed"#),
            (builder().id("a\0b"), r#"id "a\0b": '\0' is not allowed"#),
            (builder().id(&*long), &*format!("id {too_long}")),
            (
                builder().id("error"),
                r#"id "error": a client with it is refused when it reconnects"#,
            ),
            (
                builder().id("a "),
                r#"id "a ": it begins or ends with white space"#,
            ),
            (
                data().retry(Duration::from_millis(1 << 31)),
                "retry 2147483648 ms: at most 2147483647 ms are allowed",
            ),
            (
                builder().retry(Duration::MAX),
                "retry 18446744073709551615999 ms: at most 2147483647 ms are allowed",
            ),
            (data().key(""), r#"key "": it is empty"#),
            (data().key(&*long), &*format!("key {too_long}")),
        ];
        for (builder, message) in cases {
            assert_eq!(refusal(builder), format!("invalid event {message}"));
        }
        let no_key = "`remove_key` needs a `key`, and the event has none";
        assert_eq!(refusal(data().remove_key()), no_key);
        let nothing = "the event is empty: it has no name, data, id, retry or comment";
        for builder in [builder(), builder().key("a").remove_key()] {
            assert_eq!(refusal(builder), nothing);
        }
        for valid in [&long[1..], "", "Error", "errors", "a b"] {
            assert!(builder().id(valid).build().is_ok(), "{valid}");
        }
    }

    #[test]
    fn a_key_is_not_encoded_and_may_have_any_characters() {
        for key in ["a", "\0\r\n\u{feff}", &"x".repeat(255)] {
            let mut event = builder().data("a").key(key).build().unwrap();
            assert_eq!(event.encode(), "data: a\n\n");
            assert_eq!(event.take_key(), Some((key.into(), false)));
            assert_eq!(event.take_key(), None);
        }
        let mut removal = builder().data("a").key("a").remove_key().build().unwrap();
        assert_eq!(removal.take_key(), Some(("a".into(), true)));
    }

    #[test]
    fn debug_shows_no_data() {
        let secret = builder().event("a").data("secret").comment("secret");
        let shown =
            r#"EventBuilder { event: Some("a"), id: None, retry: None, data_len: Some(6) }"#;
        assert_eq!(format!("{secret:?}"), shown);
    }
}
