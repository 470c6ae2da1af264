//! Publishing through a real proxy on this machine, compared with one request per event.

use crate::load::{
    client,
    payload::{self, Received},
    pushpin::Pushpin,
    server,
};
use axum::{Router, routing::get};
use axum_eventstream::{Event, EventStream};
use futures_util::{StreamExt, future::try_join_all, stream};
use serde_json::json;
use std::{net::SocketAddr, process::Command, time::Instant};
use tokio::runtime::Runtime;

const SIZE: usize = 200;

/// Events per second.
pub(crate) struct Rates {
    /// All events published at once with this crate.
    pub(crate) ours: f64,
    /// A hand-written request per event, one after the other.
    pub(crate) in_order: f64,
    /// Hand-written requests per event, a hundred at a time, unordered.
    pub(crate) at_once: f64,
}

/// Returns `None` if no proxy is installed.
pub(crate) fn publish(events: u64) -> Option<Rates> {
    let version = Command::new("pushpin").arg("--version").output();
    version.is_ok().then(|| {
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(publish_through_proxy(events))
    })
}

async fn publish_through_proxy(events: u64) -> Rates {
    let (listener, origin) = server::bind().await;
    let pushpin = Pushpin::builder().origin(origin).start().await;
    let proxy = EventStream::builder().grip(pushpin.control_uri());
    let es = proxy.build().expect("an event stream");
    let app = Router::new().route("/events", get(es.handler("hot")));
    let serving = server::serve(listener, app);
    let received = tokio::spawn(receive(pushpin.address(), events));
    pushpin.wait_for_subscribe("events-hot", 1).await;

    let started = Instant::now();
    let publishes = (1..=events).map(|number| es.publish_event("hot", event(number)));
    try_join_all(publishes).await.expect("the proxy takes all");
    let ours = events as f64 / started.elapsed().as_secs_f64();
    received.await.expect("events come in order");

    let url = format!("{}publish/", pushpin.control_uri());
    let in_order = one_request_each(&url, events / 5, 1).await;
    let at_once = one_request_each(&url, events / 5, 100).await;
    serving.abort();
    Rates {
        ours,
        in_order,
        at_once,
    }
}

fn event(number: u64) -> Event {
    Event::text(payload::NAME, payload::data(number, SIZE)).expect("an event")
}

/// Checks that a client held by the proxy receives every event once and in order.
async fn receive(proxy: SocketAddr, events: u64) {
    let mut response = client::get(proxy, "/events", &[]).await;
    for expected in 0..=events {
        let event = response.events(1).await;
        match payload::read(event.trim_end().as_bytes()) {
            Received::Event { number, .. } => assert_eq!(number, expected),
            _ => assert_eq!(expected, 0, "not an event: {event}"),
        }
    }
}

async fn one_request_each(url: &str, events: u64, at_a_time: usize) -> f64 {
    let client = reqwest::Client::new();
    let started = Instant::now();
    let requests = stream::iter(1..=events).map(|number| {
        let content = payload::event(&payload::data(number, SIZE));
        let formats = json!({"http-stream": {"content": content}});
        let body = json!({"items": [{"channel": "events-cold", "formats": formats}]});
        client.post(url).json(&body).send()
    });
    let mut answers = requests.buffer_unordered(at_a_time);
    while let Some(answer) = answers.next().await {
        let status = answer.expect("an answer").status();
        assert!(status.is_success(), "{status}");
    }
    events as f64 / started.elapsed().as_secs_f64()
}
