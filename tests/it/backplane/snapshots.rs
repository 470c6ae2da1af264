//! Snapshots of states that several instances change.

use axum::{Router, routing::get};
use axum_eventstream::{
    Event, EventStream, LastEventId, Snapshot, StreamHandler, Subscription,
    testing::{TestClient, backplane::Memory},
};
use std::{
    future::ready,
    sync::{Arc, Mutex},
};
use tokio_stream::StreamExt;

/// A sum, and the position that it belongs to.
type Sum = Arc<Mutex<(i64, Option<LastEventId>)>>;

fn stream(engine: &Memory) -> EventStream {
    let builder = EventStream::builder().backplane(engine.clone());
    builder.build().unwrap()
}

fn add(number: i64) -> Event {
    Event::json("add", &number).unwrap()
}

fn handler(es: &EventStream, sum: &Sum) -> StreamHandler {
    let sum = sum.clone();
    es.handler("sum").snapshot(move |_| {
        let (sum, at) = *sum.lock().unwrap();
        ready(Event::json("sum", &sum).map(|event| Snapshot::from(event).at(at)))
    })
}

fn client(es: &EventStream, sum: &Sum) -> TestClient {
    let app: Router = Router::new().route("/", get(handler(es, sum)));
    TestClient::new(app)
}

/// Applies the next event of the log.
async fn apply(log: &mut Subscription, sum: &Sum) {
    let event = log.next().await.unwrap();
    let number: i64 = serde_json::from_str(&event.data()).unwrap();
    let mut sum = sum.lock().unwrap();
    *sum = (sum.0 + number, event.id().and_then(|id| id.parse().ok()));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_built_from_the_log_has_each_change_once() {
    let engine = Memory::new();
    let (a, b) = (stream(&engine), stream(&engine));
    assert!(a.catch_up().await && b.catch_up().await);
    let sum = Sum::default();
    let mut log = b.subscribe("sum").unwrap();
    a.publish_event("sum", add(1)).await.unwrap();
    b.publish_event("sum", add(2)).await.unwrap();
    apply(&mut log, &sum).await;
    // The second change is in the log, and not in the state yet.
    let mut page = client(&b, &sum).get("/").await;
    page.expect_json("sum", &1).await;
    page.expect_json("add", &2).await;
    apply(&mut log, &sum).await;
    a.publish_event("sum", add(4)).await.unwrap();
    page.expect_json("add", &4).await;
    let mut page = client(&b, &sum).get("/").await;
    page.expect_json("sum", &3).await;
    page.expect_json("add", &4).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_applied_before_it_is_in_the_log_comes_again() {
    let engine = Memory::new();
    let es = stream(&engine);
    assert!(es.catch_up().await);
    let sum = Sum::default();
    es.try_publish("sum", add(1)).unwrap();
    *sum.lock().unwrap() = (1, es.current_id());
    let mut page = client(&es, &sum).get("/").await;
    page.expect_json("sum", &1).await;
    page.expect_json("add", &1).await;
}
