//! The same routes, direct and behind a GRIP proxy: each request decides.
//!
//! Run with: `cargo run --example grip`. This process then holds every client.
//!
//! Behind Pushpin:
//!
//! ```sh
//! sudo apt-get install pushpin
//! echo '* localhost:3000' | sudo tee /etc/pushpin/routes
//! sudo service zurl restart; sudo service pushpin restart
//! GRIP_URL='http://localhost:5561?verify-key=changeme' cargo run --example grip
//! ```
//!
//! Pushpin accepts requests on port 7999, forwards them to port 3000, and accepts events on port 5561.
//! `changeme` is the `sig_key` of `/etc/pushpin/pushpin.conf`. A request with a `Grip-Sig` of another key gets 403.
//!
//! Try: `curl -N localhost:7999/rooms/red` (held by Pushpin), `curl -N localhost:3000/rooms/red` (direct)
//! and: `curl localhost:3000/rooms/red -d hello`: both receive the event.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use axum_eventstream::{Error, ErrorKind, Event, EventStream, net};
use std::{env, error};
use tokio::{net::TcpListener, signal};

async fn send(
    State(es): State<EventStream>,
    Path(room): Path<String>,
    text: String,
) -> Result<String, (StatusCode, String)> {
    let answer = |error: Error| match error.kind() {
        ErrorKind::InvalidChannel => (StatusCode::BAD_REQUEST, error.to_string()),
        _ => (StatusCode::BAD_GATEWAY, error.to_string()),
    };
    let event = Event::text("message", text).expect("the name is valid");
    let published = es.publish_event(format!("room-{room}"), event).await;
    let here = published.map_err(answer)?.subscribers;
    Ok(format!("published, {here} clients are held here\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let es = EventStream::from_env()?;
    let app = Router::new()
        .route("/rooms/{room}", get(es.handler("room-{room}")).post(send))
        .with_state(es.clone());
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = es.close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    axum::serve(net::Listener::new(listener), app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}
