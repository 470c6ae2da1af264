//! `snapshot_latest`: a client without a position receives the newest event of each key.

use crate::support::{client, server};
use axum::{Router, routing::get};
use axum_eventstream::{
    Event, EventStream, EventStreamBuilder, History,
    testing::{FakeGripProxy, TestClient, TestStream},
};
use std::collections::BTreeMap;

fn latest(events: usize) -> EventStreamBuilder {
    let history = History::memory().events(events).latest_per_key();
    EventStream::builder().history(history)
}

fn app(es: &EventStream) -> Router {
    Router::new().route("/", get(es.handler("a").snapshot_latest()))
}

fn price(key: &str, data: &str) -> Event {
    let event = Event::builder().event("price").key(key);
    event.data(format!("{key} {data}")).build().unwrap()
}

async fn publish(es: &EventStream, key: &str, data: &str) {
    es.publish_event("a", price(key, data)).await.unwrap();
}

async fn remove(es: &EventStream, key: &str) {
    let event = Event::builder().event("gone").data(key).key(key);
    let event = event.remove_key().build().unwrap();
    es.publish_event("a", event).await.unwrap();
}

async fn expect(stream: &mut TestStream, prices: &[&str]) {
    for price in prices {
        stream.expect_text("price", price).await;
    }
}

#[tokio::test]
async fn a_new_client_receives_the_newest_event_of_each_key_beyond_the_history() {
    let es = latest(2).build().unwrap();
    for (key, data) in [
        ("a", "1"),
        ("b", "1"),
        ("a", "2"),
        ("c", "1"),
        ("d", "1"),
        ("e", "1"),
    ] {
        publish(&es, key, data).await;
    }
    remove(&es, "d").await;
    let client = TestClient::new(app(&es));
    let mut stream = client.get("/").await;
    expect(&mut stream, &["b 1", "a 2", "c 1", "e 1"]).await;
    publish(&es, "b", "2").await;
    expect(&mut stream, &["b 2"]).await;
    let mut stream = stream.reconnect().await;
    publish(&es, "c", "2").await;
    expect(&mut stream, &["c 2"]).await;
    assert_eq!(es.stats().snapshots, 1, "it has resumed");
}

#[tokio::test]
async fn superseded_events_are_no_loss_for_a_client_that_resumes() {
    let es = latest(2).build().unwrap();
    publish(&es, "a", "1").await;
    let client = TestClient::new(app(&es));
    let mut stream = client.get("/").await;
    expect(&mut stream, &["a 1"]).await;
    for n in 0..100 {
        publish(&es, ["a", "b", "c"][n % 3], &n.to_string()).await;
    }
    // Also without a reconnect: it lags, and is overtaken by the ring.
    expect(&mut stream, &["b 97", "c 98", "a 99"]).await;
    for n in 100..200 {
        publish(&es, ["a", "b", "c"][n % 3], &n.to_string()).await;
    }
    let mut stream = stream.reconnect().await;
    expect(&mut stream, &["c 197", "a 198", "b 199"]).await;
    assert_eq!(es.stats().resets, 0);
}

#[tokio::test]
async fn a_client_that_may_have_missed_a_removal_is_reset_first() {
    let es = latest(2).build().unwrap();
    publish(&es, "a", "1").await;
    publish(&es, "b", "1").await;
    let client = TestClient::new(app(&es));
    let mut stream = client.get("/").await;
    expect(&mut stream, &["a 1", "b 1"]).await;
    remove(&es, "a").await;
    for n in 0..4 {
        publish(&es, "c", &n.to_string()).await;
    }
    let mut stream = stream.reconnect().await;
    assert_eq!(stream.expect("stream-reset").await.id(), None);
    expect(&mut stream, &["b 1", "c 3"]).await;
    let other_process = client.clone().header("last-event-id", "00000000aaaa-7");
    let mut stream = other_process.get("/").await;
    stream.expect("stream-reset").await;
    expect(&mut stream, &["b 1", "c 3"]).await;
}

#[tokio::test]
async fn a_detached_client_reads_many_keys_in_frames() {
    let es = latest(8).build().unwrap();
    let padding = "x".repeat(1000);
    for n in 0..300 {
        publish(&es, &format!("<{n}>"), &padding).await;
    }
    for detach in [false, true] {
        let server = server::start(app(&es), detach).await;
        let mut response = client::get(server, "/", &[]).await;
        let text = response.until("<299>").await;
        assert_eq!(text.matches("event: price").count(), 300);
        publish(&es, "<299>", "new").await;
        response.until("<299> new").await;
        publish(&es, "<299>", &padding).await;
    }
}

#[tokio::test]
async fn a_proxy_holds_a_client_after_the_newest_events() {
    let proxy = FakeGripProxy::start().await;
    let es = latest(4).grip(proxy.config()).build().unwrap();
    for n in 0..20 {
        publish(&es, &format!("k{}", n % 6), &n.to_string()).await;
    }
    let client = TestClient::new(app(&es)).through(&proxy);
    let mut stream = client.get("/").await;
    expect(
        &mut stream,
        &["k2 14", "k3 15", "k4 16", "k5 17", "k0 18", "k1 19"],
    )
    .await;
    publish(&es, "k2", "20").await;
    expect(&mut stream, &["k2 20"]).await;
    proxy.lose(1);
    publish(&es, "k3", "21").await;
    publish(&es, "k4", "22").await;
    expect(&mut stream, &["k3 21", "k4 22"]).await;
    // Behind a proxy too, a removal may be among lost events.
    proxy.lose(7);
    remove(&es, "k5").await;
    for n in 30..36 {
        es.publish_event("a", Event::text("plain", n.to_string()).unwrap())
            .await
            .unwrap();
    }
    publish(&es, "k1", "40").await;
    stream.expect("stream-reset").await;
    let mut seen = BTreeMap::new();
    while seen.get("k1").map(String::as_str) != Some("40") {
        let event = stream.next().await;
        if event.event() == "price" {
            let data = event.data().into_owned();
            let (key, value) = data.split_once(' ').unwrap();
            seen.insert(key.to_owned(), value.to_owned());
        }
    }
    assert!(!seen.contains_key("k5"), "{seen:?}");
    assert_eq!(seen.len(), 5);
}
