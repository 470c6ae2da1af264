//! Two instances on one Redis, and a Pushpin that one of them cannot reach.

use crate::{
    proxied::recovering,
    support::{
        app, message, publish,
        redis::RedisServer,
        stage::{Stage, data_until, next_event},
        until,
    },
};
use axum_eventstream::{ErrorKind, EventStream, EventStreamBuilder, KeepAlive, backplane::Redis};
use std::time::Duration;

/// A control URI that nobody answers, as if the instance were killed before it forwards its events.
const NOWHERE: &str = "http://127.0.0.1:1/";

fn builder(redis: &RedisServer, control_uri: &str) -> EventStreamBuilder {
    // No keep-alive comes between the events of a test.
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(3600));
    let builder = recovering(control_uri, None).keep_alive(keep_alive);
    builder.backplane(Redis::new(redis.url()))
}

/// The instance that the proxy reaches. The proxy asks for missed events after so many seconds without one.
async fn stage(redis: &RedisServer, poll: u64) -> Stage {
    let poll = Duration::from_secs(poll);
    Stage::start(|uri| builder(redis, uri).grip_poll(poll), app).await
}

/// Publishes an event that is in the log, and that the proxy does not receive.
async fn publish_unforwarded(es: &EventStream, text: &str) {
    let error = es.publish_event("a", message(text)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Publish);
}

#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn events_that_an_instance_has_not_forwarded_reach_the_clients_of_a_proxy() {
    let redis = RedisServer::start().await;
    let stage = stage(&redis, 2).await;
    let other = builder(&redis, NOWHERE).build().unwrap();
    let mut client = stage.listen("/a", &["a"]).await;
    // The proxy asks for them, first without a later event, and then because of one.
    publish_unforwarded(&other, "1").await;
    publish_unforwarded(&other, "2").await;
    assert_eq!(data_until(&mut client, "2").await, ["1", "2"]);
    publish_unforwarded(&other, "3").await;
    publish(&stage.es, "a", "4").await;
    assert_eq!(data_until(&mut client, "4").await, ["3", "4"]);
}

/// The proxy does not ask for missed events within the test: the instance makes it ask.
#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn an_idle_client_of_a_proxy_is_reset_when_the_log_is_lost() {
    let mut redis = RedisServer::start().await;
    let stage = stage(&redis, 100).await;
    let mut client = stage.listen("/a", &["a"]).await;
    // It does so once, after the first subscription.
    until("the first request", || stage.proxy.followed() > 0).await;
    for loses_process in [false, true] {
        match loses_process {
            false => assert_eq!(redis.command("FLUSHALL"), "OK"),
            true => redis.restart().await,
        }
        let event = next_event(&mut client).await.expect("a reset");
        assert!(event.starts_with("event: stream-reset\n"), "{event}");
        publish(&stage.es, "a", loses_process).await;
        let text = loses_process.to_string();
        assert_eq!(data_until(&mut client, &text).await, [text]);
    }
}
