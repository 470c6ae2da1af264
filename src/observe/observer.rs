//! The counters of one `EventStream`.

use super::{
    Stats,
    metrics::{self, record},
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Has one function for each thing that happens, which counts for [`Stats`] and the metrics.
///
/// Every function may call the metrics recorder of the application, so it is called without a lock. The exception
/// is [`resize`](Self::resize), which leaves that to its result.
pub(crate) struct Observer {
    published: Counter,
    delivered: Counter,
    lagged: Counter,
    resets: Counter,
    replayed: Counter,
    refused: AtomicU64,
    snapshots: AtomicU64,
    snapshot_failures: AtomicU64,
    gauges: metrics::Gauges,
}

/// The sizes that a hub's lock guards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) subscriptions: usize,
    pub(crate) channels: usize,
    pub(crate) history_bytes: usize,
}

/// A change of the sizes. Dropping it updates the gauges.
pub(crate) type Resized<'a> = metrics::Change<'a>;

/// A counter of `Stats`, and its metric.
struct Counter {
    count: AtomicU64,
    metric: metrics::Counter,
}

impl Counter {
    fn new(name: &'static str) -> Self {
        Self {
            count: AtomicU64::new(0),
            metric: metrics::Counter::new(name),
        }
    }

    fn add(&self, count: u64) {
        self.count.fetch_add(count, Relaxed);
        self.metric.add(count);
    }

    fn get(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

impl Observer {
    pub(crate) fn new() -> Self {
        Self {
            published: Counter::new("eventstream_published_total"),
            delivered: Counter::new("eventstream_delivered_total"),
            lagged: Counter::new("eventstream_lagged_total"),
            resets: Counter::new("eventstream_resets_total"),
            replayed: Counter::new("eventstream_replayed_total"),
            refused: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            snapshot_failures: AtomicU64::new(0),
            gauges: metrics::Gauges::new(),
        }
    }

    /// Events were published to this number of subscriptions.
    pub(crate) fn published(&self, events: u64, subscribers: usize) {
        self.published.add(events);
        self.delivered.add(events * subscribers as u64);
    }

    /// A new subscription replays this number of events.
    pub(crate) fn replayed(&self, events: u64) {
        self.replayed.add(events);
    }

    /// A subscription missed events: this number, if it is known.
    pub(crate) fn reset(&self, missed: Option<u64>) {
        self.resets.add(1);
        self.lagged.add(missed.unwrap_or(0));
    }

    /// A request, a subscription or an event was refused.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.fetch_add(1, Relaxed);
        record!(counter "eventstream_refused_total", increment(1), "reason" => reason);
    }

    /// A snapshot was sent to a client, or failed.
    pub(crate) fn snapshot(&self, outcome: &'static str) {
        let count = match outcome {
            "sent" => &self.snapshots,
            _ => &self.snapshot_failures,
        };
        count.fetch_add(1, Relaxed);
        record!(counter "eventstream_snapshots_total", increment(1), "outcome" => outcome);
    }

    /// The sizes are new. The caller holds the lock that guards them, and drops the result after it.
    pub(crate) fn resize(&self, sizes: Sizes) -> Resized<'_> {
        self.gauges.set(sizes)
    }

    pub(crate) fn stats(&self, sizes: Sizes) -> Stats {
        Stats {
            subscriptions: sizes.subscriptions,
            channels: sizes.channels,
            history_bytes: sizes.history_bytes,
            published: self.published.get(),
            delivered: self.delivered.get(),
            lagged: self.lagged.get(),
            resets: self.resets.get(),
            replayed: self.replayed.get(),
            refused: self.refused.load(Relaxed),
            snapshots: self.snapshots.load(Relaxed),
            snapshot_failures: self.snapshot_failures.load(Relaxed),
            ..Stats::default()
        }
    }
}
