//! Compares the histories of clients and publishers.
//!
//! The truth has every event that a publisher has an id of, or that any client has read. Between two positions of a
//! client, the client must have every event of the truth, unless a reset lies exactly there.

use super::history::{Item, Life, Outcome, Read, Record};
use axum_eventstream::LastEventId;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
};

/// A broken rule.
#[derive(Debug)]
pub(super) struct Violation {
    /// The client, its life, and the item there.
    pub(super) place: Option<(usize, usize, usize)>,
    pub(super) text: String,
}

/// The events by their sequences.
#[derive(Default)]
struct Truth<'a> {
    events: BTreeMap<u64, (LastEventId, &'a str)>,
    ids: HashMap<&'a str, Vec<LastEventId>>,
    violations: Vec<Violation>,
}

/// Follows one life of a client.
struct Walk<'a> {
    truth: &'a Truth<'a>,
    life: &'a Life,
    position: Option<u64>,
    /// Channels whose events may be missing up to the next position.
    excused: Vec<String>,
    /// Payloads since the last reset.
    seen: HashSet<&'a str>,
}

/// Returns the broken rules.
pub(super) fn check(records: &[Record], reads: &[Read]) -> Vec<Violation> {
    let mut truth = Truth::default();
    truth.add_published(records);
    reads.iter().for_each(|read| truth.add_read(read));
    truth.check_outcomes(records, reads);
    let mut violations = std::mem::take(&mut truth.violations);
    for (client, read) in reads.iter().enumerate() {
        for (number, life) in read.lives.iter().enumerate() {
            let mut failed = |item, text| {
                let place = Some((client, number, item));
                violations.push(Violation { place, text });
            };
            check_start(life, records).unwrap_or_else(|text| failed(0, text));
            let mut walk = Walk::new(&truth, life);
            for (index, item) in life.items.iter().enumerate() {
                walk.step(item).unwrap_or_else(|text| failed(index, text));
            }
            let is_last = number + 1 == read.lives.len();
            if is_last && !read.is_drained {
                failed(life.items.len(), "it has not reached the end".to_owned());
            }
        }
    }
    violations
}

fn channel(payload: &str) -> &str {
    payload.split('/').next().expect("a payload has a channel")
}

/// Events that were published after a new client was subscribed have later ids than its start.
fn check_start(life: &Life, records: &[Record]) -> Result<(), String> {
    let open = life.items.iter().find_map(|item| match item {
        Item::Open(id, at) => Some((*id, *at)),
        _ => None,
    });
    let Some((Some(start), at)) = open else {
        return Ok(());
    };
    let is_before_start = |record: &&Record| {
        let is_early = matches!(record.outcome, Outcome::Published(Some(id)) if id.sequence() <= start.sequence());
        is_early && record.began > at && life.channels.contains(&record.channel)
    };
    match records.iter().find(is_before_start) {
        Some(record) => Err(format!(
            "{record:?} was published after it began at {start}"
        )),
        None => Ok(()),
    }
}

impl<'a> Truth<'a> {
    fn violation(&mut self, text: String) {
        self.violations.push(Violation { place: None, text });
    }

    fn add_published(&mut self, records: &'a [Record]) {
        for record in records {
            if let Outcome::Published(Some(id)) = record.outcome {
                self.add(id, &record.payload);
            }
        }
    }

    fn add_read(&mut self, read: &'a Read) {
        for item in read.lives.iter().flat_map(|life| &life.items) {
            if let Item::Event(id, payload) = item {
                self.add(*id, payload);
            }
        }
    }

    fn add(&mut self, id: LastEventId, payload: &'a str) {
        let known = *self.events.entry(id.sequence()).or_insert((id, payload));
        if known != (id, payload) {
            self.violation(format!("{id} is {payload}, and {} is {}", known.0, known.1));
        }
        let ids = self.ids.entry(payload).or_default();
        if !ids.contains(&id) {
            ids.push(id);
            let is_twice = ids
                .iter()
                .filter(|other| other.epoch() == id.epoch())
                .count()
                > 1;
            if is_twice {
                let text = format!("{payload} has the ids {ids:?}");
                self.violation(text);
            }
        }
    }

    fn check_outcomes(&mut self, records: &[Record], reads: &[Read]) {
        let has_resets = reads
            .iter()
            .flat_map(|read| &read.lives)
            .any(|life| life.resets() > 0);
        let names: HashSet<_> = records.iter().map(|record| &*record.payload).collect();
        let unknown = self.ids.keys().filter(|payload| !names.contains(**payload));
        let unknown: Vec<_> = unknown
            .map(|payload| format!("nobody has published {payload}"))
            .collect();
        unknown.into_iter().for_each(|text| self.violation(text));
        for record in records {
            let is_known = self.ids.contains_key(&*record.payload);
            match record.outcome {
                Outcome::NotPublished if is_known => {
                    self.violation(format!("{record:?} was published"));
                }
                Outcome::Published(None) if !is_known && !has_resets => {
                    self.violation(format!("nobody has {record:?}"));
                }
                _ => {}
            }
        }
    }
}

impl<'a> Walk<'a> {
    fn new(truth: &'a Truth<'a>, life: &'a Life) -> Self {
        Self {
            truth,
            life,
            position: None,
            excused: Vec::new(),
            seen: HashSet::new(),
        }
    }

    fn step(&mut self, item: &'a Item) -> Result<(), String> {
        match item {
            Item::Connected(_) | Item::Open(None, _) => Ok(()),
            Item::Open(Some(id), _) if self.position.is_none() && self.excused.is_empty() => {
                self.position = Some(id.sequence());
                Ok(())
            }
            Item::Open(Some(id), _) | Item::Position(id) => self.advance(id.sequence()),
            Item::Event(id, payload) => self.event(*id, payload),
            Item::Reset(channels, id) => {
                self.reset(channels, *id);
                Ok(())
            }
        }
    }

    fn event(&mut self, id: LastEventId, payload: &'a str) -> Result<(), String> {
        let sequence = id.sequence();
        if self.position.is_some_and(|position| position >= sequence) {
            return Err(format!("{id} is not above {:?}", self.position));
        }
        if !self.life.channels.contains(&channel(payload)) {
            return Err(format!("{payload} is on another channel"));
        }
        let missing = self.advance(sequence - 1);
        self.position = Some(sequence);
        if !self.seen.insert(payload) {
            return Err(format!("{payload} comes twice"));
        }
        missing
    }

    fn reset(&mut self, channels: &[String], id: Option<LastEventId>) {
        self.seen.clear();
        match id {
            Some(id) if channels.len() == self.life.channels.len() => {
                self.position = Some(id.sequence());
            }
            _ => self.excused = channels.to_vec(),
        }
    }

    /// Goes on to this sequence. Every event before it was read, or is excused.
    fn advance(&mut self, to: u64) -> Result<(), String> {
        let excused = std::mem::take(&mut self.excused);
        let Some(position) = self.position.replace(to) else {
            let is_excused = !excused.is_empty();
            return is_excused
                .then_some(())
                .ok_or_else(|| "it has no position".to_owned());
        };
        if to < position {
            return Err(format!("its position goes from {position} back to {to}"));
        }
        let range = (Bound::Excluded(position), Bound::Included(to));
        let between = self.truth.events.range(range);
        let is_missing = |payload: &&str| {
            let name = channel(payload);
            self.life.channels.contains(&name) && !excused.iter().any(|one| one == name)
        };
        let payloads = between.map(|(_, (_, payload))| *payload);
        let missing: Vec<_> = payloads.filter(is_missing).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("missing between {position} and {to}: {missing:?}")),
        }
    }
}
