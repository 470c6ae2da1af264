//! Authorization: a custom handler, an extractor for the user, and `EventStream::open`.
//!
//! The handler opens the stream, then checks the user, and answers last. So a ban that closes the user's channel
//! during the check ends the stream. An unknown user gets 401, a user without the room 403.
//!
//! Programs send a bearer token. An `EventSource` cannot set headers, so browsers send the token as a cookie.
//!
//! Run with: `cargo run --example authorize`
//!
//! Try: `curl -N localhost:3000/rooms/red -H 'authorization: Bearer ann-secret'` (200)
//! and: `curl -N localhost:3000/rooms/red --cookie token=bob-secret` (403: Bob is in blue only)
//! and: `curl localhost:3000/rooms/red -H 'authorization: Bearer ann-secret' -d hello`
//!
//! Behind a proxy with history, links need a route without the check: `docs/recipes/authorization.md`.

use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response, Result},
    routing::get,
};
use axum_eventstream::{Error, Event, EventStream, StreamRequest, net};
use std::{env, io};
use tokio::{net::TcpListener, signal};

/// A real application looks its users up, and compares secrets in constant time.
const USERS: [(&str, User); 2] = [
    ("ann-secret", User("Ann", &["red", "blue"])),
    ("bob-secret", User("Bob", &["blue"])),
];

#[derive(Clone, Copy)]
struct User(&'static str, &'static [&'static str]);

impl User {
    /// In a real application this is an awaited query.
    async fn may_enter(self, room: &str) -> Result<(), StatusCode> {
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
    let own_channel = format!("user-{}", user.0);
    let stream = es.open(&request, [format!("room-{room}"), own_channel])?;
    user.may_enter(&room).await?;
    Ok(stream.into_response())
}

async fn send(
    user: User,
    State(es): State<EventStream>,
    Path(room): Path<String>,
    text: String,
) -> Result<StatusCode> {
    user.may_enter(&room).await?;
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
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = es.close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    axum::serve(net::Listener::new(listener), app)
        .with_graceful_shutdown(stop)
        .await
}
