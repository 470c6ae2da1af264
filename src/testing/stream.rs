//! An open stream of a test.

use super::TestClient;
use crate::{Event, ReceivedEvent, sse};
use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use serde::Serialize;
use serde_json::Value;
use std::{fmt, future::poll_fn, pin::Pin, time::Duration};
use tokio::time::{Instant, timeout_at};

/// A stream that a [`TestClient`] has opened. Dropping it disconnects.
///
/// Keep-alives and comments are not yielded as events: they are [counted](Self::keep_alives).
pub struct TestStream {
    client: TestClient,
    path: String,
    headers: HeaderMap,
    body: Body,
    received: BytesMut,
    last_event_id: Option<String>,
    retry: Option<Duration>,
    keep_alives: usize,
}

/// The next item of a stream.
enum Next {
    Event(ReceivedEvent),
    End,
    /// The body has failed.
    Broken,
    /// The time limit has passed.
    Silence,
}

impl TestStream {
    pub(super) async fn open(client: TestClient, path: &str, response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let mut stream = Self {
            client,
            path: path.to_owned(),
            headers: parts.headers,
            body,
            received: BytesMut::new(),
            last_event_id: None,
            retry: None,
            keep_alives: 0,
        };
        stream.expect_opening().await;
        stream
    }

    /// Reads the opening, which is an event or a comment.
    async fn expect_opening(&mut self) {
        let opening = self.block(Instant::now() + self.client.waits()).await;
        let opening = self.event(opening);
        let is_comment = opening.as_bytes().starts_with(b":stream-open\n");
        assert!(
            is_comment || opening.event() == "stream-open",
            "{}: not the opening but {}",
            self.path,
            shown(&opening)
        );
    }

    /// Returns the headers of the response.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the last received id, from which a client would resume.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// Returns the last received reconnect time. A stream sends one before its end at a drain, at its maximum age,
    /// when it expires, and if its snapshot fails.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Returns the number of keep-alives and comments received.
    #[must_use]
    pub fn keep_alives(&self) -> usize {
        self.keep_alives
    }

    /// Returns the next event.
    ///
    /// # Panics
    ///
    /// No event arrives in time, or the stream has ended.
    pub async fn next(&mut self) -> ReceivedEvent {
        let next = self.within(self.client.waits()).await;
        self.event(next)
    }

    fn event(&self, next: Next) -> ReceivedEvent {
        match next {
            Next::Event(event) => event,
            other => self.fail("event", &other),
        }
    }

    fn fail(&self, expected: &str, found: &Next) -> ! {
        let (path, limit) = (&self.path, self.client.waits());
        match found {
            Next::Event(event) => panic!("{path}: not the {expected} but {}", shown(event)),
            Next::End => panic!("{path}: the stream has ended"),
            Next::Broken => panic!("{path}: the stream has broken off"),
            Next::Silence => panic!("{path}: no {expected} within {limit:?}"),
        }
    }

    /// Returns the next event, which must have this name.
    ///
    /// # Panics
    ///
    /// The event has another name, or none arrives in time.
    pub async fn expect(&mut self, name: &str) -> ReceivedEvent {
        let event = self.next().await;
        let is = shown(&event);
        assert!(
            event.event() == name,
            "{}: not {name:?} but {is}",
            self.path
        );
        event
    }

    /// Returns the next event, which must have this name and this value as JSON.
    ///
    /// # Panics
    ///
    /// The event differs, or none arrives in time.
    pub async fn expect_json<T>(&mut self, name: &str, value: &T) -> ReceivedEvent
    where
        T: Serialize + ?Sized,
    {
        let event = self.expect(name).await;
        let expected = serde_json::to_value(value).expect("a value that JSON can express");
        let is = event.json::<Value>().ok();
        assert!(
            is.as_ref() == Some(&expected),
            "{}: not {expected} but {}",
            self.path,
            shown(&event)
        );
        event
    }

    /// Returns the next event, which must be the one that [`Event::tagged`] makes of this value.
    ///
    /// # Panics
    ///
    /// The event differs, none arrives in time, or the value is not an enum that JSON can express.
    pub async fn expect_tagged<T>(&mut self, value: &T) -> ReceivedEvent
    where
        T: Serialize + ?Sized,
    {
        let expected = Event::tagged(value).expect("an enum that JSON can express");
        let expected = ReceivedEvent::new(None, expected.encode());
        let content: Value = expected.json().expect("the data is JSON");
        self.expect_json(expected.event(), &content).await
    }

    /// Returns the next event, which must have this name and this data.
    ///
    /// # Panics
    ///
    /// The event differs, or none arrives in time.
    pub async fn expect_text(&mut self, name: &str, data: &str) -> ReceivedEvent {
        let event = self.expect(name).await;
        assert!(
            event.data() == data,
            "{}: not {data:?} but {}",
            self.path,
            shown(&event)
        );
        event
    }

    /// Waits, and expects no event. With paused time this takes no real time.
    ///
    /// # Panics
    ///
    /// An event arrives, or the stream ends.
    pub async fn expect_silence(&mut self, time: Duration) {
        match self.within(time).await {
            Next::Silence => {}
            Next::Event(event) => panic!("{}: not silence but {}", self.path, shown(&event)),
            other => self.fail("silence", &other),
        }
    }

    /// Expects the stream to end properly.
    ///
    /// # Panics
    ///
    /// An event arrives, or the stream goes on or breaks off.
    pub async fn expect_end(&mut self) {
        match self.within(self.client.waits()).await {
            Next::End => {}
            other => self.fail("end", &other),
        }
    }

    /// Expects the stream to break off, as when a proxy stops.
    ///
    /// # Panics
    ///
    /// An event arrives, or the stream goes on or ends properly.
    pub async fn expect_break(&mut self) {
        match self.within(self.client.waits()).await {
            Next::Broken => {}
            other => self.fail("end", &other),
        }
    }

    /// Disconnects, and reopens the stream with the last id, as a browser does.
    ///
    /// # Panics
    ///
    /// The response is not a stream: for a client that is refused now, use
    /// [`TestClient::refused`](super::TestClient::refused).
    pub async fn reconnect(self) -> Self {
        let Self {
            client,
            path,
            last_event_id,
            body,
            ..
        } = self;
        drop(body);
        match last_event_id {
            Some(id) => client.header("last-event-id", id).get(&path).await,
            None => client.get(&path).await,
        }
    }

    /// The next item that is not a keep-alive.
    async fn within(&mut self, limit: Duration) -> Next {
        let deadline = Instant::now() + limit;
        loop {
            match self.block(deadline).await {
                // Clients dispatch nothing for a block without data.
                Next::Event(event)
                    if event.as_bytes() == &sse::keep_alive() || !event.has_data() =>
                {
                    self.keep_alives +=
                        usize::from(event.id().is_none() && event.retry().is_none());
                }
                next => return next,
            }
        }
    }

    /// The next block of lines, with or without data.
    async fn block(&mut self, deadline: Instant) -> Next {
        loop {
            if let Some(bytes) = self.split() {
                let event = ReceivedEvent::new(None, bytes);
                if let Some(id) = event.id() {
                    self.last_event_id = Some(id.to_owned());
                }
                self.retry = event.retry().or(self.retry);
                return Next::Event(event);
            }
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            match timeout_at(deadline, frame).await {
                Err(_) => return Next::Silence,
                Ok(None) => return Next::End,
                Ok(Some(Err(_))) => return Next::Broken,
                Ok(Some(Ok(frame))) => {
                    self.received
                        .extend_from_slice(&frame.into_data().unwrap_or_default());
                }
            }
        }
    }

    /// Takes the first complete event out of the received bytes.
    fn split(&mut self) -> Option<Bytes> {
        let mut pairs = self.received.windows(2);
        let end = pairs.position(|pair| pair == b"\n\n")? + 2;
        Some(self.received.split_to(end).freeze())
    }
}

fn shown(event: &ReceivedEvent) -> String {
    format!("{:?}", String::from_utf8_lossy(event.as_bytes()))
}

impl fmt::Debug for TestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestStream")
            .field("path", &self.path)
            .field("last_event_id", &self.last_event_id)
            .field("keep_alives", &self.keep_alives)
            .finish_non_exhaustive()
    }
}
