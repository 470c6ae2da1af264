//! One page: live events, a form that publishes, and a clock event every second.
//!
//! A stream begins with a snapshot of the messages, and continues with each message after it. A page that reconnects
//! resumes at its position. After a restart of this program it receives the state again.
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
use axum_eventstream::{Error, Event, EventStream, InvalidEvent, Snapshot, net};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use std::{collections::VecDeque, env, io};
use tokio::{net::TcpListener, signal};

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

/// The state, at the position of its last message: nothing is published while the lock is held.
async fn state(app: App) -> Result<Snapshot, InvalidEvent> {
    let messages = app.messages.lock().unwrap();
    let state = json!({ "messages": *messages, "clock": tick(&app.es) });
    Ok(Snapshot::from(Event::json("state", &state)?).at(app.es.current_id()))
}

/// Stores and publishes a message, both under the lock: events have the order of the messages.
async fn send(State(app): State<App>, Form(post): Form<Post>) -> Result<StatusCode, Error> {
    let text = post.text.chars().take(500).collect();
    let message = Message { at: now(), text };
    let mut messages = app.messages.lock().unwrap();
    app.es
        .try_publish("messages", Event::json("message", &message)?)?;
    messages.push_back(message);
    if messages.len() > 50 {
        messages.pop_front();
    }
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
    let app = App { es, messages };
    let stream = app.clone();
    let events = app.es.handler(["messages", "clock"]);
    let events = events.snapshot(move |_| state(stream.clone()));
    Router::new()
        .route("/", get(Html(include_str!("quickstart.html"))))
        .route("/events", get(events))
        .route("/messages", post(send))
        .with_state(app)
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
