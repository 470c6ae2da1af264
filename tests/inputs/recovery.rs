//! A proxy that asks for what it has missed: the link it was given, and what it says it has.

use super::{Answer, App, GRIP_HOLD, GRIP_LINK, lines, request};
use axum_eventstream::History;
use std::sync::LazyLock;

static APP: LazyLock<App> =
    LazyLock::new(|| request::app(Some("http://127.0.0.1:9"), History::memory()));

const SIGNED: (&str, &[u8]) = ("grip-sig", b"any");

/// The first line of the input replaces the link's token, unless it is empty; the others are lines of
/// `Grip-Last`.
pub fn check(input: &[u8]) {
    let mut lines = lines(input);
    let token = lines.next().unwrap_or_default();
    let mut headers = vec![SIGNED];
    headers.extend(lines.map(|line| ("grip-last", line)));
    let Some(answer) = APP.get(&target(token), &headers) else {
        return;
    };
    answer.assert_stream();
    match token {
        b"" => check_recovery(&answer),
        // No token but ours is good for anything: the stream ends, or is held as a new one.
        _ => assert!(!answer.body.contains("data: on"), "{:?}", answer.body),
    }
}

/// The link that a client's request gives the proxy, with another token if there is one.
fn target(token: &[u8]) -> Vec<u8> {
    let hold = APP.get(b"/two/a/b", &[SIGNED]).expect("a valid request");
    let link = hold.header(GRIP_LINK).expect("a link");
    let link = link.strip_prefix('<').expect("a link in brackets");
    let (link, _) = link.split_once('>').expect("a link in brackets");
    match token {
        b"" => link.as_bytes().to_vec(),
        _ => {
            let (path, _) = link.split_once('=').expect("a token");
            [path.as_bytes(), b"=", token].concat()
        }
    }
}

/// Only what the link is good for comes back, and the hold goes on.
fn check_recovery(answer: &Answer) {
    assert_eq!(answer.header(GRIP_HOLD), Some("stream"));
    assert_eq!(answer.channels(), ["events-a-b", "events-all"]);
    assert!(!answer.body.contains("on secret"), "{:?}", answer.body);
    assert!(answer.body.len() < 1000, "{:?}", answer.body);
}
