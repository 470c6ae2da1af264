//! Events, closes and keys on all instances.

use super::Instance;
use axum::{Router, routing::get};
use axum_eventstream::{
    Event, EventStream, History,
    testing::{TestClient, backplane::Memory},
};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_event_reaches_the_clients_of_all_instances_with_the_same_id() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let (mut at_a, mut at_b) = (a.client.get("/room").await, b.client.get("/room").await);
    for (instance, text) in [(&a, "one"), (&b, "two"), (&a, "three")] {
        let published = instance.publish("room", text).await.unwrap();
        let id = published.id.unwrap().to_string();
        assert_eq!(published.subscribers, 1);
        for stream in [&mut at_a, &mut at_b] {
            let event = stream.expect_text("message", text).await;
            assert_eq!(event.id(), Some(&*id));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_instances_have_one_order() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let mut streams = [a.client.get("/x+y").await, b.client.get("/y+x").await];
    let publish = async |instance: &Instance, name: &str| {
        for n in 0..50 {
            let channel = ["x", "y"][n % 2];
            instance
                .publish(channel, &format!("{name}{n}"))
                .await
                .unwrap();
        }
    };
    tokio::join!(publish(&a, "a"), publish(&b, "b"));
    let mut orders = Vec::new();
    for stream in &mut streams {
        let mut order = Vec::new();
        for _ in 0..100 {
            order.push(stream.expect("message").await.data().into_owned());
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    for name in ["a", "b"] {
        let of_one: Vec<_> = orders[0]
            .iter()
            .filter(|text| text.starts_with(name))
            .cloned()
            .collect();
        let expected: Vec<_> = (0..50).map(|n| format!("{name}{n}")).collect();
        assert_eq!(of_one, expected, "each instance's events are in its order");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_channel_ends_streams_on_all_instances_in_order() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let mut streams = [
        a.client.get("/user-7+news").await,
        b.client.get("/user-7+news").await,
    ];
    let mut other = b.client.get("/news").await;
    a.publish("user-7", "last").await.unwrap();
    a.es.close_channel("user-7").await.unwrap();
    b.publish("news", "after").await.unwrap();
    for stream in &mut streams {
        stream.expect_text("message", "last").await;
        stream.expect_end().await;
    }
    other.expect_text("message", "after").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_at_another_instance() {
    let engine = Memory::new();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&engine).await);
    let mut stream = a.client.get("/room").await;
    a.publish("room", "one").await.unwrap();
    let event = stream.expect_text("message", "one").await;
    drop(stream);
    a.publish("room", "two").await.unwrap();
    let client = b.resuming(event.id().unwrap());
    let mut stream = client.get("/room").await;
    stream.expect_text("message", "two").await;
    b.publish("room", "three").await.unwrap();
    stream.expect_text("message", "three").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_ahead_of_an_instance_is_not_reset() {
    for path in ["/room", "/open/room"] {
        let engine = Memory::new();
        let link = engine.link();
        let (a, b) = (Instance::warm(&engine).await, Instance::warm(&link).await);
        link.slow(Duration::from_millis(300));
        let published = a.publish("room", "one").await.unwrap();
        let id = published.id.unwrap();
        assert_ne!(b.es.current_id(), Some(id), "it is behind");
        let client = b.resuming(&id);
        let mut stream = client.get(path).await;
        a.publish("room", "two").await.unwrap();
        stream.expect_text("message", "two").await;
        assert_eq!(b.es.stats().resets, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_log_does_not_have_is_a_reset() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    for gone in [
        format!("{:012x}-{}", id.epoch(), id.sequence() + 1_000_000),
        "000000000001-1".to_owned(),
    ] {
        for path in ["/room", "/open/room"] {
            let client = a.resuming(&gone);
            let mut stream = client.get(path).await;
            let reset = stream.expect("stream-reset").await;
            assert_eq!(reset.data(), r#"{"channels":["room"],"missed":null}"#);
            a.publish("room", "two").await.unwrap();
            stream.expect_text("message", "two").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_starts_has_what_the_log_still_has() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    let first = a.publish("room", "one").await.unwrap().id.unwrap();
    for n in 0..1000 {
        a.es.try_publish("other", Event::json("n", &n).unwrap())
            .unwrap();
    }
    a.publish("room", "two").await.unwrap();
    drop(a);
    let b = Instance::new(&engine);
    let client = b.resuming(&first);
    let mut stream = client.get("/room").await;
    stream.expect_text("message", "two").await;
    let mut new = b.client.get("/room").await;
    b.publish("room", "three").await.unwrap();
    stream.expect_text("message", "three").await;
    new.expect_text("message", "three").await;
    assert_eq!(b.es.stats().resets, 0);
}

#[tokio::test(start_paused = true)]
async fn keys_are_of_all_instances() {
    let engine = Memory::new();
    let instance = || {
        let history = History::memory().events(2).latest_per_key();
        let es = EventStream::builder()
            .history(history)
            .backplane(engine.clone())
            .build()
            .unwrap();
        let app: Router = Router::new().route("/", get(es.handler("prices").snapshot_latest()));
        (es, TestClient::new(app))
    };
    let price = |key: &str, value: u32| {
        Event::builder()
            .event(key)
            .key(key)
            .json_data(&value)
            .unwrap()
            .build()
            .unwrap()
    };
    let (a, at_a) = instance();
    let (b, _) = instance();
    for (es, key, value) in [(&a, "x", 1), (&b, "y", 2), (&a, "z", 3), (&b, "x", 4)] {
        es.publish_event("prices", price(key, value)).await.unwrap();
    }
    let gone = Event::builder()
        .event("y")
        .key("y")
        .data("")
        .remove_key()
        .build()
        .unwrap();
    b.publish_event("prices", gone).await.unwrap();
    let (_c, at_c) = instance();
    for client in [at_a, at_c] {
        let mut stream = client.get("/").await;
        stream.expect_text("z", "3").await;
        stream.expect_text("x", "4").await;
        stream.expect_silence(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_resets_no_client_that_waits_for_its_position() {
    let engine = Memory::new();
    let link = engine.link();
    let (a, b) = (Instance::warm(&engine).await, Instance::warm(&link).await);
    link.slow(Duration::from_millis(300));
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    let mut stream = b.resuming(&id).get("/room").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    link.down();
    link.slow(Duration::ZERO);
    link.up();
    a.publish("room", "two").await.unwrap();
    stream.expect_text("message", "two").await;
    assert_eq!(b.es.stats().resets, 0);
}

#[tokio::test(start_paused = true)]
async fn a_burst_overruns_no_client_with_a_short_history() {
    let engine = Memory::new();
    let a = Instance::warm(&engine).await;
    let history = History::memory().events(1);
    let builder = EventStream::builder().history(history);
    let b = Instance::of(builder.backplane(engine.clone()).build().unwrap());
    assert!(b.es.catch_up().await);
    let mut stream = b.client.get("/room").await;
    // From now on the client waits for events.
    a.publish("room", "first").await.unwrap();
    stream.expect_text("message", "first").await;
    let reading = async {
        for n in 0..500 {
            stream.expect_text("message", &n.to_string()).await;
        }
    };
    let events = (0..500).map(|n| Event::text("message", n.to_string()).unwrap());
    let (published, ()) = tokio::join!(a.es.publish_events("room", events), reading);
    published.unwrap();
}
