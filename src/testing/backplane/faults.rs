//! Faults of a [`Memory`]: of the link to it, and of its log.

use super::{history::History, link::Link, log::Log, memory::Memory};
use crate::{
    backplane::{Content, Origin, Publication},
    lock::lock,
};
use bytes::Bytes;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// Faults of the link. Clones share it, and [`link`](Self::link) returns another one.
impl Memory {
    /// Returns another link to the same log. Faults of one link do not affect the other, and faults of the log
    /// affect both.
    #[must_use]
    pub fn link(&self) -> Self {
        Self::linked(self.log(), self.changed.clone())
    }

    /// Breaks all connections, and refuses new ones until [`up`](Self::up).
    ///
    /// A running operation fails with [`Lost`](crate::backplane::FailureKind::Lost), a later one with
    /// [`Unavailable`](crate::backplane::FailureKind::Unavailable).
    pub fn down(&self) {
        self.with_link(|link| {
            link.is_down = true;
            link.connection += 1;
        });
    }

    /// Accepts connections again. Earlier connections remain broken.
    pub fn up(&self) {
        self.with_link(|link| link.is_down = false);
    }

    /// Makes each further operation take this long. It is done half-way through.
    pub fn slow(&self, delay: Duration) {
        self.with_link(|link| link.delay = delay);
    }

    /// Loses the answers to the next appends, which are done.
    pub fn lose_replies(&self, appends: usize) {
        self.with_link(|link| link.lost_replies += appends);
    }

    /// Fails the next appends as [`Busy`](crate::backplane::FailureKind::Busy), without doing them.
    pub fn busy(&self, appends: usize) {
        self.with_link(|link| link.busy += appends);
    }

    /// Makes the link half-open: operations do not end until [`resume`](Self::resume), or at their limit.
    pub fn hang(&self) {
        self.with_link(|link| link.is_hanging = true);
    }

    /// Ends [`hang`](Self::hang). The waiting operations go on.
    pub fn resume(&self) {
        self.with_link(|link| link.is_hanging = false);
    }

    /// Connects this link to the log of `other`, and breaks its connections, as after a failover.
    pub fn switch(&self, other: &Self) {
        let log = other.log();
        self.with_link(|link| {
            link.log = log;
            link.connection += 1;
        });
    }

    fn with_link(&self, change: impl FnOnce(&mut Link)) {
        change(&mut lock(&self.link));
        self.changed.send_replace(());
    }
}

/// Faults of the log.
impl Memory {
    /// Returns a link to a second server, which has the same entries and goes on alone: two masters.
    ///
    /// [`switch`](Self::switch) leads a link from one server to the other.
    #[must_use]
    pub fn fork(&self) -> Self {
        let log = self.log();
        let fork = lock(&log).fork();
        Self::linked(Arc::new(Mutex::new(fork)), self.changed.clone())
    }

    /// Deletes everything. The next attach begins a new epoch, and a blocked read then returns its first entry.
    pub fn wipe(&self) {
        self.with_log(|log| log.history = None);
    }

    /// Deletes the newest entries, up to all, as after a failover to a server that lacks them.
    ///
    /// The epoch remains. Instances notice when they attach.
    pub fn lose_tail(&self, entries: usize) {
        self.with_log(|log| {
            if let Some(history) = &mut log.history {
                history.lose_tail(entries);
                history.begin_term();
            }
        });
    }

    /// Deletes the oldest entries until this number remains.
    pub fn trim(&self, newest: usize) {
        self.with_log(|log| {
            if let Some(history) = &mut log.history {
                history.trim(newest);
            }
        });
    }

    /// Adds an entry with any channel and payload, also ones that no instance appends.
    ///
    /// # Panics
    ///
    /// There is no log, as no instance has attached.
    pub fn forge(&self, channel: impl Into<String>, payload: impl Into<Bytes>) {
        let (channel, payload) = (channel.into(), payload.into());
        self.push(|number| {
            Content::Published(Publication {
                origin: Origin::new(0),
                number,
                channel,
                payload,
                at: SystemTime::now(),
            })
        });
    }

    /// Adds an entry that no instance has appended: [`Content::Foreign`].
    ///
    /// # Panics
    ///
    /// There is no log, as no instance has attached.
    pub fn foreign(&self) {
        self.push(|_| Content::Foreign);
    }

    /// Makes the log refuse appends, or accept them again.
    pub fn full(&self, is_full: bool) {
        self.with_log(|log| log.is_full = is_full);
    }

    fn push(&self, content: impl FnOnce(u64) -> Content) {
        self.with_log(|log| {
            let history: Option<History> = log.history.take();
            let mut history = history.expect("an instance has attached to the log");
            let number = history.last + 1;
            history.push(&format!("alien:{number}"), content(number));
            log.keep(history);
        });
    }

    fn with_log(&self, change: impl FnOnce(&mut Log)) {
        change(&mut lock(&self.log()));
        self.changed.send_replace(());
    }
}
