//! Statistics, metrics, health and log events of an `EventStream`.
//!
//! [`Observer`] has one function for each thing that happens. It counts for [`Stats`] and for the metrics, so both
//! have the same numbers.

mod health;
mod metrics;
mod observer;
mod stats;
pub(crate) mod trace;

pub use health::{Health, ProxyHealth};
#[cfg(feature = "grip")]
pub(crate) use metrics::Proxy;
pub(crate) use observer::{Observer, Resized, Sizes};
pub use stats::Stats;
