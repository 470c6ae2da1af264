//! Typed events: the variant of a serde enum is the name of an event, and its content is the data.
//!
//! 1. Only the four calls for an externally tagged variant name an event. Any other value is an error that
//!    names its type and the rule.
//! 2. Content is serialised directly into the event's buffer, as `Event::json` does.
//! 3. A wrapper (a newtype struct, a reference, a `Box`) is as its inner value.

mod content;
mod deserializer;
mod serializer;

use std::any::type_name;

use serde::{
    Serialize,
    de::{self, DeserializeOwned},
};

use super::{Event, InvalidEvent};
use crate::text::excerpt;
use deserializer::VariantDeserializer;
use serializer::VariantSerializer;

pub(super) fn to_event<T>(value: &T) -> Result<Event, InvalidEvent>
where
    T: Serialize + ?Sized,
{
    let type_name = type_name::<T>();
    let serializer = VariantSerializer { type_name };
    value.serialize(serializer).map_err(|error| error.0)
}

pub(super) fn from_event<T>(name: &str, data: &str) -> serde_json::Result<T>
where
    T: DeserializeOwned,
{
    let deserializer = VariantDeserializer {
        type_name: type_name::<T>(),
        name,
        data,
    };
    T::deserialize(deserializer)
        .map_err(|error| de::Error::custom(format_args!("event {}: {error}", excerpt(name))))
}

#[cfg(test)]
mod tests;
