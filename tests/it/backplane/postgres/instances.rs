//! Instances of an application on one log.

use super::*;
use crate::backplane::Instance;
use axum_eventstream::{ErrorKind, EventStream, testing::TestStream};

fn instance(postgres: Postgres) -> Instance {
    Instance::of(EventStream::builder().backplane(postgres).build().unwrap())
}

/// Two instances, each with a client that has received `one`.
async fn two(server: &PostgresServer) -> ([Instance; 2], [TestStream; 2]) {
    let instances = [(); 2].map(|()| instance(log(server, "chat")));
    let mut streams = [
        instances[0].client.get("/room").await,
        instances[1].client.get("/room").await,
    ];
    publish_to(&instances[0], &mut streams, "one").await;
    (instances, streams)
}

/// Publishes at one instance, and expects the event, and nothing before it, at both.
async fn publish_to(instance: &Instance, streams: &mut [TestStream], text: &str) {
    instance.publish("room", text).await.unwrap();
    for stream in streams {
        stream.expect_text("message", text).await;
    }
}

async fn expect_resets(streams: &mut [TestStream]) {
    for stream in streams {
        stream.expect("stream-reset").await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn instances_share_a_namespace_and_nothing_else() {
    let server = PostgresServer::start().await;
    let ([a, b], mut streams) = two(&server).await;
    let other = instance(log(&server, "news"));
    other.publish("room", "other").await.unwrap();
    publish_to(&b, &mut streams, "two").await;
    let id = streams[0].last_event_id().unwrap().to_owned();
    publish_to(&a, &mut streams, "three").await;
    let mut resumed = b.resuming(&id).get("/room").await;
    resumed.expect_text("message", "three").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_publish_without_its_synchronous_standby_may_be_published() {
    let server = PostgresServer::start().await;
    let ([a, b], mut streams) = two(&server).await;
    let standbys = |names: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        server.sql(&set);
        server.sql("SELECT pg_reload_conf()");
    };
    standbys("absent");
    let error = a.publish("room", "two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MaybePublished);
    standbys("");
    for stream in &mut streams {
        stream.expect_text("message", "two").await;
    }
    publish_to(&b, &mut streams, "three").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn tables_that_are_emptied_or_deleted_reset_all_clients() {
    let server = PostgresServer::start().await;
    let ([a, b], mut streams) = two(&server).await;
    for (statement, instance) in [("TRUNCATE", &a), ("DROP TABLE", &b)] {
        server.sql(&format!(
            "{statement} eventstream_head, eventstream_origin, eventstream_entry"
        ));
        expect_resets(&mut streams).await;
        publish_to(instance, &mut streams, statement).await;
    }
}

/// The instances stay connected, and notice nothing when they attach again: the log is longer than before.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_dump_that_is_restored_under_load_resets_all_clients() {
    let server = PostgresServer::start().await;
    let ([a, b], mut streams) = two(&server).await;
    server.sql("CREATE TABLE head AS TABLE eventstream_head");
    server.sql("CREATE TABLE entry AS TABLE eventstream_entry");
    publish_to(&a, &mut streams, "lost").await;
    server.sql(
        "BEGIN;
        DELETE FROM eventstream_head; INSERT INTO eventstream_head TABLE head;
        DELETE FROM eventstream_entry; INSERT INTO eventstream_entry TABLE entry;
        SELECT eventstream_append('chat', epoch, 1, 1, '{room,room}', '{x,y}', 100) FROM head;
        COMMIT",
    );
    expect_resets(&mut streams).await;
    publish_to(&b, &mut streams, "two").await;
}
