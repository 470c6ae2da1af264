//! Authorization: an own handler, an extractor that knows the user, and `EventStream::respond`.
//!
//! Who is not let in gets 401 or 403, before anything is subscribed. Programs send a bearer token;
//! an `EventSource` cannot set headers, so browsers send it as a cookie.
//!
//! Run with: `cargo run --example authorize`
//!
//! Try: `curl -N localhost:3000/rooms/red -H 'authorization: Bearer ann-secret'` (200)
//! and: `curl -N localhost:3000/rooms/red --cookie token=bob-secret` (403: Bob is in blue only)
//! and: `curl localhost:3000/rooms/red -H 'authorization: Bearer ann-secret' -d hello`

use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response, Result},
    routing::get,
    serve::ListenerExt,
};
use axum_eventstream::{Error, Event, EventStream, StreamRequest};
use std::{env, io};
use tokio::{net::TcpListener, signal};

/// A program that is meant seriously looks its users up, and compares in constant time.
const USERS: [(&str, User); 2] = [
    ("ann-secret", User("Ann", &["red", "blue"])),
    ("bob-secret", User("Bob", &["blue"])),
];

#[derive(Clone, Copy)]
struct User(&'static str, &'static [&'static str]);

impl User {
    fn may_enter(self, room: &str) -> Result<(), StatusCode> {
        let User(_, rooms) = self;
        match rooms.contains(&room) {
            true => Ok(()),
            false => Err(StatusCode::FORBIDDEN),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let token = token(&parts.headers);
        let user = USERS.iter().find(|(secret, _)| token == Some(secret));
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        let refusal = || (StatusCode::UNAUTHORIZED, challenge).into_response();
        user.map(|(_, user)| *user).ok_or_else(refusal)
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name)?.to_str().ok();
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let mut cookies = text(header::COOKIE).unwrap_or_default().split("; ");
    bearer.or_else(|| cookies.find_map(|cookie| cookie.strip_prefix("token=")))
}

async fn events(
    user: User,
    State(es): State<EventStream>,
    Path(room): Path<String>,
    request: StreamRequest,
) -> Result<Response> {
    user.may_enter(&room)?;
    Ok(es.respond(&request, format!("room-{room}")).await?)
}

async fn send(
    user: User,
    State(es): State<EventStream>,
    Path(room): Path<String>,
    text: String,
) -> Result<StatusCode> {
    user.may_enter(&room)?;
    let event = Event::json("message", &(user.0, text)).map_err(Error::from)?;
    es.publish_event(format!("room-{room}"), event).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let es = EventStream::new();
    let app = Router::new()
        .route("/rooms/{room}", get(events).post(send))
        .with_state(es.clone());
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // Nagle's algorithm can hold an event back for 40 ms, until the one before is acknowledged.
    let listener = listener.tap_io(|tcp| _ = tcp.set_nodelay(true));
    let stop = es.close_on(stop_signal());
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await
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
