//! The counters of one proxy.

use super::metrics::{Gauge, record};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Has one function for each thing that happens to an item, which counts for `Stats` and the metrics.
#[derive(Debug)]
pub(crate) struct ProxyObserver {
    sent: AtomicU64,
    failed: AtomicU64,
    queued: AtomicU64,
    /// The label of metrics.
    endpoint: Arc<str>,
    gauge: Gauge,
}

/// The counters of one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyCounts {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) queued: u64,
}

impl ProxyObserver {
    pub(crate) fn new(endpoint: Arc<str>) -> Self {
        Self {
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            gauge: Gauge::of_endpoint("eventstream_grip_queued", endpoint.clone()),
            endpoint,
        }
    }

    /// An item was queued. The caller holds locks, so the metric follows with [`requesting`](Self::requesting).
    pub(crate) fn queued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// A request begins.
    pub(crate) fn requesting(&self) {
        self.gauge.set(self.queued.load(Relaxed));
    }

    /// The proxy took a queued item after this time.
    pub(crate) fn published(&self, after: Duration) {
        self.queued.fetch_sub(1, Relaxed);
        self.sent.fetch_add(1, Relaxed);
        let endpoint = || self.endpoint.clone();
        record!(counter "eventstream_grip_published_total", increment(1), "endpoint" => endpoint());
        record!(histogram "eventstream_grip_publish_seconds", record(after), "endpoint" => endpoint());
    }

    /// A queued item failed.
    pub(crate) fn failed(&self, kind: &'static str) {
        self.queued.fetch_sub(1, Relaxed);
        self.refused(kind);
    }

    /// An item was not queued.
    pub(crate) fn refused(&self, kind: &'static str) {
        self.failed.fetch_add(1, Relaxed);
        let endpoint = || self.endpoint.clone();
        record!(counter "eventstream_grip_failures_total", increment(1), "endpoint" => endpoint(), "kind" => kind);
    }

    pub(crate) fn counts(&self) -> ProxyCounts {
        ProxyCounts {
            sent: self.sent.load(Relaxed),
            failed: self.failed.load(Relaxed),
            queued: self.queued.load(Relaxed),
        }
    }
}
