//! `min_interval`: one burst of frames for each interval.

use crate::support::{client, publish, server, subscribed};
use axum::{Router, routing::get};
use axum_eventstream::{EventStream, KeepAlive, testing::TestClient};
use std::time::Duration;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_millis(100);

fn app(es: &EventStream) -> Router {
    let handler = es.handler("a").min_interval(INTERVAL);
    Router::new()
        .route("/", get(handler))
        .route("/plain", get(es.handler("a")))
}

#[tokio::test(start_paused = true)]
async fn the_first_event_is_sent_at_once_and_later_ones_together_after_the_interval() {
    let es = EventStream::new();
    let mut stream = TestClient::new(app(&es)).get("/").await;
    for _ in 0..3 {
        let before = Instant::now();
        publish(&es, "a", "first").await;
        stream.expect_text("message", "first").await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        publish(&es, "a", "second").await;
        publish(&es, "a", "third").await;
        stream.expect_text("message", "second").await;
        let paused = before.elapsed();
        assert!(INTERVAL <= paused && paused < INTERVAL * 9 / 8 + Duration::from_millis(2));
        stream.expect_text("message", "third").await;
        assert_eq!(before.elapsed(), paused, "both are in one frame");
        tokio::time::advance(2 * INTERVAL).await;
    }
}

#[tokio::test]
async fn streams_with_and_without_a_pace_receive_all_events() {
    let es = EventStream::new();
    for detach in [false, true] {
        let server = server::start(app(&es), detach).await;
        let mut clients = Vec::new();
        for path in ["/", "/", "/plain"] {
            let mut response = client::get(server, path, &[]).await;
            response.until("stream-open").await;
            clients.push(response);
        }
        for number in 0..100 {
            publish(&es, "a", format!("<{number}>")).await;
        }
        for client in &mut clients {
            client.until("<99>").await;
        }
        drop(clients);
        subscribed(&es, 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_stream_sends_keep_alives_and_ends_with_the_event_stream() {
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(5));
    let es = EventStream::builder()
        .keep_alive(keep_alive)
        .build()
        .unwrap();
    let day = Duration::from_secs(86_400);
    let app = Router::new().route("/", get(es.handler("a").min_interval(day)));
    let client = TestClient::new(app).limit(Duration::from_secs(60));
    let mut stream = client.get("/").await;
    publish(&es, "a", "1").await;
    stream.expect_text("message", "1").await;
    publish(&es, "a", "2").await;
    stream.expect_silence(Duration::from_secs(12)).await;
    assert_eq!(stream.keep_alives(), 2);
    es.close();
    stream.expect_text("message", "2").await;
    stream.expect_end().await;
}

/// A long interval, so that a test would wait for the keep-alive if nothing else woke the stream.
#[tokio::test]
async fn a_new_stream_on_a_paused_channel_waits_for_no_pause() {
    let es = EventStream::new();
    let hour = Duration::from_secs(3600);
    let app = Router::new()
        .route("/paced", get(es.handler("a").min_interval(hour)))
        .route("/longest", get(es.handler("a").min_interval(Duration::MAX)))
        .route("/plain", get(es.handler("a")));
    let server = server::start(app, true).await;
    for path in ["/paced", "/longest"] {
        let mut paced = client::get(server, path, &[]).await;
        paced.until("stream-open").await;
        publish(&es, "a", "first").await;
        paced.until("data: first").await;
        let mut plain = client::get(server, "/plain", &[]).await;
        plain.until("stream-open").await;
        publish(&es, "a", "second").await;
        plain.until("data: second").await;
    }
}

/// Its socket blocks at the end of a burst, and is writable again before the pause is over. A keep-alive would come too
/// late for the test.
#[tokio::test]
async fn a_blocked_client_continues_after_its_pause() {
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(3600));
    let builder = EventStream::builder().keep_alive(keep_alive);
    let es = builder.build().unwrap();
    let handler = es.handler("a").min_interval(Duration::from_secs(2));
    let server = server::start(Router::new().route("/", get(handler)), true).await;
    let mut response = client::get(server, "/", &[]).await;
    response.until("stream-open").await;
    publish(&es, "a", "x".repeat(2 << 20)).await;
    // The burst has begun, and most of it still waits.
    assert!(response.receive(1000).await);
    publish(&es, "a", "<second>").await;
    response.until("<second>").await;
}
