//! `expires_at`: a stream ends when its client's authorization does.

use crate::support::{client, publish, server};
use axum::{Router, http::StatusCode, response::Result, routing::get};
use axum_eventstream::{EventStream, StreamRequest, StreamResponse, testing::TestClient};
use std::time::{Duration, SystemTime};

async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse> {
    let stream = es.open(&request, ["a"])?;
    match request.last_event_id() {
        Some(_) => Err(StatusCode::UNAUTHORIZED.into()),
        None => Ok(stream.expires_at(SystemTime::now() + Duration::from_secs(2))),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_it_expires_and_its_client_meets_the_refusal() {
    let es = EventStream::new();
    let app = Router::new().route("/", get(events)).with_state(es.clone());
    let client = TestClient::new(app.clone());
    let mut stream = client.get("/").await;
    publish(&es, "a", "1").await;
    stream.expect_text("message", "1").await;
    let before = tokio::time::Instant::now();
    stream.expect_end().await;
    assert!(stream.retry().is_some());
    let lasted = before.elapsed();
    assert!(lasted <= Duration::from_secs(2), "{lasted:?}");
    let again = TestClient::new(app).header("last-event-id", es.current_id().unwrap().to_string());
    assert_eq!(again.refused("/").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_stream_that_has_expired_already_ends_after_its_opening() {
    async fn expired(es: EventStream, request: StreamRequest) -> Result<StreamResponse> {
        let stream = es.open(&request, ["a"])?;
        Ok(stream.expires_at(SystemTime::now() - Duration::from_secs(1)))
    }
    let es = EventStream::new();
    let app = Router::new().route("/", get(expired)).with_state(es);
    for detach in [false, true] {
        let server = server::start(app.clone(), detach).await;
        let mut response = client::get(server, "/", &[]).await;
        assert!(response.end().await.contains("retry: "));
    }
}
