//! Metrics recorded through the `metrics` facade. Without the feature, nothing is recorded.
//!
//! A publish is recorded once for any number of subscribers. [`Stats`](crate::Stats) lists the names.

use super::Sizes;

#[cfg(feature = "metrics")]
pub(crate) use on::*;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::*;

/// Records a value: `record!(counter "name", increment(1), "label" => value)`.
macro_rules! record {
    ($kind:ident $name:literal, $method:ident($value:expr) $(, $label:literal => $of:expr)*) => {{
        #[cfg(feature = "metrics")]
        ::metrics::$kind!($name $(, $label => $of)*).$method($value);
        #[cfg(not(feature = "metrics"))]
        let _ = || ($value, $($of),*);
    }};
}

pub(super) use record;

/// The gauges of a hub's sizes.
pub(crate) struct Gauges([Gauge; 3]);

/// What the gauges do not have yet. Changes may be recorded in any order.
pub(crate) struct Change<'a> {
    gauges: &'a Gauges,
    by: [f64; 3],
}

impl Gauges {
    pub(crate) fn new() -> Self {
        let names = [
            "eventstream_subscriptions",
            "eventstream_channels",
            "eventstream_history_bytes",
        ];
        Self(names.map(Gauge::new))
    }

    pub(crate) fn set(&self, sizes: Sizes) -> Change<'_> {
        let sizes = [sizes.subscriptions, sizes.channels, sizes.history_bytes];
        Change {
            gauges: self,
            by: [0, 1, 2].map(|index| self.0[index].change(sizes[index] as u64)),
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        for (gauge, by) in self.gauges.0.iter().zip(self.by) {
            gauge.add(by);
        }
    }
}

#[cfg(feature = "metrics")]
mod on {
    use metrics::{Label, counter, gauge};
    use std::sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
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

    /// A gauge that has the sum over all streams of the process: only changes are recorded, and a dropped stream no
    /// longer contributes. It is looked up once, with the first change.
    #[derive(Debug)]
    pub(crate) struct Gauge {
        name: &'static str,
        labels: Vec<Label>,
        last: AtomicU64,
        found: OnceLock<metrics::Gauge>,
    }

    impl Gauge {
        pub(crate) fn new(name: &'static str) -> Self {
            Self::with_labels(name, Vec::new())
        }

        pub(crate) fn of_endpoint(name: &'static str, endpoint: Arc<str>) -> Self {
            Self::with_labels(name, vec![Label::new("endpoint", endpoint)])
        }

        fn with_labels(name: &'static str, labels: Vec<Label>) -> Self {
            Self {
                name,
                labels,
                last: AtomicU64::new(0),
                found: OnceLock::new(),
            }
        }

        pub(crate) fn set(&self, value: u64) {
            self.add(self.change(value));
        }

        /// Returns the difference from the value of the last call, to [`add`](Self::add) it.
        pub(super) fn change(&self, value: u64) -> f64 {
            value as f64 - self.last.swap(value, Relaxed) as f64
        }

        pub(super) fn add(&self, by: f64) {
            if by != 0.0 {
                let gauge = || gauge!(self.name, self.labels.iter());
                self.found.get_or_init(gauge).increment(by);
            }
        }
    }

    impl Drop for Gauge {
        fn drop(&mut self) {
            self.set(0);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod off {
    use std::sync::Arc;

    pub(crate) struct Counter;

    impl Counter {
        pub(crate) fn new(_name: &'static str) -> Self {
            Self
        }
        pub(crate) fn add(&self, _count: u64) {}
    }

    #[derive(Debug)]
    pub(crate) struct Gauge;

    impl Gauge {
        pub(crate) fn new(_name: &'static str) -> Self {
            Self
        }
        pub(crate) fn of_endpoint(_name: &'static str, _endpoint: Arc<str>) -> Self {
            Self
        }
        pub(crate) fn set(&self, _value: u64) {}
        pub(super) fn change(&self, _value: u64) -> f64 {
            0.0
        }
        pub(super) fn add(&self, _by: f64) {}
    }
}
