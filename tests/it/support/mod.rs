//! What the tests share: clients, servers, and the programs that they start.

pub(crate) mod alone;
#[cfg(all(unix, any(feature = "rustls", feature = "native-tls")))]
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod server;

#[cfg(all(unix, feature = "full"))]
pub(crate) mod browser;
#[cfg(feature = "full")]
pub(crate) mod control_server;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod example;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod guarded;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod namespace;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod nats;
pub(crate) mod nginx;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod postgres;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod pushpin;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod redis;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod stage;
#[cfg(all(unix, feature = "full"))]
pub(crate) mod wire;

/// The examples' own routes, on a stream of the test's.
#[cfg(all(unix, feature = "full"))]
#[path = "../../../examples/quickstart.rs"]
#[expect(dead_code, reason = "it is a program")]
pub(crate) mod quickstart;

#[cfg(all(unix, feature = "full"))]
#[path = "../../../examples/notifications.rs"]
#[expect(dead_code, reason = "it is a program")]
pub(crate) mod notifications;

use axum::{Router, body::Body, http::Request, response::Response, routing::get};
use axum_eventstream::{Event, EventStream, History};
use std::{
    fmt::{Debug, Display},
    future::Future,
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// The opening of a stream without history.
pub(crate) const OPEN: &str = "event: stream-open\ndata: \n\n";

/// Fails a wait that is longer than any on a busy machine.
pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let waited = timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let polls = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    within(what, polls).await;
}

pub(crate) async fn subscribed(es: &EventStream, count: usize) {
    until("the subscriptions", || es.stats().subscriptions == count).await;
}

/// Each channel as a stream.
pub(crate) fn app(es: &EventStream) -> Router {
    Router::new().route("/{id}", get(es.handler("{id}")))
}

/// A stream with this history, and otherwise as by default.
pub(crate) fn with_history(history: History) -> EventStream {
    EventStream::builder().history(history).build().unwrap()
}

/// A stream whose events have no ids.
pub(crate) fn without_history() -> EventStream {
    with_history(History::off())
}

/// The position as clients send it.
pub(crate) fn current_id(es: &EventStream) -> String {
    es.current_id().unwrap().to_string()
}

pub(crate) fn message(text: impl Display) -> Event {
    Event::text("message", text.to_string()).unwrap()
}

pub(crate) async fn publish(es: &EventStream, channel: &str, text: impl Display) {
    es.publish_event(channel, message(text)).await.unwrap();
}

/// Publishes messages in this order.
pub(crate) async fn publish_all(es: &EventStream, channel: &str, texts: &[impl Display]) {
    for text in texts {
        publish(es, channel, text).await;
    }
}

/// The bytes of a reset with an unknown number of missing events, up to its id.
pub(crate) fn reset(channels: &[impl Debug]) -> String {
    let names: Vec<_> = channels.iter().map(|name| format!("{name:?}")).collect();
    let names = names.join(",");
    format!("event: stream-reset\ndata: {{\"channels\":[{names}],\"missed\":null}}\n")
}

/// The bytes of messages without ids.
pub(crate) fn messages(texts: &[&str]) -> String {
    let message = |text: &&str| format!("event: message\ndata: {text}\n\n");
    texts.iter().map(message).collect()
}

/// The bytes of a stream without history that has these messages.
pub(crate) fn opened(texts: &[&str]) -> String {
    OPEN.to_owned() + messages(texts).as_str()
}

/// Sends a GET request to the application, without a socket.
pub(crate) async fn call(app: &Router, target: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}
