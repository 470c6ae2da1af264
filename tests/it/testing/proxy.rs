//! The proxy of the test kit: it obeys instructions, and misbehaves on demand.

use crate::support::{current_id, message, publish, publish_all};
use axum::{
    Router,
    extract::Query,
    http::{StatusCode, request::Parts},
    routing::get,
};
use axum_eventstream::{
    EventStream, EventStreamBuilder, History,
    grip::{Hold, Instruct, Publisher},
    testing::{FakeGripProxy, TestClient, TestStream},
};
use futures_util::future::join_all;
use std::{collections::HashMap, time::Duration};

const MOMENT: Duration = Duration::from_millis(50);

struct Setup {
    proxy: FakeGripProxy,
    es: EventStream,
    client: TestClient,
}

async fn setup(history: History) -> Setup {
    setup_with(EventStream::builder().history(history)).await
}

async fn setup_with(builder: EventStreamBuilder) -> Setup {
    let proxy = FakeGripProxy::start().await;
    let publisher = Publisher::builder().endpoints([proxy.config()]);
    let publisher = publisher.timeout(Duration::from_secs(2)).build().unwrap();
    let builder = builder.grip(publisher).require_grip_proxy(true);
    let es = builder.build().unwrap();
    let app = Router::new()
        .route("/rooms/{room}", get(es.handler("{room}")))
        .route("/all", get(es.handler(["red", "blue"])))
        .route("/mine", get(es.handler(of_user)))
        .route("/missed/{link}", get(es.link_handler()));
    let client = TestClient::new(app).through(&proxy);
    Setup { proxy, es, client }
}

/// The same path for all clients, and a channel for each.
fn of_user(parts: &Parts) -> Option<String> {
    let user = parts.headers.get("x-user")?;
    Some(user.to_str().ok()?.to_owned())
}

async fn expect_all(stream: &mut TestStream, texts: &[&str]) {
    for text in texts {
        stream.expect_text("message", text).await;
    }
}

/// Expects these messages and no other.
async fn expect_only(stream: &mut TestStream, texts: &[&str]) {
    expect_all(stream, texts).await;
    stream.expect_silence(MOMENT).await;
}

#[tokio::test]
async fn clients_are_held_and_hear_their_channels() {
    for history in [History::off(), History::memory()] {
        let setup = setup(history).await;
        let mut red = setup.client.get("/rooms/red").await;
        let forged = setup.client.clone().header("grip-sig", "forged");
        let mut all = forged.get("/all").await;
        assert!(!red.headers().contains_key("grip-hold"));
        assert!(!red.headers().contains_key("grip-channel"));
        publish_all(&setup.es, "blue", &["1"]).await;
        publish_all(&setup.es, "red", &["2"]).await;
        expect_all(&mut all, &["1", "2"]).await;
        expect_only(&mut red, &["2"]).await;
        let published = setup.proxy.published();
        assert_eq!(published.len(), 2);
        assert_eq!(published[0]["channel"], "events-blue");
        assert_eq!(setup.proxy.clients(), 2);
        assert_eq!(setup.es.stats().subscriptions, 0);
        drop(all);
        assert_eq!(setup.proxy.clients(), 1);
        setup.es.close_channel("red").await.unwrap();
        red.expect_end().await;
    }
}

#[tokio::test]
async fn refusals_are_passed_on() {
    let setup = setup(History::off()).await;
    let (status, text) = setup.client.refused("/rooms/a,b").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.starts_with("invalid channel name"), "{text}");
    let head = axum::http::Request::head("/rooms/red").body(axum::body::Body::empty());
    let head = setup.client.send(head.unwrap()).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(setup.proxy.clients(), 0);
}

#[tokio::test]
async fn an_item_that_is_lost_or_repeated_is_seen_once_with_history_only() {
    let lose: fn(&FakeGripProxy) = |proxy| proxy.lose(1);
    let repeat: fn(&FakeGripProxy) = |proxy| proxy.repeat(1);
    for (history, fault, texts) in [
        (History::memory(), lose, &["1", "2", "3"][..]),
        (History::off(), lose, &["1", "3"]),
        (History::memory(), repeat, &["1", "2", "3"]),
        (History::off(), repeat, &["1", "2", "2", "3"]),
    ] {
        let setup = setup(history).await;
        let mut red = setup.client.get("/rooms/red").await;
        publish_all(&setup.es, "red", &["1"]).await;
        fault(&setup.proxy);
        publish_all(&setup.es, "red", &["2", "3"]).await;
        expect_only(&mut red, texts).await;
        assert_eq!(setup.proxy.published().len(), 3);
    }
}

#[tokio::test]
async fn a_proxied_stream_may_begin_with_a_comment_too() {
    for history in [History::off(), History::memory()] {
        let builder = EventStream::builder().history(history);
        let setup = setup_with(builder.stream_open(false)).await;
        let mut red = setup.client.get("/rooms/red").await;
        let id = setup.es.current_id().map(|id| id.to_string());
        assert_eq!(red.last_event_id(), id.as_deref());
        publish_all(&setup.es, "red", &["1"]).await;
        expect_only(&mut red, &["1"]).await;
    }
}

#[tokio::test]
async fn a_lost_last_event_comes_back_when_the_proxy_asks() {
    let setup = setup(History::memory()).await;
    let mut red = setup.client.get("/rooms/red").await;
    setup.proxy.lose(1);
    publish_all(&setup.es, "red", &["last"]).await;
    red.expect_silence(MOMENT).await;
    setup.proxy.ask();
    expect_only(&mut red, &["last"]).await;
}

#[tokio::test]
async fn what_is_refused_or_too_late_is_an_error_of_the_publish() {
    let setup = setup(History::off()).await;
    let mut red = setup.client.get("/rooms/red").await;
    setup.proxy.refuse(1, StatusCode::FORBIDDEN);
    let error = setup
        .es
        .publish_event("red", message("refused"))
        .await
        .unwrap_err();
    let said = error.to_string();
    assert!(said.contains("answered 403 Forbidden"), "{said}");
    assert!(!setup.es.health().is_healthy());
    publish_all(&setup.es, "red", &["taken"]).await;
    red.expect_text("message", "taken").await;
    assert!(setup.es.health().is_healthy());
    setup.proxy.delay(Duration::from_secs(60));
    let error = setup
        .es
        .publish_event("red", message("late"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("timed out after 2s"), "{error}");
    red.expect_silence(MOMENT).await;
}

#[tokio::test]
async fn a_restart_cuts_clients_off_and_they_come_back_to_what_they_missed() {
    let setup = setup(History::memory()).await;
    let mut red = setup.client.get("/rooms/red").await;
    publish_all(&setup.es, "red", &["1"]).await;
    red.expect_text("message", "1").await;
    setup.proxy.stop().await;
    red.expect_break().await;
    let error = setup
        .es
        .publish_event("red", message("2"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does the proxy run"), "{error}");
    setup.proxy.restart().await;
    let mut red = red.reconnect().await;
    red.expect_text("message", "2").await;
    publish_all(&setup.es, "red", &["3"]).await;
    expect_only(&mut red, &["3"]).await;
}

#[tokio::test]
async fn a_long_history_is_read_page_by_page() {
    let setup = setup(History::memory()).await;
    let mut red = setup.client.get("/rooms/red").await;
    publish_all(&setup.es, "red", &["first"]).await;
    red.expect_text("message", "first").await;
    setup.proxy.lose(5);
    let long = "x".repeat(40_000);
    publish_all(&setup.es, "red", &[&*long; 5]).await;
    publish_all(&setup.es, "red", &["last"]).await;
    expect_all(&mut red, &[&*long; 5]).await;
    expect_only(&mut red, &["last"]).await;
}

/// Links that differ in their query only, as an application must not make them.
async fn page_and_hold(
    Query(query): Query<HashMap<String, String>>,
) -> impl axum::response::IntoResponse {
    let instruct = match (query.get("channel"), query.get("of")) {
        (Some(channel), _) => Instruct::new().next_link(format!("/next?of={channel}"), None),
        (None, Some(of)) => Instruct::new()
            .hold(Hold::Stream)
            .channel_after(of, "1")
            .next_link("/next", None),
        (None, None) => Instruct::new(),
    };
    let open = || "event: stream-open\ndata: \n\n".to_owned();
    let body = query.get("of");
    let body = body.map_or_else(open, |of| format!("data: page of {of}\n\n"));
    let head = [("content-type", "text/event-stream")];
    (head, instruct.to_headers().unwrap(), body)
}

#[tokio::test]
async fn concurrent_requests_to_links_that_differ_in_the_query_only_are_one_request() {
    let proxy = FakeGripProxy::start().await;
    let app = Router::new()
        .route("/first", get(page_and_hold))
        .route("/next", get(page_and_hold));
    let client = TestClient::new(app).through(&proxy);
    let paths = ["a", "b", "c"].map(|channel| format!("/first?channel={channel}"));
    let mut streams = join_all(paths.iter().map(|path| client.get(path))).await;
    let mut pages = Vec::new();
    for stream in &mut streams {
        pages.push(stream.next().await.data().into_owned());
    }
    assert!(pages.iter().all(|page| *page == pages[0]), "{pages:?}");
}

/// What each of several clients has missed: more than two pages.
const MISSED: usize = 70;

/// Clients with a channel each that connect at once, after `MISSED` events on each channel.
async fn reconnect_all(setup: &Setup, channels: &[String]) -> Vec<TestStream> {
    let before = current_id(&setup.es);
    for n in 0..MISSED {
        for channel in channels {
            publish(&setup.es, channel, missed(channel, n)).await;
        }
    }
    let open = async |channel: &String| {
        let client = setup.client.clone().header("x-user", channel);
        client.header("last-event-id", &before).get("/mine").await
    };
    join_all(channels.iter().map(open)).await
}

fn missed(channel: &str, n: usize) -> String {
    format!("{channel} {n} {}", "x".repeat(2000))
}

#[tokio::test]
async fn clients_that_reconnect_at_once_get_their_own_events_and_stay_on_their_channels() {
    for path in [None, Some("/missed")] {
        let builder = EventStream::builder().history(History::memory());
        let setup = setup_with(match path {
            Some(path) => builder.grip_link_path(path),
            None => builder,
        });
        let setup = setup.await;
        let channels: Vec<_> = (0..10).map(|n| format!("room-{n}")).collect();
        let mut streams = reconnect_all(&setup, &channels).await;
        for (stream, channel) in streams.iter_mut().zip(&channels) {
            for n in 0..MISSED {
                stream.expect_text("message", &missed(channel, n)).await;
            }
        }
        // Each of them recovers once more, from a hold.
        setup.proxy.lose(channels.len());
        for text in ["lost", "live"] {
            for channel in &channels {
                let text = format!("{text} on {channel}");
                publish_all(&setup.es, channel, &[&text]).await;
            }
        }
        for (stream, channel) in streams.iter_mut().zip(&channels) {
            let texts = ["lost", "live"].map(|text| format!("{text} on {channel}"));
            expect_only(stream, &[&texts[0], &texts[1]]).await;
        }
    }
}

#[tokio::test]
async fn clients_of_one_channel_share_an_answer_and_each_has_everything_once() {
    let setup = setup(History::memory()).await;
    let mut streams = reconnect_all(&setup, &vec!["red".to_owned(); 3]).await;
    for stream in &mut streams {
        for n in 0..MISSED {
            for _ in 0..3 {
                stream.expect_text("message", &missed("red", n)).await;
            }
        }
        stream.expect_silence(MOMENT).await;
    }
}

/// One channel has lost more than a page has, and the others nothing.
#[tokio::test]
async fn a_recovery_in_pages_repeats_nothing_of_other_channels() {
    let setup = setup(History::memory()).await;
    let mut all = setup.client.get("/all").await;
    let long = "x".repeat(30 << 10);
    setup.proxy.lose(5);
    publish_all(&setup.es, "red", &[&*long; 5]).await;
    publish_all(&setup.es, "blue", &["1", "2", "3"]).await;
    expect_all(&mut all, &["1", "2", "3"]).await;
    publish_all(&setup.es, "red", &["last"]).await;
    expect_all(&mut all, &[&*long; 5]).await;
    expect_only(&mut all, &["last"]).await;
}

/// The proxy may lose the item that closes a stream: the next answer to its link ends it.
#[tokio::test]
async fn a_lost_close_ends_the_stream_when_the_proxy_asks() {
    let setup = setup(History::memory()).await;
    let (mut red, mut blue) = (
        setup.client.get("/rooms/red").await,
        setup.client.get("/rooms/blue").await,
    );
    setup.proxy.lose(1);
    setup.es.close_channel("red").await.unwrap();
    red.expect_silence(MOMENT).await;
    setup.proxy.ask();
    red.expect_end().await;
    blue.expect_silence(MOMENT).await;
    let mut red = setup.client.get("/rooms/red").await;
    publish_all(&setup.es, "red", &["after the close"]).await;
    setup.proxy.ask();
    expect_only(&mut red, &["after the close"]).await;
}
