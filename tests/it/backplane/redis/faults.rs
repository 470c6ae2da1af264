//! Failures, and which of them leave the outcome open.

use super::*;
use crate::support::redis::RedisServer;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    server.kill();
    let failure = redis.connect().await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    let address = format!("127.0.0.1:{}", server.port());
    assert!(failure.to_string().contains(&address), "{failure}");
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_killed_server_loses_answers() {
    let mut server = RedisServer::start().await;
    let mut instance = Instance::of(&Redis::new(server.url())).await;
    server.kill();
    assert_eq!(kind(instance.append(&["a"]).await), FailureKind::Lost);
    assert_eq!(kind(instance.read().await), FailureKind::Lost);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_server_that_hangs_loses_answers_within_seconds() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let mut instance = Instance::of(&redis).await;
    instance.append(&["a"]).await.unwrap();
    server.pause();
    let start = Instant::now();
    assert_eq!(kind(instance.append(&["b"]).await), FailureKind::Lost);
    assert!(start.elapsed() < Duration::from_secs(4));
    server.resume();

    // The append was executed all the same, so a repetition adds nothing.
    instance.reconnect(&redis).await;
    instance.attach().await.unwrap();
    let repeated = instance.append_at(2, &["b"]).await.unwrap();
    assert_eq!(repeated.added, 0);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let server = RedisServer::start().await;
    let mut instance = Instance::of(&Redis::new(server.url())).await;
    instance.append(&["a"]).await.unwrap();
    server.command("SCRIPT FLUSH");
    instance.append(&["b"]).await.unwrap();
    server.command("SCRIPT FLUSH");
    instance.attach().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn keys_of_another_type_are_refused() {
    for key in ["{eventstream}:log", "{eventstream}:meta"] {
        let server = RedisServer::start().await;
        let redis = Redis::new(server.url());
        let mut instance = Instance::of(&redis).await;
        server.command(&format!("DEL {key}"));
        server.command(&format!("SET {key} x"));

        let failure = instance.attach().await.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Refused);
        assert!(failure.to_string().contains("WRONGTYPE"), "{failure}");
        assert_eq!(kind(instance.append(&["a"]).await), FailureKind::Refused);
        if key.ends_with("log") {
            assert_eq!(kind(instance.read().await), FailureKind::Refused);
        } else {
            assert_eq!(kind(instance.writer.head().await), FailureKind::Refused);
            assert_eq!(kind(redis.connect().await), FailureKind::Refused);
        }
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_full_server_refuses_appends_and_nothing_else() {
    let server = RedisServer::with("save ''\nmaxmemory-policy noeviction").await;
    let mut instance = Instance::of(&Redis::new(server.url())).await;
    instance.append(&["a"]).await.unwrap();
    server.command("CONFIG SET maxmemory 1");

    let failure = instance.append(&["b"]).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert!(failure.to_string().contains("OOM"), "{failure}");
    instance.attach().await.unwrap();

    server.command("CONFIG SET maxmemory 0");
    instance.append(&["b"]).await.unwrap();
    assert_eq!(instance.read().await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_replica_is_unavailable() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let mut instance = Instance::of(&redis).await;
    server.command("REPLICAOF 127.0.0.1 1");
    assert_eq!(kind(instance.attach().await), FailureKind::Unavailable);
    assert_eq!(
        kind(instance.append(&["a"]).await),
        FailureKind::Unavailable
    );
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_server_without_room_for_clients_is_unavailable() {
    let server = RedisServer::start().await;
    server.command("CONFIG SET maxclients 1");
    let _client = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await;
    for url in [
        server.url(),
        format!("redis://:secret@127.0.0.1:{}", server.port()),
    ] {
        assert_eq!(
            kind(Redis::new(url).connect().await),
            FailureKind::Unavailable
        );
    }
}
