//! An event of a stream as a client reads it.

use super::history::Item;
use axum_eventstream::LastEventId;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The fields of one event.
#[derive(Default)]
pub(super) struct Block<'a> {
    name: Option<&'a str>,
    data: &'a str,
    pub(super) id: Option<LastEventId>,
    pub(super) retry: Option<Duration>,
}

/// What an event is.
pub(super) enum Kind<'a> {
    /// With the time of its publish.
    Event {
        id: LastEventId,
        payload: &'a str,
        began: u64,
    },
    /// Anything else that belongs into a history.
    Other(Item),
    Nothing,
}

#[derive(Deserialize)]
struct Reset {
    channels: Vec<String>,
}

impl<'a> Block<'a> {
    /// Parses the lines of an event.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut block = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "event" => block.name = Some(value),
                "data" => block.data = value,
                "id" => block.id = value.parse().ok(),
                "retry" => block.retry = value.parse().ok().map(Duration::from_millis),
                _ => {}
            }
        }
        block
    }

    pub(super) fn kind(&self) -> Kind<'a> {
        match (self.name, self.id) {
            (Some("message"), Some(id)) => {
                let mut words = self.data.split(' ');
                let payload = words.next().unwrap_or_default();
                let began = words.next().and_then(|began| began.parse().ok());
                let began = began.unwrap_or_default();
                Kind::Event { id, payload, began }
            }
            (Some("stream-open"), id) => Kind::Other(Item::Open(id, Instant::now())),
            (Some("stream-reset"), id) => {
                let reset: Reset = serde_json::from_str(self.data).expect("the crate writes JSON");
                Kind::Other(Item::Reset(reset.channels, id))
            }
            (_, Some(id)) => Kind::Other(Item::Position(id)),
            (_, None) => Kind::Nothing,
        }
    }
}
