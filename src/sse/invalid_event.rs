//! The error of an invalid event.

use memchr::memchr3;

use crate::{
    Error, ErrorKind,
    text::{MAX_LEN, Rule, excerpt, has_outer_white_space},
};
use std::time::Duration;

/// The maximum `retry` in milliseconds. Browsers read it as a 32-bit `int`. With a longer one, npm's
/// `eventsource` reconnects in a loop without a pause, since `setTimeout` overflows.
const MAX_RETRY: u128 = i32::MAX as u128;

/// What `Event::tagged` and `ReceivedEvent::tagged` take.
pub(super) const TAGGED_RULE: &str = "a tagged event is an enum in serde's default representation, \
    externally tagged, without `tag`, `content` or `untagged`";

/// The reason why an [`Event`](crate::Event) cannot be built.
///
/// As a response it is a plain `500 Internal Server Error`, and the reason is logged.
///
/// The message shows the start of the name, id or key, the retry time, or the type that is no enum, and the rule. If
/// a value cannot be serialised, the [`source`](std::error::Error::source) is the error of `serde_json`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct InvalidEvent(Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("invalid event {field} {value}: {rule}")]
    Field {
        field: &'static str,
        value: Box<str>,
        rule: Rule,
    },
    #[error("the data of the event cannot be serialised as JSON")]
    Json(#[source] serde_json::Error),
    #[error("{type_name} is serialised as {kind}: {TAGGED_RULE}")]
    NoVariant {
        type_name: &'static str,
        kind: &'static str,
    },
    #[error("the event is empty: it has no name, data, id, retry or comment")]
    Nothing,
    #[error("`remove_key` needs a `key`, and the event has none")]
    NoKey,
    #[error("invalid event retry {0} ms: at most {MAX_RETRY} ms are allowed")]
    Retry(u128),
}

impl InvalidEvent {
    fn new(field: &'static str, value: &str, rule: Rule) -> Self {
        Self(Reason::Field {
            field,
            value: excerpt(value),
            rule,
        })
    }

    pub(super) fn json(error: serde_json::Error) -> Self {
        Self(Reason::Json(error))
    }

    /// For a value of this type that is not a variant of an enum.
    pub(super) fn no_variant(type_name: &'static str, kind: &'static str) -> Self {
        Self(Reason::NoVariant { type_name, kind })
    }

    pub(super) fn nothing() -> Self {
        Self(Reason::Nothing)
    }
}

impl From<InvalidEvent> for Error {
    fn from(error: InvalidEvent) -> Self {
        Self::transparent(ErrorKind::InvalidEvent, error)
    }
}

pub(super) fn check_name(name: &str) -> Result<(), InvalidEvent> {
    match name.is_empty() {
        true => Err(InvalidEvent::new("name", name, Rule::Empty)),
        false => check_characters("name", name),
    }
}

pub(super) fn check_id(id: &str) -> Result<(), InvalidEvent> {
    match id.len() {
        0..=MAX_LEN => check_characters("id", id)?,
        len => return Err(InvalidEvent::new("id", id, Rule::TooLong(len))),
    }
    match id {
        // A request with `Last-Event-ID: error` is answered with 400.
        "error" => Err(InvalidEvent::new("id", id, Rule::Reserved)),
        // HTTP trims header values, so a client could not send the id unchanged.
        _ if has_outer_white_space(id) => Err(InvalidEvent::new("id", id, Rule::OuterWhiteSpace)),
        _ => Ok(()),
    }
}

/// Any characters are allowed, since a key is not sent.
pub(super) fn check_key(key: Option<&str>, is_removed: bool) -> Result<(), InvalidEvent> {
    let rule = match key {
        None if is_removed => return Err(InvalidEvent(Reason::NoKey)),
        Some("") => Rule::Empty,
        Some(key) if key.len() > MAX_LEN => Rule::TooLong(key.len()),
        _ => return Ok(()),
    };
    Err(InvalidEvent::new("key", key.unwrap_or_default(), rule))
}

/// Returns a `retry` in whole milliseconds.
pub(super) fn check_retry(after: Duration) -> Result<u64, InvalidEvent> {
    match after.as_millis() {
        milliseconds @ 0..=MAX_RETRY => Ok(milliseconds as u64),
        milliseconds => Err(InvalidEvent(Reason::Retry(milliseconds))),
    }
}

fn check_characters(field: &'static str, value: &str) -> Result<(), InvalidEvent> {
    match memchr3(b'\r', b'\n', b'\0', value.as_bytes()) {
        Some(at) => {
            let rule = Rule::Character(value.as_bytes()[at].into());
            Err(InvalidEvent::new(field, value, rule))
        }
        None => Ok(()),
    }
}
