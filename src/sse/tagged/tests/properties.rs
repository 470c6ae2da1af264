//! All values and all events.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde_json::Value;

use super::{Change, received};
use crate::{Event, ReceivedEvent};

/// Text of which JSON, names and lines of events are made.
fn hostile_text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\n",
        "\r",
        "\0",
        ":",
        "data: ",
        "event: ",
        "added",
        "removed",
        "moved-to",
        "list-cleared",
        "null",
        "[",
        "]",
        "{",
        "}",
        "\"id\"",
        ",",
        "7",
        "-1",
        "1e999",
        "\"",
        "\\",
        "\\ud800",
        "é",
        " ",
    ]);
    vec(pieces, 0..9).prop_map(|pieces| pieces.concat())
}

fn content() -> impl Strategy<Value = Vec<(u32, Option<String>)>> {
    vec((any::<u32>(), option::of(hostile_text())), 0..3)
}

type Big = Change<Vec<(u32, Option<String>)>>;

fn change() -> impl Strategy<Value = Big> {
    prop_oneof![
        Just(Change::ListCleared),
        Just(Change::Nothing()),
        Just(Change::Blank {}),
        Just(Change::Unit(())),
        content().prop_map(Change::Removed),
        (content(), hostile_text()).prop_map(|(id, text)| Change::MovedTo(id, text)),
        (content(), option::of(hostile_text())).prop_map(|(id, text)| Change::Added { id, text }),
        option::of(content()).prop_map(Change::Renamed),
        vec(content(), 0..3).prop_map(Change::Default),
    ]
}

proptest! {
    #[test]
    fn a_variant_is_encoded_with_its_name_and_json_and_survives_a_round_trip(change in change()) {
        let received = ReceivedEvent::new(None, Event::tagged(&change).unwrap().seal(None));
        let (name, json) = match serde_json::to_value(&change).unwrap() {
            Value::Object(fields) => fields.into_iter().next().unwrap(),
            unit => (unit.as_str().unwrap().to_owned(), Value::Null),
        };
        prop_assert_eq!(received.event(), name);
        prop_assert_eq!(received.json::<Value>().unwrap(), json);
        prop_assert_eq!(received.tagged::<Big>().unwrap(), change);
    }

    #[test]
    fn no_received_event_panics(
        name in prop_oneof![hostile_text(), Just("removed".to_owned()), ".{0,9}"],
        data in prop_oneof![hostile_text(), ".{0,9}"],
        bytes in prop_oneof![hostile_text().prop_map(String::into_bytes), vec(any::<u8>(), 0..20)],
    ) {
        if let Ok(event) = Event::text(&name, &data) {
            let _ = received(&event).tagged::<Big>();
            let _ = received(&event).tagged::<Change>();
        }
        let lines = format!("event: {name}\ndata: {data}\n");
        for bytes in [bytes, lines.into_bytes()] {
            let event = ReceivedEvent::new(None, Bytes::from(bytes));
            let _ = event.tagged::<Big>();
            let _ = event.tagged::<Value>();
        }
    }
}
