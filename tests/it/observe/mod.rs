//! Log events and metrics.

mod log;
mod metrics;
