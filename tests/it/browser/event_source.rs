//! What a browser's `EventSource` makes of the streams.

use crate::support::{browser::Browser, current_id, server, wire::Wire};
use axum::{Router, response::Html, routing::get};
use axum_eventstream::{Event, EventStream, History, KeepAlive};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

/// Collects what event listeners are given.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>EventSource</title><script>
const seen = [];
function listen(url, ...names) {
    const source = new EventSource(url);
    const see = ({ type, data, lastEventId }) => seen.push([type, data, lastEventId]);
    for (const name of names) source.addEventListener(name, see);
    return source;
}
</script>"#;

async fn serve(es: &EventStream, detach: bool) -> SocketAddr {
    let app = Router::new()
        .route("/", get(Html(PAGE)))
        .route("/events/{id}", get(es.handler("{id}")));
    server::start(app, detach).await
}

async fn open(browser: &Browser, address: SocketAddr) {
    browser.open(&format!("http://{address}/")).await;
}

async fn listen(browser: &Browser, path: &str, names: &[&str]) {
    let mut arguments = vec![path];
    arguments.extend(names);
    let arguments = json!(arguments);
    browser.run(&format!("listen(...{arguments})")).await;
}

fn text(name: &str, data: &str) -> Event {
    Event::text(name, data).unwrap()
}

/// Events, and what a listener is given: the name, the data, and the id of the last event that had one.
fn table() -> Vec<(Event, Option<Value>)> {
    let data = |data: &str, read: &str| (text("e", data), Some(json!(["e", read, ""])));
    let same = |text: &str| data(text, text);
    let name = |name: &str| (text(name, "x"), Some(json!([name, "x", ""])));
    let build = Event::builder;
    vec![
        same("plain"),
        same(""),
        data("a\nb\r\nc\rd", "a\nb\nc\nd"),
        data("\n", "\n"),
        data("\r\n", "\n"),
        data("\r", "\n"),
        data("\n\r", "\n\n"),
        data("a\r\n\r\n", "a\n\n"),
        data("\r\ra", "\n\na"),
        same(" one space before, two after  "),
        same(": no comment"),
        same("id: 7\ndata: x\nevent: y"),
        same("tab\t, NUL \0, vertical tab \u{b}, form feed \u{c}, escape \u{1b}"),
        same("no breaks: \u{85} \u{2028} \u{2029}"),
        same("äöü 漢字 🦀 👩\u{200d}👩\u{200d}👧 \u{10ffff} e\u{301}"),
        same("\u{feff}a byte order mark\n\u{feff}and another"),
        (
            Event::json("e", &json!(["</script>", 1.5, null, "\n"])).unwrap(),
            Some(json!(["e", r#"["</script>",1.5,null,"\n"]"#, ""])),
        ),
        name("ünïcödé 🦀"),
        name("a: b"),
        name(" space before"),
        name("\u{feff}mark"),
        (
            build().data("no name").build().unwrap(),
            Some(json!(["message", "no name", ""])),
        ),
        (build().comment("a\nb").build().unwrap(), None),
        (build().retry(Duration::from_secs(1)).build().unwrap(), None),
        (
            build()
                .comment("c")
                .event("e")
                .data("\n")
                .id("1: ä🦀")
                .retry(Duration::ZERO)
                .build()
                .unwrap(),
            Some(json!(["e", "\n", "1: ä🦀"])),
        ),
        (
            text("e", "the id stays"),
            Some(json!(["e", "the id stays", "1: ä🦀"])),
        ),
        (
            build().event("e").data("").id("").build().unwrap(),
            Some(json!(["e", "", ""])),
        ),
        same("the end"),
    ]
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn every_event_is_read_as_it_was_published() {
    let browser = Browser::start().await;
    for detach in [false, true] {
        let es = EventStream::builder().history(History::off()).build();
        let es = es.unwrap();
        open(&browser, serve(&es, detach).await).await;
        let (events, read): (Vec<_>, Vec<_>) = table().into_iter().unzip();
        let opened = json!(["stream-open", "", ""]);
        let read: Vec<_> = [Some(opened)].into_iter().chain(read).flatten().collect();
        let names: BTreeSet<_> = read.iter().filter_map(|event| event[0].as_str()).collect();
        let names: Vec<_> = names.into_iter().collect();
        listen(&browser, "/events/test", &names).await;
        browser.becomes("seen.length", 1).await;
        for event in events {
            es.publish_event("test", event).await.unwrap();
        }
        browser.becomes("seen", read).await;
    }
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn ids_are_positions_and_what_is_gone_is_reset() {
    const NAMES: [&str; 3] = ["stream-open", "stream-reset", "e"];
    let browser = Browser::start().await;
    for detach in [false, true] {
        let es = EventStream::builder().history(History::memory().events(2));
        let es = es.build().unwrap();
        open(&browser, serve(&es, detach).await).await;
        let first = current_id(&es);
        let mut ids = Vec::new();
        for data in ["1", "2", "3"] {
            let published = es.publish_event("test", text("e", data)).await.unwrap();
            ids.push(published.id.unwrap().to_string());
        }
        let event = |n: usize| json!(["e", n.to_string(), ids[n - 1]]);

        let path = format!("/events/test?lastEventId={}", ids[0]);
        listen(&browser, &path, &NAMES).await;
        let opened = json!(["stream-open", "", ids[0]]);
        browser
            .becomes("seen", json!([opened, event(2), event(3)]))
            .await;

        let reset = r#"{"channels":["test"],"missed":null}"#;
        let reset = [
            json!(["stream-open", "", ""]),
            json!(["stream-reset", reset, ids[2]]),
        ];
        for gone in [&first, "of-another-server"] {
            browser.run("seen.length = 0").await;
            let path = format!("/events/test?lastEventId={gone}");
            listen(&browser, &path, &NAMES).await;
            browser.becomes("seen", &reset[..]).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn an_idle_stream_has_keep_alives_which_keep_the_id() {
    let browser = Browser::start().await;
    for detach in [false, true] {
        let keep_alive = KeepAlive::new().interval(Duration::from_millis(50));
        let es = EventStream::builder()
            .keep_alive(keep_alive)
            .build()
            .unwrap();
        open(&browser, serve(&es, detach).await).await;
        listen(&browser, "/events/test", &["stream-open", "keep-alive"]).await;
        let id = current_id(&es);
        let (opened, alive) = (
            json!(["stream-open", "", id]),
            json!(["keep-alive", "", id]),
        );
        browser
            .becomes("seen.slice(0, 3)", json!([opened, alive, alive]))
            .await;
    }
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn an_opening_without_an_event_leaves_the_browser_its_position() {
    let browser = Browser::start().await;
    for detach in [false, true] {
        let keep_alive = KeepAlive::new().interval(Duration::from_millis(50));
        let builder = EventStream::builder().keep_alive(keep_alive);
        let es = builder.stream_open(false).build().unwrap();
        let address = serve(&es, detach).await;
        let wire = Wire::to(address).await;
        open(&browser, wire.address()).await;
        let id = current_id(&es);
        listen(
            &browser,
            "/events/test",
            &["stream-open", "message", "keep-alive"],
        )
        .await;
        browser
            .becomes("seen[0]", json!(["keep-alive", "", id]))
            .await;
        let address = wire.cut();
        let missed = es.publish_event("test", text("message", "missed")).await;
        let id = missed.unwrap().id.unwrap().to_string();
        wire.lead_to(address);
        let others = "seen.filter(([name]) => name !== 'keep-alive')";
        browser
            .becomes(others, json!([["message", "missed", id]]))
            .await;
    }
}

/// `EventSource` does not show its waiting time: a stream with a short one reconnects again and again,
/// while another with a long one waits.
#[tokio::test]
#[ignore = "needs chromium"]
async fn a_browser_waits_as_long_as_retry_says() {
    let browser = Browser::start().await;
    for detach in [false, true] {
        let es = EventStream::new();
        let address = serve(&es, detach).await;
        let wire = Wire::to(address).await;
        open(&browser, wire.address()).await;
        for channel in ["short", "long"] {
            let path = format!("/events/{channel}");
            browser.run(&format!("window.{channel} = listen('{path}', '{channel}'); {channel}.opens = 0; {channel}.onopen = () => {channel}.opens++")).await;
            browser.becomes(&format!("{channel}.opens"), 1).await;
        }
        for (channel, retry) in [
            ("short", Duration::from_millis(1)),
            ("long", Duration::from_secs(3600)),
        ] {
            let event = Event::builder().event(channel).data("").retry(retry);
            es.publish_event(channel, event.build().unwrap())
                .await
                .unwrap();
        }
        browser.becomes("seen.length", 2).await;
        for opens in 2..5 {
            wire.cut();
            browser
                .becomes("[short.readyState, long.readyState]", json!([0, 0]))
                .await;
            wire.lead_to(address);
            browser
                .becomes("[short.opens, long.opens]", json!([opens, 1]))
                .await;
        }
    }
}
