//! What an event must not be.

use memchr::memchr3;

use crate::{Error, ErrorKind, excerpt::excerpt};

/// The longest id of an event in bytes.
const MAX_ID_LEN: usize = 255;

/// Why an [`Event`](crate::Event) cannot be built.
///
/// The message shows the start of the name or id and the rule. When a value cannot be serialised, the
/// [`source`](std::error::Error::source) is the error of `serde_json`.
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
    #[error("the event is empty: it has no name, data, id, retry or comment")]
    Nothing,
}

#[derive(Debug, thiserror::Error)]
enum Rule {
    #[error("it is empty")]
    Empty,
    #[error("it has {0} bytes, at most {MAX_ID_LEN} are allowed")]
    TooLong(usize),
    #[error("{0:?} is not allowed")]
    Character(char),
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
        0..=MAX_ID_LEN => check_characters("id", id),
        len => Err(InvalidEvent::new("id", id, Rule::TooLong(len))),
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
