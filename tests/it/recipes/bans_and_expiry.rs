use axum::{
    Router,
    extract::{FromRequestParts, State},
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
    response::Result,
    routing::get,
};
use axum_eventstream::{Error, EventStream, StreamRequest, StreamResponse};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::RwLock;

#[derive(Clone)]
struct App {
    es: EventStream,
    /// A real application has a database here.
    tokens: Arc<RwLock<HashMap<String, Token>>>,
}

#[derive(Clone)]
struct Token {
    user: String,
    expires: SystemTime,
}

impl App {
    async fn check(&self, secret: &str) -> Result<Token, StatusCode> {
        let token = self.tokens.read().await.get(secret).cloned();
        let valid = token.filter(|token| token.expires > SystemTime::now());
        valid.ok_or(StatusCode::UNAUTHORIZED)
    }

    async fn ban(&self, user: &str) -> Result<(), Error> {
        // The tokens are removed first, so that the reconnect of a client is refused.
        let mut tokens = self.tokens.write().await;
        tokens.retain(|_, token| token.user != user);
        drop(tokens);
        self.es.close_channel(own_channel(user)).await
    }
}

/// Every stream of a user has this channel: closing it ends them.
fn own_channel(user: &str) -> String {
    format!("user-{user}")
}

/// The secret of a bearer token.
struct Bearer(String);

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let header = parts.headers.get(AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let secret = header.and_then(|value| value.strip_prefix("Bearer "));
        let secret = secret.ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self(secret.to_owned()))
    }
}

async fn events(
    Bearer(secret): Bearer,
    State(app): State<App>,
    request: StreamRequest,
) -> Result<StreamResponse> {
    // Needed for the name of the channel.
    let user = app.check(&secret).await?.user;
    let stream = app.es.open(&request, [own_channel(&user), "news".into()])?;
    // Checked after `open`: a ban from here on ends the stream, an earlier one is seen here.
    let token = app.check(&secret).await?;
    Ok(stream.expires_at(token.expires))
}

fn app(app: App) -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/missed/{link}", get(app.es.link_handler()))
        .with_state(app)
}
