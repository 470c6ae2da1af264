//! The publisher against a control endpoint that records and misbehaves.

use std::collections::HashSet;
use std::error::Error as _;
use std::time::{Duration, SystemTime};

use crate::support::{
    control_server::{Answer, ControlServer, Recorded},
    until,
};
use axum::http::StatusCode;
use axum_eventstream::grip::{
    FailureKind, GripConfig, Item, PublishError, Publisher, PublisherBuilder, Verifier,
};
use axum_eventstream::{Error, ErrorKind};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{runtime::Runtime, task::JoinHandle};

const EC_PRIVATE: &str = include_str!("../keys/ec-private.pem");
const EC_PUBLIC: &str = include_str!("../keys/ec-public.pem");
const RSA_PRIVATE: &str = include_str!("../keys/rsa-private.pem");
const RSA_PUBLIC: &str = include_str!("../keys/rsa-public.pem");

/// Short enough to wait for, long enough for a loopback request on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

static_assertions::assert_impl_all!(Publisher: Clone, Send, Sync, std::fmt::Debug);
static_assertions::assert_impl_all!(PublishError: std::error::Error, Send, Sync);

fn publisher(servers: &[&ControlServer]) -> Publisher {
    build(servers, |builder| builder)
}

fn build(
    servers: &[&ControlServer],
    change: impl FnOnce(PublisherBuilder) -> PublisherBuilder,
) -> Publisher {
    let configs = servers.iter().map(|server| GripConfig::new(server.uri()));
    let builder = Publisher::builder().endpoints(configs);
    change(builder).build().unwrap()
}

fn item(content: impl ToString + Copy) -> Item {
    Item::stream("c", content.to_string())
}

fn spawn(publisher: &Publisher, item: Item) -> JoinHandle<Result<(), PublishError>> {
    let publisher = publisher.clone();
    tokio::spawn(async move { publisher.publish(item).await })
}

/// Checks that every outcome is a success.
fn assert_ok(outcomes: &[Result<(), PublishError>]) {
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

fn assert_contains(error: &PublishError, text: &str) {
    assert!(error.to_string().contains(text), "{error}");
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn only_kind(error: &PublishError) -> FailureKind {
    assert_eq!(error.failures().len(), 1, "{error}");
    error.failures()[0].kind()
}

fn status(error: &PublishError) -> u16 {
    error.failures()[0].status().unwrap().as_u16()
}

#[tokio::test]
async fn a_request_has_the_originals_body_and_type() {
    let server = ControlServer::start().await;
    let config: GripConfig = format!("{}/base/?token=x", server.uri()).parse().unwrap();
    let publisher = Publisher::new([config]).unwrap();
    let item = Item::stream("events-test", "data: é\n\n");
    publisher.publish(item).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        request.body,
        r#"{"items":[{"formats":{"http-stream":{"content":"data: é\n\n"}},"channel":"events-test"}]}"#
    );
    assert_eq!(request.uri, "/base/publish/?token=x");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.headers.get("authorization"), None);
}

#[tokio::test]
async fn a_thousand_publishes_keep_their_order_in_few_requests() {
    let server = ControlServer::start().await;
    let publisher = publisher(&[&server]);
    let all = (0..1000).map(|n| publisher.publish(item(n)));
    assert_ok(&join_all(all).await);
    let expected: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(server.contents(), expected);
    assert!(server.requests().len() <= 3, "{}", server.requests().len());
    let stats = &publisher.stats()[0];
    assert_eq!((stats.sent, stats.failed, stats.queued), (1000, 0, 0));
}

#[tokio::test]
async fn publishes_one_after_the_other_share_connections() {
    let server = ControlServer::start().await;
    server.answer(Answer::Trickle);
    let publisher = publisher(&[&server]);
    for n in 0..20 {
        publisher.publish(item(n)).await.unwrap();
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 20);
    let peers: HashSet<_> = requests.iter().map(|request| request.peer).collect();
    // A request that comes before the last connection is idle again may open another.
    assert!(peers.len() < 10, "{}", peers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_on_many_threads_each_keep_their_order() {
    let server = ControlServer::start().await;
    let publisher = publisher(&[&server]);
    let tasks = (0..8).map(|task| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            for n in 0..100 {
                let item = item(&format!("{task} {n}"));
                publisher.publish(item).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let contents = server.contents();
    assert_eq!(contents.len(), 800);
    for task in 0..8 {
        let start = format!("{task} ");
        let own = contents.iter().filter_map(|text| text.strip_prefix(&start));
        assert!(own.eq((0..100).map(|n| n.to_string())));
    }
}

#[tokio::test]
async fn large_items_are_spread_over_requests_below_the_limit() {
    let server = ControlServer::start().await;
    let publisher = publisher(&[&server]);
    let all = (0..10).map(|n| publisher.publish(item(&format!("{n}{}", "\n".repeat(150_000)))));
    assert_ok(&join_all(all).await);
    let requests = server.requests();
    let is_small = |request: &Recorded| request.body.len() < 1_000_000;
    assert!(requests.iter().all(is_small));
    // The newlines take two bytes each.
    let items = requests.iter().map(|request| request.items().len());
    assert!(items.eq([3, 3, 3, 1]));
    let contents = server.contents();
    let order: String = contents.iter().map(|content| &content[..1]).collect();
    assert_eq!(order, "0123456789");
}

#[tokio::test]
async fn an_oversized_item_fails_alone() {
    let server = ControlServer::start().await;
    let publisher = publisher(&[&server]);
    // Around its content, an item alone in a request has 68 bytes; the request must stay below a million.
    let sizes = [3, 999_932, 999_931, 1_000_000, 500_000_usize];
    let characters = ["x", "x", "x", "x", "\n"];
    let all = characters.into_iter().zip(sizes);
    let all = all.map(|(character, size)| publisher.publish(item(&character.repeat(size))));
    let outcomes = join_all(all).await;
    let failed: Vec<_> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, false, true, true]);
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!(only_kind(error), FailureKind::TooLarge);
    let text = "an item of 999988 bytes does not fit into a request below 1000000";
    assert_contains(error, text);
    assert!(server.contents().iter().map(String::len).eq([3, 999_931]));
    assert_eq!(server.requests()[1].body.len(), 999_999);
}

async fn authorization(server: &ControlServer, change: impl FnOnce(&mut GripConfig)) -> String {
    let mut config = GripConfig::new(server.uri());
    change(&mut config);
    let publisher = Publisher::new([config]).unwrap();
    publisher.publish(item("x")).await.unwrap();
    let last = server.requests().pop().unwrap();
    last.header("authorization").to_owned()
}

#[tokio::test]
async fn each_kind_of_authorization_is_sent() {
    let server = ControlServer::start().await;
    let secret = ("changeme", "changeme");
    for (private, public) in [secret, (EC_PRIVATE, EC_PUBLIC), (RSA_PRIVATE, RSA_PUBLIC)] {
        let signed = |config: &mut GripConfig| {
            config.control_iss = Some("realm".into());
            config.key = Some(private.into());
        };
        let value = authorization(&server, signed).await;
        let verifier = Verifier::new(&public.into()).unwrap().issuer("realm");
        let token = value.strip_prefix("Bearer ").unwrap();
        let now = SystemTime::now();
        assert_eq!(verifier.verify(token, now), Ok(()));
        for (seconds, is_valid) in [(540, true), (601, false)] {
            let then = now + Duration::from_secs(seconds);
            assert_eq!(verifier.verify(token, then).is_ok(), is_valid);
        }
    }
    let bearer = |config: &mut GripConfig| config.key = Some("literal".into());
    assert_eq!(authorization(&server, bearer).await, "Bearer literal");
    let url: GripConfig = "http://us%40er:p%3Ass@h".parse().unwrap();
    let basic = |config: &mut GripConfig| (config.user, config.pass) = (url.user, url.pass);
    let value = authorization(&server, basic).await;
    assert_eq!(value, "Basic dXNAZXI6cDpzcw==");
    assert_eq!(authorization(&server, |_| ()).await, "");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let [server, other] = ControlServer::start_all().await;
    for status in [301, 302, 307, 308] {
        server.answer(Answer::Header(status, "location", other.uri()));
        let error = publisher(&[&server]).publish(item("x")).await.unwrap_err();
        assert_eq!(self::status(&error), status);
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn an_error_names_every_failing_endpoint_and_what_it_said() {
    let [good, bad, worse] = ControlServer::start_all().await;
    bad.answer(Answer::Status(403, "no\r\nway\u{7}"));
    worse.answer(Answer::Close);
    let publisher = publisher(&[&bad, &good, &worse]);
    let error = publisher.publish(item("x")).await.unwrap_err();
    let text = error.to_string();
    let start = format!(
        "publishing failed: {}/: answered 403 Forbidden: no\\r\\nway\\u{{7}} \
         (check `key`, `control_iss`, `user` and `pass`); {}/: ",
        bad.uri(),
        worse.uri()
    );
    assert!(text.starts_with(&start), "{text}");
    let [first, second] = error.failures() else {
        panic!("{text}")
    };
    assert_eq!(first.endpoint(), format!("{}/", bad.uri()));
    assert_eq!(first.kind(), FailureKind::Status(StatusCode::FORBIDDEN));
    assert_eq!(second.kind(), FailureKind::Transport);
    assert_eq!(second.status(), None);
    assert_eq!(good.contents(), ["x"]);
    let counts = publisher.stats().into_iter();
    let counts = counts.map(|stats| (stats.sent, stats.failed, stats.queued));
    assert!(counts.eq([(0, 1, 0), (1, 0, 0), (0, 1, 0)]));

    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Publish);
    assert_eq!(error.to_string(), text);
    assert!(error.source().unwrap().is::<PublishError>());
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let server = ControlServer::start().await;
    let long: &'static str = Box::leak("z".repeat(100_000).into_boxed_str());
    server.answer(Answer::Status(500, long));
    let error = publisher(&[&server]).publish(item("x")).await.unwrap_err();
    let message = error.failures()[0].message();
    assert_eq!(message.matches('z').count(), 1024);
}

#[tokio::test]
async fn a_hanging_endpoint_delays_no_other() {
    let [hanging, healthy] = ControlServer::start_all().await;
    hanging.answer(Answer::Held);
    let publisher = publisher(&[&hanging, &healthy]);
    let first = spawn(&publisher, item("1"));
    hanging.arrived(1).await;
    for n in 2..=5 {
        spawn(&publisher, item(n));
        healthy.arrived(n).await;
    }
    assert_eq!(healthy.contents(), ["1", "2", "3", "4", "5"]);
    assert_eq!(hanging.contents(), ["1"]);
    hanging.release(9);
    first.await.unwrap().unwrap();
    hanging.arrived(2).await;
    assert_eq!(hanging.contents(), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn what_waits_behind_a_hanging_request_times_out_too() {
    let server = ControlServer::start().await;
    server.answer(Answer::Held);
    let publisher = build(&[&server], |builder| builder.timeout(SHORT));
    let first = spawn(&publisher, item("1"));
    server.arrived(1).await;
    let behind = publisher.publish(item("2")).await.unwrap_err();
    let first = first.await.unwrap().unwrap_err();
    for error in [first, behind] {
        assert_eq!(only_kind(&error), FailureKind::Timeout);
        assert_contains(&error, "timed out after 1s");
    }
    server.answer(Answer::Status(200, "Published\n"));
    publisher.publish(item("3")).await.unwrap();
    assert!(server.contents().contains(&"3".to_owned()));
}

#[tokio::test]
async fn a_full_queue_fails_at_once_and_names_the_limit() {
    let server = ControlServer::start().await;
    server.answer(Answer::Held);
    let publisher = build(&[&server], |builder| builder.queue_limit(2));
    let first = spawn(&publisher, item(1));
    server.arrived(1).await;
    let waiting = [spawn(&publisher, item(2)), spawn(&publisher, item(3))];
    tokio::task::yield_now().await;
    let error = publisher.publish(item(4)).await.unwrap_err();
    assert_eq!(only_kind(&error), FailureKind::QueueFull);
    assert_contains(&error, "the queue is full: 2 items wait already");
    server.release(9);
    for task in waiting.into_iter().chain([first]) {
        task.await.unwrap().unwrap();
    }
    assert_eq!(server.contents(), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_dropped_publish_is_sent_all_the_same() {
    let server = ControlServer::start().await;
    let publisher = publisher(&[&server]);
    {
        let dropped = publisher.publish(item("1"));
        let mut dropped = std::pin::pin!(dropped);
        assert!(futures_util::poll!(dropped.as_mut()).is_pending());
    }
    publisher.publish(item("2")).await.unwrap();
    assert_eq!(server.contents(), ["1", "2"]);
}

#[tokio::test]
async fn only_the_refused_item_of_a_batch_fails() {
    for status in [400, 413] {
        let server = ControlServer::start().await;
        server.answer(Answer::Refuse(status, "bad"));
        let publisher = publisher(&[&server]);
        let all = (0..20).map(|n| {
            let channel = if n == 13 { "bad" } else { "good" };
            publisher.publish(Item::stream(channel, n.to_string()))
        });
        let outcomes = join_all(all).await;
        for (n, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.is_err(), n == 13, "{n}");
        }
        let error = outcomes[13].as_ref().unwrap_err();
        assert_eq!(self::status(error), status);
        let is_good = |item: &Value| item["channel"] == "good";
        let is_taken = |request: &Recorded| request.items().iter().all(is_good);
        let taken = server.requests().into_iter().filter(is_taken);
        let taken = taken.flat_map(|request| request.contents());
        let expected = (0..20).filter(|n| *n != 13).map(|n| n.to_string());
        assert!(expected.eq(taken), "{status}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_tried_again() {
    let addr = ControlServer::start().await.addr();
    let publisher = Publisher::new([GripConfig::new(format!("http://{addr}"))]).unwrap();
    let waiting = spawn(&publisher, item("x"));
    until("an attempt fails", || !publisher.stats()[0].healthy).await;
    let server = ControlServer::start_on(addr).await;
    waiting.await.unwrap().unwrap();
    assert_eq!(server.contents(), ["x"]);
}

#[tokio::test]
async fn a_dead_endpoint_is_reported_as_such() {
    let addr = ControlServer::start().await.addr();
    let config = GripConfig::new(format!("http://{addr}/?token=hush"));
    let publisher = Publisher::builder().endpoints([config]).timeout(SHORT);
    let publisher = publisher.build().unwrap();
    let error = publisher.publish(item("x")).await.unwrap_err();
    assert_eq!(only_kind(&error), FailureKind::Connect);
    assert_contains(&error, "Connection refused");
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn a_broken_request_is_sent_again_only_with_ids() {
    let server = ControlServer::start().await;
    let publisher = publisher(&[&server]);
    for answer in [Answer::Close, Answer::Status(503, "later")] {
        server.answer_once(answer.clone());
        assert!(publisher.publish(item("anonymous")).await.is_err());
        server.answer_once(answer.clone());
        publisher.publish(item("named").id("1")).await.unwrap();
        server.answer_once(answer);
        let mixed = [
            publisher.publish(item("a").id("2")),
            publisher.publish(item("b")),
        ];
        assert!(join_all(mixed).await.iter().all(Result::is_err));
    }
    let once = ["anonymous", "named", "named", "a", "b"];
    assert_eq!(server.contents(), [once, once].concat());
}

#[tokio::test]
async fn other_refusals_are_final() {
    let server = ControlServer::start().await;
    let publisher = publisher(&[&server]);
    for status in [400, 401, 404, 500] {
        server.answer_once(Answer::Status(status, "no"));
        let error = publisher.publish(item("x").id("1")).await.unwrap_err();
        assert_eq!(self::status(&error), status);
    }
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn credentials_appear_nowhere() {
    let server = ControlServer::start().await;
    server.answer(Answer::Echo(400));
    let user = "http://hush-user:hush-pass@";
    let uri = server.uri().replace("http://", user);
    let urls = [
        format!("{uri}?token=hush-query"),
        format!("{}?key=hush-key&verify-key=hush-verify", server.uri()),
        format!("{}?iss=realm&key=hush-key", server.uri()),
    ];
    let configs: Vec<GripConfig> = urls.iter().map(|url| url.parse().unwrap()).collect();
    let builder = Publisher::builder().endpoints(configs.clone());
    let publisher = builder.clone().build().unwrap();
    let error = publisher.publish(item("hush-data")).await.unwrap_err();
    assert_eq!(error.failures().len(), 3);
    let stats = publisher.stats();
    let shown = [
        format!("{configs:?} {builder:?} {publisher:?} {stats:?}"),
        format!("{error} {error:?} {:?}", Error::from(error.clone())),
        format!("{:?}", item("hush-data")),
    ];
    let mut secrets = vec!["hush".to_owned()];
    for request in server.requests() {
        let (_, secret) = request.header("authorization").split_once(' ').unwrap();
        secrets.push(secret.to_owned());
    }
    assert_eq!(secrets.len(), 4);
    for secret in &secrets {
        assert!(!shown.concat().contains(secret), "{secret} in {shown:?}");
    }
    assert!(shown[1].contains("[redacted]"), "{}", shown[1]);
}

#[test]
fn a_publisher_outlives_runtimes() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let server = servers.block_on(ControlServer::start());
    let publisher = publisher(&[&server]);

    // With an idle connection of an earlier runtime.
    for n in 1..=3 {
        runtime().block_on(publisher.publish(item(n))).unwrap();
    }

    // With a request on its way and one behind it.
    server.answer_once(Answer::Held);
    let first = runtime();
    let mut behind = Box::pin(publisher.publish(item(5)));
    first.block_on(async {
        spawn(&publisher, item(4));
        server.arrived(4).await;
        assert!(futures_util::poll!(behind.as_mut()).is_pending());
    });
    drop(first);
    let second = runtime();
    let error = second.block_on(behind).unwrap_err();
    assert_eq!(only_kind(&error), FailureKind::Runtime);
    second.block_on(publisher.publish(item(6))).unwrap();
    assert_eq!(server.contents(), ["1", "2", "3", "4", "6"]);
    let stats = &publisher.stats()[0];
    assert_eq!((stats.sent, stats.failed, stats.queued), (4, 2, 0));
}

#[test]
fn publishing_without_a_runtime_is_an_error() {
    let publisher = Publisher::new([GripConfig::new("http://127.0.0.1:9")]).unwrap();
    let error = futures_util::FutureExt::now_or_never(publisher.publish(item("x")));
    let error = error.unwrap().unwrap_err();
    assert_eq!(only_kind(&error), FailureKind::Runtime);
    assert_eq!(publisher.stats()[0].failed, 1);
}

#[test]
fn the_keys_of_all_endpoints_decide_together() {
    let token = signed("http://h?iss=realm&key=s");
    let verify = |urls: &str, token: &str| {
        let publisher = Publisher::new(GripConfig::parse_list(urls).unwrap()).unwrap();
        publisher.verify(token, SystemTime::now()).ok()
    };
    let other_issuer = "http://a?verify-key=s&verify-iss=other http://b?verify-key=t";
    let table = [
        ("", Some(false)),
        ("http://a", Some(true)),
        ("http://a?verify-key=s", Some(true)),
        ("http://a?verify-key=t", None),
        ("http://a?verify-key=t http://b?verify-key=s", Some(true)),
        ("http://a?verify-key=t http://b?verify-key=u", None),
        ("http://a?verify-key=t http://b", Some(true)),
        (other_issuer, None),
    ];
    for (urls, expected) in table {
        assert_eq!(verify(urls, &token), expected, "{urls}");
    }
    assert_eq!(verify("http://a", "garbage"), Some(true));
    assert_eq!(verify("http://a?verify-key=s", "garbage"), None);
}

/// A token as a publish request carries it.
fn signed(config: &str) -> String {
    runtime().block_on(async {
        let server = ControlServer::start().await;
        let config: GripConfig = config.replace("http://h", &server.uri()).parse().unwrap();
        let publisher = Publisher::new([config]).unwrap();
        publisher.publish(item("x")).await.unwrap();
        let value = server.requests()[0].header("authorization").to_owned();
        value.strip_prefix("Bearer ").unwrap().to_owned()
    })
}

#[test]
fn limits_must_make_sense() {
    let build = |change: fn(PublisherBuilder) -> PublisherBuilder| {
        let built = change(Publisher::builder()).build();
        built.unwrap_err().to_string()
    };
    let no_room = "the publish queue has room for nothing: `queue_limit` and `queue_bytes` must be 1 at least";
    assert_eq!(
        build(|b| b.timeout(Duration::ZERO)),
        "the publish timeout of 0ns is not between zero and a day"
    );
    assert!(build(|b| b.timeout(Duration::MAX)).starts_with("the publish timeout of"));
    assert_eq!(build(|b| b.queue_limit(0)), no_room);
    assert_eq!(build(|b| b.queue_bytes(0)), no_room);
}
