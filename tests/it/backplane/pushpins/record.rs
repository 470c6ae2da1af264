//! The outcomes of publishes, the events of clients, and whether both agree.

use axum_eventstream::LastEventId;
use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It may be in the log.
    Unknown,
    /// It is in the log.
    Published(Option<LastEventId>),
    NotPublished,
}

/// When each publish began, and its outcome, by the event's text.
#[derive(Default)]
pub(super) struct Record(Mutex<BTreeMap<String, (Instant, Outcome)>>);

/// An event or a reset that a client has received.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) what: What,
    pub(super) at: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Event(LastEventId, String),
    Reset,
}

impl Record {
    /// A publish begins.
    pub(super) fn begin(&self, text: &str) {
        let began = (Instant::now(), Outcome::Unknown);
        self.lock().insert(text.to_owned(), began);
    }

    pub(super) fn finish(&self, text: &str, outcome: Outcome) {
        self.lock().get_mut(text).unwrap().1 = outcome;
    }

    /// Number of publishes with these outcomes: unknown, published, not published.
    pub(super) fn counts(&self) -> [usize; 3] {
        let outcomes = self.lock();
        let mut counts = [0; 3];
        for (_, outcome) in outcomes.values() {
            counts[match outcome {
                Outcome::Unknown => 0,
                Outcome::Published(_) => 1,
                Outcome::NotPublished => 2,
            }] += 1;
        }
        counts
    }

    /// Checks a client that was held before the first publish: it has every published event once and in the order of
    /// ids, except events whose ids lie at a reset.
    pub(super) fn check(&self, seen: &[Seen]) -> Result<(), String> {
        in_order(seen)?;
        self.are_published(seen)?;
        received_once(seen)?;
        self.are_complete(seen)
    }

    /// The longest time from a publish until the client has received the event.
    pub(super) fn longest_delay(&self, seen: &[Seen]) -> Duration {
        let outcomes = self.lock();
        let delays = seen.iter().filter_map(|Seen { what, at }| match what {
            What::Event(_, text) => Some(*at - outcomes[text].0),
            What::Reset => None,
        });
        delays.max().unwrap_or_default()
    }

    fn are_published(&self, seen: &[Seen]) -> Result<(), String> {
        let outcomes = self.lock();
        let is_not = |text| matches!(outcomes.get(text), None | Some((_, Outcome::NotPublished)));
        match events(seen).find(|(.., text)| is_not(*text)) {
            Some((_, id, text)) => Err(format!("{id}: {text:?} was not published")),
            None => Ok(()),
        }
    }

    fn are_complete(&self, seen: &[Seen]) -> Result<(), String> {
        let received: HashSet<_> = events(seen).map(|(.., text)| text).collect();
        let gaps = gaps(seen);
        let is_in = |id: LastEventId| gaps.iter().any(|gap| gap.contains(&id.sequence()));
        for (text, (_, outcome)) in &*self.lock() {
            if let Outcome::Published(id) = outcome
                && !received.contains(&**text)
                && !id.is_some_and(is_in)
            {
                return Err(format!(
                    "{text:?} with the id {id:?} is missing, and not at a reset: {gaps:?}"
                ));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, Outcome)>> {
        self.0.lock().unwrap()
    }
}

/// The events, each with the number of resets before it.
fn events(seen: &[Seen]) -> impl Iterator<Item = (usize, LastEventId, &str)> {
    let mut resets = 0;
    seen.iter().filter_map(move |seen| match &seen.what {
        What::Event(id, text) => Some((resets, *id, &**text)),
        What::Reset => {
            resets += 1;
            None
        }
    })
}

fn in_order(seen: &[Seen]) -> Result<(), String> {
    let ids: Vec<_> = events(seen).map(|(_, id, _)| id).collect();
    let mut pairs = ids.windows(2);
    match pairs.find(|pair| pair[0].sequence() >= pair[1].sequence()) {
        Some(pair) => Err(format!("not in order: {pair:?}")),
        None => Ok(()),
    }
}

/// An append without an answer is repeated. In a new epoch, it may be received again after the reset.
fn received_once(seen: &[Seen]) -> Result<(), String> {
    let mut received = HashSet::new();
    match events(seen).find(|(resets, _, text)| !received.insert((*resets, *text))) {
        Some((_, id, text)) => Err(format!("{id}: {text:?} was received twice")),
        None => Ok(()),
    }
}

/// The sequences that lie at each reset: after the last event before it, and before the first one after it.
fn gaps(seen: &[Seen]) -> Vec<Range<u64>> {
    let resets = (0..seen.len()).filter(|index| seen[*index].what == What::Reset);
    let gap = |index: usize| {
        let (before, after) = seen.split_at(index);
        let last = events(before).last().map_or(0, |(_, id, _)| id.sequence());
        let next = events(after).next();
        last + 1..next.map_or(u64::MAX, |(_, id, _)| id.sequence())
    };
    resets.map(gap).collect()
}

pub(super) fn resets(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.what == What::Reset).count()
}
