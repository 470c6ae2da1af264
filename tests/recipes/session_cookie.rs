use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, header::COOKIE, request::Parts},
    response::{Response, Result},
    routing::get,
};
use axum_eventstream::{EventStream, StreamRequest};
use cookie::Cookie;
use std::{collections::HashMap, sync::Arc};

#[derive(Clone)]
struct App {
    es: EventStream,
    /// Who each session belongs to. In earnest a store, in which sessions expire.
    sessions: Arc<HashMap<String, User>>,
}

#[derive(Clone)]
struct User {
    name: String,
    rooms: Vec<String>,
}

impl FromRequestParts<App> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let headers = parts.headers.get_all(COOKIE).iter();
        let headers = headers.filter_map(|header| header.to_str().ok());
        let mut cookies = headers.flat_map(Cookie::split_parse).flatten();
        let session = cookies.find(|cookie| cookie.name() == "__Host-session");
        let user = session.and_then(|session| app.sessions.get(session.value()));
        user.cloned().ok_or(StatusCode::UNAUTHORIZED)
    }
}

async fn events(
    user: User,
    State(app): State<App>,
    Path(room): Path<String>,
    request: StreamRequest,
) -> Result<Response> {
    if !user.rooms.contains(&room) {
        return Err(StatusCode::FORBIDDEN.into());
    }
    // The second channel is for the user alone, and ends all streams of this user: see below.
    let channels = [format!("room-{room}"), format!("user-{}", user.name)];
    Ok(app.es.respond(&request, channels).await?)
}

fn app(app: App) -> Router {
    let rooms = Router::new().route("/rooms/{room}", get(events));
    rooms.with_state(app)
}
