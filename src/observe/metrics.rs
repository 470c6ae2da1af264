//! Metrics recorded through the `metrics` facade. Without the feature, every function is a no-op.
//!
//! A publish is recorded once for any number of subscribers. [`Stats`](crate::Stats) lists the names.

#[cfg(feature = "metrics")]
pub(crate) use on::*;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::*;

#[cfg(feature = "metrics")]
mod on {
    use super::super::Sizes;
    use metrics::{counter, gauge, histogram};
    use std::{
        sync::{
            Arc, OnceLock,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        time::Duration,
    };

    /// A counter without labels. It is looked up once, so the recorder must be installed before its first use.
    pub(crate) struct Counter {
        name: &'static str,
        found: OnceLock<metrics::Counter>,
    }

    impl Counter {
        pub(crate) fn new(name: &'static str) -> Self {
            let found = OnceLock::new();
            Self { name, found }
        }

        pub(crate) fn add(&self, count: u64) {
            let counter = self.found.get_or_init(|| counter!(self.name));
            counter.increment(count);
        }
    }

    pub(crate) fn refused(reason: &'static str) {
        counter!("eventstream_refused_total", "reason" => reason).increment(1);
    }

    pub(crate) fn snapshot(outcome: &'static str) {
        counter!("eventstream_snapshots_total", "outcome" => outcome).increment(1);
    }

    pub(crate) fn backplane_queued(entries: usize) {
        gauge!("eventstream_backplane_queued").set(entries as f64);
    }

    pub(crate) fn backplane_appended(entries: u64, after: Duration) {
        counter!("eventstream_backplane_appended_total").increment(entries);
        histogram!("eventstream_backplane_append_seconds").record(after);
    }

    pub(crate) fn backplane_failed(kind: &'static str) {
        counter!("eventstream_backplane_failures_total", "kind" => kind).increment(1);
    }

    pub(crate) fn backplane_unpublished() {
        counter!("eventstream_backplane_unpublished_total").increment(1);
    }

    pub(crate) fn backplane_attached(cause: &str) {
        counter!("eventstream_backplane_attaches_total", "new_epoch" => cause.to_owned())
            .increment(1);
    }

    pub(crate) fn backplane_reset() {
        counter!("eventstream_backplane_resets_total").increment(1);
    }

    pub(crate) fn backplane_skipped() {
        counter!("eventstream_backplane_skipped_total").increment(1);
    }

    pub(crate) fn backplane_behind(entries: u64) {
        gauge!("eventstream_backplane_behind").set(entries as f64);
    }

    /// The gauges of a stream's sizes. Each has the sum over all streams of the process, so only changes are
    /// recorded.
    #[derive(Default)]
    pub(crate) struct Gauges([Size; 3]);

    #[derive(Default)]
    struct Size {
        last: AtomicUsize,
        found: OnceLock<metrics::Gauge>,
    }

    /// What the gauges do not have yet. Changes may be recorded in any order.
    pub(crate) struct Change<'a> {
        gauges: &'a Gauges,
        by: [f64; 3],
    }

    const NAMES: [&str; 3] = [
        "eventstream_subscriptions",
        "eventstream_channels",
        "eventstream_history_bytes",
    ];

    impl Gauges {
        pub(crate) fn set(&self, sizes: Sizes) -> Change<'_> {
            let sizes = [sizes.subscriptions, sizes.channels, sizes.history_bytes];
            let change = |index: usize| {
                let last = self.0[index].last.swap(sizes[index], Relaxed);
                sizes[index] as f64 - last as f64
            };
            Change {
                gauges: self,
                by: [0, 1, 2].map(change),
            }
        }
    }

    impl Drop for Change<'_> {
        fn drop(&mut self) {
            for ((size, name), by) in self.gauges.0.iter().zip(NAMES).zip(self.by) {
                let gauge = || size.found.get_or_init(|| gauge!(name));
                if by > 0.0 {
                    gauge().increment(by);
                } else if by < 0.0 {
                    gauge().decrement(-by);
                }
            }
        }
    }

    /// A dropped stream no longer contributes to the sums.
    impl Drop for Gauges {
        fn drop(&mut self) {
            drop(self.set(Sizes::default()));
        }
    }

    /// Metrics of one proxy.
    #[derive(Debug, Default)]
    pub(crate) struct Proxy(Arc<str>);

    impl Proxy {
        pub(crate) fn new(endpoint: Arc<str>) -> Self {
            Self(endpoint)
        }

        pub(crate) fn queued(&self, items: u64) {
            gauge!("eventstream_grip_queued", "endpoint" => self.0.clone()).set(items as f64);
        }

        pub(crate) fn published(&self, after: Duration) {
            counter!("eventstream_grip_published_total", "endpoint" => self.0.clone()).increment(1);
            histogram!("eventstream_grip_publish_seconds", "endpoint" => self.0.clone())
                .record(after);
        }

        pub(crate) fn failed(&self, kind: &'static str) {
            let labels = [("endpoint", self.0.to_string()), ("kind", kind.to_owned())];
            counter!("eventstream_grip_failures_total", &labels).increment(1);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod off {
    use super::super::Sizes;
    use std::marker::PhantomData;
    use std::{sync::Arc, time::Duration};

    pub(crate) struct Counter;

    impl Counter {
        pub(crate) fn new(_name: &'static str) -> Self {
            Self
        }
        pub(crate) fn add(&self, _count: u64) {}
    }

    pub(crate) fn refused(_reason: &'static str) {}
    pub(crate) fn snapshot(_outcome: &'static str) {}

    pub(crate) fn backplane_queued(_entries: usize) {}
    pub(crate) fn backplane_appended(_entries: u64, _after: Duration) {}
    pub(crate) fn backplane_failed(_kind: &'static str) {}
    pub(crate) fn backplane_unpublished() {}
    pub(crate) fn backplane_attached(_cause: &str) {}
    pub(crate) fn backplane_reset() {}
    pub(crate) fn backplane_skipped() {}
    pub(crate) fn backplane_behind(_entries: u64) {}

    #[derive(Default)]
    pub(crate) struct Gauges;

    pub(crate) struct Change<'a>(PhantomData<&'a Gauges>);

    impl Gauges {
        pub(crate) fn set(&self, _sizes: Sizes) -> Change<'_> {
            Change(PhantomData)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Proxy;

    impl Proxy {
        pub(crate) fn new(_endpoint: Arc<str>) -> Self {
            Self
        }
        pub(crate) fn queued(&self, _items: u64) {}
        pub(crate) fn published(&self, _after: Duration) {}
        pub(crate) fn failed(&self, _kind: &'static str) {}
    }
}
