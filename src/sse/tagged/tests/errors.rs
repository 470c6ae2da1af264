//! Values and events that are refused, and what the errors show.

use std::{any::type_name, collections::BTreeMap, error::Error as _, fmt::Debug};

use serde::{
    Deserialize, Serialize, Serializer,
    de::DeserializeOwned,
    ser::{Error as _, SerializeStructVariant, SerializeTupleVariant},
};
use serde_json::{Value, json};

use super::{Change, encoded, read};
use crate::Event;

fn refusal<T: Serialize + ?Sized>(value: &T) -> String {
    Event::tagged(value).unwrap_err().to_string()
}

const RULE: &str = "a tagged event is an enum in serde's default representation, externally tagged, without \
    `tag`, `content` or `untagged`";

/// The refusal shows the type and what serde makes of it.
fn assert_refused<T: Serialize + ?Sized>(value: &T, kind: &str) {
    let name = type_name::<T>();
    let message = format!("{name} is serialised as {kind}: {RULE}");
    assert_eq!(refusal(value), message);
}

#[test]
fn a_value_that_is_no_enum_is_refused_with_type_and_rule() {
    #[derive(Serialize)]
    struct Point {
        x: u8,
    }
    #[derive(Serialize)]
    struct Pair(u8, u8);
    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Id(u128);

    assert_refused(&Point { x: 1 }, "a struct");
    assert_refused(&Pair(1, 2), "a tuple struct");
    assert_refused(&Unit, "a unit struct");
    assert_refused(&Id(1), "an integer");
    assert_refused(&(), "a unit");
    assert_refused(&true, "a boolean");
    assert_refused(&1i128, "an integer");
    assert_refused(&1.5, "a float");
    assert_refused(&'a', "a character");
    assert_refused("secret", "a string");
    assert_refused(&format_args!("{}", "secret"), "a string");
    assert_refused(&Some(Change::Removed(7)), "an option");
    assert_refused(&None::<Change>, "an option");
    assert_refused(&[Change::Removed(7)][..], "a sequence");
    assert_refused(&(1, 2), "a tuple");
    assert_refused(&BTreeMap::from([("removed", 7)]), "a map");
    assert_refused(&json!({"removed": 7}), "a map");
}

#[test]
fn another_representation_of_an_enum_is_refused() {
    #[derive(Serialize, Deserialize, Debug)]
    #[serde(tag = "type")]
    enum Internal {
        A { x: u8 },
        B(Inner),
        C,
    }
    #[derive(Serialize, Deserialize, Debug)]
    struct Inner {
        x: u8,
    }
    #[derive(Serialize, Deserialize, Debug)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        A(u8),
    }
    #[derive(Serialize, Deserialize, Debug)]
    #[serde(untagged)]
    enum Untagged {
        A { x: u8 },
        B(u8),
        C,
    }

    assert_refused(&Internal::A { x: 1 }, "a struct");
    assert_refused(&Internal::B(Inner { x: 1 }), "a struct");
    assert_refused(&Internal::C, "a struct");
    assert_refused(&Adjacent::A(1), "a struct");
    assert_refused(&Untagged::A { x: 1 }, "a struct");
    assert_refused(&Untagged::B(1), "an integer");
    assert_refused(&Untagged::C, "a unit");
    assert_unreadable::<Internal>();
    assert_unreadable::<Adjacent>();
    assert_unreadable::<Untagged>();
    assert_unreadable::<Inner>();
    assert_unreadable::<Option<Change>>();
    assert_unreadable::<Value>();
    assert_unreadable::<String>();
    assert_unreadable::<()>();
}

/// No event is read as a type that is not such an enum.
fn assert_unreadable<T: DeserializeOwned + Debug>() {
    let error = read::<T>("A", "{\"x\":1}").unwrap_err().to_string();
    let name = type_name::<T>();
    let message = format!("event \"A\": {name} is not deserialised as an enum: {RULE}");
    assert_eq!(error, message);
}

#[test]
fn a_variant_whose_name_no_event_can_have_is_refused() {
    #[derive(Serialize)]
    enum Names {
        #[serde(rename = "a\nb")]
        Unit,
        #[serde(rename = "a\rb")]
        Newtype(u8),
        #[serde(rename = "a\0")]
        Tuple(u8, u8),
        #[serde(rename = "")]
        Struct { x: u8 },
    }

    let cases = [
        (Names::Unit, r#""a\nb": '\n' is not allowed"#),
        (Names::Newtype(1), r#""a\rb": '\r' is not allowed"#),
        (Names::Tuple(1, 2), r#""a\0": '\0' is not allowed"#),
        (Names::Struct { x: 1 }, r#""": it is empty"#),
    ];
    for (value, message) in cases {
        assert_eq!(refusal(&value), format!("invalid event name {message}"));
    }
}

#[test]
fn content_that_cannot_be_serialised_is_an_error_with_its_cause() {
    #[derive(Serialize)]
    enum Failing {
        Newtype(BTreeMap<(u8, u8), u8>),
        Tuple(u8, BTreeMap<(u8, u8), u8>),
        Struct {
            map: BTreeMap<(u8, u8), u8>,
        },
        #[serde(skip_serializing)]
        Skipped,
    }

    let map = || BTreeMap::from([((1, 2), 3)]);
    let skipped = "the enum variant Failing::Skipped cannot be serialized";
    let cases = [
        (Failing::Newtype(map()), "key must be a string"),
        (Failing::Tuple(1, map()), "key must be a string"),
        (Failing::Struct { map: map() }, "key must be a string"),
        (Failing::Skipped, skipped),
    ];
    for (value, cause) in cases {
        let error = Event::tagged(&value).unwrap_err();
        let message = "the data of the event cannot be serialised as JSON";
        assert_eq!(error.to_string(), message);
        assert!(error.source().unwrap().is::<serde_json::Error>());
        assert_eq!(error.source().unwrap().to_string(), cause);
    }
}

/// Implementations that do other than they announce.
enum Lie {
    Failure,
    FewerElements,
    MoreElements,
    FewerFields,
    MoreFields,
}

impl Serialize for Lie {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let announced = match self {
            Self::FewerElements | Self::FewerFields => usize::MAX,
            _ => 0,
        };
        match self {
            Self::Failure => Err(S::Error::custom("no")),
            Self::FewerElements | Self::MoreElements => {
                let mut tuple = serializer.serialize_tuple_variant("Lie", 9, "lie", announced)?;
                tuple.serialize_field(&1)?;
                tuple.serialize_field(&2)?;
                tuple.end()
            }
            Self::FewerFields | Self::MoreFields => {
                let mut object = serializer.serialize_struct_variant("", 9, "lie", announced)?;
                object.serialize_field("a", &1)?;
                object.skip_field("b")?;
                object.serialize_field("\"\n", &2)?;
                object.end()
            }
        }
    }
}

#[test]
fn a_wrong_serialize_implementation_makes_complete_json_or_an_error() {
    let array = "event: lie\ndata: [1,2]\n\n";
    let object = "event: lie\ndata: {\"a\":1,\"\\\"\\n\":2}\n\n";
    assert_eq!(encoded(&Lie::FewerElements), array);
    assert_eq!(encoded(&Lie::MoreElements), array);
    assert_eq!(encoded(&Lie::FewerFields), object);
    assert_eq!(encoded(&Lie::MoreFields), object);
    let error = Event::tagged(&Lie::Failure).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "no");
}

#[test]
fn an_event_of_no_variant_is_an_error_with_its_name_and_the_reason() {
    #[derive(Deserialize, Debug, PartialEq)]
    enum Small {
        Unit,
        New(u8),
        Two(u8, u8),
        Both { x: u8 },
    }

    let cases = [
        (
            "x",
            "1",
            "unknown variant `x`, expected one of `Unit`, `New`, `Two`, `Both`",
        ),
        (
            "Unit",
            "1",
            "invalid type: integer `1`, expected unit at line 1 column 1",
        ),
        ("Unit", "", "EOF while parsing a value at line 1 column 0"),
        (
            "New",
            "256",
            "invalid value: integer `256`, expected u8 at line 1 column 3",
        ),
        ("New", "1 2", "trailing characters at line 1 column 3"),
        (
            "Two",
            "[1]",
            "invalid length 1, expected tuple variant Small::Two with 2 elements at line 1 column 3",
        ),
        ("Two", "[1,2,3]", "trailing characters at line 1 column 6"),
        ("Both", "{}", "missing field `x` at line 1 column 2"),
    ];
    for (name, data, message) in cases {
        let error = read::<Small>(name, data).unwrap_err();
        assert_eq!(error.to_string(), format!("event {name:?}: {message}"));
    }
    let long = "x".repeat(1000);
    let error = read::<Small>(&long, "1").unwrap_err().to_string();
    let start = format!("event \"{}\"…: unknown variant", &long[..64]);
    assert!(error.starts_with(&start), "{error}");
}
