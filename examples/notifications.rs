//! Notifications: for a user, for a team, and for everyone; with sessions that expire, and bans.
//!
//! The stream of a user has three channels. The handler opens it, then checks the session, and answers last. So a ban,
//! which closes the user's own channel, ends the stream or is seen by the check. A stream also ends when its session
//! expires. In both cases the client reconnects and gets 401.
//!
//! Run with: `cargo run --example notifications`
//!
//! Try: `curl localhost:3000/login -d ann -c ann; curl localhost:3000/login -d bob -c bob` (two files of cookies)
//! and: `curl -N localhost:3000/events -b bob`
//! and: `curl localhost:3000/mention/bob -b ann -d hello`, `curl localhost:3000/team -b ann -d 'for our team'`
//! and: `curl localhost:3000/maintenance -b ann -d 10`, `curl -X POST localhost:3000/ban/bob -b ann`
//!
//! Behind a proxy with history, links need a route without the check: `docs/recipes/authorization.md`.

use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Result},
    routing::{get, post},
};
use axum_eventstream::{Error, Event, EventStream, StreamRequest, StreamResponse, net};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use std::{env, io};
use tokio::{net::TcpListener, signal};

#[derive(Clone, Copy)]
struct User {
    name: &'static str,
    team: &'static str,
    is_admin: bool,
}

/// A real application has a database, and passwords.
const USERS: [User; 3] = [
    user("ann", "red", true),
    user("bob", "red", false),
    user("cat", "blue", false),
];

const fn user(name: &'static str, team: &'static str, is_admin: bool) -> User {
    User {
        name,
        team,
        is_admin,
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Notification {
    Mention { from: String, text: String },
    TeamMessage { from: String, text: String },
    Maintenance { minutes: u32 },
}

#[derive(Clone)]
struct App {
    es: EventStream,
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    sessions: HashMap<String, Session>,
    banned: HashSet<&'static str>,
}

#[derive(Clone)]
struct Session {
    id: String,
    user: User,
    expires: SystemTime,
}

impl App {
    /// In a real application this is an awaited query.
    fn session(&self, id: &str) -> Result<Session, StatusCode> {
        let store = self.store.lock().unwrap();
        let session = store.sessions.get(id);
        let valid = session.filter(|session| session.expires > SystemTime::now());
        valid.cloned().ok_or(StatusCode::UNAUTHORIZED)
    }

    fn log_in(&self, user: User) -> Result<Session, StatusCode> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("random numbers");
        let id = format!("{:032x}", u128::from_ne_bytes(id));
        let expires = SystemTime::now() + HOUR;
        let session = Session { id, user, expires };
        let mut store = self.store.lock().unwrap();
        if store.banned.contains(user.name) {
            return Err(StatusCode::FORBIDDEN);
        }
        store
            .sessions
            .retain(|_, other| other.expires > SystemTime::now());
        store.sessions.insert(session.id.clone(), session.clone());
        Ok(session)
    }

    /// The sessions are removed first, so that the reconnect of a client is refused.
    async fn ban(&self, user: User) -> Result<(), Error> {
        {
            let mut store = self.store.lock().unwrap();
            store.banned.insert(user.name);
            store
                .sessions
                .retain(|_, session| session.user.name != user.name);
        }
        self.es.close_channel(own_channel(user)).await
    }
}

/// The session that the request's cookie names.
impl FromRequestParts<App> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let cookies = parts.headers.get(header::COOKIE);
        let cookies = cookies.and_then(|cookies| cookies.to_str().ok());
        let mut cookies = cookies.unwrap_or_default().split("; ");
        let id = cookies.find_map(|cookie| cookie.strip_prefix("session="));
        app.session(id.unwrap_or_default())
    }
}

/// Every stream of a user has this channel: closing it ends them.
fn own_channel(user: User) -> String {
    format!("user-{}", user.name)
}

fn team_channel(user: User) -> String {
    format!("team-{}", user.team)
}

async fn events(
    session: Session,
    State(app): State<App>,
    request: StreamRequest,
) -> Result<StreamResponse> {
    let user = session.user;
    let channels = [own_channel(user), team_channel(user), "everyone".to_owned()];
    let stream = app.es.open(&request, channels)?;
    // Checked after `open`: a ban from here on ends the stream, an earlier one is seen here.
    let session = app.session(&session.id)?;
    Ok(stream.expires_at(session.expires))
}

async fn log_in(State(app): State<App>, name: String) -> Result<impl IntoResponse, StatusCode> {
    let Session { id, .. } = app.log_in(find(&name)?)?;
    // Over https, add `Secure` and begin the name with `__Host-`.
    let cookie = format!(
        "session={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}",
        HOUR.as_secs()
    );
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

async fn mention(
    session: Session,
    State(app): State<App>,
    Path(name): Path<String>,
    text: String,
) -> Result<StatusCode> {
    let from = session.user.name.to_owned();
    notify(
        &app,
        own_channel(find(&name)?),
        Notification::Mention { from, text },
    )
    .await
}

async fn message_team(
    session: Session,
    State(app): State<App>,
    text: String,
) -> Result<StatusCode> {
    let from = session.user.name.to_owned();
    notify(
        &app,
        team_channel(session.user),
        Notification::TeamMessage { from, text },
    )
    .await
}

async fn announce(session: Session, State(app): State<App>, minutes: String) -> Result<StatusCode> {
    check_admin(&session)?;
    let minutes = minutes.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    notify(
        &app,
        "everyone".to_owned(),
        Notification::Maintenance { minutes },
    )
    .await
}

async fn ban(
    session: Session,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    check_admin(&session)?;
    app.ban(find(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn notify(app: &App, channel: String, notification: Notification) -> Result<StatusCode> {
    let event = Event::tagged(&notification)?;
    app.es.publish_event(channel, event).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find(name: &str) -> Result<User, StatusCode> {
    let user = USERS.iter().find(|user| user.name == name);
    user.copied().ok_or(StatusCode::NOT_FOUND)
}

fn check_admin(session: &Session) -> Result<(), StatusCode> {
    match session.user.is_admin {
        true => Ok(()),
        false => Err(StatusCode::FORBIDDEN),
    }
}

pub(crate) fn app(es: EventStream) -> Router {
    let store = Arc::default();
    Router::new()
        .route("/login", post(log_in))
        .route("/events", get(events))
        .route("/mention/{name}", post(mention))
        .route("/team", post(message_team))
        .route("/maintenance", post(announce))
        .route("/ban/{name}", post(ban))
        .with_state(App { es, store })
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let es = EventStream::new();
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = es.close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    axum::serve(net::Listener::new(listener), app(es))
        .with_graceful_shutdown(stop)
        .await
}
