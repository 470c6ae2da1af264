//! An application behind a Pushpin, and a gate that keeps events from the proxy.

use super::{
    client::{self, Response},
    pushpin::{self, Pushpin},
    server,
};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use axum_eventstream::{EventStream, EventStreamBuilder};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// Stands between application and control port: passes on, or takes an item without doing so.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) control_uri: String,
    pub(crate) drops: Arc<AtomicBool>,
}

impl Gate {
    pub(crate) async fn start(proxy: &Pushpin) -> (Self, String) {
        let gate = Self {
            control_uri: format!("{}publish/", proxy.control_uri()),
            drops: Arc::default(),
        };
        let app = Router::new().route("/publish/", post(Self::publish));
        let (listener, address) = server::bind().await;
        server::serve(listener, app.with_state(gate.clone()));
        (gate, format!("http://{address}/"))
    }

    pub(crate) async fn publish(State(gate): State<Self>, body: Bytes) -> StatusCode {
        if gate.drops.load(SeqCst) {
            return StatusCode::OK;
        }
        let sent = reqwest::Client::new()
            .post(&gate.control_uri)
            .body(body)
            .send();
        sent.await
            .map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
    }

    pub(crate) fn drops(&self, drops: bool) {
        self.drops.store(drops, SeqCst);
    }
}

pub(crate) struct Stage {
    pub(crate) es: EventStream,
    pub(crate) gate: Gate,
    pub(crate) proxy: Pushpin,
}

impl Stage {
    /// Starts a proxy, then the application on the stream that `build` makes of its control URI.
    pub(crate) async fn set(
        pushpin: impl FnOnce(pushpin::Builder) -> pushpin::Builder,
        build: impl FnOnce(&str) -> EventStreamBuilder,
        app: impl FnOnce(&EventStream) -> Router,
    ) -> Self {
        let (listener, origin) = server::bind().await;
        let proxy = pushpin(Pushpin::builder().origin(origin)).start().await;
        let (gate, control_uri) = Gate::start(&proxy).await;
        let es = build(&control_uri).build().unwrap();
        server::serve(listener, app(&es));
        Self { es, gate, proxy }
    }

    pub(crate) async fn hold(
        &self,
        target: &str,
        channels: &[&str],
        headers: &[(&str, &str)],
    ) -> Response {
        let client = client::get(self.proxy.address(), target, headers).await;
        assert_eq!(client.status(), "HTTP/1.1 200 OK");
        for channel in channels {
            self.proxy
                .wait_for_subscribe(&format!("events-{channel}"), 1)
                .await;
        }
        client
    }
}

/// The data of all events up to one whose data is `last`.
pub(crate) async fn data_until(client: &mut Response, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|data| data != last) {
        let event = client
            .next_event()
            .await
            .unwrap_or_else(|| panic!("ended after {all:?}"));
        all.extend(data(&event));
    }
    all
}

fn data(event: &str) -> Option<String> {
    let mut lines = event.lines();
    Some(
        lines
            .find_map(|line| line.strip_prefix("data: "))?
            .to_owned(),
    )
}
