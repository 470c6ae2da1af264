//! The form of an event in a shared log.
//!
//! The first line is the version and, if there is any, what the lines of the event do not show: the id, the `retry` and
//! the key, as JSON. The lines of the event follow, without an `id`, a `retry` or a blank line:
//!
//! ```text
//! 1{"key":"AAPL"}
//! event: price
//! data: 190.5
//! ```
//!
//! The log is shared with other versions of this crate, and anybody who may write to the engine can add entries. So
//! everything is checked when it is read, and an entry of an unknown version is an error.

use super::{
    Event,
    encode::END,
    invalid_event::{check_id, check_key, check_name, check_retry},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, str, time::Duration};

const VERSION: u8 = b'1';

/// What an instance puts into a shared log.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Event(Event),
    /// The channel is closed here.
    Close,
}

/// Why an entry is not one of this version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidStored {
    #[error("it has another version")]
    Version,
    #[error("its first line is not valid")]
    Head,
    #[error("its lines are not those of an event")]
    Lines,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Head<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_false")]
    removes_key: bool,
    #[serde(skip_serializing_if = "is_false")]
    closes: bool,
}

/// The head of a close.
const CLOSE: Head<'static> = Head {
    id: None,
    retry: None,
    key: None,
    removes_key: false,
    closes: true,
};

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl Stored {
    pub(crate) fn encode(&self) -> Bytes {
        let (head, lines) = match self {
            Self::Event(event) => (Head::of(event), &*event.lines),
            Self::Close => (CLOSE, &[][..]),
        };
        let mut bytes = Vec::with_capacity(2 + lines.len());
        bytes.push(VERSION);
        if head != Head::default() {
            // Cannot fail: strings, numbers, and an infallible writer.
            let _ = serde_json::to_writer(&mut bytes, &head);
        }
        bytes.push(b'\n');
        bytes.extend_from_slice(lines);
        bytes.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, InvalidStored> {
        let (version, rest) = bytes.split_first().ok_or(InvalidStored::Version)?;
        if *version != VERSION {
            return Err(InvalidStored::Version);
        }
        let end = memchr::memchr(b'\n', rest).ok_or(InvalidStored::Head)?;
        let (head, lines) = (&rest[..end], &rest[end + 1..]);
        let head = match head {
            [] => Head::default(),
            json => serde_json::from_slice(json).map_err(|_| InvalidStored::Head)?,
        };
        match head.closes {
            true if head == CLOSE && lines.is_empty() => Ok(Self::Close),
            true => Err(InvalidStored::Head),
            false => head.event(lines).map(Self::Event),
        }
    }
}

impl<'a> Head<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            id: event.id.as_deref().map(Cow::Borrowed),
            retry: event.retry,
            key: event.key.as_deref().map(Cow::Borrowed),
            removes_key: event.removes_key,
            closes: false,
        }
    }

    /// The event that was stored, if each part of it is valid.
    fn event(self, lines: &[u8]) -> Result<Event, InvalidStored> {
        let id = self.id.as_deref().map_or(Ok(()), check_id);
        let key = check_key(self.key.as_deref(), self.removes_key);
        let retry = self.retry.map(Duration::from_millis).map(check_retry);
        if id.is_err() || key.is_err() || retry.is_some_and(|retry| retry.is_err()) {
            return Err(InvalidStored::Head);
        }
        let is_nothing = lines.is_empty() && self.id.is_none() && self.retry.is_none();
        if is_nothing || !are_lines(lines) {
            return Err(InvalidStored::Lines);
        }
        let mut own = Vec::with_capacity(lines.len() + END);
        own.extend_from_slice(lines);
        Ok(Event {
            lines: own,
            id: self.id.map(|id| id.into()),
            retry: self.retry,
            key: self.key.map(|key| key.into()),
            removes_key: self.removes_key,
        })
    }
}

/// Whether these are lines that the encoder writes for an event: comments, then a name, then data.
fn are_lines(lines: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(lines) else {
        return false;
    };
    let Some(text) = text.strip_suffix('\n') else {
        return text.is_empty();
    };
    let mut least = Field::Comment;
    text.split('\n').all(|line| {
        let field = Field::of(line);
        // One name at most, and any number of the others.
        let is_next =
            field.is_some_and(|field| field > least || field == least && field != Field::Name);
        least = field.unwrap_or(least);
        is_next && !line.contains('\r')
    })
}

/// The fields of an event's lines, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Comment,
    Name,
    Data,
}

impl Field {
    /// The field of a valid line.
    fn of(line: &str) -> Option<Self> {
        if line.starts_with(':') {
            return Some(Self::Comment);
        }
        if line.starts_with("data: ") {
            return Some(Self::Data);
        }
        let name = line.strip_prefix("event: ")?;
        check_name(name).is_ok().then_some(Self::Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Result<Bytes, InvalidStored> {
        match Stored::decode(bytes)? {
            Stored::Event(event) => Ok(event.encode()),
            Stored::Close => Ok(Bytes::new()),
        }
    }

    #[test]
    fn an_event_is_stored_with_its_lines() {
        let event = Event::json("price", &190.5).unwrap();
        assert_eq!(
            &*Stored::Event(event).encode(),
            b"1\nevent: price\ndata: 190.5\n"
        );
        assert_eq!(&*Stored::Close.encode(), b"1{\"closes\":true}\n");
        let event = Event::builder()
            .data("a\nb")
            .key("k\n")
            .remove_key()
            .id("7")
            .retry(Duration::from_secs(1));
        let bytes = Stored::Event(event.build().unwrap()).encode();
        let text = r#"1{"id":"7","retry":1000,"key":"k\n","removes_key":true}"#;
        assert_eq!(bytes, format!("{text}\ndata: a\ndata: b\n"));
    }

    #[test]
    fn what_no_instance_stores_is_refused() {
        use InvalidStored::{Head, Lines, Version};
        let cases: [(&[u8], InvalidStored); 23] = [
            (b"", Version),
            (b"2\ndata: a\n", Version),
            (b"1", Head),
            (b"1x\ndata: a\n", Head),
            (b"1{\"new\":1}\ndata: a\n", Head),
            (b"1{\"id\":\"a\\nb\"}\n", Head),
            (b"1{\"id\":\"error\"}\n", Head),
            (b"1{\"retry\":99999999999}\n", Head),
            (b"1{\"key\":\"\"}\ndata: a\n", Head),
            (b"1{\"removes_key\":true}\ndata: a\n", Head),
            (b"1{\"closes\":true}\ndata: a\n", Head),
            (b"1{\"closes\":true,\"retry\":1}\n", Head),
            (b"1\n", Lines),
            (b"1{\"key\":\"a\"}\n", Lines),
            (b"1\ndata: a", Lines),
            (b"1\ndata: a\n\n", Lines),
            (b"1\ndata: a\n\ndata: b\n", Lines),
            (b"1\ndata: a\revent: b\n", Lines),
            (b"1\ndata: \xff\n", Lines),
            (b"1\nid: 1\n", Lines),
            (b"1\ndata:a\n", Lines),
            (b"1\nevent: a\nevent: b\n", Lines),
            (b"1\ndata: a\nevent: b\n", Lines),
        ];
        for (bytes, expected) in cases {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(decode(bytes), Err(expected), "{shown:?}");
        }
    }

    #[test]
    fn a_stored_event_has_room_for_its_id() {
        let event = Event::text("a", "b").unwrap();
        let Ok(Stored::Event(event)) = Stored::decode(&Stored::Event(event).encode()) else {
            panic!("it is an event");
        };
        assert!(event.lines.capacity() >= event.lines.len() + END);
    }

    proptest! {
        #[test]
        fn every_event_survives_a_round_trip(
            name in proptest::option::of("[^\r\n\0]{1,20}"),
            data in proptest::option::of(".{0,40}"),
            comment in proptest::option::of(".{0,10}"),
            id in proptest::option::of("[a-z0-9]{1,8}"),
            retry in proptest::option::of(0..=i32::MAX as u64),
            key in proptest::option::of(".{1,20}"),
            removes: bool,
        ) {
            let mut builder = Event::builder();
            if let Some(name) = name { builder = builder.event(name); }
            if let Some(data) = data { builder = builder.data(data); }
            if let Some(comment) = comment { builder = builder.comment(comment); }
            if let Some(id) = id { builder = builder.id(id); }
            if let Some(retry) = retry { builder = builder.retry(Duration::from_millis(retry)); }
            if let Some(key) = &key { builder = builder.key(key); }
            if removes && key.is_some() { builder = builder.remove_key(); }
            let Ok(mut event) = builder.build() else { return Ok(()) };
            let stored = Stored::Event(event.clone()).encode();
            let Ok(Stored::Event(mut found)) = Stored::decode(&stored) else {
                return Err(TestCaseError::fail("it is not an event"));
            };
            prop_assert_eq!(found.encode(), event.encode());
            prop_assert_eq!(found.take_key(), event.take_key());
        }

        #[test]
        fn any_bytes_are_an_event_of_one_block_or_refused(bytes: Vec<u8>, lines in "(data: |event: |:|\n|\r|a){0,12}") {
            for bytes in [bytes, format!("1\n{lines}").into_bytes()] {
                if let Ok(encoded) = decode(&bytes) {
                    let blocks = encoded.windows(2).filter(|pair| pair == b"\n\n").count();
                    prop_assert_eq!(blocks, 1);
                    prop_assert!(encoded.ends_with(b"\n\n") && !encoded.contains(&b'\r'));
                }
            }
        }
    }
}
