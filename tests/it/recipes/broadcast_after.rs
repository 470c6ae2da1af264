use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use axum_eventstream::{Error, Event, EventStream};

async fn send(State(es): State<EventStream>, text: String) -> Result<(), Error> {
    es.publish_event("messages", Event::text("message", text)?)
        .await?;
    Ok(())
}

fn app() -> Router {
    let es = EventStream::new();
    Router::new()
        .route("/messages", post(send))
        .route("/events", get(es.handler("messages")))
        .with_state(es)
}
