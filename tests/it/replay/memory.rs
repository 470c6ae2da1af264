//! History takes the memory that it counts, and clients leave nothing behind.

use super::app;
use crate::{
    MEMORY,
    support::{alone, call, current_id, publish, with_history},
};
use axum_eventstream::{EventStream, History};
use http_body_util::BodyExt;

#[tokio::test]
async fn the_memory_that_is_counted_is_about_what_is_taken() {
    if alone::has_run("replay::memory::the_memory_that_is_counted_is_about_what_is_taken") {
        return;
    }
    for (channels, events, bytes) in [(20_000, 1, 20), (200, 256, 20), (200, 5, 5000)] {
        let es = with_history(History::memory().bytes(1 << 30));
        let text = "x".repeat(bytes);
        let before = MEMORY.allocated();
        for _ in 0..events {
            for channel in 0..channels {
                publish(&es, &channel.to_string(), &text).await;
            }
        }
        let taken = MEMORY.allocated() - before;
        let counted = es.stats().history_bytes;
        assert!(
            taken <= 2 * counted && counted <= 2 * taken,
            "{taken} taken, {counted} counted: {channels} channels with {events} events"
        );
        drop(es);
        let left = MEMORY.allocated().saturating_sub(before);
        assert!(left < taken / 100, "{left} of {taken} are left");
    }
}

/// Reads 40,000 replayed bytes, and drops the stream.
async fn resume(es: &EventStream, channel: usize, id: &str) {
    let response = call(&app(es), &format!("/{channel}"), &[("last-event-id", id)]).await;
    let (mut body, mut bytes) = (response.into_body(), 0);
    while bytes < 40_000 {
        let frame = body.frame().await.unwrap().unwrap();
        bytes += frame.data_ref().unwrap().len();
    }
}

#[tokio::test]
async fn clients_that_resumed_and_have_gone_leave_nothing_behind() {
    if alone::has_run("replay::memory::clients_that_resumed_and_have_gone_leave_nothing_behind") {
        return;
    }
    const CHANNELS: usize = 200;
    let es = EventStream::new();
    publish(&es, &CHANNELS.to_string(), "before").await;
    let id = current_id(&es);
    for channel in 0..CHANNELS {
        for _ in 0..40 {
            publish(&es, &channel.to_string(), &"x".repeat(1000)).await;
        }
    }
    resume(&es, 0, &id).await;
    let before = (MEMORY.allocated(), es.stats().history_bytes);
    for _ in 0..4 {
        for channel in 0..CHANNELS {
            resume(&es, channel, &id).await;
        }
    }
    let grown = MEMORY.allocated().saturating_sub(before.0);
    // Each event that was read has a counter of its references since then.
    assert!(grown < 100 * 40 * CHANNELS, "it grew by {grown} bytes");
    assert_eq!(es.stats().history_bytes, before.1);
}
