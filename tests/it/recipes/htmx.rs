use axum::{
    Form, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use axum_eventstream::{Error, Event, EventStream};
use serde::Deserialize;

#[derive(Deserialize)]
struct Message {
    text: String,
}

/// Escapes the text of users. Template engines do that.
fn item(message: &Message) -> String {
    let text = message.text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<li>{text}</li>")
}

async fn send(
    State(es): State<EventStream>,
    Form(message): Form<Message>,
) -> Result<StatusCode, Error> {
    es.publish_event("messages", Event::text("message", item(&message))?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/messages", post(send))
        .route("/events", get(es.handler("messages")))
        .with_state(es.clone())
}
