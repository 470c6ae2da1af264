//! Metrics recorded through the `metrics` facade. Without the feature, every function is a no-op.
//!
//! A publish is recorded once for any number of subscribers. [`Stats`](crate::Stats) lists the names.

#[cfg(feature = "metrics")]
pub(crate) use on::*;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::*;

#[cfg(feature = "metrics")]
mod on {
    #[cfg(feature = "grip")]
    use metrics::histogram;
    use metrics::{Counter, counter, gauge};
    use std::sync::OnceLock;
    #[cfg(feature = "grip")]
    use std::{sync::Arc, time::Duration};

    /// Counters of a publish. The first publish looks them up, so the recorder must be installed before it.
    #[derive(Default)]
    pub(crate) struct Publishes(OnceLock<[Counter; 2]>);

    impl Publishes {
        pub(crate) fn count(&self, subscribers: usize) {
            let [published, delivered] = self.0.get_or_init(|| {
                let delivered = counter!("eventstream_delivered_total");
                [counter!("eventstream_published_total"), delivered]
            });
            published.increment(1);
            delivered.increment(subscribers as u64);
        }
    }

    pub(crate) fn subscribed() {
        gauge!("eventstream_subscriptions").increment(1);
    }

    pub(crate) fn unsubscribed() {
        gauge!("eventstream_subscriptions").decrement(1);
    }

    pub(crate) fn replayed(events: u64) {
        counter!("eventstream_replayed_total").increment(events);
    }

    pub(crate) fn reset(missed: Option<u64>) {
        counter!("eventstream_resets_total").increment(1);
        counter!("eventstream_lagged_total").increment(missed.unwrap_or(0));
    }

    pub(crate) fn refused(reason: &'static str) {
        counter!("eventstream_refused_total", "reason" => reason).increment(1);
    }

    /// Metrics of one proxy.
    #[cfg(feature = "grip")]
    #[derive(Debug, Default)]
    pub(crate) struct Proxy(Arc<str>);

    #[cfg(feature = "grip")]
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
    #[cfg(feature = "grip")]
    use std::{sync::Arc, time::Duration};

    #[derive(Default)]
    pub(crate) struct Publishes;

    impl Publishes {
        pub(crate) fn count(&self, _subscribers: usize) {}
    }

    pub(crate) fn subscribed() {}
    pub(crate) fn unsubscribed() {}
    pub(crate) fn replayed(_events: u64) {}
    pub(crate) fn reset(_missed: Option<u64>) {}
    pub(crate) fn refused(_reason: &'static str) {}

    #[cfg(feature = "grip")]
    #[derive(Debug, Default)]
    pub(crate) struct Proxy;

    #[cfg(feature = "grip")]
    impl Proxy {
        pub(crate) fn new(_endpoint: Arc<str>) -> Self {
            Self
        }
        pub(crate) fn queued(&self, _items: u64) {}
        pub(crate) fn published(&self, _after: Duration) {}
        pub(crate) fn failed(&self, _kind: &'static str) {}
    }
}
