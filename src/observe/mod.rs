//! Statistics, metrics, health and log events of an `EventStream`.
//!
//! [`Observer`] has one function for each thing that happens in a stream, and [`ProxyObserver`] for each that happens at
//! a proxy. Both count for [`Stats`] and for the metrics, which therefore have the same numbers.

mod backplane;
mod health;
mod metrics;
mod observer;
mod proxy;
mod stats;
pub(crate) mod trace;

pub(crate) use backplane::BackplaneObserver;
pub use health::{BackplaneHealth, Health, ProxyHealth};
pub(crate) use observer::{Observer, Resized, Sizes};
pub(crate) use proxy::ProxyObserver;
pub use stats::Stats;
