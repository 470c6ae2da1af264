//! How streams end, which hooks are called, and that nothing stays behind: with axum's listener and with ours.

use crate::support::{app, call, client, current_id, publish, server, subscribed, until, within};
use axum::{Router, http::request::Parts, routing::get};
use axum_eventstream::{
    Channel, EventStream, EventStreamBuilder, History, LagPolicy, Rejection, StreamRequest,
    StreamResponse,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_stream::StreamExt;

fn build(builder: EventStreamBuilder) -> EventStream {
    builder.build().unwrap()
}

/// A thousand streams end within the budget, each at its own moment and with a `retry` of its own.
#[tokio::test]
async fn draining_ends_streams_one_after_another() {
    const STREAMS: usize = 1000;
    let budget = Duration::from_secs(1);
    for detach in [false, true] {
        let es = EventStream::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let draining = es.clone();
        let drained = async move {
            let _ = stopped.await;
            draining.drain(budget).await;
        };
        let (tcp, address) = server::bind().await;
        let served = server::serve_until(tcp, app(&es), detach, drained);
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(client::get(address, "/a", &[]).await);
        }
        subscribed(&es, STREAMS).await;
        let start = Instant::now();
        stop.send(()).unwrap();
        until("the drain has begun", || es.subscribe(["a"]).is_err()).await;
        publish(&es, "a", "goes on").await;
        let reading: Vec<_> = streams
            .into_iter()
            .map(|mut stream| tokio::spawn(async move { (stream.end().await, start.elapsed()) }))
            .collect();
        let (mut retries, mut ends) = (Vec::new(), Vec::new());
        for reading in reading {
            let (text, end) = reading.await.unwrap();
            let retry = text.lines().find_map(|line| line.strip_prefix("retry: "));
            let retry = retry.unwrap_or_else(|| panic!("{text}"));
            retries.push(retry.parse::<u64>().unwrap());
            ends.push(end);
        }
        within("the server", served).await.unwrap();
        let different = |values: &mut Vec<u64>| {
            values.sort_unstable();
            values.dedup();
            values.len()
        };
        assert!(retries.iter().all(|retry| *retry <= 5000) && different(&mut retries) > 100);
        ends.sort_unstable();
        let (early, late) = (ends[STREAMS / 4], ends[STREAMS * 3 / 4]);
        assert!(early < late, "spread over time");
        assert_eq!(es.stats().subscriptions, 0);
    }
}

#[tokio::test]
async fn a_closed_channel_ends_its_streams_and_no_others() {
    for detach in [false, true] {
        let es = EventStream::new();
        let address = server::start(app(&es), detach).await;
        let (mut closed, mut other) = (
            client::get(address, "/a", &[]).await,
            client::get(address, "/b", &[]).await,
        );
        let mut subscription = es.subscribe(["a", "b"]).unwrap();
        subscribed(&es, 3).await;
        publish(&es, "a", "last").await;
        es.close_channel("a").await.unwrap();
        assert!(closed.end().await.contains("data: last"));
        assert_eq!(subscription.next().await.unwrap().data(), "last");
        assert!(subscription.next().await.is_none());
        publish(&es, "b", "goes on").await;
        other.until("data: goes on").await;
        let mut new = client::get(address, "/a", &[]).await;
        drop(subscription);
        subscribed(&es, 2).await;
        publish(&es, "a", "again").await;
        new.until("data: again").await;
    }
    let error = EventStream::new().close_channel("a;b").await.unwrap_err();
    assert!(error.to_string().contains("a;b"), "{error}");
}

#[tokio::test]
async fn a_stream_ends_at_its_age() {
    for detach in [false, true] {
        let es = build(EventStream::builder().max_stream_age(Duration::from_millis(200)));
        let address = server::start(app(&es), detach).await;
        let text = client::get(address, "/a", &[]).await.end().await;
        assert!(text.contains("retry: "), "{text}");
    }
    let no_age = EventStream::builder().max_stream_age(Duration::ZERO);
    assert!(no_age.build().is_err());
}

#[tokio::test]
async fn hooks_are_told_who_comes_and_goes() {
    for detach in [false, true] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let say = |what: &'static str| {
            let log = log.clone();
            move |channels: &[Channel], parts: &Parts| {
                let line = format!("{what} {} {}", channels[0], parts.uri);
                log.lock().unwrap().push(line);
            }
        };
        let builder = EventStream::builder();
        let es = build(builder.on_subscribe(say("in")).on_unsubscribe(say("out")));
        let own = {
            let es = es.clone();
            get(|request: StreamRequest| async move { es.respond(&request, ["mine"]).await })
        };
        let address = server::start(app(&es).route("/own/x", own), detach).await;
        let said = || log.lock().unwrap().clone();
        for (target, channel) in [("/a?q=1", "a"), ("/own/x", "mine")] {
            let mut stream = client::get(address, target, &[]).await;
            stream.events(1).await;
            assert_eq!(said(), [format!("in {channel} {target}")]);
            // In `net::Listener`'s hands or not, the client is still there.
            publish(&es, channel, "hello").await;
            stream.until("data: hello").await;
            assert_eq!(said().len(), 1);
            drop(stream);
            subscribed(&es, 0).await;
            until("the hook", || said().len() == 2).await;
            assert_eq!(said()[1], format!("out {channel} {target}"));
            log.lock().unwrap().clear();
        }
    }
}

#[tokio::test]
async fn a_hook_or_a_guard_that_panics_harms_no_other_stream() {
    struct Careless;
    impl Drop for Careless {
        fn drop(&mut self) {
            panic!("a user's mistake");
        }
    }
    async fn guarded(es: EventStream, request: StreamRequest) -> Result<StreamResponse, Rejection> {
        Ok(es.open(&request, ["a"])?.guard(Careless))
    }
    let hooked = EventStream::builder().on_unsubscribe(|_, _| panic!("a user's mistake"));
    for (es, target) in [(build(hooked), "/a"), (EventStream::new(), "/own/guarded")] {
        let own = Router::new().route("/own/guarded", get(guarded));
        let app = app(&es).merge(own.layer(axum::Extension(es.clone())));
        for detach in [false, true] {
            let address = server::start(app.clone(), detach).await;
            let mut stays = client::get(address, "/a", &[]).await;
            stays.events(1).await;
            let mut goes = client::get(address, target, &[]).await;
            goes.events(1).await;
            drop(goes);
            subscribed(&es, 1).await;
            publish(&es, "a", "hello").await;
            stays.until("data: hello").await;
            drop(stays);
            subscribed(&es, 0).await;
        }
    }
}

#[tokio::test]
async fn guards_live_as_long_as_their_stream() {
    async fn events(
        axum::Extension(guard): axum::Extension<Arc<()>>,
        es: EventStream,
        request: StreamRequest,
    ) -> Result<StreamResponse, Rejection> {
        Ok(es.open(&request, ["a"])?.guard(guard.clone()).guard(guard))
    }
    for detach in [false, true] {
        let (es, guard) = (EventStream::new(), Arc::new(()));
        let app = Router::new().route("/", get(events));
        let app = app.layer(axum::Extension(es.clone()));
        // The layer holds at most two: its own, and one for a request in flight.
        let app = app.layer(axum::Extension(guard.clone()));
        let address = server::start(app, detach).await;
        let idle = Arc::strong_count(&guard);
        let mut stream = client::get(address, "/", &[]).await;
        stream.events(1).await;
        publish(&es, "a", "hello").await;
        stream.until("data: hello").await;
        assert!(Arc::strong_count(&guard) >= idle + 2, "each call adds one");
        drop(stream);
        subscribed(&es, 0).await;
        until("the guard is dropped", || Arc::strong_count(&guard) == idle).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_lags_is_disconnected_if_so_wished_and_told_when_it_resumes() {
    use http_body_util::BodyExt;

    let history = History::memory().events(4);
    let disconnect = |history| {
        EventStream::builder()
            .history(history)
            .lag_policy(LagPolicy::Disconnect)
    };
    let frames = async |es: &EventStream, last_event_id: &str, publishes: usize| {
        let response = call(&app(es), "/a", &[("last-event-id", last_event_id)]).await;
        let mut body = response.into_body();
        let mut text = Vec::new();
        for n in 0..publishes {
            publish(es, "a", &n.to_string()).await;
        }
        while let Ok(Some(frame)) = timeout(Duration::from_millis(100), body.frame()).await {
            text.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        String::from_utf8(text).unwrap()
    };
    let es = build(disconnect(history.clone()));
    publish(&es, "a", "first").await;
    let id = current_id(&es);
    let text = frames(&es, &id, 10).await;
    assert_eq!(
        text,
        format!("event: stream-open\ndata: \nid: {id}\n\n"),
        "and then the end"
    );
    let text = frames(&es, &id, 0).await;
    assert!(
        text.contains(r#"data: {"channels":["a"],"missed":null}"#),
        "{text}"
    );

    let es = build(disconnect(History::off().events(4)));
    let text = frames(&es, &id, 10).await;
    assert!(
        text.ends_with("data: {\"channels\":[\"a\"],\"missed\":6}\n\n"),
        "{text}"
    );
    assert_eq!(es.stats().lagged, 6);
}

/// A permit in the request's extensions must not live as long as the stream.
#[tokio::test]
async fn hooks_keep_no_extensions_of_the_request() {
    for detach in [false, true] {
        let (unsubscribed, mut is_unsubscribed) = tokio::sync::mpsc::unbounded_channel();
        let es = build(EventStream::builder().on_unsubscribe(move |_, parts| {
            let user = parts.headers["x-user"].to_str().unwrap();
            unsubscribed.send(format!("{} {user}", parts.uri)).unwrap();
        }));
        let own = {
            let es = es.clone();
            async move |request: StreamRequest| es.respond(&request, ["a"]).await
        };
        let permits = Arc::new(Mutex::new(Vec::new()));
        let issued = permits.clone();
        let permit = move |mut request: axum::extract::Request| {
            let permit = Arc::new(());
            issued.lock().unwrap().push(Arc::downgrade(&permit));
            request.extensions_mut().insert(permit);
            request
        };
        let app = Router::new()
            .route("/own", get(own))
            .route("/handler", get(es.handler("a")))
            .layer(tower::util::MapRequestLayer::new(permit));
        let address = server::start(app, detach).await;
        for target in ["/own", "/handler"] {
            let mut stream = client::get(address, target, &[("x-user", "ann")]).await;
            stream.events(1).await;
            publish(&es, "a", "hello").await;
            stream.until("data: hello").await;
            let permit = permits.lock().unwrap().pop().unwrap();
            assert_eq!(permit.strong_count(), 0, "{target}");
            drop(stream);
            let hook = within("the hook", is_unsubscribed.recv()).await;
            assert_eq!(hook, Some(format!("{target} ann")));
        }
    }
}

/// The client is subscribed before the check, so a ban that comes in between ends the stream.
#[tokio::test]
async fn a_channel_that_is_closed_between_open_and_respond_ends_the_stream() {
    let es = EventStream::new();
    let (opened, mut is_opened) = tokio::sync::mpsc::channel(1);
    let (decide, decision) = tokio::sync::watch::channel(false);
    let own = {
        let es = es.clone();
        async move |request: StreamRequest| -> Result<StreamResponse, Rejection> {
            let stream = es.open(&request, ["user-7", "news"])?;
            opened.send(()).await.unwrap();
            let mut decision = decision.clone();
            decision.wait_for(|decided| *decided).await.unwrap();
            Ok(stream)
        }
    };
    let app = Router::new().route("/", get(own));
    let address = server::start(app, false).await;
    let banned = tokio::spawn(async move { client::get(address, "/", &[]).await });
    is_opened.recv().await.unwrap();
    publish(&es, "news", "before the ban").await;
    es.close_channel("user-7").await.unwrap();
    publish(&es, "news", "after the ban").await;
    decide.send(true).unwrap();
    let received = banned.await.unwrap().end().await;
    assert!(!received.contains("hello"), "{received}");
    assert_eq!(es.stats().subscriptions, 0);
}

#[tokio::test]
async fn a_stream_that_is_opened_and_not_returned_is_unsubscribed() {
    let es = EventStream::new();
    let own = {
        let es = es.clone();
        async move |request: StreamRequest| -> Result<axum::http::StatusCode, Rejection> {
            let stream = es.open(&request, ["user-7"])?;
            assert_eq!(es.stats().subscriptions, 1);
            drop(stream.guard(()));
            Ok(axum::http::StatusCode::FORBIDDEN)
        }
    };
    let address = server::start(Router::new().route("/", get(own)), false).await;
    let refused = client::get(address, "/", &[]).await;
    assert_eq!(refused.status(), "HTTP/1.1 403 Forbidden");
    assert_eq!(es.stats().subscriptions, 0);
}

/// A stream that always has events to send must notice a drain, too.
#[tokio::test]
async fn a_drain_ends_streams_that_are_never_idle() {
    use http_body_util::BodyExt;

    let es = EventStream::new();
    let mut body = call(&app(&es), "/a", &[]).await.into_body();
    let drained = tokio::spawn({
        let es = es.clone();
        async move { es.drain(Duration::from_millis(50)).await }
    });
    let mut text = String::new();
    within("the end", async {
        loop {
            publish(&es, "a", "more").await;
            let Some(frame) = body.frame().await else {
                break;
            };
            let bytes = frame.unwrap().into_data().unwrap();
            text = String::from_utf8(bytes.to_vec()).unwrap();
        }
    })
    .await;
    assert!(text.starts_with("retry: "), "{text}");
    drop(body);
    within("the drain", drained).await.unwrap();
}
