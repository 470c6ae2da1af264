//! Several publishing instances behind proxies.

use axum::{Router, routing::get};
use axum_eventstream::{
    ErrorKind, Event, EventStream,
    testing::{FakeGripProxy, TestClient, backplane::Memory},
};
use std::time::Duration;

struct Instance {
    es: EventStream,
    client: TestClient,
}

fn instance(engine: &Memory, proxy: &FakeGripProxy) -> Instance {
    let builder = EventStream::builder()
        .grip(proxy.config())
        .backplane(engine.clone());
    let es = builder.require_grip_proxy(true).build().unwrap();
    let app = Router::new().route("/{room}", get(es.handler("{room}")));
    let client = TestClient::new(app).through(proxy);
    Instance { es, client }
}

async fn publish(es: &EventStream, text: &str) {
    let event = Event::text("message", text).unwrap();
    es.publish_event("room", event).await.unwrap();
}

#[tokio::test]
async fn two_instances_publish_to_one_proxy() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let (a, b) = (instance(&engine, &proxy), instance(&engine, &proxy));
    let (mut at_a, mut at_b) = (a.client.get("/room").await, b.client.get("/room").await);
    for n in 0..20 {
        publish(&[&a, &b][n % 2].es, &n.to_string()).await;
    }
    for stream in [&mut at_a, &mut at_b] {
        for n in 0..20 {
            stream.expect_text("message", &n.to_string()).await;
        }
    }
    let published = proxy.published();
    assert_eq!(
        published.len(),
        20,
        "each event is forwarded by one instance"
    );
    assert!(
        published
            .windows(2)
            .all(|pair| pair[0]["id"] == pair[1]["prev-id"])
    );
}

#[tokio::test]
async fn a_proxy_recovers_from_an_instance_that_has_not_published() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let link = engine.link();
    let (a, b) = (instance(&engine, &proxy), instance(&link, &proxy));
    let mut stream = b.client.get("/room").await;
    proxy.lose(2);
    for text in ["one", "two"] {
        publish(&a.es, text).await;
    }
    // The instance that answers the link is behind, and catches up first.
    link.slow(Duration::from_millis(200));
    publish(&a.es, "three").await;
    for text in ["one", "two", "three"] {
        stream.expect_text("message", text).await;
    }
    publish(&a.es, "four").await;
    stream.expect_text("message", "four").await;
    assert_eq!(b.es.stats().resets, 0);
}

#[tokio::test]
async fn a_client_resumes_through_an_instance_that_is_behind() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let link = engine.link();
    let (a, b) = (instance(&engine, &proxy), instance(&link, &proxy));
    assert!(b.es.catch_up().await);
    publish(&a.es, "one").await;
    let id = a.es.current_id().unwrap();
    publish(&a.es, "two").await;
    link.slow(Duration::from_millis(200));
    publish(&a.es, "three").await;
    let client = b.client.header("last-event-id", id.to_string());
    let mut stream = client.get("/room").await;
    stream.expect_text("message", "two").await;
    stream.expect_text("message", "three").await;
}

#[tokio::test]
async fn a_new_epoch_resets_the_clients_of_proxies() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let (a, b) = (instance(&engine, &proxy), instance(&engine, &proxy));
    let mut stream = a.client.get("/room").await;
    publish(&a.es, "one").await;
    stream.expect_text("message", "one").await;
    engine.wipe();
    publish(&b.es, "two").await;
    stream.expect("stream-reset").await;
    publish(&b.es, "three").await;
    // The reset may be before or after the first event of the epoch.
    let mut event = stream.next().await;
    if event.data() == "two" {
        event = stream.next().await;
    }
    assert_eq!(event.data(), "three");
}

#[tokio::test]
async fn a_new_epoch_resets_the_clients_of_proxies_without_a_publish() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let a = instance(&engine, &proxy);
    let mut stream = a.client.get("/room").await;
    publish(&a.es, "one").await;
    stream.expect_text("message", "one").await;
    // An idle read would show it too, after seconds.
    engine.down();
    engine.wipe();
    engine.up();
    stream.expect("stream-reset").await;
}

#[tokio::test]
async fn a_closed_channel_ends_streams_of_proxies_once() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let (a, b) = (instance(&engine, &proxy), instance(&engine, &proxy));
    let mut stream = b.client.get("/room").await;
    publish(&a.es, "one").await;
    stream.expect_text("message", "one").await;
    a.es.close_channel("room").await.unwrap();
    stream.expect_end().await;
    assert_eq!(proxy.published().len(), 2);
    let mut next = b.client.get("/room").await;
    publish(&b.es, "two").await;
    next.expect_text("message", "two").await;
    proxy.ask();
    publish(&a.es, "three").await;
    next.expect_text("message", "three").await;
}

#[tokio::test]
async fn a_proxy_that_fails_is_an_error_although_the_event_is_in_the_log() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let a = instance(&engine, &proxy);
    assert!(a.es.catch_up().await);
    proxy.refuse(1, http::StatusCode::FORBIDDEN);
    let event = Event::text("message", "one").unwrap();
    let error = a.es.publish_event("room", event).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Publish);
    assert_eq!(engine.entries(), 2);
}

#[test]
fn instances_need_a_common_key_for_links() {
    let builder = || {
        EventStream::builder()
            .grip("http://127.0.0.1:9")
            .backplane(Memory::new())
    };
    let error = builder().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("grip_link_key"), "{error}");
    assert!(builder().grip_link_key("secret").build().is_ok());
    assert!(
        builder()
            .history(axum_eventstream::History::off())
            .build()
            .is_ok()
    );
}

#[tokio::test]
async fn an_instance_without_an_engine_refuses_links_and_resets_nobody() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let link = engine.link();
    let (a, b) = (instance(&engine, &proxy), instance(&link, &proxy));
    assert!(a.es.catch_up().await && b.es.catch_up().await);
    let mut stream = b.client.get("/room").await;
    link.down();
    publish(&a.es, "one").await;
    stream.expect_text("message", "one").await;
    proxy.ask();
    publish(&a.es, "two").await;
    // The instance waits for its engine, and then refuses the link. The proxy asks again.
    assert!(!b.es.catch_up().await);
    link.up();
    stream.expect_text("message", "two").await;
    assert_eq!(b.es.stats().resets, 0);
}

#[tokio::test]
async fn a_client_of_a_proxy_has_no_id_before_the_first_connection() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    engine.down();
    let a = instance(&engine, &proxy);
    let stream = a.client.get("/room").await;
    assert_eq!(stream.last_event_id(), None);
}

#[tokio::test]
async fn a_shutdown_forwards_what_it_has_appended() {
    let (engine, proxy) = (Memory::new(), FakeGripProxy::start().await);
    let a = instance(&engine, &proxy);
    assert!(a.es.catch_up().await);
    engine.slow(Duration::from_millis(100));
    for n in 0..20 {
        let event = Event::text("message", n.to_string()).unwrap();
        a.es.try_publish("room", event).unwrap();
    }
    a.es.close_on(async {}).await;
    assert_eq!((engine.entries(), proxy.published().len()), (21, 20));
}
