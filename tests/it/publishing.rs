//! Several events at once, publishes without waiting, sinks; and subscriptions from a position.

use crate::support::{
    control_server::{Answer, ControlServer},
    message, messages, publish, until, within, without_history,
};
use axum::{Router, extract::State, http::StatusCode, routing::post};
use axum_eventstream::{
    ChannelSink, Error, ErrorKind, Event, EventStream, EventStreamBuilder, History, LastEventId,
    Limits, Published, ReceivedEvent, Subscription,
    grip::{GripConfig, Publisher},
    testing::TestClient,
};
use futures_util::{FutureExt, SinkExt, StreamExt, future::join_all, poll, stream};
use std::{
    pin::pin,
    sync::{Arc, Mutex},
};

static_assertions::assert_impl_all!(ChannelSink: Send, Unpin, std::fmt::Debug);

/// A stream without history that publishes to these servers, too.
fn proxied<const N: usize>(servers: [&ControlServer; N]) -> EventStream {
    let configs = servers.map(|server| GripConfig::new(server.uri()));
    let publisher = Publisher::new(configs).unwrap();
    let builder = EventStream::builder().grip(publisher);
    builder
        .history(History::off().events(1000))
        .build()
        .unwrap()
}

fn remembering(events: usize) -> EventStreamBuilder {
    EventStream::builder().history(History::memory().events(events))
}

fn all(texts: &[&str]) -> Vec<Event> {
    texts.iter().map(message).collect()
}

/// The data of the next events, so many.
async fn data(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let events = subscription.take(count);
    let data = events.map(|event| event.data().into_owned()).collect();
    within("the events", data).await
}

fn sequences(published: &[Published]) -> Vec<u64> {
    let sequence = |published: &Published| published.id.unwrap().sequence();
    published.iter().map(sequence).collect()
}

fn assert_publish_error(error: &Error, servers: &[&ControlServer]) {
    assert_eq!(error.kind(), ErrorKind::Publish);
    let text = error.to_string();
    let failed = servers.iter().map(|server| server.uri());
    let failed = failed.map(|uri| format!("{uri}/: answered 500 Internal Server Error: no"));
    let failed = failed.collect::<Vec<_>>().join("; ");
    let start = "subscribers in this process have the event, but publishing failed: ";
    assert_eq!(text, format!("{start}{failed}"));
}

const REFUSES: Answer = Answer::Status(500, "no");

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_events_have_no_other_event_in_between() {
    const TASKS: usize = 4;
    const ROUNDS: usize = 200;
    let es = remembering(10_000).build().unwrap();
    let mut subscription = es.subscribe("a").unwrap();
    let publishers = (0..TASKS).map(|task| {
        let publisher = es.channel_publisher("a").unwrap();
        tokio::spawn(async move {
            let mut texts = Vec::new();
            for round in 0..ROUNDS {
                let own: [_; 3] = std::array::from_fn(|n| format!("{task} {round} {n}"));
                let events = own.iter().map(message);
                let published = publisher.publish_events(events).await.unwrap();
                let ids = sequences(&published);
                assert_eq!(ids, [ids[0], ids[0] + 1, ids[0] + 2]);
                texts.push((ids[0], own));
                publisher.try_publish(message("alone")).unwrap();
            }
            texts
        })
    });
    let publishers = join_all(publishers).await.into_iter();
    let mut published: Vec<_> = publishers.flat_map(Result::unwrap).collect();
    published.sort_unstable();
    let mut received = data(&mut subscription, 4 * TASKS * ROUNDS).await;
    received.retain(|text| text != "alone");
    let published: Vec<_> = published.into_iter().flat_map(|(_, own)| own).collect();
    assert_eq!(received, published);
}

#[tokio::test]
async fn no_event_is_published_if_one_of_several_is_too_large() {
    let server = ControlServer::start().await;
    let builder = remembering(9).limits(Limits::new().event_bytes(100));
    let es = builder.grip(server.uri()).build().unwrap();
    let mut subscription = es.subscribe("a").unwrap();
    let before = es.current_id();
    let events = [message("1"), message("x".repeat(101)), message("3")];
    let error = es.publish_events("a", events).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert_eq!(es.current_id(), before);
    assert_eq!((es.stats().published, es.stats().refused), (0, 1));
    es.publish_events("a", all(&["4"])).await.unwrap();
    assert_eq!(data(&mut subscription, 1).await, ["4"]);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].items().len(), 1);
}

#[tokio::test]
async fn an_empty_list_of_events_leaves_nothing_behind() {
    let server = ControlServer::start().await;
    let es = remembering(9).grip(server.uri()).build().unwrap();
    let before = (es.stats(), es.current_id());
    assert_eq!(es.publish_events("a", []).await.unwrap(), []);
    let publisher = es.channel_publisher("a").unwrap();
    assert_eq!(publisher.publish_events(None).await.unwrap(), []);
    assert_eq!((es.stats(), es.current_id()), before);
    assert_eq!((es.channels().len(), es.stats().history_bytes), (0, 0));
    assert_eq!(server.requests().len(), 0);
    let error = es.publish_events("a,b", []).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidChannel);
}

#[tokio::test]
async fn several_events_are_one_request_to_each_proxy() {
    let servers = ControlServer::start_all::<2>().await;
    let es = proxied(servers.each_ref());
    let _subscriptions = ["a", "a", "b"].map(|channel| es.subscribe(channel).unwrap());
    let texts: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let events = texts.iter().map(message);
    let published = es.publish_events("a", events).await.unwrap();
    assert_eq!(published.len(), 100);
    let is_as_expected = |one: &Published| (one.id, one.subscribers) == (None, 2);
    assert!(published.iter().all(is_as_expected), "{published:?}");
    for server in &servers {
        assert_eq!(server.requests().len(), 1);
        let contents: String = server.contents().concat();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        assert_eq!(contents, messages(&texts));
    }
}

#[tokio::test]
async fn events_that_a_proxy_refuses_are_published_here_and_to_the_other_proxies() {
    let [good, bad, worse] = ControlServer::start_all().await;
    bad.answer(REFUSES);
    worse.answer(REFUSES);
    let es = proxied([&bad, &good, &worse]);
    let mut subscription = es.subscribe("a").unwrap();
    let events = all(&["1", "2"]);
    let error = es.publish_events("a", events).await.unwrap_err();
    assert_publish_error(&error, &[&bad, &worse]);
    assert_eq!(data(&mut subscription, 2).await, ["1", "2"]);
    assert_eq!(good.contents().concat(), messages(&["1", "2"]));
    let stats = es.stats();
    assert_eq!((stats.grip_published, stats.grip_failures), (2, 4));
}

#[derive(Clone)]
struct Board {
    es: EventStream,
    lines: Arc<Mutex<Vec<String>>>,
}

/// The future of this handler is `Send`, since the guard is not held over an `.await`.
async fn write(State(board): State<Board>, line: String) -> Result<StatusCode, Error> {
    tokio::task::yield_now().await;
    {
        let mut lines = board.lines.lock().unwrap();
        lines.push(line.clone());
        board.es.try_publish("board", message(line))?;
    }
    tokio::task::yield_now().await;
    Ok(StatusCode::NO_CONTENT)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn try_publish_under_a_mutex_keeps_a_state_and_its_events_in_one_order() {
    let server = ControlServer::start().await;
    let (es, lines) = (proxied([&server]), Arc::default());
    let mut subscription = es.subscribe("board").unwrap();
    let board = Board { es, lines };
    let app = Router::new().route("/", post(write));
    let client = TestClient::new(app.with_state(board.clone()));
    let writers = (0..1000).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { client.post("/", n.to_string()).await })
    });
    for written in join_all(writers).await {
        assert_eq!(written.unwrap().status(), StatusCode::NO_CONTENT);
    }
    let lines = board.lines.lock().unwrap().clone();
    assert_eq!(data(&mut subscription, 1000).await, lines);
    let published = || board.es.stats().grip_published == 1000;
    until("the proxy has all", published).await;
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    assert_eq!(server.contents().concat(), messages(&lines));
}

#[tokio::test]
async fn try_publish_waits_for_no_proxy_and_its_failures_are_counted() {
    let server = ControlServer::start().await;
    server.answer(Answer::Held);
    let es = proxied([&server]);
    let publisher = es.channel_publisher("a").unwrap();
    let mut subscription = es.subscribe("a").unwrap();
    let published = es.try_publish("a", message(1)).unwrap();
    assert_eq!((published.id, published.subscribers), (None, 1));
    publisher.try_publish(message(2)).unwrap();
    assert_eq!(data(&mut subscription, 2).await, ["1", "2"]);
    server.arrived(1).await;
    assert_eq!(es.stats().grip_published, 0);
    server.release(2);
    until("the proxy has both", || es.stats().grip_published == 2).await;
    assert!(es.health().is_healthy());

    server.answer(REFUSES);
    es.try_publish("a", message(3)).unwrap();
    assert_eq!(data(&mut subscription, 1).await, ["3"]);
    until("the failure", || es.stats().grip_failures == 1).await;
    assert!(!es.health().is_healthy());
    assert_eq!(es.stats().grip_queued, 0);
}

#[test]
fn try_publish_needs_no_runtime_here_but_a_proxy_does() {
    let es = EventStream::new();
    let subscription = es.subscribe("a").unwrap();
    assert_eq!(es.try_publish("a", message(1)).unwrap().subscribers, 1);
    let mut received = pin!(subscription);
    let event = received.next().now_or_never().flatten().unwrap();
    assert_eq!(event.data(), "1");
    let es = EventStream::builder().grip("http://127.0.0.1:9");
    let es = es.build().unwrap();
    es.try_publish("a", message(1)).unwrap();
    assert_eq!((es.stats().published, es.stats().grip_failures), (1, 1));
}

#[test]
fn an_event_that_try_publish_refuses_is_not_published() {
    let limits = Limits::new().event_bytes(100);
    let es = EventStream::builder().limits(limits).build().unwrap();
    let large = || message("x".repeat(101));
    for (result, kind) in [
        (es.try_publish("a,b", message(1)), ErrorKind::InvalidChannel),
        (es.try_publish("a", large()), ErrorKind::LimitReached),
        (
            es.channel_publisher("a").unwrap().try_publish(large()),
            ErrorKind::LimitReached,
        ),
    ] {
        assert_eq!(result.unwrap_err().kind(), kind);
    }
    assert_eq!(es.stats().published, 0);
}

#[tokio::test]
async fn a_subscription_from_a_position_has_what_follows_or_begins_with_a_reset() {
    let es = remembering(3).build().unwrap();
    let start = es.current_id().unwrap();
    let mut ids = Vec::new();
    for (channel, text) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("a", "5")] {
        let published = es.publish_event(channel, message(text)).await.unwrap();
        ids.push(published.id.unwrap());
    }
    let of_another_process = EventStream::new().current_id().unwrap();
    let future: LastEventId = start.to_string().replace("-0", "-99").parse().unwrap();
    let off = without_history();
    let reset = r#"stream-reset {"channels":["a","b"],"missed":null}"#;
    let reset_of_a = r#"stream-reset {"channels":["a"],"missed":null}"#;
    let missed = ["message 2", "message 3", "message 4", "message 5"];
    let cases = [
        (&es, ids[0], &missed[..]),
        (&es, ids[2], &missed[2..]),
        (&es, ids[4], &[]),
        (&es, start, &[reset_of_a, "message 3"]),
        (&es, future, &[reset]),
        (&es, of_another_process, &[reset]),
        (&off, ids[4], &[reset]),
        (&off, of_another_process, &[reset]),
    ];
    let subscribed = cases.map(|(es, id, expected)| {
        let subscription = es.subscribe_from(["a", "b"], id).unwrap();
        (id, subscription, expected)
    });
    for es in [&es, &off] {
        publish(es, "b", "live").await;
    }
    for (id, subscription, expected) in subscribed {
        let events = subscription.take(expected.len() + 1);
        let event = |event: ReceivedEvent| format!("{} {}", event.event(), event.data());
        let events: Vec<_> = within("the events", events.map(event).collect()).await;
        assert_eq!(events, [expected, &["message live"]].concat(), "{id}");
    }
}

#[tokio::test]
async fn a_refused_subscription_from_a_position_is_counted_once() {
    let es = EventStream::new();
    let id = es.current_id().unwrap();
    let refused = |names: &[&str]| es.subscribe_from(names, id).unwrap_err().kind();
    assert_eq!(refused(&["a,b"]), ErrorKind::InvalidChannel);
    assert_eq!(refused(&[]), ErrorKind::InvalidChannel);
    es.close();
    assert_eq!(refused(&["a"]), ErrorKind::Closed);
    assert_eq!((es.stats().refused, es.stats().subscriptions), (3, 0));
}

/// A sink to a server that holds its answers.
async fn held_sink(
    max_in_flight: impl Into<Option<usize>>,
) -> (ControlServer, EventStream, ChannelSink) {
    let server = ControlServer::start().await;
    server.answer(Answer::Held);
    let es = proxied([&server]);
    let mut sink = es.channel_sink("a").unwrap();
    if let Some(publishes) = max_in_flight.into() {
        sink = sink.max_in_flight(publishes);
    }
    (server, es, sink)
}

#[tokio::test]
async fn a_sink_with_several_in_flight_sends_those_that_wait_in_one_request() {
    let (server, es, mut sink) = held_sink(4).await;
    let mut subscription = es.subscribe("a").unwrap();
    sink.feed(message(1)).await.unwrap();
    server.arrived(1).await;
    for n in 2..=4 {
        let accepted = sink.feed(message(n)).now_or_never();
        accepted.expect("there is room").unwrap();
    }
    let received = data(&mut subscription, 4).await;
    assert_eq!(received, ["1", "2", "3", "4"]);
    {
        let mut fifth = pin!(sink.feed(message(5)));
        assert!(poll!(fifth.as_mut()).is_pending());
        assert_eq!(es.stats().published, 4);
        server.release(1);
        within("the first answer", fifth).await.unwrap();
    }
    server.release(9);
    within("all answers", sink.close()).await.unwrap();
    assert_eq!(es.stats().grip_published, 5);
    let contents = server.contents().concat();
    assert_eq!(contents, messages(&["1", "2", "3", "4", "5"]));
    let second = server.requests()[1].contents().concat();
    let waited = messages(&["2", "3", "4"]);
    assert!(second.starts_with(&waited), "{second}");
}

#[tokio::test]
async fn a_sink_with_one_in_flight_waits_for_each_answer() {
    for max_in_flight in [None, Some(0), Some(1)] {
        let (server, es, mut sink) = held_sink(max_in_flight).await;
        sink.feed(message(1)).await.unwrap();
        {
            let mut second = pin!(sink.feed(message(2)));
            assert!(poll!(second.as_mut()).is_pending());
            server.arrived(1).await;
            assert!(poll!(second.as_mut()).is_pending());
            assert_eq!(es.stats().published, 1);
            server.release(1);
            within("the first answer", second).await.unwrap();
        }
        server.release(1);
        within("the second answer", sink.flush()).await.unwrap();
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn flushing_and_closing_a_sink_wait_for_every_answer() {
    for closes in [false, true] {
        let (server, es, mut sink) = held_sink(9).await;
        for n in 1..=2 {
            sink.feed(message(n)).await.unwrap();
            server.arrived(1).await;
        }
        {
            let mut flushed = pin!(async {
                match closes {
                    true => sink.close().await,
                    false => sink.flush().await,
                }
            });
            assert!(poll!(flushed.as_mut()).is_pending());
            server.release(1);
            until("the first answer", || es.stats().grip_published == 1).await;
            server.arrived(2).await;
            assert!(poll!(flushed.as_mut()).is_pending());
            server.release(1);
            within("all answers", flushed).await.unwrap();
        }
        assert_eq!(es.stats().grip_published, 2);
    }
}

#[tokio::test]
async fn a_sink_reports_each_failure_once_and_goes_on() {
    let (server, es, mut sink) = held_sink(4).await;
    let mut subscription = es.subscribe("a").unwrap();
    server.answer(Answer::Status(200, "Published\n"));
    server.answer_once(REFUSES);
    sink.feed(message(1)).await.unwrap();
    server.arrived(1).await;
    sink.feed(message(2)).await.unwrap();
    let failed = within("the answers", sink.flush()).await;
    assert_publish_error(&failed.unwrap_err(), &[&server]);
    within("the answers", sink.flush()).await.unwrap();
    sink.send(message(3)).await.unwrap();

    // With one in flight, the next call reports it, and the event of that call is not published.
    let mut sink = sink.max_in_flight(1);
    server.answer_once(REFUSES);
    sink.feed(message(4)).await.unwrap();
    let failed = within("the answer", sink.feed(message(5))).await;
    assert_publish_error(&failed.unwrap_err(), &[&server]);
    sink.send(message(6)).await.unwrap();
    let received = data(&mut subscription, 5).await;
    assert_eq!(received, ["1", "2", "3", "4", "6"]);
    assert_eq!(
        (es.stats().grip_published, es.stats().grip_failures),
        (3, 2)
    );
}

#[tokio::test]
async fn a_sink_refuses_an_event_that_is_too_large_and_goes_on() {
    let limits = Limits::new().event_bytes(100);
    let es = EventStream::builder().limits(limits).build().unwrap();
    let mut sink = es.channel_sink("a").unwrap().max_in_flight(4);
    let error = sink.send(message("x".repeat(101))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let mut events = stream::iter((1..=100).map(|n| Ok(message(n))));
    let mut subscription = es.subscribe("a").unwrap();
    sink.send_all(&mut events).await.unwrap();
    let expected: Vec<_> = (1..=100).map(|n| n.to_string()).collect();
    assert_eq!(data(&mut subscription, 100).await, expected);
}
