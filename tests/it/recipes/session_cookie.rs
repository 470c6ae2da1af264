use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, header::COOKIE, request::Parts},
    response::{IntoResponse, Response, Result},
    routing::get,
};
use axum_eventstream::{Error, EventStream, StreamRequest};
use cookie::Cookie;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::RwLock;

#[derive(Clone)]
struct App {
    es: EventStream,
    /// The user of each session. A real application has a database here, and sessions that expire.
    sessions: Arc<RwLock<HashMap<String, User>>>,
}

#[derive(Clone)]
struct User {
    name: String,
    rooms: Vec<String>,
}

impl App {
    async fn user(&self, session: &str) -> Option<User> {
        self.sessions.read().await.get(session).cloned()
    }

    async fn log_out(&self, session: &str) -> Result<(), Error> {
        // The session is removed first, so that the reconnect of a client is refused.
        let user = self.sessions.write().await.remove(session);
        match user {
            Some(user) => self.es.close_channel(own_channel(&user.name)).await,
            None => Ok(()),
        }
    }
}

/// A channel of all streams of a user: closing it ends them.
fn own_channel(name: &str) -> String {
    format!("user-{name}")
}

/// The session that a request's cookie names.
struct Session(String);

impl FromRequestParts<App> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, StatusCode> {
        let headers = parts.headers.get_all(COOKIE).iter();
        let headers = headers.filter_map(|header| header.to_str().ok());
        let mut cookies = headers.flat_map(Cookie::split_parse).flatten();
        let session = cookies.find(|cookie| cookie.name() == "__Host-session");
        let session = session.map(|session| Self(session.value().to_owned()));
        session.ok_or(StatusCode::UNAUTHORIZED)
    }
}

async fn events(
    Session(session): Session,
    State(app): State<App>,
    Path(room): Path<String>,
    request: StreamRequest,
) -> Result<Response> {
    let user = app.user(&session).await.ok_or(StatusCode::UNAUTHORIZED)?;
    let channels = [format!("room-{room}"), own_channel(&user.name)];
    let stream = app.es.open(&request, channels)?;
    // Checked after `open`: a logout from here on ends the stream, an earlier one is seen here.
    let user = app.user(&session).await.ok_or(StatusCode::UNAUTHORIZED)?;
    if !user.rooms.contains(&room) {
        return Err(StatusCode::FORBIDDEN.into());
    }
    Ok(stream.into_response())
}

fn app(app: App) -> Router {
    let rooms = Router::new().route("/rooms/{room}", get(events));
    rooms.with_state(app)
}
