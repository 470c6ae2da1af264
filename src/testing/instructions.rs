//! The instructions for a proxy in a response.

use crate::grip::{GRIP_CHANNEL, GRIP_HOLD, GRIP_KEEP_ALIVE, GRIP_LINK};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header::CONTENT_LENGTH};
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(super) struct Instructions {
    pub(super) hold: Option<String>,
    pub(super) channels: Vec<Held>,
    pub(super) keep_alive: Option<(Bytes, Duration)>,
    pub(super) next: Option<(String, Option<Duration>)>,
}

/// A channel of a hold, and the id of the message that must precede the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) prev_id: Option<String>,
}

impl Instructions {
    /// Removes the instructions from a response's headers, since the client must not see them, and parses them.
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let line = |name: &HeaderName| {
            let values = headers.get_all(name).into_iter();
            let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            texts.collect::<Vec<_>>().join(", ")
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let instructions = Self {
            hold: some(line(&GRIP_HOLD)),
            channels: line(&GRIP_CHANNEL).split(',').filter_map(held).collect(),
            keep_alive: some(line(&GRIP_KEEP_ALIVE)).and_then(|line| keep_alive(&line)),
            next: line(&GRIP_LINK).split(',').find_map(next),
        };
        remove(headers);
        instructions
    }

    pub(super) fn is_stream(&self) -> bool {
        self.hold.as_deref() == Some("stream")
    }
}

/// Removes all headers of the protocol.
pub(super) fn remove(headers: &mut HeaderMap) {
    let names = headers
        .keys()
        .filter(|name| name.as_str().starts_with("grip-"));
    for name in names.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
}

fn parameter<'a>(parts: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let mut pairs = parts.filter_map(|part| part.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
    Some(value.trim())
}

fn held(item: &str) -> Option<Held> {
    let mut parts = item.split(';');
    let name = parts.next()?.trim().to_owned();
    let prev_id = parameter(parts, "prev-id").map(str::to_owned);
    (!name.is_empty()).then_some(Held { name, prev_id })
}

fn keep_alive(line: &str) -> Option<(Bytes, Duration)> {
    let mut parts = line.split(';');
    let data = parts.next()?;
    let parameters: Vec<_> = parts.collect();
    let timeout = parameter(parameters.iter().copied(), "timeout")?
        .parse()
        .ok()?;
    let data = match parameter(parameters.iter().copied(), "format") {
        Some("cstring") => unescaped(data).into(),
        Some("base64") => BASE64_STANDARD.decode(data).ok()?.into(),
        _ => Bytes::copy_from_slice(data.as_bytes()),
    };
    Some((data, Duration::from_secs(timeout)))
}

fn unescaped(text: &str) -> String {
    let mut unescaped = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        unescaped.extend(match character {
            '\\' => characters.next().map(|escaped| match escaped {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            other => Some(other),
        });
    }
    unescaped
}

fn next(item: &str) -> Option<(String, Option<Duration>)> {
    let (uri, parameters) = item.trim().strip_prefix('<')?.split_once('>')?;
    let parts = || parameters.split(';');
    let timeout = parameter(parts(), "timeout").and_then(|text| text.parse().ok());
    let is_next = parameter(parts(), "rel") == Some("next");
    is_next.then(|| (uri.to_owned(), timeout.map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grip::{Hold, Instruct};

    #[test]
    fn instructions_of_the_crate_are_parsed() {
        let mut headers = Instruct::new()
            .hold(Hold::Stream)
            .channel("events-é b")
            .channel_after("events-c", "1-2")
            .keep_alive("event: keep-alive\ndata: \n\n", Duration::from_secs(20))
            .next_link("/a?grip-next=x.y", Some(Duration::from_secs(60)))
            .to_headers()
            .unwrap();
        headers.insert("x-other", "stays".parse().unwrap());
        let Instructions {
            hold,
            channels,
            keep_alive,
            next,
        } = Instructions::take(&mut headers);
        assert_eq!(hold.as_deref(), Some("stream"));
        let held = |name: &str, prev_id: Option<&str>| Held {
            name: name.to_owned(),
            prev_id: prev_id.map(str::to_owned),
        };
        assert_eq!(
            channels,
            [held("events-é b", None), held("events-c", Some("1-2"))]
        );
        let (frame, after) = keep_alive.unwrap();
        assert_eq!(
            (&*frame, after.as_secs()),
            (&b"event: keep-alive\ndata: \n\n"[..], 20)
        );
        let link = ("/a?grip-next=x.y".to_owned(), Some(Duration::from_secs(60)));
        assert_eq!(next, Some(link));
        assert_eq!(headers.len(), 1);
    }
}
