//! What an exporter sees, and that no label is the name of a channel.

use crate::support::{
    call,
    control_server::{Answer, ControlServer},
    current_id, message, publish, until, with_history,
};
use axum::{Router, http::StatusCode, response::Response, routing::get};
use axum_eventstream::{
    Event, EventStream, History, Limits, Rejection, Stats, StreamRequest,
    testing::backplane::Memory,
};
use http::request::Parts;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio_stream::StreamExt;

fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// The lines with values, in order.
fn values(handle: &PrometheusHandle) -> Vec<String> {
    let text = handle.render();
    assert!(!text.contains("room-"), "{text}");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn request(es: &EventStream, header: (&str, &str)) -> Response {
    let app: Router = Router::new().route("/", get(es.handler("room-1")));
    call(&app, "/", &[header]).await
}

#[tokio::test]
async fn subscriptions_publishes_lag_and_refusals_are_measured() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let es = with_history(History::memory().events(2));
    let id = current_id(&es);
    publish(&es, "room-1", "x").await;
    let resumed = request(&es, ("last-event-id", &id)).await;
    let mut slow = es.subscribe(["room-1"]).unwrap();
    for _ in 0..3 {
        publish(&es, "room-1", "x").await;
    }
    publish(&es, "room-2", "x").await;
    assert_eq!(slow.next().await.unwrap().event(), "stream-reset");
    request(&es, ("accept", "text/html")).await;
    request(&es, ("last-event-id", "error")).await;
    let refuses = es.handler(|_: &Parts| Err::<&str, _>(Rejection::NoChannels));
    call(&Router::new().route("/", get(refuses)), "/", &[]).await;
    let seen = [
        "eventstream_delivered_total 6",
        "eventstream_lagged_total 1",
        "eventstream_published_total 5",
        r#"eventstream_refused_total{reason="invalid_last_event_id"} 1"#,
        r#"eventstream_refused_total{reason="no_channels"} 1"#,
        r#"eventstream_refused_total{reason="not_acceptable"} 1"#,
        "eventstream_replayed_total 1",
        "eventstream_resets_total 1",
    ];
    let with = |subscriptions: usize, channels: usize| {
        let history_bytes = es.stats().history_bytes;
        let mut lines = seen.map(str::to_owned).to_vec();
        lines.push(format!("eventstream_channels {channels}"));
        lines.push(format!("eventstream_history_bytes {history_bytes}"));
        lines.push(format!("eventstream_subscriptions {subscriptions}"));
        lines.sort();
        lines
    };
    assert_eq!(values(&handle), with(2, 1));
    drop((resumed, slow));
    assert_eq!(values(&handle), with(0, 0));
}

/// The value of a metric, summed over its labels.
fn total(handle: &PrometheusHandle, name: &str) -> f64 {
    let lines = values(handle).into_iter();
    let of_name = lines.filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values = of_name.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum()
}

/// Every field of the streams' `Stats`, summed, is the value of its metric.
fn assert_equal(streams: &[&EventStream], handle: &PrometheusHandle) {
    let stats: Vec<_> = streams.iter().map(|es| es.stats()).collect();
    let sum = |field: fn(&Stats) -> u64| stats.iter().map(field).sum::<u64>();
    for (name, value) in [
        ("subscriptions", sum(|stats| stats.subscriptions as u64)),
        ("channels", sum(|stats| stats.channels as u64)),
        ("history_bytes", sum(|stats| stats.history_bytes as u64)),
        ("published_total", sum(|stats| stats.published)),
        ("delivered_total", sum(|stats| stats.delivered)),
        ("lagged_total", sum(|stats| stats.lagged)),
        ("resets_total", sum(|stats| stats.resets)),
        ("replayed_total", sum(|stats| stats.replayed)),
        ("refused_total", sum(|stats| stats.refused)),
    ] {
        let metric = total(handle, &format!("eventstream_{name}"));
        assert_eq!(metric, value as f64, "{name}");
    }
}

fn limited() -> EventStream {
    let limits = Limits::new()
        .subscriptions(3)
        .subscriptions_per_channel(2)
        .channels_per_subscription(2)
        .event_bytes(300);
    let history = History::memory().events(4);
    let builder = EventStream::builder().limits(limits).history(history);
    builder.build().unwrap()
}

#[tokio::test]
async fn every_number_of_stats_is_the_value_of_its_metric() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let (es, other) = (limited(), limited());
    let id = current_id(&es);
    publish(&other, "room-1", "x").await;
    for _ in 0..3 {
        publish(&es, "room-1", "x").await;
    }
    let resumed = request(&es, ("last-event-id", &id)).await;
    let mut slow = es.subscribe(["room-1", "room-2"]).unwrap();
    for _ in 0..6 {
        publish(&es, "room-2", "x").await;
    }
    assert_eq!(slow.next().await.unwrap().event(), "stream-reset");
    assert!(slow.next().await.is_some());
    assert_equal(&[&es, &other], &handle);
    let stats = es.stats();
    assert_eq!((stats.subscriptions, stats.channels), (2, 2));
    assert_eq!((stats.published, stats.delivered), (9, 6));
    assert_eq!((stats.lagged, stats.resets, stats.replayed), (2, 1, 3));

    drop((resumed, slow));
    assert_equal(&[&es, &other], &handle);
    drop(es);
    let bytes = other.stats().history_bytes as f64;
    assert_eq!(total(&handle, "eventstream_history_bytes"), bytes);
    drop(other);
    assert_eq!(total(&handle, "eventstream_history_bytes"), 0.0);
}

#[tokio::test]
async fn each_limit_is_counted_once_in_stats_and_metrics() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let es = limited();
    let refused = |reason: &str, count: u64| {
        let name = format!("eventstream_refused_total{{reason=\"{reason}\"}} {count}");
        let values = values(&handle);
        assert!(values.contains(&name), "no {name} in {values:#?}");
        assert_equal(&[&es], &handle);
    };
    let _two = ["room-1", "room-1"].map(|name| es.subscribe(name).unwrap());
    es.subscribe("room-1").unwrap_err();
    refused("limit_reached", 1);
    request(&es, ("x", "x")).await;
    refused("unavailable", 1);
    let _third = es.subscribe("room-2").unwrap();
    es.subscribe("room-3").unwrap_err();
    refused("limit_reached", 2);
    es.subscribe(["a", "b", "c"]).unwrap_err();
    refused("limit_reached", 3);
    let many = Router::new().route("/", get(es.handler(["a", "b", "c"])));
    call(&many, "/", &[]).await;
    refused("too_many_channels", 1);
    let large = Event::text("message", "x".repeat(300)).unwrap();
    es.publish_event("room-1", large).await.unwrap_err();
    refused("limit_reached", 4);
    es.subscribe("a,b").unwrap_err();
    refused("invalid_channel", 1);
    es.close();
    es.subscribe("room-4").unwrap_err();
    refused("closed", 1);
    request(&es, ("x", "x")).await;
    refused("unavailable", 2);
    let own = get(async |es: EventStream, request: StreamRequest| {
        // The refusal is counted although this handler answers differently.
        es.open(&request, "room-1")
            .map_err(|_| StatusCode::CONFLICT)
    });
    let own = Router::new().route("/", own).with_state(es.clone());
    assert_eq!(call(&own, "/", &[]).await.status(), StatusCode::CONFLICT);
    refused("unavailable", 3);
    assert_eq!((es.stats().refused, es.stats().published), (10, 0));
}

#[tokio::test]
async fn what_proxies_take_and_how_fast_is_measured() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let proxy = ControlServer::start().await;
    let uri = format!("{}?key=hush", proxy.uri());
    let es = EventStream::builder().grip(uri).build().unwrap();
    publish(&es, "room-1", "x").await;
    proxy.answer(Answer::Status(403, "no"));
    let refused = es.publish_event("room-1", message("x")).await;
    refused.unwrap_err();
    // The task that sends still has to read the answer to its end.
    let queued = || total(&handle, "eventstream_grip_queued");
    until("none is queued", || queued() == 0.0).await;
    let endpoint = format!("{}/", proxy.uri());
    let lines = values(&handle);
    for (name, kind) in [("published", ""), ("failures", r#",kind="status""#)] {
        let line = format!("eventstream_grip_{name}_total{{endpoint=\"{endpoint}\"{kind}}} 1");
        assert!(lines.contains(&line), "no {line} in {lines:#?}");
    }
    let count = format!("eventstream_grip_publish_seconds_count{{endpoint=\"{endpoint}\"}} 1");
    assert!(lines.contains(&count), "{lines:#?}");
    let queued = format!("eventstream_grip_queued{{endpoint=\"{endpoint}\"}} 0");
    assert!(lines.contains(&queued), "{lines:#?}");
    assert!(!handle.render().contains("hush"));
}

#[tokio::test]
async fn the_queues_of_two_streams_at_one_proxy_are_summed() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let proxy = ControlServer::start().await;
    let builder = || EventStream::builder().grip(proxy.uri());
    let streams = [builder().build().unwrap(), builder().build().unwrap()];
    proxy.answer(Answer::Held);
    for es in &streams {
        es.try_publish("room-1", message("x")).unwrap();
    }
    let queued = || total(&handle, "eventstream_grip_queued");
    until("both are queued", || queued() == 2.0).await;
    proxy.release(2);
    until("none is queued", || queued() == 0.0).await;
}

#[tokio::test]
async fn the_queues_of_two_streams_with_a_backplane_are_summed() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let engine = Memory::new();
    let builder = || EventStream::builder().backplane(engine.clone());
    let [es, other] = [builder().build().unwrap(), builder().build().unwrap()];
    engine.down();
    for es in [&es, &other] {
        es.try_publish("room-1", message("x")).unwrap();
        es.try_publish("room-1", message("y")).unwrap();
    }
    let queued = || total(&handle, "eventstream_backplane_queued");
    assert_eq!(queued(), 4.0);
    engine.up();
    until("none is queued", || queued() == 0.0).await;
    assert_eq!(total(&handle, "eventstream_backplane_appended_total"), 4.0);
}

#[test]
fn a_queue_is_empty_after_its_runtime_has_ended() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let engine = Memory::new();
    let es = EventStream::builder().backplane(engine.clone());
    let es = es.build().unwrap();
    engine.down();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let published = runtime.block_on(async { es.try_publish("room-1", message("x")) });
    published.unwrap();
    let queued = || total(&handle, "eventstream_backplane_queued");
    assert_eq!(queued(), 1.0);
    drop(runtime);
    assert_eq!(queued(), 0.0);
}
