//! The content of a tuple or struct variant, whose fields arrive one by one.

use std::{fmt::Display, mem};

use serde::{
    Serialize,
    ser::{self, SerializeStructVariant, SerializeTupleVariant},
};

use crate::sse::{Event, InvalidEvent, encode};

/// [`InvalidEvent`] as an error of a serialiser, so that it does not implement serde's trait in public.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Invalid(#[from] pub(super) InvalidEvent);

impl ser::Error for Invalid {
    fn custom<T: Display>(message: T) -> Self {
        Self(InvalidEvent::json(ser::Error::custom(message)))
    }
}

/// An event with an unfinished array or object.
///
/// It counts on no announced number of fields, so the JSON is complete even if a `Serialize` implementation
/// announces a wrong one.
pub(super) struct Content {
    event: Event,
    /// The position of the data line.
    start: usize,
    /// What the next field begins with.
    separator: &'static str,
    end: u8,
}

impl Content {
    /// Begins an array or an object, whose brackets are given.
    pub(super) fn begin(name: &str, [begin, end]: [u8; 2]) -> Result<Self, Invalid> {
        let mut event = Event::start(name)?;
        let start = encode::begin_json(&mut event.lines);
        event.lines.push(begin);
        Ok(Self {
            event,
            start,
            separator: "",
            end,
        })
    }

    fn separate(&mut self) {
        let separator = mem::replace(&mut self.separator, ",");
        self.event.lines.extend_from_slice(separator.as_bytes());
    }

    fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Invalid> {
        serde_json::to_writer(&mut self.event.lines, value).map_err(InvalidEvent::json)?;
        Ok(())
    }

    fn finish(mut self) -> Event {
        self.event.lines.push(self.end);
        encode::end_json(&mut self.event.lines, self.start);
        self.event
    }
}

impl SerializeTupleVariant for Content {
    type Ok = Event;
    type Error = Invalid;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Invalid> {
        self.separate();
        self.write(value)
    }

    fn end(self) -> Result<Event, Invalid> {
        Ok(self.finish())
    }
}

impl SerializeStructVariant for Content {
    type Ok = Event;
    type Error = Invalid;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Invalid> {
        self.separate();
        self.write(key)?;
        self.event.lines.push(b':');
        self.write(value)
    }

    fn end(self) -> Result<Event, Invalid> {
        Ok(self.finish())
    }
}
