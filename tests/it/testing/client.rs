//! The test kit, used as users do and seen to fail where it must.

use crate::support::current_id;
use axum::{
    Extension, Router,
    http::{HeaderMap, StatusCode},
    response::Result,
    routing::get,
};
use axum_eventstream::{Error, Event, EventStream, KeepAlive, StreamRequest, testing::TestClient};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use std::{future::Future, panic::AssertUnwindSafe, time::Duration};
use tokio::time::Instant;

const LONG: Duration = Duration::from_secs(70);

async fn say(es: EventStream, text: String) -> Result<(), Error> {
    let event = Event::json("message", &text)?;
    es.publish_event("room-1", event).await.map(drop)
}

async fn mine(
    es: EventStream,
    headers: HeaderMap,
    request: StreamRequest,
) -> Result<axum::response::Response> {
    let user = headers.get("x-user").ok_or(StatusCode::UNAUTHORIZED)?;
    let channel = user.to_str().unwrap().to_owned();
    Ok(es.respond(&request, channel).await?)
}

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/rooms/{room}", get(es.handler("room-{room}")).post(say))
        .route("/mine", get(mine))
        .layer(Extension(es.clone()))
}

fn client(es: &EventStream) -> TestClient {
    TestClient::new(app(es))
}

/// Expects an assertion to fail with a message that starts so.
async fn assert_fails<T>(assertion: impl Future<Output = T>, start: &str) {
    let outcome = AssertUnwindSafe(assertion).catch_unwind().await;
    let panic = outcome.err().expect("the assertion fails");
    let said = panic.downcast_ref::<String>().expect("a text");
    assert!(said.starts_with(start), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_opening_may_be_a_comment_and_has_the_position() {
    let es = EventStream::builder().stream_open(false).build().unwrap();
    let stream = client(&es).get("/rooms/1").await;
    assert_eq!(stream.keep_alives(), 0);
    let id = current_id(&es);
    assert_eq!(stream.last_event_id(), Some(&*id));
    client(&es).post("/rooms/1", "missed").await;
    let mut stream = stream.reconnect().await;
    stream.expect_json("message", "missed").await;
}

#[tokio::test(start_paused = true)]
async fn events_are_read_without_a_socket_and_silence_takes_no_time() {
    let es = EventStream::new();
    let client = client(&es);
    let (mut one, mut two) = (client.get("/rooms/1").await, client.get("/rooms/2").await);
    assert_eq!(one.headers()["cache-control"], "no-store, no-transform");
    client.post("/rooms/1", "hello").await;
    let event = one.expect_json("message", "hello").await;
    assert_eq!(event.id(), one.last_event_id());
    two.expect_silence(LONG).await;
    assert_eq!(two.keep_alives(), 3);
    es.close();
    one.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_back_as_a_browser_does() {
    let es = EventStream::new();
    let client = client(&es);
    let mut stream = client.get("/rooms/1").await;
    for text in ["1", "2", "3"] {
        client.post("/rooms/1", text).await;
    }
    stream.expect_json("message", "1").await;
    let mut stream = stream.reconnect().await;
    stream.expect_json("message", "2").await;
    stream.expect_json("message", "3").await;
    stream.expect_silence(LONG).await;
    drop(stream);
    assert_eq!(es.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_headers_are_seen() {
    let es = EventStream::new();
    let client = client(&es);
    assert_eq!(client.refused("/mine").await.0, StatusCode::UNAUTHORIZED);
    let ann = client.clone().header("x-user", "ann");
    let mut stream = ann.get("/mine").await;
    let note = Event::text("note", "for you").unwrap();
    es.publish_event("ann", note).await.unwrap();
    stream.expect_text("note", "for you").await;
    let client = client.header("accept", "text/html");
    let (status, text) = client.refused("/rooms/1").await;
    assert_eq!((status.as_u16(), &*text), (406, "Not Acceptable.\n"));
}

#[tokio::test(start_paused = true)]
async fn blocks_that_clients_do_not_see_are_no_events() {
    let comments = KeepAlive::new().comment("still here");
    let es = EventStream::builder().keep_alive(comments).build().unwrap();
    let mut stream = client(&es).get("/rooms/1").await;
    stream.expect_silence(LONG).await;
    assert_eq!(stream.keep_alives(), 3);
    let event = Event::builder().comment("c").data("d").id("7");
    es.publish_event("room-1", event.build().unwrap())
        .await
        .unwrap();
    let event = stream.expect_text("message", "d").await;
    assert_eq!(event.id(), Some("7"));
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Change {
    Removed(u32),
    Cleared,
}

#[tokio::test(start_paused = true)]
async fn a_typed_event_is_expected_and_read() {
    let es = EventStream::new();
    let mut stream = client(&es).get("/rooms/1").await;
    let publish = |change| es.publish_event("room-1", Event::tagged(&change).unwrap());
    publish(Change::Removed(7)).await.unwrap();
    let event = stream.expect_tagged(&Change::Removed(7)).await;
    assert_eq!(event.tagged::<Change>().unwrap(), Change::Removed(7));
    publish(Change::Removed(8)).await.unwrap();
    let start = r#"/rooms/1: not 7 but "event: removed\ndata: 8"#;
    assert_fails(stream.expect_tagged(&Change::Removed(7)), start).await;
    publish(Change::Cleared).await.unwrap();
    let start = r#"/rooms/1: not "removed" but "event: cleared\ndata: null"#;
    assert_fails(stream.expect_tagged(&Change::Removed(7)), start).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_expected_is_said() {
    let es = EventStream::new();
    let client = client(&es).limit(Duration::from_secs(5));
    let mut stream = client.get("/rooms/1").await;
    let start = Instant::now();
    assert_fails(stream.next(), "/rooms/1: no event within 5s").await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_fails(stream.expect_end(), "/rooms/1: no end within 5s").await;
    let say = |text| client.post("/rooms/1", text);
    say("a").await;
    let start = r#"/rooms/1: not "other" but "event: message\ndata: \"a\""#;
    assert_fails(stream.expect("other"), start).await;
    say("b").await;
    let start = r#"/rooms/1: not 1 but "event: message"#;
    assert_fails(stream.expect_json("message", &1), start).await;
    say("c").await;
    let start = "/rooms/1: not silence but";
    assert_fails(stream.expect_silence(LONG), start).await;
    es.close();
    assert_fails(stream.next(), "/rooms/1: the stream has ended").await;
    let start = r#"/rooms/1: not the opening but "retry: "#;
    assert_fails(client.get("/rooms/1"), start).await;
    let (status, body) = client.refused("/rooms/1").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with("retry: "), "{body}");
    assert_fails(client.post("/mine", "x"), "POST /mine got 405").await;
}
