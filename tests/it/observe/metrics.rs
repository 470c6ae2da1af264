//! What an exporter sees, and that no label is the name of a channel.

use crate::support::{
    call,
    control_server::{Answer, ControlServer},
    message,
};
use axum::{Router, response::Response, routing::get};
use axum_eventstream::{EventStream, History, Rejection};
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

async fn publish(es: &EventStream, channel: &str) -> bool {
    es.publish_event(channel, message("x")).await.is_ok()
}

#[tokio::test]
async fn subscriptions_publishes_lag_and_refusals_are_measured() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let history = History::memory().events(2);
    let es = EventStream::builder().history(history).build().unwrap();
    let id = es.current_id().unwrap().to_string();
    publish(&es, "room-1").await;
    let resumed = request(&es, ("last-event-id", &id)).await;
    let mut slow = es.subscribe(["room-1"]).unwrap();
    for _ in 0..3 {
        publish(&es, "room-1").await;
    }
    publish(&es, "room-2").await;
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
    let with = |subscriptions: usize| {
        let gauge = format!("eventstream_subscriptions {subscriptions}");
        let mut lines = seen.map(str::to_owned).to_vec();
        lines.push(gauge);
        lines
    };
    assert_eq!(values(&handle), with(2));
    drop((resumed, slow));
    assert_eq!(values(&handle), with(0));
}

#[tokio::test]
async fn what_proxies_take_and_how_fast_is_measured() {
    let (recorder, handle) = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let proxy = ControlServer::start().await;
    let uri = format!("{}?key=hush", proxy.uri());
    let es = EventStream::builder().grip(uri).build().unwrap();
    assert!(publish(&es, "room-1").await);
    proxy.answer(Answer::Status(403, "no"));
    assert!(!publish(&es, "room-1").await);
    // The task that sends still has to read the answer to its end.
    while values(&handle)
        .iter()
        .any(|line| line.ends_with("queued 1"))
    {
        tokio::task::yield_now().await;
    }
    let endpoint = format!("{}/", proxy.uri());
    let lines = values(&handle);
    for (name, value) in [("published", 1), ("failures", 1)] {
        let kind = if name == "failures" {
            r#",kind="status""#
        } else {
            ""
        };
        let line =
            format!("eventstream_grip_{name}_total{{endpoint=\"{endpoint}\"{kind}}} {value}");
        assert!(lines.contains(&line), "no {line} in {lines:#?}");
    }
    let count = format!("eventstream_grip_publish_seconds_count{{endpoint=\"{endpoint}\"}} 1");
    assert!(lines.contains(&count), "{lines:#?}");
    let queued = format!("eventstream_grip_queued{{endpoint=\"{endpoint}\"}} 0");
    assert!(lines.contains(&queued), "{lines:#?}");
    assert!(!handle.render().contains("hush"));
}
