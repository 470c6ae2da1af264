//! What a client has read, and where it is.

use super::{
    block::{Block, Kind},
    history::{Item, Life},
    tally::{Channels, Tally},
};
use crate::line::{CHANNELS, now};
use axum_eventstream::LastEventId;
use std::{sync::Arc, time::Duration};

/// The time before a client reconnects, if the server has not set one.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Journal {
    pub(super) channels: Vec<&'static str>,
    pub(super) last: Option<LastEventId>,
    /// The sequence up to which it has all events, unless it was reset since.
    position: Option<u64>,
    pub(super) lives: Vec<Life>,
    pub(super) retry: Duration,
    tally: Arc<Tally>,
}

impl Journal {
    pub(super) fn new(channels: Vec<&'static str>, tally: Arc<Tally>) -> Self {
        let mut journal = Self {
            channels,
            last: None,
            position: None,
            lives: Vec::new(),
            retry: RETRY,
            tally,
        };
        journal.begin();
        journal
    }

    /// Begins a life without a `Last-Event-ID`.
    pub(super) fn begin(&mut self) {
        (self.last, self.position) = (None, None);
        self.lives.push(Life {
            channels: self.channels.clone(),
            items: Vec::new(),
        });
    }

    /// Whether it has the last event of its channels.
    pub(super) fn has_reached(&self, ends: &[u64; CHANNELS.len()]) -> bool {
        let channels = CHANNELS.into_iter().zip(ends);
        let ours = channels.filter(|(channel, _)| self.channels.contains(channel));
        let last = self.last.map(LastEventId::sequence);
        last >= ours.map(|(_, end)| *end).max()
    }

    /// Returns whether it is an event of the application.
    pub(super) fn block(&mut self, text: &str, opened: u64) -> bool {
        let block = Block::parse(text);
        self.retry = block.retry.unwrap_or(self.retry);
        let kind = block.kind();
        let is_event = matches!(kind, Kind::Event { .. });
        match kind {
            Kind::Event { id, payload, began } => self.event(id, payload, began, opened),
            Kind::Other(item) => self.other(item),
            Kind::Nothing => {}
        }
        self.last = block.id.or(self.last);
        is_event
    }

    fn event(&mut self, id: LastEventId, payload: &str, began: u64, opened: u64) {
        let channel = payload.split('/').next().unwrap_or_default();
        let place = (self.position, bits(&self.channels));
        // Events from before the stream was open are a replay.
        let delay = (began > opened).then(|| now().saturating_sub(began));
        let tally = &self.tally;
        let payload = tally.event(id, payload, bits(&[channel]), place, delay);
        self.position = self.position.max(Some(id.sequence()));
        self.add(Item::Event(id, payload));
    }

    fn other(&mut self, item: Item) {
        match &item {
            Item::Open(Some(id), _) | Item::Position(id) => {
                let to = id.sequence();
                let channels = bits(&self.channels);
                self.tally.position(self.position, to, channels);
                self.position = self.position.max(Some(to));
            }
            Item::Reset(_, id) => {
                self.count_reset(*id);
                self.position = id.map(LastEventId::sequence);
            }
            Item::Open(None, _) | Item::Connected(_) | Item::Event(..) => {}
        }
        self.add(item);
    }

    fn count_reset(&self, id: Option<LastEventId>) {
        let epochs = self
            .last
            .map(LastEventId::epoch)
            .zip(id.map(LastEventId::epoch));
        self.tally.count(|counts| {
            let resets = &mut counts.resets;
            match epochs {
                None => resets.without_position += 1,
                Some((before, after)) if before != after => resets.new_epoch += 1,
                Some(_) => resets.missing += 1,
            }
        });
    }

    pub(super) fn add(&mut self, item: Item) {
        let life = self.lives.last_mut().expect("a life has begun");
        life.items.push(item);
    }
}

fn bits(channels: &[&str]) -> Channels {
    let positions = channels.iter().filter_map(|channel| {
        let mut names = CHANNELS.iter();
        names.position(|name| name == channel)
    });
    positions.fold(0, |bits, position| bits | 1 << position)
}
