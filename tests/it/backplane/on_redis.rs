//! Instances on a real Redis.

use super::Instance;
use crate::support::{message, redis::RedisServer, until};
use axum_eventstream::{
    EventStream,
    backplane::{Backplane, Batch, Draft, Known, Origin, Redis, Writer},
};

fn instance(redis: Redis) -> Instance {
    Instance::of(EventStream::builder().backplane(redis).build().unwrap())
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn instances_share_a_namespace_and_nothing_else() {
    let server = RedisServer::start().await;
    let of = |namespace: &str| instance(Redis::new(server.url()).namespace(namespace));
    let (a, b, other) = (of("chat"), of("chat"), of("news"));
    let (mut at_a, mut at_other) = (a.client.get("/room").await, other.client.get("/room").await);
    other.publish("room", "other").await.unwrap();
    let id = b
        .publish("room", "one")
        .await
        .unwrap()
        .id
        .unwrap()
        .to_string();
    assert_eq!(at_a.expect_text("message", "one").await.id(), Some(&*id));
    at_other.expect_text("message", "other").await;
    a.publish("room", "two").await.unwrap();
    b.resuming(&id)
        .get("/room")
        .await
        .expect_text("message", "two")
        .await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_deleted_last_entry_stops_no_instance() {
    let server = RedisServer::start().await;
    let a = instance(Redis::new(server.url()));
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    let deleted = server.command(&format!("XDEL {{eventstream}}:log {}-0", id.sequence()));
    assert_eq!(deleted.trim(), "1");
    let b = instance(Redis::new(server.url()));
    // It waits once for the entry that the log should have.
    until("the log is read", || b.es.health().is_healthy()).await;
    let mut streams = [a.client.get("/room").await, b.client.get("/room").await];
    a.publish("room", "two").await.unwrap();
    for stream in &mut streams {
        stream.expect_text("message", "two").await;
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_deleted_entry_is_told_to_the_clients_that_have_not_read_it() {
    let server = RedisServer::start().await;
    let a = instance(Redis::new(server.url()));
    let mut stream = a.client.get("/room").await;
    a.publish("room", "one").await.unwrap();
    stream.expect_text("message", "one").await;
    let last = server.command("XREVRANGE {eventstream}:log + - COUNT 1");
    let last: u64 = last.split('-').next().unwrap().trim().parse().unwrap();
    // The sequence goes on, and an entry is missing.
    server.command(&format!("HSET {{eventstream}}:meta s {}", last + 1));
    a.publish("room", "two").await.unwrap();
    stream.expect("stream-reset").await;
    stream.expect_text("message", "two").await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn an_engine_that_refuses_the_password_is_reported() {
    let server = RedisServer::start().await;
    server.command("CONFIG SET requirepass right");
    let url = server.url().replace("redis://", "redis://:wrong@");
    let a = instance(Redis::new(url));
    a.es.try_publish("room", message("one")).unwrap();
    let health = || a.es.health().to_string();
    until("the refusal", || health().contains("WRONGPASS")).await;
    assert!(!health().contains("wrong@"), "{}", health());
}

/// An instance that stores its events in a form that no known version has.
struct Later {
    writer: <Redis as Backplane>::Writer,
    origin: Origin,
    epoch: u64,
}

impl Later {
    async fn start(redis: &Redis) -> Self {
        let (writer, _) = redis.connect().await.unwrap();
        let origin = Origin::new(fastrand::u64(..));
        let known = Known::nothing(origin, 1);
        let epoch = writer.attach(&known).await.unwrap().epoch;
        Self {
            writer,
            origin,
            epoch,
        }
    }

    async fn publish(&self, number: u64, texts: &[&str]) {
        let draft = |text: &&str| Draft::new("room", format!("2\ndata: {text}\n"));
        let drafts: Vec<_> = texts.iter().map(draft).collect();
        let batch = Batch::new(self.epoch, self.origin, number, &drafts);
        self.writer.append(batch).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn events_of_a_later_version_are_counted_and_reset_their_channel() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let earlier = instance(redis.clone());
    let (mut room, mut other) = (
        earlier.client.get("/room").await,
        earlier.client.get("/other").await,
    );
    let one = earlier.publish("room", "one").await.unwrap().id.unwrap();
    room.expect_text("message", "one").await;
    let later = Later::start(&redis).await;
    later.publish(1, &["alone"]).await;
    later.publish(2, &["in", "a batch"]).await;
    earlier.publish("room", "two").await.unwrap();
    earlier.publish("other", "three").await.unwrap();
    // It has not read since.
    room.expect("stream-reset").await;
    room.expect_text("message", "two").await;
    other.expect_text("message", "three").await;

    // An instance that starts then reads the same log.
    let started = instance(redis);
    let mut resumed = started.resuming(&one).get("/room").await;
    resumed.expect("stream-reset").await;
    earlier.publish("room", "four").await.unwrap();
    resumed.expect_text("message", "four").await;
    for one in [earlier, started] {
        assert_eq!(one.es.stats().backplane_skipped, 3);
    }
}
