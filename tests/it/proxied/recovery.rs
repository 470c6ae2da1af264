//! Nothing is lost silently behind a proxy that misses events, restarts or is killed.

use super::{NO_PROXY, SIGNED, link};
use crate::support::{
    client::{self, Response},
    publish,
    pushpin::Pushpin,
    server,
    stage::{self, PROBE, Stage, data_until},
    until,
    wire::Wire,
};
use axum::{Router, routing::get};
use axum_eventstream::{Event, EventStream, EventStreamBuilder, History};
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/events/{id}", get(es.handler("{id}")))
        .route("/both", get(es.handler(["a", "b"])))
        .route("/missed/{link}", get(es.link_handler()))
}

fn builder(control_uri: &str) -> EventStreamBuilder {
    let builder = EventStream::builder().grip(control_uri);
    builder
        .history(History::memory())
        .grip_link_key("a secret of all instances")
}

fn id(event: &str) -> Option<&str> {
    event.lines().find_map(|line| line.strip_prefix("id: "))
}

async fn set(change: impl FnOnce(EventStreamBuilder) -> EventStreamBuilder) -> Stage {
    Stage::set(
        |pushpin| pushpin,
        |control_uri| change(builder(control_uri)),
        app,
    )
    .await
}

/// A client that has got its opening.
async fn listen_to_a(stage: &Stage) -> Response {
    let mut client = stage.hold("/events/a", &["a"], &[]).await;
    client.next_event().await.unwrap();
    client
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_proxy_that_missed_an_event_asks_for_it() {
    let stage = set(|builder| builder).await;
    let mut client = listen_to_a(&stage).await;
    publish(&stage.es, "a", "1").await;
    assert_eq!(data_until(&mut client, "1").await, ["1"]);
    stage.gate.drops(true);
    publish(&stage.es, "a", "2").await;
    publish(&stage.es, "a", "3").await;
    stage.gate.drops(false);
    publish(&stage.es, "a", "4").await;
    assert_eq!(data_until(&mut client, "4").await, ["2", "3", "4"]);
    publish(&stage.es, "a", "5").await;
    assert_eq!(data_until(&mut client, "5").await, ["5"]);
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn each_of_several_channels_recovers_what_it_missed() {
    let stage = set(|builder| builder.grip_link_path("/missed")).await;
    publish(&stage.es, "b", "before").await;
    let mut client = stage.hold("/both?x=1", &["a", "b"], &[]).await;
    client.next_event().await.unwrap();
    stage.gate.drops(true);
    for n in 1..=6 {
        publish(
            &stage.es,
            if n % 2 == 0 { "a" } else { "b" },
            &n.to_string(),
        )
        .await;
    }
    stage.gate.drops(false);
    publish(&stage.es, "b", "7").await;
    assert_eq!(
        data_until(&mut client, "7").await,
        ["1", "2", "3", "4", "5", "6", "7"]
    );
    publish(&stage.es, "a", "8").await;
    publish(&stage.es, "b", "9").await;
    assert_eq!(data_until(&mut client, "9").await, ["8", "9"]);
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_client_that_comes_back_gets_what_it_missed() {
    let stage = set(|builder| builder).await;
    let mut client = stage.hold("/events/a", &["a"], &[]).await;
    let open = client.next_event().await.unwrap();
    let opening = id(&open).expect("the position it starts from").to_owned();
    publish(&stage.es, "a", "1").await;
    publish(&stage.es, "b", "not for this client").await;
    let first = client.next_event().await.unwrap();
    drop(client);
    publish(&stage.es, "a", "2").await;
    for (id, expected) in [
        (id(&first).unwrap(), vec!["", "2", "3"]),
        (&opening, vec!["", "1", "2", "3", "4"]),
    ] {
        let headers = [("last-event-id", id)];
        let mut client = stage.hold("/events/a", &["a"], &headers).await;
        publish(&stage.es, "a", expected.last().unwrap()).await;
        assert_eq!(
            data_until(&mut client, expected.last().unwrap()).await,
            expected
        );
    }
    for unknown in ["0123456789ab-1", "garbage", "error2"] {
        let mut client = client::get(
            stage.proxy.address(),
            "/events/a",
            &[("last-event-id", unknown)],
        )
        .await;
        assert!(
            client
                .next_event()
                .await
                .unwrap()
                .starts_with("event: stream-open\n")
        );
        let reset = client.next_event().await.unwrap();
        assert!(reset.starts_with(
            "event: stream-reset\ndata: {\"channels\":[\"a\"],\"missed\":null}\nid: "
        ));
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn much_that_was_missed_comes_in_pages() {
    let stage = set(|builder| builder).await;
    let mut client = listen_to_a(&stage).await;
    let large = |n: usize| format!("{n} {}", "x".repeat(10_000));
    stage.gate.drops(true);
    for n in 1..=40 {
        publish(&stage.es, "a", &large(n)).await;
    }
    stage.gate.drops(false);
    publish(&stage.es, "a", "last").await;
    let mut expected: Vec<_> = (1..=40).map(large).collect();
    expected.push("last".to_owned());
    let got = data_until(&mut client, "last").await;
    let numbers = |all: &[String]| -> Vec<String> {
        all.iter()
            .map(|data| data.chars().take(4).collect())
            .collect()
    };
    assert_eq!(numbers(&got), numbers(&expected));
    assert!(got == expected);
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn what_is_no_longer_there_is_told() {
    let stage = set(|builder| builder.history(History::memory().events(2))).await;
    let mut client = listen_to_a(&stage).await;
    stage.gate.drops(true);
    for n in 1..=4 {
        publish(&stage.es, "a", &n.to_string()).await;
    }
    stage.gate.drops(false);
    publish(&stage.es, "a", "5").await;
    let reset = client.next_event().await.unwrap();
    assert!(
        reset
            .starts_with("event: stream-reset\ndata: {\"channels\":[\"a\"],\"missed\":null}\nid: "),
        "{reset}"
    );
    publish(&stage.es, "a", "6").await;
    assert_eq!(data_until(&mut client, "6").await, ["6"]);
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_lost_last_event_is_found_by_asking_now_and_then() {
    let stage = set(|builder| builder.grip_poll(Duration::from_secs(1))).await;
    let mut client = listen_to_a(&stage).await;
    stage.gate.drops(true);
    publish(&stage.es, "a", "lost, and nothing follows").await;
    stage.gate.drops(false);
    data_until(&mut client, "lost, and nothing follows").await;
}

/// The next application on its address has an empty history.
#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_restarted_application_tells_what_it_cannot_know() {
    let start = async |proxy: &Pushpin| {
        let es = builder(&proxy.control_uri()).build().unwrap();
        let address = server::start(app(&es), false).await;
        (es, address)
    };
    // A connection that the proxy keeps leads to the application that has accepted it, unless it is cut.
    let (_, nowhere) = server::bind().await;
    let origin = Wire::to(nowhere).await;
    let proxy = Pushpin::builder().origin(origin.address()).start().await;
    let (es, address) = start(&proxy).await;
    origin.lead_to(address);
    let probe = async || publish(&es, "a", PROBE).await;
    let mut client = stage::hold(&proxy, "/events/a", &[], &["events-a"], probe).await;
    client.next_event().await.unwrap();
    publish(&es, "a", "1").await;
    assert_eq!(data_until(&mut client, "1").await, ["1"]);
    origin.cut();
    drop(es);
    let (es, address) = start(&proxy).await;
    origin.lead_to(address);
    publish(&es, "a", "2").await;
    let reset = client.next_event().await.unwrap();
    assert!(reset.starts_with("event: stream-reset\n"), "{reset}");
    publish(&es, "a", "3").await;
    assert_eq!(data_until(&mut client, "3").await, ["3"]);
}

/// How long a client waits for an answer before it asks again: a proxy may be killed before it gives one.
const ANSWER: Duration = Duration::from_secs(5);

/// What a client has seen, and whether it has an answer to its last request.
#[derive(Debug, Default)]
struct Seen {
    events: Mutex<Vec<String>>,
    is_answered: AtomicBool,
}

/// A client that reconnects with its last id, as browsers do.
async fn browse(proxy: SocketAddr, last: &str, seen: Arc<Seen>) {
    let mut last_id = String::new();
    loop {
        seen.is_answered.store(false, SeqCst);
        let mut request = reqwest::Client::new().get(format!("http://{proxy}/events/a"));
        if !last_id.is_empty() {
            request = request.header("last-event-id", &last_id);
        }
        let answer = tokio::time::timeout(ANSWER, request.send()).await;
        let Ok(Ok(Ok(response))) = answer.map(|sent| sent.map(reqwest::Response::error_for_status))
        else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        seen.is_answered.store(true, SeqCst);
        let mut events = response.bytes_stream().eventsource();
        while let Some(Ok(event)) = events.next().await {
            last_id = event.id;
            if event.event != "message" {
                assert_ne!(event.event, "stream-reset", "nothing was missing");
                continue;
            }
            let is_last = event.data == last;
            seen.events.lock().unwrap().push(event.data);
            if is_last {
                return;
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_proxy_that_is_killed_while_events_are_published_loses_none() {
    const EVENTS: usize = 300;
    let (listener, origin) = server::bind().await;
    let mut proxy = Pushpin::builder().origin(origin).start().await;
    let es = builder(&proxy.control_uri())
        .history(History::memory().events(2 * EVENTS))
        .build()
        .unwrap();
    server::serve(listener, app(&es));
    let seen: Vec<_> = (0..10).map(|_| Arc::<Seen>::default()).collect();
    let last = (EVENTS - 1).to_string();
    let mut first = client::get(proxy.address(), "/events/a", &[]).await;
    first.next_event().await.unwrap();
    let browsers: Vec<_> = seen
        .iter()
        .map(|seen| {
            let (proxy, last, seen) = (proxy.address(), last.clone(), seen.clone());
            tokio::spawn(async move { browse(proxy, &last, seen).await })
        })
        .collect();
    proxy.wait_for_subscribe("events-a", 11).await;
    let failed = Arc::<AtomicUsize>::default();
    let publishing = {
        let (es, failed) = (es.clone(), failed.clone());
        tokio::spawn(async move {
            for n in 0..EVENTS {
                let event = Event::text("message", n.to_string()).unwrap();
                // Events of the outage reach clients when they reconnect.
                if es.publish_event("a", event).await.is_err() {
                    failed.fetch_add(1, SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    until("the proxy takes events", || es.stats().grip_published > 20).await;
    proxy.kill().await;
    proxy.start_again().await;
    publishing.await.unwrap();
    let all = async {
        for browser in browsers {
            browser.await.unwrap();
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .is_err()
    {
        let ends: Vec<_> = seen
            .iter()
            .map(|seen| {
                (
                    seen.events.lock().unwrap().last().cloned(),
                    &seen.is_answered,
                )
            })
            .collect();
        panic!("not all came to the end: {ends:?}");
    }
    let expected: Vec<_> = (0..EVENTS).map(|n| n.to_string()).collect();
    for seen in seen {
        let events = seen.events.lock().unwrap();
        assert_eq!(*events, expected, "none twice, none missing");
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_control_port_that_is_refused_for_two_seconds_loses_nothing() {
    let (listener, origin) = server::bind().await;
    let proxy = Pushpin::builder().origin(origin).start().await;
    let control = Wire::to(proxy.control_address()).await;
    let es = builder(&format!("http://{}/", control.address()));
    let es = es.build().unwrap();
    server::serve(listener, app(&es));
    let probe = async || publish(&es, "a", PROBE).await;
    let mut client = stage::hold(&proxy, "/events/a", &[], &["events-a"], probe).await;
    client.next_event().await.unwrap();
    let address = control.close().await;
    let publishing = {
        let es = es.clone();
        tokio::spawn(async move {
            for text in ["1", "2", "3"] {
                publish(&es, "a", text).await;
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!es.health().is_healthy(), "connections are refused");
    let _control = Wire::on(address, proxy.control_address()).await;
    assert_eq!(data_until(&mut client, "3").await, ["1", "2", "3"]);
    publishing.await.unwrap();
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_closed_channel_ends_the_streams_of_a_proxy_too() {
    for history in [History::memory(), History::off()] {
        let stage = set(|builder| builder.history(history)).await;
        let mut client = stage.hold("/events/a", &["a"], &[]).await;
        let mut other = stage.hold("/events/b", &["b"], &[]).await;
        client.next_event().await.unwrap();
        publish(&stage.es, "a", "last").await;
        assert_eq!(data_until(&mut client, "last").await, ["last"]);
        stage.es.close_channel("a").await.unwrap();
        assert_eq!(client.rest().await, "");
        assert!(client.is_complete());
        publish(&stage.es, "b", "goes on").await;
        data_until(&mut other, "goes on").await;
    }
}

/// Pushpin offers this from 1.41 on; the installed one may be older.
#[tokio::test]
async fn a_proxy_that_offers_it_is_asked_to_tell_when_a_client_goes() {
    let said = Arc::<Mutex<Vec<String>>>::default();
    let say = |what: &'static str| {
        let said = said.clone();
        move |channels: &[axum_eventstream::Channel], _: &axum::http::request::Parts| {
            said.lock().unwrap().push(format!("{what} {}", channels[0]));
        }
    };
    let es = builder(NO_PROXY)
        .grip_link_path("/missed")
        .on_subscribe(say("in"))
        .on_unsubscribe(say("out"))
        .build()
        .unwrap();
    let (listener, origin) = server::bind().await;
    let gone = Router::new().route("/gone", get(es.handler("a")));
    let missed = Router::new().route("/missed/{link}", axum::routing::any(es.link_handler()));
    server::serve(listener, gone.merge(missed));
    let old = client::get(origin, "/gone", &[SIGNED, ("grip-feature", "link:next")]).await;
    assert!(!old.header("grip-link").unwrap().contains("gone"));
    assert_eq!(
        said.lock().unwrap().len(),
        0,
        "nobody would tell that the client has gone"
    );
    let features = "status, link:next, link:gone";
    let held = client::get(origin, "/gone", &[SIGNED, ("grip-feature", features)]).await;
    let gone = link(&held, "gone").unwrap();
    let forged = client::send(
        origin,
        &format!("POST {gone} HTTP/1.1"),
        &[("content-length", "0")],
    )
    .await;
    assert_eq!(
        forged.status(),
        "HTTP/1.1 400 Bad Request",
        "not through the proxy"
    );
    let headers = [SIGNED, ("content-length", "0")];
    let told = client::send(origin, &format!("POST {gone} HTTP/1.1"), &headers).await;
    assert_eq!(told.status(), "HTTP/1.1 200 OK");
    assert_eq!(*said.lock().unwrap(), ["in a", "out a"]);
}
