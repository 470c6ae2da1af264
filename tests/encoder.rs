//! The encoder, read by independent parsers.
//!
//! Both parsers are more lenient than the encoder. `sse-stream` also yields blocks without data, which browsers do
//! not dispatch, and does not carry ids over. `eventsource-stream` drops the `retry` of a block without data.

use std::{convert::Infallible, time::Duration};

use axum_eventstream::{Event, EventBuilder};
use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use proptest::{collection::vec, option, prelude::*};
use sse_stream::SseByteStream;

/// What the parsers see of an event; data is what browsers would dispatch.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    name: Option<String>,
    data: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
}

/// What a user may put into an event.
#[derive(Clone, Debug, Default)]
struct Fields {
    comment: Option<String>,
    name: Option<String>,
    data: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
}

impl Fields {
    fn builder(&self) -> EventBuilder {
        let fields = self.clone();
        let mut builder = Event::builder();
        if let Some(comment) = fields.comment {
            builder = builder.comment(comment);
        }
        if let Some(name) = fields.name {
            builder = builder.event(name);
        }
        if let Some(data) = fields.data {
            builder = builder.data(data);
        }
        if let Some(id) = fields.id {
            builder = builder.id(id);
        }
        if let Some(retry) = fields.retry {
            builder = builder.retry(Duration::from_millis(retry));
        }
        builder
    }

    fn seen(&self) -> Seen {
        let data = self.data.clone().or(self.name.is_some().then(String::new));
        Seen {
            name: self.name.clone(),
            data: data.map(|data| data.replace("\r\n", "\n").replace('\r', "\n")),
            id: self.id.clone(),
            retry: self.retry,
        }
    }
}

/// Text in which everything that means something to a parser is frequent.
fn hostile_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        3 => prop::sample::select(vec![
            "\n", "\r", "\r\n", "\n\n", "\r\r", "\0", ":", " ", "data: x", "event: x", "id: x", "id",
            "retry: 1", "data", "error", "\u{feff}", "\u{2028}", "\u{85}", "\u{b}", "é", "😀",
        ]).prop_map(str::to_owned),
        1 => ".{0,4}",
    ];
    vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

const MAX_RETRY: u64 = i32::MAX as u64;

fn is_white_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

fn is_field_text(text: &str) -> bool {
    !text.contains(['\r', '\n', '\0'])
}

prop_compose! {
    fn hostile_fields()(
        comment in option::of(hostile_text()),
        name in option::of(hostile_text()),
        data in option::of(hostile_text()),
        id in option::of(hostile_text()),
        retry in option::of(prop_oneof![3 => 0..=MAX_RETRY, 1 => any::<u64>()]),
    ) -> Fields {
        Fields { comment, name, data, id, retry }
    }
}

prop_compose! {
    /// Fields that the builder takes.
    fn valid_fields()(fields in hostile_fields()) -> Fields {
        let strip = |text: String| text.replace(['\r', '\n', '\0'], "");
        let data = fields.data.or(Some(String::new()));
        let name = fields.name.map(strip).filter(|name| !name.is_empty());
        let trim = |id: String| id.trim_matches(is_white_space).to_owned();
        let id = fields.id.map(strip).map(trim).filter(|id| id != "error");
        let retry = fields.retry.filter(|retry| *retry <= MAX_RETRY);
        Fields { name, data, id, retry, ..fields }
    }
}

/// The bytes in pieces of these lengths, over and over.
fn cut(mut bytes: Bytes, lengths: &[usize]) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        pieces.push(Ok(bytes.split_to(bytes.len().min(*length))));
    }
    stream::iter(pieces)
}

fn sse_stream(bytes: &Bytes, lengths: &[usize]) -> Vec<Seen> {
    SseByteStream::new(cut(bytes.clone(), lengths))
        .map(|event| event.expect("an event stream"))
        .map(|event| Seen {
            name: event.event,
            data: event.data,
            id: event.id,
            retry: event.retry,
        })
        .collect()
        .now_or_never()
        .expect("all bytes are there")
}

fn eventsource_stream(bytes: &Bytes, lengths: &[usize]) -> Vec<eventsource_stream::Event> {
    cut(bytes.clone(), lengths)
        .eventsource()
        .map(|event| event.expect("an event stream"))
        .collect()
        .now_or_never()
        .expect("all bytes are there")
}

/// What `eventsource-stream`, like a browser, makes of blocks.
fn dispatched(blocks: &[Seen]) -> Vec<eventsource_stream::Event> {
    let mut last_id = String::new();
    let mut events = Vec::new();
    for block in blocks.iter().cloned() {
        last_id = block.id.unwrap_or(last_id);
        if let Some(data) = block.data {
            events.push(eventsource_stream::Event {
                event: block.name.unwrap_or_else(|| "message".to_owned()),
                data,
                id: last_id.clone(),
                retry: block.retry.map(Duration::from_millis),
            });
        }
    }
    events
}

fn concatenated(events: &[&Event]) -> Bytes {
    let encoded: Vec<_> = events.iter().map(|event| event.encode()).collect();
    encoded.concat().into()
}

#[test]
fn the_id_of_a_block_without_data_is_that_of_the_next_event() {
    let bytes = Bytes::from_static(b":stream-open\nid: 0000000000ab-3\n\nevent: a\ndata: 1\n\n");
    for lengths in [[1], [99]] {
        let events = eventsource_stream(&bytes, &lengths);
        let seen: Vec<_> = events
            .iter()
            .map(|event| (&*event.data, &*event.id))
            .collect();
        assert_eq!(seen, [("1", "0000000000ab-3")]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_event_is_read_back(fields in valid_fields(), lengths in vec(1usize..20, 1..5)) {
        let bytes = fields.builder().build().unwrap().encode();
        let seen = vec![fields.seen()];
        prop_assert_eq!(eventsource_stream(&bytes, &lengths), dispatched(&seen));
        prop_assert_eq!(sse_stream(&bytes, &lengths), seen);
    }

    #[test]
    fn text_and_json_are_read_back(name in "[^\r\n\0]{1,9}", data in hostile_text()) {
        let text = Event::text(&name, &data).unwrap().encode();
        let json = Event::json(&name, &data).unwrap().encode();
        let seen = Fields { name: Some(name), data: Some(data.clone()), ..Fields::default() }.seen();
        prop_assert_eq!(&sse_stream(&text, &[7])[..], std::slice::from_ref(&seen));
        let read = sse_stream(&json, &[7]);
        prop_assert_eq!(&read[0].name, &seen.name);
        let value: String = serde_json::from_str(read[0].data.as_deref().unwrap()).unwrap();
        prop_assert_eq!(value, data);
    }

    #[test]
    fn no_event_changes_the_events_around_it(
        before in valid_fields(),
        victim in prop_oneof![hostile_fields(), valid_fields()],
        after in valid_fields(),
        lengths in vec(1usize..20, 1..5),
    ) {
        let Ok(middle) = victim.builder().build() else {
            return Ok(());
        };
        let (first, last) = (before.builder().build().unwrap(), after.builder().build().unwrap());
        let bytes = concatenated(&[&first, &middle, &last]);

        let mut seen = vec![before.seen(), victim.seen(), after.seen()];
        prop_assert_eq!(eventsource_stream(&bytes, &lengths), dispatched(&seen));
        seen.retain(|block| *block != Seen::default());
        prop_assert_eq!(sse_stream(&bytes, &lengths), seen);
    }

    #[test]
    fn exactly_invalid_names_ids_and_retry_times_are_refused(fields in hostile_fields()) {
        let name_is_valid = fields.name.as_deref().is_none_or(|n| !n.is_empty() && is_field_text(n));
        let id_is_valid = fields.id.as_deref().is_none_or(|id| {
            id.len() <= 255 && is_field_text(id) && id.trim_matches(is_white_space) == id && id != "error"
        });
        let retry_is_valid = fields.retry.is_none_or(|retry| retry <= MAX_RETRY);
        let builder = fields.builder().comment("not empty");
        prop_assert_eq!(builder.build().is_ok(), name_is_valid && id_is_valid && retry_is_valid);
        if let Some(name) = &fields.name {
            prop_assert_eq!(Event::text(name, "").is_ok(), name_is_valid);
            prop_assert_eq!(Event::json(name, "").is_ok(), name_is_valid);
        }
    }
}
