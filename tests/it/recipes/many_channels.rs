use axum::{
    Router,
    extract::{Query, rejection::QueryRejection},
    http::request::Parts,
    routing::get,
};
use axum_eventstream::EventStream;

/// The channels of `?room=red&room=blue`.
fn rooms(parts: &Parts) -> Result<Vec<String>, QueryRejection> {
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)?;
    let rooms = query.into_iter().filter(|(name, _)| name == "room");
    Ok(rooms.map(|(_, room)| format!("room-{room}")).collect())
}

fn app(es: &EventStream) -> Router {
    Router::new().route("/events", get(es.handler(rooms)))
}
