//! Metrics recorded through the `metrics` facade. Without the feature, nothing is recorded.
//!
//! A publish is recorded once for any number of subscribers. [`Stats`](crate::Stats) lists the names.

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

#[cfg(feature = "metrics")]
pub(crate) use on::*;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::*;

#[cfg(feature = "metrics")]
mod on {
    use super::super::Sizes;
    use metrics::{counter, gauge};
    use std::sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
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
}

#[cfg(not(feature = "metrics"))]
mod off {
    use super::super::Sizes;
    use std::marker::PhantomData;

    pub(crate) struct Counter;

    impl Counter {
        pub(crate) fn new(_name: &'static str) -> Self {
            Self
        }
        pub(crate) fn add(&self, _count: u64) {}
    }

    #[derive(Default)]
    pub(crate) struct Gauges;

    pub(crate) struct Change<'a>(PhantomData<&'a Gauges>);

    impl Gauges {
        pub(crate) fn set(&self, _sizes: Sizes) -> Change<'_> {
            Change(PhantomData)
        }
    }
}
