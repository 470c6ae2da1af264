//! What clients have read and publishers have done, as the rules compare it.

use axum_eventstream::LastEventId;
use std::{sync::Arc, time::Instant};

#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Connected to this instance.
    Connected(#[expect(dead_code, reason = "it is shown after a failure")] usize),
    Open(Option<LastEventId>, Instant),
    /// Clients may share a payload, since histories have many of them.
    Event(LastEventId, Arc<str>),
    Reset(Vec<String>, Option<LastEventId>),
    /// An id without an event.
    Position(LastEventId),
}

/// Connections that follow one another with their `Last-Event-ID`.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) channels: Vec<&'static str>,
    pub(super) items: Vec<Item>,
}

/// What a client has read.
pub(super) struct Read {
    pub(super) home: Option<usize>,
    pub(super) lives: Vec<Life>,
    /// Whether it has read everything at the end.
    pub(super) is_drained: bool,
}

/// An event that was published, or that was to be.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) channel: &'static str,
    /// No other record has it.
    pub(super) payload: String,
    pub(super) began: Instant,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The publisher was killed.
    Unknown,
    /// Without an id if the instance has not read it back.
    Published(Option<LastEventId>),
    NotPublished,
    MaybePublished,
}

impl Life {
    pub(super) fn resets(&self) -> usize {
        let is_reset = |item: &&Item| matches!(item, Item::Reset(..));
        self.items.iter().filter(is_reset).count()
    }

    pub(super) fn events(&self) -> usize {
        let is_event = |item: &&Item| matches!(item, Item::Event(..));
        self.items.iter().filter(is_event).count()
    }
}
