//! An application on axum 0.7: every way in which the crate meets a router.

use axum::{
    Extension, Router,
    extract::State,
    http::{StatusCode, request::Parts},
    response::IntoResponse,
    routing::{get, post},
};
use axum_eventstream::{Error, Event, EventStream, StreamRequest};

/// Its routes, with a state of its own.
pub fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/events", get(es.handler(["news", "weather"])))
        .route("/events/:id", get(es.handler("<id>")))
        .route("/rooms/:room/:user", get(es.handler("{room}.{user}")))
        .route("/files/*path", get(es.handler(["{path}", "{*path}"])))
        .route("/named/:room-id", get(es.handler("{room-id}")))
        .route("/old/:id", get(es.handler(":id")))
        .route("/misspelt/:id", get(es.handler("room-{rom}")))
        .route("/mine", get(es.handler(mine)))
        .route("/own/:room", get(own))
        .route("/publish", post(publish))
        .route("/invalid", post(invalid))
        .with_state(7)
        .merge(
            Router::new()
                .route("/state", post(state))
                .with_state(es.clone()),
        )
        .fallback(own)
        .layer(Extension(es.clone()))
}

/// Its routes within another router, where paths begin with `/api`.
pub fn nested(es: &EventStream) -> Router {
    Router::new().nest("/api", app(es))
}

fn mine(parts: &Parts) -> Result<String, StatusCode> {
    let user = parts
        .headers
        .get("x-user")
        .and_then(|user| user.to_str().ok());
    user.map(str::to_owned).ok_or(StatusCode::UNAUTHORIZED)
}

async fn own(es: EventStream, request: StreamRequest) -> impl IntoResponse {
    let room = request.parameter("room").unwrap_or("lobby").to_owned();
    es.respond(&request, room).await
}

async fn publish(es: EventStream, text: String) -> Result<(), Error> {
    es.publish_event("news", Event::text("message", text)?)
        .await?;
    Ok(())
}

async fn state(State(es): State<EventStream>) -> String {
    es.stats().subscriptions.to_string()
}

async fn invalid(es: EventStream) -> Result<(), Error> {
    es.publish_event("a,b", Event::text("message", "x")?)
        .await?;
    Ok(())
}
