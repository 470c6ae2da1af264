//! A client without a position receives the state, and then every event after it.

use super::sum::Sum;
use crate::support::{client, publish, server, subscribed, until};
use axum::{Router, response::Response, routing::get};
use axum_eventstream::{
    Event, EventStream, History, InvalidEvent, Limits, Rejection, StreamRequest, StreamResponse,
    testing::TestClient,
};
use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_new_client_receives_the_state_and_then_the_events_after_it() {
    let sum = Sum::new(&EventStream::new());
    let client = TestClient::new(sum.app());
    sum.add(1);
    sum.add(2);
    let mut stream = client.get("/").await;
    let event = stream.expect_json("sum", &3).await;
    let id = sum.es.current_id().unwrap().to_string();
    assert_eq!(event.id(), Some(&*id));
    sum.add(4);
    stream.expect_json("add", &4).await;
    sum.add(5);
    let mut stream = stream.reconnect().await;
    stream.expect_json("add", &5).await;
    assert_eq!(sum.es.stats().snapshots, 1, "it resumed from its position");
}

#[tokio::test]
async fn a_client_whose_position_is_gone_receives_the_state_in_place_of_a_reset() {
    let history = History::memory().events(2);
    let es = EventStream::builder().history(history).build().unwrap();
    let sum = Sum::new(&es);
    let client = TestClient::new(sum.app());
    let mut stream = client.get("/").await;
    stream.expect_json("sum", &0).await;
    for _ in 0..2 {
        // It lags, and is overtaken by the ring.
        (0..5).for_each(|_| sum.add(1));
        let total = sum.total();
        stream.expect_json("sum", &total).await;
    }
    (0..5).for_each(|_| sum.add(1));
    let mut stream = stream.reconnect().await;
    stream.expect_json("sum", &15).await;
    let other_process = TestClient::new(sum.app()).header("last-event-id", "00000000aaaa-7");
    let resets = es.stats().resets;
    other_process.get("/").await.expect_json("sum", &15).await;
    assert_eq!(es.stats().resets, resets + 1);
}

#[tokio::test]
async fn without_history_every_connection_begins_with_the_state() {
    let history = History::off().events(4);
    let es = EventStream::builder().history(history).build().unwrap();
    let sum = Sum::new(&es);
    let client = TestClient::new(sum.app());
    let mut stream = client.get("/").await;
    assert_eq!(stream.expect_json("sum", &0).await.id(), None);
    sum.add(1);
    stream.expect_json("add", &1).await;
    stream.reconnect().await.expect_json("sum", &1).await;
}

#[tokio::test]
async fn events_during_the_function_follow_the_state_without_a_position() {
    let es = EventStream::new();
    let (entered, left) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handler = es.handler("a").snapshot({
        let (entered, left) = (entered.clone(), left.clone());
        move |_| {
            let (entered, left) = (entered.clone(), left.clone());
            async move {
                entered.add_permits(1);
                left.acquire().await.unwrap().forget();
                Event::text("state", "")
            }
        }
    });
    let client = TestClient::new(Router::new().route("/", get(handler)));
    publish(&es, "a", "before").await;
    let mut stream = client.get("/").await;
    let reading = async {
        stream.expect_text("state", "").await;
        stream.expect_text("message", "during").await;
        stream.expect_text("message", "after").await;
    };
    let publishing = async {
        entered.acquire().await.unwrap().forget();
        publish(&es, "a", "during").await;
        left.add_permits(1);
        publish(&es, "a", "after").await;
    };
    tokio::join!(reading, publishing);
}

#[tokio::test]
async fn the_last_event_of_a_snapshot_has_the_position_and_an_empty_one_has_it_alone() {
    async fn none(_: StreamRequest) -> Result<Vec<Event>, Infallible> {
        Ok(Vec::new())
    }
    async fn two(_: StreamRequest) -> Result<Vec<Event>, InvalidEvent> {
        Ok(vec![Event::text("one", "")?, Event::text("two", "")?])
    }
    let es = EventStream::new();
    publish(&es, "a", "1").await;
    let app = Router::new()
        .route("/none", get(es.handler("a").snapshot(none)))
        .route("/two", get(es.handler("a").snapshot(two)));
    let server = server::start(app, false).await;
    let id = es.current_id().unwrap();
    for (path, snapshot) in [
        ("/none", format!("id: {id}\n\n")),
        (
            "/two",
            format!("event: one\ndata: \n\nevent: two\ndata: \nid: {id}\n\n"),
        ),
    ] {
        let mut response = client::get(server, path, &[]).await;
        let text = response.until(&id.to_string()).await;
        assert!(text.starts_with("event: stream-open\ndata: \n\n"), "{text}");
        assert!(text.contains(snapshot.trim_end()), "{text}");
    }
}

#[tokio::test]
async fn the_function_receives_the_parameters_of_the_route() {
    async fn room(request: StreamRequest) -> Result<Event, InvalidEvent> {
        Event::text("room", request.parameter("id").unwrap_or("none"))
    }
    let es = EventStream::new();
    let app = Router::new()
        .route("/{id}", get(es.handler("literal").snapshot(room)))
        .route("/rooms/{id}", get(es.handler("room-{id}").snapshot(room)));
    let client = TestClient::new(app);
    client.get("/7").await.expect_text("room", "7").await;
    client.get("/rooms/8").await.expect_text("room", "8").await;
}

#[tokio::test]
async fn a_custom_handler_has_snapshots_too() {
    async fn events(es: EventStream, request: StreamRequest) -> Result<Response, Rejection> {
        use axum::response::IntoResponse;
        let stream = es.open(&request, ["a"])?;
        let stream = stream.snapshot(|| async { Event::text("state", "1") });
        Ok(stream.into_response())
    }
    let es = EventStream::new();
    let app = Router::new().route("/", get(events)).with_state(es.clone());
    let mut stream = TestClient::new(app).get("/").await;
    stream.expect_text("state", "1").await;
    publish(&es, "a", "2").await;
    stream.expect_text("message", "2").await;
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_panics_or_hangs_ends_its_stream_with_a_retry() {
    async fn fails(_: StreamRequest) -> Result<Event, &'static str> {
        Err("no database")
    }
    async fn panics(_: StreamRequest) -> Result<Event, Infallible> {
        panic!("a bug");
    }
    async fn hangs(_: StreamRequest) -> Result<Event, Infallible> {
        pending().await
    }
    let es = EventStream::new();
    let app = Router::new()
        .route("/fails", get(es.handler("a").snapshot(fails)))
        .route("/panics", get(es.handler("a").snapshot(panics)))
        .route("/hangs", get(es.handler("a").snapshot(hangs)));
    for path in ["/fails", "/panics", "/hangs"] {
        let client = TestClient::new(app.clone()).limit(Duration::from_secs(15));
        let mut stream = client.get(path).await;
        stream.expect_end().await;
        let retry = stream.retry().expect("a time to reconnect");
        assert!((1..=5).contains(&retry.as_secs()), "{path}: {retry:?}");
    }
    assert_eq!(es.stats().snapshot_failures, 3);
    assert_eq!((es.stats().snapshots, es.stats().subscriptions), (0, 0));
}

#[tokio::test]
async fn each_kind_of_close_ends_a_stream_while_its_function_runs() {
    async fn hangs(_: StreamRequest) -> Result<Event, Infallible> {
        pending().await
    }
    for (detach, closes_all) in [(false, false), (false, true), (true, false), (true, true)] {
        let es = EventStream::new();
        let app = Router::new().route("/", get(es.handler("a").snapshot(hangs)));
        let server = server::start(app, detach).await;
        let mut response = client::get(server, "/", &[]).await;
        response.until("stream-open").await;
        match closes_all {
            true => es.close(),
            false => es.close_channel("a").await.unwrap(),
        }
        response.end().await;
    }
}

/// Functions that run until a gate opens.
#[derive(Clone)]
struct Gated {
    gate: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    /// How many have run at the same time.
    most: Arc<AtomicUsize>,
}

impl Gated {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            running: Arc::default(),
            most: Arc::default(),
        }
    }

    async fn run(self) -> Result<Event, InvalidEvent> {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.running.fetch_sub(1, SeqCst);
        Event::text("state", "")
    }

    /// `/` has these snapshots, and `/plain` none.
    fn app(&self, es: &EventStream) -> Router {
        let gated = self.clone();
        let handler = es.handler("a").snapshot(move |_| gated.clone().run());
        Router::new()
            .route("/", get(handler))
            .route("/plain", get(es.handler("a")))
    }
}

#[tokio::test]
async fn only_some_functions_run_at_a_time_and_other_streams_do_not_wait() {
    const CLIENTS: usize = 40;
    let limits = Limits::new().concurrent_snapshots(4);
    let es = EventStream::builder().limits(limits).build().unwrap();
    let gated = Gated::new();
    let app = gated.app(&es);
    for detach in [false, true] {
        let server = server::start(app.clone(), detach).await;
        let mut waiting = Vec::new();
        for _ in 0..CLIENTS {
            let mut response = client::get(server, "/", &[]).await;
            response.until("stream-open").await;
            waiting.push(response);
        }
        let mut plain = client::get(server, "/plain", &[]).await;
        plain.until("stream-open").await;
        publish(&es, "a", "1").await;
        plain.until("data: 1").await;
        gated.gate.add_permits(CLIENTS);
        for response in &mut waiting {
            response.until("event: state").await;
        }
    }
    assert_eq!(gated.most.load(SeqCst), 4);
    assert_eq!(es.stats().snapshots, 2 * CLIENTS as u64);
}

#[tokio::test]
async fn a_client_that_disconnects_cancels_its_function() {
    struct Cancelled(Arc<Semaphore>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }
    let es = EventStream::new();
    let (entered, cancelled) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handler = es.handler("a").snapshot({
        let (entered, cancelled) = (entered.clone(), cancelled.clone());
        move |_| {
            let (entered, cancelled) = (entered.clone(), Cancelled(cancelled.clone()));
            async move {
                let _cancelled = cancelled;
                entered.add_permits(1);
                pending::<Result<Event, Infallible>>().await
            }
        }
    });
    let app = Router::new().route("/", get(handler));
    for detach in [false, true] {
        let server = server::start(app.clone(), detach).await;
        let mut response = client::get(server, "/", &[]).await;
        response.until("stream-open").await;
        entered.acquire().await.unwrap().forget();
        drop(response);
        cancelled.acquire().await.unwrap().forget();
    }
}

#[tokio::test]
async fn a_detached_stream_receives_the_state_after_a_gap() {
    let history = History::memory().events(2);
    let es = EventStream::builder().history(history).build().unwrap();
    let sum = Sum::new(&es);
    let server = server::start(sum.app(), true).await;
    for resumes in [false, true] {
        let headers: &[_] = match resumes {
            true => &[("last-event-id", "00000000aaaa-7")],
            false => &[],
        };
        let mut response = client::get(server, "/", headers).await;
        let total = sum.total();
        response
            .until(&format!("event: sum\ndata: {total}\n"))
            .await;
        sum.add(3);
        response.until("event: add\ndata: 3\n").await;
    }
}

#[tokio::test]
async fn a_function_that_panics_when_it_is_dropped_ends_no_other_stream() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bug");
        }
    }
    async fn events(es: EventStream, request: StreamRequest) -> Result<StreamResponse, Rejection> {
        let bomb = Arc::new(Bomb);
        let stream = es.open(&request, ["a"])?;
        Ok(stream.snapshot(move || {
            let bomb = Arc::as_ptr(&bomb) as usize;
            async move { Event::text("state", (bomb == 0).to_string()) }
        }))
    }
    let es = EventStream::new();
    let app = Router::new()
        .route("/", get(events))
        .route("/plain", get(es.handler("a")))
        .with_state(es.clone());
    let server = server::start(app, true).await;
    let mut plain = client::get(server, "/plain", &[]).await;
    plain.until("stream-open").await;
    let mut response = client::get(server, "/", &[]).await;
    response.until("event: state").await;
    drop(response);
    subscribed(&es, 1).await;
    publish(&es, "a", "1").await;
    plain.until("data: 1").await;
}

/// As after a deploy.
#[tokio::test]
async fn a_thousand_clients_at_once_run_64_functions_at_a_time() {
    const CLIENTS: usize = 1000;
    let (es, gated) = (EventStream::new(), Gated::new());
    let client = TestClient::new(gated.app(&es)).limit(Duration::from_secs(60));
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut stream = client.get("/").await;
        waiting.spawn(async move { stream.expect_text("state", "").await });
    }
    let mut plain = client.get("/plain").await;
    until("as many functions run as may", || {
        gated.running.load(SeqCst) == 64
    })
    .await;
    publish(&es, "a", "1").await;
    plain.expect_text("message", "1").await;
    assert_eq!(es.stats().snapshots, 0, "the others still wait");
    gated.gate.add_permits(CLIENTS);
    waiting.join_all().await;
    assert_eq!(gated.most.load(SeqCst), 64);
    assert_eq!(es.stats().snapshots, CLIENTS as u64);
    subscribed(&es, 1).await;
}
