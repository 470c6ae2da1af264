//! Recovery links: how many channels and how long names they carry, and that Pushpin, which merges link
//! requests, gives each client its own events.

use super::{NO_PROXY, SIGNED, follow, link, recovering};
use crate::support::{
    client::{self, Response},
    current_id, message, publish, pushpin, reset, server,
    stage::{Stage, data_until, next_event},
};
use axum::{
    Router,
    extract::{Request, State},
    http::request::Parts,
    middleware::{Next, from_fn_with_state},
    routing::any,
};
use axum_eventstream::{Channel, EventStream, EventStreamBuilder, History};
use futures_util::future::join_all;
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
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let number = |name, default| value(name).map_or(default, |value| value.parse().unwrap());
    let of = value("of").unwrap_or("x");
    let fill = value("fill").map_or('x', |_| '\u{65e5}');
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
    recovering(control_uri, path).history(History::memory().events(1000))
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
    let last = |channel: &str| channel.replace("prev-id", "last-id");
    channels.split(", ").take(holds).map(last).collect()
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
            let is_held = match origin == without {
                true => without_history,
                false => by_history,
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
            let bytes = head_bytes(&answer);
            assert!(bytes <= HEAD, "{target}: {bytes}");
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
    let before = current_id(&es);
    for n in 0..3 {
        for fill in ['x', '\u{65e5}'] {
            let channel = name("x", n, 255, fill);
            es.try_publish(channel, message("x".repeat(30_000)))
                .unwrap();
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
    let answer = client::get(origin, &target, &[SIGNED, last]).await;
    let headers = answer.headers();
    assert_eq!(answer.header("grip-hold"), Some("stream"), "{headers:?}");
    assert!(head_bytes(&answer) <= HEAD);
    let body = answer.whole().await;
    let gone: Vec<_> = (0..3).map(|n| name("x", n, 255, '\u{65e5}')).collect();
    assert!(body.contains(&reset(&gone)), "{body}");
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

/// Events that the proxy never receives.
async fn publish_missed(stage: &Stage, channels: &[String], each: usize) {
    let of = |channel| (0..each).map(move |n| (channel, missed(channel, n)));
    let events = channels.iter().map(String::as_str).flat_map(of);
    stage.publish_missed(events).await;
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

    fn assert_received(&self, expected: &[String]) {
        let numbers = self.received.iter().map(|data| data.trim_end_matches('x'));
        let numbers: Vec<_> = numbers.collect();
        assert!(self.received == expected, "{}: {numbers:?}", self.channel);
    }
}

/// Clients that reconnect one after another, and receive the missed events and a live one.
async fn reconnect(stage: &Stage, users: &[String], spacing: Duration, last: &str) -> Vec<Client> {
    let connects = users.iter().enumerate();
    let connects = connects.map(|(n, user)| Client::connect(stage, user, spacing * n as u32, last));
    let mut clients = join_all(connects).await;
    let channels = clients.iter().map(|client| client.channel.clone());
    let mut channels: Vec<_> = channels.collect();
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

/// The data that a client of a channel receives after it has missed so many events.
fn expected(channel: &str, each: usize) -> Vec<String> {
    let events = (0..each).map(|n| missed(channel, n));
    events.chain([format!("live on {channel}")]).collect()
}

async fn clients_with_a_channel_each_get_their_own_events(path: Option<&str>) {
    const CLIENTS: usize = 20;
    const MISSED: usize = 100;
    let stage = Stage::start(|control_uri| builder(control_uri, path), app).await;
    for spacing in [0, 2, 10, 50] {
        let users: Vec<_> = (0..CLIENTS).map(|n| format!("s{spacing}u{n}")).collect();
        let channels: Vec<_> = users.iter().map(|user| format!("{user}-0")).collect();
        let last = current_id(&stage.es);
        publish_missed(&stage, &channels, MISSED).await;
        let spacing = Duration::from_millis(spacing);
        let mut clients = reconnect(&stage, &users, spacing, &last).await;
        for client in &clients {
            client.assert_received(&expected(&client.channel, MISSED));
        }
        // Each is still on its own channel only.
        for channel in &channels {
            publish(&stage.es, channel, "end").await;
        }
        for client in &mut clients {
            client.read_until("end").await;
            client.assert_received(&["end".to_owned()]);
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
    let stage = Stage::start(|control_uri| builder(control_uri, None), app).await;
    for spacing in [0, 5, 200] {
        let user = format!("s{spacing}");
        let channel = format!("{user}-0");
        let last = current_id(&stage.es);
        publish_missed(&stage, std::slice::from_ref(&channel), MISSED).await;
        let users = vec![user; CLIENTS];
        let clients = reconnect(&stage, &users, Duration::from_millis(spacing), &last).await;
        for client in &clients {
            client.assert_received(&expected(&channel, MISSED));
        }
    }
}

/// Lets link requests wait until there are two: requests that a proxy merges do not get further.
async fn overlap(
    State(requests): State<Arc<watch::Sender<usize>>>,
    request: Request,
    next: Next,
) -> axum::response::Response {
    let query = request.uri().query().unwrap_or_default();
    if query.starts_with("grip-next=") {
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
        clients.push(stage.listen(&target, &["all-9"]).await);
    }
    let left_out = last.map(|channel| (channel, "of the channel left out"));
    let missed = [("all-5", "missed")].into_iter().chain(left_out);
    stage.publish_missed(missed).await;
    publish(&stage.es, "all-5", "live").await;
    for (client, channel) in clients.iter_mut().zip(last) {
        let event = next_event(client).await.unwrap();
        assert!(event.starts_with(&reset(&[channel])), "{event}");
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
    let target = format!("/mine?of=u&count={CHANNELS}&bytes=41");
    let mut client = stage.listen(&target, &[names.iter().max().unwrap()]).await;
    for round in ["first", "second"] {
        let missed: Vec<_> = names
            .iter()
            .map(|name| format!("{round} on {name}"))
            .collect();
        let events = names.iter().map(String::as_str).zip(&missed);
        stage.publish_missed(events).await;
        publish(&stage.es, &names[7], round).await;
        let expected = [missed, vec![round.to_owned()]].concat();
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
    let mut client = stage.listen("/mine?of=u&count=4", &["u-2"]).await;
    stage.publish_missed([("u-0", "missed")]).await;
    publish(&stage.es, "u-0", "live").await;
    assert_eq!(client.rest().await, "");
    assert!(client.is_complete());
}
