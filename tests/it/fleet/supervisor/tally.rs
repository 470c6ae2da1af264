//! Numbers that are counted while the fleet runs. The verdict does not use them: it compares the histories.

use super::delays::Delays;
use crate::line::now;
use axum_eventstream::LastEventId;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Instant,
};

pub(super) const PUSHPINS: usize = 2;

pub(super) struct Tally {
    start: Instant,
    numbers: Mutex<Numbers>,
}

#[derive(Default)]
struct Numbers {
    counts: Counts,
    delays: Delays,
    /// Connection attempts after the first of each client, by the second.
    reconnects: Vec<usize>,
    /// The channels of the events that any client has read, by their sequences.
    events: BTreeMap<u64, Channels>,
    /// Clients share their payloads.
    payloads: HashSet<Arc<str>>,
}

/// A set of channels: a bit for each.
pub(super) type Channels = u8;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) connected: usize,
    pub(super) deliveries: u64,
    pub(super) reconnects: u64,
    pub(super) duplicates: u64,
    pub(super) gaps: u64,
    /// Answers other than a stream, such as a proxy's 502.
    pub(super) refused: u64,
    /// Streams behind a proxy that a client has given up after a silence.
    pub(super) silences: u64,
    pub(super) resets: Resets,
    pub(super) pushpins: [Held; PUSHPINS],
}

/// The clients of a Pushpin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) connected: usize,
    pub(super) deliveries: u64,
}

/// Resets by their cause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resets {
    /// The log has a new epoch.
    pub(super) new_epoch: u64,
    /// The epoch is the same, and entries are missing.
    pub(super) missing: u64,
    /// The client had no position.
    pub(super) without_position: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            numbers: Mutex::default(),
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.numbers.lock().unwrap().counts);
    }

    pub(super) fn counts(&self) -> Counts {
        self.numbers.lock().unwrap().counts
    }

    /// The delays in microseconds of half and of 99 % of the last seconds' events, and of all.
    pub(super) fn delays(&self) -> ([u64; 2], [u64; 2]) {
        self.numbers.lock().unwrap().delays.percentiles(now())
    }

    pub(super) fn reconnects(&self) {
        let second = self.start.elapsed().as_secs() as usize;
        let mut numbers = self.numbers.lock().unwrap();
        numbers.counts.reconnects += 1;
        let length = numbers.reconnects.len().max(second + 1);
        numbers.reconnects.resize(length, 0);
        numbers.reconnects[second] += 1;
    }

    /// The most connection attempts in a second since this time.
    pub(super) fn most_reconnects(&self, since: Instant) -> usize {
        let first = since.saturating_duration_since(self.start).as_secs() as usize;
        let numbers = self.numbers.lock().unwrap();
        numbers
            .reconnects
            .iter()
            .skip(first)
            .copied()
            .max()
            .unwrap_or(0)
    }

    /// A client on these channels, which was at a position, has read an event. Returns the payload to keep.
    pub(super) fn event(
        &self,
        id: LastEventId,
        payload: &str,
        channel: Channels,
        (position, channels): (Option<u64>, Channels),
        delay: Option<u64>,
    ) -> Arc<str> {
        let mut numbers = self.numbers.lock().unwrap();
        numbers.counts.deliveries += 1;
        numbers.events.insert(id.sequence(), channel);
        if let Some(delay) = delay {
            numbers.delays.add(now(), delay);
        }
        match position {
            Some(position) if position >= id.sequence() => numbers.counts.duplicates += 1,
            _ => numbers.advance(position, id.sequence() - 1, channels),
        }
        numbers.payload(payload)
    }

    /// A client has a later position without an event.
    pub(super) fn position(&self, position: Option<u64>, to: u64, channels: Channels) {
        self.numbers.lock().unwrap().advance(position, to, channels);
    }
}

impl Numbers {
    /// Counts the known events between two positions, which the client has not read.
    fn advance(&mut self, position: Option<u64>, to: u64, channels: Channels) {
        if let Some(position) = position
            && position < to
        {
            let between = self.events.range(position + 1..=to);
            let missing = between.filter(|(_, channel)| **channel & channels != 0);
            self.counts.gaps += missing.count() as u64;
        }
    }

    fn payload(&mut self, payload: &str) -> Arc<str> {
        if let Some(known) = self.payloads.get(payload) {
            return known.clone();
        }
        let payload: Arc<str> = payload.into();
        self.payloads.insert(payload.clone());
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> LastEventId {
        format!("000000000001-{sequence}").parse().unwrap()
    }

    #[test]
    fn gaps_and_duplicates_are_counted() {
        let tally = Tally::new();
        let read = |sequence, channel, position, channels| {
            tally.event(id(sequence), "a/1", channel, (position, channels), None);
            let counts = tally.counts();
            (counts.gaps, counts.duplicates)
        };
        assert_eq!(read(5, 1, None, 1), (0, 0));
        assert_eq!(read(6, 2, Some(5), 3), (0, 0));
        assert_eq!(read(7, 1, Some(5), 1), (0, 0), "6 is on another channel");
        assert_eq!(read(7, 1, Some(5), 3), (1, 0), "6 is missing");
        assert_eq!(read(7, 1, Some(7), 3), (1, 1));
    }
}
