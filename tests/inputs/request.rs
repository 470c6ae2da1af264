//! A request to every kind of route, direct and proxied, with and without history.

use super::{Answer, App, GRIP_HOLD, RUNTIME, lines};
use axum::{Router, http::request::Parts, routing::get};
use axum_eventstream::{
    Event, EventStream, History,
    grip::{GripConfig, Publisher},
};
use std::{sync::LazyLock, time::Duration};

const ACCEPT: &str = "accept";
const GRIP_LAST: &str = "grip-last";
const GRIP_SIG: &str = "grip-sig";
const LAST_EVENT_ID: &str = "last-event-id";

static APPS: LazyLock<[App; 4]> = LazyLock::new(|| {
    [
        app(None, History::memory()),
        app(Some("http://127.0.0.1:9"), History::off()),
        app(Some("http://127.0.0.1:9"), History::memory()),
        app(
            Some("http://127.0.0.1:9?verify-key=secret"),
            History::memory(),
        ),
    ]
});

/// An application with something in its history. Its proxy does not exist.
pub fn app(proxy: Option<&str>, history: History) -> App {
    let _runtime = RUNTIME.enter();
    let mut builder = EventStream::builder().history(history);
    if let Some(proxy) = proxy {
        let proxy: GripConfig = proxy.parse().unwrap();
        let publisher = Publisher::builder().timeout(Duration::from_millis(1));
        builder = builder.grip(publisher.endpoints([proxy]).build().unwrap());
    }
    let es = builder.build().unwrap();
    for channel in ["a", "secret", "a"] {
        let event = Event::text("message", format!("on {channel}")).unwrap();
        let _ = RUNTIME.block_on(es.publish_event(channel, event));
    }
    let named = |parts: &Parts| {
        let query = parts.uri.query().unwrap_or_default();
        query.split('&').map(str::to_owned).collect::<Vec<_>>()
    };
    let router = Router::new()
        .route("/one/{id}", get(es.handler("{id}")))
        .route("/two/{x}/{y}", get(es.handler(["{x}-<y>", "all"])))
        .route("/rest/{*rest}", get(es.handler("all.{rest}")))
        .route("/query", get(es.handler(named)));
    App { es, router }
}

/// The first line of the input is the target, the others are headers: `a` for Accept, `e` for
/// Last-Event-ID, `s` for Grip-Sig, `l` for Grip-Last.
pub fn check(input: &[u8]) {
    let mut lines = lines(input);
    let target = lines.next().unwrap_or_default();
    let headers: Vec<_> = lines.filter_map(header).collect();
    for app in &*APPS {
        if let Some(answer) = app.get(target, &headers) {
            check_answer(&answer, target, &headers);
        }
    }
}

fn header(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let (kind, value) = line.split_first()?;
    match kind {
        b'a' => Some((ACCEPT, value)),
        b'e' => Some((LAST_EVENT_ID, value)),
        b's' => Some((GRIP_SIG, value)),
        b'l' => Some((GRIP_LAST, value)),
        _ => None,
    }
}

fn check_answer(answer: &Answer, target: &[u8], headers: &[(&str, &[u8])]) {
    if answer.status != 200 {
        return answer.assert_refusal();
    }
    answer.assert_stream();
    if answer.body.is_empty() {
        // A link that is not ours, or has expired. Its parameter may be escaped, or have no value.
        let may_be_link = target.windows(9).any(|part| part == b"grip-next");
        assert!(may_be_link || target.contains(&b'%'));
        return assert!(answer.channels().is_empty());
    }
    let openings = answer.body.matches("event: stream-open\n").count();
    assert_eq!(openings, 1, "{:?}", answer.body);
    // A replay has only published events, and a reset names the channels.
    assert!(
        answer.body.len() < 1000 + 6 * target.len(),
        "{:?}",
        answer.body
    );
    let is_secret = target
        .windows(6)
        .any(|part| part.eq_ignore_ascii_case(b"secret"));
    let may_be_secret = is_secret || target.contains(&b'%');
    assert!(
        may_be_secret || !answer.body.contains("on secret"),
        "{:?}",
        answer.body
    );
    let channels = answer.channels();
    match answer.header(GRIP_HOLD) {
        None => assert!(channels.is_empty()),
        Some(hold) => {
            assert_eq!(hold, "stream");
            assert!(headers.iter().any(|(name, _)| *name == GRIP_SIG));
            check_channels(&channels, target);
        }
    }
}

/// A request is held on the channels of its route: no value of a parameter makes another one.
fn check_channels(channels: &[&str], target: &[u8]) {
    let expected = match target {
        [b'/', b'o', ..] | [b'/', b'r', ..] => 1..=1,
        [b'/', b't', ..] => 1..=2,
        _ => 1..=100,
    };
    assert!(expected.contains(&channels.len()), "{channels:?}");
    for (n, channel) in channels.iter().enumerate() {
        let name = channel.strip_prefix("events-").expect("the prefix");
        assert!(
            !name.is_empty() && !name.contains(char::is_control) && name.trim() == name,
            "{name:?}"
        );
        assert!(!channels[..n].contains(channel), "{channel:?} twice");
    }
}
