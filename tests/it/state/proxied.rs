//! Snapshots and expiry of clients that a proxy holds.

use super::sum::Sum;
use crate::support::publish;
use axum::{Router, http::StatusCode, response::Result, routing::get};
use axum_eventstream::{
    Event, EventStream, EventStreamBuilder, History, StreamRequest, StreamResponse,
    testing::{FakeGripProxy, TestClient},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

struct Stage {
    proxy: FakeGripProxy,
    sum: Sum,
    app: Router,
}

/// An application on routes with snapshots: of a handler, of a custom handler, and one that fails on demand.
async fn stage(change: impl FnOnce(EventStreamBuilder) -> EventStreamBuilder) -> Stage {
    let proxy = FakeGripProxy::start().await;
    let history = History::memory().events(3);
    let builder = EventStream::builder().grip(proxy.config()).history(history);
    let es = change(builder).build().unwrap();
    let sum = Sum::new(&es);
    let app = sum.app();
    Stage { proxy, sum, app }
}

impl Stage {
    fn client(&self) -> TestClient {
        TestClient::new(self.app.clone()).through(&self.proxy)
    }

    /// Publishes more events than the history keeps, which the proxy loses, and then one that it gets.
    async fn lose_events(&self) {
        self.proxy.lose(5);
        for number in 1..=6 {
            self.sum.add(number);
        }
        // The queue is empty once this has been answered.
        publish(&self.sum.es, "other", "1").await;
    }
}

#[tokio::test]
async fn the_hold_of_a_new_client_begins_with_the_state() {
    let stage = stage(|builder| builder).await;
    stage.sum.add(1);
    for path in ["/", "/custom", "/ready"] {
        let mut stream = stage.client().get(path).await;
        let total = stage.sum.total();
        let event = stream.expect_json("sum", &total).await;
        let id = stage.sum.es.current_id().unwrap().to_string();
        assert_eq!(event.id(), Some(&*id));
        stage.sum.add(7);
        stream.expect_json("add", &7).await;
        let mut stream = stream.reconnect().await;
        stage.sum.add(8);
        stream.expect_json("add", &8).await;
    }
    assert_eq!(stage.sum.es.stats().snapshots, 3);
}

#[tokio::test]
async fn a_client_whose_events_are_gone_receives_the_state() {
    for path in [None, Some("/missed")] {
        let stage = stage(|builder| match path {
            Some(path) => builder.grip_link_path(path),
            None => builder,
        })
        .await;
        let mut stream = stage.client().get("/").await;
        stream.expect_json("sum", &0).await;
        stage.lose_events().await;
        if path.is_some() {
            // The route of links has no function, so the client has to reconnect.
            stream.expect_end().await;
            assert!(stream.retry().is_some());
            stream = stream.reconnect().await;
        }
        stream.expect_json("sum", &21).await;
        stage.sum.add(1);
        stream.expect_json("add", &1).await;
    }
}

#[tokio::test]
async fn a_custom_handlers_state_is_in_no_response_to_a_link() {
    let stage = stage(|builder| builder).await;
    for path in ["/custom", "/ready"] {
        let mut stream = stage.client().get(path).await;
        let total = stage.sum.total();
        stream.expect_json("sum", &total).await;
        stage.lose_events().await;
        stream.expect_end().await;
        let mut stream = stream.reconnect().await;
        stream.expect_json("sum", &(total + 21)).await;
    }
}

#[tokio::test]
async fn a_stream_without_snapshots_is_reset_as_before() {
    let stage = stage(|builder| builder).await;
    let mut stream = stage.client().get("/plain").await;
    stage.lose_events().await;
    stream.expect("stream-reset").await;
    stage.sum.add(9);
    stream.expect_json("add", &9).await;
}

#[tokio::test]
async fn a_snapshot_that_fails_ends_the_stream_with_a_retry() {
    let stage = stage(|builder| builder).await;
    let fails = Arc::new(AtomicBool::new(true));
    let handler = stage.sum.es.handler("a").snapshot({
        let fails = fails.clone();
        move |_| {
            let fails = fails.load(SeqCst);
            async move {
                match fails {
                    true => Err("no database".to_owned()),
                    false => Event::text("state", "").map_err(|error| error.to_string()),
                }
            }
        }
    });
    let client = TestClient::new(Router::new().route("/", get(handler))).through(&stage.proxy);
    let (status, body) = client.refused("/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with("retry: "), "{body}");
    fails.store(false, SeqCst);
    client.get("/").await.expect_text("state", "").await;
    let stats = stage.sum.es.stats();
    assert_eq!((stats.snapshots, stats.snapshot_failures), (1, 1));
}

#[tokio::test]
async fn an_expired_stream_ends_when_the_proxy_follows_its_link() {
    async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse> {
        Ok(es.open(&request, ["a"])?.expires_at(in_two_seconds()))
    }
    async fn ready(es: EventStream, request: StreamRequest) -> Result<StreamResponse> {
        let stream = es.open(&request, ["a"])?;
        let stream = stream.snapshot(|| async { Event::text("state", "1") });
        Ok(stream.ready().await.expires_at(in_two_seconds()))
    }
    fn in_two_seconds() -> SystemTime {
        SystemTime::now() + Duration::from_secs(2)
    }
    let stage = stage(|builder| builder).await;
    let app = Router::new()
        .route("/", get(events))
        .route("/ready", get(ready))
        .with_state(stage.sum.es.clone());
    let client = TestClient::new(app).through(&stage.proxy);
    let mut streams = [client.get("/").await, client.get("/ready").await];
    streams[1].expect_text("state", "1").await;
    stage.sum.add(1);
    for stream in &mut streams {
        stream.expect_json("add", &1).await;
    }
    // The proxy polls a second after the expiry.
    for stream in &mut streams {
        stream.expect_end().await;
    }
}

/// A response to a request that a proxy forwards, and an application whose snapshot waits for a permit.
mod waiting {
    use super::*;
    use axum::{
        body::{Body, to_bytes},
        http::Request,
        response::Response,
    };
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Semaphore;
    use tower::ServiceExt;

    /// Nothing is published to it, so it need not exist.
    const PROXY: &str = "http://127.0.0.1:9";

    struct Waiting {
        es: EventStream,
        app: Router,
        gate: Arc<Semaphore>,
        subscribed: Arc<AtomicUsize>,
    }

    impl Waiting {
        fn new() -> Self {
            let subscribed = Arc::<AtomicUsize>::default();
            let count = subscribed.clone();
            let es = EventStream::builder()
                .grip(PROXY)
                .history(History::memory())
                .grip_link_path("/missed")
                .on_subscribe(move |_, _| _ = count.fetch_add(1, SeqCst))
                .build()
                .unwrap();
            let gate = Arc::new(Semaphore::new(0));
            let (stream, permits) = (es.clone(), gate.clone());
            let custom = async move |request: StreamRequest| -> Result<StreamResponse> {
                let permits = permits.clone();
                let stream = stream.open(&request, ["a"])?;
                Ok(stream.snapshot(move || {
                    let permits = permits.clone();
                    async move {
                        permits.acquire().await.unwrap().forget();
                        Event::text("state", "secret")
                    }
                }))
            };
            let (stream, permits) = (es.clone(), gate.clone());
            let handler = stream.handler("a").snapshot(move |_| {
                let permits = permits.clone();
                async move {
                    permits.acquire().await.unwrap().forget();
                    Event::text("state", "secret")
                }
            });
            let app = Router::new()
                .route("/custom", get(custom))
                .route("/handler", get(handler));
            let app = app.route("/missed/{link}", get(es.link_handler()));
            Self {
                es,
                app,
                gate,
                subscribed,
            }
        }

        async fn get(&self, path: &str) -> Response {
            let request = Request::get(path)
                .header("grip-sig", "x")
                .header("grip-feature", "link:gone");
            let request = request.body(Body::empty()).unwrap();
            self.app.clone().oneshot(request).await.unwrap()
        }
    }

    async fn body(response: Response) -> Result<String, String> {
        let bytes = to_bytes(response.into_body(), 10_000).await;
        let text = bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        text.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_close_while_the_body_waits_for_its_snapshot_breaks_it_off() {
        let waiting = Waiting::new();
        let response = waiting.get("/custom").await;
        assert_eq!(response.headers()["grip-hold"], "stream");
        waiting.es.close_channel("a").await.unwrap_err();
        waiting.gate.add_permits(1);
        body(response).await.unwrap_err();
        assert_eq!(waiting.subscribed.load(SeqCst), 0, "nothing is held");
    }

    #[tokio::test]
    async fn a_body_that_has_waited_is_a_hold_with_its_hook() {
        let waiting = Waiting::new();
        let response = waiting.get("/custom").await;
        assert_eq!(waiting.subscribed.load(SeqCst), 0);
        waiting.gate.add_permits(1);
        assert!(body(response).await.unwrap().contains("data: secret"));
        assert_eq!(waiting.subscribed.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn closing_changes_nothing_for_clients_with_snapshots() {
        let waiting = Waiting::new();
        waiting.es.close();
        for path in ["/custom", "/handler"] {
            waiting.gate.add_permits(1);
            let response = waiting.get(path).await;
            assert_eq!(response.headers()["grip-hold"], "stream");
            assert!(body(response).await.unwrap().contains("data: secret"));
        }
    }
}
