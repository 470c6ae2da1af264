//! Recovery requests of a proxy: the link, and the positions that it sends with it.

use super::{Answer, App, GRIP_HOLD, GRIP_LINK, lines, request};
use axum_eventstream::History;
use std::sync::LazyLock;

static APP: LazyLock<App> =
    LazyLock::new(|| request::app(Some("http://127.0.0.1:9"), History::memory()));

const SIGNED: (&str, &[u8]) = ("grip-sig", b"any");

/// `Grip-Last` for the channels of the link.
const HELD: &[u8] = b"events-all; last-id=x, events-a-b; last-id=000000000000-1";

/// The first line of the input replaces the link's token, or is added to its query if it begins with
/// `&`, or does nothing if it is empty. After `+` the proxy sends `HELD`. The other lines are more
/// lines of `Grip-Last`.
pub fn check(input: &[u8]) {
    let mut lines = lines(input);
    let line = lines.next().unwrap_or_default();
    let (holds, change) = match line.strip_prefix(b"+") {
        Some(change) => (true, change),
        None => (false, line),
    };
    let mut headers = vec![SIGNED];
    headers.extend(holds.then_some(("grip-last", HELD)));
    let others: Vec<_> = lines.collect();
    headers.extend(others.iter().map(|line| ("grip-last", *line)));
    let Some(answer) = APP.get(&target(change), &headers) else {
        return;
    };
    answer.assert_stream();
    match change {
        b"" if holds && others.is_empty() => check_recovery(&answer),
        b"" | [b'&', ..] => check_recovery_or_end(&answer),
        // No token but ours is good for anything: the stream ends, or is held as a new one.
        _ => assert!(!answer.body.contains("data: on"), "{:?}", answer.body),
    }
}

/// The link that a client's request gives the proxy, with a change if there is one.
fn target(change: &[u8]) -> Vec<u8> {
    let hold = APP.get(b"/two/a/b", &[SIGNED]).expect("a valid request");
    let link = hold.header(GRIP_LINK).expect("a link");
    let link = link.strip_prefix('<').expect("a link in brackets");
    let (link, _) = link.split_once('>').expect("a link in brackets");
    let (link, _) = link.split_once('#').expect("a fragment");
    match change {
        b"" | [b'&', ..] => [link.as_bytes(), change].concat(),
        _ => {
            let (path, _) = link.split_once('=').expect("a token");
            [path.as_bytes(), b"=", change].concat()
        }
    }
}

/// If the channels are not the ones of the link, the stream ends.
fn check_recovery_or_end(answer: &Answer) {
    match answer.header(GRIP_HOLD) {
        Some(_) => check_recovery(answer),
        None => {
            assert_eq!(answer.body, "");
            assert!(answer.channels().is_empty());
            assert_eq!(answer.header(GRIP_LINK), None);
        }
    }
}

/// Only what the link is good for is sent, and the hold goes on.
fn check_recovery(answer: &Answer) {
    assert_eq!(answer.header(GRIP_HOLD), Some("stream"));
    assert_eq!(answer.channels(), ["events-a-b", "events-all"]);
    assert!(!answer.body.contains("on secret"), "{:?}", answer.body);
    assert!(answer.body.len() < 1000, "{:?}", answer.body);
}
