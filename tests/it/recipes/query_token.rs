use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{Response, Result},
    routing::{get, post},
};
use axum_eventstream::{EventStream, StreamRequest};
use jsonwebtoken::{
    Algorithm::HS256, DecodingKey, EncodingKey, Header, Validation, decode, encode,
    get_current_timestamp,
};
use serde::{Deserialize, Serialize};

/// The audience of these tokens: a token for another purpose, signed by the same key, opens no stream.
const AUDIENCE: &str = "events";

/// Validity in seconds: a page opens its stream within that time.
const VALID_FOR: u64 = 30;

#[derive(Clone)]
struct App {
    es: EventStream,
    /// 32 random bytes, the same for all instances.
    secret: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    room: String,
    exp: u64,
}

impl App {
    fn token(&self, room: String, exp: u64) -> String {
        let aud = AUDIENCE.to_owned();
        let claims = Claims { aud, room, exp };
        let key = EncodingKey::from_secret(&self.secret);
        encode(&Header::new(HS256), &claims, &key).expect("claims that JSON can express")
    }

    /// The room that a token is for, if it is valid.
    fn room(&self, token: &str) -> Result<String, StatusCode> {
        let mut validation = Validation::new(HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 0; // 60 seconds by default
        let key = DecodingKey::from_secret(&self.secret);
        let token = decode::<Claims>(token, &key, &validation);
        Ok(token.map_err(|_| StatusCode::UNAUTHORIZED)?.claims.room)
    }
}

/// Checks that the user is logged in and may listen to the room: left out here.
async fn token(State(app): State<App>, Path(room): Path<String>) -> String {
    app.token(room, get_current_timestamp() + VALID_FOR)
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

async fn events(
    State(app): State<App>,
    Query(query): Query<Token>,
    request: StreamRequest,
) -> Result<Response> {
    let room = app.room(&query.token)?;
    Ok(app.es.respond(&request, format!("room-{room}")).await?)
}

fn app(app: App) -> Router {
    Router::new()
        .route("/rooms/{room}/token", post(token))
        .route("/events", get(events))
        .with_state(app)
}
