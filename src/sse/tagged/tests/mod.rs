//! Values and the events that they become.

mod errors;
mod properties;

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{Event, ReceivedEvent, sse::stream_reset};

/// All kinds of variants.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Change<T = u32> {
    ListCleared,
    Removed(T),
    MovedTo(T, String),
    Added {
        id: T,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
    },
    Nothing(),
    Blank {},
    Unit(()),
    #[serde(rename = "état : 1")]
    Renamed(Option<T>),
    #[serde(rename = "message")]
    Default(Vec<T>),
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> String {
    let event = Event::tagged(value).unwrap().encode();
    String::from_utf8(event.to_vec()).unwrap()
}

fn received(event: &Event) -> ReceivedEvent {
    ReceivedEvent::new(None, event.encode())
}

fn read<T: DeserializeOwned>(name: &str, data: &str) -> serde_json::Result<T> {
    received(&Event::text(name, data).unwrap()).tagged()
}

#[test]
fn the_variant_is_the_name_and_its_content_the_data() {
    let added = |text: Option<&str>| Change::Added {
        id: 7,
        text: text.map(str::to_owned),
    };
    let cases = [
        (Change::ListCleared, "list-cleared", "null"),
        (Change::Removed(7), "removed", "7"),
        (
            Change::MovedTo(7, "a\nb".into()),
            "moved-to",
            r#"[7,"a\nb"]"#,
        ),
        (added(Some("é\"")), "added", r#"{"id":7,"text":"é\""}"#),
        (added(None), "added", r#"{"id":7}"#),
        (Change::Nothing(), "nothing", "[]"),
        (Change::Blank {}, "blank", "{}"),
        (Change::Unit(()), "unit", "null"),
        (Change::Renamed(None), "état : 1", "null"),
        (Change::Renamed(Some(7)), "état : 1", "7"),
        (Change::Default(vec![1, 2]), "message", "[1,2]"),
    ];
    for (change, name, data) in cases {
        let bytes = format!("event: {name}\ndata: {data}\n\n");
        assert_eq!(encoded(&change), bytes);
        assert_eq!(read::<Change>(name, data).unwrap(), change);
    }
}

#[test]
fn an_event_without_a_name_is_the_variant_message() {
    let event = Event::builder().data("[1]").build().unwrap();
    let change: Change = received(&event).tagged().unwrap();
    assert_eq!(change, Change::Default(vec![1]));
}

#[test]
fn a_wrapper_is_as_its_inner_enum() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Wrapper(Box<Change>);

    let wrapper = Wrapper(Box::new(Change::Removed(7)));
    assert_eq!(encoded(&&wrapper), "event: removed\ndata: 7\n\n");
    assert_eq!(read::<Wrapper>("removed", "7").unwrap(), wrapper);
}

#[test]
fn a_nested_enum_is_ordinary_json() {
    type Nested = Change<Change>;
    let nested = Nested::MovedTo(Change::Removed(7), String::new());
    let bytes = "event: moved-to\ndata: [{\"removed\":7},\"\"]\n\n";
    assert_eq!(encoded(&nested), bytes);
    let event = received(&Event::tagged(&nested).unwrap());
    assert_eq!(event.tagged::<Nested>().unwrap(), nested);
}

#[test]
fn content_may_be_borrowed_and_is_read_as_owned() {
    #[derive(Serialize)]
    enum Borrowed<'a> {
        Text { text: &'a str },
    }
    #[derive(Deserialize, Debug, PartialEq)]
    enum Owned {
        Text { text: Cow<'static, str> },
    }

    let event = received(&Event::tagged(&Borrowed::Text { text: "a" }).unwrap());
    let text = Cow::Borrowed("a");
    assert_eq!(event.tagged::<Owned>().unwrap(), Owned::Text { text });
}

#[test]
fn raw_json_with_line_breaks_is_split_and_read() {
    #[derive(Serialize)]
    enum Raw<'a> {
        Removed(&'a RawValue),
        MovedTo(&'a RawValue, &'a str),
        Added { id: &'a RawValue },
    }

    let raw: &RawValue = serde_json::from_str("[\r\n7]").unwrap();
    let cases = [
        (Raw::Removed(raw), "event: Removed\ndata: [\ndata: 7]\n\n"),
        (
            Raw::MovedTo(raw, "\n"),
            "event: MovedTo\ndata: [[\ndata: 7],\"\\n\"]\n\n",
        ),
        (
            Raw::Added { id: raw },
            "event: Added\ndata: {\"id\":[\ndata: 7]}\n\n",
        ),
    ];
    for (value, bytes) in cases {
        assert_eq!(encoded(&value), bytes);
    }
    let change: Change<Vec<u32>> = read("removed", "[\r\n7]").unwrap();
    assert_eq!(change, Change::Removed(vec![7]));
}

#[test]
fn a_variant_for_others_takes_any_name_and_any_data() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    enum Known {
        A(u32),
        #[serde(other)]
        Rest,
    }

    for data in ["null", "", "{\"a\":1}", "no JSON"] {
        assert_eq!(read::<Known>("x", data).unwrap(), Known::Rest, "{data}");
    }
    assert_eq!(read::<Known>("A", "1").unwrap(), Known::A(1));
    assert!(read::<Known>("A", "no JSON").is_err());
    assert_eq!(encoded(&Known::Rest), "event: Rest\ndata: null\n\n");
    assert_eq!(read::<Known>("Rest", "null").unwrap(), Known::Rest);
    assert!(read::<Known>("Rest", "1").is_err());
}

#[test]
fn a_reset_of_the_stream_is_a_variant_too() {
    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Ours {
        StreamReset { missed: Option<u64> },
    }

    for missed in [None, Some(3)] {
        let event = ReceivedEvent::new(None, stream_reset(&[], missed, None));
        assert_eq!(
            event.tagged::<Ours>().unwrap(),
            Ours::StreamReset { missed }
        );
    }
}

#[test]
fn an_alias_selects_its_variant() {
    #[derive(Deserialize, Debug, PartialEq)]
    enum Aliased {
        #[serde(alias = "old")]
        New,
    }

    assert_eq!(read::<Aliased>("old", "null").unwrap(), Aliased::New);
    assert!(read::<Aliased>("old", "1").is_err());
}
