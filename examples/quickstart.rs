//! One page: live events, a form that publishes, and a clock event every second.
//!
//! The page is rendered with the messages, and with the position of the stream at that time. Its stream resumes at
//! that position, so no message is missing or shown twice, however long the browser takes.
//!
//! Run with: `cargo run --example quickstart`, then open <http://127.0.0.1:3000>.
//!
//! Try: cut the page's connection with its button, and publish meanwhile: `curl localhost:3000/messages -d text=hello`
//! and: `curl -N localhost:3000/events`

use axum::{
    Form, Router,
    extract::State,
    http::StatusCode,
    response::Html,
    routing::{get, post},
};
use axum_eventstream::{Error, Event, EventStream, net};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::VecDeque, env, io, sync::Arc, time::Duration, time::SystemTime};
use tokio::{net::TcpListener, signal, sync::Mutex};

#[derive(Clone)]
struct App {
    es: EventStream,
    messages: Arc<Mutex<VecDeque<Message>>>,
}

#[derive(Serialize)]
struct Message {
    at: u64,
    text: String,
}

#[derive(Deserialize)]
struct Post {
    text: String,
}

async fn page(State(app): State<App>) -> Html<String> {
    let messages = app.messages.lock().await;
    // Messages are stored and published under this lock, so the position matches these messages.
    let position = app.es.current_id().map(|id| id.to_string());
    let state = json!({ "lastEventId": position, "messages": *messages, "clock": tick(&app.es) });
    // In a script element, only a `<` could end the data.
    let state = state.to_string().replace('<', "\\u003c");
    Html(include_str!("quickstart.html").replace("{{state}}", &state))
}

async fn send(State(app): State<App>, Form(post): Form<Post>) -> Result<StatusCode, Error> {
    let text = post.text.chars().take(500).collect();
    let message = Message { at: now(), text };
    let event = Event::json("message", &message)?;
    let mut messages = app.messages.lock().await;
    // Stored before it is published: if a proxy fails or this request is cancelled, clients of this process
    // have the event, and new pages must show it too. Both happen under the lock, so they have one order.
    messages.push_back(message);
    if messages.len() > 50 {
        messages.pop_front();
    }
    app.es.publish_event("messages", event).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clock(es: EventStream) -> Result<(), Error> {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        es.publish_event("clock", Event::json("clock", &tick(&es))?)
            .await?;
    }
}

fn tick(es: &EventStream) -> Value {
    json!({ "at": now(), "clients": es.stats().subscriptions })
}

pub(crate) fn app(es: EventStream) -> Router {
    let messages = Arc::default();
    Router::new()
        .route("/", get(page))
        .route("/events", get(es.handler(["messages", "clock"])))
        .route("/messages", post(send))
        .with_state(App { es, messages })
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let es = EventStream::new();
    tokio::spawn(clock(es.clone()));
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = es.close_on(stop_signal());
    axum::serve(net::Listener::new(listener), app(es))
        .with_graceful_shutdown(stop)
        .await
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_millis() as u64
}

/// Ctrl-C, or SIGTERM where there is one.
async fn stop_signal() {
    #[cfg(unix)]
    let term = async {
        let mut term = signal::unix::signal(signal::unix::SignalKind::terminate()).unwrap();
        term.recv().await
    };
    #[cfg(not(unix))]
    let term = std::future::pending::<Option<()>>();
    tokio::select! { _ = signal::ctrl_c() => {}, _ = term => {} }
}
