//! The same routes through a proxy: the instructions, and the bytes that its clients get.

use super::{NO_PROXY, SIGNED};
use crate::support::{
    OPEN,
    client::{self, Refusal, Response, assert_refused},
    current_id, message, messages, opened, publish,
    pushpin::Pushpin,
    server,
    stage::{self, PROBE, Stage},
};
use axum::{Router, routing::get};
use axum_eventstream::{
    ErrorKind, Event, EventStream, EventStreamBuilder, History, KeepAlive, Limits, Rejection,
    StreamRequest, StreamResponse,
};
use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// A signature with the key `changeme`, made by a program of its own.
const SIGNATURE: (&str, &str) = (
    "grip-sig",
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiAicHVzaHBpbiJ9.M3W3JFEZqITQPoMcNqsAw69Gs5pUUh-Jg2zvefm_Bl0",
);

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/events/{id}", get(es.handler("{id}")))
        .route(
            "/rooms/{room}/{user}",
            get(es.handler("room-{room}.<user>")),
        )
        .route("/several", get(es.handler(["a", "b", "a"])))
}

async fn serve(builder: EventStreamBuilder) -> (EventStream, SocketAddr) {
    let es = builder.build().unwrap();
    let origin = server::start(app(&es), false).await;
    (es, origin)
}

fn verifying() -> EventStreamBuilder {
    EventStream::builder().grip("http://127.0.0.1:1?verify-key=changeme")
}

#[tokio::test]
async fn the_proxy_is_told_to_hold_and_on_which_channels() {
    let keep_alive = KeepAlive::new().interval(Duration::from_millis(1500));
    let keep_alive = keep_alive.comment("x");
    let (es, origin) = serve(verifying().grip_prefix("p/").keep_alive(keep_alive)).await;
    let held = client::get(origin, "/several", &[SIGNATURE]).await;
    assert_eq!(
        held.whole().await,
        "HTTP/1.1 200 OK\n\
        cache-control: no-store, no-transform\n\
        content-length: 27\n\
        content-type: text/event-stream\n\
        grip-channel: p/a, p/b\n\
        grip-hold: stream\n\
        grip-keep-alive: :x\\n\\n; format=cstring; timeout=2\n\
        x-accel-buffering: no\n\n\
        event: stream-open\ndata: \n\n"
    );
    let unicode = client::get(origin, "/events/caf%C3%A9%20%22%3D", &[SIGNATURE]).await;
    assert_eq!(unicode.header("grip-channel"), Some("p/café \"="));
    let (_, origin) = serve(EventStream::builder().grip(NO_PROXY)).await;
    let held = client::get(origin, "/events/a", &[SIGNED]).await;
    let keep_alive = "event: keep-alive\\ndata: \\n\\n; format=cstring; timeout=20";
    assert_eq!(held.header("grip-keep-alive"), Some(keep_alive));
    assert_eq!(held.header("grip-channel"), Some("events-a"));
    assert_eq!(es.stats().subscriptions, 0);
}

#[tokio::test]
async fn refusals_come_in_this_order_and_tell_the_proxy_nothing() {
    const FORGED: (&str, &str) = ("grip-sig", "eyJhbGciOiJub25lIn0.e30.");
    const ERROR: (&str, &str) = ("last-event-id", "error");
    const TEXT: (&str, &str) = ("accept", "text/plain");
    const INVALID: &str = "/events/a%2C%20b";
    let builder = verifying().require_grip_proxy(true);
    let limits = Limits::new().channels_per_subscription(1);
    let (_es, origin) = serve(builder.limits(limits)).await;
    let (forged, bad) = ("403 Forbidden", "400 Bad Request");
    let (not_acceptable, direct) = ("406 Not Acceptable", "501 Not Implemented");
    let is_error = "last-event-id header may not be 'error'.\n";
    let space = "invalid channel name \" \": it begins or ends with white space\n";
    let comma = "invalid channel name \"a, b\": ',' is not allowed\n";
    let all = &[FORGED, ERROR, TEXT];
    let cases: &[Refusal<'_>] = &[
        (INVALID, all, not_acceptable, "Not Acceptable.\n"),
        (INVALID, &all[..2], forged, "GRIP Signature Invalid.\n"),
        (INVALID, &[ERROR], direct, "Not Implemented.\n"),
        (INVALID, &[SIGNATURE, ERROR], bad, is_error),
        ("/events/%20", &[SIGNATURE], bad, space),
        (INVALID, &[SIGNATURE], bad, comma),
        ("/several", &[SIGNATURE], bad, "more than 1 channels\n"),
    ];
    assert_refused(origin, cases).await;
}

#[tokio::test]
async fn closing_changes_nothing_for_a_client_of_a_proxy_but_a_limit_does() {
    let limits = Limits::new().subscriptions(1);
    let (es, origin) = serve(verifying().limits(limits)).await;
    es.close();
    let held = client::get(origin, "/events/a", &[SIGNATURE]).await;
    assert_eq!(held.header("grip-hold"), Some("stream"));
    assert_eq!(es.stats().subscriptions, 0);

    let limits = Limits::new().subscriptions(1);
    let (es, origin) = serve(verifying().limits(limits)).await;
    let _subscription = es.subscribe("a").unwrap();
    let mut full = client::get(origin, "/events/a", &[SIGNATURE]).await;
    assert_eq!(
        (full.status(), full.header("grip-hold")),
        ("HTTP/1.1 200 OK", None)
    );
    assert!(full.rest().await.starts_with("retry: "));
}

/// The proxy cannot close a connection that it does not hold yet, so the response must not hold it.
#[tokio::test]
async fn a_channel_that_is_closed_between_open_and_respond_is_not_held() {
    let es = verifying().build().unwrap();
    let app = |closes: bool| {
        let es = es.clone();
        let own = async move |request: StreamRequest| -> Result<StreamResponse, Rejection> {
            let stream = es.open(&request, ["user-7", "news"])?;
            if closes {
                // No proxy takes the item here: what counts is that the channel is closed.
                let _ = es.close_channel("user-7").now_or_never();
            }
            Ok(stream)
        };
        Router::new().route("/", get(own))
    };
    for (closes, hold) in [(false, Some("stream")), (true, None)] {
        let origin = server::start(app(closes), false).await;
        let mut response = client::get(origin, "/", &[SIGNATURE]).await;
        assert_eq!(response.header("grip-hold"), hold);
        let body = response.rest().await;
        assert_eq!(body.starts_with("retry: "), closes, "{body}");
        assert_eq!(es.stats().subscriptions, 0);
    }
}

async fn set(change: impl FnOnce(EventStreamBuilder) -> EventStreamBuilder) -> Stage {
    let build = |control_uri: &str| change(EventStream::builder().grip(control_uri));
    Stage::start(build, app).await
}

/// A client that is held on these channels, as the proxy names them.
async fn hold(pushpin: &Pushpin, target: &str, channels: &[&str]) -> Response {
    let last = channels.last().expect("a channel");
    let probe = messages(&[PROBE]);
    let probe = async || pushpin.publish(last, &probe).await.expect("published");
    stage::hold(pushpin, target, &[], channels, probe).await
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn direct_and_proxied_clients_get_the_very_same_bytes() {
    let stage = set(|builder| builder).await;
    let es = &stage.es;
    let mut through = hold(&stage.proxy, "/events/a", &["events-a"]).await;
    let mut direct = client::get(stage.origin, "/events/a", &[]).await;
    for client in [&through, &direct] {
        assert_eq!(client.header("content-type"), Some("text/event-stream"));
        let cache = client.header("cache-control");
        assert_eq!(cache, Some("no-store, no-transform"));
        let is_grip = |line: &&str| line.to_lowercase().starts_with("grip-");
        assert!(!client.headers().iter().any(is_grip));
    }
    let everything = Event::builder().comment("c").event("e").id("é");
    let everything = everything.data("1\r\n\n\r3").retry(Duration::from_secs(2));
    let everything = everything.build().unwrap();
    for event in [message("a\\n\"b\u{1F600}\u{0}"), message(""), everything] {
        es.publish_event("a", event).await.unwrap();
    }
    publish(es, "b", "of another channel").await;
    let long = "é".repeat(100_000);
    publish(es, "a", &long).await;
    let bytes = through.events(5).await;
    assert_eq!(bytes, direct.events(5).await);
    let expected = [
        OPEN,
        &messages(&["a\\n\"b\u{1F600}\u{0}", ""]),
        ":c\nevent: e\ndata: 1\ndata: \ndata: \ndata: 3\nid: é\nretry: 2000\n\n",
        &messages(&[&long]),
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(es.stats().subscriptions, 1, "the proxy holds the other");
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn one_client_is_held_on_several_channels() {
    let Stage { es, proxy, .. } = set(|builder| builder).await;
    let mut client = hold(&proxy, "/several", &["events-a", "events-b"]).await;
    for (channel, text) in [("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")] {
        publish(&es, channel, text).await;
    }
    assert_eq!(client.events(4).await, opened(&["1", "2", "4"]));
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn route_parameters_name_the_channel_in_any_script() {
    let Stage { es, proxy, .. } = set(|builder| builder.grip_prefix("räume/")).await;
    let cases = [
        ("/rooms/caf%C3%A9/%E6%97%A5%E6%9C%AC", "room-café.日本"),
        ("/events/%22x%22%20=y", "\"x\" =y"),
    ];
    for (target, channel) in cases {
        let mut client = hold(&proxy, target, &[&format!("räume/{channel}")]).await;
        publish(&es, channel, "1").await;
        assert_eq!(client.events(2).await, opened(&["1"]));
    }
    assert!(!proxy.log().contains("events-"));
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn names_that_would_be_two_channels_subscribe_to_none() {
    let Stage { proxy, .. } = set(|builder| builder).await;
    let names = [
        "a%2C%20secret",
        "a%3B%20filter=skip-self",
        "a%0D%0AGrip-Channel:%20secret",
    ];
    for name in names {
        let response = client::get(proxy.address(), &format!("/events/{name}"), &[]).await;
        assert_eq!(response.status(), "HTTP/1.1 400 Bad Request");
        assert!(response.whole().await.contains("invalid channel name"));
    }
    hold(&proxy, "/events/last", &["events-last"]).await;
    let log = proxy.log();
    let subscribed = log.lines().filter(|line| line.contains(" subscribe "));
    let channels = subscribed.filter_map(|line| line.split("channel=").nth(1));
    let mut channels: Vec<_> = channels.filter(|channel| *channel != ".ready").collect();
    channels.dedup();
    assert_eq!(channels, ["events-last"], "{log}");
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn the_proxy_keeps_an_idle_stream_alive() {
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(2));
    let Stage { proxy, .. } = set(|builder| builder.keep_alive(keep_alive)).await;
    let mut client = hold(&proxy, "/events/a", &["events-a"]).await;
    let expected = OPEN.to_owned() + "event: keep-alive\ndata: \n\n";
    assert_eq!(client.events(2).await, expected);
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn head_through_the_proxy_ends_at_once() {
    let Stage { es, proxy, .. } = set(|builder| builder).await;
    let head = client::send(proxy.address(), "HEAD /events/a HTTP/1.1", &[]).await;
    assert_eq!(head.status(), "HTTP/1.1 200 OK");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let mut client = head.again("GET /events/a HTTP/1.1", &[]).await;
    proxy.wait_for_subscribe("events-a", 1).await;
    publish(&es, "a", "1").await;
    assert_eq!(client.events(2).await, opened(&["1"]));
}

/// Two streams behind a proxy that signs: one verifies with a key and an issuer that fit, one does not.
#[tokio::test]
#[ignore = "needs pushpin"]
async fn signatures_are_verified() {
    const EC: &str = concat!(
        "file:",
        env!("CARGO_MANIFEST_DIR"),
        "/../keys/ec-private.pem"
    );
    let public = |pem: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("verify-key", pem).finish()
    };
    let ec_public = public(include_str!("../../keys/ec-public.pem"));
    let rsa_public = public(include_str!("../../keys/rsa-public.pem"));
    let secret = "verify-key=base64:AP-_&verify-iss=pushpin";
    let issuer = "verify-key=changeme&verify-iss=pushpin";
    let other_issuer = "verify-key=changeme&verify-iss=other";
    let cases = [
        ("base64:AP+/", secret, "verify-key=changeme"),
        ("changeme", issuer, other_issuer),
        (EC, &ec_public, &rsa_public),
    ];
    for (key, right, wrong) in cases {
        let verify = |uri: &str, query: &str| {
            let builder = EventStream::builder().grip(format!("{uri}?{query}"));
            builder.require_grip_proxy(true)
        };
        let wrong = verify(NO_PROXY, wrong).build().unwrap();
        let stage = Stage::set(
            |pushpin| pushpin.sig_key(key),
            |control_uri| verify(control_uri, right),
            |es| app(es).route("/wrong", get(wrong.handler("a"))),
        );
        let Stage {
            es, proxy, origin, ..
        } = stage.await;
        let mut client = hold(&proxy, "/events/a", &["events-a"]).await;
        publish(&es, "a", "1").await;
        assert_eq!(client.events(2).await, opened(&["1"]));
        let mut refused = client::get(proxy.address(), "/wrong", &[]).await;
        assert_eq!(refused.status(), "HTTP/1.1 403 Forbidden");
        assert_eq!(refused.rest().await, "GRIP Signature Invalid.\n");
        let direct = client::get(origin, "/events/a", &[]).await;
        assert_eq!(direct.status(), "HTTP/1.1 501 Not Implemented");
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn two_proxies_have_every_event_and_the_one_that_is_down_is_named() {
    let (listener, origin) = server::bind().await;
    let start = || Pushpin::builder().origin(origin).start();
    let (one, mut two) = join(start(), start()).await;
    let urls = [one.control_uri(), two.control_uri()];
    let es = EventStream::builder().grip(urls.join(" ")).build().unwrap();
    server::serve(listener, app(&es));
    let mut clients = [
        hold(&one, "/events/a", &["events-a"]).await,
        client::get(origin, "/events/a", &[]).await,
        hold(&two, "/events/a", &["events-a"]).await,
    ];
    publish(&es, "a", "1").await;
    for client in &mut clients {
        assert_eq!(client.events(2).await, opened(&["1"]));
    }
    two.kill().await;
    let error = es.publish_event("a", message("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Publish);
    assert!(error.to_string().contains(&urls[1]), "{error}");
    assert!(!error.to_string().contains(&urls[0]), "{error}");
    for client in &mut clients[..2] {
        assert_eq!(client.events(1).await, messages(&["2"]));
    }
    assert_eq!(clients[2].next_event().await, None);
    assert!(!clients[2].is_complete());
    let stats = es.stats();
    assert_eq!((stats.grip_published, stats.grip_failures), (3, 1));
}

/// What Pushpin 1.36 needs between publishes: when they come faster, it delivers at the next pause.
const PAUSE: Duration = Duration::from_millis(50);

/// Publishes numbers until `stop`, and returns how many.
async fn publish_numbers(es: EventStream, stop: Arc<AtomicBool>) -> u64 {
    let mut numbers = 0;
    while !stop.load(Relaxed) {
        // A short outage costs nothing but time: a refused connection is tried again.
        if let Err(error) = es.publish_event("a", message(numbers)).await {
            assert_eq!(error.kind(), ErrorKind::Publish);
        }
        numbers += 1;
        tokio::time::sleep(PAUSE).await;
    }
    numbers
}

fn number(event: &str) -> u64 {
    let text = event.strip_prefix("event: message\ndata: ").unwrap();
    text.trim_end().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pushpin"]
async fn publishing_goes_on_while_the_proxy_restarts() {
    let history = History::off().events(100_000);
    let mut stage = set(|builder| builder.history(history)).await;
    let mut direct = client::get(stage.origin, "/events/a", &[]).await;
    let mut before = hold(&stage.proxy, "/events/a", &["events-a"]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(publish_numbers(stage.es.clone(), stop.clone()));
    assert_eq!(before.events(3).await, opened(&["0", "1"]));
    stage.proxy.stop();
    before.rest().await;
    assert!(!before.is_complete(), "it has no last chunk");
    stage.proxy.start_again().await;
    let mut after = hold(&stage.proxy, "/events/a", &["events-a"]).await;
    assert_eq!(after.events(1).await, OPEN);
    let first = number(&after.events(1).await);
    for next in first + 1..first + 10 {
        assert_eq!(number(&after.events(1).await), next);
    }
    stop.store(true, Relaxed);
    let numbers = publishing.await.unwrap();
    assert_eq!(direct.events(1).await, OPEN);
    for expected in 0..numbers {
        assert_eq!(number(&direct.events(1).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pushpin"]
async fn ten_thousand_publishes_at_once_keep_their_order_in_few_requests() {
    const TASKS: usize = 10;
    const EACH: usize = 1000;
    /// Pushpin drops what a client has not taken beyond 100 messages.
    const CHANNELS: usize = 200;
    const OF_EACH: usize = TASKS * EACH / CHANNELS;
    let stage = set(|builder| builder).await;
    let mut clients = Vec::new();
    for channel in ["0", "50", "199"] {
        let target = format!("/events/{channel}");
        let through = hold(&stage.proxy, &target, &[&format!("events-{channel}")]).await;
        clients.push([through, client::get(stage.origin, &target, &[]).await]);
    }
    let tasks = (0..TASKS).map(|task| {
        let es = stage.es.clone();
        tokio::spawn(async move {
            let channel = |n: usize| (n % CHANNELS).to_string();
            let publish = |n| es.publish_event(channel(n), message(format!("{task} {n}")));
            join_all((0..EACH).map(publish)).await
        })
    });
    for published in join_all(tasks.collect::<Vec<_>>()).await {
        assert!(published.unwrap().iter().all(Result::is_ok));
    }
    for [through, direct] in &mut clients {
        let bytes = direct.events(1 + OF_EACH).await;
        assert_eq!(through.events(1 + OF_EACH).await, bytes);
        for task in 0..TASKS {
            let start = format!("data: {task} ");
            let numbers = bytes.lines().filter_map(|line| line.strip_prefix(&start));
            let numbers: Vec<usize> = numbers.map(|n| n.parse().unwrap()).collect();
            assert!(
                numbers.is_sorted() && numbers.len() == OF_EACH / TASKS,
                "{numbers:?}"
            );
        }
    }
    let log = stage.proxy.log();
    let requests = log.lines().filter(|line| line.contains("POST /publish/"));
    let requests = requests.count();
    assert!(requests < TASKS * EACH / 10, "{requests} requests");
}

/// The proxy may lose the item that closes a stream, and takes none for a client between two pages.
#[tokio::test]
async fn a_link_from_before_a_close_holds_nothing() {
    for page in [false, true] {
        let (es, origin) = serve(verifying().history(History::memory())).await;
        let start = current_id(&es);
        let link = async |last: &str| {
            let headers = [SIGNATURE, ("last-event-id", last)];
            let held = client::get(origin, "/events/user-7", &headers).await;
            let link = held.header("grip-link").unwrap().to_owned();
            let (link, _) = link.strip_prefix('<').unwrap().split_once('#').unwrap();
            (link.to_owned(), held.header("grip-hold").is_some())
        };
        for _ in 0..3 {
            es.try_publish("user-7", message("x".repeat(40 << 10)))
                .unwrap();
        }
        let last = match page {
            true => start,
            false => current_id(&es),
        };
        let (before, is_held) = link(&last).await;
        assert_eq!(is_held, !page);
        let grip_last = format!("events-user-7; last-id={last}");
        let follow = async |link: &str| {
            let headers = [SIGNATURE, ("grip-last", &grip_last)];
            client::get(origin, link, &headers).await
        };
        assert!(follow(&before).await.header("grip-link").is_some());

        // No proxy takes the item here.
        let _ = es.close_channel("user-7").now_or_never();
        let mut ended = follow(&before).await;
        let instructions = (ended.header("grip-hold"), ended.header("grip-link"));
        assert_eq!(instructions, (None, None));
        let body = ended.rest().await;
        assert!(body.starts_with("retry: "), "{body}");

        let (after, _) = link(&last).await;
        assert!(follow(&after).await.header("grip-link").is_some());
    }
}
