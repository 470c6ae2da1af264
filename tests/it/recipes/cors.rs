use axum::{
    Router,
    http::{HeaderName, HeaderValue},
    routing::get,
};
use axum_eventstream::EventStream;
use tower_http::cors::CorsLayer;

fn app(es: &EventStream) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://app.example"))
        .allow_credentials(true)
        .allow_headers([HeaderName::from_static("last-event-id")]); // for `fetch` only
    Router::new()
        .route("/events", get(es.handler("news")))
        .layer(cors)
}
