use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get},
};
use axum_eventstream::{Error, Event, EventStream, Subscription};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    Added { id: u32, text: String },
    Removed(u32),
    Cleared,
    /// The stream itself sends this event when events are missing.
    StreamReset { missed: Option<u64> },
}

async fn publish(es: &EventStream, change: Change) -> Result<StatusCode, Error> {
    es.publish_event("list", Event::tagged(&change)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add(
    State(es): State<EventStream>,
    Path(id): Path<u32>,
    text: String,
) -> Result<StatusCode, Error> {
    publish(&es, Change::Added { id, text }).await
}

async fn remove(State(es): State<EventStream>, Path(id): Path<u32>) -> Result<StatusCode, Error> {
    publish(&es, Change::Removed(id)).await
}

async fn clear(State(es): State<EventStream>) -> Result<StatusCode, Error> {
    publish(&es, Change::Cleared).await
}

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/list", delete(clear))
        .route("/list/{id}", delete(remove).put(add))
        .route("/events", get(es.handler("list")))
        .with_state(es.clone())
}

/// Reads `es.subscribe("list")` until the stream is closed.
async fn log(mut changes: Subscription) -> serde_json::Result<Vec<String>> {
    let mut lines = Vec::new();
    while let Some(event) = changes.next().await {
        lines.push(match event.tagged()? {
            Change::Added { id, text } => format!("{id} is {text}"),
            Change::Removed(id) => format!("{id} is removed"),
            Change::Cleared => "all are removed".to_owned(),
            Change::StreamReset { missed } => format!("events are missing: {missed:?}"),
        });
    }
    Ok(lines)
}
