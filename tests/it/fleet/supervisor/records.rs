//! The publishes of all instances and their outcomes.

use super::history::{Outcome, Record};
use crate::line::{CHANNELS, Ending, now};
use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

pub(super) struct Records {
    publishes: Mutex<Publishes>,
    /// The same moment on both clocks.
    start: (Instant, u64),
}

#[derive(Default)]
struct Publishes {
    records: Vec<Record>,
    /// Where the record of a payload is.
    places: HashMap<String, usize>,
    begun: u64,
    acknowledged: u64,
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            publishes: Mutex::default(),
            start: (Instant::now(), now()),
        }
    }

    pub(super) fn begin(&self, payloads: Vec<String>, at: u64) {
        let (start, clock) = self.start;
        let began = start + Duration::from_micros(at.saturating_sub(clock));
        let mut publishes = self.publishes.lock().unwrap();
        publishes.begun += payloads.len() as u64;
        for payload in payloads {
            let place = publishes.records.len();
            publishes.places.insert(payload.clone(), place);
            publishes.records.push(Record {
                channel: channel(&payload),
                payload,
                began,
                outcome: Outcome::Unknown,
            });
        }
    }

    pub(super) fn end(&self, payloads: &[String], ending: &Ending) {
        let mut publishes = self.publishes.lock().unwrap();
        for (index, payload) in payloads.iter().enumerate() {
            let outcome = match ending {
                Ending::Published(ids) => Outcome::Published(ids[index]),
                Ending::NotPublished => Outcome::NotPublished,
                Ending::MaybePublished => Outcome::MaybePublished,
            };
            publishes.acknowledged += u64::from(matches!(outcome, Outcome::Published(_)));
            let place = publishes.places[payload];
            publishes.records[place].outcome = outcome;
        }
    }

    /// The number of events whose publish has begun, and the number of acknowledged ones.
    pub(super) fn counts(&self) -> (u64, u64) {
        let publishes = self.publishes.lock().unwrap();
        (publishes.begun, publishes.acknowledged)
    }

    /// The sequences of the last events, if all were published.
    pub(super) fn ends(&self) -> Option<[u64; CHANNELS.len()]> {
        let publishes = self.publishes.lock().unwrap();
        let mut ends = [0; CHANNELS.len()];
        for (end, channel) in ends.iter_mut().zip(CHANNELS) {
            let place = *publishes.places.get(&format!("{channel}/end"))?;
            match publishes.records[place].outcome {
                Outcome::Published(Some(id)) => *end = id.sequence(),
                _ => return None,
            }
        }
        Some(ends)
    }

    pub(super) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.publishes.lock().unwrap().records)
    }
}

fn channel(payload: &str) -> &'static str {
    let mut names = CHANNELS.into_iter();
    let is_it = |name: &&str| {
        payload
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    names
        .find(is_it)
        .expect("instances publish on these channels")
}
