use axum::{
    Router,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
    routing::{get, post},
};
use std::convert::Infallible;
use tokio::sync::broadcast;
use tokio_stream::Stream;

type Messages = broadcast::Sender<String>;

async fn events(
    State(messages): State<Messages>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut messages = messages.subscribe();
    let events = async_stream::stream! {
        while let Ok(text) = messages.recv().await {
            yield Ok(Event::default().event("message").data(text));
        }
    };
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn send(State(messages): State<Messages>, text: String) {
    let _ = messages.send(text); // an error only says that nobody listens
}

fn app() -> Router {
    Router::new()
        .route("/messages", post(send))
        .route("/events", get(events))
        .with_state(broadcast::channel(256).0)
}
