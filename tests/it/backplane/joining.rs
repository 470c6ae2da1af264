//! Clients that come while the engine is away.

use super::Instance;
use axum_eventstream::testing::backplane::Memory;
use std::time::Duration;
use tokio::time::Instant;
use tokio_stream::StreamExt;

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_first_connection_at_most_3_seconds() {
    let engine = Memory::new();
    engine.down();
    let a = Instance::new(&engine);
    let started = Instant::now();
    let mut stream = a.client.get("/room").await;
    assert_eq!(started.elapsed().as_secs(), 3);
    assert_eq!(stream.last_event_id(), None);
    engine.up();
    stream.expect("stream-reset").await;
    a.publish("room", "one").await.unwrap();
    stream.expect_text("message", "one").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_with_the_first_connection_is_not_reset() {
    let engine = Memory::new();
    engine.slow(Duration::from_millis(500));
    let a = Instance::new(&engine);
    let mut stream = a.client.get("/room").await;
    a.publish("room", "one").await.unwrap();
    stream.expect_text("message", "one").await;
    assert_eq!(a.es.stats().resets, 0);
}

#[tokio::test(start_paused = true)]
async fn a_custom_handler_that_does_not_wait_has_a_stream_without_an_id() {
    let engine = Memory::new();
    engine.slow(Duration::from_millis(500));
    let a = Instance::new(&engine);
    let mut stream = a.client.get("/open/room").await;
    assert_eq!(stream.last_event_id(), None);
    stream.expect("stream-reset").await;
    a.publish("room", "one").await.unwrap();
    stream.expect_text("message", "one").await;
}

#[tokio::test(start_paused = true)]
async fn a_new_client_does_not_receive_what_a_starting_instance_reads() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    a.publish("room", "old").await.unwrap();
    engine.down();
    let b = Instance::new(&engine);
    let mut stream = b.client.get("/room").await;
    let mut subscription = b.es.subscribe(["room"]).unwrap();
    engine.up();
    stream.expect("stream-reset").await;
    assert_eq!(subscription.next().await.unwrap().event(), "stream-reset");
    b.publish("room", "new").await.unwrap();
    stream.expect_text("message", "new").await;
    assert_eq!(subscription.next().await.unwrap().data(), "new");
}

#[tokio::test(start_paused = true)]
async fn streams_stay_open_while_the_engine_is_away() {
    let engine = Memory::new();
    let (link, a) = (engine.link(), Instance::warm(&engine).await);
    let b = Instance::warm(&link).await;
    let mut stream = b.client.get("/room").await;
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    stream.expect_text("message", "one").await;
    link.down();
    a.publish("room", "two").await.unwrap();
    stream.expect_silence(Duration::from_secs(300)).await;
    assert!(stream.keep_alives() > 10);
    // New clients are served as well, from what the instance has.
    let client = b.resuming(&id);
    let mut new = client.get("/room").await;
    assert!(!b.es.health().is_healthy());
    link.up();
    for stream in [&mut stream, &mut new] {
        stream.expect_text("message", "two").await;
    }
    assert_eq!(b.es.stats().resets, 0);
    assert!(b.es.health().is_healthy(), "{}", b.es.health());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_from_a_position_that_is_ahead_begins_with_a_reset_unless_it_waits() {
    let engine = Memory::new();
    let link = engine.link();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&link).await);
    link.slow(Duration::from_millis(300));
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    let mut early = b.es.subscribe_from(["room"], id).unwrap();
    assert_eq!(early.next().await.unwrap().event(), "stream-reset");
    assert!(b.es.catch_up().await);
    let mut late = b.es.subscribe_from(["room"], id).unwrap();
    a.publish("room", "two").await.unwrap();
    assert_eq!(late.next().await.unwrap().data(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_ahead_of_an_instance_waits_for_the_engine() {
    let engine = Memory::new();
    let (link, a) = (engine.link(), Instance::warm(&engine).await);
    let b = Instance::warm(&link).await;
    link.down();
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    let client = b.resuming(&id);
    let mut stream = client.get("/room").await;
    a.publish("room", "two").await.unwrap();
    stream.expect_silence(Duration::from_secs(300)).await;
    assert!(stream.keep_alives() > 10);
    link.up();
    stream.expect_text("message", "two").await;
    assert_eq!(b.es.stats().resets, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_an_unknown_id_is_reset_by_a_starting_instance_as_well() {
    let engine = Memory::new();
    engine.slow(Duration::from_millis(500));
    let a = Instance::new(&engine);
    let mut stream = a.resuming("something-else").get("/room").await;
    stream.expect("stream-reset").await;
}
