//! Recovery links: how many channels and how long names they carry, and that Pushpin, which merges link
//! requests, gives each client its own events.

use super::{NO_PROXY, SIGNED, follow, link};
use crate::support::{
    client::{self, Response},
    publish, pushpin, server,
    stage::{Stage, data_until, next_event},
};
use axum::{
    Router,
    extract::{Request, State},
    http::request::Parts,
    middleware::{Next, from_fn_with_state},
    routing::any,
};
use axum_eventstream::{Channel, Event, EventStream, EventStreamBuilder, History};
use futures_util::{FutureExt, future::join_all};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::watch;

/// The channels of a client: as many as it asks for, with names of so many bytes, and a last one.
fn channels(parts: &Parts) -> Vec<String> {
    let query = parts.uri.query().unwrap_or_default();
    let pairs: Vec<_> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let value = |name| {
        pairs
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    };
    let number = |name, default| value(name).map_or(default, |value| value.parse().unwrap());
    let (of, fill) = (
        value("of").unwrap_or("x"),
        value("fill").map_or('x', |_| '\u{65e5}'),
    );
    let bytes = number("bytes", 1);
    let names = (0..number("count", 1)).map(|n| name(of, n, bytes, fill));
    names.chain(value("last").map(str::to_owned)).collect()
}

fn name(of: &str, n: usize, bytes: usize, fill: char) -> String {
    let start = format!("{of}-{n}");
    let missing = bytes.saturating_sub(start.len()) / fill.len_utf8();
    start + &*String::from(fill).repeat(missing)
}

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/mine", any(es.handler(channels)))
        .route("/missed/{link}", any(es.link_handler()))
}

fn builder(control_uri: &str, path: Option<&str>) -> EventStreamBuilder {
    let builder = EventStream::builder().grip(control_uri);
    let builder = builder.history(History::memory().events(1000));
    match path {
        Some(path) => builder.grip_link_path(path),
        None => builder,
    }
}

/// The bytes of a response's head. Its date was left out.
fn head_bytes(response: &Response) -> usize {
    const DATE: &str = "date: Thu, 01 Jan 1970 00:00:00 GMT";
    let lines = response.headers();
    let lines = lines.iter().copied().chain([response.status(), DATE, ""]);
    lines.map(|line| line.len() + 2).sum()
}

/// What a proxy repeats of the channels that it holds.
fn held_positions(held: &Response, holds: usize) -> Vec<String> {
    let channels = held.header("grip-channel").unwrap_or_default();
    let channels = channels.split(", ").take(holds);
    channels
        .map(|channel| channel.replace("prev-id", "last-id"))
        .collect()
}

async fn serve(builder: EventStreamBuilder) -> (EventStream, SocketAddr) {
    let es = builder.build().unwrap();
    let origin = server::start(app(&es), false).await;
    (es, origin)
}

/// What Pushpin 1.41 takes as the head of a response.
const HEAD: usize = 8192;

#[tokio::test]
async fn a_head_that_a_proxy_takes_is_held_and_recovers_and_any_other_is_refused() {
    let history = |path| serve(builder(NO_PROXY, path));
    let without = serve(EventStream::builder().grip(NO_PROXY));
    let origins = [
        history(None).await.1,
        history(Some("/missed")).await.1,
        without.await.1,
    ];
    let [.., without] = origins;
    for (count, bytes, more, by_history, without_history) in [
        (1, 255, "", true, true),
        (20, 255, "", true, true),
        (20, 255, "&fill=y", true, true),
        (60, 41, "", true, true),
        (50, 41, "&fill=y", true, true),
        (60, 41, "&fill=y", false, true),
        (59, 20, "", true, true),
        (60, 50, "", false, true),
        (61, 5, "", false, true),
        (100, 20, "", false, true),
        (100, 100, "", false, false),
        (29, 255, "", false, false),
    ] {
        let target = format!("/mine?count={count}&bytes={bytes}{more}");
        for origin in origins {
            let answer = client::get(origin, &target, &[SIGNED]).await;
            let is_held = if origin == without {
                without_history
            } else {
                by_history
            };
            if !is_held {
                assert_eq!(answer.status(), "HTTP/1.1 400 Bad Request", "{target}");
                let text = answer.whole().await;
                let (_, body) = text.split_once("\n\n").unwrap();
                let reason = match count > 60 && origin != without {
                    true => "more than 60 channels, and no proxy can recover more with history\n",
                    false => {
                        " bytes long, and a proxy takes 8192: name fewer channels, or shorter ones\n"
                    }
                };
                assert!(body.ends_with(reason), "{target}: {body}");
                continue;
            }
            assert_eq!(answer.status(), "HTTP/1.1 200 OK", "{target}");
            assert!(
                head_bytes(&answer) <= HEAD,
                "{target}: {}",
                head_bytes(&answer)
            );
            let Some(link) = link(&answer, "next") else {
                assert_eq!(origin, without);
                continue;
            };
            for holds in [count.min(20), count] {
                let again = follow(origin, &link, &held_positions(&answer, holds)).await;
                assert_eq!(again.header("grip-hold"), Some("stream"), "{target}");
                let (new, old) = (again.header("grip-channel"), answer.header("grip-channel"));
                assert_eq!(new, old, "{target}");
            }
        }
    }
}

/// Pages name their channels in the link.
#[tokio::test]
async fn a_page_that_a_proxy_cannot_ask_for_is_a_reset() {
    let (es, origin) = serve(builder(NO_PROXY, None)).await;
    let before = es.current_id().unwrap().to_string();
    let publisher = |name: String| es.channel_publisher(name).unwrap();
    for n in 0..3 {
        for fill in ['x', '\u{65e5}'] {
            let event = Event::text("message", "x".repeat(30_000)).unwrap();
            // No proxy is there, but the history has it after the first poll.
            let publisher = publisher(name("x", n, 255, fill));
            let _ = publisher.publish_event(event).now_or_never();
        }
    }
    let last = ("last-event-id", &*before);
    let short = client::get(origin, "/mine?count=20&bytes=255", &[SIGNED, last]).await;
    assert_eq!(short.header("grip-hold"), None, "it is a page");
    assert!(head_bytes(&short) <= HEAD);
    let next = link(&short, "next").unwrap();
    let rest = follow(origin, &next, &[]).await;
    assert_eq!(rest.header("grip-hold"), Some("stream"));

    let path = "a".repeat(1000);
    let long = Router::new().route(&format!("/{path}"), any(es.handler(channels)));
    let origin = server::start(long, false).await;
    let target = format!("/{path}?count=20&bytes=255&fill=y");
    let reset = client::get(origin, &target, &[SIGNED, last]).await;
    assert_eq!(
        reset.header("grip-hold"),
        Some("stream"),
        "{:?}",
        reset.headers()
    );
    assert!(head_bytes(&reset) <= HEAD);
    let body = reset.whole().await;
    let gone: Vec<_> = (0..3)
        .map(|n| format!("\"{}\"", name("x", n, 255, '\u{65e5}')))
        .collect();
    let expected = format!(
        "event: stream-reset\ndata: {{\"channels\":[{}],\"missed\":null}}\n",
        gone.join(",")
    );
    assert!(body.contains(&expected), "{body}");
    assert!(!body.contains("xxxxx"), "nothing was sent");
}

/// Both hooks are called for a client, or neither.
#[tokio::test]
async fn a_gone_link_that_does_not_fit_is_left_out_and_no_hook_is_called() {
    let calls = Arc::<AtomicUsize>::default();
    let hook = || {
        let calls = calls.clone();
        move |_: &[Channel], _: &Parts| _ = calls.fetch_add(1, SeqCst)
    };
    let hooked = builder(NO_PROXY, Some("/missed"))
        .on_subscribe(hook())
        .on_unsubscribe(hook());
    let (_es, origin) = serve(hooked).await;
    let headers = [SIGNED, ("grip-feature", "link:gone")];
    let held = client::get(origin, "/mine?count=20&bytes=40", &headers).await;
    let gone = link(&held, "gone").expect("it fits");
    assert!(head_bytes(&held) <= HEAD);
    assert_eq!(calls.load(SeqCst), 1);
    let post = format!("POST {gone} HTTP/1.1");
    let told = client::send(origin, &post, &[SIGNED, ("content-length", "0")]).await;
    assert_eq!((told.status(), calls.load(SeqCst)), ("HTTP/1.1 200 OK", 2));
    let held = client::get(origin, "/mine?count=20&bytes=255", &headers).await;
    assert_eq!(held.header("grip-hold"), Some("stream"));
    assert_eq!(link(&held, "gone"), None, "it does not fit");
    assert!(head_bytes(&held) <= HEAD);
    assert_eq!(calls.load(SeqCst), 2);
}

/// Events that the proxy never sees.
async fn publish_missed(stage: &Stage, channels: &[String], each: usize) {
    stage.gate.drops(true);
    let publish =
        |channel, n| async move { publish(&stage.es, channel, &missed(channel, n)).await };
    let publishes = channels
        .iter()
        .flat_map(|channel| (0..each).map(move |n| publish(channel, n)));
    join_all(publishes).await;
    stage.gate.drops(false);
}

/// A text of a kilobyte.
fn missed(channel: &str, n: usize) -> String {
    format!("{channel} {n} {}", "x".repeat(1000))
}

/// A client that reconnects, and the data of the events that it has received.
struct Client {
    channel: String,
    response: Response,
    received: Vec<String>,
}

impl Client {
    async fn connect(stage: &Stage, user: &str, after: Duration, last: &str) -> Self {
        tokio::time::sleep(after).await;
        let (target, channel) = (format!("/mine?of={user}"), format!("{user}-0"));
        let headers = [("last-event-id", last)];
        let mut response = stage.hold(&target, &[&channel], &headers).await;
        response.next_event().await.expect("the opening");
        Self {
            channel,
            response,
            received: Vec::new(),
        }
    }

    async fn read_until(&mut self, last: &str) {
        self.received = data_until(&mut self.response, last).await;
    }
}

/// Clients that reconnect one after another, and receive the missed events and a live one.
async fn reconnect(stage: &Stage, users: &[String], spacing: Duration, last: &str) -> Vec<Client> {
    let connects = users.iter().enumerate();
    let connects = connects.map(|(n, user)| Client::connect(stage, user, spacing * n as u32, last));
    let mut clients = join_all(connects).await;
    let mut channels: Vec<_> = clients
        .iter()
        .map(|client| client.channel.clone())
        .collect();
    channels.dedup();
    for channel in &channels {
        publish(&stage.es, channel, &format!("live on {channel}")).await;
    }
    let reads = clients.iter_mut().map(|client| async {
        let last = format!("live on {}", client.channel);
        client.read_until(&last).await;
    });
    join_all(reads).await;
    clients
}

fn numbers(received: &[String]) -> Vec<&str> {
    received
        .iter()
        .map(|data| data.trim_end_matches('x'))
        .collect()
}

/// The data that a client of a channel receives after it has missed so many events.
fn expected(channel: &str, each: usize) -> Vec<String> {
    let events = (0..each).map(|n| missed(channel, n));
    events.chain([format!("live on {channel}")]).collect()
}

async fn clients_with_a_channel_each_get_their_own_events(path: Option<&str>) {
    const CLIENTS: usize = 20;
    const MISSED: usize = 200;
    let build = |control_uri: &str| builder(control_uri, path);
    let stage = Stage::set(|pushpin| pushpin, build, app).await;
    for spacing in [0, 2, 10, 50] {
        let users: Vec<_> = (0..CLIENTS).map(|n| format!("s{spacing}u{n}")).collect();
        let channels: Vec<_> = users.iter().map(|user| format!("{user}-0")).collect();
        let last = stage.es.current_id().unwrap().to_string();
        publish_missed(&stage, &channels, MISSED).await;
        let spacing = Duration::from_millis(spacing);
        let mut clients = reconnect(&stage, &users, spacing, &last).await;
        for client in &clients {
            let expected = expected(&client.channel, MISSED);
            assert!(
                client.received == expected,
                "{spacing:?}, {}: {:?}",
                client.channel,
                numbers(&client.received)
            );
        }
        // Each is still on its own channel only.
        for channel in &channels {
            publish(&stage.es, channel, "end").await;
        }
        for client in &mut clients {
            client.read_until("end").await;
            assert_eq!(client.received, ["end"], "{spacing:?}, {}", client.channel);
        }
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn clients_that_reconnect_together_get_their_own_events_by_fragments() {
    clients_with_a_channel_each_get_their_own_events(None).await;
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn clients_that_reconnect_together_get_their_own_events_by_a_link_path() {
    clients_with_a_channel_each_get_their_own_events(Some("/missed")).await;
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn clients_of_one_channel_each_get_everything_once() {
    const CLIENTS: usize = 10;
    const MISSED: usize = 300;
    let build = |control_uri: &str| builder(control_uri, None);
    let stage = Stage::set(|pushpin| pushpin, build, app).await;
    for spacing in [0, 5, 200] {
        let user = format!("s{spacing}");
        let channel = format!("{user}-0");
        let last = stage.es.current_id().unwrap().to_string();
        publish_missed(&stage, std::slice::from_ref(&channel), MISSED).await;
        let users = vec![user; CLIENTS];
        let clients = reconnect(&stage, &users, Duration::from_millis(spacing), &last).await;
        for client in &clients {
            assert!(
                client.received == expected(&channel, MISSED),
                "{spacing} ms: {:?}",
                numbers(&client.received)
            );
        }
    }
}

/// A client on several channels, all of which the proxy holds or would hold.
async fn hold_many(stage: &Stage, user: &str, query: &str, held: &str) -> Response {
    let target = format!("/mine?of={user}&{query}");
    let mut client = stage.hold(&target, &[held], &[]).await;
    client.next_event().await.expect("the opening");
    client
}

/// Lets link requests wait until there are two: requests that a proxy merges do not get further.
async fn overlap(
    State(requests): State<Arc<watch::Sender<usize>>>,
    request: Request,
    next: Next,
) -> axum::response::Response {
    if request
        .uri()
        .query()
        .is_some_and(|query| query.starts_with("grip-next="))
    {
        requests.send_modify(|requests| *requests += 1);
        let mut requests = requests.subscribe();
        requests.wait_for(|requests| *requests >= 2).await.unwrap();
    }
    next.run(request).await
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_reset_names_the_channel_of_the_client_that_the_proxy_left_out() {
    let build = |control_uri: &str| builder(control_uri, None);
    let overlapping = |es: &EventStream| app(es).layer(from_fn_with_state(Arc::default(), overlap));
    let stage = Stage::set(|pushpin| pushpin, build, overlapping).await;
    // The proxy holds the first 20 channels, which are the same for both.
    let last = ["of-one", "of-other"];
    let mut clients = Vec::new();
    for last in last {
        let target = format!("/mine?of=all&count=20&last={last}");
        let mut client = stage.hold(&target, &["all-9"], &[]).await;
        client.next_event().await.expect("the opening");
        clients.push(client);
    }
    stage.gate.drops(true);
    publish(&stage.es, "all-5", "missed").await;
    for channel in last {
        publish(&stage.es, channel, "of the channel left out").await;
    }
    stage.gate.drops(false);
    publish(&stage.es, "all-5", "live").await;
    for (client, channel) in clients.iter_mut().zip(last) {
        let reset = next_event(client).await.unwrap();
        let expected = format!(
            "event: stream-reset\ndata: {{\"channels\":[\"{channel}\"],\"missed\":null}}\n"
        );
        assert!(reset.starts_with(&expected), "{reset}");
        assert_eq!(data_until(client, "live").await, ["missed", "live"]);
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_stream_of_sixty_channels_recovers() {
    const CHANNELS: usize = 60;
    let build = |control_uri: &str| builder(control_uri, Some("/missed"));
    let raised = |pushpin: pushpin::Builder| pushpin.set("connection_subscription_max", "60");
    let stage = Stage::set(raised, build, app).await;
    let names: Vec<_> = (0..CHANNELS).map(|n| name("u", n, 41, 'x')).collect();
    let query = format!("count={CHANNELS}&bytes=41");
    let mut client = hold_many(&stage, "u", &query, names.iter().max().unwrap()).await;
    for round in ["first", "second"] {
        stage.gate.drops(true);
        for name in &names {
            publish(&stage.es, name, &format!("{round} on {name}")).await;
        }
        stage.gate.drops(false);
        publish(&stage.es, &names[7], round).await;
        let mut expected: Vec<_> = names
            .iter()
            .map(|name| format!("{round} on {name}"))
            .collect();
        expected.push(round.to_owned());
        assert_eq!(data_until(&mut client, round).await, expected);
    }
}

/// With fewer channels than every proxy repeats, the application cannot know which are missing.
#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_proxy_that_holds_too_few_channels_ends_the_stream() {
    let build = |control_uri: &str| builder(control_uri, None);
    let lowered = |pushpin: pushpin::Builder| pushpin.set("connection_subscription_max", "3");
    let stage = Stage::set(lowered, build, app).await;
    let mut client = hold_many(&stage, "u", "count=4", "u-2").await;
    stage.gate.drops(true);
    publish(&stage.es, "u-0", "missed").await;
    stage.gate.drops(false);
    publish(&stage.es, "u-0", "live").await;
    assert_eq!(client.rest().await, "");
    assert!(client.is_complete());
}
