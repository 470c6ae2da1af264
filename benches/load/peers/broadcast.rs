//! A hand-written server: a broadcast channel per name, and a body that reads it.

use crate::load::payload::NAME;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::{StreamExt, future, stream};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};
use tokio_stream::wrappers::BroadcastStream;

/// Number of events that a slow client may be behind: this crate's default.
const CAPACITY: usize = 256;

const OPENING: Bytes = Bytes::from_static(b"event: stream-open\ndata: \n\n");

pub(super) struct Channels<T>(Arc<Mutex<HashMap<String, Sender<T>>>>);

impl<T> Default for Channels<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Channels<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Send + 'static> Channels<T> {
    fn subscribe(&self, channel: String) -> Receiver<T> {
        let mut channels = self.0.lock().expect("the channels");
        let sender = channels.entry(channel);
        sender.or_insert_with(|| Sender::new(CAPACITY)).subscribe()
    }

    pub(super) fn send(&self, channel: &str, value: T) {
        let channels = self.0.lock().expect("the channels");
        if let Some(sender) = channels.get(channel) {
            let _ = sender.send(value);
        }
    }
}

pub(super) fn sse(channels: &Channels<Arc<str>>) -> Router {
    async fn events(
        State(channels): State<Channels<Arc<str>>>,
        Path(channel): Path<String>,
    ) -> Response {
        let events = BroadcastStream::new(channels.subscribe(channel));
        let event = |data: Arc<str>| Event::default().event(NAME).data(data);
        // Lag is ignored, as in typical hand-written code: the client loses events silently.
        let events = events.filter_map(move |data| future::ready(data.ok().map(event)));
        let opening = Event::default().event("stream-open").data(" ");
        let events = stream::iter([opening]).chain(events);
        let sse = Sse::new(events.map(Ok::<_, Infallible>));
        sse.keep_alive(KeepAlive::default()).into_response()
    }
    let channels = channels.clone();
    Router::new()
        .route("/events/{channel}", get(events))
        .with_state(channels)
}

pub(super) fn bytes(channels: &Channels<Bytes>) -> Router {
    async fn events(
        State(channels): State<Channels<Bytes>>,
        Path(channel): Path<String>,
    ) -> Response {
        let receiver = channels.subscribe(channel);
        let events = stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(bytes) => return Some((bytes, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        streamed(stream::iter([OPENING]).chain(events))
    }
    let channels = channels.clone();
    Router::new()
        .route("/events/{channel}", get(events))
        .with_state(channels)
}

pub(super) fn bare() -> Router {
    let events = || async { streamed(stream::iter([OPENING]).chain(stream::pending())) };
    Router::new().route("/events/{channel}", get(events))
}

fn streamed(events: impl stream::Stream<Item = Bytes> + Send + 'static) -> Response {
    let head = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    let body = Body::from_stream(events.map(Ok::<_, Infallible>));
    (head, body).into_response()
}
