//! What a publish returns.

use super::Instance;
use axum_eventstream::{ErrorKind, Event, testing::backplane::Memory};
use futures_util::{SinkExt, StreamExt, stream};
use std::time::Duration;
use tokio::time::Instant;

fn event(text: &str) -> Event {
    Event::text("message", text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn several_events_are_neighbours_in_the_log() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let events = || (0..20).map(|n| event(&n.to_string()));
    let (one, two) = tokio::join!(
        a.es.publish_events("room", events()),
        b.es.publish_events("room", events())
    );
    for published in [one.unwrap(), two.unwrap()] {
        let sequences: Vec<_> = published
            .iter()
            .map(|one| one.id.unwrap().sequence())
            .collect();
        let first = sequences[0];
        assert_eq!(sequences, (first..first + 20).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_queued_has_no_id_yet() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    let mut stream = a.client.get("/room").await;
    let published = a.es.try_publish("room", event("one")).unwrap();
    assert_eq!((published.id, published.subscribers), (None, 1));
    assert!(stream.expect_text("message", "one").await.id().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_sink_publishes_in_order() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let mut stream = b.client.get("/room").await;
    let sink = a.es.channel_sink("room").unwrap().max_in_flight(8);
    let events = stream::iter(0..100).map(|n: u32| Ok(event(&n.to_string())));
    events.forward(sink.buffer(1)).await.unwrap();
    for n in 0..100 {
        stream.expect_text("message", &n.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_engine_never_had_is_not_published() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    engine.down();
    let started = Instant::now();
    let error = a.publish("room", "one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotPublished, "{error}");
    assert!(error.to_string().contains("refuses connections"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 10);
    engine.up();
    assert!(a.es.catch_up().await);
    assert_eq!(engine.entries(), 1, "only the begin of the epoch");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_answer_is_missing_may_be_published() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    engine.hang();
    let error = a.publish("room", "one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MaybePublished, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_publish_waits_for_an_engine_that_returns() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    let mut stream = a.client.get("/room").await;
    engine.down();
    let up = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        engine.up();
    };
    let (published, ()) = tokio::join!(a.publish("room", "one"), up);
    published.unwrap();
    stream.expect_text("message", "one").await;
}

#[tokio::test(start_paused = true)]
async fn an_event_is_in_the_log_once_if_answers_are_lost() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let mut stream = b.client.get("/room").await;
    for n in 0..20 {
        engine.lose_replies(n % 3);
        a.publish("room", &n.to_string()).await.unwrap();
    }
    for n in 0..20 {
        stream.expect_text("message", &n.to_string()).await;
    }
    assert_eq!(engine.entries(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_error_at_once() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    let mut stream = a.client.get("/room").await;
    engine.full(true);
    let started = Instant::now();
    let error = a.publish("room", "one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotPublished, "{error}");
    assert!(started.elapsed() < Duration::from_secs(1));
    engine.full(false);
    a.publish("room", "two").await.unwrap();
    stream.expect_text("message", "two").await;
}

/// 600 appends take 12 seconds, since the driver pauses for 20 milliseconds after each.
#[tokio::test(start_paused = true)]
async fn an_event_that_has_failed_while_the_engine_was_busy_is_not_published_later() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    let mut stream = a.client.get("/room").await;
    engine.busy(600);
    let error = a.publish("room", "one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MaybePublished, "{error}");
    a.publish("room", "two").await.unwrap();
    stream.expect_text("message", "two").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_is_published_after_the_last_handle_is_dropped() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let mut stream = b.client.get("/room").await;
    a.es.try_publish("room", event("last")).unwrap();
    drop(a);
    stream.expect_text("message", "last").await;
}

#[test]
fn without_a_runtime_nothing_is_published() {
    let es = Instance::new(&Memory::new()).es;
    let error = es.try_publish("room", event("one")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotPublished);
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_queued_and_not_published_is_counted() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    engine.down();
    a.es.try_publish("room", event("one")).unwrap();
    assert_eq!(a.es.stats().backplane_unpublished, 0);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(a.es.stats().backplane_unpublished, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_leaves_no_task() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for fault in [Memory::down, Memory::hang] {
        let engine = Memory::new();
        let a = Instance::warm(&engine).await;
        fault(&engine);
        a.es.try_publish("room", event("one")).unwrap();
        drop(a);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(tasks(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_until_queued_events_are_in_the_log() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    engine.slow(Duration::from_secs(1));
    a.es.try_publish("room", event("last")).unwrap();
    let started = Instant::now();
    a.es.close_on(async {}).await;
    assert_eq!(engine.entries(), 2);
    assert!(started.elapsed() < Duration::from_secs(5));
}
