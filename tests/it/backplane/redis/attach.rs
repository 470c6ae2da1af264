//! A new epoch begins exactly when something is gone.

use super::*;
use crate::support::redis::RedisServer;

#[tokio::test]
#[ignore = "needs Redis"]
async fn the_first_attach_begins_an_epoch_with_an_entry() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let (writer, mut reader) = redis.connect().await.unwrap();
    let known = Known::nothing(Origin::new(1), 42);

    assert_eq!(kind(writer.head().await), FailureKind::Stale);
    let attached = writer.attach(&known).await.unwrap();

    assert_eq!(
        (attached.epoch, attached.cause.as_deref()),
        (42, Some("absent"))
    );
    assert_eq!(attached.first, Some(attached.last));
    let read = reader.read(0).await.unwrap();
    assert_eq!(payloads(&read), ["<epoch>"]);
    assert_eq!(read[0].sequence, attached.last);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_deleted_stream_loses_nothing_that_was_read() {
    let server = RedisServer::start().await;
    let mut instance = Instance::of(&Redis::new(server.url())).await;
    instance.append(&["a"]).await.unwrap();
    instance.read().await.unwrap();

    server.command("DEL {eventstream}:log");

    let attached = instance.attach().await.unwrap();
    assert_eq!((attached.cause, attached.first), (None, None));
    instance.append(&["b"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["b"]);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn an_epoch_that_begins_wakes_a_blocked_read() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let (mut reads, mut other) = (Instance::of(&redis).await, Instance::of(&redis).await);
    reads.append(&["a"]).await.unwrap();
    reads.read().await.unwrap();

    let wipe = async {
        while !server.command("CLIENT LIST").contains("flags=b") {
            tokio::task::yield_now().await;
        }
        server.command("FLUSHALL");
        other.attach().await.unwrap()
    };
    let (read, attached) = tokio::join!(reads.read(), wipe);

    assert_eq!(payloads(&read.unwrap()), ["<epoch>"]);
    assert_eq!(reads.last, attached.last);
    assert_eq!(reads.attach().await.unwrap().epoch, attached.epoch);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_lost_tail_begins_an_epoch() {
    let mut server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let mut publisher = Instance::of(&redis).await;
    let mut follower = Instance::of(&redis).await;
    publisher.append(&["a"]).await.unwrap();
    server.command("SAVE");
    publisher.append(&["b"]).await.unwrap();
    follower.read().await.unwrap();

    server.restart().await;

    // Which instance notices it does not matter.
    for (instance, cause) in [(&mut follower, "regress"), (&mut publisher, "publisher")] {
        server.restart().await;
        let last = instance.last;
        instance.reconnect(&redis).await;
        let attached = instance.attach().await.unwrap();
        assert_eq!(attached.cause.as_deref(), Some(cause));
        assert!(attached.last > last);
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_publish_waits_for_earlier_instances_after_a_restart() {
    let mut server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let mut one = Instance::of(&redis).await;
    let mut two = Instance::of(&redis).await;
    server.command("SAVE");

    server.restart().await;
    one.reconnect(&redis).await;
    one.attach().await.unwrap();
    assert_eq!(kind(one.append(&["a"]).await), FailureKind::Busy);
    two.reconnect(&redis).await;
    two.attach().await.unwrap();

    one.append(&["a"]).await.unwrap();
    assert_eq!(payloads(&two.read().await.unwrap()), ["a"]);
}
