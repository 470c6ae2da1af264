//! An application behind a Pushpin, and a gate that keeps events from the proxy.

use super::{
    client::{self, Response},
    publish,
    pushpin::{self, Pushpin},
    server,
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri, header::CONTENT_LENGTH},
};
use axum_eventstream::{EventStream, EventStreamBuilder};
use futures_util::future::join_all;
use std::{
    fmt::Display,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// Stands between application and control port: passes on, or takes an item without doing so.
#[derive(Clone)]
pub(crate) struct Gate {
    control: SocketAddr,
    drops: Arc<AtomicBool>,
}

impl Gate {
    async fn start(proxy: &Pushpin) -> (Self, String) {
        let gate = Self {
            control: proxy.control_address(),
            drops: Arc::default(),
        };
        let app = Router::new().fallback(Self::pass);
        let (listener, address) = server::bind().await;
        server::serve(listener, app.with_state(gate.clone()));
        (gate, format!("http://{address}/"))
    }

    async fn pass(State(gate): State<Self>, uri: Uri, body: Bytes) -> StatusCode {
        if gate.drops.load(SeqCst) {
            return StatusCode::OK;
        }
        let url = format!("http://{}{}", gate.control, uri.path());
        let request = reqwest::Client::new().post(url);
        // Pushpin demands it, also of a request without a body.
        let request = request.header(CONTENT_LENGTH, body.len());
        let sent = request.body(body).send().await;
        sent.map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
    }

    fn drops(&self, drops: bool) {
        self.drops.store(drops, SeqCst);
    }
}

pub(crate) struct Stage {
    pub(crate) es: EventStream,
    pub(crate) gate: Gate,
    pub(crate) proxy: Pushpin,
    /// Where the application listens.
    pub(crate) origin: SocketAddr,
}

impl Stage {
    /// A proxy with its usual settings.
    pub(crate) async fn start(
        build: impl FnOnce(&str) -> EventStreamBuilder,
        app: impl FnOnce(&EventStream) -> Router,
    ) -> Self {
        Self::set(|pushpin| pushpin, build, app).await
    }

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
        Self {
            es,
            gate,
            proxy,
            origin,
        }
    }

    /// A client that the proxy holds on these channels, and on which it delivers. One more event is published for that.
    pub(crate) async fn hold(
        &self,
        target: &str,
        channels: &[&str],
        headers: &[(&str, &str)],
    ) -> Response {
        let last = channels.last().expect("a channel");
        let names = channels.iter().map(|name| format!("events-{name}"));
        let names: Vec<_> = names.collect();
        let probe = async || publish(&self.es, last, PROBE).await;
        hold(&self.proxy, target, headers, &names, probe).await
    }

    /// A client that is held and has read its opening.
    pub(crate) async fn listen(&self, target: &str, channels: &[&str]) -> Response {
        let mut client = self.hold(target, channels, &[]).await;
        client.next_event().await.expect("the opening");
        client
    }

    /// Publishes events that the proxy never receives: a channel and a text each.
    pub(crate) async fn publish_missed(
        &self,
        events: impl IntoIterator<Item = (&str, impl Display)>,
    ) {
        self.gate.drops(true);
        let publish = async |(channel, text)| publish(&self.es, channel, text).await;
        join_all(events.into_iter().map(publish)).await;
        self.gate.drops(false);
    }
}

/// The data of events that prove a hold.
pub(crate) const PROBE: &str = "probe";

/// Opens a stream that the proxy holds on these channels, and waits until `probe` arrives on it: an event with the data
/// [`PROBE`]. The client reads the events before it first.
///
/// When Pushpin 1.36 hands a client over to its handler, it can lose the order of its own messages. The handler then
/// subscribes the client and ends its connection, as its log says. Such a client is opened again, and no other.
pub(crate) async fn hold(
    proxy: &Pushpin,
    target: &str,
    headers: &[(&str, &str)],
    channels: &[impl AsRef<str>],
    probe: impl AsyncFn(),
) -> Response {
    loop {
        let channels = channels.iter().map(AsRef::as_ref);
        let before: Vec<_> = channels
            .map(|name| (name, proxy.subscribed(name)))
            .collect();
        let cancelled = proxy.cancelled();
        let mut client = client::get(proxy.address(), target, headers).await;
        assert_eq!(client.status(), "HTTP/1.1 200 OK");
        for (channel, count) in before {
            proxy.wait_for_subscribe(channel, count + 1).await;
        }
        probe().await;
        if let Some(events) = events_before_probe(&mut client).await {
            client.unread(&events);
            return client;
        }
        assert!(proxy.cancelled() > cancelled, "the stream has ended");
        println!("Pushpin has cancelled a client that it handed over, which is opened again.");
    }
}

/// `None` if the stream ends.
async fn events_before_probe(client: &mut Response) -> Option<String> {
    let mut events = String::new();
    loop {
        let event = client.next_event().await?;
        if data(&event).as_deref() == Some(PROBE) {
            return Some(events);
        }
        events += &event;
    }
}

/// The next event that is not a probe.
pub(crate) async fn next_event(client: &mut Response) -> Option<String> {
    loop {
        let event = client.next_event().await?;
        if data(&event).as_deref() != Some(PROBE) {
            return Some(event);
        }
    }
}

/// The data of all events up to one whose data is `last`, without probes.
pub(crate) async fn data_until(client: &mut Response, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|data| data != last) {
        let event = next_event(client).await;
        let event = event.unwrap_or_else(|| panic!("ended after {all:?}"));
        all.extend(data(&event));
    }
    all
}

fn data(event: &str) -> Option<String> {
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned)
}
