//! Direct delivery on real sockets: what a request gets, byte for byte.

use crate::support::{
    OPEN, alone, call,
    client::{self, Refusal, assert_refused},
    current_id, messages, opened, publish, server, subscribed, without_history,
};
use axum::{
    Router,
    http::{StatusCode, request::Parts},
    routing::get,
};
use axum_eventstream::{Event, EventStream, EventStreamBuilder, History, KeepAlive, Limits};
use http_body_util::BodyExt as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn app(es: &EventStream) -> Router {
    let own_refusal = |_: &Parts| Err::<&str, _>((StatusCode::IM_A_TEAPOT, "no channel here\n"));
    Router::new()
        .route("/events/{id}", get(es.handler("{id}")))
        .route(
            "/rooms/{room}/{user}",
            get(es.handler("room-{room}.<user>")),
        )
        .route("/several", get(es.handler(["a", "b", " ", "a"])))
        .route("/refused", get(es.handler(own_refusal)))
        .route("/none", get(es.handler(["", " "])))
        .route("/missing/{id}", get(es.handler("room-{missing}")))
}

async fn serve(builder: EventStreamBuilder) -> (EventStream, SocketAddr) {
    let es = builder.build().unwrap();
    let address = server::start(app(&es), false).await;
    (es, address)
}

/// A stream without history: its events have no ids.
async fn serve_plain() -> (EventStream, SocketAddr) {
    let es = without_history();
    let address = server::start(app(&es), false).await;
    (es, address)
}

/// The bytes of a message with the id of a position.
fn with_id(text: &str, id: &str) -> String {
    format!("event: message\ndata: {text}\nid: {id}\n\n")
}

/// A position so many events before or after this one.
fn moved(id: &str, by: i64) -> String {
    let (epoch, sequence) = id.split_once('-').unwrap();
    let sequence = sequence.parse::<i64>().unwrap() + by;
    format!("{epoch}-{sequence}")
}

/// In a process with a `net::Listener`, the head also announces the end of the connection.
#[tokio::test]
async fn a_stream_has_this_head_and_the_bytes_of_its_events() {
    if alone::has_run("direct::http1::a_stream_has_this_head_and_the_bytes_of_its_events") {
        return;
    }
    let (es, address) = serve_plain().await;
    let mut client = client::get(address, "/several", &[("grip-sig", "of no proxy")]).await;
    assert_eq!(client.status(), "HTTP/1.1 200 OK");
    let headers = [
        "cache-control: no-store, no-transform",
        "content-type: text/event-stream",
        "transfer-encoding: chunked",
        "x-accel-buffering: no",
    ];
    assert_eq!(client.headers(), headers);
    for (channel, text) in [("a", "1"), ("c", "2"), ("b", "3\r\n4"), ("a", "")] {
        publish(&es, channel, text).await;
    }
    let everything = Event::builder().comment("c").event("e").data("\n").id("é");
    let everything = everything.retry(Duration::from_secs(2)).build().unwrap();
    es.publish_event("b", everything).await.unwrap();
    es.close();
    let expected = [
        OPEN,
        &messages(&["1"]),
        &messages(&["3\ndata: 4"]),
        &messages(&[""]),
        ":c\nevent: e\ndata: \ndata: \nid: é\nretry: 2000\n\n",
    ];
    assert_eq!(client.rest().await, expected.concat());
    assert!(client.is_complete());
}

#[tokio::test]
async fn accept_decides_by_what_is_most_specific() {
    let (_, address) = serve_plain().await;
    let admit = [
        "",
        "*/*",
        "text/*;q=0.1",
        "TEXT/Event-Stream",
        "application/json, text/event-stream;q=0.001",
        "*/*;q=0, text/event-stream",
        "text/plain,text/*;q=0,text/event-stream; q=1.0",
        "text/event-stream;charset=utf-8",
        "text/event-stream; Charset=\"UTF-8\"; q=0.5",
    ];
    let refuse = [
        "application/json",
        "text/event-stream;q=0",
        "text/event-stream;q=0, */*",
        "text/*;q=0.0, */*;q=1",
        "text/event-stream;charset=utf-8;q=0, */*",
        "text/event-stream;charset=latin1",
        "nonsense",
    ];
    let admit = admit.map(|accept| (accept, "HTTP/1.1 200 OK"));
    let refuse = refuse.map(|accept| (accept, "HTTP/1.1 406 Not Acceptable"));
    for (accept, status) in admit.into_iter().chain(refuse) {
        let response = client::get(address, "/events/a", &[("accept", accept)]).await;
        assert_eq!(response.status(), status, "{accept}");
    }
}

#[tokio::test]
async fn refusals_are_these_bytes_in_this_order() {
    const JSON: (&str, &str) = ("accept", "application/json");
    const ERROR: (&str, &str) = ("last-event-id", "error");
    let limits = Limits::new().channels_per_subscription(1);
    let (es, address) = serve(EventStream::builder().limits(limits)).await;
    let (bad, not_acceptable) = ("400 Bad Request", "406 Not Acceptable");
    let not_filled = "500 Internal Server Error";
    let is_error = "last-event-id header may not be 'error'.\n";
    let invalid = |name, c| format!("invalid channel name {name}: '{c}' is not allowed\n");
    let comma = invalid("\"a, secret\"", ",");
    let semicolon = invalid("\"a;\"", ";");
    let nul = invalid("\"a\\0b\"", "\\0");
    let line_break = invalid("\"a\\r\\nx: y\"", "\\r");
    let space = "invalid channel name \" \\u{3000}\": it begins or ends with white space\n";
    let missing = "the route has no parameter \"missing\", which the channel template \"room-{missing}\" names\n";
    let two_errors = "/events/a?lastEventId=1&lastEventId=error";
    let (teapot, both) = ("418 I'm a teapot", &[JSON, ERROR]);
    let cases: &[Refusal<'_>] = &[
        ("/events/a%2Cb", both, not_acceptable, "Not Acceptable.\n"),
        ("/events/%FF", both, not_acceptable, "Not Acceptable.\n"),
        ("/events/a%2Cb", &[ERROR], bad, is_error),
        ("/events/%FF", &[ERROR], bad, is_error),
        ("/events/%FF%0D%0A", &[], bad, "Invalid UTF-8 in `id`\n"),
        ("/none", &[ERROR, ("last-event-id", "1")], bad, is_error),
        ("/events/a?x=y&lastEventId=error", &[], bad, is_error),
        (two_errors, &[], bad, is_error),
        ("/none", &[], bad, "No specified channels.\n"),
        ("/events/%20%E3%80%80", &[], bad, space),
        ("/missing/7", &[ERROR], bad, is_error),
        ("/missing/7", &[], not_filled, missing),
        ("/events/a%2C%20secret", &[], bad, &comma),
        ("/events/a%3B", &[], bad, &semicolon),
        ("/events/a%00b", &[], bad, &nul),
        ("/events/a%0D%0Ax:%20y", &[], bad, &line_break),
        ("/several", &[], bad, "more than 1 channels\n"),
        ("/refused", &[], teapot, "no channel here\n"),
    ];
    assert_refused(address, cases).await;
    assert_eq!((es.stats().subscriptions, es.stats().channels), (0, 0));
}

/// Streams that are open end at the close, too.
#[tokio::test]
async fn a_closed_or_full_stream_sends_a_retry_and_ends() {
    for detach in [false, true] {
        let limits = Limits::new().subscriptions(1);
        let es = EventStream::builder().limits(limits).build().unwrap();
        let address = server::start(app(&es), detach).await;
        let refused = async |target: &str, range| {
            let mut refused = client::get(address, target, &[]).await;
            assert_eq!(refused.status(), "HTTP/1.1 200 OK");
            assert_eq!(refused.header("content-type"), Some("text/event-stream"));
            assert_retry(&refused.end().await, range);
        };
        drop(client::get(address, "/events/a", &[]).await);
        subscribed(&es, 0).await;
        let mut open = client::get(address, "/events/a", &[]).await;
        refused("/events/b", 5000..=15_000).await;
        let head = client::send(address, "HEAD /events/b HTTP/1.1", &[]).await;
        assert_eq!(head.status(), "HTTP/1.1 200 OK");
        publish(&es, "a", "last words").await;
        es.close();
        assert!(open.end().await.ends_with("-1\n\n"));
        refused("/events/a", 1000..=5000).await;
        assert_eq!(es.stats().refused, 2);
        assert!(es.subscribe(["a"]).is_err());
        assert_eq!(es.stats().subscriptions, 0);
    }
}

/// The body has nothing but a time in milliseconds within the range.
fn assert_retry(body: &str, range: std::ops::RangeInclusive<u64>) {
    let retry = body.strip_prefix("retry: ");
    let retry = retry.and_then(|body| body.strip_suffix("\n\n"));
    let milliseconds = retry.and_then(|digits| digits.parse().ok());
    assert!(
        milliseconds.is_some_and(|time| range.contains(&time)),
        "{body}"
    );
}

#[tokio::test]
async fn a_closed_or_full_stream_is_a_503_if_the_builder_says_so() {
    let limits = Limits::new().subscriptions(1);
    let builder = EventStream::builder()
        .limits(limits)
        .refuse_with_status(true);
    let (es, address) = serve(builder).await;
    let _first = client::get(address, "/events/a", &[]).await;
    let full = "there are 1 subscriptions already, which is the limit\n";
    for method in ["GET", "HEAD"] {
        let line = format!("{method} /events/b HTTP/1.1");
        let mut refused = client::send(address, &line, &[]).await;
        assert_eq!(refused.status(), "HTTP/1.1 503 Service Unavailable");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((5..=15).contains(&seconds), "{seconds}");
        if method == "GET" {
            assert_eq!(refused.rest().await, full);
        }
    }
    es.close();
    let mut closed = client::get(address, "/events/a", &[]).await;
    let seconds: u64 = closed.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_eq!(closed.rest().await, "the stream is closed\n");
}

#[tokio::test]
async fn route_parameters_name_the_channel_in_any_script() {
    let (es, address) = serve_plain().await;
    let cases = [
        ("/events/caf%C3%A9%20%22=%22", "café \"=\""),
        ("/rooms/%E6%97%A5/%F0%9F%98%80", "room-日.\u{1F600}"),
        ("/rooms/%20a/b", "room- a.b"),
    ];
    for (target, channel) in cases {
        let mut client = client::get(address, target, &[]).await;
        publish(&es, channel, "1").await;
        assert_eq!(client.events(2).await, opened(&["1"]), "{target}");
    }
}

#[tokio::test]
async fn head_gets_the_head_alone() {
    let (es, address) = serve_plain().await;
    let head = client::send(address, "HEAD /events/a HTTP/1.1", &[]).await;
    let headers = [
        "cache-control: no-store, no-transform",
        "content-length: 0",
        "content-type: text/event-stream",
        "x-accel-buffering: no",
    ];
    assert_eq!(
        (head.status(), head.headers()),
        ("HTTP/1.1 200 OK", headers.to_vec())
    );
    assert_eq!(es.stats().subscriptions, 0);
    let mut client = head.again("GET /events/a HTTP/1.1", &[]).await;
    publish(&es, "a", "1").await;
    assert_eq!(client.events(2).await, opened(&["1"]));
}

#[tokio::test]
async fn http_1_0_gets_a_body_that_ends_with_the_connection() {
    let (es, address) = serve_plain().await;
    let client = client::send(address, "GET /events/a HTTP/1.0", &[]).await;
    publish(&es, "a", "1").await;
    es.close();
    let head = "HTTP/1.0 200 OK\ncache-control: no-store, no-transform\n\
        content-type: text/event-stream\nx-accel-buffering: no\n\n";
    assert_eq!(client.whole().await, head.to_owned() + &*opened(&["1"]));
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_and_then_what_follows() {
    let (es, address) = serve(EventStream::builder()).await;
    let mut client = client::get(address, "/several", &[]).await;
    let start = current_id(&es);
    let open = |id: &str| format!("event: stream-open\ndata: \nid: {id}\n\n");
    let id = |number| moved(&start, number);
    assert_eq!(client.events(1).await, open(&start));
    publish(&es, "a", "1").await;
    assert_eq!(client.events(1).await, with_id("1", &id(1)));
    drop(client);
    for (channel, text) in [("a", "2"), ("secret", "3"), ("b", "4")] {
        publish(&es, channel, text).await;
    }
    let (one, none) = (id(1), id(99));
    let query = format!("/several?x=%26&lastEventId={one}");
    let twice = format!("/several?lastEventId={none}&x=1&lastEventId={one}");
    let stale = format!("/several?lastEventId={none}");
    let cases: [(&str, &[_]); 6] = [
        ("/several", &[("last-event-id", &*one)]),
        (
            "/several",
            &[("last-event-id", &one), ("last-event-id", &none)],
        ),
        (&query, &[]),
        (&query, &[("Last-Event-ID", &one)]),
        (&twice, &[]),
        (&stale, &[("last-event-id", &one), ("last-event-id", &none)]),
    ];
    let missed = with_id("2", &id(2)) + &*with_id("4", &id(4));
    let mut clients = Vec::new();
    for (target, headers) in cases {
        let mut client = client::get(address, target, headers).await;
        assert_eq!(
            client.events(3).await,
            open(&one) + &*missed,
            "{target} {headers:?}"
        );
        clients.push(client);
    }
    publish(&es, "b", "5").await;
    for client in &mut clients {
        assert_eq!(client.events(1).await, with_id("5", &id(5)));
    }
    let from_open = [("last-event-id", &*start)];
    let mut client = client::get(address, "/events/a", &from_open).await;
    assert_eq!(
        client.events(3).await,
        open(&start) + &*with_id("1", &id(1)) + &*with_id("2", &id(2))
    );
    assert_eq!(es.stats().replayed, 14);
}

#[tokio::test]
async fn who_names_a_position_that_means_nothing_is_told_so() {
    let history = History::memory().events(2);
    let (es, address) = serve(EventStream::builder().history(history)).await;
    for text in ["1", "2", "3", "4"] {
        publish(&es, "a", text).await;
    }
    let now = current_id(&es);
    let other_epoch = match now.strip_prefix('0') {
        Some(rest) => format!("1{rest}"),
        None => format!("0{}", &now[1..]),
    };
    let reset = |channels: &str| {
        let data = format!("{{\"channels\":[{channels}],\"missed\":null}}");
        format!("{OPEN}event: stream-reset\ndata: {data}\nid: {now}\n\n")
    };
    for id in [&*other_epoch, "7", "x", "\u{1F600}", "-1"] {
        let mut client = client::get(address, "/several", &[("last-event-id", id)]).await;
        assert_eq!(client.events(2).await, reset("\"a\",\"b\""), "{id}");
    }
    let evicted = moved(&now, -3);
    let mut client = client::get(address, "/events/a", &[("last-event-id", &evicted)]).await;
    publish(&es, "a", "5").await;
    let expected = reset("\"a\"") + &*with_id("5", &moved(&now, 1));
    assert_eq!(client.events(3).await, expected);
}

#[tokio::test]
async fn without_history_a_position_changes_nothing() {
    let (es, address) = serve_plain().await;
    publish(&es, "a", "1").await;
    let mut client = client::get(address, "/events/a", &[("last-event-id", "x-1")]).await;
    publish(&es, "a", "2").await;
    assert_eq!(client.events(2).await, opened(&["2"]));
    assert_eq!(es.current_id(), None);
}

#[tokio::test]
async fn without_stream_open_a_comment_has_the_position() {
    let builder = || EventStream::builder().stream_open(false);
    let (es, address) = serve(builder().history(History::off())).await;
    let mut client = client::get(address, "/several", &[]).await;
    publish(&es, "a", "1").await;
    let expected = ":stream-open\n\n".to_owned() + &*messages(&["1"]);
    assert_eq!(client.events(2).await, expected);

    let (es, address) = serve(builder()).await;
    let start = current_id(&es);
    let open = |id: &str| format!(":stream-open\nid: {id}\n\n");
    let mut client = client::get(address, "/several", &[]).await;
    assert_eq!(client.events(1).await, open(&start));
    publish(&es, "a", "1").await;
    let mut client = client::get(address, "/several", &[("last-event-id", &start)]).await;
    let expected = open(&start) + &*with_id("1", &moved(&start, 1));
    assert_eq!(client.events(2).await, expected);

    let mut client = client::get(address, "/several", &[("last-event-id", "x")]).await;
    let opening = ":stream-open\n\nevent: stream-reset\n";
    assert!(client.events(2).await.starts_with(opening));
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_is_kept_alive_after_each_interval_without_events() {
    let comment = KeepAlive::new()
        .interval(Duration::from_secs(7))
        .comment("");
    let cases = [
        (KeepAlive::new(), 20, "event: keep-alive\ndata: \n\n"),
        (comment, 7, ":\n\n"),
    ];
    for (keep_alive, interval, expected) in cases {
        let builder = EventStream::builder().keep_alive(keep_alive);
        let es = builder.history(History::off()).build().unwrap();
        let mut body = call(&app(&es), "/events/a", &[]).await.into_body();
        let mut frame = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame().await, OPEN);
        let start = Instant::now();
        let elapsed = || start.elapsed().as_secs();
        assert_eq!((frame().await, elapsed()), (expected.into(), interval));
        assert_eq!((frame().await, elapsed()), (expected.into(), 2 * interval));
        sleep(Duration::from_secs(5)).await;
        publish(&es, "a", "1").await;
        assert_eq!(frame().await, messages(&["1"]));
        let elapsed = (frame().await, elapsed());
        assert_eq!(elapsed, (expected.into(), 3 * interval + 5));
    }
}

#[tokio::test]
async fn who_does_not_read_delays_nobody_and_is_told_what_is_missed() {
    const EVENTS: usize = 1500;
    let history = History::off().events(16);
    let (es, address) = serve(EventStream::builder().history(history)).await;
    let mut slow = client::get(address, "/events/a", &[]).await;
    let mut fast = client::get(address, "/events/a", &[]).await;
    assert_eq!(fast.events(1).await, OPEN);
    let text = |number: usize| format!("{number:x<20000}");
    for number in 0..EVENTS {
        publish(&es, "a", &text(number)).await;
        assert_eq!(fast.events(1).await, messages(&[&text(number)]));
    }
    es.close();
    assert_eq!(slow.events(1).await, OPEN);
    let (mut next, mut resets) = (0, 0);
    while let Some(event) = slow.next_event().await {
        let reset = "event: stream-reset\ndata: {\"channels\":[\"a\"],\"missed\":";
        if let Some(missed) = event.strip_prefix(reset) {
            let missed = missed.strip_suffix("}\n\n").unwrap();
            next += missed.parse::<usize>().unwrap();
            resets += 1;
        } else {
            assert_eq!(event, messages(&[&text(next)]));
            next += 1;
        }
    }
    assert_eq!((next, resets), (EVENTS, 1));
    assert!(es.stats().lagged > 0);
}
