//! The serialiser that makes an event of a variant.

use std::fmt::Display;

use serde::{Serialize, Serializer, ser::Impossible};

use super::content::{Content, Invalid};
use crate::sse::{Event, InvalidEvent};

type Refusal = Impossible<Event, Invalid>;

/// Accepts the variants of an enum, and refuses all other values.
pub(super) struct VariantSerializer {
    type_name: &'static str,
}

impl VariantSerializer {
    pub(super) fn new(type_name: &'static str) -> Self {
        Self { type_name }
    }

    fn refuse<T>(self, kind: &'static str) -> Result<T, Invalid> {
        Err(InvalidEvent::no_variant(self.type_name, kind).into())
    }
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
        Content::array(variant)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Content, Invalid> {
        Content::object(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Event, Invalid> {
        value.serialize(self)
    }

    fn serialize_bool(self, _: bool) -> Result<Event, Invalid> {
        self.refuse("a boolean")
    }

    fn serialize_i8(self, _: i8) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_i16(self, _: i16) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_i32(self, _: i32) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_i64(self, _: i64) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_i128(self, _: i128) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_u8(self, _: u8) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_u16(self, _: u16) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_u32(self, _: u32) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_u64(self, _: u64) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_u128(self, _: u128) -> Result<Event, Invalid> {
        self.refuse("an integer")
    }

    fn serialize_f32(self, _: f32) -> Result<Event, Invalid> {
        self.refuse("a float")
    }

    fn serialize_f64(self, _: f64) -> Result<Event, Invalid> {
        self.refuse("a float")
    }

    fn serialize_char(self, _: char) -> Result<Event, Invalid> {
        self.refuse("a character")
    }

    fn serialize_str(self, _: &str) -> Result<Event, Invalid> {
        self.refuse("a string")
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<Event, Invalid> {
        self.refuse("a string")
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Event, Invalid> {
        self.refuse("bytes")
    }

    fn serialize_none(self) -> Result<Event, Invalid> {
        self.refuse("an option")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Event, Invalid> {
        self.refuse("an option")
    }

    fn serialize_unit(self) -> Result<Event, Invalid> {
        self.refuse("a unit")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Event, Invalid> {
        self.refuse("a unit struct")
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
