//! The serialiser that makes an event of a variant.

use std::fmt::Display;

use serde::{Serialize, Serializer, ser::Impossible};

use super::content::{Content, Invalid};
use crate::sse::{Event, InvalidEvent};

type Refusal = Impossible<Event, Invalid>;

/// Accepts the variants of an enum, and refuses all other values.
pub(super) struct VariantSerializer {
    pub(super) type_name: &'static str,
}

impl VariantSerializer {
    fn refuse<T>(self, kind: &'static str) -> Result<T, Invalid> {
        Err(InvalidEvent::no_variant(self.type_name, kind).into())
    }
}

/// The methods for values of a kind that is no variant.
macro_rules! refuse {
    ($($kind:literal: $($method:ident($($value:ty)?))+;)+) => {$($(
        fn $method(self $(, _: $value)?) -> Result<Event, Invalid> {
            self.refuse($kind)
        }
    )+)+};
}

impl Serializer for VariantSerializer {
    type Ok = Event;
    type Error = Invalid;
    type SerializeSeq = Refusal;
    type SerializeTuple = Refusal;
    type SerializeTupleStruct = Refusal;
    type SerializeTupleVariant = Content;
    type SerializeMap = Refusal;
    type SerializeStruct = Refusal;
    type SerializeStructVariant = Content;

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Event, Invalid> {
        Ok(Event::json(variant, &())?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Event, Invalid> {
        Ok(Event::json(variant, value)?)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Content, Invalid> {
        Content::begin(variant, *b"[]")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Content, Invalid> {
        Content::begin(variant, *b"{}")
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Event, Invalid> {
        value.serialize(self)
    }

    refuse! {
        "a boolean": serialize_bool(bool);
        "an integer": serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
            serialize_i128(i128) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
            serialize_u128(u128);
        "a float": serialize_f32(f32) serialize_f64(f64);
        "a character": serialize_char(char);
        "a string": serialize_str(&str);
        "bytes": serialize_bytes(&[u8]);
        "an option": serialize_none();
        "a unit": serialize_unit();
        "a unit struct": serialize_unit_struct(&'static str);
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<Event, Invalid> {
        self.refuse("a string")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Event, Invalid> {
        self.refuse("an option")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Refusal, Invalid> {
        self.refuse("a sequence")
    }

    fn serialize_tuple(self, _: usize) -> Result<Refusal, Invalid> {
        self.refuse("a tuple")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Refusal, Invalid> {
        self.refuse("a tuple struct")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Refusal, Invalid> {
        self.refuse("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Refusal, Invalid> {
        self.refuse("a struct")
    }
}
