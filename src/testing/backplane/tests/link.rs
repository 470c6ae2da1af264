//! Faults of a link.

use super::*;
use crate::backplane::FailureKind::{Busy, Lost, Unavailable};
use tokio::time::{Instant, sleep, timeout};

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_down_breaks_connections_and_refuses_new_ones() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    let mut blocked = Client::join(&memory).await;
    let read = tokio::spawn(async move { blocked.read().await });
    sleep(SECOND).await;
    memory.down();
    let begin = Instant::now();
    assert_eq!(kind(read.await.unwrap()), Some(Lost));
    assert_eq!(kind(client.read().await), Some(Unavailable));
    assert_eq!(kind(client.append(1, &["a"]).await), Some(Unavailable));
    assert_eq!(kind(memory.connect().await), Some(Unavailable));
    memory.up();
    assert_eq!(kind(client.append(1, &["a"]).await), Some(Unavailable));
    assert_eq!(memory.entries(), 1);
    let client = Client::join(&memory).await;
    assert_eq!(kind(client.append(1, &["a"]).await), None);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_done_half_way_through_its_delay() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    memory.slow(SECOND);
    for (limit, entries) in [(400, 1), (600, 2)] {
        let limit = Duration::from_millis(limit);
        assert!(timeout(limit, client.append(1, &["a"])).await.is_err());
        assert_eq!(memory.entries(), entries);
    }
    let begin = Instant::now();
    assert_eq!(client.append(1, &["a"]).await.unwrap().added, 0);
    assert_eq!(texts(&client.read().await.unwrap()), [b"a"]);
    assert_eq!(begin.elapsed(), 2 * SECOND);
    memory.slow(5 * SECOND);
    assert_eq!(kind(client.append(2, &["b"]).await), Some(Lost));
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_answer_is_lost_is_done() {
    let memory = Memory::new();
    let client = Client::join(&memory).await;
    memory.lose_replies(2);
    assert_eq!(kind(client.append(1, &["a"]).await), Some(Lost));
    assert_eq!(kind(client.append(1, &["a"]).await), Some(Lost));
    assert_eq!(client.append(1, &["a"]).await.unwrap().added, 0);
    assert_eq!(memory.entries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_does_nothing() {
    let memory = Memory::new();
    let client = Client::join(&memory).await;
    memory.busy(1);
    assert_eq!(kind(client.append(1, &["a"]).await), Some(Busy));
    assert_eq!(memory.entries(), 1);
    assert_eq!(client.append(1, &["a"]).await.unwrap().added, 1);
}

#[tokio::test(start_paused = true)]
async fn an_operation_on_a_link_that_hangs_ends_at_its_limit() {
    let memory = Memory::new();
    let mut client = Client::join(&memory).await;
    memory.hang();
    let begin = Instant::now();
    assert_eq!(kind(client.append(1, &["a"]).await), Some(Lost));
    assert_eq!(begin.elapsed(), 2 * SECOND);
    assert_eq!(kind(client.read().await), Some(Lost));
    assert_eq!(begin.elapsed(), 10 * SECOND);
    assert_eq!(kind(memory.connect().await), Some(Unavailable));
    assert_eq!(begin.elapsed(), 12 * SECOND);
    assert_eq!(memory.entries(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operation_goes_on_when_its_link_resumes() {
    let memory = Memory::new();
    let other = Client::join(&memory.link()).await;
    let mut client = Client::join(&memory).await;
    let read = tokio::spawn(async move { client.read().await });
    sleep(SECOND).await;
    memory.hang();
    other.append(1, &["a"]).await.unwrap();
    sleep(5 * SECOND).await;
    assert!(!read.is_finished());
    memory.resume();
    assert_eq!(texts(&read.await.unwrap().unwrap()), [b"a"]);
}

#[tokio::test(start_paused = true)]
async fn faults_of_one_link_do_not_affect_another() {
    let memory = Memory::new();
    let link = memory.link();
    let client = Client::join(&link).await;
    memory.down();
    memory.hang();
    memory.slow(SECOND);
    memory.lose_replies(1);
    let begin = Instant::now();
    assert_eq!(kind(client.append(1, &["a"]).await), None);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(memory.head(), link.head());
}
