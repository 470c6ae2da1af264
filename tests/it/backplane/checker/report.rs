//! The numbers of a round, and which of them a fault allows.

use super::{
    history::{Item, Life, Outcome, Read, Record},
    rules::Violation,
};
use std::{fmt, ops::AddAssign};

/// Which clients may be reset.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resets {
    Never,
    Allowed,
    /// Each client that stays at one of these instances, and none that stays at another.
    AtInstances(&'static [usize]),
}

/// Which outcomes publishers may have. Publishers that were killed have none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcomes {
    Published,
    PublishedOrMaybe,
    /// At least one event is not published.
    SomeRefused,
    Any,
}

/// Numbers of one round or more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    rounds: usize,
    published: usize,
    maybe_published: usize,
    not_published: usize,
    unknown: usize,
    deliveries: usize,
    connections: usize,
    lives: usize,
    resets: usize,
}

impl Report {
    pub(super) fn new(records: &[Record], reads: &[Read]) -> Self {
        let with = |is_one: fn(&Outcome) -> bool| {
            records
                .iter()
                .filter(|record| is_one(&record.outcome))
                .count()
        };
        let lives = || reads.iter().flat_map(|read| &read.lives);
        let items = lives().flat_map(|life| &life.items);
        Self {
            rounds: 1,
            published: with(|outcome| matches!(outcome, Outcome::Published(_))),
            maybe_published: with(|outcome| *outcome == Outcome::MaybePublished),
            not_published: with(|outcome| *outcome == Outcome::NotPublished),
            unknown: with(|outcome| *outcome == Outcome::Unknown),
            deliveries: lives().map(Life::events).sum(),
            connections: items
                .filter(|item| matches!(item, Item::Connected(_)))
                .count(),
            lives: lives().count(),
            resets: lives().map(Life::resets).sum(),
        }
    }

    /// Returns what must not be.
    pub(super) fn unexpected(
        &self,
        reads: &[Read],
        resets: Resets,
        outcomes: Outcomes,
    ) -> Vec<Violation> {
        let is_allowed = match outcomes {
            Outcomes::Published => self.maybe_published + self.not_published == 0,
            Outcomes::PublishedOrMaybe => self.not_published == 0,
            Outcomes::SomeRefused => self.not_published > 0,
            Outcomes::Any => true,
        };
        let mut unexpected = Vec::new();
        if !is_allowed {
            unexpected.push(format!("outcomes other than {outcomes:?}: {self}"));
        }
        for (client, read) in reads.iter().enumerate() {
            if !resets.allow(read) {
                unexpected.push(format!(
                    "client {client} of {:?}, resets {resets:?}",
                    read.home
                ));
            }
        }
        let violation = |text| Violation { place: None, text };
        unexpected.into_iter().map(violation).collect()
    }
}

impl Resets {
    /// Each client that stays at an instance.
    pub(super) const EVERYWHERE: Self = Self::AtInstances(&[0, 1, 2]);

    fn allow(self, read: &Read) -> bool {
        let count: usize = read.lives.iter().map(Life::resets).sum();
        match (self, read.home) {
            (Self::Never, _) => count == 0,
            (Self::AtInstances(instances), Some(home)) => (count > 0) == instances.contains(&home),
            (Self::Allowed | Self::AtInstances(_), _) => true,
        }
    }
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.published += other.published;
        self.maybe_published += other.maybe_published;
        self.not_published += other.not_published;
        self.unknown += other.unknown;
        self.deliveries += other.deliveries;
        self.connections += other.connections;
        self.lives += other.lives;
        self.resets += other.resets;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds, {} events published, {} maybe, {} not, {} without outcome; {} deliveries, {} connections, \
             {} lives, {} resets",
            self.rounds,
            self.published,
            self.maybe_published,
            self.not_published,
            self.unknown,
            self.deliveries,
            self.connections,
            self.lives,
            self.resets
        )
    }
}
