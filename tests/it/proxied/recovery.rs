//! Nothing is lost silently behind a proxy that misses events, restarts or is killed.

use super::{NO_PROXY, SIGNED, link, recovering};
use crate::support::{
    client, message, publish, publish_all,
    pushpin::Pushpin,
    reset, server,
    stage::{self, PROBE, Stage, data_until},
    until,
    wire::Wire,
    within,
};
use axum::{Router, routing::get};
use axum_eventstream::{EventStream, EventStreamBuilder, History};
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinSet;

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/events/{id}", get(es.handler("{id}")))
        .route("/both", get(es.handler(["a", "b"])))
        .route("/missed/{link}", get(es.link_handler()))
}

fn id(event: &str) -> Option<&str> {
    event.lines().find_map(|line| line.strip_prefix("id: "))
}

async fn set(change: impl FnOnce(EventStreamBuilder) -> EventStreamBuilder) -> Stage {
    Stage::start(|control_uri| change(recovering(control_uri, None)), app).await
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_proxy_that_missed_an_event_asks_for_it() {
    let stage = set(|builder| builder).await;
    let mut client = stage.listen("/events/a", &["a"]).await;
    publish(&stage.es, "a", "1").await;
    assert_eq!(data_until(&mut client, "1").await, ["1"]);
    stage.publish_missed([("a", "2"), ("a", "3")]).await;
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
    let mut client = stage.listen("/both?x=1", &["a", "b"]).await;
    let missed = (1..=6).map(|n| (["a", "b"][n % 2], n));
    stage.publish_missed(missed).await;
    publish(&stage.es, "b", "7").await;
    let data = data_until(&mut client, "7").await;
    assert_eq!(data, ["1", "2", "3", "4", "5", "6", "7"]);
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
        let (headers, last) = ([("last-event-id", id)], *expected.last().unwrap());
        let mut client = stage.hold("/events/a", &["a"], &headers).await;
        publish(&stage.es, "a", last).await;
        assert_eq!(data_until(&mut client, last).await, expected);
    }
    for unknown in ["0123456789ab-1", "garbage", "error2"] {
        let headers = [("last-event-id", unknown)];
        let mut client = client::get(stage.proxy.address(), "/events/a", &headers).await;
        let open = client.events(1).await;
        assert!(open.starts_with("event: stream-open\n"), "{open}");
        let event = client.events(1).await;
        assert!(event.starts_with(&reset(&["a"])), "{event}");
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn much_that_was_missed_comes_in_pages() {
    let stage = set(|builder| builder).await;
    let mut client = stage.listen("/events/a", &["a"]).await;
    let large = |n: usize| format!("{n} {}", "x".repeat(10_000));
    let missed: Vec<_> = (1..=40).map(|n| ("a", large(n))).collect();
    stage.publish_missed(missed.clone()).await;
    publish(&stage.es, "a", "last").await;
    let got = data_until(&mut client, "last").await;
    let start = |text: &String| text[..4].to_owned();
    let starts: Vec<_> = got.iter().map(start).collect();
    let expected = missed.into_iter().map(|(_, text)| text);
    let expected: Vec<_> = expected.chain(["last".to_owned()]).collect();
    assert!(got == expected, "{starts:?}");
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn what_is_no_longer_there_is_told() {
    let stage = set(|builder| builder.history(History::memory().events(2))).await;
    let mut client = stage.listen("/events/a", &["a"]).await;
    stage.publish_missed((1..=4).map(|n| ("a", n))).await;
    publish(&stage.es, "a", "5").await;
    let event = client.next_event().await.unwrap();
    assert!(event.starts_with(&reset(&["a"])), "{event}");
    publish(&stage.es, "a", "6").await;
    assert_eq!(data_until(&mut client, "6").await, ["6"]);
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_lost_last_event_is_found_by_asking_now_and_then() {
    let stage = set(|builder| builder.grip_poll(Duration::from_secs(1))).await;
    let mut client = stage.listen("/events/a", &["a"]).await;
    let lost = "lost, and nothing follows";
    stage.publish_missed([("a", lost)]).await;
    data_until(&mut client, lost).await;
}

/// The next application on its address has an empty history.
#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_restarted_application_tells_what_it_cannot_know() {
    let start = async |proxy: &Pushpin| {
        let es = recovering(&proxy.control_uri(), None).build().unwrap();
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

/// A client that reconnects with its last id, as browsers do. Returns the data of all messages up to the last one.
async fn browse(proxy: SocketAddr, last: String) -> Vec<String> {
    let (mut last_id, mut seen) = (String::new(), Vec::new());
    loop {
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
        let mut events = response.bytes_stream().eventsource();
        while let Some(Ok(event)) = events.next().await {
            last_id = event.id;
            assert_ne!(event.event, "stream-reset", "nothing was missing");
            if event.event == "message" {
                seen.push(event.data);
            }
            if seen.last() == Some(&last) {
                return seen;
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
    let es = recovering(&proxy.control_uri(), None);
    let es = es.history(History::memory().events(2 * EVENTS));
    let es = es.build().unwrap();
    server::serve(listener, app(&es));
    let texts: Vec<_> = (0..EVENTS).map(|n| n.to_string()).collect();
    let mut first = client::get(proxy.address(), "/events/a", &[]).await;
    first.next_event().await.unwrap();
    let browse = |_| browse(proxy.address(), texts[EVENTS - 1].clone());
    let browsers: JoinSet<_> = (0..10).map(browse).collect();
    proxy.wait_for_subscribe("events-a", 11).await;
    let publishing = {
        let (es, texts) = (es.clone(), texts.clone());
        tokio::spawn(async move {
            for text in texts {
                // Events of the outage reach clients when they reconnect.
                let _ = es.publish_event("a", message(text)).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    until("the proxy takes events", || es.stats().grip_published > 20).await;
    proxy.kill().await;
    proxy.start_again().await;
    publishing.await.unwrap();
    for seen in within("all clients", browsers.join_all()).await {
        assert_eq!(seen, texts, "none twice, none missing");
    }
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn a_control_port_that_is_refused_for_two_seconds_loses_nothing() {
    let (listener, origin) = server::bind().await;
    let proxy = Pushpin::builder().origin(origin).start().await;
    let control = Wire::to(proxy.control_address()).await;
    let es = recovering(&format!("http://{}/", control.address()), None);
    let es = es.build().unwrap();
    server::serve(listener, app(&es));
    let probe = async || publish(&es, "a", PROBE).await;
    let mut client = stage::hold(&proxy, "/events/a", &[], &["events-a"], probe).await;
    client.next_event().await.unwrap();
    let address = control.close().await;
    let publishing = {
        let es = es.clone();
        tokio::spawn(async move { publish_all(&es, "a", &["1", "2", "3"]).await })
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
    let builder = recovering(NO_PROXY, Some("/missed")).on_subscribe(say("in"));
    let es = builder.on_unsubscribe(say("out")).build().unwrap();
    let (listener, origin) = server::bind().await;
    let gone = Router::new().route("/gone", get(es.handler("a")));
    let missed = Router::new().route("/missed/{link}", axum::routing::any(es.link_handler()));
    server::serve(listener, gone.merge(missed));
    let old = client::get(origin, "/gone", &[SIGNED, ("grip-feature", "link:next")]).await;
    assert!(!old.header("grip-link").unwrap().contains("gone"));
    let calls = said.lock().unwrap().len();
    assert_eq!(calls, 0, "nothing would report that the client has gone");
    let features = ("grip-feature", "status, link:next, link:gone");
    let held = client::get(origin, "/gone", &[SIGNED, features]).await;
    let gone = format!("POST {} HTTP/1.1", link(&held, "gone").unwrap());
    let empty = ("content-length", "0");
    let forged = client::send(origin, &gone, &[empty]).await;
    let status = forged.status();
    assert_eq!(status, "HTTP/1.1 400 Bad Request", "not through the proxy");
    let told = client::send(origin, &gone, &[SIGNED, empty]).await;
    assert_eq!(told.status(), "HTTP/1.1 200 OK");
    assert_eq!(*said.lock().unwrap(), ["in a", "out a"]);
}
