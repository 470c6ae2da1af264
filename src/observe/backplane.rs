//! The counters of a backplane.

use super::{
    Stats,
    metrics::{Gauge, record},
};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Has one function for each thing that happens between an instance and the engine, which counts for [`Stats`] and the
/// metrics.
#[derive(Debug)]
pub(crate) struct BackplaneObserver {
    appended: AtomicU64,
    failures: AtomicU64,
    resets: AtomicU64,
    skipped: AtomicU64,
    unpublished: AtomicU64,
    queued: Gauge,
    behind: Gauge,
}

impl Default for BackplaneObserver {
    fn default() -> Self {
        Self {
            appended: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            unpublished: AtomicU64::new(0),
            queued: Gauge::new("eventstream_backplane_queued"),
            behind: Gauge::new("eventstream_backplane_behind"),
        }
    }
}

impl BackplaneObserver {
    /// This number of entries has no outcome yet.
    pub(crate) fn queued(&self, entries: usize) {
        self.queued.set(entries as u64);
    }

    /// The engine has acknowledged this number of entries after this time.
    pub(crate) fn appended(&self, entries: usize, after: Duration) {
        self.appended.fetch_add(entries as u64, Relaxed);
        record!(counter "eventstream_backplane_appended_total", increment(entries as u64));
        record!(histogram "eventstream_backplane_append_seconds", record(after));
    }

    /// An attempt to append has failed.
    pub(crate) fn failed(&self, kind: &'static str) {
        self.failures.fetch_add(1, Relaxed);
        record!(counter "eventstream_backplane_failures_total", increment(1), "kind" => kind);
    }

    /// A publish has failed.
    pub(crate) fn unpublished(&self) {
        self.unpublished.fetch_add(1, Relaxed);
        record!(counter "eventstream_backplane_unpublished_total", increment(1));
    }

    /// An instance has attached. It has begun a new epoch for this reason, if any.
    pub(crate) fn attached(&self, cause: Option<&str>) {
        let cause = || cause.unwrap_or("none").to_owned();
        record!(counter "eventstream_backplane_attaches_total", increment(1), "new_epoch" => cause());
    }

    /// Entries were lost for the clients of this instance.
    pub(crate) fn reset(&self) {
        self.resets.fetch_add(1, Relaxed);
        record!(counter "eventstream_backplane_resets_total", increment(1));
    }

    /// An entry of the log was skipped, since it is not one of this crate.
    pub(crate) fn skipped(&self) {
        self.skipped.fetch_add(1, Relaxed);
        record!(counter "eventstream_backplane_skipped_total", increment(1));
    }

    /// The log has this number of entries that the instance has not read.
    pub(crate) fn behind(&self, entries: u64) {
        self.behind.set(entries);
    }

    pub(crate) fn count(&self, stats: &mut Stats) {
        stats.backplane_appended = self.appended.load(Relaxed);
        stats.backplane_unpublished = self.unpublished.load(Relaxed);
        stats.backplane_failures = self.failures.load(Relaxed);
        stats.backplane_resets = self.resets.load(Relaxed);
        stats.backplane_skipped = self.skipped.load(Relaxed);
    }
}
